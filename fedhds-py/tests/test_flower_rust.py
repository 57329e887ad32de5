"""Clients that train in Rust, and clients that train in PyTorch beside them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

flwr = pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Context, Message  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

import fedhds  # noqa: E402
from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, LocalData, RustClient, Task, WeightedMean, answer, arrays_of, record_of  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401

CLIENTS, ROUNDS, SEED = 4, 2, 11


@functools.cache
def model() -> fedhds.Model:
    return fedhds.Model.embedded()


@functools.cache
def parts() -> tuple[list[list[fedhds.Record]], list[fedhds.Record]]:
    train, test = fedhds.embedded_records(records_per_task=2, test_records_per_task=1, tasks=20)
    return fedhds.partition(train, "dirichlet", clients=CLIENTS, alpha=0.5, min_records=4), test


@functools.cache
def trainer() -> fedhds.LoraTrainer:
    return fedhds.LoraTrainer(model(), prompt="short", r=2, learning_rate=1e-2)


@functools.cache
def extractor(frozen: bool) -> fedhds.LayerFeatures:
    return fedhds.LayerFeatures(model(), prompt="short", frozen=frozen)


def local(context: Context, frozen: bool = True) -> LocalData:
    clients, test = parts()
    records = clients[int(context.node_config["partition-id"])]
    evaluator = fedhds.ModelEvaluator(model(), prompt="short")
    return LocalData(records, trainer(), extractor(frozen), evaluator, test[:3])


METHODS = {
    "frozen": (Method("fedhds_coverage", budget=6, features="proxy"), True),
    "tuned": (Method("fedhds_shared", budget=6, client={"clusterer": {"min_cluster_size": 2}}), False),
    "without features": (Method("random", budget=6), True),
}
TEXT = Method("fedhds_robust", budget=6, server={"gate": {"kind": "ranks", "counted": 16, "topics": 3}})


def flower(method: Method, client: RustClient, rounds: int = ROUNDS, **settings: Any) -> tuple[FedHDS, dict[str, Any]]:
    grid = ToyGrid(client.app(), [2, 0, 3, 1])
    layers = settings.pop("layers", extractor(True).layers)
    strategy = FedHDS(method, WeightedMean(fraction_evaluate=0.0), seed=SEED, layers=layers, **settings)
    first = trainer().init(fedhds.client_seed(SEED, "init"))
    return strategy, arrays_of(strategy.start(grid, record_of(first.tensors), num_rounds=rounds).arrays)


@pytest.mark.parametrize("case", METHODS)
def test_a_flower_run_is_the_simulation_bit_for_bit(case: str) -> None:
    method, frozen = METHODS[case]
    strategy, got = flower(method, RustClient(lambda context: local(context, frozen)))
    simulation = fedhds.Simulation(
        method,
        parts()[0],
        trainer=trainer(),
        extractor=extractor(frozen),
        rounds=ROUNDS,
        participation=1.0,
        evaluate="never",
        seed=SEED,
    )
    outcome = simulation.run()
    expected = outcome.adapter.tensors
    assert list(got) == list(expected)
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    start = trainer().init(fedhds.client_seed(SEED, "init")).tensors
    assert any(got[name].tobytes() != start[name].tobytes() for name in start)
    for report, one in zip(strategy.reports, outcome.rounds, strict=True):
        assert report.trained == {c["client"]: len(c["selected"]) for c in one["clients"] if c["selected"]}


@pytest.mark.parametrize("judge", [None, False], ids=["the model judges", "nobody judges"])
def test_a_method_of_texts_needs_no_extractor_and_the_model_judges(judge: Any) -> None:
    """Near copies, the gate's question and answer, and rows that never train again: as in the simulation, over many rounds."""

    def load(context: Context) -> LocalData:
        return LocalData(parts()[0][int(context.node_config["partition-id"])], trainer(), judge=judge)

    strategy, got = flower(TEXT, RustClient(load), rounds=4, layers=1)
    given = {"rounds": 4, "participation": 1.0, "evaluate": "never", "seed": SEED}
    outcome = fedhds.Simulation(TEXT, parts()[0], trainer=trainer(), judge=judge, **given).run()
    expected = outcome.adapter.tensors
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    assert (outcome.rounds[0]["gate"]["answered"] > 0) == (judge is None)
    chosen = [id for one in outcome.rounds for client in one["clients"] for id in client["selected"]]
    assert len(chosen) == len(set(chosen)) == 24
    for report, one in zip(strategy.reports, outcome.rounds, strict=True):
        assert report.trained == {c["client"]: len(c["selected"]) for c in one["clients"] if c["selected"]}


