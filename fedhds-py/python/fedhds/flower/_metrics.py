"""What a client says in numbers beside its arrays: whether it is of a form that means can be made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flwr.app import Message

from .._native import ProtocolError
from .._told import told
from ._messages import EVAL_LOSS, NUM_CLIENTS, NUM_EXAMPLES, TRAIN_LOSS

Number = int | float
Metrics = dict[str, Number | list[Number]]
Form = tuple[tuple[str, int], ...]
"""Names of metrics, and how many numbers each list has; -1 for one number."""

KNOWN = (NUM_EXAMPLES, NUM_CLIENTS, TRAIN_LOSS, EVAL_LOSS)
"""Metrics of which we know what they are: one number each."""
MOST_METRICS = 1000
MOST_VALUES = 10_000


def metrics_in(reply: Message, what: str) -> tuple[str, Metrics]:
    """The only MetricRecord of a reply: its key, and its numbers.

    Raises:
        ProtocolError: where there is none or several, or one with anything else in it.
    """
    found = list(reply.content.metric_records.items())
    if len(found) != 1:
        raise ProtocolError(f"protocol: {what}: expected one MetricRecord, got {len(found)}")
    key, record = found[0]
    if len(record) > MOST_METRICS:
        raise ProtocolError(f"protocol: {what}: expected at most {MOST_METRICS} metrics, got {len(record)}")
    metrics: Metrics = {}
    for name, value in record.items():
        if not isinstance(name, str):
            raise ProtocolError(f"protocol: {what}: expected texts as names of metrics, got {told(name, 40)}")
        if isinstance(value, list) and name not in KNOWN and len(value) <= MOST_VALUES:
            metrics[name] = [_number(one, name, what) for one in value]
        else:
            metrics[name] = _number(value, name, what)
    if metrics.get(NUM_CLIENTS, 1) != 1:
        raise ProtocolError(f"protocol: {what}: `{NUM_CLIENTS}`: expected 1, got {told(metrics[NUM_CLIENTS], 40)}")
    return key, metrics


def _number(value: Any, name: str, what: str) -> Number:
    """A number that fits into Flower's records and into sums of floats; it may be infinite, or none (NaN)."""
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63):
        return value
    raise ProtocolError(f"protocol: {what}: `{told(name, 60)}`: expected one number, got {type(value).__name__} {told(value, 40)}")


def whole(metrics: Mapping[str, Any], name: str, most: int, what: str, why: str = "") -> int:
    """A count from 1 among the metrics.

    Raises:
        ProtocolError: where there is none.
    """
    value = metrics.get(name)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= most and value == int(value)
    if not fits or value is None:
        raise ProtocolError(f"protocol: {what}: `{name}`: expected 1 to {most}{why}, got {told(value, 40)}")
    return int(value)


def form_of(metrics: Metrics) -> Form:
    """Names of the metrics, and how many numbers each has: what must be the same of all whose mean is taken."""
    return tuple(sorted((name, len(value) if isinstance(value, list) else -1) for name, value in metrics.items()))


def _text(form: Form) -> str:
    return ", ".join(name if count < 0 else f"{name} ({count} numbers)" for name, count in form)


def strangers(forms: Mapping[int, Form]) -> dict[int, str]:
    """Clients whose metrics have another form than most, and why. Of forms that are equally common the one counts that adds no metric of its
    own, then the one with more of those that we know, then that of the lowest client.
    """
    counts = Counter(forms[client] for client in sorted(forms))

    def rank(form: Form) -> tuple[int, bool, int]:
        known = sum(name in KNOWN for name, _ in form)
        return -counts[form], known < len(form), -known

    usual = min(counts, key=rank, default=())
    return {
        client: f"protocol: reply: expected the metrics {told(_text(usual), 150)}, as of most clients, got {told(_text(form), 250)}"
        for client, form in forms.items()
        if form != usual
    }


def usual_key(keys: Sequence[str], ours: str) -> str:
    """The name under which most replies have their record: it is a name and no more, so it costs nobody his place."""
    counts = Counter(keys)
    return min(counts, key=lambda key: (-counts[key], key != ours, key), default=ours)


def settle(metrics: Mapping[int, Metrics], weights: Mapping[int, float]) -> None:
    """Puts the mean of the others in the place of values that are not finite, so that a mean over all is that of those who have one.

    Where nobody has one they stay: a trainer without losses gives NaN.
    """
    for name in next(iter(metrics.values()), {}):
        found = {client: _listed(one[name]) for client, one in metrics.items()}
        for place in sorted({place for values in found.values() for place, value in enumerate(values) if not math.isfinite(value)}):
            having = [client for client, values in found.items() if math.isfinite(values[place])]
            if not having:
                continue
            total = sum(weights[client] for client in having)
            mean = sum(found[client][place] * (weights[client] / total) for client in having)
            for client in found.keys() - set(having):
                found[client][place] = mean
                if not isinstance(metrics[client][name], list):
                    metrics[client][name] = mean


def _listed(value: Number | list[Number]) -> list[Number]:
    return value if isinstance(value, list) else [value]
