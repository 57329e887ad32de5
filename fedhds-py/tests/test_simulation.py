"""The core's simulation with the core's stages and with one's own; adapters joined by the server."""

import inspect
import sys

import numpy as np
import pytest

import fedhds


@pytest.fixture(scope="module")
def model():
    return fedhds.Model.embedded()


@pytest.fixture(scope="module")
def data():
    train, test = fedhds.embedded_records(records_per_task=3, test_records_per_task=1)
    return fedhds.partition(train, "dirichlet", clients=4, alpha=0.5, min_records=8, seed=1), test


def trainer(model):
    return fedhds.LoraTrainer(model, prompt="short", learning_rate=1e-3)


def simulation(model, data, **more):
    method = fedhds.Method("fedhds_coverage", budget=4)
    given = {"trainer": trainer(model), "extractor": fedhds.LayerFeatures(model, prompt="short"), "rounds": 2, "seed": 3}
    return fedhds.Simulation(method, data[0], **({"participation": 1.0} | given | more))


@pytest.fixture(scope="module")
def outcome(model, data):
    return simulation(model, data).run()


def test_a_run_repeats_at_any_number_of_workers(model, data, outcome):
    again = simulation(model, data, clients_at_once=2).run()
    assert again.adapter == outcome.adapter
    assert [[c["selected"] for c in r["clients"]] for r in again.rounds] == [
        [c["selected"] for c in r["clients"]] for r in outcome.rounds
    ]
    assert sum(len(c["selected"]) for c in outcome.rounds[0]["clients"]) == 4
    assert simulation(model, data, seed=4).run().adapter != outcome.adapter


def test_the_same_federation_by_messages_gives_the_same_adapter(model, data, outcome):
    """Client and Server by hand, with the seeds of `client_seed`: bit for bit the simulation's adapter."""
    clients, _ = data
    method = fedhds.Method("fedhds_coverage", budget=4)
    local, extractor = trainer(model), fedhds.LayerFeatures(model, prompt="short")
    server = fedhds.Server(method, layers=extractor.layers, seed=3)
    machines = [fedhds.Client(c, method, layers=extractor.layers, seed=3) for c in range(len(clients))]
    adapter = local.init(fedhds.client_seed(3, "init"))
    for number in range(2):
        start = server.begin_round(number, range(len(clients)), adapter)
        for machine, records in zip(machines, clients):
            server.receive(machine.id, machine.summarize(start, extractor.extract(records)))
        for client, order in reversed(list(server.select().items())):
            rows = machines[client].choose(order)
            if len(rows):
                seed = fedhds.client_seed(3, "train", number, client)
                trained = local.train(adapter, [clients[client][row] for row in rows], seed)
                machines[client].mark_trained(rows)
                server.receive_update(client, trained.adapter, len(rows))
        adapter = server.finish_round().adapter or adapter
    assert adapter == outcome.adapter


class OwnTrainer:
    """Adds the number of records to every value."""

    def __init__(self, model):
        self.inner = trainer(model)
        self.seen = []

    def init(self, seed):
        return self.inner.init(seed)

    def train(self, adapter, records, seed):
        self.seen.append([record.id for record in records])
        return adapter.with_tensors({name: values + len(records) for name, values in adapter.tensors.items()})


class Sum:
    """Keeps the last adapter that came."""

    def __init__(self):
        self.last = None
        self.clients = []

    def add(self, client, adapter, records):
        self.clients.append((client, records))
        self.last = adapter

    def finish(self):
        last, self.last = self.last, None
        return last


class Scores:
    def evaluate(self, records, adapter, generate):
        return [fedhds.RecordScore(r.id, r.category, float(len(r.instruction)), "x", 0.5, False) for r in records]


class Lengths:
    """Features that need no model."""

    def __init__(self):
        self.calls = 0

    def extract(self, records, adapter):
        self.calls += 1
        return np.array([[len(r.instruction), len(r.input)] for r in records])


