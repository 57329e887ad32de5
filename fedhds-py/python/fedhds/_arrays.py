"""What becomes a matrix, and what is refused."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._frame import frame_of
from ._native import InputError, NotFiniteError, ParameterError

#: Bytes that every step keeps for a row at the least, beside its values: labels, norms, neighbours.
ROW_BYTES = 64


class NotNumbersError(InputError, TypeError):
    """Things that are no numbers: also a ``TypeError``, as scikit-learn has it."""


def matrix(values: Any, what: str, *, rows: int = 0, columns: int = 0, tells: bool = True) -> NDArray[np.float32]:
    """``values`` as float32 of two dimensions; a copy only where dtype or kind differ.

    Args:
        values: an array, a pandas frame, a list of lists, or what NumPy can make an array of.
        what: its name in messages.
        rows, columns: how many there must be at least.
        tells: whether numbers whose differences float32 cannot tell are refused.

    Raises:
        InputError: for another number of dimensions, too few rows or columns, text, objects, complex numbers, ragged
            lists, masked values, numbers that float32 cannot tell apart, and for more values than the memory of this machine can take in.
    """
    array = given(values, what, rows=rows, columns=columns)
    if array.dtype == np.float64:
        if tells:
            frame_of(array, what, moves=False, scales=False)
        with np.errstate(over="ignore", under="ignore"):  # what becomes infinite is named by row and column later
            return array.astype(np.float32)
    return array


def given(values: Any, what: str, *, rows: int = 0, columns: int = 0) -> NDArray[Any]:
    """``values`` as float32 where that holds every number of their kind, else as float64; checked as :func:`matrix` does it."""
    if hasattr(values, "toarray"):
        raise InputError(f"{what}: expected a dense array of shape [rows, columns], got a sparse one")
    if np.ma.is_masked(values):
        raise InputError(f"{what}: expected a value in every place, got masked ones")
    array = _array(values, what)
    if array.ndim != 2:
        hint = " (Reshape your data: one record is [1, columns], one column is [rows, 1])" if array.ndim == 1 else ""
        raise InputError(f"{what}: expected an array of shape [rows, columns], got {array.ndim} dimensions{hint}")
    if array.shape[0] < rows:
        raise InputError(f"{what}: expected at least {rows} rows, got an array with {array.shape[0]} sample(s)")
    if array.shape[1] < columns:
        found = f"0 feature(s) (shape={array.shape}) while a minimum of {columns} is required."
        raise InputError(f"{what}: expected at least {columns} columns, got {found}")
    if array.dtype.kind == "c":
        raise InputError(f"{what}: expected real numbers, got dtype {array.dtype}. Complex data not supported")
    if array.dtype.kind not in "biufO":
        raise InputError(f"{what}: expected real numbers, got dtype {array.dtype}")
    room(array.shape[0], array.shape[1], what)
    try:
        single = np.can_cast(array.dtype, np.float32, "safe")
        with np.errstate(over="ignore"):
            floats: NDArray[Any] = array.astype(np.float32 if single else np.float64, copy=False)
        # A view into a packed record: the native code reads whole numbers of four bytes where they may lie.
        return floats if floats.flags.aligned else floats.copy()
    except (TypeError, ValueError, OverflowError) as error:
        raise NotNumbersError(f"{what}: expected numbers, got objects: {error}") from error


def _array(values: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        # NumPy's own message speaks of inhomogeneous shapes.
        raise InputError(f"{what}: expected an array of shape [rows, columns], got rows of unlike lengths") from error
    except (TypeError, RuntimeError) as error:  # a tensor of bfloat16, one on a GPU, one that is being trained
        raise NotNumbersError(f"{what}: expected an array of shape [rows, columns], got {error}") from error
    except MemoryError as error:
        raise InputError(f"{what}: expected an array that fits the memory, got {error}") from error


def finite(array: NDArray[np.float32], what: str) -> None:
    """Refuses NaN and infinity, as the native code does.

    Raises:
        NotFiniteError: with the first such value's place.
    """
    if not np.isfinite(array).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        value = str(array[row, column]).replace("nan", "NaN")
        raise NotFiniteError(f"{what}: expected finite values, got {value} at row {row}, column {column}")


def room(rows: int, columns: int, what: str) -> None:
    """Refuses a matrix of float32 that takes more than half of this machine's memory.

    The native code copies it once and works beside that. An array can claim any size without having it
    (``numpy.broadcast_to``), and the system ends a process that then asks for the memory: no exception.

    Raises:
        InputError: it does not fit.
    """
    needed, limit = rows * (4 * columns + ROW_BYTES), memory() // 2
    if needed > limit:
        raise InputError(
            f"{what}: expected at most {limit >> 20} MiB (half of this machine's memory), "
            f"got {rows} x {columns} values, which take {needed >> 20} MiB"
        )


@functools.cache
def memory() -> int:
    """Bytes of memory that this machine has; a bound that nothing exceeds where the system does not tell."""
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong)
                for name in ("total", "free", "page", "page_free", "virtual", "virtual_free", "extended")
            ]

        status = Status(length=ctypes.sizeof(Status))
        told = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.total) if told else 2**47
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 2**47


def seed(value: Any, name: str = "seed") -> int:
    """A seed from 0 to 2**64 - 1.

    Raises:
        ParameterError: for anything else.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= int(value) < 2**64:
        raise ParameterError(f"{name}: expected a whole number from 0 to 2**64 - 1, got {value!r}")
    return int(value)
