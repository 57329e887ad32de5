"""Which node is which client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from logging import getLogger

from flwr.app import Message

from .._native import ParameterError, ProtocolError
from ._messages import HEADER, answer_of, read_json, reason_of

logger = getLogger("flwr.fedhds")

UNNUMBERED = 2**31
"""Clients that tell no number get one from here on."""

Ask = Callable[[Sequence[int]], Iterable[Message]]
"""Asks these nodes for their numbers."""


class Nodes:
    """The client number of each node.

    Flower draws node ids anew in every run; the selection's draws come from client numbers. So each node is asked once,
    and what it says (its ``partition-id``) is kept. A node that says nothing gets a number in the order of node ids: it
    takes part, but another run draws differently.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, node: int) -> int | None:
        """The client number of a node; None where it is not known."""
        return self._numbers.get(node)

    def identify(self, nodes: Iterable[int], ask: Ask) -> dict[int, int]:
        """The node of each client number, ascending; nodes that do not answer are left out.

        Raises:
            ProtocolError: when two nodes that both answer have one number.
        """
        nodes = sorted(set(nodes))
        unknown = [node for node in nodes if node not in self._numbers]
        if unknown:
            self._ask(unknown, ask)
        twice = self._twice(nodes)
        if twice:
            # A client that came back has a new node id, and its old one is listed until its heartbeats are missed.
            for node in twice:
                del self._numbers[node]
            self._ask(twice, ask)
            twice = self._twice(nodes)
        if twice:
            number = self._numbers[twice[0]]
            who = ", ".join(str(node) for node in twice if self._numbers[node] == number)
            raise ProtocolError(
                f"protocol: client numbers: expected one node with the number {number}, got the nodes {who}; "
                "give each SuperNode its own `partition-id` in --node-config"
            )
        found = {self._numbers[node]: node for node in nodes if node in self._numbers}
        return dict(sorted(found.items()))

    def _twice(self, nodes: Iterable[int]) -> list[int]:
        known = [node for node in nodes if node in self._numbers]
        numbers = [self._numbers[node] for node in known]
        return [node for node, number in zip(known, numbers, strict=True) if numbers.count(number) > 1]

    def _ask(self, nodes: Sequence[int], ask: Ask) -> None:
        silent, unnumbered = set(nodes), []
        for reply in ask(nodes):
            node = reply.metadata.src_node_id
            silent.discard(node)
            try:
                number = _told(reply)
            except ProtocolError as error:
                logger.warning("node %s is left out, as it does not say which client it is: %s", node, error)
                continue
            if number is None:
                unnumbered.append(node)
            else:
                self._numbers[node] = number
        if silent:
            logger.warning(
                "no answer from nodes %s: which clients they are is not known", ", ".join(map(str, sorted(silent)))
            )
        for node in sorted(unnumbered):
            self._numbers[node] = max([UNNUMBERED - 1, *self._numbers.values()]) + 1
            logger.warning(
                "node %s tells no client number (no `partition-id` in its node config): it is client %s in this run, "
                "and another run draws differently", node, self._numbers[node],
            )  # fmt: skip


def _told(reply: Message) -> int | None:
    """The number that a client tells; None where it has none."""
    if reply.has_error():
        raise ProtocolError(reason_of(reply))
    fields = read_json(str(answer_of(reply).get(HEADER, "")), "client number")
    number = fields.get("client")
    whole = isinstance(number, int) and not isinstance(number, bool)
    if number is None or (whole and 0 <= number < UNNUMBERED):
        return number
    raise ProtocolError(f"protocol: client number: expected a whole number from 0 to {UNNUMBERED - 1}, got {number!r}")


def per_round(value: int | float | None) -> int | float | None:
    """Clients of a round: a count, a share, or all.

    Raises:
        ParameterError: for anything else.
    """
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    share = isinstance(value, float) and 0.0 < value <= 1.0
    if value is None or count or share:
        return value
    raise ParameterError(
        f"clients_per_round: expected a count of at least 1, a share in (0, 1], or None, got {value!r}"
    )


def sample(clients: Sequence[int], amount: int | float | None, seed: int, round: int) -> list[int]:
    """Clients of a round, ascending; the draw depends on (seed, round, client number) alone, not on who else is there.

    Example:
        >>> sample(range(100), 3, seed=7, round=1) == sample(range(99, -1, -1), 3, seed=7, round=1)
        True
    """
    if amount is None:
        return sorted(clients)
    wanted = amount if isinstance(amount, int) else max(1, int(len(clients) * amount + 0.5))

    def rank(client: int) -> bytes:
        return hashlib.blake2b(f"sampling {seed} {round} {client}".encode(), digest_size=16).digest()

    return sorted(sorted(clients, key=rank)[:wanted])
