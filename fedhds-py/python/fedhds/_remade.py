"""Copies of objects of which the core's part cannot be copied: they are made anew from what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Own = TypeVar("Own", bound="Remade")


class Remade:
    """An object that pickle, ``copy`` and joblib copy by the arguments that it was made of; those must be copied too."""

    _given: dict[str, Any]
    """The arguments by name; ``__init__`` sets it once they are checked."""
    _maker: type
    """The class of ours whose ``__init__`` takes them; a user's own class below it may take others."""

    def _made_of(self, maker: type, **given: Any) -> None:
        self._maker, self._given = maker, given

    def __reduce__(self) -> tuple[Any, ...]:
        own = {name: value for name, value in vars(self).items() if name not in ("_native", "_run")}
        return _remake, (type(self), self._maker, self._given), own

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


def _remake(kind: type[Own], maker: type, given: Mapping[str, Any]) -> Own:
    made = object.__new__(kind)
    maker.__init__(made, **given)  # type: ignore[misc]
    return made
