"""Rounds that train one factor of the adapter, and clients of smaller ranks: simulations, and one round by messages."""

import numpy as np
import pytest

import fedhds

CLIENTS = [[fedhds.Record(f"{client}-{i}", "x" * (i + 1), "", ("y",)) for i in range(6)] for client in range(3)]
A, B = ("base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight")


def adapter(a=1.0, b=0.0, rank=2):
    tensors = {A: np.full((rank, 3), a) + np.eye(rank, 3), B: np.full((4, rank), b)}
    return fedhds.Adapter({"r": rank, "lora_alpha": 2.0, "target_modules": ["q_proj"]}, tensors)


class Trainer:
    """Moves what it is told to train."""

    def __init__(self):
        self.told, self.ranks = [], []

    def init(self, seed):
        return adapter()

    def train(self, start, records, seed, factors="both"):
        self.told.append(factors)
        tensors = {name: np.array(values) for name, values in start.tensors.items()}
        self.ranks.append(tensors[A].shape[0])
        for name, factor in ((A, "a"), (B, "b")):
            if factors in ("both", factor):
                tensors[name] += 0.125 * len(records)
        return fedhds.Adapter(start.config, tensors)


class Deaf(Trainer):
    """Trains both factors, and is never told."""

    def train(self, start, records, seed):
        return super().train(start, records, seed)


def simulate(aggregator, trainer, **more):
    given = {"rounds": 4, "participation": 1.0, "seed": 4}
    method = fedhds.Method("all", client={"repeats": "allow"})
    return fedhds.Simulation(method, CLIENTS, trainer=trainer, aggregator=aggregator, **(given | more)).run()


@pytest.mark.parametrize(
    ("aggregator", "turns"),
    [
        (fedhds.FfaLora(), ["b", "b", "b", "b"]),
        (fedhds.RoLora(), ["b", "a", "b", "a"]),
        ({"kind": "fedsvd"}, ["b", "b", "b", "b"]),
        (fedhds.FlexLora(rank_weights=True), ["both"] * 4),
    ],
)
def test_a_trainer_is_told_what_the_round_trains(aggregator, turns):
    trainer = Trainer()
    outcome = simulate(aggregator, trainer)
    assert trainer.told == [turn for turn in turns for _ in CLIENTS]
    assert not any(one["left_out"] for one in outcome.rounds)
    assert all(one["aggregation"]["measures"]["product_error"] < 1e-5 for one in outcome.rounds if turns[0] == "b")
    assert np.any(outcome.adapter.tensors[B])


def test_a_trainer_that_moves_what_is_frozen_is_left_out():
    with pytest.raises(fedhds.AdapterError, match="lora_A.*B alone"):
        simulate(fedhds.FfaLora(), Deaf())
    assert simulate(None, Deaf()).rounds


def test_an_aggregator_of_ones_own_says_what_is_trained():
    class Mine:
        fingerprint = "mine"

        def __init__(self, factors="a"):
            self.factors = factors

        def trains(self, round):
            return self.factors

        def begin(self, start, round):
            self.last = None

        def add(self, client, update, records):
            self.last = update

        def finish(self):
            return self.last

    trainer = Trainer()
    outcome = simulate(Mine(), trainer)
    assert set(trainer.told) == {"a"} and not np.any(outcome.adapter.tensors[B])
    with pytest.raises(fedhds.StageError, match="trains.*both.*got 'c'"):
        simulate(Mine("c"), Trainer())


def test_clients_of_smaller_ranks_take_part():
    trainer = Trainer()
    outcome = simulate(fedhds.FlexLora(), trainer, ranks=[1, 2])
    assert sorted(set(trainer.ranks)) == [1, 2] and outcome.adapter.config["r"] == 2
    assert not any(one["left_out"] for one in outcome.rounds)
    with pytest.raises(fedhds.ParameterError, match="ranks"):
        simulate(None, Trainer(), ranks=[1, 2])
    with pytest.raises(fedhds.ParameterError, match="ranks.*whole number"):
        simulate(fedhds.FlexLora(), Trainer(), ranks=[0])


def test_one_round_by_messages():
    method = fedhds.Method("random", budget=12)
    server = fedhds.Server(method, aggregator=fedhds.FlexLora())
    small, whole = fedhds.Client(0, method, rank=1), fedhds.Client(1, method)
    start = server.begin_round(0, [0, 1], adapter(b=1.0))
    for client in (small, whole):
        server.receive(client.id, client.summarize(start, records=6))
        assert client.factors == "both"
    orders = server.select()
    for client in (small, whole):
        begun = client.start_from(adapter(b=1.0))
        assert begun.tensors[A].shape == ((1, 3) if client is small else (2, 3))
        order = orders[client.id]
        server.receive(client.id, client.update(order, client.choose(order), begun))
    finished = server.finish_round()
    assert finished.adapter.tensors[A].shape == (2, 3) and not finished.left_out
