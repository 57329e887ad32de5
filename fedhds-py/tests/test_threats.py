"""What a hostile server can make the clients of Flower and FedML say or do. The core's part is in tests/robustness."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

flwr = pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Array, Context, Message  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

import fedhds  # noqa: E402
from fedhds import AllowedMethods, Method  # noqa: E402
from fedhds.fedml import ClientTrainer  # noqa: E402
from fedhds.flower import FedHDS, LocalData, RustClient, Task, answer, unpin  # noqa: E402
from flower_grid import COVERAGE, ToyGrid, identity, run  # noqa: E402, F401
from flower_toy import RECORDS, client_app, features_of, initial  # noqa: E402
from test_fedml import arguments  # noqa: E402

QUERY, TRAIN = "query.hds_extract", "train"


def tampered(message: Message, **fields: Any) -> Message:
    """The message with other fields in its header; `body` is other bytes of the selection."""
    changed = copy.deepcopy(message)
    config = changed.content.config_records["config"]
    body = fields.pop("body", None)
    config["fedhds"] = json.dumps(json.loads(str(config["fedhds"])) | fields)
    if body is not None:
        config["fedhds-message"] = body
    return changed


def order_for(records: int, client: int = 0) -> bytes:
    """An order of round 0 for some records of the first group, as the wire protocol writes it."""
    assert records < 128
    return b"FH\x02\x03" + bytes([client, 0, 1, 0, records, 0])


class Hostile:
    """A client app that has answered one honest round of a server that turns out to be none."""

    def __init__(self, app: ClientApp, method: Method = COVERAGE) -> None:
        self.grid = ToyGrid(app, [0])
        self.strategy = FedHDS(method, seed=7)
        run(self.strategy, self.grid, rounds=1)
        (_, self.start), (self.order,) = self.grid.of_type(QUERY)[-2:], self.grid.of_type(TRAIN)

    def ask(self, message: Message) -> Message:
        return self.grid.app(copy.deepcopy(message), self.grid.contexts[self.grid.node_of(0)])


def summary_of(reply: Message) -> bytes:
    body = reply.content.config_records["fedhds"]["fedhds-message"]
    assert isinstance(body, bytes)
    return body


def rust_app(**settings: Any) -> ClientApp:
    """A client of `RustClient` whose trainer and extractor are Python objects."""
    records = [fedhds.Record(str(row), f"Say {row}", responses=(str(row),)) for row in range(RECORDS)]

    class Extractor:
        is_frozen, layers = True, 1

        def extract(self, records: Any, adapter: Any) -> Any:
            return features_of(0)

    class Start:
        def __init__(self, tensors: dict[str, Any]) -> None:
            self.tensors = tensors

        def with_tensors(self, arrays: dict[str, Any]) -> Start:
            return Start(dict(arrays))

    class Trainer:
        def init(self, seed: int) -> Any:
            return Start({})

        def train(self, adapter: Any, records: Any, seed: int) -> Any:
            return fedhds.Trained(adapter)

    data = LocalData(records, Trainer(), Extractor(), judge=False)
    return RustClient(lambda context: data, **settings).app()


EXTREME = [
    ("client.clusterer.n_clusters", Method("fedhds_coverage", client={"clusterer": {"n_clusters": 2**20}})),
    ("client.min_group_size", Method("fedhds_coverage", client={"min_group_size": 1})),
    (
        "client.clusterer",
        Method("fedhds", client={"reducer": "none", "clusterer": {"kind": "kmeans", "n_clusters": 2**20}}),
    ),
    ("client.clusterer.max_iter", Method("fedhds_coverage", client={"clusterer": {"max_iter": 10**9}})),
    ("client.shared_dims", Method("fedhds_coverage", client={"shared_dims": 65536})),
    ("client.reducer.max_iter", Method("fedhds", client={"reducer": {"max_iter": 10**9}})),
    ("client.share_scores", Method("fedhds_coverage", client={"share_scores": True})),
]


@pytest.mark.parametrize(("key", "method"), EXTREME, ids=[key for key, _ in EXTREME])
@pytest.mark.parametrize("allowed", [None, AllowedMethods()], ids=["none", "allowed"])
def test_a_client_without_a_method_runs_none_beyond_its_limits(key: str, method: Method, allowed: Any) -> None:
    for app in (client_app(method=allowed), rust_app(method=allowed)):
        hostile = Hostile(app)
        with pytest.raises(fedhds.ProtocolError, match=key if key != "client.clusterer" else "client.reducer|client.clusterer"):
            hostile.ask(tampered(hostile.start, method=method.settings, round=2))
    fedml = AllowedMethods()
    with pytest.raises(fedhds.ProtocolError, match="expected"):
        fedml.check(method)


def test_presets_that_are_not_on_the_list_are_refused() -> None:
    hostile = Hostile(client_app(method=AllowedMethods(["fedhds_coverage"])))
    with pytest.raises(fedhds.ProtocolError, match="preset: expected one of fedhds_coverage"):
        hostile.ask(tampered(hostile.start, method=Method("fedhds").settings, round=2))
    with pytest.raises(fedhds.ProtocolError, match="expected preset, name"):
        hostile.ask(tampered(hostile.start, method={"preset": "all", "stages": {}}, round=2))
    pinned = Hostile(client_app(method=COVERAGE))
    with pytest.raises(fedhds.ProtocolError, match="protocol: method"):
        pinned.ask(tampered(pinned.start, method=Method("fedhds_coverage", budget=8).settings, round=2))
    for bad in ({"max_iter": -1}, {"max_clusters": 2.5}, {"presets": "all"}):
        with pytest.raises(fedhds.ParameterError):
            AllowedMethods(**bad)
    with pytest.raises(fedhds.ConfigError):
        AllowedMethods(["fedhd"])


@pytest.mark.parametrize("app", [client_app, rust_app], ids=["inner", "rust"])
def test_a_round_is_answered_once(app: Any) -> None:
    hostile = Hostile(app())
    first = summary_of(hostile.ask(hostile.start))
    assert summary_of(hostile.ask(hostile.start)) == first, "a resend repeats the bytes"
    with pytest.raises(fedhds.ProtocolError, match="seed.*7"):
        hostile.ask(tampered(hostile.start, seed="8"))
    with pytest.raises(fedhds.ProtocolError, match="seed.*7"):
        hostile.ask(tampered(hostile.start, seed="8", experiment="0" * 32, round=9))
    # The order: the same again is answered as it was, with the same rows.
    again = hostile.ask(hostile.order)
    assert again.content.metric_records["metrics"]["num-examples"] == 7
    with pytest.raises(fedhds.ProtocolError, match="answered"):
        hostile.ask(tampered(hostile.order, body=order_for(1)))
    with pytest.raises(fedhds.ProtocolError, match="seed.*7"):
        hostile.ask(tampered(hostile.order, seed="8"))
    other = copy.deepcopy(hostile.order)
    other.content.array_records["arrays"]["b"] = Array(np.ones((2, 3), dtype=np.float32))
    with pytest.raises(fedhds.ProtocolError, match="the arrays that round 1 was answered to"):
        hostile.ask(other)
    # Its owner may let it forget.
    unpin(hostile.grid.contexts[hostile.grid.node_of(0)])
    hostile.ask(tampered(hostile.start, seed="8"))


def test_the_first_seed_holds_for_other_runs_where_there_is_a_folder(tmp_path: Path) -> None:
    Hostile(client_app(state_dir=tmp_path))
    grid = ToyGrid(client_app(state_dir=tmp_path), [0], first_node=5)
    strategy = FedHDS(COVERAGE, seed=8)
    run(strategy, grid, rounds=1)
    assert "seed: expected 7" in strategy.reports[0].left_out[0]
    unpin(grid.contexts[grid.node_of(0)], tmp_path)
    run(FedHDS(COVERAGE, seed=8), grid, rounds=1)
    assert list(tmp_path.glob("*/client-0.pins"))


def test_a_client_has_limits_of_its_own() -> None:
    grid = ToyGrid(rust_app(max_records=3), [0])
    strategy = FedHDS(COVERAGE, seed=7)
    run(strategy, grid, rounds=1)
    assert "at most 3, which this client agrees to, got 7" in strategy.reports[0].left_out[0]
    grid, strategy = ToyGrid(rust_app(least_group=4), [0]), FedHDS(COVERAGE, seed=7)
    run(strategy, grid, rounds=1)
    assert not strategy.reports[0].trained
    app = ClientApp()

    @app.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        return answer(message, context, features_of(0), records=RECORDS, least_group=3)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Task(message, context, max_records=6).reply({}, train_loss=0.0)

    grid, strategy = ToyGrid(app, [0]), FedHDS(COVERAGE, seed=7)
    run(strategy, grid, rounds=1)
    assert "at most 6" in strategy.reports[0].left_out[0]


TICKET = bytes(16)  # what a server of FedML puts behind an order


def test_a_client_of_fedml_answers_once_and_has_limits() -> None:
    class Trainer(ClientTrainer):
        def train_selected(self, records: list[Any], device: Any, args: Any) -> None: ...

        def get_adapter(self) -> Any:
            return {}

        def set_adapter(self, state: Any) -> None: ...

    def sent(trainer: ClientTrainer, kind: str, message: bytes) -> Any:
        trainer.set_model_params({kind: np.frombuffer(message, np.uint8)})
        trainer.on_before_local_training(list(range(RECORDS)), "cpu", None)
        return trainer.get_model_params()

    def server(seed: int) -> bytes:
        return fedhds.Server(COVERAGE, seed=seed).begin_round(0, [0])

    def client(**limits: Any) -> ClientTrainer:
        trainer = Trainer(None, arguments(), method=COVERAGE, features=lambda _: features_of(0), **limits)
        trainer.set_id(0)
        return trainer

    trainer = client()
    first, again = (str(sent(trainer, "fedhds.start", server(7))) for _ in range(2))
    assert first == again
    with pytest.raises(fedhds.ProtocolError, match="record_keys"):
        sent(trainer, "fedhds.start", server(8))
    sent(trainer, "fedhds.order", order_for(2) + TICKET)
    assert len(trainer.rows) == 2
    with pytest.raises(fedhds.ProtocolError, match="answered"):
        sent(trainer, "fedhds.order", order_for(1) + TICKET)
    few = client(max_records=1)
    sent(few, "fedhds.start", server(7))
    with pytest.raises(fedhds.ProtocolError, match="at most 1"):
        sent(few, "fedhds.order", order_for(2) + TICKET)
    with pytest.raises(fedhds.ProtocolError, match="expected one whole number"):
        few.set_model_params({"fedhds.round": np.array([2**40])})


def test_near_copies_of_a_record_are_one_record() -> None:
    """Three copies of a lone record are no group of three, with methods that let each copy train too."""
    records = [fedhds.Record(str(row), f"Name the sound of animal {row}", responses=("moo",)) for row in range(20)]
    clothes = ["My bank code is 4711.", "my bank code is 4711", "Please: my  bank code is 4711"]
    records += [fedhds.Record(text, text, responses=("yes",)) for text in clothes]
    features = np.random.default_rng(1).normal(size=(23, 8)).astype(np.float32)
    features[20:] += 50.0

    app = ClientApp()

    @app.query("hds_extract")
    def extract(message: Message, context: Context) -> Message:
        return answer(message, context, features, records=records)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Task(message, context).reply(Task(message, context).arrays, train_loss=0.0)

    method = Method("fedhds_coverage", budget=4)
    grid = ToyGrid(app, [0])
    run(FedHDS(method, seed=7), grid, rounds=1)
    state = grid.contexts[grid.node_of(0)].state.config_records["fedhds"]["state"]
    assert isinstance(state, bytes)
    client = fedhds.Client(0, method, seed=7)
    client.resume(state)
    groups = client.groups
    assert groups is not None
    for group in set(groups[20:]):
        assert (groups[:20] == group).sum() >= 2, "the lone record is shown with two others at least"


def test_an_array_that_claims_more_than_it_has_asks_for_no_room() -> None:
    hostile = Hostile(client_app())
    huge = copy.deepcopy(hostile.order)
    array = initial()["a"]
    data = array.data.replace(b"(1, 8), }            ", b"(9999999999999, 8), }")
    huge.content.array_records["arrays"]["a"] = Array(array.dtype, array.shape, array.stype, data)
    with pytest.raises(fedhds.ProtocolError, match="array `a`"):
        hostile.ask(huge)


def test_extreme_headers_and_methods_are_refused_or_run_within_limits() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    st = pytest.importorskip("hypothesis.strategies")
    hostile = Hostile(client_app())
    number = st.one_of(st.sampled_from([0, 1, 2, 3, 64, 2**20, 2**31, 2**32 - 1, 2**63, 10**30, -1]), st.floats())
    paths = [
        ("client", "clusterer", name)
        for name in ("n_clusters", "n_init", "max_iter", "min_rows_per_cluster", "tol")
    ] + [("client", name) for name in ("shared_dims", "min_group_size")] + [("count", "budget")]
    checks = list(hypothesis.HealthCheck)

    @hypothesis.settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=checks)
    @hypothesis.given(st.dictionaries(st.sampled_from(paths), number, min_size=1, max_size=3), number, number, number)
    def attack(changes: dict[tuple[str, ...], Any], round: Any, client: Any, seed: Any) -> None:
        settings = copy.deepcopy(COVERAGE.settings)
        for path, value in changes.items():
            place = settings
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = value
        for fields in ({"method": settings, "round": 2}, {"round": round}, {"client": client}, {"seed": str(seed)}):
            try:
                reply = hostile.ask(tampered(hostile.start, **fields))
            except fedhds.Error:
                continue
            assert len(summary_of(reply)) < 64 * (8 + 4 * 512) + 64

    attack()


def test_a_method_in_a_thousand_layers_is_refused() -> None:
    hostile = Hostile(client_app())
    deep = copy.deepcopy(hostile.start)
    header = str(deep.content.config_records["config"]["fedhds"])
    deep.content.config_records["config"]["fedhds"] = header.replace('"method": {', '"method": {"a": ' + "[" * 10**5, 1)
    with pytest.raises(fedhds.ProtocolError):
        hostile.ask(deep)
