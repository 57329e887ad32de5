"""Features of records from a model in PyTorch, the same that :class:`fedhds.LayerFeatures` takes in Rust.

PyTorch is imported by nothing but the call; transformers only where the kind of a model must be looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._guard import guarded
from ._conventions import whole
from ._native import InputError, NotFiniteError, ParameterError, StageError
from ._records import Prompt, as_records, render

__all__ = ["from_transformers"]

_FEATURES = _native.FeatureParams()


@guarded
def from_transformers(
    model: Any,
    tokenizer: Any,
    records: Any,
    *,
    prompt: Prompt = "alpaca",
    layers: str | Sequence[int] = _FEATURES.layers,
    embedding: bool = _FEATURES.embedding,
    pooling: str = _FEATURES.pooling,
    normalize: bool = _FEATURES.normalize,
    max_tokens: int = _FEATURES.max_tokens,
    truncate: bool = _FEATURES.truncate,
    batch_size: int = 8,
    causal: bool | None = None,
) -> NDArray[np.float32]:
    """Hidden states of a transformers model's layers, pooled to one vector for each record: ``[n, layers * hidden]``.

    Equal to :class:`fedhds.LayerFeatures` on the same weights and tokenizer within 1e-4 (float32). A record reaches the
    model as in training: prompt, response and end of text; an encoder reads prompt and response as one text within its
    special tokens. The last layer's state is taken after the model's last normalisation. Dropout is off while this runs;
    afterwards every module is in the mode that it was in. Gradients are not recorded.

    Give ``layers=features.shape[1] // model.config.hidden_size`` to :class:`fedhds.Client` and :class:`fedhds.Server`,
    whose methods may normalise each layer by itself.

    Args:
        model: a causal model or an encoder of transformers, on any device and of any float type, or a PEFT model over
            one: its adapter is applied, unless the call stands in ``with model.disable_adapter():``.
        tokenizer: the model's own.
        records: whatever :func:`fedhds.as_records` takes.
        prompt: ``"alpaca"``, ``"short"``, ``"raw"``, ``"chat"`` (the tokenizer's chat template), or a mapping of
            ``with_input`` and ``without_input``.
        layers: ``"all"``, ``"last"``, or numbers from 1 in the order that is wanted.
        embedding: put the embedding output in front.
        pooling: ``"last_token"``, as for models that predict tokens, or ``"mean"`` over the tokens, as for encoders.
        normalize: scale each layer's vector to length 1.
        max_tokens: longest record in tokens, prompt, response and special tokens together; the model has a limit of its own.
        truncate: cut longer records off at the end; otherwise they are errors.
        batch_size: records of neighbouring lengths that go through the model together, padded at the right.
        causal: whether the model predicts tokens; None looks it up by the model's type.

    Raises:
        ParameterError: for a setting out of range, layers that the model does not have among them.
        InputError: for something that is no such model, and, with its id, for a record too long or without tokens.
        NotFiniteError: for hidden states that are not finite, with the record's id.

    Example::

        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        features = fedhds.features.from_transformers(model, tokenizer, records, prompt="short")
    """
    params = _native.FeatureParams(
        layers=layers,
        embedding=embedding,
        pooling=pooling,
        normalize=normalize,
        max_tokens=max_tokens,
        truncate=truncate,
    )
    batch_size = whole(1)("batch_size", batch_size)
    body = _body(model)
    if not callable(tokenizer) or not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise InputError(f"tokenizer: expected the model's tokenizer of transformers, got {type(tokenizer).__name__}")
    depth, width = _sizes(body)
    states = _native.feature_states(params, depth)
    causal = _is_causal(body) if causal is None else causal
    limit = min(params.max_tokens, _positions(body))
    records = as_records(records)
    texts = _texts(records, prompt, tokenizer)
    sequences = _Reader(model, tokenizer, causal).read(texts, limit, truncate)
    for record, ids in zip(records, sequences):
        if not 1 <= len(ids) <= limit:
            expected = f"1 to {limit} tokens with prompt, response and special tokens (or `truncate`)"
            raise InputError(f"record `{record.id}`: text: expected {expected}, got {len(ids)}")
    features = np.zeros((len(sequences), len(states) * width), dtype=np.float32)
    # Longest first: what is too much for the memory fails at once.
    order = sorted(range(len(sequences)), key=lambda row: (-len(sequences[row]), row))
    with _evaluating(body), _counted("features", len(order)) as advance:
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            features[rows] = _forward(body, [sequences[row] for row in rows], states, pooling, causal, depth)
            advance(len(rows))
    if not np.isfinite(features).all():
        row, column = (int(at) for at in np.argwhere(~np.isfinite(features))[0])
        what, value = f"features of record `{records[row].id}`", features[row, column]
        raise NotFiniteError(f"{what}: expected finite values, got {value} at row {row}, column {column}")
    if normalize:
        parts = features.reshape(len(features), len(states), width)
        length = np.sqrt((parts.astype(np.float64) ** 2).sum(-1, keepdims=True))
        features = (parts / np.maximum(length, 1e-12)).astype(np.float32).reshape(features.shape)
    return features


@contextmanager
def _counted(stage: str, total: int) -> Iterator[Callable[[int], None]]:
    """Tells the listener of :func:`fedhds.progress`, where there is one, as the native calls do."""
    listener = _native.set_listener(None)
    _native.set_listener(listener)
    if listener is None:
        yield lambda units: None
        return
    listener.begin(stage, total)
    try:
        yield lambda units: listener.advance(stage, units)
    finally:
        listener.end(stage)


def _body(model: Any) -> Any:
    """The transformer without head, adapters in place: the output projection would be computed for nothing."""
    if not hasattr(model, "parameters") or not hasattr(model, "config"):
        raise InputError(f"model: expected a model of transformers or PEFT, got {type(model).__name__}")
    if hasattr(model, "get_base_model"):
        # PEFT puts its layers into the model itself, but for learnt prompts, which only its own forward pass adds.
        if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
            raise InputError("model: expected adapters within the layers (such as LoRA), got learnt prompts")
        model = model.get_base_model()
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(
            f"model: expected a causal model or an encoder, got `{model.config.model_type}`, which is both"
        )
    return getattr(model, "base_model", model)


def _sizes(body: Any) -> tuple[int, int]:
    """Layers and hidden size."""
    depth, width = (getattr(body.config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    if not isinstance(depth, int) or not isinstance(width, int):
        raise InputError("model: expected a configuration with `num_hidden_layers` and `hidden_size`, got one without")
    return depth, width


def _positions(body: Any) -> int:
    """Longest sequence that the model takes."""
    most = getattr(body.config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return 2**31
    for name, module in body.named_modules():
        # RoBERTa and its kin number positions from behind the padding's own.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return most - int(module.padding_idx) - 1
    return most


def _is_causal(body: Any) -> bool:
    """Whether the model predicts tokens: all do but the kinds that exist with a head for masked tokens."""
    if getattr(body.config, "is_decoder", False):
        return True
    try:
        from transformers.models.auto import modeling_auto  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ParameterError(
            "causal: expected True or False, as transformers is not there to tell"
        ) from error
    return body.config.model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def _texts(records: Any, prompt: str | Mapping[str, str], tokenizer: Any) -> list[tuple[str, str]]:
    """Prompt and response of each record."""
    if prompt != "chat":
        return [(text, response) for text, response in render(records, prompt)]
    if getattr(tokenizer, "chat_template", None) is None:
        raise InputError("tokenizer: expected one with a chat template, got one without")
    texts = []
    for record in records:
        said = f"{record.instruction}\n\n{record.input}" if record.input.strip() else record.instruction
        turns = [{"role": "user", "content": said}]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        texts.append((text, record.response))
    return texts


@dataclass(frozen=True)
class _Reader:
    """Texts as the model reads them: token for token as :meth:`fedhds.LayerFeatures.tokens`, with a tokenizer of transformers."""

    model: Any
    tokenizer: Any
    causal: bool

    def read(self, texts: Sequence[tuple[str, str]], limit: int, truncate: bool) -> list[list[int]]:
        """The ids of each prompt with its response."""
        whole = [prompt + response for prompt, response in texts]
        if not self.causal:
            return self._within_special_tokens(whole, limit, truncate)
        prompts = self._prompts([prompt for prompt, _ in texts])
        sequences = self._prompts(whole)
        end = self._ids("eos")[:1]
        # A token must not join prompt and response: in generation it could not.
        apart = [row for row, ids in enumerate(sequences) if ids[: len(prompts[row])] != prompts[row]]
        for row, response in zip(apart, self._encode([texts[row][1] for row in apart], False)):
            sequences[row] = prompts[row] + response
        sequences = [ids + end for ids in sequences]
        return [ids[:limit] for ids in sequences] if truncate else sequences

    def _encode(self, texts: list[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(texts, add_special_tokens=special, truncation=False, padding=False, verbose=False)
        return [list(ids) for ids in encoded["input_ids"]]

    def _ids(self, kind: str) -> list[int]:
        """The ids of ``bos`` or ``eos``: the tokenizer's own first, then those of the model's configurations."""
        ids = [getattr(self.tokenizer, f"{kind}_token_id", None)]
        for config in (getattr(self.model, "generation_config", None), self.model.config):
            more = getattr(config, f"{kind}_token_id", None)
            more = more if isinstance(more, (list, tuple)) else [more]
            if any(id is not None for id in more):
                ids.extend(more)
                break
        return [int(id) for id in ids if id is not None and self.tokenizer.convert_ids_to_tokens(int(id)) is not None]

    def _prompts(self, texts: list[str]) -> list[list[int]]:
        """The ids of texts with the beginning that the tokenizer adds, without an end."""
        first = self._ids("bos")
        begin = self.tokenizer.convert_ids_to_tokens(first[0]) if first else ""
        ends = self._ids("eos")
        # A chat template writes the beginning itself.
        begun = [bool(begin) and text.startswith(begin) for text in texts]
        ids: list[list[int]] = [[] for _ in texts]
        for special in (True, False):
            rows = [row for row, has in enumerate(begun) if has != special]
            for row, encoded in zip(rows, self._encode([texts[row] for row in rows], special)):
                ids[row] = encoded
        # An end that is not among the text's own tokens comes from the tokenizer.
        ended = [row for row, one in enumerate(ids) if one and one[-1] in ends]
        for row, plain in zip(ended, self._encode([texts[row] for row in ended], False)):
            at = self._place(plain, ids[row])
            if at is None or at + len(plain) < len(ids[row]):
                ids[row].pop()
        return ids

    @staticmethod
    def _place(plain: list[int], whole: list[int]) -> int | None:
        """Where a text's own ids begin among the same with special tokens around them."""
        places = range(len(whole) - len(plain) + 1)
        return next((at for at in places if whole[at : at + len(plain)] == plain), None)

    def _within_special_tokens(self, texts: list[str], limit: int, truncate: bool) -> list[list[int]]:
        """Texts within the tokenizer's special tokens (``[CLS]``, ``[SEP]``), cut off between them where asked for."""
        sequences = self._encode(texts, True)
        long = [row for row, ids in enumerate(sequences) if len(ids) > limit] if truncate else []
        for row, plain in zip(long, self._encode([texts[row] for row in long], False)):
            whole = sequences[row]
            special = len(whole) - len(plain)
            begin = self._place(plain, whole) or 0
            sequences[row] = whole[:begin] + plain[: max(limit - special, 0)] + whole[begin + len(plain) :]
        return sequences


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode and no gradients; each module gets its own mode back."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _forward(
    body: Any, sequences: list[list[int]], states: list[int], pooling: str, causal: bool, depth: int
) -> NDArray[np.float32]:
    """The pooled states of one batch, ``[b, states * hidden]``."""
    import torch

    device = body.get_input_embeddings().weight.device
    lengths = torch.tensor([len(ids) for ids in sequences], device=device)
    ids = torch.zeros((len(sequences), int(lengths.max())), dtype=torch.long, device=device)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, device=device)
    mask = torch.arange(ids.shape[1], device=device)[None] < lengths[:, None]
    extra = {"use_cache": False} if causal else {}
    output = body(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True, return_dict=True, **extra)
    hidden = output.hidden_states
    if hidden is None or len(hidden) != depth + 1:
        raise StageError(f"stage `model`: expected {depth + 1} hidden states, got {len(hidden or ())}")
    # Not every family normalises the last of `hidden_states`; `last_hidden_state` is normalised in all.
    hidden = [*hidden[:-1], output.last_hidden_state]
    pooled = []
    for state in states:
        values = hidden[state].float()
        mine, long = mask.to(values.device), lengths.to(values.device)
        if pooling == "mean":
            pooled.append(values.masked_fill(~mine[..., None], 0).sum(1) / long[:, None])
        else:
            pooled.append(values[torch.arange(len(long), device=values.device), long - 1])
    joined: NDArray[np.float32] = torch.cat([part.cpu() for part in pooled], dim=1).numpy()
    return joined