def test_what_was_lost_on_the_way_is_open_again_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of an update that did not arrive train again; rows of earlier rounds, and of rounds without an order, do not."""
    rows: dict[tuple[int, int], list[int]] = {}
    inner = Task.reply

    def load(context: Context) -> LocalData:
        return LocalData(parts()[0][int(context.node_config["partition-id"])], trainer(), judge=False)

    def reply(task: Task, *given: Any, **more: Any) -> Message:
        rows[task.round, task.client] = task.rows.tolist()
        answered = inner(task, *given, **more)
        if (task.round, task.client) == (2, lost):
            raise RuntimeError("the line is down")
        return answered

    monkeypatch.setattr(Task, "reply", reply)
    lost = 3
    method = Method("fedhds_robust", budget=8, server={"gate": "none", "share_cap": 1.0})
    strategy, _ = flower(method, RustClient(load), rounds=9, layers=1)
    assert lost in strategy.reports[1].left_out
    trained = [row for (round, client), chosen in rows.items() if client == lost and round != 2 for row in chosen]
    assert len(trained) == len(set(trained))
    assert set(rows[2, lost]) & set(trained), "what was lost is open again"
    for other in set(range(CLIENTS)) - {lost}:
        chosen = [row for (_, client), chosen in rows.items() if client == other for row in chosen]
        assert len(chosen) == len(set(chosen))


def test_a_resumed_run_has_the_same_bits_and_takes_frozen_features_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method, _ = METHODS["frozen"]
    taken: list[int] = []

    class Counted:
        is_frozen, fingerprint, layers = True, "counted", extractor(True).layers

        def extract(self, records: Any, adapter: Any) -> Any:
            taken.append(len(records))
            return extractor(True).extract(records)

    def load(context: Context, folder: Path | None = None) -> LocalData:
        return LocalData(parts()[0][int(context.node_config["partition-id"])], trainer(), Counted(), state_dir=folder)

    kept = functools.partial(load, folder=tmp_path / "client")
    _, expected = flower(method, RustClient(load), rounds=3)
    assert len(taken) == CLIENTS
    for rounds in (1, 3):
        client = RustClient(kept, keep=1)
        strategy, got = flower(method, client, rounds=rounds, checkpoint=tmp_path / "run.npz")
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    assert len(taken) == 2 * CLIENTS and len(list((tmp_path / "client" / "features").iterdir())) == CLIENTS
    damaged = next((tmp_path / "client" / "features").iterdir())
    whole = damaged.read_bytes()
    for content in (b"junk", b"", whole[: len(whole) // 2], whole[:-1]):
        damaged.write_bytes(content)
        taken.clear()
        strategy, _ = flower(method, RustClient(kept), rounds=1)
        assert strategy.reports[0].left_out == {} and len(taken) == 1, "features of the damaged file alone are taken again"
        assert damaged.read_bytes() == whole and damaged.name in caplog.text


def test_own_objects_in_the_place_of_trainer_and_extractor() -> None:
    class Mine:
        def init(self, seed: int) -> fedhds.Adapter:
            return trainer().init(seed)

        def train(self, adapter: fedhds.Adapter, records: Any, seed: int) -> fedhds.Adapter:
            return adapter.with_tensors({name: array + len(records) for name, array in adapter.tensors.items()})

    def lengths(records: Any, adapter: Any) -> Any:
        return np.array([[len(r.instruction), len(r.response)] for r in records], dtype=float)

    client = RustClient(lambda c: LocalData(parts()[0][int(c.node_config["partition-id"])], Mine(), lengths))
    strategy, got = flower(METHODS["frozen"][0], client, rounds=1, layers=1)
    start = trainer().init(fedhds.client_seed(SEED, "init")).tensors
    mean = sum(n * n for n in strategy.reports[0].trained.values()) / 6
    assert all(np.allclose(got[name] - start[name], mean, atol=1e-4) for name in start)


def test_evaluation_on_clients_and_what_it_needs() -> None:
    grid = ToyGrid(RustClient(local).app(), range(2))
    first = trainer().init(0)
    strategy = FedHDS(METHODS["without features"][0], seed=SEED, layers=extractor(True).layers)
    result = strategy.start(grid, record_of(first.tensors), num_rounds=1)
    (metrics,) = result.evaluate_metrics_clientapp.values()
    scores = fedhds.ModelEvaluator(model(), prompt="short").evaluate(
        parts()[1][:3], first.with_tensors(arrays_of(result.arrays)), False
    )
    assert metrics["eval_loss"] == pytest.approx(np.mean([s.loss for s in scores]), abs=1e-6)
    bare = RustClient(lambda c: LocalData(parts()[0][0], trainer()))
    message = grid.of_type("evaluate")[0]
    with pytest.raises(fedhds.InputError, match="evaluator and test records"):
        bare.evaluate(message, ToyGrid(bare.app(), [0]).contexts[900])
    grid = ToyGrid(bare.app(), [0])
    strategy = FedHDS(METHODS["frozen"][0], seed=SEED)
    strategy.start(grid, record_of(first.tensors), num_rounds=1)
    assert "extractor: expected one" in strategy.reports[0].left_out[0]


def test_both_kinds_of_clients_in_one_federation() -> None:
    """A client of the first kind is any code with PEFT's names; `test_flower_torch` has PyTorch itself."""
    rust, mixed = RustClient(local).app(), ClientApp()
    clients, _ = parts()

    @mixed.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        if number % 2:
            return rust(message, context)
        return answer(message, context, extractor(True).extract(clients[number]), layers=extractor(True).layers)

    @mixed.train()
    def train(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        if number % 2:
            return rust(message, context)
        task = Task(message, context, layers=extractor(True).layers)
        arrays = {name: array * np.float32(0.5) for name, array in reversed(task.arrays.items())}
        return task.reply(arrays, train_loss=1.0)

    strategy = FedHDS(
        METHODS["frozen"][0], WeightedMean(fraction_evaluate=0.0), seed=SEED, layers=extractor(True).layers
    )
    strategy.start(ToyGrid(mixed, range(CLIENTS)), record_of(trainer().init(0).tensors), num_rounds=2)
    for report in strategy.reports:
        assert report.records == 6 and not report.left_out
        assert {client % 2 for client in report.trained} == {0, 1}
