"""The stages that run on a model in Rust: features, LoRA training, evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._guard import guarded
from ._arrays import seed as _seed
from ._model import Adapter, Model, _adapter
from ._native import AdapterError, ParameterError
from ._records import Prompt, _checked
from ._remade import Remade

# The core's defaults: they are written down there alone.
_ADAPTER, _TRAIN = _native.AdapterConfig(), _native.TrainConfig()
_FEATURES, _GENERATE = _native.FeatureParams(), _native.GenerateConfig()


@guarded
class LayerFeatures(Remade):
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

    Raises:
        ParameterError: that names a setting and its value, for one outside of its range or of another kind.

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
        prompt: Prompt = "alpaca",
        layers: str | Sequence[int] = _FEATURES.layers,
        embedding: bool = _FEATURES.embedding,
        pooling: str = _FEATURES.pooling,
        normalize: bool = _FEATURES.normalize,
        max_tokens: int = _FEATURES.max_tokens,
        truncate: bool = _FEATURES.truncate,
        batch_tokens: int | None = _FEATURES.batch_tokens,
        frozen: bool = True,
    ) -> None:
        params = _native.FeatureParams(
            layers=layers,
            embedding=embedding,
            pooling=pooling,
            normalize=normalize,
            max_tokens=max_tokens,
            truncate=truncate,
            batch_tokens=batch_tokens,
        )
        self._native = _native.Features(_model(model), prompt, params, bool(frozen))
        self._made_of(LayerFeatures, model=model, prompt=prompt, frozen=frozen, **params.as_dict())
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
        return self._native.tokens(_checked(records))

    def extract(self, records: Any, adapter: Adapter | None = None) -> NDArray[np.float32]:
        """Features of shape [records, layers * hidden_size], in the order of the records.

        Raises:
            InputError: that names a record which is too long or has no tokens.
        """
        return self._native.extract(_checked(records), _adapter(adapter))


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


@guarded
class LoraTrainer(Remade):
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

    Raises:
        ParameterError: that names a setting and its value, for one outside of its range or of another kind.
        AdapterError: for a target that the model does not have.

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
        prompt: Prompt = "alpaca",
        r: int = _ADAPTER.r,
        lora_alpha: float = _ADAPTER.lora_alpha,
        lora_dropout: float = _ADAPTER.lora_dropout,
        target_modules: Iterable[str] = (),
        use_rslora: bool = _ADAPTER.use_rslora,
        learning_rate: float = _TRAIN.learning_rate,
        batch_size: int = _TRAIN.batch_size,
        local_epochs: int = _TRAIN.local_epochs,
        max_steps: int | None = _TRAIN.max_steps,
        gradient_accumulation_steps: int = _TRAIN.gradient_accumulation_steps,
        max_grad_norm: float | None = _TRAIN.max_grad_norm,
        gradient_checkpointing: bool = _TRAIN.gradient_checkpointing,
        max_tokens: int = _TRAIN.max_tokens,
    ) -> None:
        adapter = _native.AdapterConfig(
            r=r,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            target_modules=target_modules,
            use_rslora=use_rslora,
        )
        train = _native.TrainConfig(
            learning_rate=learning_rate,
            batch_size=batch_size,
            local_epochs=local_epochs,
            max_steps=max_steps,
            gradient_accumulation_steps=gradient_accumulation_steps,
            max_grad_norm=max_grad_norm,
            gradient_checkpointing=gradient_checkpointing,
            max_tokens=max_tokens,
        )
        self._native = _native.Trainer(_model(model), prompt, adapter, train)
        self._made_of(LoraTrainer, model=model, prompt=prompt, **adapter.as_dict(), **train.as_dict())
        self.model = model
        self.settings: dict[str, Any] = {**adapter.as_dict(), **train.as_dict(), "prompt": prompt}

    def init(self, seed: int = 0) -> Adapter:
        """A fresh adapter: A drawn by the seed, B zero."""
        return Adapter._of(self._native.init(_seed(seed)))

    def train(self, adapter: Adapter, records: Any, seed: int = 0, factors: str = "both") -> Trained:
        """Trains the adapter on the records; order and dropout come from the seed.

        Args:
            adapter: where it starts.
            records: to train on.
            seed: of this training.
            factors: what is trained, ``both``, ``a`` or ``b``: the other factor stays as it is to the bit.

        Raises:
            ParameterError: for other factors.
            InputError: for no records, or one that is too long or has no response.
            AdapterError: for an adapter of another model.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None; `init` makes one")
        trained, losses, skipped, tokens = self._native.train(native, _checked(records), _seed(seed), factors)
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


@guarded
class ModelEvaluator(Remade):
    """Loss on the response, Rouge-L and exact match of the greedy generation (the paper, section 5.1).

    Args:
        model: a causal model.
        prompt: as for :func:`fedhds.render`.
        max_new_tokens: longest generation.
        batch_size: records that go through the model together.
        rouge: ``"rouge"``, ``"rouge_score"`` or ``"rouge_score_stemmed"``.

    Raises:
        ParameterError: that names a setting and its value, for one outside of its range or of another kind.
    """

    def __init__(
        self,
        model: Model,
        *,
        prompt: Prompt = "alpaca",
        max_new_tokens: int = _GENERATE.max_new_tokens,
        batch_size: int = _GENERATE.batch_size,
        rouge: str = "rouge",
    ) -> None:
        config = _native.GenerateConfig(max_new_tokens=max_new_tokens, batch_size=batch_size)
        self._native = _native.Evaluator(_model(model), prompt, config, rouge)
        self._made_of(ModelEvaluator, model=model, prompt=prompt, rouge=rouge, **config.as_dict())
        self.model = model
        self.settings: dict[str, Any] = {**config.as_dict(), "prompt": prompt, "rouge": rouge}

    def evaluate(self, records: Any, adapter: Adapter | None = None, generate: bool = True) -> list[RecordScore]:
        """A score for each record, in order; text is generated only if ``generate``."""
        return self._native.evaluate(_checked(records), _adapter(adapter), bool(generate))


def _model(model: Any) -> _native.Model:
    if not isinstance(model, Model):
        raise ParameterError(f"model: expected a fedhds.Model, got {type(model).__name__}")
    return model._native
