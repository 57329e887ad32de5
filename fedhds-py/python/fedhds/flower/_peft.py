"""The adapter of a PEFT model as arrays with the names that travel; PyTorch and PEFT are imported by the calls
alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import AdapterError


def peft_arrays(model: Any, adapter_name: str = "default") -> dict[str, NDArray[np.float32]]:
    """The adapter of a ``peft.PeftModel`` by PEFT's names on disk, sorted, as float32 (bfloat16 has no NumPy type).

    The names are those of :attr:`fedhds.Adapter.tensors`: clients that train in PyTorch and in Rust can be in one
    federation.

    Args:
        model: the PEFT model.
        adapter_name: which of its adapters.
    """
    torch = import_module("torch")
    state = import_module("peft").get_peft_model_state_dict(model, adapter_name=adapter_name)
    return {name: state[name].detach().to("cpu", torch.float32).numpy().copy() for name in sorted(state)}


def set_peft_arrays(model: Any, arrays: Mapping[str, ArrayLike], adapter_name: str = "default") -> None:
    """Puts arrays of :func:`peft_arrays` into a PEFT model, in the types that it has.

    Raises:
        AdapterError: for other names or shapes; PEFT itself applies what fits and only warns of the rest.
    """
    own = peft_arrays(model, adapter_name)
    if set(own) != set(arrays):
        missing, more = sorted(set(own) - set(arrays)), sorted(set(arrays) - set(own))
        raise AdapterError(
            f"adapter: expected the {len(own)} tensors of the model; missing {missing[:3]}, unknown {more[:3]}"
        )
    given = {name: np.array(arrays[name], dtype=np.float32) for name in own}
    for name, array in given.items():
        if array.shape != own[name].shape:
            raise AdapterError(f"adapter: {name}: expected shape {own[name].shape}, got {array.shape}")
    torch, peft = import_module("torch"), import_module("peft")
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    peft.set_peft_model_state_dict(model, tensors, adapter_name=adapter_name)
