"""Tokens of records, for methods whose budget counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._guard import guarded
from ._model import Model
from ._native import InputError
from ._records import Prompt, Record, _checked
from ._selection import Method
from ._tuning import LayerFeatures, LoraTrainer

Tokens = Callable[[Sequence[Record]], Sequence[int]] | Sequence[int] | NDArray[np.integer[Any]] | None
"""Tokens of each record, or a function of the records that gives them."""


@guarded
def count_tokens(records: Any, model: Model, prompt: Prompt = "alpaca") -> NDArray[np.int64]:
    """Tokens of each record as a model reads it in training, [records]: prompt, response and end of sequence.

    It is what ``tokens`` of :meth:`fedhds.Client.summarize` takes where a method's budget is in tokens.

    Args:
        records: or whatever :func:`fedhds.as_records` takes.
        model: whose tokenizer counts.
        prompt: as for :func:`fedhds.render`.

    Raises:
        InputError: that names a record which is too long for the model, or has no tokens.

    Example:
        >>> import fedhds
        >>> records, _ = fedhds.embedded_records(records_per_task=1)
        >>> fedhds.count_tokens(records, fedhds.Model.embedded(), prompt="short").shape == (len(records),)
        True
    """
    own = _checked(records)
    reader = LayerFeatures(model, prompt=prompt, max_tokens=model.max_positions)
    return np.array([len(ids) for ids in reader.tokens(own)], dtype=np.int64)


def in_tokens(method: Method) -> bool:
    """Whether a method's budget counts tokens."""
    count = method.settings["count"]
    return isinstance(count, dict) and isinstance(count.get("budget"), dict)


def tokens_of(given: Tokens, records: Sequence[Record] | None, method: Method, trainer: Any = None) -> Sequence[int] | None:
    """The tokens of a client's records where the method's budget counts them; else None.

    Args:
        given: of the caller: tokens, or a function; None for those that the model of a :class:`fedhds.LoraTrainer` counts.
        records: the client's, where they are known.
        method: what selects.
        trainer: the client's, where it is known.

    Raises:
        InputError: where nobody says them.
    """
    if not in_tokens(method):
        return None
    if given is not None and not callable(given):
        return given  # type: ignore[return-value]
    if records is not None and callable(given):
        return given(records)
    if records is not None and isinstance(trainer, LoraTrainer):
        counted: list[int] = count_tokens(records, trainer.model, trainer.settings["prompt"]).tolist()
        return counted
    name = method.settings["name"]
    raise InputError(
        f"tokens: expected those of each record, as the budget of {name!r} counts tokens: numbers, or a function of the records "
        "such as `lambda records: fedhds.count_tokens(records, model)`; got none"
    )
