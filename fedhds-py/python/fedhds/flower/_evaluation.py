"""Which evaluation replies count, and how much."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Container, Iterable
from logging import getLogger
from typing import Any

from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from .._native import ProtocolError
from .._told import told
from ._blame import without_culprits
from ._messages import NUM_EXAMPLES, reason_of
from ._metrics import Metrics, form_of, metrics_in, strangers, usual_key, whole
from ._nodes import Nodes

logger = getLogger("flwr.fedhds")

MOST_EXAMPLES = 2**32 - 1
WITHOUT_NUMBER = 2**32
"""Clients can be evaluated that were never asked which number they have; they come last, in the order of their nodes."""


def evaluated(
    inner: Strategy, number: int, replies: Iterable[Message], nodes: Nodes, asked: Container[int] | None
) -> tuple[MetricRecord | None, dict[int, str]]:
    """The inner strategy's metrics of the replies that fit, in ascending order of client numbers; and who is left out, and why.

    A client says itself on how many records it evaluated. So that a word gives no weight, nobody weighs more than the median client.

    Args:
        inner: what joins the metrics.
        number: Flower's of the round.
        replies: in any order, of anybody.
        nodes: who is who.
        asked: the nodes of which replies are awaited; None where that is not known.

    Raises:
        Exception: the inner strategy's, where it fails on no client's reply in particular.
    """
    found: dict[int, tuple[Message, str, Metrics]] = {}
    left_out: dict[int, str] = {}
    weight = _weighted_by(inner)
    for reply in replies:
        node = reply.metadata.src_node_id
        client = nodes.number(node)
        place = WITHOUT_NUMBER + node if client is None else client
        if place in found or place in left_out or (asked is not None and node not in asked):
            logger.warning("an evaluation of node %s that nobody waits for", node)
            continue
        try:
            if reply.has_error():
                raise ProtocolError(reason_of(reply))
            found[place] = (reply, *_check(reply, weight))
        except Exception as error:  # whatever it sent: this client is left out, and nobody else
            left_out[place] = told(error)
    found = {place: found[place] for place in sorted(found)}
    for place, reason in strangers({place: form_of(metrics) for place, (_, _, metrics) in found.items()}).items():
        left_out[place] = reason
        del found[place]
    if weight is not None and found:
        most = statistics.median_low(float(metrics[weight]) for _, _, metrics in found.values())  # type: ignore[arg-type]
        for _, _, metrics in found.values():
            if metrics[weight] > most:  # type: ignore[operator]
                metrics[weight] = int(most) if isinstance(metrics[weight], int) else most
    key = usual_key([key for _, key, _ in found.values()], "metrics")

    def attempt(places: list[int]) -> MetricRecord | None:
        return inner.aggregate_evaluate(number, [_message(found[place][0], key, found[place][2]) for place in places])

    joined: MetricRecord | None = None
    try:
        joined, culprits = without_culprits(attempt, list(found))
    except Exception as error:
        if len(found) != 1:
            raise
        culprits = {place: told(error) for place in found}
    return joined, dict(sorted((left_out | culprits).items()))


def _check(reply: Message, weight: str | None) -> tuple[str, Metrics]:
    """The key and the metrics of a reply; an error where no mean can be made with it."""
    key, metrics = metrics_in(reply, "evaluation reply")
    if NUM_EXAMPLES in metrics or weight == NUM_EXAMPLES:
        metrics[NUM_EXAMPLES] = whole(metrics, NUM_EXAMPLES, MOST_EXAMPLES, "evaluation reply")
    if weight is not None:
        value = metrics.get(weight)
        if not isinstance(value, (int, float)) or not (0 < value < math.inf):
            raise ProtocolError(f"protocol: evaluation reply: `{weight}`: expected a number above 0, got {told(value, 40)}")
    for name, value in metrics.items():
        if not all(math.isfinite(one) for one in (value if isinstance(value, list) else [value])):
            raise ProtocolError(f"protocol: evaluation reply: `{told(name, 60)}`: expected finite numbers, got {told(value, 60)}")
    return key, metrics


def _message(reply: Message, key: str, metrics: Metrics) -> Message:
    clean = copy.copy(reply)
    clean.content = RecordDict({key: MetricRecord(dict(metrics))})
    return clean


def _weighted_by(strategy: Strategy) -> str | None:
    """The metric by which a strategy of Flower's, or the one in a wrapper, weighs clients; None where it says none."""
    found: Any = strategy
    while isinstance(found, Strategy):
        key = getattr(found, "weighted_by_key", None)
        if isinstance(key, str):
            return key
        found = getattr(found, "strategy", None)
    return None
