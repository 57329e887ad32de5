"""Models that run in Rust, and what is done with them: features, LoRA training, evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from ._arrays import matrix
from ._arrays import seed as _seed
from ._native import AdapterError, InputError, ParameterError
from ._records import _parts, _prompt

Path = str | os.PathLike[str]


class Model:
    """A language model (Llama family, GPT-2) or encoder (BERT), from :meth:`load` or :meth:`embedded`.

    Example:
        >>> import fedhds
        >>> model = fedhds.Model.embedded()
        >>> model.family, model.layers, model.causal
        ('llama', 4, True)
    """

    def __init__(self, native: _native.Model) -> None:
        if not isinstance(native, _native.Model):
            raise ParameterError("parameter `native`: expected a model from `Model.load` or `Model.embedded`")
        self._native = native

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> Model:
        """Loads a Hugging Face folder (config.json, safetensors, tokenizer.json) or a ``.gguf`` file.

        Args:
            path: the folder or file.
            device: ``"cpu"``; ``"cuda"`` and ``"cuda:N"`` where they are compiled in.

        Raises:
            ModelError: that names the file and what is wrong with it.
            FileError: for a file that cannot be read, or a device that is not there.
        """
        return cls(_native.Model.load(os.fspath(path), device))

    @classmethod
    def embedded(cls, *, device: str = "cpu") -> Model:
        """The small model that comes with the package (2 MB, trained by this project on generated tasks): for tests, first steps, and
        as a proxy.
        """
        return cls(_native.Model.embedded(device))

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
        return self._native.count_tokens(list(texts))

    def generate(
        self, prompts: Sequence[str], *, adapter: Adapter | None = None, max_new_tokens: int = 128, batch_size: int = 8
    ) -> list[str]:
        """Continues each text greedily.

        Args:
            prompts: texts of at least one token.
            adapter: applied to the model.
            max_new_tokens: at most so many tokens each.
            batch_size: prompts that go through the model together.
        """
        if isinstance(prompts, str):
            raise InputError("prompts: expected a list of texts, got one text")
        counts = _count("max_new_tokens", max_new_tokens), _count("batch_size", batch_size)
        return self._native.generate(list(prompts), _adapter(adapter), *counts)

    def __repr__(self) -> str:
        return f"Model({self.family!r}, layers={self.layers}, hidden_size={self.hidden_size})"


def write_embedded_model(folder: Path) -> None:
    """Writes the embedded model as a Hugging Face folder, which transformers reads too."""
    _native.write_embedded_model(os.fspath(folder))


class Adapter:
    """A LoRA adapter in PEFT's terms. It never changes.

    Args:
        config: ``r``, ``lora_alpha``, ``lora_dropout``, ``target_modules``, ``use_rslora``; those left out have the paper's values (8, 16,
            0.05, the names of the tensors, False).
        tensors: by PEFT's names on disk: ``base_model.model.MODULE.lora_A.weight`` [r, in], ``...lora_B.weight`` [out, r].

    Raises:
        AdapterError: for a name or shape that is none, or a pair that is not whole.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, ArrayLike]) -> None:
        arrays = {str(name): matrix(values, str(name)) for name, values in tensors.items()}
        self._native = _native.Adapter(_json(config, "config"), arrays)

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
        return cls._of(_native.Adapter.from_bytes(bytes(data), _json(config, "config")))

    @property
    def config(self) -> dict[str, Any]:
        """Rank, alpha, dropout, target modules, scaling."""
        config: dict[str, Any] = json.loads(self._native.config())
        return config

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
        self._native.save_gguf(os.fspath(path), model._native)

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


