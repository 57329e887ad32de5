"""Aggregator, scorer, upload and memory as Python objects: one round by messages, and whole simulations."""

import dataclasses
import json

import numpy as np
import pytest

import fedhds

RECORDS = 12
SHARED = {"client": {"frame": "shared", "shared_dims": 4, "clusterer": {"n_clusters": 3}}}


def records(client):
    return [fedhds.Record(f"{client}-{i}", "x" * (1 + (7 * i + client) % 23), "", ("y",)) for i in range(RECORDS)]


CLIENTS = [records(client) for client in range(3)]


def point(record):
    """Three topics by the length of the instruction."""
    length = len(record.instruction)
    return [10.0 * (length % 3), length / 8, 0.5, -10.0 * (length % 3 == 1)]


def extract(records, adapter):
    return np.array([point(record) for record in records])


def adapter(value=0.0):
    pair = {"A": np.full((1, 3), value), "B": np.full((2, 1), value)}
    tensors = {f"base_model.model.q_proj.lora_{x}.weight": pair[x] for x in pair}
    return fedhds.Adapter({"r": 1, "target_modules": ["q_proj"]}, tensors)


def value_of(adapter):
    return float(next(iter(adapter.tensors.values()))[0, 0])


class Trainer:
    """Goes up by one, with a loss that is the number of records."""

    def init(self, seed):
        return adapter()

    def train(self, start, records, seed):
        return fedhds.Trained(adapter(value_of(start) + 1), losses=(float(len(records)),))


def simulate(method, **more):
    given = {"trainer": Trainer(), "extractor": extract, "rounds": 3, "participation": 1.0, "seed": 4}
    return fedhds.Simulation(method, CLIENTS, **(given | more)).run()


class Momentum:
    """The plain mean with a momentum of its own; it keeps a record of what it was told."""

    fingerprint = "momentum"

    def __init__(self, stop_after=99):
        self.velocity, self.calls, self.stop_after = 0.0, [], stop_after

    def begin(self, start, round):
        if round >= self.stop_after:
            raise KeyboardInterrupt("power cut")
        self.start, self.values = value_of(start), []
        self.calls.append(("begin", round))

    def add(self, client, update, records, loss):
        self.calls.append(("add", client, records, loss))
        if client == 1 and len(self.calls) < 6:
            raise ValueError("not this one")
        self.values.append(value_of(update))

    def finish(self):
        if not self.values:
            return None
        self.velocity = 0.5 * self.velocity + np.mean(self.values) - self.start
        return adapter(self.start + self.velocity), {"measures": {"velocity": np.float64(self.velocity)}, "limited": {0: "a bit"}}

    def state(self):
        return json.dumps(self.velocity).encode()

    def resume(self, state):
        self.velocity = json.loads(state)

    def memory(self, clients, values):
        return 8 * clients


def test_an_aggregator_of_ones_own_keeps_its_state_in_the_checkpoint(tmp_path):
    method = fedhds.Method("all", client={"repeats": "allow"})
    whole, cut = Momentum(), Momentum(stop_after=2)
    outcome = simulate(method, aggregator=whole)
    assert whole.calls[:4] == [("begin", 0), *(("add", c, RECORDS, float(RECORDS)) for c in range(3))]
    # Steps of 1, with half of the last velocity: 1, 1.5, 1.75.
    assert value_of(outcome.adapter) == pytest.approx(4.25)
    first = outcome.rounds[0]
    assert "aggregator" in first["left_out"][1] and "not this one" in first["left_out"][1]
    assert first["aggregation"]["measures"] == {"velocity": 1.0} and first["aggregation"]["limited"] == {0: "a bit"}
    with pytest.raises(KeyboardInterrupt, match="power cut"):
        simulate(method, aggregator=cut, checkpoint=tmp_path / "cut.bin")
    rest = simulate(method, aggregator=Momentum(), checkpoint=tmp_path / "cut.bin")
    assert rest.adapter == outcome.adapter and len(rest.rounds) == 3


