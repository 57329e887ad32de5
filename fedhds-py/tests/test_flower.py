"""The strategy and the client's helpers over a grid in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

flwr = pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx  # noqa: E402

from fedhds import Group, Method  # noqa: E402
from fedhds.flower import FedHDS, RoundReport, Task, WeightedMean, answer, arrays_of, record_of  # noqa: E402
from flower_grid import COVERAGE, ToyGrid, by_hand, equal, identity, run  # noqa: E402, F401
from flower_toy import RECORDS, client_app, initial  # noqa: E402


def test_a_run_equals_the_selection_without_flower_bit_for_bit() -> None:
    grid = ToyGrid(client_app(), [2, 0, 3, 1])
    got = run(FedHDS(COVERAGE, seed=7), grid)
    assert equal(got, by_hand(COVERAGE, [0, 1, 2, 3], 3, seed=7))
    assert not equal(got, run(FedHDS(COVERAGE, seed=8), ToyGrid(client_app(), range(4))))


def test_node_ids_and_the_order_of_answers_change_nothing() -> None:
    a = run(FedHDS(COVERAGE, seed=7), ToyGrid(client_app(), [2, 0, 3, 1]))
    b = run(FedHDS(COVERAGE, seed=7), ToyGrid(client_app(), [0, 1, 2, 3], first_node=123456))
    assert equal(a, b)


def test_only_clients_with_an_order_are_told_to_train_and_the_budget_is_met() -> None:
    method = Method("random", budget=2)
    grid, strategy = ToyGrid(client_app(), range(5)), FedHDS(method, seed=3)
    run(strategy, grid, rounds=4)
    for report in strategy.reports:
        assert report.clients == report.answered == [0, 1, 2, 3, 4]
        assert sum(report.ordered.values()) == 2 and report.trained == report.ordered
    assert len(grid.of_type("train")) == sum(len(report.ordered) for report in strategy.reports) < 20


def test_messages_hold_one_config_and_arrays_only_where_they_are_needed() -> None:
    for method, tuned in (
        (COVERAGE, True),
        (Method("fedhds_turbo", client={"clusterer": {"min_cluster_size": 3}}), False),
    ):
        grid = ToyGrid(client_app(), range(4))
        run(FedHDS(method, seed=1), grid, rounds=2, train_config=ConfigRecord({"lr": 0.1}))
        hello, *extract = grid.of_type("query.hds_extract")[3:]
        assert json.loads(str(hello.content["config"]["fedhds"]))["phase"] == "hello"
        assert len(extract) == 8
        for message in extract:
            assert len(message.content.array_records) == tuned and len(message.content.config_records) == 1
            assert message.content["config"]["lr"] == 0.1
        assert grid.of_type("train")
        for message in grid.of_type("train"):
            assert len(message.content.array_records) == len(message.content.config_records) == 1
            assert isinstance(message.content["config"]["fedhds-message"], bytes)
            assert message.content["config"]["server-round"] == int(message.metadata.group_id)


def test_rows_never_leave_the_client() -> None:
    grid, seen = ToyGrid(client_app(), range(3)), list[Message]()

    def listen(message: Message, reply: Message | None) -> Message | None:
        assert reply is not None
        seen.append(reply)
        return reply

    grid.interfere = listen
    run(FedHDS(COVERAGE, seed=7), grid, rounds=1)
    for reply in seen:
        kinds = {key for record in reply.content.values() for key in record}
        assert kinds <= {"fedhds", "fedhds-message", "a", "b", "num-examples", "num-clients", "train_loss", "eval_loss"}
    summaries = [r.content.config_records.get("fedhds", ConfigRecord()).get("fedhds-message") for r in seen]
    sizes = [len(summary) for summary in summaries if isinstance(summary, bytes)]
    assert len(sizes) == 3 and max(sizes) < 4 * (4 * 128 + 20)


def test_the_method_of_the_paper_and_the_baselines_run() -> None:
    for preset in ("fedhds", "fedhds_turbo", "all"):
        small: dict[str, Any] = {} if preset == "all" else {"client": {"clusterer": {"min_cluster_size": 3}}}
        strategy = FedHDS(Method(preset, **small), seed=2)
        run(strategy, ToyGrid(client_app(), range(3)), rounds=1)
        assert strategy.reports[0].records > 0
        assert strategy.reports[0].records == (
            3 * RECORDS if preset == "all" else sum(g.ordered for g in strategy.selection)
        )


@pytest.mark.parametrize("inner", [FedAvg(), FedAvgM(server_momentum=0.9), FedAdam(eta=0.1), FedProx(proximal_mu=0.1)])
def test_any_inner_strategy_aggregates(inner: Any) -> None:
    got = run(FedHDS(COVERAGE, inner, seed=7), ToyGrid(client_app(), range(4)))
    mean = by_hand(COVERAGE, [0, 1, 2, 3], 3, seed=7)
    assert all(np.isfinite(array).all() for array in got.values())
    if type(inner) is FedAvg:
        # In float32, so not the same bits; its arrays feed the features of the next round.
        assert all(np.allclose(got[name], mean[name], atol=1e-4) for name in mean)
    if isinstance(inner, FedAdam):
        assert not np.allclose(got["a"], mean["a"]) and inner.m_t is not None


def test_the_mean_is_that_of_the_core_even_for_negative_zeros() -> None:
    def reply(values: list[float], records: int) -> Message:
        ask = Message(RecordDict(), 5, "train")
        metrics = MetricRecord({"num-examples": records})
        return Message(
            RecordDict({"arrays": record_of({"w": np.asarray([values], np.float32)}), "metrics": metrics}), reply_to=ask
        )

    arrays, _ = WeightedMean().aggregate_train(1, [reply([-0.0, 0.1, 1e-8], 3), reply([-0.0, 0.7, 1e8], 5)])
    assert arrays is not None
    got = arrays_of(arrays)["w"]
    a, b = (np.array(values, dtype=np.float32).astype(float) for values in ([0.1, 1e-8], [0.7, 1e8]))
    assert got.tobytes() == np.concatenate([[0.0], (3 * a + 5 * b) / 8]).astype(np.float32).tobytes()


def test_each_node_is_asked_for_its_number_once() -> None:
    grid = ToyGrid(client_app(), range(3))
    run(FedHDS(COVERAGE, seed=7), grid, rounds=3)
    phases = [json.loads(str(m.content["config"]["fedhds"]))["phase"] for m in grid.of_type("query.hds_extract")]
    assert phases == ["hello"] * 3 + ["extract"] * 9


def test_clients_of_a_round_are_drawn_by_seed_and_number() -> None:
    def asked(seed: int, clients: list[int]) -> list[list[int]]:
        strategy = FedHDS(Method("random", budget=3), seed=seed, clients_per_round=2)
        run(strategy, ToyGrid(client_app(), clients), rounds=6)
        return [report.clients for report in strategy.reports]

    first = asked(1, [0, 1, 2, 3, 4])
    assert first == asked(1, [4, 2, 0, 1, 3]) != asked(2, [0, 1, 2, 3, 4])
    assert all(len(clients) == 2 for clients in first) and len({tuple(clients) for clients in first}) > 2
    strategy = FedHDS(Method("random", budget=3), clients_per_round=0.5)
    run(strategy, ToyGrid(client_app(), range(5)), rounds=1)
    assert len(strategy.reports[0].clients) == 3


def test_timeouts_reach_the_grid() -> None:
    grid = ToyGrid(client_app(), range(2))
    run(FedHDS(COVERAGE, seed=7, query_timeout=3.5), grid, rounds=1)
    assert grid.timeouts == [3.5, 3.5, 5.0, 5.0]


def test_a_method_without_features_never_asks_for_them() -> None:
    def never(client: int) -> np.ndarray:
        raise AssertionError("asked for features")

    app = ClientApp()
    app.query("hds_extract")(
        lambda message, context: answer(message, context, lambda q: never(q.client), records=RECORDS)
    )

    @app.train()
    def train(message: Message, context: Any) -> Message:
        task = Task(message, context)
        return task.reply(task.arrays, train_loss=1.0)

    strategy = FedHDS(Method("stratified", budget=4), WeightedMean(fraction_evaluate=0.0), seed=7)
    strategy.start(ToyGrid(app, range(2)), initial(), num_rounds=1)
    assert strategy.reports[0].records == 4


def test_reports_survive_being_written() -> None:
    report = RoundReport(3, [0, 1, 5], [0, 1], 4, {0: 2}, {0: 2}, {5: "no answer"})
    report.picked = [Group(0, 4, 9, -1, 2, 1, 3.5, covered_records=0.25, caps=("share", "room")), Group(0, 5, 3, 2, 1)]
    assert RoundReport.read(json.loads(json.dumps(report.write()))) == report
    assert report.reasons() == "1. client 0 group 4: 2, gain 3.5, reached share and room"
    older = report.write()
    del older["picked"]
    assert RoundReport.read(older).picked == []
    assert "round 3: 2 of 3 clients answered with 4 groups; 2 records ordered of 1 clients, 2 trained on" in str(report)


def test_client_state_files_hold_rows_of_each_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state, checkpoint = tmp_path / "clients", tmp_path / "run.npz"
    strategy = FedHDS(COVERAGE, seed=7, checkpoint=checkpoint)
    run(strategy, ToyGrid(client_app(state_dir=state), range(2)), rounds=2)
    (folder,) = state.iterdir()
    for client in range(2):
        rows = json.loads((folder / f"client-{client}.json").read_text())
        counts = {int(round): len(r) for round, r in rows.items()}
        assert counts == {r.round: r.trained[client] for r in strategy.reports if client in r.trained}
    whole = (folder / "client-0.json").read_text()
    kept = checkpoint.read_bytes()
    for damaged in ("not json", "", whole[: len(whole) // 2], '{"1": [-1]}', "[1]", '{"1": [1e400]}'):
        (folder / "client-0.json").write_text(damaged)
        checkpoint.write_bytes(kept)
        strategy = FedHDS(COVERAGE, seed=7, checkpoint=checkpoint)
        run(strategy, ToyGrid(client_app(state_dir=state), range(2)), rounds=3)
        assert strategy.reports[-1].left_out == {} and "client-0.json: expected rows by round" in caplog.text
        assert set(json.loads((folder / "client-0.json").read_text())) == {"3"}, "it begins anew"


def test_arrays_keep_the_types_in_which_they_began() -> None:
    got = run(FedHDS(COVERAGE, FedAdam(eta=0.1), seed=7), ToyGrid(client_app(), range(3)), rounds=2)
    assert {array.dtype for array in got.values()} == {np.dtype(np.float32)}


def test_a_strategy_can_be_started_again() -> None:
    strategy = FedHDS(COVERAGE, seed=7)
    first = run(strategy, ToyGrid(client_app(), range(3)), rounds=2)
    assert equal(first, run(strategy, ToyGrid(client_app(), range(3), first_node=77), rounds=2))
    assert [report.round for report in strategy.reports] == [1, 2]


def test_python_stages_must_be_on_the_client_too() -> None:
    def own(points: np.ndarray, seed: int) -> list[int]:
        return [int(value) for value in points[:, 0] > 0]

    stages = {"client.clusterer": own}
    method = Method("fedhds_coverage", budget=6, stages=stages)
    strategy = FedHDS(method, seed=7)
    run(strategy, ToyGrid(client_app(), range(2)), rounds=1)
    assert "stages in Python do not travel" in strategy.reports[0].left_out[0]
    strategy = FedHDS(method, seed=7)
    run(strategy, ToyGrid(client_app(method=Method("fedhds_coverage", budget=6, stages=stages)), range(2)), rounds=1)
    assert strategy.reports[0].records == 6 and strategy.reports[0].groups == 4
