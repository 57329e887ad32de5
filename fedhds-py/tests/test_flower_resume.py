"""A server app that is stopped goes on from its checkpoint, with the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

flwr = pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord  # noqa: E402
from flwr.serverapp.strategy import (  # noqa: E402
    DifferentialPrivacyClientSideAdaptiveClipping,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedYogi,
    QFedAvg,
    Strategy,
)

import fedhds  # noqa: E402
from fedhds import Method  # noqa: E402
from fedhds._writing import held  # noqa: E402
from fedhds.flower._checkpoint import Checkpoint  # noqa: E402
from fedhds.flower import FedHDS, WeightedMean, arrays_of, record_of  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401
from flower_toy import client_app, initial  # noqa: E402

METHOD = Method("fedhds_coverage", budget=7, client={"clusterer": {"n_clusters": 4}})
ROUNDS = 4


def loss(number: int, arrays: ArrayRecord) -> MetricRecord:
    return MetricRecord({"norm": float(np.linalg.norm(arrays["a"].numpy()))})


class Stopped(Exception):
    """The server app ends here."""


def start(
    folder: Path,
    rounds: int,
    inner: Strategy | None = None,
    stop: str = "",
    clients: int = 3,
    mods: Any = (),
    **settings: Any,
) -> tuple[FedHDS, Any]:
    """A new server app and new client apps, as after a restart; they have nothing but what is on their disks."""
    options = {"seed": 7, "checkpoint": folder / "server" / "run.npz", **settings}
    grid = ToyGrid(client_app(state_dir=folder / "clients", mods=mods), range(clients), first_node=1000 + rounds)

    def interfere(message: Message, reply: Message | None) -> Message | None:
        config = message.content["config"]
        here = f"{message.metadata.message_type} {config.get('server-round', message.metadata.group_id)}"
        if here == stop and message.metadata.dst_node_id == min(grid.contexts):
            raise Stopped
        return reply

    grid.interfere = interfere
    arrays = options.pop("arrays", initial())
    strategy = FedHDS(options.pop("method", METHOD), inner, **options)
    return strategy, strategy.start(grid, arrays, num_rounds=rounds, evaluate_fn=loss)


def same(a: Any, b: Any) -> bool:
    first, second = arrays_of(a.arrays), arrays_of(b.arrays)
    metrics = ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp")
    return (
        list(first) == list(second)
        and all(first[name].tobytes() == second[name].tobytes() for name in first)
        and all(
            {k: dict(v) for k, v in getattr(a, m).items()} == {k: dict(v) for k, v in getattr(b, m).items()}
            for m in metrics
        )
    )


INNER: dict[str, Callable[[], Strategy]] = {
    "mean": WeightedMean,
    "FedAvgM": lambda: FedAvgM(server_momentum=0.9, server_learning_rate=0.7),
    "FedAdam": lambda: FedAdam(eta=0.1),
    "FedYogi": lambda: FedYogi(eta=0.1),
    "FedAdagrad": lambda: FedAdagrad(eta=0.1),
    "FedMedian": FedMedian,
    "FedAvg": FedAvg,
    "QFedAvg": lambda: QFedAvg(client_learning_rate=0.1, q=0.1),
}


@pytest.mark.parametrize("inner", INNER)
def test_two_rounds_and_two_more_are_four(inner: str, tmp_path: Path) -> None:
    whole, expected = start(tmp_path / "whole", ROUNDS, INNER[inner]())
    start(tmp_path / "parts", 2, INNER[inner]())
    strategy, got = start(tmp_path / "parts", ROUNDS, INNER[inner]())
    assert same(got, expected)
    assert [r.write() for r in strategy.reports] == [r.write() for r in whole.reports] and len(
        strategy.reports
    ) == ROUNDS
    # A restart after the end runs no round, and gives what there is.
    again, ended = start(tmp_path / "parts", ROUNDS, INNER[inner]())
    assert same(ended, expected) and len(again.reports) == ROUNDS


def test_the_state_of_the_inner_strategy_and_of_clients_matters(tmp_path: Path) -> None:
    """The test above can fail: without these states the result is another."""
    _, expected = start(tmp_path / "whole", ROUNDS, FedAdam(eta=0.1))
    start(tmp_path / "parts", 2, FedAdam(eta=0.1))
    for file in (tmp_path / "parts" / "clients").glob("*/*.json"):
        file.unlink()
    _, forgotten = start(tmp_path / "parts", ROUNDS, FedAdam(eta=0.1))
    assert not same(forgotten, expected)


CORE = [fedhds.FedAdam(learning_rate=0.1), {"kind": "fedavgm", "momentum": 0.5}]


@pytest.mark.parametrize("aggregator", CORE, ids=["FedAdam", "FedAvgM"])
@pytest.mark.parametrize("stop", [f"{what} {round}" for round in range(1, 5) for what in ("query.hds_extract", "train")])
def test_the_cores_aggregators_go_on_from_any_round(stop: str, aggregator: Any, tmp_path: Path) -> None:
    _, expected = start(tmp_path / "whole", ROUNDS, aggregator=aggregator)
    with pytest.raises(Stopped):
        start(tmp_path / "parts", ROUNDS, aggregator=aggregator, stop=stop)
    strategy, got = start(tmp_path / "parts", ROUNDS, aggregator=aggregator)
    assert same(got, expected) and len(strategy.reports) == ROUNDS
    _, mean = start(tmp_path / "mean", ROUNDS)
    assert not same(mean, expected)


def test_what_the_core_s_aggregator_keeps_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with a server that forgets its state the result is another."""
    aggregator = fedhds.FedAdam(learning_rate=0.1)
    _, expected = start(tmp_path / "whole", ROUNDS, aggregator=aggregator)
    start(tmp_path / "parts", 2, aggregator=aggregator)
    monkeypatch.setattr(fedhds.Server, "resume", lambda self, state: None)
    _, forgotten = start(tmp_path / "parts", ROUNDS, aggregator=aggregator)
    assert not same(forgotten, expected)


