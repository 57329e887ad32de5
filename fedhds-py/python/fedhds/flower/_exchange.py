"""Messages to clients and their replies: how long the server waits, and for whom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from logging import getLogger

from flwr.app import Error, Message
from flwr.serverapp import Grid

from .._native import ParameterError
from .._told import told
from ._messages import listed
from ._sampling import Amount, amount, needed

logger = getLogger("flwr.fedhds")

GRACE = 60.0
"""Seconds that nodes get which were silent before, where all others have answered."""
SOONEST = 600.0
"""Seconds of a phase before which nobody is given up for being slow, unless a soft deadline says so."""
INTERVAL = 3.0
"""Seconds between two looks for replies, as in Flower's own loop."""
MOST_LATE = 3
"""Messages of a kind to a node that did not answer of which late replies are looked for."""
_UNREADABLE = 0
"""Code of the error that takes the place of a reply which cannot be read: Flower's for an unknown one."""

_OF_THE_CONNECTION = ("httpx", "httpcore", "grpc", "requests", "urllib3")
"""Libraries of which errors tell of the connection, and not of a reply."""


class Exchange:
    """Sends messages and gives the replies.

    It goes on when all have answered; when the time is over; or when a quorum has answered and the soft deadline has passed. A node that did
    not answer is remembered: from then on it gets :data:`GRACE` seconds, or as long as the others take, until it answers again, late or in
    time.

    Each reply is fetched on its own, so that one which cannot be read is an error of its node and nobody else's. A grid without
    ``push_messages`` and ``pull_messages`` does the waiting itself: then there is no quorum.

    Args:
        quorum: how many of the nodes that are waited for: a count, a share, or None for all.
        soft_deadline: seconds, above 0; None is half of the time there is, but no less than :data:`SOONEST`.

    Raises:
        ParameterError: for anything else.
    """

    def __init__(self, quorum: Amount = None, soft_deadline: float | None = None) -> None:
        self.quorum = amount(quorum, "quorum")
        if soft_deadline is not None and not soft_deadline > 0:
            raise ParameterError(f"soft_deadline: expected seconds above 0 or None, got {soft_deadline!r}")
        self.soft_deadline = soft_deadline
        self._silent: dict[str, set[int]] = {}
        self._late: dict[str, tuple[str, Message]] = {}

    @property
    def silent(self) -> set[int]:
        """Nodes that did not answer when they were last asked for something."""
        return {node for nodes in self._silent.values() for node in nodes}

    def forget(self) -> None:
        """Forgets who was silent, as another run begins."""
        self._silent.clear()
        self._late.clear()

    def __call__(self, grid: Grid, messages: Iterable[Message], kind: str, timeout: float | None) -> list[Message]:
        """The replies that came in time, in any order; at most one of each message where the grid lets us fetch them.

        Args:
            grid: Flower's.
            messages: one for each node.
            kind: of what is asked: who is silent in training may be prompt in answering questions.
            timeout: seconds; None waits until all have answered.
        """
        messages = list(messages)
        if not messages:
            return []
        silent = self._silent.setdefault(kind, set())
        prompt = [message for message in messages if message.metadata.dst_node_id not in silent]
        shorter = [message for message in messages if message.metadata.dst_node_id in silent]
        if not prompt:  # everybody was silent: nobody is there to go on without them
            prompt, shorter = shorter, []
        pushed = _pushed(grid, [*prompt, *shorter])
        if pushed is not None:
            replies = self._fetched(grid, pushed, prompt, kind, timeout)
        else:
            replies = list(grid.send_and_receive(prompt, timeout=timeout))
            if shorter:
                replies += grid.send_and_receive(shorter, timeout=_shortest(GRACE, timeout))
        heard = {reply.metadata.src_node_id for reply in replies}
        asked = {message.metadata.dst_node_id for message in messages}
        silent -= heard
        silent |= asked - heard
        if asked - heard:
            logger.warning("no answer to %s from nodes %s", kind, listed(asked - heard))
        return replies

    def _fetched(
        self, grid: Grid, pushed: dict[str, Message], prompt: Sequence[Message], kind: str, timeout: float | None
    ) -> list[Message]:
        self._welcome(grid)
        waited = {message.metadata.dst_node_id for message in prompt}
        wanted = needed(self.quorum, len(waited))
        soft = self.soft_deadline
        if soft is None and timeout is not None:
            soft = max(timeout / 2, SOONEST)
        interval = float(getattr(grid, "pull_interval", INTERVAL))
        replies: list[Message] = []
        began = time.monotonic()
        while True:
            for key, message in list(pushed.items()):
                reply = _pulled(grid, key, message)
                if reply is not None:
                    replies.append(reply)
                    del pushed[key]
            missing = waited.intersection(message.metadata.dst_node_id for message in pushed.values())
            passed = time.monotonic() - began
            over = timeout is not None and passed >= timeout
            enough = soft is not None and passed >= soft and len(waited) - len(missing) >= wanted
            if not pushed or over or enough or (not missing and passed >= _shortest(GRACE, timeout)):
                break
            time.sleep(interval if timeout is None else min(interval, max(timeout - passed, 0.01)))
        for key, message in pushed.items():
            self._remember(key, kind, message)
        return replies

    def _remember(self, key: str, kind: str, message: Message) -> None:
        """Keeps in mind what was not answered; of each node the newest few, as one that died answers none of them."""
        node = message.metadata.dst_node_id
        older = [known for known, (of, one) in self._late.items() if of == kind and one.metadata.dst_node_id == node]
        for known in older[: len(older) + 1 - MOST_LATE]:
            del self._late[known]
        self._late[key] = kind, message

    def _welcome(self, grid: Grid) -> None:
        """Late replies are of no use any more, but their nodes are back."""
        for key, (kind, message) in list(self._late.items()):
            node = message.metadata.dst_node_id
            if node not in self._silent.get(kind, set()):
                del self._late[key]
                continue
            reply = _pulled(grid, key, message)
            if reply is not None:
                del self._late[key]
                if not reply.has_error():
                    logger.info("node %s answers again, too late for its round", node)
                    self._silent[kind].discard(node)


