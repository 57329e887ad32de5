"""FedML clients that lie: they are left out by name, and nobody else is touched."""

import random
from collections import OrderedDict

import numpy as np
import pytest

import fedhds
from test_fedml import Own, arguments, federate, toys

METHOD = fedhds.Method("fedhds_coverage", budget=9)
HUGE = 10.0**300


class Claims:
    """Says a size, and has nothing: as a tensor does of which every row is the same memory."""

    def __init__(self, *shape):
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def __array__(self, *_, **__):
        raise MemoryError("all of it is asked for")


class Told(Own):
    """What goes up can be changed, by client and phase (0, 1)."""

    changes = {}

    def get_model_params(self):
        up = super().get_model_params()
        change = self.changes.get((self.id, 0 if "fedhds.summary" in up else 1))
        return up if change is None else change(up)


def run(changes, method=METHOD, rounds=1, reorder=lambda replies: replies):
    args = arguments(rounds=rounds)
    server, trainers, data = toys(args, method, type("Changed", (Told,), {"changes": changes}))
    before = server.on_before_aggregation

    def mixed(replies):
        return before(reorder(list(replies)) if any("fedhds.records" in (up or ()) for _, up in replies) else replies)

    server.on_before_aggregation = mixed
    federate(server, trainers, data, args)
    return server


def without(clients, rounds=1):
    """The same with these clients' updates gone, as a word that is none."""
    return run({(client, 1): lambda up: None for client in clients}, rounds=rounds)


def weights(array):
    return lambda up: OrderedDict(up) | {"weight": array(up["weight"]) if callable(array) else array}


WRONG = {
    "larger than float32": weights(lambda own: own.astype(float) * 0 + HUGE),
    "one value larger": weights(lambda own: np.array([HUGE, 0.0])),
    "float16 infinity": weights(np.array([np.inf, 0], np.float16)),
    "complex": weights(np.array([1j, 0])),
    "text": weights(np.array(["a", "b"])),
    "objects": weights(np.array([{}, []], dtype=object)),
    "no array": weights(None),
    "a size without values": weights(Claims(2**40, 2)),
    "more arrays": lambda up: OrderedDict(up) | {"more": up["weight"]},
    "no arrays": lambda up: OrderedDict({"fedhds.records": up["fedhds.records"]}),
    "a list": lambda up: [up],
    "names that are none": lambda up: OrderedDict(up) | {3: up["weight"], None: 1},
    "records without end": lambda up: OrderedDict(up) | {"fedhds.records": Claims(2**50)},
    "records of text": lambda up: OrderedDict(up) | {"fedhds.records": np.array(["1"])},
    "records that are none": lambda up: OrderedDict(up) | {"fedhds.records": None},
    "another ticket": lambda up: OrderedDict(up) | {"fedhds.records": np.array([up["fedhds.records"][0], 1, 2])},
    "no ticket": lambda up: OrderedDict(up) | {"fedhds.records": up["fedhds.records"][:1]},
}


@pytest.mark.parametrize("name", WRONG)
def test_an_update_that_cannot_be_used_leaves_its_client_out_and_nobody_else(name):
    server, expected = run({(1, 1): WRONG[name]}), without({1})
    [told] = server.history
    assert list(told["left_out"]) == [1] and set(told["trained"]) == {0, 2} and told["discarded"] is None
    assert len(told["left_out"][1]) <= 500 and told["left_out"][1].isprintable()
    assert np.array_equal(server.model.state["weight"], expected.model.state["weight"]) and server.model.state["weight"].dtype == np.float32


