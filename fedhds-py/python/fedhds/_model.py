"""Models that run in Rust, and their LoRA adapters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _guard, _native
from ._guard import guarded
from ._arrays import matrix
from ._native import AdapterError, ModelError, ParameterError

Path = str | os.PathLike[str]

_GENERATE = _native.GenerateConfig()


@guarded
class Model:
    """A language model (Llama family, GPT-2) or encoder (BERT): the one of a folder or file, or :meth:`embedded`.

    Args:
        path: a Hugging Face folder (config.json, safetensors, tokenizer.json) or a ``.gguf`` file.
        device: ``"cpu"``; ``"cuda"`` and ``"cuda:N"`` where they are compiled in.
        activations: how rows go into products with the weights, where nothing is trained. ``"f32"``: as they are. ``"int8"``: in 8 bits with a scale for
            each 32 numbers, as llama.cpp does: about twice as fast on processors that multiply bytes, for a model of the Llama family on the CPU
            with weights in Q8_0, Q4_0 or Q4_1.

    A pickle holds the path, from which it is loaded again; copies share the weights.

    Raises:
        ModelError: that names the file and what is wrong with it.
        FileError: for a file that cannot be read, or a device that is not there.

    Example:
        >>> import fedhds
        >>> model = fedhds.Model.embedded()
        >>> model.family, model.layers, model.causal
        ('llama', 4, True)
    """

    def __init__(self, path: Path, *, device: str = "cpu", activations: str = "f32") -> None:
        self._native = _native.Model.load(os.fspath(path), device, activations)
        self._given: dict[str, Any] = {"path": os.path.abspath(path), "device": device, "activations": activations}

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", activations: str = "f32") -> Model:
        """The same as the class itself, by the name that :meth:`Adapter.load` has."""
        return cls(path, device=device, activations=activations)

    @classmethod
    def embedded(cls, *, device: str = "cpu") -> Model:
        """The small model that comes with the package (2 MB, trained by this project on generated tasks): for tests, first steps, and
        as a proxy.
        """
        model = object.__new__(cls)
        model._native = _native.Model.embedded(device)
        model._given = {"path": None, "device": device}
        return model

    @property
    def family(self) -> str:
        """``"llama"``, ``"gpt2"`` or ``"bert"``."""
        return self._native.family

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self._native.sizes[0]

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return self._native.sizes[1]

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self._native.sizes[2]

    @property
    def max_positions(self) -> int:
        """Longest sequence, in tokens."""
        return self._native.sizes[3]

    @property
    def causal(self) -> bool:
        """Whether it predicts the next token; encoders do not."""
        return self._native.causal

    @property
    def target_modules(self) -> list[str]:
        """The modules that are adapted unless others are named."""
        return self._native.default_targets

    @property
    def fingerprint(self) -> str:
        """Identifies weights, configuration and tokenizer."""
        return self._native.fingerprint

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, with the special tokens that the tokenizer puts around it."""
        return self._native.count_tokens(_guard.texts("texts", texts))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        adapter: Adapter | None = None,
        max_new_tokens: int = _GENERATE.max_new_tokens,
        batch_size: int = _GENERATE.batch_size,
    ) -> list[str]:
        """Continues each text greedily.

        Args:
            prompts: texts of at least one token.
            adapter: applied to the model.
            max_new_tokens: at most so many tokens each.
            batch_size: prompts that go through the model together.

        Raises:
            ParameterError: for a setting outside of its range.
        """
        given = _guard.texts("prompts", prompts)
        config = _native.GenerateConfig(max_new_tokens=max_new_tokens, batch_size=batch_size)
        return self._native.generate(given, _adapter(adapter), config)

    def __copy__(self) -> Model:
        return self  # it never changes

    def __deepcopy__(self, memo: Any) -> Model:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (type(self), self._given, self.fingerprint)

    def __repr__(self) -> str:
        return f"Model({self.family!r}, layers={self.layers}, hidden_size={self.hidden_size})"


def _load_again(kind: type[Model], given: Mapping[str, Any], fingerprint: str) -> Model:
    """The model of a pickle: from its path, which must hold the same still."""
    path, device = given["path"], given["device"]
    model = kind.embedded(device=device) if path is None else kind(**given)
    if model.fingerprint != fingerprint:
        where = "this version of fedhds" if path is None else path
        raise ModelError(f"{where}: expected the model of the pickle, {fingerprint}, got {model.fingerprint}")
    return model