class Seen:
    """A memory that keeps points; the newest one of the process is looked at."""

    newest: Any = None

    def __init__(self) -> None:
        self.points: list[list[float]] = []
        self.mass: list[float] = []
        Seen.newest = self

    def commit(self, trained: list[fedhds.TrainedGroup]) -> None:
        self.points += [group.centroid.tolist() for group in trained]
        self.mass += [float(group.records) for group in trained]

    def covered(self) -> tuple[Any, Any]:
        return self.points, self.mass

    def state(self) -> bytes:
        return json.dumps([self.points, self.mass]).encode()

    def resume(self, state: bytes) -> None:
        self.points, self.mass = json.loads(state)

    def bound(self) -> int:
        return 1000


class Far:
    """The groups that are farthest from what is covered."""

    uses_covered = True

    def select(self, rows: fedhds.Rows, count: int, seed: int) -> Any:
        far = np.full(len(rows), np.inf)
        for point in [] if rows.covered is None else rows.covered.points:
            far = np.minimum(far, np.linalg.norm(rows.points - point, axis=1))
        return np.argsort(-far, kind="stable")[:count]


@pytest.mark.parametrize("inner", [None, FedAvg])
def test_a_memory_learns_of_what_was_accepted_and_goes_on(inner: Any, tmp_path: Path) -> None:
    def run(folder: str, rounds: int, stop: str = "") -> tuple[FedHDS, Any]:
        stages = {"server.memory": Seen, "server.selector": Far()}
        method = Method("fedhds_coverage", budget=4, client={"clusterer": {"n_clusters": 4}}, stages=stages)
        return start(tmp_path / folder, rounds, None if inner is None else inner(), stop=stop, method=method)

    whole, expected = run("whole", ROUNDS)
    records = [sum(report.trained.values()) for report in whole.reports]
    assert sum(Seen.newest.mass) == sum(records) == 4 * ROUNDS
    with pytest.raises(Stopped):
        run("parts", ROUNDS, "train 3")
    strategy, got = run("parts", ROUNDS)
    assert same(got, expected) and sum(Seen.newest.mass) == sum(records)


@pytest.mark.parametrize("stop", ["query.hds_extract 3", "train 3", "evaluate 3"])
def test_a_server_that_is_stopped_within_a_round_repeats_it(stop: str, tmp_path: Path) -> None:
    _, expected = start(tmp_path / "whole", ROUNDS, FedAdam(eta=0.1))
    with pytest.raises(Stopped):
        start(tmp_path / "parts", ROUNDS, FedAdam(eta=0.1), stop=stop)
    strategy, got = start(tmp_path / "parts", ROUNDS, FedAdam(eta=0.1))
    assert same(got, expected) and len(strategy.reports) == ROUNDS


