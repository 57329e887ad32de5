"""Own Python stages in the Rust pipeline."""

import numpy as np
import pytest

import fedhds


def features(client, n=40, d=8):
    rng = np.random.default_rng(client)
    return rng.normal(size=(n, d)) + 8 * rng.integers(0, 3, size=(n, 1))


def a_round(method, clients=(0, 3)):
    server = fedhds.Server(method, seed=5)
    known = {c: fedhds.Client(c, method, seed=5) for c in clients}
    start = server.begin_round(0, clients)
    for number, client in known.items():
        server.receive(number, client.summarize(start, features(number)))
    return {c: known[c].choose(order) for c, order in server.select().items()}, server, known


class Halves:
    """Groups of points by the sign of the first coordinate after centring; the last row is noise."""

    def __init__(self):
        self.seeds = []
        self.labels = []

    def cluster(self, points, seed):
        self.seeds.append(seed)
        labels = (points[:, 0] > points[:, 0].mean()).astype(int)
        labels[-1] = -1
        self.labels.append(labels)
        return labels


class FirstRows:
    """The rows with the smallest numbers."""

    def select(self, candidates, count, seed):
        assert candidates.points.shape[0] == len(candidates.weights)
        return np.arange(len(candidates.weights))[:count]


def test_own_clusterer_and_selector_decide():
    clusterer = Halves()
    method = fedhds.Method("fedhds_coverage", budget=6, stages={"client.clusterer": clusterer, "client.selector": FirstRows()})
    rows, server, known = a_round(method)
    assert sum(map(len, rows.values())) == 6
    assert len(set(clusterer.seeds)) == 2, "each client has a seed of its own"
    for (number, client), labels in zip(known.items(), clusterer.labels, strict=True):
        np.testing.assert_array_equal(client.groups, labels)
        for group in (g for g in server.selection if g.client == number):
            first = np.flatnonzero(labels == group.cluster)[: group.ordered]
            assert set(first) <= set(rows[number])
            assert group.records == (labels == group.cluster).sum()


def test_functions_serve_as_stages():
    def scaled(x, seed):
        return x[:, :2] * 2

    calls = []

    def select(candidates, count, seed):
        calls.append((candidates.points.shape, candidates.owners.tolist(), count, candidates.per_cluster))
        return range(count)

    method = fedhds.Method("fedhds_coverage", budget=2, stages={"client.reducer": scaled, "server.selector": select})
    rows, server, _ = a_round(method)
    assert sum(map(len, rows.values())) == 2
    [(shape, owners, count, per_cluster)] = calls
    assert shape[0] == len(server.selection) == len(owners) and set(owners) == {0, 3}
    assert count == 2 and not per_cluster


def test_scikit_learn_estimators_serve_as_stages():
    cluster = pytest.importorskip("sklearn.cluster")
    decomposition = pytest.importorskip("sklearn.decomposition")
    stages = {
        "client.reducer": decomposition.PCA(2),
        "client.clusterer": cluster.KMeans(3, n_init=3),
        "server.clusterer": cluster.HDBSCAN(min_cluster_size=2),
    }
    method = fedhds.Method("fedhds", stages=stages)
    rows, _, known = a_round(method)
    again, _, _ = a_round(method)
    assert all(np.array_equal(rows[c], again[c]) for c in rows), "random_state None draws from the stage's seed"
    assert not hasattr(stages["client.clusterer"], "labels_"), "the user's object is not touched"
    assert len(set(known[0].groups)) == 3


def test_own_and_core_stages_give_the_same_rows():
    """The core's estimators in the place of the core's stages: nothing changes."""
    base = fedhds.Method("fedhds_shared", budget=5, client={"reducer": {"kind": "none"}})
    own = fedhds.Method(
        "fedhds_shared",
        budget=5,
        client={"reducer": {"kind": "none"}},
        stages={"client.clusterer": fedhds.HDBSCAN(base.settings["client"]["clusterer"]["min_cluster_size"])},
    )
    rows, _, _ = a_round(base)
    others, _, _ = a_round(own)
    assert sum(map(len, rows.values())) == 5
    assert all(np.array_equal(rows[c], others[c]) for c in rows)
    assert base != own


class Broken:
    def cluster(self, points, seed):
        raise LookupError("no clusters today")


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Broken(), "client.clusterer.*no clusters today"),
        (lambda x, seed: [0, 1], "one for each row"),
        (lambda x, seed: np.zeros(len(x)), "whole numbers"),
        (lambda x, seed: np.full(len(x), 10**6), "below the number of rows"),
        (lambda x, seed: np.full(len(x), 3), "client.clusterer"),
        (lambda x, seed: (np.zeros(len(x), int), np.ones(2)), "membership probabilities"),
        (lambda x, seed: (np.zeros(len(x), int), np.full(len(x), np.nan)), "client.clusterer"),
    ],
)
def test_a_stage_that_breaks_its_promise_is_named(stage, words):
    method = fedhds.Method("fedhds_coverage", budget=3, stages={"client.clusterer": stage})
    client, server = fedhds.Client(0, method), fedhds.Server(method)
    with pytest.raises(fedhds.StageError, match=words) as caught:
        client.summarize(server.begin_round(0, [0]), features(0))
    if isinstance(stage, Broken):
        assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize(
    "rows", [lambda c, n, s: [0, 0, 1], lambda c, n, s: [0], lambda c, n, s: [10**6, 1, 2], lambda c, n, s: [-1, 0, 1], lambda c, n, s: "abc"]
)
def test_a_selector_that_breaks_its_promise_is_named(rows):
    method = fedhds.Method("fedhds_coverage", budget=3, stages={"server.selector": rows})
    with pytest.raises(fedhds.StageError, match="server.selector"):
        a_round(method)


def test_a_reducer_that_breaks_its_promise_is_named():
    for reduce in (lambda x, s: x[:-1], lambda x, s: x[:, 0], lambda x, s: x * np.nan, lambda x, s: None):
        method = fedhds.Method("fedhds_coverage", budget=3, stages={"client.reducer": reduce})
        client, server = fedhds.Client(0, method), fedhds.Server(method)
        with pytest.raises(fedhds.StageError, match="client.reducer"):
            client.summarize(server.begin_round(0, [0]), features(0))


def test_what_cannot_serve_is_refused_where_it_is_given():
    with pytest.raises(fedhds.ParameterError, match="client.reducer"):
        fedhds.Method("fedhds", stages={"client.reduce": lambda x, s: x})
    with pytest.raises(fedhds.ParameterError, match="`cluster` or `fit_predict`"):
        fedhds.Method("fedhds", stages={"client.clusterer": 7})
    with pytest.raises(fedhds.ParameterError, match="aggregator"):
        fedhds.Server("random", aggregator=7)


def test_features_may_come_from_a_function():
    method = fedhds.Method("fedhds_coverage", budget=3)
    server, client, other = fedhds.Server(method), fedhds.Client(0, method), fedhds.Client(0, method)
    start = server.begin_round(0, [0])
    assert client.summarize(start, lambda: features(0)) == other.summarize(start, features(0))
