"""Who has which records."""

from __future__ import annotations

import functools

import fedhds
from flwr.app import Context

from .settings import Settings


@functools.cache
def _generated(records_per_task: int, test_records_per_task: int) -> tuple[list[fedhds.Record], list[fedhds.Record]]:
    return fedhds.embedded_records(records_per_task=records_per_task, test_records_per_task=test_records_per_task)


@functools.cache
def _dealt(records_per_task: int, clients: int, alpha: float) -> list[list[fedhds.Record]]:
    train, _ = _generated(records_per_task, 1)
    return fedhds.partition(train, "dirichlet", clients=clients, alpha=alpha, min_records=5)


def client_records(context: Context, settings: Settings) -> list[fedhds.Record]:
    """A client's records: the jsonl file of its node config (`data-path`), else a share of the generated tasks."""
    own = context.node_config.get("data-path")
    if own:
        return fedhds.load_records(str(own))
    clients, client = int(context.node_config["num-partitions"]), int(context.node_config["partition-id"])
    return _dealt(int(settings["data.records-per-task"]), clients, float(settings["data.alpha"]))[client]


def test_records(settings: Settings) -> list[fedhds.Record]:
    """Records of tasks that no client has; the server measures on them."""
    return _generated(1, int(settings["data.test-records-per-task"]))[1]
