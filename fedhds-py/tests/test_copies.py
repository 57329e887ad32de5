"""Copies and pickles of what holds a part of the core: the same object again, or an error that says what to do instead."""

import copy
import pickle

import numpy as np
import pytest

import fedhds

WAYS = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "deepcopy": copy.deepcopy, "copy": copy.copy}
X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture(scope="module", params=list(WAYS))
def again(request):
    return WAYS[request.param]


@pytest.fixture(scope="module")
def model():
    return fedhds.Model.embedded()


@pytest.fixture(scope="module")
def data():
    train, test = fedhds.embedded_records(records_per_task=1, test_records_per_task=1)
    return train[:12], test[:3]


class Mine(fedhds.KMeans):
    """A user's own class below one of ours."""


class MyFeatures(fedhds.TextFeatures):
    def __init__(self, name):
        super().__init__(dims=16)
        self.name = name


class Sum:
    """An aggregator that keeps something."""

    def __init__(self):
        self.seen = 0

    def add(self, client, adapter, records):
        self.seen += records
        self.last = adapter

    def finish(self):
        return self.last

    def state(self):
        return bytes([self.seen])

    def resume(self, state):
        self.seen = state[0]


def test_models_and_what_runs_on_them(again, model, data):
    train, test = data
    assert again(model).fingerprint == model.fingerprint
    adapter = fedhds.LoraTrainer(model, prompt="short", r=2).init(1)
    for make, use in [
        (lambda: fedhds.LayerFeatures(model, prompt="short", layers=[1, 3], frozen=False), lambda o: o.extract(train, adapter).tolist()),
        (lambda: fedhds.LoraTrainer(model, prompt="short", r=2, max_steps=1, target_modules=["q_proj"]), lambda o: (o.settings, o.init(3))),
        (lambda: fedhds.ModelEvaluator(model, prompt="short", max_new_tokens=2, rouge="rouge_score"), lambda o: o.evaluate(test, adapter)),
        (lambda: fedhds.ResponseLoss(model, prompt={"with_input": "{instruction} {input}: "}), lambda o: o.score(test).tolist()),
        (lambda: fedhds.TextFeatures(dims=16, seed=3), lambda o: (o.fingerprint, o.settings)),
        (lambda: MyFeatures("my own"), lambda o: (type(o), o.name, o.fingerprint)),
        (lambda: fedhds.conditions.Condition(junk=0.5, scarce=3), lambda o: o.settings),
        (lambda: fedhds.conditions.Condition(junk=0.5).apply([train], 1)[1], lambda o: (dict(o), o.purity([train[0].id]), o.reached)),
        (lambda: adapter, lambda o: o),
    ]:
        one = make()
        assert use(again(one)) == use(one), one


def test_a_model_of_a_file_comes_from_its_path(tmp_path, model):
    fedhds.write_embedded_model(tmp_path / "model")
    loaded = fedhds.Model(tmp_path / "model")
    kept = pickle.dumps(loaded)
    assert pickle.loads(kept).fingerprint == loaded.fingerprint
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace("}", ' , "max_position_embeddings": 77}', 1))
    with pytest.raises(fedhds.ModelError, match="expected the model of the pickle"):
        pickle.loads(kept)
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(fedhds.Error):
        pickle.loads(kept)


def test_estimators_fitted_or_not(again):
    for one in [fedhds.PCA(2), fedhds.KernelPCA(2), fedhds.TSNE(max_iter=3), fedhds.SharedProjection(3), fedhds.HDBSCAN(3), Mine(2)]:
        assert again(one).get_params() == one.get_params()
        one.fit(X)
        copied = again(one)
        for name in ("transform", "predict"):
            if hasattr(one, name):
                assert np.array_equal(getattr(copied, name)(X), getattr(one, name)(X))


def test_a_client_goes_on_from_where_it_is(again):
    method = fedhds.Method("fedhds_coverage", budget=4)
    server, client = fedhds.Server(method, seed=3), fedhds.Client(7, method, seed=3)
    assert again(client).id == 7 and again(client).groups is None
    start = server.begin_round(0, [7])
    server.receive(7, client.summarize(start, X))
    order = server.select()[7]
    client.mark_trained([3])
    copied = again(client)
    assert copied.state() == client.state() and copied.trained == [3]
    assert copied.choose(order).tolist() == client.choose(order).tolist()


def test_a_server_goes_on_from_where_it_is(again, model):
    method = fedhds.Method("fedhds_coverage", budget=4)
    adapter = fedhds.LoraTrainer(model, r=2).init(1)
    for aggregator in (None, fedhds.FedAdam(), Sum()):
        server = again(fedhds.Server(method, seed=3, aggregator=aggregator))
        client = fedhds.Client(0, method, seed=3)
        server.receive(0, client.summarize(server.begin_round(0, [0], adapter), X))
        server = again(server)
        order = server.select()[0]
        server = again(server)
        assert server.orders() == {0: order}
        server.receive_update(0, adapter, 4)
        with pytest.raises(fedhds.ProtocolError):  # a running sum is not part of its state
            again(server)
        assert server.finish_round().adapter is not None
        assert again(server).state() == server.state()


def test_a_simulation_is_made_anew(again, model, data):
    given = {"trainer": fedhds.LoraTrainer(model, prompt="short", r=2, max_steps=1), "rounds": 1, "participation": 1.0}
    one = fedhds.Simulation(fedhds.Method("random", budget=2), [data[0]], judge=False, seed=4, **given)
    assert again(one).run().adapter == one.run().adapter


def test_what_a_stage_of_ones_own_cannot_do_is_said_by_pickle():
    server = fedhds.Server(fedhds.Method("fedhds_coverage", budget=2, stages={"client.reducer": lambda x, seed: x}))
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(server)
