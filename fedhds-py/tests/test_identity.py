"""A run or state of other settings never goes on: whatever differs is named."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

import fedhds
from fedhds._identity import identity_of
from test_own_stages import Trainer, adapter, extract, simulate, value_of


class Parameters:
    def __init__(self, learning_rate=0.1, *, epochs=1, betas=(0.9, 0.99)):
        self.learning_rate, self.epochs, self._betas = learning_rate, epochs, betas
        self.calls = 0

    def init(self, seed):
        return adapter()

    def train(self, start, records, seed):
        self.calls += 1
        return adapter(value_of(start) + self.learning_rate)


@dataclass
class Fields(Trainer):
    learning_rate: float = 0.1


class Renamed(Trainer):
    def __init__(self, learning_rate=0.1):
        self.step = learning_rate


class OnTheClass(Trainer):
    learning_rate = 0.1


class Nested(Trainer):
    def __init__(self, learning_rate=0.1):
        self.options = {"optimiser": {"learning_rate": learning_rate}}
        self.optimiser = Optimiser(learning_rate)
        self.learning_rate = self.optimiser


class Optimiser:
    def __init__(self, rate):
        self.rate = rate


def on_the_class(rate=0.1):
    return type("OnTheClass", (OnTheClass,), {"learning_rate": rate, "__module__": __name__})()


@pytest.mark.parametrize("make", [Parameters, Fields, Renamed, on_the_class, Nested])
def test_a_trainer_of_another_learning_rate_does_not_go_on(tmp_path, make):
    method, path = fedhds.Method("random", budget=2), tmp_path / "run.bin"
    own = make()
    first = simulate(method, trainer=own, checkpoint=path)
    # The same object, which has worked since, and another that is alike.
    assert simulate(method, trainer=own, checkpoint=path).adapter == first.adapter
    assert simulate(method, trainer=make(), checkpoint=path).adapter == first.adapter
    with pytest.raises(fedhds.CheckpointError, match="trainer.*0.2"):
        simulate(method, trainer=make(0.2), checkpoint=path)


def closed(width, calls):
    def take(records, adapter, scale=1.0):
        calls.append(len(records))
        return extract(records, adapter) * scale * width

    return take


@pytest.mark.parametrize("one, alike, other", [
    (closed(2, []), closed(2, [1]), closed(3, [])),
    (functools.partial(closed(2, []), scale=2.0), functools.partial(closed(2, []), scale=2.0), functools.partial(closed(2, []), scale=3.0)),
])  # fmt: skip
def test_functions_are_told_by_what_is_around_them(one, alike, other, tmp_path):
    assert identity_of(one) == identity_of(alike) != identity_of(other)
    method, path = fedhds.Method("fedhds_coverage", budget=2), tmp_path / "run.bin"
    first = simulate(method, extractor=one, checkpoint=path)
    assert simulate(method, extractor=alike, checkpoint=path).adapter == first.adapter
    with pytest.raises(fedhds.CheckpointError, match="extractor"):
        simulate(method, extractor=other, checkpoint=path)


@pytest.mark.parametrize("aggregator, other", [
    (fedhds.FedAdam(learning_rate=0.1), fedhds.FedAdam(learning_rate=0.2)),
    (None, fedhds.FedAvgM()),
    ({"kind": "fedadam", "learning_rate": 0.1}, {"kind": "fedadam", "learning_rate": 0.3}),
])  # fmt: skip
def test_another_aggregator_does_not_go_on(tmp_path, aggregator, other):
    method, path = fedhds.Method("random", budget=2), tmp_path / "run.bin"
    simulate(method, aggregator=aggregator, checkpoint=path)
    with pytest.raises(fedhds.CheckpointError, match="aggregator"):
        simulate(method, aggregator=other, checkpoint=path)
    state = fedhds.Server(method, aggregator=aggregator).state()
    fedhds.Server(method, aggregator=aggregator).resume(state)
    with pytest.raises(fedhds.ProtocolError, match="aggregator"):
        fedhds.Server(method, aggregator=other).resume(state)


class Half:
    """Every second row, for what it is worth."""

    def __init__(self, keep=2):
        self.keep = keep

    def select(self, rows, count, seed):
        return np.arange(len(rows))[:: self.keep][:count]


METHODS = {
    "preset": fedhds.Method("random", budget=3),
    "budget": fedhds.Method("fedhds_coverage", budget=4),
    "setting": fedhds.Method("fedhds_coverage", budget=3, client={"clusterer": {"n_clusters": 4}}),
    "stage": fedhds.Method("fedhds_coverage", budget=3, stages={"client.selector": Half()}),
    "other stage": fedhds.Method("fedhds_coverage", budget=3, stages={"client.selector": Half(3)}),
    "memory": fedhds.Method("fedhds_robust", budget=3),
}


@pytest.mark.parametrize("name", METHODS)
def test_server_and_client_refuse_the_state_of_another_method(name):
    method = fedhds.Method("fedhds_coverage", budget=3)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    server.receive(0, client.summarize(server.begin_round(0, [0]), np.random.default_rng(0).normal(size=(20, 3))))
    fedhds.Server(method).resume(server.state())
    fedhds.Client(0, method).resume(client.state())
    with pytest.raises(fedhds.ProtocolError, match="server state"):
        fedhds.Server(METHODS[name]).resume(server.state())
    with pytest.raises(fedhds.ProtocolError, match="client state"):
        fedhds.Client(0, METHODS[name]).resume(client.state())


def test_server_and_client_refuse_the_state_of_another_seed_or_layers():
    method = fedhds.Method("fedhds_coverage", budget=3, client={"layer_norm": True})
    server, client = fedhds.Server(method, seed=1, layers=2), fedhds.Client(0, method, seed=1, layers=2)
    client.mark_trained([1])
    for more, word in (({"seed": 2, "layers": 2}, "`seed`: this run has `2`, the saved one `1`"), ({"seed": 1, "layers": 3}, "`layers`")):
        with pytest.raises(fedhds.ProtocolError, match=word):
            fedhds.Server(method, **more).resume(server.state())
        other = fedhds.Client(0, method, **more)
        with pytest.raises(fedhds.ProtocolError, match=word):
            other.resume(client.state())
        assert other.trained == []
    with pytest.raises(fedhds.ProtocolError, match="`client`: this run has `1`, the saved one `0`"):
        fedhds.Client(1, method, seed=1, layers=2).resume(client.state())


def test_a_server_refuses_the_adapter_of_another_model():
    method = fedhds.Method("random", budget=2)
    server = fedhds.Server(method)
    server.begin_round(0, [0], adapter())
    server.abandon_round()
    tensors = {f"base_model.model.q_proj.lora_{x}.weight": np.zeros((1, 5) if x == "A" else (2, 1)) for x in "AB"}
    wider = fedhds.Adapter({"r": 1, "target_modules": ["q_proj"]}, tensors)
    other = fedhds.Server(method)
    with pytest.raises(fedhds.AdapterError, match=r"\[1, 3\]"):
        other.resume(server.state(), wider)
    other.resume(server.state(), adapter(2.0))
    with pytest.raises(fedhds.AdapterError, match=r"\[1, 3\]"):
        other.begin_round(1, [0], wider)
    other.begin_round(1, [0], adapter(2.0))


@pytest.mark.parametrize("kind", ["server", "client"])
def test_damaged_states_are_refused(kind):
    method = fedhds.Method("fedhds_coverage", budget=3)
    server, client = fedhds.Server(method), fedhds.Client(0, method)
    client.summarize(server.begin_round(0, [0]), np.random.default_rng(0).normal(size=(9, 3)))
    whole = (server if kind == "server" else client).state()
    for at in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        for damaged in (bytes(flipped), whole[:at]):
            with pytest.raises(fedhds.ProtocolError, match=f"{kind} state"):
                (fedhds.Server(method) if kind == "server" else fedhds.Client(0, method)).resume(damaged)
