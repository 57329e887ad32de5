"""Clients that fail, lie or do not fit: they are left out, and the run goes on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

flwr = pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Array, ConfigRecord, Message, RecordDict  # noqa: E402

import fedhds  # noqa: E402
from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, Task, answer, arrays_of  # noqa: E402
from flower_grid import COVERAGE, ToyGrid, by_hand, drop, equal, identity, run  # noqa: E402, F401
from flower_toy import COLUMNS, client_app, features_of, initial  # noqa: E402


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's logger does not pass on what it hears."""
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)


@pytest.mark.parametrize("how", ["silent", "error", "garbage"])
def test_clients_without_a_summary_are_left_out(how: str, caplog: pytest.LogCaptureFixture, heard: None) -> None:
    grid, strategy = ToyGrid(client_app(), range(4)), FedHDS(COVERAGE, seed=7)
    grid.interfere = drop("extract", 2, how)
    with caplog.at_level(logging.INFO, logger="flwr.fedhds"):
        got = run(strategy, grid, rounds=2)
    assert equal(got, by_hand(COVERAGE, [0, 1, 3], 2, seed=7))
    for report in strategy.reports:
        assert report.clients == [0, 1, 2, 3] and report.answered == [0, 1, 3] and list(report.left_out) == [2]
    assert "client 2 is left out" in caplog.text


@pytest.mark.parametrize("how", ["silent", "error", "nan", "shape", "missing", "boast"])
def test_updates_that_fail_or_do_not_fit_are_left_out(how: str) -> None:
    grid, strategy = ToyGrid(client_app(), range(4)), FedHDS(COVERAGE, seed=7)
    victim = 1
    grid.interfere = drop("train", victim, how)
    got = run(strategy, grid, rounds=1)
    (report,) = strategy.reports
    assert victim in report.ordered and victim in report.left_out and victim not in report.trained
    expected = FedHDS(COVERAGE, seed=7)
    clean = ToyGrid(client_app(), range(4))
    clean.interfere = drop("train", victim, "silent")
    assert equal(got, run(expected, clean, rounds=1))
    words = {
        "error": "out of memory",
        "nan": "finite",
        "shape": "shape",
        "missing": "none of this name",
        "boast": "as ordered",
    }
    assert words.get(how, "no answer") in report.left_out[victim]


def test_a_round_without_answers_or_selection_leaves_the_arrays() -> None:
    grid, strategy = ToyGrid(client_app(), range(2)), FedHDS(COVERAGE, seed=7)
    grid.interfere = lambda message, reply: None
    got = run(strategy, grid, rounds=2)
    assert equal(got, arrays_of(initial())) and [r.records for r in strategy.reports] == [0, 0]
    after = ToyGrid(client_app(), range(3))
    lost = ("train", "1")
    after.interfere = lambda message, reply: (
        None if (message.metadata.message_type, message.metadata.group_id) == lost else reply
    )
    strategy = FedHDS(COVERAGE, seed=7)
    got = run(strategy, after, rounds=2)
    assert (
        strategy.reports[0].trained == {} and strategy.reports[1].records == 7 and not equal(got, arrays_of(initial()))
    )


def test_of_two_clients_with_one_number_one_takes_part() -> None:
    strategy = FedHDS(COVERAGE, seed=7)
    grid = ToyGrid(client_app(), [0, 1, 1])
    run(strategy, grid, rounds=2)
    for report in strategy.reports:
        assert report.clients == report.answered == [0, 1]
        assert "client 1, which node 886 is" in report.refused[893] and "partition-id" in report.refused[893]
    assert 893 not in [message.metadata.dst_node_id for message in grid.of_type("evaluate")]


def test_a_client_that_comes_back_under_another_node_takes_its_number() -> None:
    grid, strategy = ToyGrid(client_app(), [0, 1, 2]), FedHDS(COVERAGE, seed=7)
    run(strategy, grid, rounds=1)
    dead = grid.node_of(1)
    back = ToyGrid(client_app(), [1], first_node=5)
    grid.contexts |= back.contexts
    grid.interfere = lambda message, reply: None if message.metadata.dst_node_id == dead else reply
    list(strategy.configure_train(2, initial(), ConfigRecord(), grid))
    assert strategy.reports[-1].answered == [0, 1, 2]


def test_clients_without_a_number_take_part_and_are_named(caplog: pytest.LogCaptureFixture, heard: None) -> None:
    grid, strategy = ToyGrid(client_app(), [0, None, None]), FedHDS(Method("all"), seed=7)
    with caplog.at_level(logging.WARNING, logger="flwr.fedhds"):
        run(strategy, grid, rounds=2)
    assert strategy.reports[0].clients == [0, 2**31, 2**31 + 1] == strategy.reports[1].clients
    assert caplog.text.count("tells no client number") == 2


