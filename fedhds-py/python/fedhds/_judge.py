"""What judges responses for a method's quality gate: their losses under their own prompts and under others'."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._guard import guarded
from ._arrays import matrix
from ._calls import needed
from ._identity import name_of
from ._model import Adapter, Model, _adapter
from ._native import InputError, ParameterError
from ._records import Prompt, Record, _checked
from ._remade import Remade
from ._selection import Method
from ._tuning import LoraTrainer, _model

Pairs = Sequence[tuple[int, int]]
"""Rows of a client's records: whose response, and under whose prompt."""


@guarded
class ResponseLoss(Remade):
    """The mean loss of a record's response under its prompt, in nats a token: what judges records for the quality gate.

    A good response is likelier under its own prompt than under another's; a wrong one is as likely under any.

    Args:
        model: a causal one; it stays as it came, whatever adapter is trained.
        prompt: as for :func:`fedhds.render`.
        max_response_tokens: tokens of a response that are looked at, from its first; None is the core's 32.
        batch_size: prompts, and responses, that go through the model together; None is the core's 8.
        frozen: ignore adapters; a judge has to.

    Raises:
        ParameterError: for a setting out of range.
        InputError: for an encoder, which predicts no tokens.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=1)
        >>> judge = fedhds.ResponseLoss(fedhds.Model.embedded(), prompt="short")
        >>> judge.losses(train, [(0, 0), (0, 5)]).shape
        (2,)
    """

    names = ("loss",)

    def __init__(
        self,
        model: Model,
        *,
        prompt: Prompt = "alpaca",
        max_response_tokens: int | None = None,
        batch_size: int | None = None,
        frozen: bool = True,
    ) -> None:
        self._native = _native.ResponseLoss(_model(model), prompt, bool(frozen), max_response_tokens, batch_size)
        self._made_of(
            ResponseLoss,
            model=model,
            prompt=prompt,
            max_response_tokens=max_response_tokens,
            batch_size=batch_size,
            frozen=frozen,
        )
        self.model = model
        self.is_frozen = bool(frozen)

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints promise equal losses."""
        return self._native.fingerprint

    def score(self, records: Any, adapter: Adapter | None = None) -> NDArray[np.float32]:
        """Losses of shape [records, 1]; NaN where nothing of a response fits behind its prompt. It serves as a scorer too."""
        return self._native.score(_checked(records), _adapter(adapter))

    def losses(self, records: Any, pairs: Pairs) -> NDArray[np.float32]:
        """The loss of each pair, [n]: of one record's response under another's prompt, or its own.

        Args:
            records: the client's, in the order of its features.
            pairs: rows, as :meth:`fedhds.Client.pilot` and the ``losses`` of :meth:`fedhds.Client.choose` have them.
        """
        return pair_losses(self, _checked(records), pairs)


def pair_losses(judge: Any, records: Sequence[Record], pairs: Pairs) -> NDArray[np.float32]:
    """The loss of each pair by an object with ``score(records, adapter)``.

    Raises:
        StageError, InputError: for a judge that has no `score`, or gives other than one loss a record.
    """
    if not pairs:
        return np.zeros(0, dtype=np.float32)
    joined = []
    for response, prompt in pairs:
        own, asked = records[response], records[prompt]
        joined.append(dataclasses.replace(asked, id=f"{own.id} / {asked.id}", responses=own.responses))
    return losses_of(needed(judge, "score")(joined, None), len(joined))


def losses_of(scored: Any, rows: int) -> NDArray[np.float32]:
    """One loss for each record, of what a judge gave: the first column, where it gave several.

    Raises:
        InputError: for another number of losses.
    """
    values = np.asarray(next(iter(scored.values())) if isinstance(scored, dict) and scored else scored, dtype=np.float32)
    if values.ndim == 2 and values.shape[1]:
        values = values[:, 0]
    if values.shape != (rows,):
        raise InputError(f"losses: expected {rows}, one for each record, got an array of shape {values.shape}")
    return np.ascontiguousarray(values)


def has_gate(method: Method) -> bool:
    """Whether a method leaves bad records out where there are enough of them."""
    return bool(method.settings["server"]["gate"]["kind"] != "none")


def judge_of(given: Any, method: Method, trainer: Any) -> Any | None:
    """What judges a client's records: a judge of the caller's, or the model that is tuned; None declines.

    Args:
        given: None for the trainer's model where the method has a gate; False for nobody; a model, or an object with ``score``.
        method: what selects.
        trainer: a :class:`fedhds.LoraTrainer`, or another whose model nobody knows.
    """
    if given is False or (given is None and not has_gate(method)):
        return None
    own = isinstance(trainer, LoraTrainer)
    if given is None:
        return ResponseLoss(trainer.model, prompt=trainer.settings["prompt"]) if own else None
    if isinstance(given, Model):
        return ResponseLoss(given, prompt=trainer.settings["prompt"]) if own else ResponseLoss(given)
    if not callable(getattr(given, "score", None)):
        raise ParameterError(f"judge: expected a fedhds.Model, an object with `score`, None or False, got {given!r}")
    return given


class _Judge:
    """A judge of the user's, as the native simulation calls a scorer."""

    names = ["loss"]
    is_frozen = True

    def __init__(self, judge: Any) -> None:
        self._judge = judge
        self.fingerprint = str(getattr(judge, "fingerprint", None) or name_of(judge))

    def score(self, records: list[Record], adapter: _native.Adapter | None) -> NDArray[np.float32]:
        losses = losses_of(needed(self._judge, "score")(records, None), len(records))
        return np.ascontiguousarray(matrix(losses[:, None], "losses"))


def native(judge: Any) -> Any:
    """The native judge, or the user's wrapped."""
    return judge._native if isinstance(judge, ResponseLoss) else _Judge(judge)


def losses_by(judge: Any, records: Sequence[Record]) -> Callable[[Pairs], NDArray[np.float32]] | None:
    """What :meth:`fedhds.Client.choose` calls: the losses of pairs of these records; None without a judge."""
    return None if judge is None else lambda pairs: pair_losses(judge, records, pairs)