def test_the_cores_aggregators_go_on_with_the_same_bits(tmp_path):
    for aggregator in (fedhds.FedAdam(learning_rate=0.3), {"kind": "fedavgm", "momentum": 0.5}):
        method = fedhds.Method("all", client={"repeats": "allow"})
        whole = simulate(method, aggregator=aggregator)
        path = tmp_path / f"{type(aggregator).__name__}.bin"

        class Stops(Trainer):
            fingerprint, trained = "stops", 0

            def train(self, start, records, seed):
                self.trained += 1
                if self.trained == 5:
                    raise KeyboardInterrupt
                return super().train(start, records, seed)

        go_on = Trainer()
        go_on.fingerprint = "stops"
        with pytest.raises(KeyboardInterrupt):
            simulate(method, aggregator=aggregator, checkpoint=path, trainer=Stops())
        assert simulate(method, aggregator=aggregator, checkpoint=path, trainer=go_on).adapter == whole.adapter
        assert whole.adapter != simulate(method).adapter
        with pytest.raises(fedhds.CheckpointError, match="aggregator"):
            simulate(method, aggregator=fedhds.FedAdam(), checkpoint=path, trainer=go_on)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "fedadam", "learning_rate": -1.0}, "learning_rate"),
        ({"kind": "fedadma"}, "fedadam"),
        (fedhds.FedAvgM(momentum=1.0), "momentum"),
        (7, "`add`"),
    ],
)
def test_settings_of_an_aggregator_are_checked(wrong, words):
    with pytest.raises(fedhds.Error, match=words):
        fedhds.Server("random", aggregator=wrong)


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        (lambda: 7, "fedhds.Adapter"),
        (lambda: (None, {"wieghts": {}}), "wieghts"),
        (lambda: (None, {"weights": {"a": 1.0}}), "finish"),
        (lambda: (None, {"measures": {"x": float("nan")}}), "finite"),
    ],
)
def test_an_aggregator_that_breaks_its_promise_is_named(finished, words):
    class Wrong:
        def add(self, client, adapter, records):
            pass

        def finish(self):
            return finished()

    with pytest.raises(fedhds.StageError, match=f"aggregator.*{words}"):
        simulate(fedhds.Method("all"), aggregator=Wrong())


class Length:
    """Two numbers of each record."""

    names = ("length", "odd")

    def score(self, records, adapter):
        lengths = np.array([len(record.instruction) for record in records])
        return np.stack([lengths, np.where(lengths % 2, 1.0, np.nan)], axis=1)


class Longest:
    """The rows with the highest score."""

    uses_groups = False

    def __init__(self):
        self.seen = []

    def select(self, rows, count, seed):
        self.seen.append(rows)
        return np.argsort(-rows.scores["length"], kind="stable")[:count]


@pytest.mark.parametrize("scorer", [Length(), lambda records, adapter: {"length": [len(r.instruction) for r in records]}])
def test_scores_reach_selectors_on_both_sides(scorer):
    mine, theirs = Longest(), Longest()
    stages = {"client.selector": mine, "server.selector": theirs}
    client = SHARED["client"] | {"share_scores": True, "repeats": "allow"}
    method = fedhds.Method("fedhds_coverage", budget=3, client=client, stages=stages)
    outcome = simulate(method, scorer=scorer, rounds=1)
    chosen = {id for one in outcome.rounds[0]["clients"] for id in one["selected"]}
    lengths = {record.id: len(record.instruction) for part in CLIENTS for record in part}
    # The server picked the groups with the longest mean, and the clients the longest of these.
    (groups,) = theirs.seen
    assert set(groups.owners) == {0, 1, 2} and np.isfinite(groups.scores["length"]).all() and groups.labels is None
    assert len(chosen) == 3 and all(rows.labels is not None and (rows.probabilities > 0).all() for rows in mine.seen)
    assert sorted(lengths[id] for id in chosen) == sorted(rows.scores["length"].max() for rows in mine.seen)
    private = fedhds.Method("fedhds_coverage", budget=3, client=SHARED["client"], stages={"server.selector": Longest()})
    with pytest.raises(fedhds.StageError, match="server.selector.*length"):
        simulate(private, scorer=scorer, rounds=1)


def test_a_scorer_that_breaks_its_promise_leaves_its_client_out():
    class Broken:
        def score(self, records, adapter):
            return {"length": [1.0] if records[0].id.startswith("1-") else np.ones(len(records))}

    method = fedhds.Method("fedhds_coverage", budget=3, **SHARED)
    outcome = simulate(method, scorer=Broken(), rounds=1)
    assert list(outcome.rounds[0]["left_out"]) == [1] and "one for each record" in outcome.rounds[0]["left_out"][1]
    with pytest.raises(fedhds.StageError, match="scorer.*a dict of columns") as caught:
        simulate(method, scorer=lambda records, adapter: np.ones((len(records), 1)), rounds=1)
    assert isinstance(caught.value.__cause__, fedhds.StageError)


class Blur:
    """Leaves out small groups, and adds noise."""

    def __init__(self, std=0.1):
        self.std, self.drawn = std, []

    def release(self, summary, randomness):
        kept = summary.sizes > 1
        noise = randomness.normal(summary.centroids.shape, std=self.std)
        self.drawn.append((summary.client, summary.round, randomness.bytes(8)))
        return dataclasses.replace(
            summary,
            clusters=summary.clusters[kept],
            sizes=summary.sizes[kept],
            centroids=(summary.centroids + noise)[kept],
            scores={name: column[kept] for name, column in summary.scores.items()},
        )