class LayerFeatures:
    """Features of records: the hidden states of a model's layers, side by side (eq. 6).

    Args:
        model: the model, or the small proxy of the Turbo form.
        prompt: as for :func:`fedhds.render`.
        layers: ``"all"``, ``"last"``, or numbers from 1.
        embedding: put the embedding's output in front.
        pooling: ``"last_token"`` or ``"mean"``.
        normalize: scale each layer's vector to length 1.
        max_tokens: longest record in tokens, prompt, response and special tokens together.
        truncate: cut longer records off; otherwise they are errors.
        batch_tokens: most tokens that go through the model together; None is record by record.
        frozen: ignore adapters: the features of a record never change.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=1)
        >>> extractor = fedhds.LayerFeatures(fedhds.Model.embedded())
        >>> extractor.extract(train[:3]).shape
        (3, 512)
    """

    def __init__(
        self,
        model: Model,
        *,
        prompt: str | Mapping[str, str] = "alpaca",
        layers: str | Sequence[int] = "all",
        embedding: bool = False,
        pooling: str = "last_token",
        normalize: bool = False,
        max_tokens: int = 1024,
        truncate: bool = False,
        batch_tokens: int | None = None,
        frozen: bool = True,
    ) -> None:
        params: dict[str, Any] = {
            "layers": layers if isinstance(layers, str) else {"chosen": [int(layer) for layer in layers]},
            "embedding": embedding,
            "pooling": pooling,
            "normalize": normalize,
            "max_tokens": max_tokens,
            "truncate": truncate,
            "batch_tokens": batch_tokens,
        }
        self._native = _native.Features(_model(model), _prompt(prompt), _json(params, "features"), bool(frozen))
        self.model = model
        self.is_frozen = bool(frozen)

    @property
    def layers(self) -> int:
        """Equal parts of a vector: what ``layers`` of :class:`fedhds.Client` and :class:`fedhds.Server` asks for."""
        return self._native.layers

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints promise equal features."""
        return self._native.fingerprint

    def tokens(self, records: Any) -> list[list[int]]:
        """The token ids of each record as the model reads them: prompt, response and end; the same in training and evaluation.

        Raises:
            InputError: that names a record which is too long or has no tokens.
        """
        return self._native.tokens(_parts(records))

    def extract(self, records: Any, adapter: Adapter | None = None) -> NDArray[np.float32]:
        """Features of shape [records, layers * hidden_size], in the order of the records.

        Raises:
            InputError: that names a record which is too long or has no tokens.
        """
        return self._native.extract(_parts(records), _adapter(adapter))


@dataclass(frozen=True)
class Trained:
    """What a local training returned."""

    adapter: Adapter
    """After training."""
    losses: tuple[float, ...] = ()
    """Mean loss on response tokens of each optimiser step, in nats."""
    skipped: int = 0
    """Steps that were not taken, as loss or gradient was not finite."""
    tokens: int = 0
    """Tokens that went through the model."""


class LoraTrainer:
    """LoRA training in Rust (Hu et al. 2021): the frozen model, a fresh Adam, the loss on the response alone. The paper's settings.

    Args:
        model: what is tuned; a causal one.
        prompt: as for :func:`fedhds.render`.
        r, lora_alpha, lora_dropout, target_modules, use_rslora: as in PEFT; no targets named are the model's own default.
        learning_rate: above 0.
        batch_size, gradient_accumulation_steps: records of a batch, batches of a step.
        local_epochs, max_steps: passes over the records; most steps.
        max_grad_norm: gradients are clipped to this norm; None does not clip.
        gradient_checkpointing: less memory, more time.
        max_tokens: longest record; a longer one is an error.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=1)
        >>> trainer = fedhds.LoraTrainer(fedhds.Model.embedded(), prompt="short", learning_rate=1e-3)
        >>> trained = trainer.train(trainer.init(seed=1), train[:2], seed=1)
        >>> len(trained.losses)
        2
    """

    def __init__(
        self,
        model: Model,
        *,
        prompt: str | Mapping[str, str] = "alpaca",
        r: int = 8,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.05,
        target_modules: Sequence[str] = (),
        use_rslora: bool = False,
        learning_rate: float = 3e-4,
        batch_size: int = 1,
        local_epochs: int = 1,
        max_steps: int | None = None,
        gradient_accumulation_steps: int = 1,
        max_grad_norm: float | None = None,
        gradient_checkpointing: bool = False,
        max_tokens: int = 1024,
    ) -> None:
        adapter = {
            "r": r,
            "lora_alpha": lora_alpha,
            "lora_dropout": lora_dropout,
            "target_modules": sorted(target_modules),
            "use_rslora": use_rslora,
        }
        train = {
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "local_epochs": local_epochs,
            "max_steps": max_steps,
            "gradient_accumulation_steps": gradient_accumulation_steps,
            "max_grad_norm": max_grad_norm,
            "gradient_checkpointing": gradient_checkpointing,
            "max_tokens": max_tokens,
        }
        self._native = _native.Trainer(_model(model), _prompt(prompt), _json(adapter, "adapter"), _json(train, "train"))
        self.model = model
        self.settings: dict[str, Any] = {**adapter, **train, "prompt": prompt}

    def init(self, seed: int = 0) -> Adapter:
        """A fresh adapter: A drawn by the seed, B zero."""
        return Adapter._of(self._native.init(_seed(seed)))

    def train(self, adapter: Adapter, records: Any, seed: int = 0) -> Trained:
        """Trains the adapter on the records; order and dropout come from the seed.

        Raises:
            InputError: for no records, or one that is too long or has no response.
            AdapterError: for an adapter of another model.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None; `init` makes one")
        trained, losses, skipped, tokens = self._native.train(native, _parts(records), _seed(seed))
        return Trained(Adapter._of(trained), tuple(losses), skipped, tokens)


