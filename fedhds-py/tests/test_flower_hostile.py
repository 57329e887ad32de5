"""Whatever a third of the nodes replies, a round ends with the exact mean of the others and says who did not fit, and why.

The replies are made by seeds (`flower_hostile`). `FEDHDS_HOSTILE_SEEDS=500` tries more of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.serverapp.strategy import (  # noqa: E402
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    QFedAvg,
)

import fedhds  # noqa: E402
from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, WeightedMean, arrays_of, record_of  # noqa: E402
from flower_grid import COVERAGE, ToyGrid, equal, identity, run  # noqa: E402, F401
from flower_hostile import FAULTS, bent_summary, hostile, phase_of, silent, wrong_array  # noqa: E402
from flower_toy import COLUMNS, client_app, initial  # noqa: E402
from test_flower_gate import app as gate_app  # noqa: E402
from test_gate import CLIENTS as RECORDS  # noqa: E402
from test_gate import METHOD as GATED  # noqa: E402
from test_gate import Judge  # noqa: E402

SEEDS = int(os.environ.get("FEDHDS_HOSTILE_SEEDS", "8"))
ALL = Method("all")
"""Everybody is ordered to train."""
CLIENTS = [5, 4, 0, 1, 2, 3]
"""The hostile ones are 4 and 5; their nodes have the higher numbers."""
LIARS = {5, 4}


def plain(strategy: FedHDS, interfere: Callable[..., Any] | None = None, rounds: int = 2, **settings: Any) -> tuple[Any, ToyGrid]:
    grid = ToyGrid(client_app(), CLIENTS)
    if interfere is not None:
        grid.interfere = interfere
    result = strategy.start(grid, initial(), num_rounds=rounds, timeout=5.0, **settings)
    return result, grid


def nodes(clients: set[int]) -> set[int]:
    grid = ToyGrid(client_app(), CLIENTS)
    return {grid.node_of(client) for client in clients}


def fine(reasons: Any) -> None:
    """Each reason is one line of bounded length that a log can hold."""
    for reason in reasons:
        assert 0 < len(reason) <= 500 and reason.isprintable()


INNER: dict[str, Callable[[], Any]] = {
    "core": lambda: {},
    "core's FedAdam": lambda: {"aggregator": fedhds.FedAdam(learning_rate=0.1)},
    "FedAvg": lambda: {"inner": FedAvg()},
    "FedAdam": lambda: {"inner": FedAdam(eta=0.1)},
    "FedAvgM": lambda: {"inner": FedAvgM(server_momentum=0.9)},
    "FedMedian": lambda: {"inner": FedMedian()},
    "QFedAvg": lambda: {"inner": QFedAvg(client_learning_rate=0.1, q=0.1)},
    "private": lambda: {"inner": DifferentialPrivacyServerSideFixedClipping(WeightedMean(), 0.0, 10.0, 4)},
}


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("phase", FAULTS)
def test_a_third_of_hostile_replies_is_as_if_they_were_silent(phase: str, seed: int) -> None:
    kind = list(INNER)[seed % len(INNER)]
    said: list[str] = []
    rng, liars = random.Random(f"{phase} {seed}"), nodes(LIARS)
    strategy = FedHDS(ALL, seed=7, **INNER[kind]())
    result, _ = plain(strategy, hostile(rng, liars, {phase}, said))
    expected = FedHDS(ALL, seed=7, **INNER[kind]())
    wanted, _ = plain(expected, silent(liars, {phase}))
    assert said and equal(arrays_of(result.arrays), arrays_of(wanted.arrays)), (kind, said)
    assert not equal(arrays_of(result.arrays), arrays_of(initial()))
    for metrics in ("train_metrics_clientapp", "evaluate_metrics_clientapp"):
        found, others = getattr(result, metrics), getattr(wanted, metrics)
        assert {number: dict(one) for number, one in found.items()} == {number: dict(one) for number, one in others.items()}, (kind, said)
    for report in strategy.reports:
        named = {"hello": report.refused, "evaluate": report.not_evaluated}.get(phase, report.left_out)
        assert set(named) == (liars if phase == "hello" else LIARS), (kind, said)
        fine(named.values())
        assert set(report.trained) == ({0, 1, 2, 3, 4, 5} if phase == "evaluate" else {0, 1, 2, 3})


@pytest.mark.parametrize("seed", range(SEEDS))
def test_hostile_nodes_in_every_phase_at_once(seed: int, tmp_path: Path) -> None:
    """With a method that groups, over rounds and a restart: nothing ends the run, and the arrays are finite."""
    rng, liars, said = random.Random(seed), nodes(LIARS), list[str]()
    phases = {phase for phase in FAULTS if rng.random() < 0.8} or {"train"}
    for rounds in (2, 4):
        strategy = FedHDS(COVERAGE, seed=seed, checkpoint=tmp_path / "run.npz")
        result, _ = plain(strategy, hostile(rng, liars, phases, said), rounds=rounds)
    assert len(strategy.reports) == 4 and all(np.isfinite(array).all() for array in arrays_of(result.arrays).values())
    for report in strategy.reports:
        assert {0, 1, 2, 3} <= set(report.answered) and not {0, 1, 2, 3} & (set(report.left_out) | set(report.not_evaluated))
        assert set(report.trained) & {0, 1, 2, 3} == set(report.ordered) & {0, 1, 2, 3}
        fine([*report.left_out.values(), *report.not_evaluated.values(), *report.refused.values()])


BENT = {
    "coverage": COVERAGE,
    "shared": Method("fedhds_shared", budget=6),
    "per client": Method("fedhds_turbo", client={"clusterer": {"min_cluster_size": 3}}),
    "random": Method("random", budget=7),
    "all": ALL,
    "with a quality gate": GATED,
}


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", BENT)
def test_bent_summaries_and_answers_of_the_gate_touch_nobody_else(kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    gated = kind == "with a quality gate"
    grid = ToyGrid(gate_app([], Judge()), range(len(RECORDS))) if gated else ToyGrid(client_app(), CLIENTS)
    numbers = {int(context.node_config["partition-id"]) for context in grid.contexts.values()}
    liars = {max(numbers)} if gated else LIARS
    bent = {grid.node_of(client) for client in liars}

    def interfere(message: Message, reply: Message | None) -> Message | None:
        hit = message.metadata.dst_node_id in bent and phase_of(message) == "extract" and reply is not None and not reply.has_error()
        return bent_summary(rng, message, reply) if hit and reply is not None else reply

    grid.interfere = interfere
    strategy = FedHDS(BENT[kind], WeightedMean(fraction_evaluate=0.0), seed=seed)
    arrays = record_of({"w": np.zeros((1, 1), np.float32)}) if gated else initial()
    result = strategy.start(grid, arrays, num_rounds=2)
    assert all(np.isfinite(array).all() for array in arrays_of(result.arrays).values())
    for report in strategy.reports:
        assert numbers - liars <= set(report.answered) and set(report.left_out) <= liars
        fine(report.left_out.values())


def only(client: int, change: Callable[[dict[str, Any], dict[str, Any]], None], phase: str = "train", node: int = 0) -> Any:
    """One client changes the arrays and metrics of its reply."""
    changed = {node} if node else nodes({client})

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if phase_of(message) != phase or message.metadata.dst_node_id not in changed or reply is None:
            return reply
        arrays = {name: array.numpy() for record in reply.content.array_records.values() for name, array in record.items()}
        metrics = dict(reply.content.metric_records["metrics"])
        change(arrays, metrics)
        records: dict[str, Any] = {"metrics": MetricRecord(metrics)}
        if arrays:
            records["arrays"] = ArrayRecord({name: Array(array) for name, array in arrays.items()})
        return Message(RecordDict(records), reply_to=message)

    return interfere


def spread(arrays: dict[str, Any], _: dict[str, Any]) -> None:
    arrays["a"] = np.full((1, COLUMNS), 1e300)


@pytest.mark.parametrize("inner", [None, FedAvg, FedAdam])
def test_what_overflows_in_the_type_that_was_sent_stops_no_run_and_no_resumed_one(inner: Any, tmp_path: Path) -> None:
    def go(rounds: int, interfere: Any) -> tuple[FedHDS, Any]:
        strategy = FedHDS(ALL, None if inner is None else inner(), seed=7, checkpoint=tmp_path / "run.npz")
        return strategy, plain(strategy, interfere, rounds=rounds)[0]

    _, poisoned = go(2, only(0, spread))
    assert all(np.isfinite(array).all() for array in arrays_of(poisoned.arrays).values())
    strategy, result = go(3, None)
    assert [0 in report.left_out for report in strategy.reports] == [True, True, False]
    assert "finite in float32" in strategy.reports[0].left_out[0] and len(strategy.reports[2].trained) == 6
    assert not equal(arrays_of(result.arrays), arrays_of(poisoned.arrays))


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.bool_, np.float64])
@pytest.mark.parametrize("inner", ["core", "FedAvg", "private"])
def test_the_types_of_one_client_are_not_those_of_the_mean(inner: str, dtype: Any) -> None:
    def other(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        for name in arrays:
            arrays[name] = np.clip(arrays[name], -100, 100).astype(dtype)

    def same(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        for name in arrays:
            arrays[name] = np.clip(arrays[name], -100, 100).astype(dtype).astype(np.float32)

    got = plain(FedHDS(ALL, seed=7, **INNER[inner]()), only(0, other), rounds=1)[0]
    wanted = plain(FedHDS(ALL, seed=7, **INNER[inner]()), only(0, same), rounds=1)[0]
    assert equal(arrays_of(got.arrays), arrays_of(wanted.arrays))
    assert {array.dtype for array in arrays_of(got.arrays).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("size", [3e38, -1e38, 1e20])
@pytest.mark.parametrize("inner", INNER)
def test_a_finite_update_that_nothing_can_be_reckoned_with_is_left_out(inner: str, size: float) -> None:
    """3e38 is a float32; its square is none, and Adam divides by the root of its sum for ever."""

    def huge(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        arrays["a"] = np.full((1, COLUMNS), size, np.float32)

    strategy = FedHDS(ALL, seed=7, **INNER[inner]())
    result, _ = plain(strategy, only(0, huge), rounds=2)
    expected, _ = plain(FedHDS(ALL, seed=7, **INNER[inner]()), silent(nodes({0}), {"train"}), rounds=2)
    assert equal(arrays_of(result.arrays), arrays_of(expected.arrays))
    assert all("finite in float32" in report.left_out[0] and 0 not in report.trained for report in strategy.reports)


class Exponential(FedAvg):
    """Keeps what grows fast with the arrays; and cannot do with a `b` below -1000."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = {"power": np.zeros(1, np.float32), "history": [0.0]}

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        replies = list(replies)
        for reply in replies:
            (arrays,) = reply.content.array_records.values()
            if arrays["b"].numpy().min() < -1000:
                raise ValueError("a `b` that is too low")
            with np.errstate(over="ignore"):
                self.kept["power"] = self.kept["power"] + np.exp(arrays["a"].numpy().max())
            self.kept["history"].append(1.0)  # type: ignore[attr-defined]
        return super().aggregate_train(server_round, replies)


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_update_that_spoils_the_state_of_the_inner_strategy_is_found_and_left_out(name: str) -> None:
    def far(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        arrays[name] = np.full_like(arrays[name], 2000.0 if name == "a" else -2000.0)

    strategy = FedHDS(ALL, Exponential(), seed=7)
    result, _ = plain(strategy, only(0, far), rounds=2)
    clean = FedHDS(ALL, Exponential(), seed=7)
    expected, _ = plain(clean, silent(nodes({0}), {"train"}), rounds=2)
    assert equal(arrays_of(result.arrays), arrays_of(expected.arrays))
    assert strategy.inner.kept["history"] == clean.inner.kept["history"] == [0.0] + 10 * [1.0]  # type: ignore[attr-defined]
    words = "finite state" if name == "a" else "too low"
    assert all(words in report.left_out[0] and set(report.trained) == {1, 2, 3, 4, 5} for report in strategy.reports)


class Explodes(FedAvg):
    """An inner strategy whose own arithmetic ends in what is no number, in its second round."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        arrays, metrics = super().aggregate_train(server_round, replies)
        assert arrays is not None
        if server_round == 2:
            arrays["a"] = Array(arrays["a"].numpy() * np.float32(np.nan))
        return arrays, metrics


class Faulty(FedAvg):
    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        raise ZeroDivisionError("a fault of one's own")


def test_arrays_that_are_not_finite_never_take_the_place_of_finite_ones() -> None:
    strategy = FedHDS(ALL, Explodes(), seed=7)
    result, _ = plain(strategy, rounds=3)
    discarded = [report.discarded for report in strategy.reports]
    assert discarded[0] is discarded[2] is None and "`a`: expected finite values" in str(discarded[1])
    skipped = FedHDS(ALL, FedAvg(), seed=7)
    expected, _ = plain(skipped, lambda message, reply: None if phase_of(message) == "train" and message.metadata.group_id == "2" else reply, 3)
    assert all(np.isfinite(array).all() for array in arrays_of(result.arrays).values())
    assert [bool(report.trained) for report in skipped.reports] == [True, False, True] and expected is not None


def test_a_fault_of_the_strategy_itself_is_not_blamed_on_clients() -> None:
    with pytest.raises(ZeroDivisionError, match="of one's own"):
        plain(FedHDS(ALL, Faulty(), seed=7), rounds=1)


def test_a_checkpoint_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    from fedhds.flower._checkpoint import Checkpoint

    path = tmp_path / "run.npz"
    plain(FedHDS(ALL, seed=7, checkpoint=path), rounds=1)
    kept = Checkpoint.read(path)
    assert kept is not None
    kept.arrays["a"][0, 0] = np.inf
    kept.write(path)
    with pytest.raises(fedhds.CheckpointError, match="array `a`: expected finite values"):
        plain(FedHDS(ALL, seed=7, checkpoint=path), rounds=2)


@pytest.mark.parametrize("claim", [2**32 - 1, 10**7, 41])
def test_a_claim_gives_no_weight_in_an_evaluation(claim: int) -> None:
    def boast(_: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics["num-examples"] = claim

    honest = plain(FedHDS(ALL, seed=7), rounds=1)[0].evaluate_metrics_clientapp[1]
    boasting = plain(FedHDS(ALL, seed=7), only(0, boast, "evaluate"), rounds=1)[0].evaluate_metrics_clientapp[1]
    assert dict(honest) == dict(boasting)


METHODS = [
    Method("random", budget=12),
    Method("all"),
    Method("random", count={"ratio": 0.2}),
    Method("fedhds_coverage", budget=12, client={"clusterer": {"n_clusters": 4}}),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("inner", [None, FedAvg])
def test_a_claim_gives_no_weight_in_the_mean(method: Method, inner: Any) -> None:
    """One who says that he trained on more than was ordered is left out or weighs what was ordered; one who says less weighs less."""

    def make() -> FedHDS:
        return FedHDS(method, None if inner is None else inner(), seed=7)

    for claim in (1, 40, 41, 10**6, 2.0**40):
        def says(_: dict[str, Any], metrics: dict[str, Any], claim: Any = claim) -> None:
            metrics["num-examples"] = claim

        strategy = make()
        got, _ = plain(strategy, only(0, says), rounds=1)
        (report,) = strategy.reports
        if 0 not in report.ordered:
            continue
        if claim > report.ordered[0]:
            expected, _ = plain(make(), silent(nodes({0}), {"train"}), rounds=1)
            assert equal(arrays_of(got.arrays), arrays_of(expected.arrays)) and "as ordered" in report.left_out[0]
        else:
            assert report.trained[0] == claim <= report.ordered[0]


def test_an_error_of_a_client_is_one_short_line_in_every_log() -> None:
    from flwr.app import Error

    text = "first\nsecond \x1b[2J" + "x" * 10**6
    strategy = FedHDS(ALL, seed=7)
    liars = nodes({1})

    def fails(message: Message, reply: Message | None) -> Message | None:
        return Message(Error(2, text), reply_to=message) if message.metadata.dst_node_id in liars and phase_of(message) == "train" else reply

    plain(strategy, fails, rounds=1)
    reason = strategy.reports[0].left_out[1]
    assert reason.startswith("first second \\x1b[2Jxxx") and len(reason) == 500


def test_a_newcomer_with_a_taken_number_is_refused_and_the_owner_goes_on() -> None:
    grid = ToyGrid(client_app(), [0, 1, 2])
    strategy = FedHDS(COVERAGE, seed=7)
    added = ToyGrid(client_app(), [1], first_node=5)

    def join(message: Message, reply: Message | None) -> Message | None:
        if phase_of(message) == "evaluate":
            grid.contexts |= added.contexts  # from the second round on
        return reply

    grid.interfere = join
    got = run(strategy, grid, rounds=3)
    assert equal(got, run(FedHDS(COVERAGE, seed=7), ToyGrid(client_app(), [0, 1, 2]), rounds=3))
    assert [list(report.refused) for report in strategy.reports] == [[], [5], [5]]
    assert "it says that it is client 1, which node" in strategy.reports[1].refused[5]
    hellos = [message.metadata.dst_node_id for message in grid.of_type("query.hds_extract") if phase_of(message) == "hello"]
    assert hellos.count(5) == 1 and hellos.count(grid.node_of(1)) == 2, "who is refused is not asked again while the owner answers"


def test_the_shape_of_an_array_without_dimensions_is_kept() -> None:
    record = record_of({"count": np.float32(3).reshape(()), "rows": np.asfortranarray(np.arange(6.0).reshape(2, 3))})
    back = arrays_of(record)
    assert back["count"].shape == () and np.array_equal(back["rows"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("other", ["int8", "shape", "nan", "none"])
def test_the_mean_alone_is_not_led_by_one_reply_either(other: str) -> None:
    def reply(place: int, array: Any, records: int = 2) -> Message:
        content = RecordDict({"arrays": record_of({"w": array}), "metrics": MetricRecord({"num-examples": records})})
        return Message(content, reply_to=Message(RecordDict(), 50 + place, "train"))

    ones = np.full((2, 2), 1.5, np.float32)
    wrong = {"int8": ones.astype(np.int8), "shape": ones[:1], "nan": ones * np.nan, "none": ones}[other]
    replies = [reply(0, wrong, 0 if other == "none" else 2), reply(1, ones), reply(2, ones)]
    arrays, _ = WeightedMean().aggregate_train(1, replies)
    assert arrays is not None
    found = arrays_of(arrays)["w"]
    assert found.dtype == np.float32 and found.shape == (2, 2)
    np.testing.assert_allclose(found, (1 + 1.5 + 1.5) / 3 if other == "int8" else 1.5, rtol=1e-6)




@pytest.mark.parametrize("what", ["more", "less"])
@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_of_two_with_unlike_metrics_the_one_without_those_that_are_known_is_left_out(phase: str, what: str) -> None:
    def own(_: dict[str, Any], metrics: dict[str, Any]) -> None:
        if what == "more":
            metrics["surprise"] = 1.0
        else:
            del metrics["train_loss" if phase == "train" else "eval_loss"]

    strategy = FedHDS(ALL, seed=7)
    grid = ToyGrid(client_app(), [1, 0])
    grid.interfere = only(0, own, phase, grid.node_of(0))
    strategy.start(grid, initial(), num_rounds=1)
    (report,) = strategy.reports
    named = report.left_out if phase == "train" else report.not_evaluated
    assert list(named) == [0] and ("surprise" in named[0]) == (what == "more")


def test_a_loss_that_is_none_is_not_part_of_the_mean_and_costs_nothing_else() -> None:
    def none(_: dict[str, Any], metrics: dict[str, Any]) -> None:
        metrics["train_loss"] = float("nan")

    strategy = FedHDS(ALL, seed=7)
    got, _ = plain(strategy, only(0, none), rounds=1)
    clean, _ = plain(FedHDS(ALL, seed=7), rounds=1)
    others, _ = plain(FedHDS(ALL, seed=7), silent(nodes({0}), {"train"}), rounds=1)
    assert equal(arrays_of(got.arrays), arrays_of(clean.arrays)) and not strategy.reports[0].left_out
    loss, expected = (float(one.train_metrics_clientapp[1]["train_loss"]) for one in (got, others))  # type: ignore[arg-type]
    assert loss == pytest.approx(expected)


def test_an_owner_that_was_not_heard_gets_its_number_back_from_a_newcomer() -> None:
    grid = ToyGrid(client_app(), [0, 1, 2])
    strategy = FedHDS(COVERAGE, seed=7)
    run(strategy, grid, rounds=1)
    owner, newcomer = grid.node_of(1), 5
    grid.contexts |= ToyGrid(client_app(), [1], first_node=newcomer).contexts
    taking: list[tuple[list[int], list[int]]] = []
    for number, away in ((2, True), (3, True), (4, False), (5, False)):
        grid.interfere = silent({owner}, {"hello"}) if away else lambda message, reply: reply
        messages = list(strategy.configure_train(number, initial(), ConfigRecord(), grid))
        strategy.aggregate_train(number, grid.send_and_receive(messages))
        taking.append((strategy.reports[-1].answered, list(strategy.reports[-1].refused)))
    assert taking == [([0, 1, 2], []), ([0, 1, 2], [owner]), ([0, 1, 2], [newcomer]), ([0, 1, 2], [newcomer])]


@pytest.mark.parametrize("seed", range(SEEDS * 5))
def test_an_array_that_says_more_than_it_holds_is_refused_on_either_side(seed: int) -> None:
    """Clients read arrays of a server, too."""
    array = wrong_array(random.Random(seed))
    try:
        found = arrays_of(ArrayRecord({"a": array}))["a"]
    except fedhds.ProtocolError as error:
        assert "array `a`: expected NumPy's format" in str(error) and len(str(error)) < 500
    else:
        assert found.nbytes <= len(array.data)
