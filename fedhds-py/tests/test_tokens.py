"""Budgets in tokens: met within one record a client, by hand, in a simulation, with Flower and with FedML."""

import numpy as np
import pytest

import fedhds
from test_fedml import arguments, federate
from fedhds.fedml import RustClientTrainer, RustModel, RustServerAggregator
from test_text import Trainer


def lengths(client, records=40):
    """Tokens of a client's records: some clients write up to eight times as long ones."""
    rng = np.random.default_rng(client)
    return rng.integers(10, 80, size=records) * rng.integers(1, 9)


TOKENS = [lengths(client) for client in range(6)]
METHOD = fedhds.Method("random", budget={"tokens": 3000})


def within(chosen, tokens, wanted):
    """Whether the budget is met to within one record a client."""
    longest = sum(int(tokens[client].max()) for client in chosen)
    spent = sum(int(tokens[client][rows].sum()) for client, rows in chosen.items())
    return abs(spent - wanted) <= longest


def test_a_method_takes_a_budget_in_tokens():
    assert METHOD.settings["count"] == {"budget": {"tokens": 3000}}
    assert fedhds.Method("random", budget={"tokens": np.int64(3000)}) == METHOD
    for wrong in ({"tokens": 0}, {"tokens": -1}, {"token": 5}, {}, {"tokens": 1.5}):
        with pytest.raises(fedhds.ConfigError, match="count"):
            fedhds.Method("random", budget=wrong)


def test_each_client_meets_its_part():
    for name in ("random", "stratified", "fedhds_coverage"):
        method = fedhds.Method(name, budget={"tokens": 3000})
        server = fedhds.Server(method)
        machines = [fedhds.Client(client, method) for client in range(6)]
        rng = np.random.default_rng(1)
        features = [rng.normal(size=(40, 8)) if name == "fedhds_coverage" else None for _ in machines]
        counts = set()
        for number in range(3):
            start = server.begin_round(number, range(6))
            for machine, tokens, own in zip(machines, TOKENS, features):
                server.receive(machine.id, machine.summarize(start, own, records=40, tokens=tokens))
            orders, chosen = server.select(), {}
            for machine in machines:
                rows = machine.choose(orders[machine.id])
                if len(rows):
                    machine.mark_trained(rows)
                    chosen[machine.id] = rows
                    assert len(rows) <= server.most(machine.id)
            assert within(chosen, TOKENS, 3000), name
            counts.add(sum(map(len, chosen.values())))
            report = server.end_round({client: len(rows) for client, rows in chosen.items()})
            assert (report.missing, report.missing_tokens) == (0, 0)
        assert len(counts) > 1, "as many records as the tokens make them"


def test_who_does_not_say_its_tokens_is_told_what_to_call():
    server, machine = fedhds.Server(METHOD), fedhds.Client(0, METHOD)
    start = server.begin_round(0, [0])
    with pytest.raises(fedhds.InputError, match=r"tokens: expected 1 to \d+ for each of 40 records .*`tokens` of `summarize`"):
        machine.summarize(start, records=40)
    with pytest.raises(fedhds.InputError, match="got 39 numbers"):
        machine.summarize(start, records=40, tokens=TOKENS[0][:39])
    with pytest.raises(fedhds.ParameterError, match="tokens"):
        machine.summarize(start, records=40, tokens=[-1] * 40)
    # Of a client of another release, whose method counts records.
    other = fedhds.Method("random", budget=3)
    plain = fedhds.Client(0, other).summarize(fedhds.Server(other).begin_round(0, [0]), records=40)
    with pytest.raises(fedhds.ProtocolError, match="client 0.*mean tokens of each group"):
        server.receive(0, plain)


def test_tokens_are_counted_as_a_model_reads_them_in_training():
    records, _ = fedhds.embedded_records(records_per_task=1)
    model = fedhds.Model.embedded()
    counted = fedhds.count_tokens(records[:4], model, prompt="short")
    trainer = fedhds.LoraTrainer(model, prompt="short")
    for record, count in zip(records[:4], counted):
        assert trainer.train(trainer.init(), [record]).tokens == count


