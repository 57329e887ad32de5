"""The adapter to FedML, on FedML's base classes where it is installed (tests/with_fedml.py), else on the stand-ins."""

import inspect
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fedhds
from fedhds.fedml import ClientTrainer, RustClientTrainer, RustModel, RustServerAggregator, ServerAggregator, _bases

SIGNATURES = json.loads((Path(__file__).parent / "fixtures/fedml-0.9.6.json").read_text(encoding="utf-8"))
METHOD = fedhds.Method("fedhds_coverage", budget=5)


def arguments(clients=3, rounds=2, **more):
    usual = {"client_num_in_total": clients, "client_num_per_round": clients, "comm_round": 2 * rounds}
    return SimpleNamespace(federated_optimizer="FedAvg", **usual | more)


def over_the_network(params):
    return pickle.loads(pickle.dumps(params))


def federate(aggregator, trainers, data, args, test=None, watch=lambda *_: None):
    """FedML's cross-silo rounds in its order of calls; ``watch`` is told what goes up and down."""
    params = aggregator.get_model_params()
    for round in range(args.comm_round):
        replies = []
        for client, (trainer, records) in enumerate(zip(trainers, data, strict=True)):
            down = over_the_network(params[client] if type(params) is dict else params)
            trainer.update_dataset(records, None, len(records))
            trainer.set_model_params(down)
            trainer.on_before_local_training(records, "cpu", args)
            trainer.train(records, "cpu", args)
            trainer.on_after_local_training(records, "cpu", args)
            up = over_the_network(trainer.get_model_params())
            watch(round, client, down, up, trainer)
            replies.append((len(records), up))
        replies, clients = aggregator.on_before_aggregation(replies)
        assert len(replies) == len(clients)
        params = aggregator.aggregate(replies)
        if type(params) is dict:
            params = {client: aggregator.on_after_aggregation(params[client]) for client in params}
        else:
            params = aggregator.on_after_aggregation(params)
        aggregator.set_model_params(params)
        aggregator.test(test, "cpu", args)


@pytest.fixture(scope="module")
def rust():
    """Clients' records, test records, a trainer and an extractor on the embedded model."""
    train, test = fedhds.embedded_records(records_per_task=1, test_records_per_task=1, seed=3)
    model = fedhds.Model.embedded()
    trainer = fedhds.LoraTrainer(model, prompt="short", learning_rate=1e-3)
    extractor = fedhds.LayerFeatures(model, prompt="short")
    return fedhds.partition(train[:30], "iid", clients=3, seed=1), test[:4], trainer, extractor


def rust_federation(rust, args, method=METHOD, **more):
    data, test, trainer, extractor = rust
    extractor = None if method.settings["features"] in ("none", "text") else extractor
    layers = 1 if extractor is None else extractor.layers
    trainers = []
    for number in range(len(data)):
        client = RustClientTrainer(RustModel(trainer, seed=9), args, method=method, extractor=extractor, seed=9)
        client.set_id(number)
        trainers.append(client)
    aggregator = RustServerAggregator(RustModel(trainer, seed=9), args, method=method, layers=layers, seed=9, **more)
    return aggregator, trainers


@pytest.mark.parametrize("base", ["ClientTrainer", "ServerAggregator"])
def test_the_bases_have_fedmls_signatures(base):
    """Of the stand-ins, or of the installed FedML itself; and ours override with the same arguments."""
    known = SIGNATURES[base]
    for found in (getattr(_bases, base), globals()[base]):
        methods = {name: list(inspect.signature(getattr(found, name)).parameters) for name in known["methods"]}
        methods["__init__"] = methods["__init__"][:3]  # ours take more, by keyword
        assert methods == known["methods"]
    assert getattr(_bases, base).__abstractmethods__ == set(known["abstract"])


