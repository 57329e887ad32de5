"""An inner strategy's aggregation, held so that no client's update spoils its state or the arrays."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from .._native import NotFiniteError
from .._told import told
from ._blame import without_culprits
from ._replies import Update, messages_of
from ._tensors import arrays_of, record_of


@dataclass
class Aggregated:
    """What an inner strategy made of the updates."""

    arrays: ArrayRecord | None = None
    metrics: MetricRecord | None = None
    left_out: dict[int, str] = field(default_factory=dict)
    """Clients on whose update alone it failed, and how."""
    discarded: str | None = None
    """Why its arrays are not taken."""


def aggregated(inner: Strategy, number: int, updates: Mapping[int, Update], sent: ArrayRecord, key: str) -> Aggregated:
    """The inner strategy's aggregation of a round. Where its arrays or its state are not finite afterwards, or it raises, the clients whose
    updates do that are left out, and its state is what it was before.

    Args:
        inner: the strategy.
        number: Flower's of the round.
        updates: by client, ascending.
        sent: the arrays that went to the clients.
        key: under which the arrays were sent.

    Raises:
        Exception: the inner strategy's, where it fails on no client's update in particular.
    """
    saved, before = _snapshot(inner), _not_finite(inner)

    def attempt(clients: list[int]) -> tuple[ArrayRecord | None, MetricRecord | None]:
        if saved is not None:
            _put_back(inner, saved)
        messages = messages_of({client: updates[client] for client in clients}, key)
        arrays, metrics = inner.aggregate_train(number, list(messages.values()))
        arrays = None if arrays is None else finite_as_sent(arrays, sent)
        if spoiled := sorted(_not_finite(inner) - before):
            raise NotFiniteError(f"aggregation: {type(inner).__name__}: expected a finite state, got another in `{spoiled[0]}`")
        return arrays, metrics

    if saved is None:  # it cannot be tried twice
        try:
            return Aggregated(*attempt(list(updates)))
        except NotFiniteError as error:
            return Aggregated(discarded=told(error))
    try:
        (arrays, metrics), culprits = without_culprits(attempt, list(updates))
        return Aggregated(arrays, metrics, culprits)
    except Exception as error:
        _put_back(inner, saved)
        if isinstance(error, NotFiniteError) or len(updates) == 1:
            return Aggregated(discarded=told(error))
        raise


def finite_as_sent(arrays: ArrayRecord, sent: ArrayRecord) -> ArrayRecord:
    """The arrays in the types in which they were sent: some strategies give float64 for float32.

    Raises:
        NotFiniteError: that names the first array with a value that is not finite in its type.
    """
    made = {}
    for name, array in arrays_of(arrays).items():
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            cast = array.astype(sent[name].dtype, copy=False) if name in sent else array
        if array.dtype.kind == "f" and not (np.isfinite(array).all() and np.isfinite(cast).all()):
            raise NotFiniteError(f"aggregation: `{name}`: expected finite values, got others")
        made[name] = cast
    return record_of(made)


def _snapshot(strategy: Strategy) -> dict[str, Any] | None:
    """A strategy's attributes, and those of strategies in it; None where they cannot be copied."""
    try:
        return {name: _copied(value) for name, value in vars(strategy).items()}
    except Exception:
        return None


def _copied(value: Any) -> Any:
    if isinstance(value, Strategy):
        return {name: _copied(own) for name, own in vars(value).items()}
    return value if callable(value) else copy.deepcopy(value)


def _put_back(strategy: Strategy, saved: dict[str, Any]) -> None:
    own = vars(strategy)
    for name in own.keys() - saved.keys():
        del own[name]
    for name, value in saved.items():
        if isinstance(own.get(name), Strategy):
            _put_back(own[name], value)
        else:
            own[name] = _copied(value)


def _not_finite(value: Any, place: str = "") -> set[str]:
    """Places of numbers and arrays in a strategy's state that are not finite."""
    if isinstance(value, (float, np.floating)):
        return set() if math.isfinite(value) else {place}
    if isinstance(value, np.ndarray):
        return set() if value.dtype.kind != "f" or np.isfinite(value).all() else {place}
    if isinstance(value, Strategy):
        value = vars(value)
    if isinstance(value, Mapping) and not isinstance(value, ArrayRecord):
        return {found for name, one in value.items() for found in _not_finite(one, f"{place}.{name}" if place else str(name))}
    if isinstance(value, (list, tuple)):
        return {found for i, one in enumerate(value) for found in _not_finite(one, f"{place}[{i}]")}
    return set()
