"""What travels between FedML's server and clients: the adapter's tensors, and the selection's messages beside them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._fitting import fitted, same_shape
from .._native import AdapterError, ConfigError, ProtocolError
from ._bases import INSTALLED

Params = OrderedDict[str, Any]

PREFIX = "fedhds."
ROUND, START, ORDER, SUMMARY, RECORDS = (PREFIX + name for name in ("round", "start", "order", "summary", "records"))
TICKET = "ticket"
"""Among the messages: what an order ends with, and what comes back with the records. FedML takes a client's word for who it is."""
TICKET_BYTES = 16
_MOST_BYTES = 2**28
"""Of a message; a tensor can claim any size without having it."""


def tensor(array: NDArray[Any]) -> Any:
    """A value that travels: FedML moves tensors between devices, and its aggregation is PyTorch's."""
    return import_module("torch").from_numpy(array) if INSTALLED else array


def numpy_of(value: Any) -> NDArray[Any]:
    """A tensor or array as NumPy has it; bfloat16, which it has not, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def packed(messages: Mapping[str, bytes | int]) -> Params:
    params: Params = OrderedDict()
    for name, value in messages.items():
        array = np.array([value], dtype=np.int64) if isinstance(value, int) else np.frombuffer(value, np.uint8).copy()
        params[name] = tensor(array)
    return params


def trained(records: int, ticket: bytes) -> Params:
    """The number of records that a client trained on, with the ticket of its order."""
    return OrderedDict({RECORDS: tensor(np.array([records, *np.frombuffer(ticket, "<i8")], dtype=np.int64))})


def order_and_ticket(message: bytes) -> tuple[bytes, bytes]:
    """An order, and the ticket behind it.

    Raises:
        ProtocolError: where there is none.
    """
    if len(message) < TICKET_BYTES:
        raise ProtocolError(f"protocol: selection_order: expected an order and its ticket, got {len(message)} bytes")
    return message[:-TICKET_BYTES], message[-TICKET_BYTES:]


def split(params: Any) -> tuple[Params, dict[str, Any]]:
    """What is the adapter's, and the selection's messages: bytes, and numbers where they are numbers."""
    if not isinstance(params, Mapping):
        raise ProtocolError(f"protocol: parameters: expected names and tensors, got {type(params).__name__}")
    state: Params = OrderedDict()
    messages: dict[str, Any] = {}
    for name, value in params.items():
        if not str(name).startswith(PREFIX):
            state[name] = value
            continue
        size = int(np.prod(tuple(getattr(value, "shape", (0,))), dtype=object))
        if size > _MOST_BYTES:
            raise ProtocolError(f"protocol: {str(name)[:60]}: expected at most {_MOST_BYTES} bytes, got a tensor of {size} values")
        array = numpy_of(value)
        if name in (ROUND, RECORDS):
            numbers = [(1,), (3,)] if name == RECORDS else [(1,)]
            if array.shape not in numbers or array.dtype.kind not in "iu" or not 0 <= array[0] < 2**32:
                raise ProtocolError(f"protocol: {name}: expected one whole number of at least 0, got {str(array)[:60]}")
            messages[name] = int(array[0])
            if len(array) == 3:
                messages[TICKET] = array[1:].astype("<i8").tobytes()
        elif array.dtype.kind in "iu":
            messages[name] = array.astype(np.uint8, copy=False).tobytes()
        else:
            raise ProtocolError(f"protocol: {str(name)[:60]}: expected bytes, got {str(array.dtype)[:60]}")
    return state, messages


def client_of(summary: bytes) -> int:
    """Who speaks in a summary: the first number behind the four bytes of its header.

    Raises:
        ProtocolError: where there is none.
    """
    number = 0
    for place, byte in enumerate(summary[4:9]):
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number
    raise ProtocolError(f"protocol: client_summary: expected the number of its client, got {len(summary)} bytes")


def like(name: str, value: Any, own: Any, where: str) -> Any:
    """A tensor or array in the type of the server's own, and finite in it.

    Raises:
        AdapterError: for another shape, and for values that this type does not hold.
    """
    same_shape(name, tuple(own.shape), tuple(getattr(value, "shape", ())), where)
    if not hasattr(own, "detach"):
        return fitted(name, numpy_of(value), own.dtype, tuple(own.shape), where)
    array = fitted(name, numpy_of(value), numpy_of(own.new_zeros(())).dtype, tuple(own.shape), where)
    if getattr(value, "dtype", None) == own.dtype:
        return value
    cast = import_module("torch").from_numpy(np.array(array)).to(own.dtype)
    if not np.isfinite(numpy_of(cast)).all():
        raise AdapterError(f"adapter: `{name}`: expected values that are finite in {own.dtype}, got larger ones {where}")
    return cast


def finite(state: Mapping[str, Any]) -> bool:
    """Whether every value of an adapter is finite."""
    return all(array.dtype.kind not in "fc" or bool(np.isfinite(array).all()) for array in map(numpy_of, state.values()))


class Hooks:
    """How parameters get into and out of the model, for PyTorch; PEFT's adapter alone where the model has one."""

    model: Any

    def get_adapter(self) -> Mapping[str, Any]:
        """The tensors that travel, by name; under PEFT's names on disk where the model is PEFT's."""
        if hasattr(self.model, "peft_config"):
            state: Mapping[str, Any] = import_module("peft").get_peft_model_state_dict(self.model)
            return state
        state = self.model.state_dict()
        return state

    def set_adapter(self, state: Mapping[str, Any]) -> None:
        """Takes in what :meth:`get_adapter` gave elsewhere."""
        if hasattr(self.model, "peft_config"):
            import_module("peft").set_peft_model_state_dict(self.model, dict(state))
        else:
            self.model.load_state_dict(state)


def check(args: Any) -> None:
    """What the two phases need of FedML's arguments.

    Raises:
        ConfigError: that names the argument.
    """
    if getattr(args, "enable_fhe", False):
        why = "as encrypted parameters carry no messages"
        raise ConfigError(f"configuration: `enable_fhe`: expected false, {why}, got true")
    rounds = getattr(args, "comm_round", 2)
    if not isinstance(rounds, int) or rounds < 2 or rounds % 2:
        raise ConfigError(f"configuration: `comm_round`: expected an even number, two for each round, got {rounds!r}")
    total, each = getattr(args, "client_num_in_total", None), getattr(args, "client_num_per_round", None)
    if total != each:
        raise ConfigError(
            "configuration: `client_num_per_round`: expected `client_num_in_total`, as both phases of a round need the "
            f"same clients and FedML draws new ones, got {each!r} of {total!r}"
        )