def test_every_stage_may_be_ones_own(model, data):
    clients, test = data
    own, joined, lengths = OwnTrainer(model), Sum(), Lengths()
    run = fedhds.Simulation(
        fedhds.Method("fedhds_coverage", budget=3),
        clients,
        trainer=own,
        extractor=lengths,
        aggregator=joined,
        evaluator=Scores(),
        test=test,
        rounds=2,
        participation=1.0,
        seed=1,
    )
    outcome = run.run()
    selected = [c["selected"] for r in outcome.rounds for c in r["clients"] if c["selected"]]
    assert own.seen == selected and sum(map(len, selected)) == 6
    assert [records for _, records in joined.clients] == [len(ids) for ids in selected]
    first = own.inner.init(fedhds.client_seed(1, "init"))
    added = sum(len([s for s in r["clients"] if s["selected"]][-1]["selected"]) for r in outcome.rounds)
    for name, values in outcome.adapter.tensors.items():
        np.testing.assert_allclose(values, first.tensors[name] + added, rtol=1e-6)
    assert [s.loss for s in outcome.scores] == [len(r.instruction) for r in test]
    assert outcome.rounds[-1]["evaluation"]["rouge_l"] == 0.5
    assert lengths.calls == len(clients), "frozen features are extracted once"


class Stops(OwnTrainer):
    def __init__(self, model, after):
        super().__init__(model)
        self.after = after
        self.fingerprint = "stops"

    def train(self, adapter, records, seed):
        if len(self.seen) >= self.after:
            raise KeyboardInterrupt("power cut")
        self.seen.append(seed)
        return adapter.with_tensors({name: values + seed % 7 for name, values in adapter.tensors.items()})


def test_a_stopped_run_goes_on_from_its_checkpoint(model, data, tmp_path):
    def run(after, checkpoint, method="random", **more):
        own = Stops(model, after)
        return fedhds.Simulation(
            fedhds.Method(method, budget=3), data[0], trainer=own, rounds=4, participation=1.0, seed=2, checkpoint=checkpoint, **more
        ).run()

    whole = run(1000, tmp_path / "whole.bin")
    with pytest.raises(KeyboardInterrupt, match="power cut"):
        run(5, tmp_path / "cut.bin")
    rest = run(1000, tmp_path / "cut.bin")
    assert rest.adapter == whole.adapter and len(rest.rounds) == 4
    with pytest.raises(fedhds.CheckpointError, match="method"):
        run(1000, tmp_path / "cut.bin", method="stratified")


