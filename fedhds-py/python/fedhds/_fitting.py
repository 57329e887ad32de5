"""Whether arrays that came from another machine can take the place of those that were sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._native import AdapterError

LARGEST = float(2**63)
"""The largest value of an adapter: norms and optimizers square it, and the square has to be a float32 too."""


def same_names(sent: Iterable[str], got: Iterable[str], where: str) -> None:
    """Whether there are the arrays that were sent, and no others; in any order.

    Raises:
        AdapterError: that names the first one.
    """
    sent, found = list(sent), set(got)
    for name in sent:
        if name not in found:
            raise AdapterError(f"adapter: `{name}`: expected the arrays that were sent, got none of this name {where}")
    if len(found) > len(sent):
        unknown = min(str(name) for name in found.difference(sent))
        raise AdapterError(
            f"adapter: `{unknown[:100]}`: expected only the {len(sent)} arrays that were sent, got it too {where}"
        )


def same_shape(name: str, shape: tuple[int, ...], got: tuple[int, ...], where: str) -> None:
    """Whether an array has the shape of the one that was sent.

    Raises:
        AdapterError: where it has not.
    """
    if tuple(got) != tuple(shape):
        raise AdapterError(f"adapter: `{name}`: expected shape {tuple(shape)}, got {str(tuple(got))[:100]} {where}")


def fitted(name: str, got: NDArray[Any], dtype: DTypeLike, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """The array in the type of the one that was sent. Its values are looked at before and after: 1e300 is finite, and infinite in float32.

    Raises:
        AdapterError: for another shape, for things that are no real numbers, for values that this type does not hold, and for values that
            nothing can be reckoned with (:data:`LARGEST`).
    """
    wanted = np.dtype(dtype)
    same_shape(name, shape, got.shape, where)
    if got.dtype.kind not in "biuf":
        raise AdapterError(f"adapter: `{name}`: expected real numbers, got dtype {str(got.dtype)[:100]} {where}")
    if not np.isfinite(got).all():
        raise AdapterError(f"adapter: `{name}`: expected finite values, got others {where}")
    if wanted.kind == "f" and got.size and max(-float(got.min()), float(got.max())) > LARGEST:
        raise AdapterError(f"adapter: `{name}`: expected values whose squares are finite in float32, got larger ones {where}")
    if wanted.kind in "iu" and got.size:
        limits = np.iinfo(wanted)
        if float(got.min()) < limits.min or float(got.max()) > limits.max:
            raise AdapterError(f"adapter: `{name}`: expected values that {wanted} holds, got others {where}")
    if got.dtype == wanted:
        return got
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        cast = got.astype(wanted)
    if not np.isfinite(cast).all():
        raise AdapterError(f"adapter: `{name}`: expected values that are finite in {wanted}, got larger ones {where}")
    return cast
