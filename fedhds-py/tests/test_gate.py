"""The quality gate: a client's pairs and answer, an open gate's choice, and who judges in a simulation."""

import dataclasses

import numpy as np
import pytest

import fedhds
from test_text import Trainer

TOPICS = {
    "colour": "Which colour does this thing have?",
    "sound": "Name the noise an animal makes.",
    "sum": "Add both numbers together.",
    "capital": "Where is the government seated?",
    "plural": "Write more than one of them.",
    "opposite": "What means the contrary?",
    "rhyme": "Find words ending alike.",
    "french": "Translate into French, please do.",
}
METHOD = fedhds.Method("fedhds_robust", budget=12, server={"gate": {"kind": "ranks", "counted": 16}})


def records(client, bad=0.5):
    """Forty records of eight topics; the answer names the topic, a bad one no topic."""
    rng = np.random.default_rng(client)
    made = []
    for i in range(40):
        topic = list(TOPICS)[i % 8]
        answer = "nothing" if rng.random() < bad else topic
        made.append(fedhds.Record(f"{client}-{i}", TOPICS[topic], f"{client} {i} {rng.integers(10**6)}", (answer,), topic, topic))
    return made


CLIENTS = [records(client) for client in range(6)]
CLEAN = [records(client, bad=0.0) for client in range(6)]


class Judge:
    """An answer that names its prompt's topic is likely under it; any other as likely under every prompt."""

    def __init__(self):
        self.asked = 0

    def score(self, given, adapter):
        self.asked += len(given)
        return [0.5 if record.response == record.category else 2.0 + 0.2 * (hash_of(record) - 0.5) for record in given]


def hash_of(record):
    return (sum(map(ord, record.response + record.input)) % 97) / 97


def losses_of(own, judge=None):
    judge = judge or Judge()

    def losses(pairs):
        joined = [dataclasses.replace(own[prompt], responses=own[response].responses) for response, prompt in pairs]
        return judge.score(joined, None)

    return losses


def a_round(server, machines, clients, number=0):
    start = server.begin_round(number, range(len(clients)))
    for machine, own in zip(machines, clients):
        prompts = fedhds.TextFeatures().prompts(own)
        features = fedhds.TextFeatures().extract(own)
        summary = machine.summarize(start, features, copies=fedhds.near_copies(own), prompts=prompts)
        pairs = machine.pilot(start)
        server.receive(machine.id, machine.answer(summary, start, losses_of(own)(pairs)))
    return start, server.select()


def test_pairs_are_of_records_and_their_decoys():
    server, machine = fedhds.Server(METHOD), fedhds.Client(0, METHOD)
    start = server.begin_round(0, [0])
    own = CLIENTS[0]
    prompts = fedhds.TextFeatures().prompts(own)
    summary = machine.summarize(start, fedhds.TextFeatures().extract(own), prompts=prompts)
    pairs = machine.pilot(start)
    assert pairs == machine.pilot(start) and pairs[0][0] == pairs[0][1]
    others = [(response, prompt) for response, prompt in pairs if response != prompt]
    assert len({response for response, _ in pairs}) == 8 and len(others) == 4 * 8
    assert all(own[response].category != own[prompt].category for response, prompt in others)
    answered = machine.answer(summary, start, np.ones(len(pairs)))
    assert len(answered) > len(summary)
    with pytest.raises(fedhds.InputError, match=f"losses: expected {len(pairs)}"):
        machine.answer(summary, start, [1.0])
    with pytest.raises(fedhds.ProtocolError):
        fedhds.Client(1, METHOD).pilot(start)
    with pytest.raises(fedhds.ProtocolError):
        machine.answer(b"x", start, [])
    plain = fedhds.Method("fedhds_coverage", budget=4)
    other = fedhds.Client(0, plain)
    begun = fedhds.Server(plain).begin_round(0, [0])
    sent = other.summarize(begun, np.random.default_rng(0).normal(size=(20, 8)))
    assert other.pilot(begun) == [] and other.answer(sent, begun, []) == sent


def test_an_open_gate_leaves_bad_records_out():
    server, machines = fedhds.Server(METHOD), [fedhds.Client(c, METHOD) for c in range(6)]
    _, orders = a_round(server, machines, CLIENTS)
    report = None
    for machine, own in zip(machines, CLIENTS):
        chosen = machine.choose(orders[machine.id], losses=losses_of(own))
        assert all(own[row].response == own[row].category for row in chosen)
        assert not set(machine.refused) & set(chosen.tolist())
        machine.mark_trained(chosen)
        assert machine.trained == chosen.tolist()
    assert any(machine.refused for machine in machines)
    report = server.end_round({})
    assert report.gate["open"] and 0.3 < report.gate["bad"] < 0.7 and report.gate["answered"] == 6
    assert report.missing == 12
    # What was refused is remembered in another process.
    other = fedhds.Client(0, METHOD)
    other.resume(machines[0].state())
    assert other.refused == machines[0].refused


