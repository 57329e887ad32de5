"""The state of an inner strategy as plain values: what a checkpoint can hold without pickling.

Flower's strategies keep numbers, texts, NumPy arrays, ArrayRecords and lists, tuples and dictionaries of them in their
attributes (FedAdam's ``m_t`` and ``v_t``, FedAvgM's ``momentum_vector``, an adaptive ``clipping_norm``, a wrapped
``strategy``). These are kept and put back, and so is what an object gives by ``state_dict`` and takes by
``load_state_dict`` (a privacy accountant). Functions are settings, which the program gives again. Anything else is
refused: a state that cannot be kept is better known before the first round than after the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from .._native import CheckpointError
from ._tensors import arrays_of, record_of

Arrays = dict[str, NDArray[Any]]

_WITHIN_A_ROUND = ("_pending_events",)
"""Attributes that mean nothing between rounds: what a privacy wrapper would have accounted for, had updates come."""


def capture(strategy: Strategy, arrays: Arrays) -> dict[str, Any]:
    """The attributes of a strategy in JSON's terms; arrays go into ``arrays`` and are named by their place.

    Raises:
        CheckpointError: for an attribute that cannot be kept.
    """
    captured = _write(strategy, "inner", arrays)
    assert isinstance(captured, dict)
    return captured


def restore(strategy: Strategy, captured: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Puts back what :func:`capture` gave, into a strategy that was made with the same settings."""
    for name, value in captured["attributes"].items():
        current = getattr(strategy, name, None)
        kind = next(iter(value), None) if isinstance(value, dict) else None
        if kind == "function":
            continue
        if kind == "strategy" and isinstance(current, Strategy):
            restore(current, value, arrays)
        elif kind == "state_dict" and current is not None:
            current.load_state_dict(value["state_dict"])
        else:
            setattr(strategy, name, _read(value, arrays))


def _write(value: Any, place: str, arrays: Arrays) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[place] = value
        return {"array": place}
    if isinstance(value, ArrayRecord):
        named = arrays_of(value)
        arrays.update({f"{place}/{name}": array for name, array in named.items()})
        return {"arrays": {name: f"{place}/{name}" for name in named}}
    if isinstance(value, (list, tuple)):
        items = [_write(item, f"{place}/{i}", arrays) for i, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
        return {"dict": [[key, _write(item, f"{place}/{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, Strategy):
        kept = {name: item for name, item in vars(value).items() if name not in _WITHIN_A_ROUND}
        attributes = {name: _write(item, f"{place}/{name}", arrays) for name, item in kept.items()}
        return {"strategy": f"{type(value).__module__}.{type(value).__qualname__}", "attributes": attributes}
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return {"state_dict": value.state_dict()}
    if callable(value):
        return {"function": getattr(value, "__qualname__", type(value).__qualname__)}
    raise CheckpointError(
        f"checkpoint: attribute `{place}`: expected numbers, text, NumPy arrays, ArrayRecords and lists, tuples and "
        f"dictionaries of them, or an object with `state_dict`, got {type(value).__name__}; "
        "run this strategy without a checkpoint"
    )


def _read(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "arrays":
        return record_of({name: arrays[place] for name, place in content.items()})
    if kind == "dict":
        return {key: _read(item, arrays) for key, item in content}
    items = [_read(item, arrays) for item in content]
    return items if kind == "list" else tuple(items)
