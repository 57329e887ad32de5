"""How long a round waits, and for whom: over a grid that is asked for replies, and a clock of the test's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.app import Error, Message  # noqa: E402

import fedhds  # noqa: E402
from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, arrays_of  # noqa: E402
from flower_grid import ToyGrid, equal, identity  # noqa: E402, F401
from flower_hostile import phase_of, silent  # noqa: E402
from flower_toy import client_app, initial  # noqa: E402

ALL = Method("all")
HOUR = 3600.0


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


class FetchGrid(ToyGrid):
    """As Flower's grids do it: messages go out, and replies are fetched when they are there.

    `takes(message)` is how many seconds a node takes; None is for ever.
    """

    def __init__(self, clock: Clock, clients: Iterable[int | None], takes: Callable[[Message], float | None] = lambda message: 1.0) -> None:
        super().__init__(client_app(), clients)
        self.clock, self.takes, self.fetched = clock, takes, 0
        self.ready: dict[str, tuple[float, Message]] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise AssertionError("replies are fetched one by one")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        keys = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = key = f"message-{len(self.sent)}"
            keys.append(key)
            self.sent.append(message)
            try:
                reply: Message | None = self.app(copy.deepcopy(message), self.contexts[message.metadata.dst_node_id])
            except Exception as error:
                reply = Message(Error(2, str(error)), reply_to=message)
            reply = self.interfere(message, reply)
            seconds = self.takes(message)
            if reply is not None and seconds is not None:
                self.ready[key] = self.clock.now + seconds, reply
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = []
        for key in message_ids:
            self.fetched += 1
            if key in self.ready and self.ready[key][0] <= self.clock.now:
                reply = self.ready.pop(key)[1]
                if reply.metadata.group_id == "unreadable":
                    raise RecursionError("a reply without end")
                found.append(reply)
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    from fedhds.flower import _exchange

    made = Clock()
    monkeypatch.setattr(_exchange, "time", made)
    return made


def spent(strategy: FedHDS, grid: FetchGrid, rounds: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """The arrays, and the seconds of each round."""
    marks: list[float] = []
    result = strategy.start(grid, initial(), num_rounds=rounds, timeout=HOUR, evaluate_fn=lambda number, arrays: marks.append(grid.clock.now))
    return arrays_of(result.arrays), [after - before for before, after in zip(marks, marks[1:], strict=False)]


def test_a_federation_that_answers_is_the_same_over_both_ways(clock: Clock) -> None:
    got, seconds = spent(FedHDS(ALL, seed=7), FetchGrid(clock, [2, 0, 1]), 2)
    plain = FedHDS(ALL, seed=7).start(ToyGrid(client_app(), [0, 1, 2]), initial(), num_rounds=2)
    assert equal(got, arrays_of(plain.arrays)) and max(seconds) <= 4 * 3.0


@pytest.mark.parametrize("phase", ["extract", "train", "evaluate"])
def test_a_silent_node_costs_the_soft_deadline_once_and_little_from_then_on(phase: str, clock: Clock) -> None:
    grid = FetchGrid(clock, range(4))
    dead = grid.node_of(2)
    grid.takes = lambda message: None if message.metadata.dst_node_id == dead and phase_of(message) == phase else 1.0
    strategy = FedHDS(ALL, seed=7)
    got, seconds = spent(strategy, grid, 3)
    assert HOUR / 2 <= seconds[0] < HOUR / 2 + 60 and max(seconds[1:]) < 120
    without = ToyGrid(client_app(), range(4))
    without.interfere = silent({without.node_of(2)}, {phase})
    assert equal(got, arrays_of(FedHDS(ALL, seed=7).start(without, initial(), num_rounds=3).arrays))
    assert all((2 in report.left_out) == (phase != "evaluate") for report in strategy.reports)


def test_without_a_quorum_the_whole_time_is_waited_for(clock: Clock) -> None:
    cases: list[tuple[dict[str, Any], float]] = [
        ({"quorum": None}, HOUR), ({"soft_deadline": 600.0}, 600.0), ({"quorum": 3, "soft_deadline": 60.0}, 60.0), ({"quorum": 4}, HOUR)
    ]  # fmt: skip
    for settings, least in cases:
        grid = FetchGrid(clock, range(4))
        dead = grid.node_of(2)

        def takes(message: Message, dead: int = dead) -> float | None:
            return None if message.metadata.dst_node_id == dead and phase_of(message) == "train" else 1.0

        grid.takes = takes
        _, seconds = spent(FedHDS(ALL, seed=7, **settings), grid, 1)
        assert least <= seconds[0] < least + 60, settings


@pytest.mark.parametrize(("timeout", "least"), [(60.0, 60.0), (600.0, 600.0), (900.0, 600.0), (7200.0, HOUR)])
def test_nobody_is_given_up_within_ten_minutes(timeout: float, least: float, clock: Clock) -> None:
    grid = FetchGrid(clock, range(4))
    dead = grid.node_of(2)
    grid.takes = lambda message: None if message.metadata.dst_node_id == dead and phase_of(message) == "train" else 1.0
    FedHDS(ALL, seed=7).start(grid, initial(), num_rounds=1, timeout=timeout)
    assert least <= clock.now < least + 60


def test_less_than_a_quorum_is_waited_for(clock: Clock) -> None:
    grid = FetchGrid(clock, range(4))
    late = {grid.node_of(2), grid.node_of(3)}
    grid.takes = lambda message: 3000.0 if message.metadata.dst_node_id in late and phase_of(message) == "train" else 1.0
    strategy = FedHDS(ALL, seed=7)
    _, seconds = spent(strategy, grid, 1)
    assert 3000 <= seconds[0] < 3060 and set(strategy.reports[0].trained) == {0, 1, 2, 3}


def test_a_node_that_answers_again_is_waited_for_again(clock: Clock) -> None:
    """In time, within the little that it is given; or late, when what it says is of no use any more."""
    for back in ("in time", "late"):
        grid = FetchGrid(clock, range(4))
        node = grid.node_of(2)

        def takes(message: Message, node: int = node, back: str = back) -> float | None:
            if message.metadata.dst_node_id != node or phase_of(message) != "train":
                return 1.0
            first = 5 if back == "in time" else None
            return {"1": None if back == "in time" else 1840.0, "2": first, "3": 1500.0}[message.metadata.group_id]

        grid.takes = takes
        strategy = FedHDS(ALL, seed=7)
        _, seconds = spent(strategy, grid, 3)
        trained = [2 in report.trained for report in strategy.reports]
        assert trained == ([False, True, True] if back == "in time" else [False, False, True]), back
        assert seconds[1] < 120 and 1500 <= seconds[2] < 1560


def test_of_a_dead_node_the_newest_few_messages_are_remembered(clock: Clock) -> None:
    grid = FetchGrid(clock, range(4))
    dead = grid.node_of(2)
    grid.takes = lambda message: None if message.metadata.dst_node_id == dead else 1.0
    strategy = FedHDS(ALL, seed=7, soft_deadline=60.0)
    spent(strategy, grid, 8)
    counts = [kind for kind, _ in strategy._exchange._late.values()]
    assert set(counts) == {"hello"}, "who was refused is asked nothing else"
    assert max(counts.count(kind) for kind in counts) == 3
    assert all(list(report.refused) == [dead] and set(report.trained) == {0, 1, 3} for report in strategy.reports)


def test_a_federation_that_was_silent_as_a_whole_is_waited_for(clock: Clock) -> None:
    grid = FetchGrid(clock, range(3))
    grid.takes = lambda message: None if message.metadata.group_id == "1" and phase_of(message) == "train" else 1800.0
    strategy = FedHDS(ALL, seed=7)
    spent(strategy, grid, 2)
    assert not strategy.reports[0].trained and set(strategy.reports[1].trained) == {0, 1, 2}


def test_a_reply_that_cannot_be_read_is_an_error_of_its_node_alone(clock: Clock) -> None:
    grid = FetchGrid(clock, range(4))
    liar = grid.node_of(0)

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if message.metadata.dst_node_id == liar and phase_of(message) in ("train", "evaluate") and reply is not None:
            reply.metadata.__dict__["_group_id"] = "unreadable"
        return reply

    grid.interfere = interfere
    strategy = FedHDS(ALL, seed=7)
    _, seconds = spent(strategy, grid, 2)
    for report in strategy.reports:
        assert report.left_out == {0: "a reply that cannot be read: a reply without end"} and set(report.trained) == {1, 2, 3}
        assert list(report.not_evaluated) == [0]
    assert max(seconds) < 60


def test_a_reply_in_the_place_of_another_nodes_is_none_of_its(clock: Clock) -> None:
    grid = FetchGrid(clock, range(3))
    kept: dict[int, Message] = {}

    def interfere(message: Message, reply: Message | None) -> Message | None:
        if phase_of(message) == "train" and reply is not None:
            kept[message.metadata.dst_node_id] = reply
            if message.metadata.dst_node_id == grid.node_of(2):
                return kept[grid.node_of(0)]
        return reply

    grid.interfere = interfere
    strategy = FedHDS(ALL, seed=7)
    spent(strategy, grid, 1)
    assert f"a reply of node {grid.node_of(0)} in its place" in strategy.reports[0].left_out[2]
    assert set(strategy.reports[0].trained) == {0, 1}


def test_what_the_connection_itself_says_is_raised(clock: Clock) -> None:
    class Broken(FetchGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            raise ConnectionError("the SuperLink is gone")

    with pytest.raises(ConnectionError, match="SuperLink"):
        spent(FedHDS(ALL, seed=7), Broken(clock, range(2)), 1)


def test_a_grid_that_waits_itself_gives_silent_nodes_less_time() -> None:
    grid = ToyGrid(client_app(), range(4))
    grid.interfere = silent({grid.node_of(2)}, {"extract"})
    strategy = FedHDS(ALL, seed=7, query_timeout=HOUR)
    strategy.start(grid, initial(), num_rounds=2, timeout=HOUR)
    # hello, extract, train, evaluate; then extract of three and of the silent one, train, evaluate.
    assert grid.timeouts == [HOUR, HOUR, HOUR, HOUR, HOUR, 60.0, HOUR, HOUR]


@pytest.mark.parametrize("bad", [{"quorum": 0}, {"quorum": 1.5}, {"quorum": True}, {"soft_deadline": 0}, {"soft_deadline": float("nan")}])
def test_what_is_no_quorum_and_no_deadline_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(fedhds.ParameterError, match=next(iter(bad))):
        FedHDS(ALL, **bad)