@guarded
def write_embedded_model(folder: Path) -> None:
    """Writes the embedded model as a Hugging Face folder, which transformers reads too."""
    _native.write_embedded_model(os.fspath(folder))


@guarded
class Adapter:
    """A LoRA adapter in PEFT's terms. It never changes.

    Args:
        config: ``r``, ``lora_alpha``, ``lora_dropout``, ``target_modules``, ``use_rslora``; those left out have the paper's values (8, 16,
            0.05, the names of the tensors, False).
        tensors: by PEFT's names on disk: ``base_model.model.MODULE.lora_A.weight`` [r, in], ``...lora_B.weight`` [out, r].

    Raises:
        ConfigError, ParameterError: for a setting that is none, or outside of its range.
        AdapterError: for a name or shape that is none, or a pair that is not whole.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, ArrayLike]) -> None:
        arrays = {str(name): matrix(values, str(name)) for name, values in tensors.items()}
        self._native = _native.Adapter(_native.AdapterConfig(**config), arrays)

    @classmethod
    def _of(cls, native: _native.Adapter) -> Adapter:
        adapter = object.__new__(cls)
        adapter._native = native
        return adapter

    @classmethod
    def load(cls, folder: Path) -> Adapter:
        """Reads PEFT's folder: ``adapter_config.json`` and ``adapter_model.safetensors``."""
        return cls._of(_native.Adapter.load(os.fspath(folder)))

    def save(self, folder: Path, base_model: str | None = None) -> None:
        """Writes PEFT's folder, in float32; ``peft.PeftModel.from_pretrained`` loads it."""
        self._native.save(os.fspath(folder), base_model)

    def to_bytes(self) -> bytes:
        """The tensors as a safetensors file; the settings are :attr:`config`."""
        return self._native.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, config: Mapping[str, Any]) -> Adapter:
        """The adapter of :meth:`to_bytes` and :attr:`config`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise AdapterError(f"adapter: expected bytes of a safetensors file, got {type(data).__name__}")
        return cls._of(_native.Adapter.from_bytes(bytes(data), _native.AdapterConfig(**config)))

    @property
    def config(self) -> dict[str, Any]:
        """Rank, alpha, dropout, target modules, scaling."""
        return self._native.config.as_dict()

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return self._native.parameters

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the tensors by PEFT's names, in the order of the names."""
        return self._native.tensors()

    def with_tensors(self, tensors: Mapping[str, ArrayLike]) -> Adapter:
        """The same settings with other values.

        Raises:
            AdapterError: where names or shapes are not those of this adapter.
        """
        own = self.tensors
        if set(own) != set(tensors):
            missing, more = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
            raise AdapterError(f"adapter: expected the tensors of this adapter; missing {missing[:3]}, unknown {more[:3]}")
        made = Adapter(self.config, tensors)
        for name, values in made.tensors.items():
            if values.shape != own[name].shape:
                raise AdapterError(f"adapter: {name}: expected shape {own[name].shape}, got {values.shape}")
        return made

    def save_gguf(self, path: Path, model: Model) -> None:
        """Writes the file that llama.cpp's ``--lora`` reads, for a base model of this family and size."""
        model._native.save_gguf(os.fspath(path), self._native)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adapter) and self._native.equals(other._native)

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.to_bytes(), self.config)

    def __repr__(self) -> str:
        config = self.config
        return f"Adapter(r={config['r']}, lora_alpha={config['lora_alpha']}, parameters={self.parameters})"


def _unpickle(data: bytes, config: Mapping[str, Any]) -> Adapter:
    return Adapter.from_bytes(data, config)


def _adapter(adapter: Adapter | None) -> _native.Adapter | None:
    if adapter is None:
        return None
    if not isinstance(adapter, Adapter):
        raise AdapterError(f"adapter: expected a fedhds.Adapter, got {type(adapter).__name__}")
    return adapter._native


@guarded
def weighted_mean(adapters: Iterable[tuple[Adapter, int]]) -> Adapter:
    """The mean of adapters, weighted by the records that each was trained on (eq. 12); summed in this order.

    Raises:
        InputError: for no adapters, or none with records.
        AdapterError: for adapters that do not fit each other.
    """
    pairs = []
    for adapter, records in adapters:
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None")
        pairs.append((native, _count("records", records)))
    return Adapter._of(_native.weighted_mean(pairs))


def _count(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= int(value) < 2**32:
        raise ParameterError(f"{name}: expected a whole number from 0 to 2**32 - 1, got {value!r}")
    return int(value)