TEXT = fedhds.Method("fedhds_robust", budget=4, server={"gate": {"kind": "ranks", "counted": 12, "topics": 2}})
METHODS = [METHOD, fedhds.Method("stratified", budget=4), fedhds.Method("fedhds_shared", budget=4), TEXT]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_federation_is_the_simulations(rust, method):
    """The same records in the same order. FedML averages in single precision and the core in double, and Adam turns the
    last bits of a gradient near 0 into a step: adapters differ by a small part of what training moved.
    """
    args, chosen = arguments(), {}

    def watch(round, client, down, up, trainer):
        if trainer.selected:
            chosen[round // 2, client] = [record.id for record in trainer.selected]

    aggregator, trainers = rust_federation(rust, args, method)
    federate(aggregator, trainers, rust[0], args, watch=watch)
    extractor = None if method.settings["features"] in ("none", "text") else rust[3]
    outcome = fedhds.Simulation(
        method, rust[0], trainer=rust[2], extractor=extractor, rounds=2, participation=1.0, seed=9
    ).run()
    expected = {
        (one["round"], client["client"]): client["selected"]
        for one in outcome.rounds
        for client in one["clients"]
        if client["selected"]
    }
    assert chosen == expected
    assert sum(map(len, chosen.values())) == 2 * method.settings["count"]["budget"]
    before, after, theirs = (
        np.concatenate([tensor.ravel() for tensor in adapter.tensors.values()])
        for adapter in (RustModel(rust[2], seed=9).adapter, aggregator.model.adapter, outcome.adapter)
    )
    assert np.linalg.norm(after - theirs) < 1e-2 * np.linalg.norm(after - before)
    first = aggregator.history[0]
    assert first["trained"] == {client: len(ids) for (round, client), ids in chosen.items() if round == 0}
    assert first["ordered"] == first["trained"] and not first["left_out"]


def test_only_messages_and_adapters_travel(rust):
    args, seen = arguments(rounds=1), []

    def watch(round, client, down, up, trainer):
        seen.append((round, {n for n in down if n.startswith("fedhds.")}, {n for n in up if n.startswith("fedhds.")}))
        adapters = [len(params) - sum(n.startswith("fedhds.") for n in params) for params in (down, up)]
        assert [bool(count) for count in adapters] == ([True, False] if round == 0 else [False, True])

    aggregator, trainers = rust_federation(rust, args)
    federate(aggregator, trainers, rust[0], args, watch=watch)
    assert seen == [(0, {"fedhds.round", "fedhds.start"}, {"fedhds.summary"})] * 3 + [
        (1, {"fedhds.round", "fedhds.order"}, {"fedhds.records"})
    ] * 3


def test_the_server_evaluates_after_aggregations(rust):
    args, calls = arguments(), []
    evaluator = fedhds.ModelEvaluator(rust[2].model, prompt="short", max_new_tokens=2)

    class Counting:
        def evaluate(self, records, adapter, generate):
            calls.append(adapter)
            return evaluator.evaluate(records, adapter, generate)

    aggregator, trainers = rust_federation(rust, args, evaluator=Counting(), generate=True)
    federate(aggregator, trainers, rust[0], args, test=rust[1])
    assert len(calls) == 2 and calls[0] != calls[1]
    accuracy, loss, *_ = aggregator.evaluate(rust[1], "cpu", args)
    assert 0 <= accuracy <= 1 and loss == pytest.approx(np.mean([score.loss for score in aggregator.scores]))


class Toy:
    """A model with a state of its own, as PyTorch's modules have one."""

    def __init__(self):
        self.state = OrderedDict(weight=np.zeros(2, dtype=np.float32))

    def state_dict(self):
        from fedhds.fedml._params import tensor

        return OrderedDict((name, tensor(value)) for name, value in self.state.items())

    def load_state_dict(self, state):
        self.state = OrderedDict((name, np.array(value)) for name, value in state.items())


class Own(ClientTrainer):
    """Training of one's own: the weight moves by the mean of the records."""

    def train_selected(self, records, device, args):
        assert len(records) > 0
        self.model.state["weight"] = self.model.state["weight"] + np.mean(records, axis=0).astype(np.float32)


class Server(ServerAggregator):
    def evaluate(self, test_data, device, args):
        return (0.0, 0.0, 0.0, 0.0)


def toys(args, method=METHOD, trainer=Own):
    data = [list(np.random.default_rng(c).normal(size=(12, 2)).astype(np.float32)) for c in range(3)]
    trainers = [trainer(Toy(), args, method=method, features=np.stack, seed=4) for _ in data]
    for number, client in enumerate(trainers):
        client.set_id(number)
    return Server(Toy(), args, method=method, seed=4), trainers, data


def test_training_of_ones_own_is_weighted_by_the_chosen_records():
    args, moved = arguments(rounds=1), {}

    def watch(round, client, down, up, trainer):
        if trainer.selected:
            assert all((a == b).all() for a, b in zip(trainer.selected, (data[client][row] for row in trainer.rows)))
            moved[client] = len(trainer.selected), np.mean(trainer.selected, axis=0)

    server, trainers, data = toys(args)
    federate(server, trainers, data, args, watch=watch)
    assert sum(count for count, _ in moved.values()) == 5
    mean = sum(count * move for count, move in moved.values()) / 5
    np.testing.assert_allclose(server.model.state["weight"], mean, rtol=1e-5)


def test_records_that_were_trained_on_come_last():
    args, chosen = arguments(rounds=2), {client: [] for client in range(3)}

    def watch(round, client, down, up, trainer):
        if round % 2:
            chosen[client] += trainer.rows.tolist()

    server, trainers, data = toys(args, fedhds.Method("stratified", budget=15))
    federate(server, trainers, data, args, watch=watch)
    assert sum(map(len, chosen.values())) == 30
    assert all(len(set(rows)) == len(rows) for rows in chosen.values())


def test_noise_of_fedmls_hooks_sees_adapters_alone(monkeypatch):
    """As FedML's local and global differential privacy work: parameters out, noise on each, parameters in."""
    args, seen = arguments(rounds=1), []

    def local(self, train_data, device, args):
        params = self.get_model_params()
        seen.append(("local", sorted(params)))
        self.set_model_params(OrderedDict((name, value + 1) for name, value in params.items()))

    def everywhere(self, params):
        seen.append(("global", sorted(params)))
        assert sorted(self.get_model_params()) == ["weight"]
        return OrderedDict((name, value * 10) for name, value in params.items())

    plain, trainers, data = toys(args)
    federate(plain, trainers, data, args)
    monkeypatch.setattr(_bases.ClientTrainer, "on_after_local_training", local)
    monkeypatch.setattr(_bases.ServerAggregator, "on_after_aggregation", everywhere)
    server, trainers, data = toys(args)
    federate(server, trainers, data, args)
    assert all(names == ["weight"] for _, names in seen)
    assert [kind for kind, _ in seen].count("global") == 1 and ("local", ["weight"]) in seen
    np.testing.assert_allclose(server.model.state["weight"], 10 * (plain.model.state["weight"] + 1), rtol=1e-4)


DAMAGES = {
    "no parameters": (0, lambda up: None),
    "no summary": (0, lambda up: OrderedDict()),
    "a damaged summary": (0, lambda up: up | {"fedhds.summary": up["fedhds.summary"][:-1]}),
    "numbers for a summary": (0, lambda up: up | {"fedhds.summary": np.zeros(9)}),
    "more records than ordered": (1, lambda up: up | {"fedhds.records": np.array([12])}),
    "no number of records": (1, lambda up: OrderedDict(weight=up["weight"])),
    "a number that is none": (1, lambda up: up | {"fedhds.records": np.array([-1])}),
    "another shape": (1, lambda up: up | {"weight": up["weight"][:1]}),
    "not finite": (1, lambda up: up | {"weight": up["weight"] * np.nan}),
    "another name": (1, lambda up: OrderedDict(bias=up["weight"], **{"fedhds.records": up["fedhds.records"]})),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_client_that_sends_what_cannot_be_used_is_left_out(name):
    at, damage = DAMAGES[name]
    args = arguments(rounds=1)

    class Broken(Own):
        phase = -1

        def get_model_params(self):
            up = super().get_model_params()
            self.phase += 1
            return damage(up) if self.id == 1 and self.phase == at else up

    server, trainers, data = toys(args, fedhds.Method("fedhds_coverage", budget=9), Broken)
    federate(server, trainers, data, args)
    [only] = server.history
    assert list(only["left_out"]) == [1] and "expected" in only["left_out"][1]
    assert 1 not in only["trained"] and only["trained"]
    assert np.isfinite(server.model.state["weight"]).all() and server.model.state["weight"].any()


def test_a_summary_in_the_name_of_another_client_is_refused():
    class Liar(Own):
        def get_model_params(self):
            up, own = super().get_model_params(), self.id
            if own == 1 and "fedhds.summary" in up:
                self._machines[1] = fedhds.Client(2, self.method, seed=self.seed)
                features = np.stack(self.data)
                up["fedhds.summary"] = np.frombuffer(self._machines[1].summarize(self.start, features), np.uint8)
            return up

        def set_model_params(self, params):
            if "fedhds.start" in params:
                self.start = np.asarray(params["fedhds.start"]).astype(np.uint8).tobytes()
            super().set_model_params(params)

        def update_dataset(self, train, test, count):
            self.data = train
            super().update_dataset(train, test, count)

        def on_before_local_training(self, *given):
            if self.id != 1 or self.selected is None:
                super().on_before_local_training(*given)
            else:
                self.selected, self.rows = [], np.zeros(0, np.int64)

    args = arguments(rounds=1)
    server, trainers, data = toys(args, trainer=Liar)
    federate(server, trainers, data, args)
    reason = server.history[0]["left_out"][1]
    assert "client 1: client_summary: client: expected 1, who sent it, got 2" in reason and server.history[0]["trained"]


def test_a_memory_learns_what_was_trained_on():
    class Count:
        made = []

        def __init__(self):
            self.records = []
            Count.made.append(self)

        def commit(self, trained):
            self.records.append(sum(group.records for group in trained))

        def covered(self):
            return [], []

        def state(self):
            return b""

        def resume(self, state):
            pass

        def bound(self):
            return 0

    class First:
        uses_covered = True

        def select(self, rows, count, seed):
            return range(count)

    stages = {"server.memory": Count, "server.selector": First()}
    args = arguments(rounds=2)
    server, trainers, data = toys(args, fedhds.Method("fedhds_coverage", budget=5, stages=stages))
    federate(server, trainers, data, args)
    assert [sum(one["trained"].values()) for one in server.history] == Count.made[0].records == [5, 5]


def test_a_round_in_which_nobody_answers_leaves_the_adapter():
    args = arguments(rounds=2)

    class Silent(Own):
        def get_model_params(self):
            up = super().get_model_params()
            return OrderedDict() if self.round == 0 else up

    server, trainers, data = toys(args, trainer=Silent)
    states = []
    server.evaluate = lambda *_: states.append(server.model.state["weight"].copy())
    federate(server, trainers, data, args)
    assert not states[0].any() and states[1].any()
    assert len(server.history[0]["left_out"]) == 3 and not server.history[1]["left_out"]


def test_parameters_of_another_server_are_refused():
    _, trainers, data = toys(arguments())
    trainers[0].set_model_params(Toy().state_dict())
    with pytest.raises(fedhds.ProtocolError, match="ServerAggregator"):
        trainers[0].on_before_local_training(data[0], "cpu", None)
    order = {"fedhds.round": np.array([0]), "fedhds.order": np.frombuffer(b"x" * 20, np.uint8)}
    with pytest.raises(fedhds.ProtocolError, match="expected"):
        trainers[0].set_model_params(order)
        trainers[0].on_before_local_training(data[0], "cpu", None)
    with pytest.raises(NotImplementedError, match="train_selected"):
        ClientTrainer(Toy(), arguments(), method=METHOD).train_selected([1], "cpu", None)
    with pytest.raises(fedhds.InputError, match="extractor"):
        RustClientTrainer(Toy(), arguments(), method=METHOD).make_features(data[0])


@pytest.mark.parametrize(
    "more, word",
    [
        ({"comm_round": 3}, "comm_round.*even"),
        ({"comm_round": 0}, "comm_round"),
        ({"client_num_per_round": 2}, "client_num_per_round.*both phases"),
        ({"enable_fhe": True}, "enable_fhe"),
    ],
)
def test_what_does_not_go_with_two_phases_is_refused(more, word):
    for make in (Own, Server):
        with pytest.raises(fedhds.ConfigError, match=word):
            make(Toy(), arguments(**more), method=METHOD)


def test_pefts_adapters_travel_under_its_names_on_disk():
    """Training of one's own on a PEFT model: what travels is the adapter alone, and it is the one that gets trained."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    args, sent = arguments(rounds=1), []
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )

    class Tuned(ClientTrainer):
        def train_selected(self, records, device, args):
            optimizer = torch.optim.SGD([p for p in self.model.parameters() if p.requires_grad], lr=0.5)
            tokens = torch.tensor([[int(x) % 16 for x in np.abs(record) * 10] for record in records])
            self.model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()

    def model():
        torch.manual_seed(1)
        base = transformers.LlamaForCausalLM(config)
        lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        return peft.get_peft_model(base, lora)

    def watch(round, client, down, up, trainer):
        sent.append({name for params in (down, up) for name in params if not name.startswith("fedhds.")})

    data = [list(np.random.default_rng(c).normal(size=(12, 2)).astype(np.float32)) for c in range(3)]
    trainers = [Tuned(model(), args, method=METHOD, features=np.stack, seed=4) for _ in data]
    for number, client in enumerate(trainers):
        client.set_id(number)
    server = Server(model(), args, method=METHOD, seed=4)
    before = {name: value.clone() for name, value in server.get_adapter().items()}
    federate(server, trainers, data, args, watch=watch)
    part = "base_model.model.model.layers.0.self_attn"
    names = {f"{part}.{target}.lora_{x}.weight" for target in ("q_proj", "v_proj") for x in "AB"}
    assert all(one in (names, set()) for one in sent) and names in sent
    assert fedhds.Adapter({"r": 2}, {name: value.numpy() for name, value in before.items()}).parameters == 64
    after = server.get_adapter()
    assert any((after[name] != before[name]).any() for name in names)
    assert sum(server.history[0]["trained"].values()) == 5 and not server.history[0]["left_out"]
