"""Arrays in Flower's records: read without trust in what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from numpy.typing import ArrayLike, NDArray

from .._fitting import fitted, same_names, same_shape
from .._native import ProtocolError
from .._told import told


def arrays_of(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    """The arrays of a record by name, in its order.

    Raises:
        ProtocolError: for one that is not in NumPy's format.
    """
    return {name: _read(name, array) for name, array in record.items()}


def record_of(arrays: Mapping[str, ArrayLike]) -> ArrayRecord:
    """A record of these arrays by name, in their order: of an adapter's ``tensors``, say.

    Example:
        >>> import numpy as np
        >>> record_of({"a": np.zeros((2, 3), dtype=np.float32)})["a"].shape
        (2, 3)
    """
    return ArrayRecord({str(name): Array(np.asarray(array, order="C")) for name, array in arrays.items()})


def single_arrays(message: Message) -> tuple[str, ArrayRecord] | None:
    """The only ArrayRecord of a message and its key; None where there is none.

    Raises:
        ProtocolError: where there are several.
    """
    records = message.content.array_records
    if len(records) > 1:
        raise ProtocolError(f"protocol: message: expected one ArrayRecord, got {len(records)}")
    return next(iter(records.items()), None)


def trained_arrays(sent: ArrayRecord, got: ArrayRecord, where: str) -> ArrayRecord:
    """What was trained, in the order and types of what was sent. No array is read before its name and its shape are known to fit.

    Raises:
        AdapterError: for other names or shapes, and for values that are not finite in the types that were sent.
        ProtocolError: for an array that is not in NumPy's format.
    """
    same_names(sent, got, where)
    taken = ArrayRecord()
    for name, array in sent.items():
        same_shape(name, array.shape, got[name].shape, where)
        read = _read(name, got[name])
        fits = fitted(name, read, array.dtype, array.shape, where)
        # The bytes are kept where they are what was wanted; what they say of themselves is not.
        taken[name] = Array(str(fits.dtype), fits.shape, "numpy.ndarray", got[name].data) if fits is read else Array(fits)
    return taken


def in_types_of(sent: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]], where: str) -> dict[str, NDArray[Any]]:
    """:func:`trained_arrays` of arrays.

    Raises:
        AdapterError: that names the first array which does not fit.
    """
    same_names(sent, got, where)
    return {name: fitted(name, got[name], array.dtype, array.shape, where) for name, array in sent.items()}


def _read(name: str, array: Array) -> NDArray[Any]:
    """An array of a record. Its header may claim any size: no memory is taken for values that are not there."""
    try:
        if array.stype != "numpy.ndarray":
            raise ValueError(f"got {array.stype!r}")
        stream = BytesIO(array.data)
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        values = 1
        for count in shape:
            values *= count
        left = len(array.data) - stream.tell()
        if min(shape, default=0) < 0 or values * dtype.itemsize != left:
            raise ValueError(f"shape {shape} of {dtype} takes {values * dtype.itemsize} bytes, got {left}")
        return array.numpy()
    except Exception as error:  # NumPy raises whatever the parsing of its header does, RecursionError and MemoryError among it
        raise ProtocolError(f"protocol: array `{told(name, 100)}`: expected NumPy's format: {told(error, 300)}") from error
