"""Which node is which client."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from logging import getLogger

from flwr.app import Message

from .._native import ProtocolError
from .._told import told
from ._messages import HEADER, answer_of, read_json, reason_of

logger = getLogger("flwr.fedhds")

UNNUMBERED = 2**31
"""Clients that tell no number get one from here on."""
_MOST_TEXT = 4096
"""Characters of what a node says of itself; it is one number and what we asked."""

Ask = Callable[[Sequence[int]], Iterable[Message]]
"""Asks these nodes for their numbers."""


class Nodes:
    """The client number of each node.

    Flower draws node ids anew in every run; the selection's draws come from client numbers. So each node is asked once,
    and what it says (its ``partition-id``) is kept. A node that says nothing gets a number in the order of node ids: it
    takes part, but another run draws differently.

    A number belongs to the node that had it first: a newcomer that says the same one is refused. Once the first one
    answers no more the newcomer takes its place, until the first one is back.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._first: dict[int, int] = {}
        """The node that had a number first."""
        self._rivals: dict[int, int] = {}
        """Numbers that nodes say they have, and that others had before."""
        self.refused: dict[int, str] = {}
        """Nodes that could not be identified in the last round, and why."""

    @property
    def known(self) -> bool:
        """Whether any client is known."""
        return bool(self._numbers)

    def number(self, node: int) -> int | None:
        """The client number of a node; None where it is not known."""
        return self._numbers.get(node)

    def identify(self, nodes: Iterable[int], ask: Ask, silent: Container[int] = ()) -> dict[int, int]:
        """The node of each client number, ascending; nodes that do not say which client they are, or that say what another is, are left
        out.

        Args:
            nodes: those of the round.
            ask: asks nodes for their numbers.
            silent: nodes that did not answer when they were asked last.
        """
        nodes = sorted(set(nodes))
        self.refused = {}
        told_now = self._ask([node for node in nodes if node not in self._numbers and node not in self._rivals], ask)
        unnumbered = [node for node, number in told_now.items() if number is None]
        claims = {node: number for node, number in told_now.items() if number is not None}
        self._rivals = {node: number for node, number in self._rivals.items() if node in nodes}
        waiting = dict(self._rivals)
        self._free(claims, waiting, nodes, ask, silent)
        for node, number in sorted((waiting | claims).items()):
            owner = self._owner(number)
            if owner is not None and self._first[number] == node:  # it was not heard for a while, and is back
                del self._numbers[owner]
                self._rival(owner, number, node)
                owner = None
            if owner is None:
                self._numbers[node] = number
                self._first.setdefault(number, node)
                self._rivals.pop(node, None)
            else:
                self._rival(node, number, owner)
        for node in sorted(unnumbered):
            self._numbers[node] = max([UNNUMBERED - 1, *self._numbers.values()]) + 1
            logger.warning(
                "node %s tells no client number (no `partition-id` in its node config): it is client %s in this run, "
                "and another run draws differently", node, self._numbers[node],
            )  # fmt: skip
        found = {self._numbers[node]: node for node in nodes if node in self._numbers}
        return dict(sorted(found.items()))

    def _rival(self, node: int, number: int, owner: int) -> None:
        self._rivals[node] = number
        self._refuse(node, f"it says that it is client {number}, which node {owner} is; give each SuperNode its own "
                     "`partition-id` in --node-config")  # fmt: skip

    def _owner(self, number: int) -> int | None:
        return next((node for node, own in self._numbers.items() if own == number), None)

    def _free(
        self, claims: dict[int, int], waiting: dict[int, int], nodes: Sequence[int], ask: Ask, silent: Container[int]
    ) -> None:
        """Frees the numbers of owners that are gone: a client that came back has a new node id, and its old one is listed until its
        heartbeats are missed. So an owner is asked again when somebody else says that it is this client. Where that is known already, only
        once the owner is not listed or did not answer.
        """
        doubted = {self._owner(number) for number in claims.values()}
        for number in waiting.values():
            owner = self._owner(number)
            if owner not in nodes or owner in silent:
                doubted.add(owner)
        owners = sorted(owner for owner in doubted if owner is not None)
        if not owners:
            return
        answered = {reply.metadata.src_node_id for reply in ask(owners) if not reply.has_error()}
        for owner in owners:
            if owner not in answered:
                del self._numbers[owner]

    def _ask(self, nodes: Sequence[int], ask: Ask) -> dict[int, int | None]:
        """What nodes say of themselves: a number, or None where they have none."""
        if not nodes:
            return {}
        found: dict[int, int | None] = {}
        heard: set[int] = set()
        for reply in ask(nodes):
            node = reply.metadata.src_node_id
            if node not in nodes or node in heard:
                continue
            heard.add(node)
            try:
                found[node] = _told(reply)
            except Exception as error:  # whatever it sent: this node is left out, and nobody else
                self._refuse(node, f"it does not say which client it is: {told(error)}")
        for node in nodes:
            if node not in heard:
                self._refuse(node, "no answer to which client it is")
        return found

    def _refuse(self, node: int, reason: str) -> None:
        reason = told(reason)
        self.refused[node] = reason
        logger.warning("node %s is left out: %s", node, reason)


def _told(reply: Message) -> int | None:
    """The number that a client tells; None where it has none."""
    if reply.has_error():
        raise ProtocolError(reason_of(reply))
    text = answer_of(reply).get(HEADER, "")
    if not isinstance(text, str) or len(text) > _MOST_TEXT:
        raise ProtocolError(f"protocol: client number: expected a text of at most {_MOST_TEXT} characters, got {type(text).__name__}")
    number = read_json(text, "client number").get("client")
    if number is None or (isinstance(number, int) and not isinstance(number, bool) and 0 <= number < UNNUMBERED):
        return number
    raise ProtocolError(f"protocol: client number: expected a whole number from 0 to {UNNUMBERED - 1}, got {told(repr(number), 60)}")