def _shortest(seconds: float, timeout: float | None) -> float:
    return seconds if timeout is None else min(seconds, timeout)


def _pushed(grid: Grid, messages: list[Message]) -> dict[str, Message] | None:
    """The messages that went out, by the id under which the reply comes; None where the grid has no such way."""
    try:
        keys = list(grid.push_messages(messages))
    except NotImplementedError:
        return None
    if len(keys) == len(messages):
        return {key: message for key, message in zip(keys, messages, strict=True) if key}
    known = {message.metadata.message_id: message for message in messages}
    return {key: known[key] for key in keys if key in known}


def _pulled(grid: Grid, key: str, message: Message) -> Message | None:
    """The reply to a message, where it is there; an error in its place where it cannot be read or is of another node."""
    try:
        found = next(iter(grid.pull_messages([key])), None)
    except Exception as error:
        if _of_the_connection(error):
            raise
        return Message(Error(_UNREADABLE, f"a reply that cannot be read: {told(error)}"), reply_to=message)
    if found is None:
        return None
    if found.metadata.src_node_id == message.metadata.dst_node_id:
        return found
    reason = found.error.reason if found.has_error() else f"a reply of node {found.metadata.src_node_id} in its place"
    return Message(Error(found.error.code if found.has_error() else _UNREADABLE, told(reason)), reply_to=message)


def _of_the_connection(error: Exception) -> bool:
    """Whether it tells of the connection or the run, as the SuperLink's own errors do (`FlowerError`), and not of what came over it."""
    kinds = type(error).__mro__
    return isinstance(error, OSError) or any(
        kind.__name__ == "FlowerError" or kind.__module__.split(".")[0] in _OF_THE_CONNECTION for kind in kinds
    )