def test_what_does_not_fit_is_refused_before_any_work(model, data):
    with pytest.raises(fedhds.InputError, match="extractor"):
        simulation(model, data, extractor=None).run()
    with pytest.raises(fedhds.ParameterError, match="rounds"):
        simulation(model, data, rounds=0).run()
    with pytest.raises(fedhds.InputError, match="client"):
        simulation(model, ([], [])).run()
    with pytest.raises(fedhds.InputError, match="record"):
        simulation(model, ([[], data[1]], [])).run()
    with pytest.raises(fedhds.ParameterError, match="trainer"):
        simulation(model, data, trainer=7)
    with pytest.raises(fedhds.InputError, match="test"):
        simulation(model, data, evaluator=Scores())
    with pytest.raises(fedhds.ParameterError, match="fraction|participation"):
        simulation(model, data, participation=1.5).run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rounds": 0}, "rounds: expected a whole number of at least 1, got 0"),
        ({"rounds": -1}, "rounds: expected a whole number of at least 1, got -1"),
        ({"rounds": 2**32}, "rounds: expected a whole number from 1 to 4294967295, got 4294967296"),
        ({"rounds": 10**30}, f"rounds: expected a whole number from 1 to 4294967295, got {10**30}"),
        ({"rounds": 2.5}, "rounds: expected a whole number, got 2.5"),
        ({"rounds": True}, "rounds: expected a whole number, got True"),
        ({"participation": 0}, "participation.count: expected a whole number of at least 1, got 0"),
        ({"participation": 0.0}, "participation.fraction: expected a number in (0, 1], got 0.0"),
        ({"participation": 1.5}, "participation.fraction: expected a number in (0, 1], got 1.5"),
        ({"participation": float("nan")}, "participation.fraction: expected a number in (0, 1], got nan"),
        ({"participation": {"fraction": -0.5}}, "participation.fraction: expected a number in (0, 1], got -0.5"),
        (
            {"participation": "all"},
            "participation: expected a number of clients, or a share in (0, 1] as a float, got 'all'",
        ),
        (
            {"participation": {"share": 0.5}},
            "participation: expected a number of clients, or a share in (0, 1] as a float, got {'share': 0.5}",
        ),
        ({"evaluate": 0}, "evaluate.every: expected a whole number of at least 1, got 0"),
        ({"evaluate": "often"}, "evaluate: expected `last`, `never` or a whole number of rounds, got 'often'"),
        ({"evaluate": None}, "evaluate: expected `last`, `never` or a whole number of rounds, got None"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 2**64 - 1, got -1"),
        (
            {"generate": -1, "evaluator": Scores(), "test": []},
            "generate: expected a whole number from 0 to 2**32 - 1, got -1",
        ),
        ({"clients_at_once": "two"}, "clients_at_once: expected a whole number from 0 to 2**32 - 1, got 'two'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(model, data, setting, message):
    with pytest.raises(fedhds.ParameterError) as caught:
        simulation(model, data, **setting)
    assert str(caught.value) == message


def test_a_setting_is_said_as_in_a_configuration_file(model, data):
    """What a TOML file says of a federation goes into the same names."""
    defaults = inspect.signature(fedhds.Simulation).parameters
    assert (defaults["rounds"].default, defaults["participation"].default, defaults["evaluate"].default) == (40, 0.05, "last")
    one = simulation(model, data, participation={"count": 1}, evaluate={"every": 2}).run()
    assert [len(r["clients"]) for r in one.rounds] == [1, 1]
    assert simulation(model, data, participation=1).run().adapter == one.adapter
    half = simulation(model, data, participation=0.5).run()
    assert [len(r["clients"]) for r in half.rounds] == [2, 2]


class OtherAdapter(OwnTrainer):
    def train(self, adapter, records, seed):
        return fedhds.LoraTrainer(self.inner.model, r=2).init()


def test_a_trainer_that_returns_another_adapter_is_named(model, data):
    with pytest.raises(fedhds.StageError, match="trainer.*shape"):
        simulation(model, data, trainer=OtherAdapter(model)).run()
    with pytest.raises(fedhds.StageError, match="trainer.*fedhds.Adapter"):
        own = OwnTrainer(model)
        own.train = lambda adapter, records, seed: None
        simulation(model, data, trainer=own).run()


def test_updates_are_checked_and_joined(model):
    method = fedhds.Method("random", budget=4)
    server = fedhds.Server(method, seed=1)
    a, b = trainer(model).init(1), trainer(model).init(2)
    start = server.begin_round(0, [0, 1], a)
    for number in (0, 1):
        server.receive(number, fedhds.Client(number, method, seed=1).summarize(start, records=10))
    server.select()
    ordered = {g.client: g.ordered for g in server.selection}
    with pytest.raises(fedhds.ProtocolError, match="7"):
        server.receive_update(7, a, 1)
    with pytest.raises(fedhds.ProtocolError, match="at most"):
        server.receive_update(0, a, 9)
    server.receive_update(1, b, ordered[1])
    server.receive_update(0, a, ordered[0])
    with pytest.raises(fedhds.ProtocolError, match="second"):
        server.receive_update(0, a, ordered[0])
    finished = server.finish_round()
    assert finished.adapter == fedhds.weighted_mean([(a, ordered[0]), (b, ordered[1])])
    assert finished.trained == ordered and finished.weights == {c: n / 4 for c, n in ordered.items()}
    # Refused ones that came again and were accepted are not left out; who has no order is not of the round.
    assert "second" in finished.left_out[0] and list(finished.left_out) == [0] and finished.discarded is None
    server.begin_round(1, [0], a)
    server.select()
    assert server.finish_round() == fedhds.FinishedRound(missing=4)
    server.begin_round(2, [0, 1])
    with pytest.raises(fedhds.ProtocolError, match="round that selects|selection"):
        server.receive_update(0, a, 1)


def test_an_update_travels_as_bytes_and_says_what_it_trained_on(model):
    method = fedhds.Method("random", budget=6)
    server, adapter = fedhds.Server(method, seed=1, aggregator=fedhds.FedAvgM(momentum=0.0)), trainer(model).init(1)
    clients = {number: fedhds.Client(number, method, seed=1) for number in (0, 1)}
    start = server.begin_round(0, [0, 1], adapter)
    for number, client in clients.items():
        assert server.receive(number, client.summarize(start, records=10)) == "client_summary"
    orders, messages = server.select(), {}
    for number, client in clients.items():
        rows = client.choose(orders[number])
        moved = adapter.with_tensors({name: values + 1 + number for name, values in adapter.tensors.items()})
        messages[number] = client.update(orders[number], rows, moved, losses=[2.0, 1.0], tokens=7)
        with pytest.raises(fedhds.InputError, match="distinct rows"):
            client.update(orders[number], [*rows, rows[0]], moved)
    with pytest.raises(fedhds.ProtocolError, match="client 1: local_update: client: expected 1, who sent it, got 0"):
        server.receive(1, messages[0])
    server.leave_out(1, "went away")
    assert server.receive(0, messages[0]) == "local_update"
    with pytest.raises(fedhds.ProtocolError, match="before the round's first update"):
        server.state()
    finished = server.finish_round()
    assert list(finished.trained) == [0] and finished.weights == {0: 1.0} and "went away" in finished.left_out[1]
    for name, values in finished.adapter.tensors.items():
        np.testing.assert_allclose(values, adapter.tensors[name] + 1, rtol=1e-5)


def test_progress_is_heard(model, data):
    class Heard:
        def __init__(self):
            self.events = []

        def begin(self, stage, total):
            self.events.append(("begin", stage, total))

        def advance(self, stage, units):
            self.events.append(("advance", stage, units))

        def end(self, stage):
            self.events.append(("end", stage))

    with fedhds.progress(Heard()) as heard:
        simulation(model, data).run()
    assert heard.events[0] == ("begin", "rounds", 2) and heard.events[-1] == ("end", "rounds")
    assert sum(e[2] for e in heard.events if e[:2] == ("advance", "rounds")) == 2
    begun = [e[1] for e in heard.events if e[0] == "begin"]
    assert sorted(begun) == sorted(e[1] for e in heard.events if e[0] == "end")
    count = len(heard.events)
    simulation(model, data).run()
    assert len(heard.events) == count, "outside nobody listens"
    with pytest.raises(fedhds.ParameterError, match="begin"):
        with fedhds.progress(7):
            pass


def test_bars_open_and_close(capsys):
    pytest.importorskip("tqdm")
    with fedhds.progress():
        fedhds.TSNE(max_iter=260).fit_transform(np.random.default_rng(0).normal(size=(50, 4)))
    assert "260" in capsys.readouterr().err


def test_a_listener_that_fails_does_not_stop_the_work(monkeypatch):
    class Fails:
        def begin(self, *event):
            raise RuntimeError("deaf")

        advance = end = begin

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reported.append(str(report.exc_value)))
    with fedhds.progress(Fails()):
        points = fedhds.TSNE(max_iter=250).fit_transform(np.eye(20))
    assert points.shape == (20, 2) and set(reported) == {"deaf"}
