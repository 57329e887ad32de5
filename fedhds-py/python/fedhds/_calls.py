"""How a user's object is called: which methods it has, and which arguments they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from . import _native
from ._model import Adapter
from ._native import StageError


def method_of(value: Any, *methods: str) -> Callable[..., Any] | None:
    """The first of these methods that the object has; the object itself where it is a function."""
    for name in methods:
        found = getattr(value, name, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
    return value if callable(value) and not isinstance(value, type) else None


def needed(stage: Any, method: str) -> Callable[..., Any]:
    """The method of a stage.

    Raises:
        StageError: where it has none.
    """
    found = method_of(stage, method)
    if found is None:
        raise StageError(f"expected an object with `{method}`, got {type(stage).__name__}")
    return found


def own(stage: Any, method: str) -> Callable[..., Any] | None:
    """A method that a stage may leave out."""
    found = getattr(stage, method, None)
    return found if callable(found) else None


def parameters(call: Callable[..., Any]) -> list[str] | None:
    """Names of the arguments that may be given by place or name; None where nobody knows."""
    try:
        found = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in found):
        return None
    return [one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.POSITIONAL_ONLY)]


def keywords(call: Callable[..., Any], known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a function's first argument, and those of the known ones that it takes behind it."""
    first, *others = parameters(call) or [""]
    return first, {name: known[name] for name in others if name in known}


def adapter_of(value: Any, call: str) -> _native.Adapter:
    """The adapter that a user's call returned.

    Raises:
        StageError: for anything else.
    """
    if not isinstance(value, Adapter):
        raise StageError(f"`{call}`: expected a fedhds.Adapter, got {type(value).__name__}")
    return value._native
