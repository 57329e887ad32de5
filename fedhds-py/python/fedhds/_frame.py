"""Double precision in, single precision to the core: where float32 cannot hold what the numbers tell, they are moved and scaled first, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._native import InputError

Doubles = NDArray[np.float64]

FINE = 2.0**-20
"""Share of the spread that rounding to float32 may take where nothing is lost by moving the numbers first."""
COARSE = 2.0**-10
"""The same where they cannot be moved: beyond it they are refused."""
_ROUNDED = 2.0**-46
"""Differences of this share of the numbers are rounding of float64 itself."""
_BLOCK = 2**20
"""Values that are looked at together: 8 MiB."""
_LOOKS = 2**28
"""Values that the search for neighbours reads at most."""
_MOVED = 0.25
"""Share by which the distance to the nearest row may change, in all but a fifth of the rows."""


@dataclass(frozen=True)
class Frame:
    """Where numbers lie for the core: ``(x - shift) * factor``, a power of two."""

    shift: Doubles
    """[columns]"""
    factor: float

    def place(self, values: Doubles) -> NDArray[np.float32]:
        """Rows as the core sees them."""
        out = np.empty(values.shape, dtype=np.float32)
        for rows in _blocks(values):
            out[rows] = (values[rows] - self.shift) * self.factor
        return out

    def points(self, placed: NDArray[Any]) -> Doubles:
        """Rows of the core's, where they came from."""
        return placed.astype(np.float64) / self.factor + self.shift

    def lengths(self, placed: NDArray[Any]) -> NDArray[Any]:
        """Distances of the core's: float32 where that holds them."""
        return narrow(placed.astype(np.float64) / self.factor)

    def squares(self, placed: Any) -> Any:
        """Squared distances of the core's; infinite or 0 where float64 holds none of that size."""
        with np.errstate(over="ignore", under="ignore"):
            found = np.asarray(placed, dtype=np.float64) / self.factor / self.factor
        return found if found.ndim else float(found)


def narrow(values: Doubles) -> NDArray[Any]:
    """float32 where that holds the values, else as they are."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    largest = np.abs(values).max(initial=0.0)
    return single if largest == 0.0 or 2.0**-100 <= largest < 2.0**127 else values


def _blocks(values: NDArray[Any]) -> list[slice]:
    step = max(1, _BLOCK // max(1, values.shape[1]))
    return [slice(start, start + step) for start in range(0, len(values), step)]


def frame_of(values: Doubles, what: str, *, moves: bool = True, scales: bool = True, near: bool = False) -> Frame | None:
    """How these numbers must be placed for float32 to hold what they tell; None where it holds them as they are.

    Numbers that float32 holds exactly are never moved, nor those that lose next to nothing.

    Args:
        values: [rows, columns]
        what: their name in messages.
        moves: whether what comes of them does not depend on where they lie.
        scales: whether what comes of them can be told in another unit.
        near: whether it goes by the distances of neighbours.

    Raises:
        InputError: for numbers whose differences float32 cannot tell.
    """
    if values.size == 0 or not np.isfinite(values).all():
        return None  # named by row and column elsewhere
    with np.errstate(over="ignore", under="ignore"):
        exact = all(np.array_equal(values[rows].astype(np.float32), values[rows]) for rows in _blocks(values))
    if exact:
        return None
    none = Frame(np.zeros(values.shape[1]), 1.0)
    kept = none
    if _lost(values, none) > FINE:
        shift = np.zeros(values.shape[1])
        if moves:
            # A value of the column's own: differences of whole numbers stay whole.
            shift = np.partition(values, len(values) // 2, axis=0)[len(values) // 2]
        with np.errstate(over="ignore"):
            largest = max(float(np.abs(values[rows] - shift).max()) for rows in _blocks(values))
        if not np.isfinite(largest):
            raise InputError(f"{what}: expected values whose differences float64 holds, got {_range(values)}")
        factor = 1.0
        if scales and largest > 0.0 and not 2.0**-60 <= largest <= 2.0**60:
            factor = float(2.0 ** np.clip(-np.floor(np.log2(largest)), -1022, 1022))
        moved = Frame(shift, factor)
        # Where numbers cannot be moved, their own rounding is that of every difference.
        kept = moved if moves or factor != 1.0 else none
        if _lost(values, kept) > COARSE:
            told = "values whose differences float32 can tell (subtract the mean of each column, or scale them)"
            raise InputError(f"{what}: expected {told}, got {_range(values)}")
    if near and _told_together(values, kept):
        told = "rows whose distances to the nearest others float32 can tell (cluster far groups apart)"
        raise InputError(f"{what}: expected {told}, got {_range(values)}")
    return None if kept is none else kept


def _range(values: Doubles) -> str:
    spread = float(np.ptp(values, axis=0).max()) if np.abs(values).max() < 2.0**1022 else np.inf
    return f"float64 values from {values.min():.6g} to {values.max():.6g} that differ by at most {spread:.3g} in a column"


def _lost(values: Doubles, frame: Frame) -> float:
    """The spread of what rounding to float32 takes, over the spread of the values."""
    first = values[0]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        largest = max(float(np.abs(values[rows] - first).max()) for rows in _blocks(values))
        size = float(np.abs(values).max())
        if largest <= _ROUNDED * size:
            # Constant columns: there is nothing to tell, if only they are there.
            return 0.0 if np.isfinite(frame.place(values[:1])).all() else np.inf
        origin = frame.place(values[:1]).astype(np.float64)
        sums = np.zeros((4, values.shape[1]))
        for rows in _blocks(values):
            placed = frame.place(values[rows])
            if not np.isfinite(placed).all():
                return np.inf
            # Both from the first row on: what all rows share would hide their differences in the sums of squares.
            spread = (values[rows] - first) / largest
            rounding = spread - (placed.astype(np.float64) - origin) / frame.factor / largest
            sums += [rounding.sum(0), np.square(rounding).sum(0), spread.sum(0), np.square(spread).sum(0)]
        count = len(values)
        lost = np.maximum(sums[1] - np.square(sums[0]) / count, 0.0).sum()
        told = np.maximum(sums[3] - np.square(sums[2]) / count, 0.0).sum()
        return float(np.sqrt(lost / told)) if told > 0.0 else 0.0


def _told_together(values: Doubles, frame: Frame) -> bool:
    """Whether many rows have another distance to the nearest other one in float32."""
    count, columns = values.shape
    looks = min(count, 256, _LOOKS // (count * columns))
    if count < 2 or looks < 1:
        return False
    changed = 0
    placed = frame.place(values)
    for row in np.linspace(0, count - 1, looks).astype(int):
        exact, single = _nearest(values, row), _nearest(placed, row) / frame.factor
        changed += int(abs(exact - single) > _MOVED * exact)
    return bool(changed > looks / 5)


def _nearest(values: NDArray[Any], row: int) -> float:
    """The distance to the nearest row that is not the same place in double precision."""
    own = values[row].astype(np.float64)
    least = np.inf
    for rows in _blocks(values):
        difference = values[rows].astype(np.float64) - own
        largest = np.abs(difference).max(axis=1)
        scale = np.where(largest > 0.0, largest, 1.0)
        distances = scale * np.sqrt(np.square(difference / scale[:, None]).sum(axis=1))
        distances[largest == 0.0] = np.inf
        least = min(least, float(distances.min(initial=np.inf)))
    return least