def test_an_upload_of_ones_own_draws_from_the_clients_secret():
    method = fedhds.Method("fedhds_coverage", budget=4, **SHARED, stages={"client.upload": Blur()})
    plain = fedhds.Method("fedhds_coverage", budget=4, **SHARED)
    start = fedhds.Server(method).begin_round(0, [0])

    def summary(secret, method=method):
        return fedhds.Client(0, method, secret=secret).summarize(start, extract(CLIENTS[0], None))

    assert summary(b"a" * 32) == summary(b"a" * 32) != summary(b"b" * 32)
    assert summary(None) != summary(None), "the operating system's"
    assert len(summary(None)) == len(summary(None, plain))
    client = fedhds.Client(0, method)
    features = extract(CLIENTS[0], None)
    sent = client.summarize(start, features)
    assert client.summarize(start, features) == sent, "one draw a round"
    again = fedhds.Client(0, method)
    again.resume(client.state())
    assert again.summarize(start, features) == sent, "also in another process"
    outcome = simulate(method)
    assert [sum(len(c["selected"]) for c in one["clients"]) for one in outcome.rounds] == [4, 4, 4]
    keys = [key for *_, key in method.stages["client.upload"].drawn]
    assert keys[0] == keys[1] and len(set(keys[1:])) == len(keys[1:]), "each draw of an unknown secret is another"
    drawn = fedhds.Randomness(b"k" * 32).normal((100, 100), std=2.0)
    assert abs(drawn.mean()) < 0.1 and 1.9 < drawn.std() < 2.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: None, "fedhds.Summary"),
        (lambda s: dataclasses.replace(s, client=9), "the summary of client 0"),
        (lambda s: dataclasses.replace(s, clusters=s.clusters + 9), "groups of the client"),
        (lambda s: dataclasses.replace(s, sizes=s.sizes * 0), "sizes"),
        (lambda s: dataclasses.replace(s, centroids=s.centroids[:1]), "a row and a size"),
        (lambda s: dataclasses.replace(s, centroids=s.centroids * np.nan), "finite values"),
        (lambda s: dataclasses.replace(s, scores={"x": [1.0]}), "scores"),
    ],
)
def test_an_upload_that_breaks_its_promise_is_named(change, words):
    stages = {"client.upload": lambda summary, randomness: change(summary)}
    method = fedhds.Method("fedhds_coverage", budget=4, **SHARED, stages=stages)
    client, start = fedhds.Client(0, method), fedhds.Server(method).begin_round(0, [0])
    with pytest.raises(fedhds.StageError, match=f"client.upload.*{words}"):
        client.summarize(start, extract(CLIENTS[0], None))


class Seen:
    """Remembers each centroid that was trained on."""

    made = []
    stop_at = 99

    def __init__(self):
        self.points, self.mass, self.rounds = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), []
        Seen.made.append(self)

    def begin(self, round):
        if round >= Seen.stop_at:
            raise KeyboardInterrupt("power cut")
        self.rounds.append(round)

    def commit(self, trained):
        assert all(isinstance(group, fedhds.TrainedGroup) and group.records > 0 for group in trained)
        self.points = np.concatenate([self.points, *(group.centroid[None] for group in trained)])
        self.mass = np.concatenate([self.mass, [float(group.records) for group in trained]])

    def covered(self):
        return self.points, self.mass

    def state(self):
        return json.dumps([self.points.tolist(), self.mass.tolist()]).encode()

    def resume(self, state):
        points, mass = json.loads(state)
        self.points, self.mass = np.array(points, np.float32).reshape(-1, 4), np.array(mass, np.float32)

    def bound(self):
        return 100


class Unseen:
    """Prefers rows far from what is covered."""

    uses_covered = True

    def __init__(self):
        self.covered = []

    def select(self, rows, count, seed):
        known = [] if rows.covered is None else rows.covered.points
        self.covered.append(len(known))
        far = np.full(len(rows), np.inf)
        for covered in known:
            far = np.minimum(far, np.linalg.norm(rows.points - covered, axis=1))
        return np.argsort(-far, kind="stable")[:count]


