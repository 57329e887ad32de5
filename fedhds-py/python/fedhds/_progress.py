"""Progress of heavy calls: bars, or an object of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from . import _native
from ._native import ParameterError


class Listener(Protocol):
    """Hears of the work; called by the thread that called fedhds."""

    def begin(self, stage: str, total: int | None) -> None:
        """A stage begins; so many units are expected, where that is known."""

    def advance(self, stage: str, units: int) -> None:
        """So many units more are done."""

    def end(self, stage: str) -> None:
        """The stage is over."""


class Bars:
    """A bar of tqdm for each stage at work: in a notebook its widget, else lines on stderr."""

    def __init__(self, **options: Any) -> None:
        from tqdm.auto import tqdm

        self._make = tqdm
        self._options = options
        # A stage may be begun several times before it ends, where several clients work at once.
        self._open: dict[str, tuple[Any, int]] = {}

    def begin(self, stage: str, total: int | None) -> None:
        """Opens a bar, or adds to the one that is open."""
        if stage in self._open:
            bar, users = self._open[stage]
            bar.total = None if bar.total is None or total is None else bar.total + total
            self._open[stage] = (bar, users + 1)
            return
        self._open[stage] = (self._make(total=total, desc=stage, leave=False, **self._options), 1)

    def advance(self, stage: str, units: int) -> None:
        """Moves the bar."""
        if stage in self._open:
            self._open[stage][0].update(units)

    def end(self, stage: str) -> None:
        """Closes the bar when nobody uses it any more."""
        if stage in self._open:
            bar, users = self._open.pop(stage)
            if users > 1:
                self._open[stage] = (bar, users - 1)
            else:
                bar.close()

    def close(self) -> None:
        """Closes what is still open, after a stop."""
        for bar, _ in self._open.values():
            bar.close()
        self._open.clear()


@contextmanager
def progress(listener: Listener | bool = True) -> Iterator[Listener | None]:
    """Shows the progress of every heavy call within.

    Args:
        listener: True for bars of tqdm, False for silence, or an object with ``begin``, ``advance`` and ``end``.

    Example:
        >>> import numpy as np, fedhds
        >>> class Count:
        ...     steps = 0
        ...     def begin(self, stage, total): pass
        ...     def advance(self, stage, units): self.steps += units
        ...     def end(self, stage): pass
        >>> with fedhds.progress(Count()) as count:
        ...     points = fedhds.TSNE(max_iter=250).fit_transform(np.eye(20))
        >>> count.steps
        250
    """
    heard: Any = listener
    if isinstance(listener, bool):
        heard = Bars() if listener else None
    elif not all(callable(getattr(listener, name, None)) for name in ("begin", "advance", "end")):
        raise ParameterError(f"listener: expected an object with begin, advance and end, got {listener!r}")
    before = _native.set_listener(heard)
    try:
        yield heard
    finally:
        _native.set_listener(before)
        if isinstance(heard, Bars):
            heard.close()
