"""A user's extractor, scorer, trainer and evaluator, as the native simulation calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._arrays import matrix
from ._calls import adapter_of, method_of, needed, parameters
from ._identity import name_of
from ._model import Adapter
from ._tuning import LayerFeatures, LoraTrainer, ModelEvaluator, RecordScore, Trained
from ._native import ParameterError, StageError
from ._records import Record
from ._text import TextFeatures

Floats = NDArray[np.float32]


class _Extractor:
    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.is_frozen = bool(getattr(stage, "is_frozen", True))
        self.fingerprint = str(getattr(stage, "fingerprint", None) or name_of(stage))

    def extract(self, records: list[Record], adapter: _native.Adapter | None) -> Floats:
        given = None if adapter is None else Adapter._of(adapter)
        features = needed(self._stage, "extract")(records, given)
        return np.ascontiguousarray(matrix(features, "what the extractor returned"))


class _Scorer:
    """``score`` gives a dict of columns, or an array with the columns' ``names`` beside it; a dict has the same names each time."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.is_frozen = bool(getattr(stage, "is_frozen", True))
        self.fingerprint = str(getattr(stage, "fingerprint", None) or name_of(stage))
        names = getattr(stage, "names", None)
        self._names: list[str] | None = None if names is None else list(names() if callable(names) else names)

    @property
    def names(self) -> list[str]:
        return self._names or []

    def score(self, records: list[Record], adapter: _native.Adapter | None) -> Floats:
        given = None if adapter is None else Adapter._of(adapter)
        return self._values(needed(self._stage, "score")(records, given), len(records))

    def _values(self, scores: Any, rows: int) -> Floats:
        names, values = named_scores(scores, self._names, rows)
        if self._names is None:
            self._names = names
        if names != self._names:
            raise StageError(f"`score`: expected the columns {self._names}, as before, got {names}")
        return values


def named_scores(scores: Any, names: list[str] | None, rows: int) -> tuple[list[str], Floats]:
    """Names and values [rows, k] of a dict of columns, or of an array where the names are known.

    Raises:
        StageError: for other shapes, or an array without names.
    """
    if isinstance(scores, Mapping):
        found = [str(name) for name in scores] if names is None else names
        columns = {str(name): np.asarray(column, dtype=np.float32) for name, column in scores.items()}
        if set(columns) != set(found):
            raise StageError(f"scores: expected the columns {found}, got {list(columns)}")
        for name, column in columns.items():
            if column.shape != (rows,):
                raise StageError(f"scores: `{name}`: expected {rows} numbers, one for each record, got {column.shape}")
        stacked = np.stack([columns[name] for name in found], axis=1) if found else np.zeros((rows, 0), np.float32)
        return found, np.ascontiguousarray(stacked)
    if names is None:
        raise StageError(f"scores: expected a dict of columns, or `names` of the columns beside an array, got {scores!r}")
    values = matrix(scores, "scores")
    if values.shape != (rows, len(names)):
        raise StageError(f"scores: expected an array of shape ({rows}, {len(names)}), got {values.shape}")
    return names, np.ascontiguousarray(values)


def train_with(stage: Any, adapter: Adapter, records: Sequence[Record], seed: int, factors: str) -> Any:
    """What a trainer's ``train`` gives. It is told which factors the round trains where it has an argument ``factors``; one that has not trains
    both, and the server refuses what moved a frozen one.
    """
    call = needed(stage, "train")
    told = {"factors": factors} if "factors" in (parameters(call) or ()) else {}
    return call(adapter, records, seed, **told)


class _Trainer:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def init(self, seed: int) -> _native.Adapter:
        return adapter_of(needed(self._stage, "init")(seed), "init")

    def train(
        self, adapter: _native.Adapter, records: list[Record], seed: int, factors: str
    ) -> tuple[_native.Adapter, list[float], int, int]:
        trained = train_with(self._stage, Adapter._of(adapter), records, seed, factors)
        if isinstance(trained, Trained):
            losses = [float(loss) for loss in trained.losses]
            return trained.adapter._native, losses, trained.skipped, trained.tokens
        return adapter_of(trained, "train"), [], 0, 0


class _Evaluator:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def evaluate(self, records: list[Record], adapter: _native.Adapter | None, generate: bool) -> list[RecordScore]:
        given = None if adapter is None else Adapter._of(adapter)
        scores = list(needed(self._stage, "evaluate")(records, given, generate))
        for score in scores:
            if not isinstance(score, RecordScore):
                raise StageError(f"expected a fedhds.RecordScore for each record, got {type(score).__name__}")
        return scores


def trainer(stage: Any) -> Any:
    """The native trainer, or the user's wrapped."""
    if isinstance(stage, LoraTrainer):
        return stage._native
    for method in ("init", "train"):
        if not callable(getattr(stage, method, None)):
            raise ParameterError(f"trainer: expected an object with `init` and `train`, got {stage!r}")
    return _Trainer(stage)


def extractor(stage: Any) -> Any:
    """The native extractor, or the user's wrapped."""
    if isinstance(stage, (LayerFeatures, TextFeatures)):
        return stage._native
    if method_of(stage, "extract") is None:
        raise ParameterError(f"extractor: expected an object with `extract` or a function, got {stage!r}")
    return _Extractor(stage)


def scorer(stage: Any) -> Any:
    """The user's scorer, wrapped."""
    if method_of(stage, "score") is None:
        raise ParameterError(f"scorer: expected an object with `score` or a function, got {stage!r}")
    return _Scorer(stage)


def evaluator(stage: Any) -> Any:
    """The native evaluator, or the user's wrapped."""
    if isinstance(stage, ModelEvaluator):
        return stage._native
    if not callable(getattr(stage, "evaluate", None)):
        raise ParameterError(f"evaluator: expected an object with `evaluate`, got {stage!r}")
    return _Evaluator(stage)
