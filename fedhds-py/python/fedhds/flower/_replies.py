"""Which train replies can be aggregated, and what is taken from them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import getLogger
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from .._native import ProtocolError
from .._told import told
from ._messages import NUM_EXAMPLES, TRAIN_LOSS, reason_of
from ._metrics import Metrics, form_of, metrics_in, settle, strangers, usual_key, whole
from ._nodes import Nodes
from ._report import RoundReport
from ._tensors import single_arrays, trained_arrays

logger = getLogger("flwr.fedhds")


@dataclass
class Update:
    """What is taken from a train reply: nothing of it is as the client made it, but for its config records."""

    reply: Message
    arrays: ArrayRecord
    """In the order, shapes and types of what was sent, and finite."""
    metrics: Metrics
    """With the records that it weighs."""
    records: int
    """Records that it trained on, by its own word."""
    loss: float | None
    """Its mean loss, where it has one."""
    key: str
    """The name of its metrics."""

    def message(self, arrays_key: str, metrics_key: str) -> Message:
        """The reply for a strategy of Flower's."""
        records: dict[str, Any] = {arrays_key: self.arrays, metrics_key: MetricRecord(dict(self.metrics))}
        others = {key: one for key, one in self.reply.content.items() if isinstance(one, ConfigRecord) and key not in records}
        clean = copy.copy(self.reply)
        clean.content = RecordDict(records | others)
        return clean


def sort_replies(
    replies: Iterable[Message], report: RoundReport, sent: ArrayRecord, nodes: Nodes, most: Callable[[int], int]
) -> dict[int, Update]:
    """What came of the clients that fit, in ascending order of their numbers; the report says what became of each client.

    Args:
        replies: in any order, of anybody.
        report: the round's, with its orders.
        sent: the arrays that went to the clients.
        nodes: who is who.
        most: the most records that a client may have trained on.
    """
    good: dict[int, Update] = {}
    heard: set[int] = set()
    for reply in replies:
        client = nodes.number(reply.metadata.src_node_id)
        if client is None or client not in report.ordered or client in heard:
            logger.warning("a train reply of node %s that nobody waits for", reply.metadata.src_node_id)
            continue
        heard.add(client)
        try:
            if reply.has_error():
                raise ProtocolError(reason_of(reply))
            good[client] = _check(reply, report.ordered[client], most(client), sent)
        except Exception as error:  # whatever it sent: this client is left out, and nobody else
            report.left_out[client] = told(error)
    for client, reason in strangers({client: form_of(good[client].metrics) for client in sorted(good)}).items():
        report.left_out[client] = reason
        del good[client]
    for client in report.ordered:
        if client not in good:
            report.left_out.setdefault(client, "no answer to its order")
    good = {client: good[client] for client in sorted(good)}
    report.trained = {client: update.records for client, update in good.items()}
    weights = {client: float(min(update.records, report.ordered[client])) for client, update in good.items()}
    settle({client: update.metrics for client, update in good.items()}, weights)
    return good


def messages_of(updates: Mapping[int, Update], arrays_key: str) -> dict[int, Message]:
    """The updates as replies for a strategy of Flower's, which wants the same names of records from all."""
    key = usual_key([update.key for update in updates.values()], "metrics")
    return {client: update.message(arrays_key, "metrics" if key == arrays_key else key) for client, update in updates.items()}


def _check(reply: Message, ordered: int, most: int, sent: ArrayRecord) -> Update:
    """What a client trained; an error where its reply cannot be aggregated.

    Of an order in tokens it may be more records than were ordered. It then weighs no more than these: how many it took is its own word.
    """
    found = single_arrays(reply)
    if found is None:
        raise ProtocolError("protocol: train reply: expected one ArrayRecord, got none")
    key, metrics = metrics_in(reply, "train reply")
    records = whole(metrics, NUM_EXAMPLES, most, "train reply", ", as ordered")
    arrays = trained_arrays(sent, found[1], "in a train reply")
    loss = metrics.get(TRAIN_LOSS)
    known = float(loss) if isinstance(loss, (int, float)) and math.isfinite(loss) else None
    return Update(reply, arrays, metrics | {NUM_EXAMPLES: min(records, ordered)}, records, known, key)