def test_bad_parameters_are_named() -> None:
    for bad in (
        {"clients_per_round": 0},
        {"clients_per_round": 1.5},
        {"query_timeout": 0},
        {"start_with": 0},
        {"inner": 3},
        {"seed": -1},
    ):
        (name,) = bad
        with pytest.raises(fedhds.ParameterError, match=name):
            FedHDS("random", **bad)
    with pytest.raises(fedhds.ConfigError):
        FedHDS("no such method")


def test_a_client_refuses_another_method_and_says_which_setting() -> None:
    grid = ToyGrid(client_app(method=Method("fedhds_coverage", budget=9)), range(2))
    strategy = FedHDS(Method("fedhds_coverage", budget=5), seed=7)
    run(strategy, grid, rounds=1)
    assert all("count" in reason and "server" in reason for reason in strategy.reports[0].left_out.values())
    assert len(strategy.reports[0].left_out) == 2


def test_helpers_refuse_what_does_not_belong_to_them() -> None:
    grid = ToyGrid(client_app(), [0])
    context = grid.contexts[grid.node_of(0)]
    plain = Message(RecordDict({"config": ConfigRecord({"lr": 1.0})}), 5, "train")
    with pytest.raises(fedhds.ProtocolError, match="FedHDS strategy"):
        answer(plain, context)
    with pytest.raises(fedhds.ProtocolError, match="FedHDS strategy"):
        Task(plain, context)
    run(FedHDS(COVERAGE, seed=7), grid, rounds=1)
    order = grid.of_type("train")[0]
    with pytest.raises(fedhds.ProtocolError, match="summary before the order"):
        Task(order, ToyGrid(client_app(), [0]).contexts[900])
    with pytest.raises(fedhds.ProtocolError, match="phase"):
        answer(order, context)
    task = Task(order, context)
    for wrong, words in (
        ({"a": np.zeros((1, COLUMNS))}, "none of this name"),
        ({"a": np.zeros((1, 2)), "b": np.zeros((2, 3))}, "shape"),
        ({"a": np.full((1, COLUMNS), np.inf), "b": np.zeros((2, 3))}, "finite"),
        ({"a": np.full((1, COLUMNS), 1e300), "b": np.zeros((2, 3))}, "finite in float32"),
        ({"a": np.full((1, COLUMNS), 1e20), "b": np.zeros((2, 3))}, "finite in float32"),
        ({"a": np.full((1, COLUMNS), "x"), "b": np.zeros((2, 3))}, "real numbers"),
        ({"a": np.zeros((1, COLUMNS)), "b": np.zeros((2, 3)), "c": np.zeros(1)}, "only the 2 arrays"),
    ):
        with pytest.raises(fedhds.AdapterError, match=words):
            task.reply(wrong)


def test_a_summary_in_the_name_of_another_client_is_refused() -> None:
    grid, strategy = ToyGrid(client_app(), range(3)), FedHDS(COVERAGE, seed=7)
    seen: dict[int, Message] = {}

    def interfere(message: Message, reply: Message | None) -> Message | None:
        header = json.loads(str(message.content["config"].get("fedhds", "{}")))
        if header.get("phase") != "extract" or reply is None:
            return reply
        seen[header["client"]] = reply
        return Message(seen[0].content, reply_to=message) if header["client"] == 2 else reply

    grid.interfere = interfere
    run(strategy, grid, rounds=1)
    assert strategy.reports[0].answered == [0, 1] and "client_summary: client: expected 2, who sent it, got 0" in strategy.reports[0].left_out[2]