@dataclass(frozen=True)
class RecordScore:
    """What evaluation finds of one record."""

    id: str
    category: str
    loss: float
    """Mean loss on the response's tokens, in nats."""
    output: str | None = None
    """The greedy generation, where one was made."""
    rouge_l: float | None = None
    """Rouge-L F1 of the generation against its best reference, in [0, 1]."""
    exact_match: bool | None = None


class ModelEvaluator:
    """Loss on the response, Rouge-L and exact match of the greedy generation (the paper, section 5.1).

    Args:
        model: a causal model.
        prompt: as for :func:`fedhds.render`.
        max_new_tokens: longest generation.
        batch_size: records that go through the model together.
        rouge: ``"rouge"``, ``"rouge_score"`` or ``"rouge_score_stemmed"``.
    """

    def __init__(
        self,
        model: Model,
        *,
        prompt: str | Mapping[str, str] = "alpaca",
        max_new_tokens: int = 128,
        batch_size: int = 8,
        rouge: str = "rouge",
    ) -> None:
        settings = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
        self._native = _native.Evaluator(_model(model), _prompt(prompt), _json(settings, "generate"), str(rouge))
        self.model = model
        self.settings: dict[str, Any] = {**settings, "prompt": prompt, "rouge": rouge}

    def evaluate(self, records: Any, adapter: Adapter | None = None, generate: bool = True) -> list[RecordScore]:
        """A score for each record, in order; text is generated only if ``generate``."""
        scores = self._native.evaluate(_parts(records), _adapter(adapter), bool(generate))
        return [RecordScore(*score) for score in scores]


def _model(model: Any) -> _native.Model:
    if not isinstance(model, Model):
        raise ParameterError(f"parameter `model`: expected a fedhds.Model, got {type(model).__name__}")
    return model._native


def _count(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= int(value) < 2**32:
        raise ParameterError(f"parameter `{name}`: expected a whole number from 0 to 2**32 - 1, got {value!r}")
    return int(value)


def _json(settings: Mapping[str, Any], what: str) -> str:
    """Settings as JSON; those that are None keep the core's default."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
        if value is not None
    }
    try:
        return json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"parameter `{what}`: expected numbers, text and lists: {error}") from error
