"""What becomes a matrix, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._native import InputError, ParameterError


def matrix(values: Any, what: str) -> NDArray[np.float32]:
    """``values`` as float32 of two dimensions; a copy only where dtype or kind differ.

    Raises:
        InputError: for another number of dimensions, text, objects, complex numbers, ragged lists.
    """
    if hasattr(values, "toarray"):
        raise InputError(f"{what}: expected a dense array of shape [rows, columns], got a sparse one")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what}: expected an array of shape [rows, columns], got rows of unlike lengths") from error
    if array.ndim != 2:
        raise InputError(f"{what}: expected an array of shape [rows, columns], got {array.ndim} dimensions")
    if array.dtype == object:
        try:
            array = array.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what}: expected numbers, got objects") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what}: expected real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def seed(value: Any, name: str = "seed") -> int:
    """A seed from 0 to 2**64 - 1.

    Raises:
        ParameterError: for anything else.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= int(value) < 2**64:
        raise ParameterError(f"parameter `{name}`: expected a whole number from 0 to 2**64 - 1, got {value!r}")
    return int(value)