def test_a_simulation_counts_by_what_it_is_given_or_by_its_trainers_model():
    records, _ = fedhds.embedded_records(records_per_task=2)
    clients = fedhds.partition(records, "iid", clients=4)
    by_id = {record.id: 5 + 3 * (i % 11) for i, record in enumerate(records)}

    def run(tokens, trainer=None):
        method = fedhds.Method("random", budget={"tokens": 300})
        simulation = fedhds.Simulation(
            method, clients, trainer=trainer or Trainer(), tokens=tokens, rounds=2, participation=1.0, evaluate="never"
        )
        return simulation.run().rounds

    for one in run(lambda own: [by_id[record.id] for record in own]):
        spent = sum(by_id[name] for client in one["clients"] for name in client["selected"])
        assert abs(spent - 300) <= 4 * 35
    with pytest.raises(fedhds.InputError, match="count_tokens"):
        run(None)
    with pytest.raises(fedhds.InputError, match="one for each record of client 0"):
        run(lambda own: [1])
    model = fedhds.Model.embedded()
    trainer = fedhds.LoraTrainer(model, prompt="short", learning_rate=1e-3)
    longest = max(fedhds.count_tokens(records, model, prompt="short"))
    for one in run(None, trainer):
        assert abs(sum(client["tokens"] for client in one["clients"]) - 300) <= 4 * longest


def test_flower_clients_say_their_tokens():
    flwr = pytest.importorskip("flwr", reason="flwr is not installed")
    from flwr.clientapp import ClientApp

    from fedhds.flower import FedHDS, Task, WeightedMean, answer
    from flower_grid import ToyGrid, run
    from flwr.supercore.task_identity import TaskIdentity

    assert flwr
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    app, chosen = ClientApp(), {}

    @app.query("hds_extract")
    def extract(message, context):
        client = context.node_config["partition-id"]
        return answer(message, context, records=40, tokens=None if client == 3 else TOKENS[client])

    @app.train()
    def train(message, context):
        task = Task(message, context)
        chosen.setdefault(task.round, {})[task.client] = task.rows
        return task.reply(task.arrays, train_loss=1.0)

    for inner in (None, WeightedMean()):
        chosen.clear()
        strategy = FedHDS(METHOD, seed=3) if inner is None else FedHDS(METHOD, inner, seed=3)
        run(strategy, ToyGrid(app, range(6)), rounds=2)
        for report in strategy.reports:
            assert list(report.left_out) == [3] and "fedhds.count_tokens" in report.left_out[3]
            assert within(chosen[report.round], TOKENS, 3000)
            assert report.trained == {client: len(rows) for client, rows in sorted(chosen[report.round].items())}


def test_fedml_clients_count_by_their_trainers_model():
    records, test = fedhds.embedded_records(records_per_task=1, test_records_per_task=1, seed=3)
    model = fedhds.Model.embedded()
    trainer = fedhds.LoraTrainer(model, prompt="short", learning_rate=1e-3)
    data = fedhds.partition(records[:30], "iid", clients=3, seed=1)
    args, method = arguments(), fedhds.Method("stratified", budget={"tokens": 400})
    trainers = []
    for number in range(3):
        trainers.append(RustClientTrainer(RustModel(trainer), args, method=method, seed=7))
        trainers[-1].set_id(number)
    server = RustServerAggregator(RustModel(trainer), args, method=method, seed=7)
    spent = []

    def watch(round, client, down, up, machine):
        if machine.selected:
            spent.append((round, int(fedhds.count_tokens(machine.selected, model, prompt="short").sum())))

    federate(server, trainers, data, args, test=test[:2], watch=watch)
    longest = int(fedhds.count_tokens(records, model, prompt="short").max())
    for round in (1, 3):
        assert abs(sum(tokens for number, tokens in spent if number == round) - 400) <= 3 * longest
    assert all(not one["left_out"] for one in server.history)