@pytest.mark.parametrize("seed", range(8))
def test_generated_messages_in_both_phases(seed):
    rng = random.Random(seed)
    values = [None, 3, "text", b"bytes", [], {}, np.zeros(0), np.array(5), np.full(40, np.nan), np.zeros((3, 3), np.uint8), HUGE,
              np.frombuffer(rng.randbytes(30), np.uint8), Claims(2**45)]  # fmt: skip
    changes = {
        (1, 0): lambda up: OrderedDict({"fedhds.summary": rng.choice(values)}),
        (2, 1): lambda up: OrderedDict(up) | {rng.choice(["weight", "fedhds.records"]): rng.choice(values)},
    }
    server = run(changes)
    [told] = server.history
    assert set(told["left_out"]) == {1, 2} and set(told["trained"]) == {0}
    assert np.isfinite(server.model.state["weight"]).all() and server.model.state["weight"].any()


@pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.float16, np.float64])
def test_the_types_of_one_client_are_not_those_of_the_mean(dtype):
    cast = run({(0, 1): weights(lambda own: np.clip(own, -100, 100).astype(dtype))})
    same = run({(0, 1): weights(lambda own: np.clip(own, -100, 100).astype(dtype).astype(np.float32))})
    assert cast.model.state["weight"].dtype == np.float32 and set(cast.history[0]["trained"]) == {0, 1, 2}
    assert np.array_equal(cast.model.state["weight"], same.model.state["weight"])


def test_who_speaks_as_another_is_named_and_the_other_is_not_blamed_for_what_it_said():
    """Client 1 sends its own update, wrong, in the name of client 0: FedML's transport takes its word."""
    spoil = {(1, 1): weights(np.array([np.nan, 1], np.float32))}
    server = run(spoil, reorder=lambda replies: [replies[1], *replies[1:]])
    [told] = server.history
    assert "expected 1, whose order it had, got 0" in told["left_out"][1]
    assert "one of client 1 in its name" in told["left_out"][0] and set(told["trained"]) == {2}
    swapped = run({}, reorder=lambda replies: [replies[1], replies[0], replies[2]])
    assert set(swapped.history[0]["left_out"]) == {0, 1} and set(swapped.history[0]["trained"]) == {2}


def test_a_wrong_update_is_its_clients_where_somebody_is_missing():
    """FedML gives a list; with a client that is gone a place in it says no longer whose update it is."""
    spoil = {(1, 1): weights(np.array([np.nan, 1], np.float32))}
    server = run(spoil, reorder=lambda replies: replies[1:])
    [told] = server.history
    assert "finite" in told["left_out"][1] and told["left_out"][0] == "no update of its own" and set(told["trained"]) == {2}


def test_a_summary_is_its_clients_where_somebody_is_missing():
    args = arguments(rounds=1)
    server, trainers, data = toys(args, METHOD)
    down = server.get_model_params()
    replies = []
    for trainer, records in zip(trainers, data, strict=True):
        trainer.set_model_params(down)
        trainer.on_before_local_training(records, "cpu", args)
        trainer.on_after_local_training(records, "cpu", args)
        replies.append((len(records), trainer.get_model_params()))
    orders = server.aggregate(replies[1:])
    assert set(orders) == {0, 1, 2} and set(server.history[0]["ordered"]) == {1, 2} and not server.history[0]["left_out"]


def test_a_mean_that_is_not_finite_is_not_taken(monkeypatch):
    from fedhds.fedml import _bases

    def overflows(self, raw):
        return OrderedDict(weight=raw[0][1]["weight"] * np.float32(np.inf))

    monkeypatch.setattr(_bases.ServerAggregator, "aggregate", overflows)
    server = run({}, rounds=2)
    assert not server.model.state["weight"].any() and all("finite" in told["discarded"] for told in server.history)


def test_a_number_of_records_gives_no_more_weight_than_was_ordered():
    for claim in (40, 10**6, 2**31):
        server = run({(1, 1): lambda up, claim=claim: OrderedDict(up) | {"fedhds.records": np.array([claim, *up["fedhds.records"][1:]])}})
        assert "expected at most" in server.history[0]["left_out"][1]
        assert np.array_equal(server.model.state["weight"], without({1}).model.state["weight"])
