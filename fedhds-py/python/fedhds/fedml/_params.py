"""What travels between FedML's server and clients: the adapter's tensors, and the selection's messages beside them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import ConfigError, ProtocolError
from ._bases import INSTALLED

Params = OrderedDict[str, Any]

PREFIX = "fedhds."
ROUND, START, ORDER, SUMMARY, RECORDS = (PREFIX + name for name in ("round", "start", "order", "summary", "records"))


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


def split(params: Any) -> tuple[Params, dict[str, Any]]:
    """What is the adapter's, and the selection's messages: bytes, and numbers where they are numbers."""
    if not isinstance(params, Mapping):
        raise ProtocolError(f"protocol: parameters: expected names and tensors, got {type(params).__name__}")
    state: Params = OrderedDict()
    messages: dict[str, Any] = {}
    for name, value in params.items():
        if not str(name).startswith(PREFIX):
            state[name] = value
        elif name in (ROUND, RECORDS):
            number = numpy_of(value)
            if number.shape != (1,) or number.dtype.kind not in "iu" or not 0 <= number[0] < 2**32:
                raise ProtocolError(f"protocol: {name}: expected one whole number of at least 0, got {number}")
            messages[name] = int(number[0])
        else:
            messages[name] = numpy_of(value).astype(np.uint8, copy=False).tobytes()
    return state, messages


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