def test_no_half_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tmp_path, 1)
    before = (tmp_path / "server" / "run.npz").read_bytes()

    def fail(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(fedhds.CheckpointError, match="run.npz.*disk full"):
        start(tmp_path, 2)
    assert (tmp_path / "server" / "run.npz").read_bytes() == before
    assert [path.name for path in (tmp_path / "server").iterdir()] == ["run.npz"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seed", {"seed": 8}),
        ("method.count", {"method": Method("fedhds_coverage", budget=8, client={"clusterer": {"n_clusters": 4}})}),
        ("clients_per_round", {"clients_per_round": 2}),
        ("aggregator", {"aggregator": fedhds.FedAvgM()}),
        ("inner", {"inner": WeightedMean(fraction_evaluate=0.5)}),
        ("inner", {"inner": FedAvg()}),
        (
            "initial_arrays.a",
            {"arrays": record_of({"b": np.zeros((2, 3), np.float32), "a": np.ones((1, 8), np.float32)})},
        ),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    start(tmp_path, 1)
    before = (tmp_path / "server" / "run.npz").read_bytes()
    with pytest.raises(fedhds.CheckpointError, match=rf"run\.npz: {name}.*expected .* got "):
        start(tmp_path, 2, **change)
    assert (tmp_path / "server" / "run.npz").read_bytes() == before


def test_the_training_config_is_a_setting(tmp_path: Path) -> None:
    def run(rate: float) -> None:
        strategy = FedHDS(METHOD, seed=7, checkpoint=tmp_path / "run.npz")
        strategy.start(
            ToyGrid(client_app(), range(2)), initial(), num_rounds=1, train_config=ConfigRecord({"lr": rate})
        )

    run(0.1)
    run(0.1)
    with pytest.raises(fedhds.CheckpointError, match="train_config.lr: expected 0.2, as this run has it, got 0.1"):
        run(0.2)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive", b"not an archive at all"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(fedhds.CheckpointError, match=r"run\.npz: expected a checkpoint"):
        FedHDS(METHOD, checkpoint=path).start(ToyGrid(client_app(), [0]), initial(), num_rounds=1)


def test_a_foreign_archive_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "sprung").touch, ()

    path = tmp_path / "run.npz"
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, **{"checkpoint.json": np.array([Trap()], dtype=object)})
    with pytest.raises(fedhds.CheckpointError, match="expected a checkpoint"):
        FedHDS(METHOD, checkpoint=path).start(ToyGrid(client_app(), [0]), initial(), num_rounds=1)
    assert not (tmp_path / "sprung").exists()


def test_an_inner_strategy_that_cannot_be_kept_is_refused_before_the_first_round(tmp_path: Path) -> None:
    inner = WeightedMean()
    inner.handle = iter([1])  # type: ignore[attr-defined]
    grid = ToyGrid(client_app(), [0])
    with pytest.raises(fedhds.CheckpointError, match="inner/handle.*without a checkpoint"):
        FedHDS(METHOD, inner, checkpoint=tmp_path / "run.npz").start(grid, initial(), num_rounds=1)
    assert not grid.sent
    FedHDS(METHOD, inner).start(grid, initial(), num_rounds=1)


def test_all_of_flower_s_strategies_for_arrays_can_be_kept(tmp_path: Path) -> None:
    from fedhds.flower._inner import capture, restore

    adam, fresh_adam = FedAdam(), FedAdam()
    wrapped = DifferentialPrivacyClientSideAdaptiveClipping(adam, noise_multiplier=0.1, num_sampled_clients=3)
    for strategy in (*(make() for make in INNER.values()), wrapped):
        json.dumps(capture(strategy, {}))
    wrapped.clipping_norm = np.float64(0.3)
    adam.m_t = {"a": np.arange(3.0)}
    arrays: dict[str, Any] = {}
    captured = json.loads(json.dumps(capture(wrapped, arrays)))
    fresh = DifferentialPrivacyClientSideAdaptiveClipping(fresh_adam, noise_multiplier=0.1, num_sampled_clients=3)
    restore(fresh, captured, arrays)
    assert fresh.clipping_norm == 0.3 and fresh.strategy is fresh_adam and fresh_adam.m_t is not None
    assert np.array_equal(fresh_adam.m_t["a"], np.arange(3.0)) and callable(fresh_adam.train_metrics_aggr_fn)


def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    whole_checkpoint = Checkpoint(
        settings={"seed": 1}, round=1, experiment="e", state=b"state" * 20, inner={}, reports=[], metrics={},
        arrays={"w": np.arange(12.0)},
    )  # fmt: skip
    whole_checkpoint.write(path)
    whole = path.read_bytes()
    assert Checkpoint.read(path) is not None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(fedhds.CheckpointError, match="run.npz"):
            Checkpoint.read(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = Checkpoint.read(path)
        except fedhds.CheckpointError:
            continue
        # Fields of the archive that nobody reads, such as times: what is read is what was written.
        assert found is not None and found.state == whole_checkpoint.state and found.settings == whole_checkpoint.settings
        assert found.arrays["w"].tobytes() == whole_checkpoint.arrays["w"].tobytes()


def test_two_servers_do_not_write_one_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    grid = ToyGrid(client_app(), range(2))
    with held(path):
        with pytest.raises(fedhds.CheckpointError, match="another run of this process"):
            FedHDS(METHOD, seed=7, checkpoint=path).start(grid, initial(), num_rounds=1)
    FedHDS(METHOD, seed=7, checkpoint=path).start(grid, initial(), num_rounds=1)
    assert [one.name for one in tmp_path.iterdir()] == ["run.npz"]
