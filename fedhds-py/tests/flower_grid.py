"""A grid in this process for the tests of `fedhds.flower`, and what they share."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

import fedhds
from fedhds import Method
from fedhds.flower import FedHDS, arrays_of
from flower_toy import COLUMNS, features_of, fit, initial

COVERAGE = Method("fedhds_coverage", budget=7, client={"clusterer": {"n_clusters": 4}})


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    """Flower's messages know the run that they belong to."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    yield


class ToyGrid(Grid):
    """A grid in this process: each node is a ClientApp with its own context, and what goes through is copied.

    Args:
        app: what all nodes run.
        clients: the nodes' `partition-id`s; None for a node that has none.
        first_node: node ids are arbitrary, and not in the order of clients.
    """

    def __init__(self, app: ClientApp, clients: Iterable[int | None], first_node: int = 900) -> None:
        self.app = app
        self.contexts: dict[int, Context] = {}
        self.sent: list[Message] = []
        self.timeouts: list[float | None] = []
        self.interfere: Callable[[Message, Message | None], Message | None] = lambda message, reply: reply
        for place, client in enumerate(clients):
            config: UserConfig = {} if client is None else {"partition-id": client}
            node = first_node - 7 * place
            self.contexts[node] = Context(1, node, config, RecordDict(), {})

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def node_of(self, client: int) -> int:
        return next(n for n, c in self.contexts.items() if c.node_config.get("partition-id") == client)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        self.timeouts.append(timeout)
        replies = []
        for message in messages:
            self.sent.append(message)
            reply: Message | None
            try:
                reply = self.app(copy.deepcopy(message), self.contexts[message.metadata.dst_node_id])
            except Exception as error:  # as Flower's runtimes do
                reply = Message(Error(2, f"{type(error).__name__}: {error}"), reply_to=message)
            reply = self.interfere(message, reply)
            if reply is not None:
                replies.append(reply)
        return replies[::-1]  # not in the order of asking

    def of_type(self, kind: str) -> list[Message]:
        """The messages of one type that were sent."""
        return [message for message in self.sent if message.metadata.message_type == kind]


def run(strategy: FedHDS, grid: ToyGrid, rounds: int = 3, **settings: Any) -> dict[str, np.ndarray]:
    result = strategy.start(grid, initial(), num_rounds=rounds, timeout=5.0, **settings)
    return arrays_of(result.arrays)


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


def by_hand(method: Method, clients: list[int], rounds: int, seed: int) -> dict[str, np.ndarray]:
    """The same federation without Flower."""
    server = fedhds.Server(method, seed=seed)
    machines = {c: fedhds.Client(c, method, seed=seed) for c in clients}
    arrays = arrays_of(initial())
    for round in range(rounds):
        start = server.begin_round(round, clients)
        for c, machine in machines.items():
            server.receive(c, machine.summarize(start, features_of(c) + arrays["a"].mean()))
        orders, updates = server.select(), []
        for c, machine in machines.items():
            rows = machine.choose(orders[c])
            if len(rows):
                trained, _ = fit(arrays, features_of(c)[rows], fedhds.client_seed(seed, "train", round, c))
                updates.append((len(rows), trained))
                machine.mark_trained(rows)
        total = sum(n for n, _ in updates)
        for name, array in arrays.items():
            mean = np.zeros(array.shape)
            for n, t in updates:
                mean += n * t[name].astype(np.float32).astype(np.float64)
            arrays[name] = (mean / total).astype(np.float32)
    return arrays


def drop(kind: str, client: int, how: str) -> Any:
    """A client that fails in one phase."""

    def interfere(message: Message, reply: Message | None) -> Message | None:
        header = json.loads(str(message.content["config"].get("fedhds", "{}")))
        if header.get("phase") != kind or header.get("client") != client or reply is None:
            return reply
        if how == "silent":
            return None
        if how == "error":
            return Message(Error(2, "out of memory"), reply_to=message)
        if how == "garbage":
            return Message(
                RecordDict({"fedhds": ConfigRecord({"fedhds-message": b"FH\x02\x02junk"})}), reply_to=message
            )
        arrays, metrics = dict(reply.content.array_records["arrays"]), dict(reply.content.metric_records["metrics"])
        if how == "nan":
            arrays["a"] = Array(np.full((1, COLUMNS), np.nan, np.float32))
        elif how == "shape":
            arrays["a"] = Array(np.zeros((1, 3), np.float32))
        elif how == "missing":
            del arrays["a"]
        elif how == "boast":
            metrics["num-examples"] = 10**6
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)}), reply_to=message)

    return interfere
