"""Flower clients with training of their own: a method that looks at texts, near copies, and a judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Context, Message  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

import fedhds  # noqa: E402
from fedhds.flower import FedHDS, Task, WeightedMean, answer, record_of  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401
from test_gate import CLIENTS, METHOD, Judge, simulate  # noqa: E402


def app(chosen: list[str], judge: Any, records: bool = True) -> ClientApp:
    made = ClientApp()

    def own(context: Context) -> list[fedhds.Record]:
        return CLIENTS[int(context.node_config["partition-id"])]

    @made.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        if records:
            return answer(message, context, records=own(context), judge=judge)
        return answer(message, context, fedhds.TextFeatures().extract(own(context)), judge=judge)

    @made.train()
    def train(message: Message, context: Context) -> Message:
        task = Task(message, context, **({"records": own(context), "judge": judge} if records else {}))
        chosen.extend(own(context)[row].id for row in task.rows)
        return task.reply({name: array + np.float32(1) for name, array in task.arrays.items()}, train_loss=0.5)

    return made


def run(judge: Any, records: bool = True, rounds: int = 2) -> tuple[list[str], FedHDS]:
    chosen: list[str] = []
    strategy = FedHDS(METHOD, WeightedMean(fraction_evaluate=0.0), seed=3)
    grid = ToyGrid(app(chosen, judge, records), range(len(CLIENTS)))
    strategy.start(grid, record_of({"w": np.zeros((1, 1), dtype=np.float32)}), num_rounds=rounds)
    return chosen, strategy


@pytest.mark.parametrize("judge", [Judge, lambda: None], ids=["with a judge", "without"])
def test_the_records_are_those_of_the_simulation(judge: Any) -> None:
    chosen, strategy = run(judge())
    expected, outcome = simulate(CLIENTS, judge() or False)
    assert chosen == expected and not strategy.reports[0].left_out
    for report, told in zip(strategy.reports, outcome.rounds, strict=True):
        groups = [(client["client"], group) for client in told["clients"] for group in client.get("groups", ())]
        reasons = {(client, g["group"]): (g["rank"], g["gain"]) for client, g in groups if g["ordered"]}
        assert {(group.client, group.cluster): (group.rank, group.gain) for group in report.picked} == reasons
        assert report.reasons().startswith("1. client ")


def test_features_alone_serve_too_and_such_clients_decline() -> None:
    chosen, strategy = run(Judge(), records=False)
    assert len(chosen) == 24 and not strategy.reports[0].left_out


def test_what_a_method_of_texts_needs_is_named() -> None:
    made = ClientApp()

    @made.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        return answer(message, context, records=40)

    strategy = FedHDS(METHOD, WeightedMean(fraction_evaluate=0.0), seed=3)
    strategy.start(ToyGrid(made, [0]), record_of({"w": np.zeros((1, 1), dtype=np.float32)}), num_rounds=1)
    assert "records: expected the records, whose texts the method" in strategy.reports[0].left_out[0]