def test_a_closed_gate_asks_for_nothing():
    server, machines = fedhds.Server(METHOD), [fedhds.Client(c, METHOD) for c in range(6)]
    _, orders = a_round(server, machines, CLEAN)

    def unasked(pairs):
        raise AssertionError("nobody is scored")

    chosen = [machine.choose(orders[machine.id], losses=unasked) for machine in machines]
    assert sum(map(len, chosen)) == 12 and server.end_round({}).gate["open"] is False
    with pytest.raises(fedhds.ParameterError, match="losses: expected a function"):
        machines[0].choose(orders[0], losses=3)


def test_what_a_judge_raises_is_the_cause():
    server, machines = fedhds.Server(METHOD), [fedhds.Client(c, METHOD) for c in range(6)]
    _, orders = a_round(server, machines, CLIENTS)

    def broken(pairs):
        raise ZeroDivisionError("no model")

    machine = next(m for m in machines if len(m.choose(orders[m.id])))
    with pytest.raises(fedhds.StageError, match="losses.*no model") as raised:
        machine.choose(orders[machine.id], losses=broken)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    with pytest.raises(fedhds.InputError, match="losses: expected"):
        machine.choose(orders[machine.id], losses=lambda pairs: [1.0])


def simulate(clients, judge, **more):
    trainer = Trainer()
    given = {"rounds": 2, "participation": 1.0, "evaluate": "never", "seed": 3} | more
    outcome = fedhds.Simulation(METHOD, clients, trainer=trainer, judge=judge, **given).run()
    return trainer.seen, outcome


def test_a_simulation_with_a_judge_trains_on_what_is_good():
    answers = {record.id: record for own in CLIENTS for record in own}
    judge = Judge()
    chosen, outcome = simulate(CLIENTS, judge)
    assert outcome.rounds[0]["gate"]["open"] and judge.asked
    assert chosen and all(answers[id].response == answers[id].category for id in chosen)
    assert any(client["refused"] for client in outcome.rounds[0]["clients"])
    for nobody in (None, False):
        chosen, outcome = simulate(CLIENTS, nobody)
        assert outcome.rounds[0]["gate"]["answered"] == 0 and not outcome.rounds[0]["gate"]["open"]
        assert any(answers[id].response != answers[id].category for id in chosen)
    with pytest.raises(fedhds.ParameterError, match="judge: expected a fedhds.Model, an object with `score`"):
        simulate(CLIENTS, object())

    class Wrong:
        def score(self, records, adapter):
            return [1.0]

    with pytest.raises(fedhds.StageError, match="judge"):
        simulate(CLIENTS, Wrong())


def test_by_messages_the_same_records_are_chosen_as_in_the_simulation():
    chosen, _ = simulate(CLIENTS, Judge(), rounds=1, seed=0)
    server, machines = fedhds.Server(METHOD), [fedhds.Client(c, METHOD) for c in range(6)]
    _, orders = a_round(server, machines, CLIENTS)
    rows = {c: machine.choose(orders[c], losses=losses_of(CLIENTS[c])) for c, machine in enumerate(machines)}
    assert chosen == [CLIENTS[c][row].id for c in rows for row in rows[c]]


def test_a_model_judges_by_itself():
    model = fedhds.Model.embedded()
    train, _ = fedhds.embedded_records(records_per_task=3)
    clients = fedhds.partition(train, "iid", clients=3, seed=1)
    judge = fedhds.ResponseLoss(model, prompt="short")
    own = clients[0]
    scored = judge.score(own[:4])
    assert scored.shape == (4, 1) and (scored > 0).all() and judge.names == ("loss",) and judge.is_frozen
    pairs = [(0, 0), (1, 1), (0, 3)]
    np.testing.assert_allclose(judge.losses(own, pairs)[:2], scored[:2, 0], atol=1e-4)
    assert len(judge.losses(own, [])) == 0
    trainer = fedhds.LoraTrainer(model, prompt="short", learning_rate=1e-3)
    method = fedhds.Method("fedhds_robust", budget=3)
    given = {"trainer": trainer, "rounds": 1, "participation": 1.0, "evaluate": "never"}
    gates = {}
    for name, who in {"default": None, "model": model, "own": judge, "nobody": False}.items():
        outcome = fedhds.Simulation(method, clients, judge=who, **given).run()
        gates[name] = outcome.rounds[0]["gate"]
        assert all((client["passes"] > 0) == (who is not False) for client in outcome.rounds[0]["clients"])
    assert gates["default"] == gates["model"] == gates["own"] and gates["default"]["answered"] == 3
    assert gates["nobody"]["answered"] == 0
    with pytest.raises(fedhds.ParameterError, match="max_response_tokens"):
        fedhds.ResponseLoss(model, max_response_tokens=0)
    with pytest.raises(fedhds.ParameterError, match="model: expected a fedhds.Model"):
        fedhds.ResponseLoss("model")