@pytest.mark.parametrize("told", ['{"client": -3}', '{"client": "1"}', '{"client": 4000000000}', "[]", "junk", None])
def test_a_node_that_tells_nonsense_of_itself_is_left_out(told: str | None) -> None:
    grid, strategy = ToyGrid(client_app(), range(3)), FedHDS(COVERAGE, seed=7)
    liar = grid.node_of(1)

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if message.metadata.dst_node_id != liar:
            return reply
        record = ConfigRecord({} if told is None else {"fedhds": told})
        return Message(RecordDict({"fedhds": record}), reply_to=message)

    grid.interfere = interfere
    run(strategy, grid, rounds=1)
    assert strategy.reports[0].clients == strategy.reports[0].answered == [0, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("experiment", "../../etc"), ("experiment", 3), ("round", 0), ("client", -1), ("seed", "1e3"), ("method", [])],
)
def test_a_client_refuses_a_header_that_is_none(field: str, value: Any, tmp_path: Path) -> None:
    grid = ToyGrid(client_app(), [0])
    run(FedHDS(COVERAGE, seed=7), grid, rounds=1)
    message = grid.of_type("query.hds_extract")[1]
    header = json.loads(str(message.content["config"]["fedhds"])) | {field: value}
    message.content.config_records["config"]["fedhds"] = json.dumps(header)
    with pytest.raises(fedhds.ProtocolError, match=f"header: {field}"):
        answer(message, grid.contexts[grid.node_of(0)], features_of(0), state_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_client_with_other_metrics_is_left_out_and_does_not_stop_the_run() -> None:
    grid, strategy = ToyGrid(client_app(), range(4)), FedHDS(COVERAGE, seed=7)

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if message.metadata.message_type == "train" and message.metadata.dst_node_id == grid.node_of(0) and reply:
            reply.content.metric_records["metrics"]["surprise"] = 1.0
        return reply

    grid.interfere = interfere
    run(strategy, grid, rounds=1)
    (report,) = strategy.reports
    assert "surprise" in report.left_out[0] and set(report.trained) == set(report.ordered) - {0} != set()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY junk", None])
def test_arrays_that_cannot_be_read_leave_their_client_out(data: bytes | None) -> None:
    grid, strategy = ToyGrid(client_app(), range(3)), FedHDS(COVERAGE, seed=7)

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if message.metadata.message_type == "train" and message.metadata.dst_node_id == grid.node_of(0) and reply:
            wrong = (
                Array(np.array([["text"] * COLUMNS]))
                if data is None
                else Array("float32", (1, COLUMNS), "numpy.ndarray", data)
            )
            reply.content.array_records["arrays"]["a"] = wrong
        return reply

    grid.interfere = interfere
    run(strategy, grid, rounds=1)
    reason = strategy.reports[0].left_out[0]
    assert ("real numbers" if data is None else "NumPy's format") in reason


class Picky:
    """An aggregator that refuses one client, and reports."""

    def __init__(self) -> None:
        self.last: fedhds.Adapter | None = None
        self.losses: list[float | None] = []

    def add(self, client: int, adapter: fedhds.Adapter, records: int, loss: float | None) -> None:
        if client == 1:
            raise ValueError("too far away")
        self.last = adapter
        self.losses.append(loss)

    def finish(self) -> tuple[fedhds.Adapter | None, dict[str, Any]]:
        return self.last, {"weights": {0: 1.0}, "measures": {"norm": 2.0}}


def test_an_update_that_the_aggregator_refuses_is_left_out_with_its_reason() -> None:
    aggregator = Picky()
    strategy = FedHDS(COVERAGE, seed=7, aggregator=aggregator)
    run(strategy, ToyGrid(client_app(), range(4)), rounds=1)
    (report,) = strategy.reports
    assert "too far away" in report.left_out[1] and 1 in report.ordered and 1 not in report.trained and report.trained
    assert report.weights == {0: 1.0} and report.measures == {"norm": 2.0}
    assert len(aggregator.losses) == len(report.trained) and all(loss is not None for loss in aggregator.losses)


def test_a_reply_that_nobody_foresaw_leaves_its_client_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedhds.flower import _replies

    grid, strategy = ToyGrid(client_app(), range(4)), FedHDS(COVERAGE, seed=7)
    check = _replies._check

    def fails(reply: Message, ordered: int, most: int, sent: Any) -> int:
        if reply.metadata.src_node_id == grid.node_of(2):
            raise RecursionError("a message without end")
        return check(reply, ordered, most, sent)

    monkeypatch.setattr(_replies, "_check", fails)
    run(strategy, grid, rounds=1)
    (report,) = strategy.reports
    assert report.left_out == {2: "a message without end"} and report.trained


def test_an_aggregator_beside_a_strategy_that_aggregates_is_refused() -> None:
    from flwr.serverapp.strategy import FedAvg

    with pytest.raises(fedhds.ParameterError, match="aggregator: expected none beside"):
        FedHDS(COVERAGE, FedAvg(), aggregator=fedhds.FedAdam())
    with pytest.raises(fedhds.ParameterError, match="aggregator"):
        FedHDS(COVERAGE, aggregator=3)


def test_arrays_of_any_shape_and_type_go_through_the_core() -> None:
    from fedhds.flower._mean import as_adapter, as_arrays

    given = {
        "z": np.float32(3.5).reshape(()),
        "a": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
        "n": np.arange(5),
        "empty": np.zeros((0, 3), np.float32),
    }
    back = as_arrays(as_adapter(given), given)
    assert list(back) == list(given)
    for name, array in given.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array)
