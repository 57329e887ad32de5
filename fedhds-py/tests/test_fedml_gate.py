"""FedML clients whose method looks at texts, with a judge of their own and without."""

from collections import OrderedDict

import numpy as np
import pytest

import fedhds
from fedhds.fedml import ClientTrainer, ServerAggregator
from test_fedml import Toy, arguments, federate
from test_gate import CLIENTS, METHOD, Judge, simulate


class Own(ClientTrainer):
    def train_selected(self, records, device, args):
        self.model.state = OrderedDict(weight=self.model.state["weight"] + np.float32(len(records)))


class Rows:
    """Data that are no records, in rows."""

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return len(self.records)

    def __getitem__(self, row):
        return {"tokens": self.records[row].instruction}


class FromRows(Own):
    def make_records(self, train_data):
        return train_data.records


def run(trainer, judge, data, rounds=2):
    args, chosen = arguments(clients=len(data), rounds=rounds), []
    trainers = [trainer(Toy(), args, method=METHOD, judge=judge, seed=3) for _ in data]
    for number, client in enumerate(trainers):
        client.set_id(number)

    def watch(round, client, down, up, trainer):
        if round % 2:
            chosen.extend(CLIENTS[client][row].id for row in trainer.rows.tolist())

    class Server(ServerAggregator):
        def evaluate(self, test_data, device, args):
            return (0.0, 0.0, 0.0, 0.0)

    server = Server(Toy(), args, method=METHOD, seed=3)
    federate(server, trainers, data, args, watch=watch)
    return chosen, server


@pytest.mark.parametrize("judge", [Judge, lambda: None], ids=["with a judge", "without"])
def test_the_records_are_those_of_the_simulation(judge):
    chosen, server = run(Own, judge(), CLIENTS)
    expected, outcome = simulate(CLIENTS, judge() or False)
    assert chosen == expected
    for own, told in zip(server.history, outcome.rounds, strict=True):
        groups = [(client["client"], group) for client in told["clients"] for group in client.get("groups", ())]
        reasons = {(client, g["group"]): (g["rank"], g["gain"]) for client, g in groups if g["ordered"]}
        assert {(group["client"], group["cluster"]): (group["rank"], group["gain"]) for group in own["picked"]} == reasons


def test_data_that_are_no_records_say_what_they_are():
    data = [Rows(records) for records in CLIENTS]
    chosen, _ = run(FromRows, Judge(), data)
    assert chosen == simulate(CLIENTS, Judge())[0]
    with pytest.raises(fedhds.InputError, match="records: expected the records, whose texts the method 'fedhds_robust' looks at"):
        run(Own, None, data)