def test_a_memory_of_ones_own_learns_what_was_trained_on(tmp_path, monkeypatch):
    def method():
        stages = {"server.memory": Seen, "server.selector": Unseen()}
        return fedhds.Method("fedhds_coverage", budget=2, **SHARED, stages=stages)

    chosen = method()
    outcome = simulate(chosen)
    memory = Seen.made[-1]
    assert memory.rounds == [0, 1, 2] and memory.mass.sum() == 6
    # Where two picks are of one client, the second goes to another, with the first as covered.
    assert [at for at in chosen.stages["server.selector"].covered if at % 2 == 0] == [0, 2, 4], "what was not covered comes first"
    assert len({tuple(p) for p in memory.points.tolist()}) == 6
    path = tmp_path / "run.bin"
    monkeypatch.setattr(Seen, "stop_at", 2)
    with pytest.raises(KeyboardInterrupt, match="power cut"):
        simulate(method(), checkpoint=path)
    monkeypatch.setattr(Seen, "stop_at", 99)
    again = method()
    rest = simulate(again, checkpoint=path)
    assert again.stages["server.selector"].covered == [4] and rest.adapter == outcome.adapter
    assert [one["selected"] for one in rest.rounds[2]["clients"]] == [one["selected"] for one in outcome.rounds[2]["clients"]]
    server = fedhds.Server(method())
    own = Seen.made[-1]
    start = server.begin_round(0, [0])
    client = fedhds.Client(0, method())
    server.receive(0, client.summarize(start, extract(CLIENTS[0], None)))
    server.select()
    report = server.end_round({0: 2})
    assert report.trained == {0: 2} and own.mass.tolist() == [1.0, 1.0] and own.rounds == [0]
    other = fedhds.Server(method())
    other.resume(server.state())
    assert Seen.made[-1].mass.tolist() == [1.0, 1.0]
    without = fedhds.Method("fedhds_coverage", budget=2, **SHARED)
    with pytest.raises(fedhds.ProtocolError, match="without a memory"):
        fedhds.Server(without).resume(server.state())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bound": lambda self: 1}, "at most 1 points"),
        ({"covered": lambda self: None}, "points and mass"),
        ({"covered": lambda self: (np.zeros((1, 4)), np.zeros(1))}, "above 0"),
        ({"state": None}, "`state`"),
    ],
)
def test_a_memory_that_breaks_its_promise_is_named(change, words):
    wrong = type("Wrong", (Seen,), change)
    stages = {"server.memory": wrong, "server.selector": Unseen()}
    method = fedhds.Method("fedhds_coverage", budget=2, **SHARED, stages=stages)
    with pytest.raises(fedhds.StageError, match=f"server.memory.*{words}"):
        simulate(method)


def test_a_memory_needs_a_selector_that_looks_at_it():
    method = fedhds.Method("fedhds_coverage", budget=2, **SHARED, stages={"server.memory": Seen, "server.selector": Longest()})
    with pytest.raises(fedhds.ParameterError, match="server.memory"):
        fedhds.Server(method)
    with pytest.raises(fedhds.ParameterError, match="class or function"):
        fedhds.Method("fedhds_coverage", budget=2, stages={"server.memory": 7})


def test_a_clusterer_is_given_what_it_names():
    seen = []

    def by_name(points, wanted, weights, seed):
        seen.append((wanted, weights.tolist()))
        return np.arange(len(points)) % wanted

    def by_rows(rows, wanted, seed):
        seen.append((wanted, rows.weights.tolist()))
        return np.arange(len(rows)) % 2, np.full(len(rows), 0.5)

    def two(anything, number):
        seen.append((None, [1.0] * len(anything)))
        return np.arange(len(anything)) % 2

    for clusterer in (by_name, by_rows, two):
        seen.clear()
        method = fedhds.Method("fedhds_shared", budget=2, client=SHARED["client"] | {"clusterer": {"kind": "kmeans", "n_clusters": 3}},
                               stages={"server.clusterer": clusterer})  # fmt: skip
        outcome = simulate(method, rounds=1)
        [(wanted, weights)] = seen
        assert len(weights) == 9 and (clusterer is two or (wanted == 2 and sum(weights) == 36))
        assert sum(len(client["selected"]) for client in outcome.rounds[0]["clients"]) == 2


def test_one_clients_failure_leaves_that_client_out():
    def reduce(features, seed):
        if features[0, 1] == extract(CLIENTS[1][:1], None)[0, 1]:
            raise LookupError("no projector")
        return features

    method = fedhds.Method("fedhds_coverage", budget=3, **SHARED, stages={"client.normalizer": reduce})
    outcome = simulate(method, rounds=2)
    for one in outcome.rounds:
        assert list(one["left_out"]) == [1] and "client.normalizer" in one["left_out"][1]
        assert "no projector" in one["left_out"][1]
        assert sum(len(client["selected"]) for client in one["clients"]) == 3

    def never(features, seed):
        raise LookupError("nowhere")

    method = fedhds.Method("fedhds_coverage", budget=3, **SHARED, stages={"client.reducer": never})
    with pytest.raises(fedhds.StageError, match="client.reducer.*nowhere") as caught:
        simulate(method)
    assert isinstance(caught.value.__cause__, LookupError)
