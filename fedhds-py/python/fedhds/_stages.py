"""Python objects as stages of the Rust pipeline: what a user's object may look like, and how it is called.

Each wrapper has the fixed methods that the native module calls, with arrays of float32 and plain tuples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._arrays import matrix
from ._model import Adapter
from ._model_stages import LayerFeatures, LoraTrainer, ModelEvaluator, RecordScore, Trained
from ._native import ParameterError, StageError
from ._records import Record

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """What a selector chooses from: records of a group on a client, uploaded centroids on the server."""

    points: Floats
    """[n, d]; no columns where no features were looked at."""
    weights: Floats
    """[n]: how many records each row stands for."""
    labels: NDArray[np.int64] | None
    """[n]: the cluster of each row, -1 for none; None where nothing was clustered."""
    owners: NDArray[np.int64]
    """[n]: the client that sent each row; empty where there is one owner."""
    per_cluster: bool
    """Whether the count is meant for each cluster (the paper) or in all."""


def _of(value: Any, *methods: str) -> Callable[..., Any] | None:
    """The first of these methods that the object has; the object itself where it is a function."""
    for name in methods:
        found = getattr(value, name, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
    return value if callable(value) and not isinstance(value, type) else None


def _fitted(estimator: Any, method: str, points: Floats, seed: int) -> tuple[Any, Any]:
    """The result of a scikit-learn estimator, and the copy that was fitted: several clients may be at work at once. One whose
    ``random_state`` is None draws from the stage's seed.
    """
    own = copy.deepcopy(estimator)
    params = own.get_params() if hasattr(own, "get_params") else {}
    if "random_state" in params and params["random_state"] is None:
        own.set_params(random_state=seed % 2**32)
    return getattr(own, method)(points), own


class _Reducer:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def reduce(self, features: Floats, seed: int) -> Floats:
        if not hasattr(self._stage, "reduce") and hasattr(self._stage, "fit_transform"):
            reduced, _ = _fitted(self._stage, "fit_transform", features, seed)
        else:
            reduced = _needed(self._stage, "reduce")(features, seed)
        return np.ascontiguousarray(matrix(reduced, "what the reducer returned"))


class _Clusterer:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def cluster(self, points: Floats, seed: int) -> tuple[list[int], list[float]]:
        strength: Any = None
        if not hasattr(self._stage, "cluster") and hasattr(self._stage, "fit_predict"):
            labels, fitted = _fitted(self._stage, "fit_predict", points, seed)
            strength = getattr(fitted, "probabilities_", None)
        else:
            labels = _needed(self._stage, "cluster")(points, seed)
            if isinstance(labels, tuple):
                labels, strength = labels
        labels = np.asarray(labels)
        if labels.shape != (len(points),) or labels.dtype.kind not in "iu":
            got = f"shape {labels.shape}, dtype {labels.dtype}"
            raise StageError(f"expected {len(points)} whole numbers as labels, one for each row, got {got}")
        if strength is None:
            strength = (labels >= 0).astype(np.float32)
        strength = np.asarray(strength, dtype=np.float32)
        if strength.shape != labels.shape:
            raise StageError(f"expected {len(points)} strengths, one for each row, got shape {strength.shape}")
        return labels.tolist(), strength.tolist()


class _Selector:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def select(
        self,
        points: Floats,
        weights: Floats,
        labels: NDArray[np.int64] | None,
        owners: list[int],
        count: int,
        per_cluster: bool,
        seed: int,
    ) -> list[int]:
        candidates = Candidates(points, weights, labels, np.asarray(owners, dtype=np.int64), per_cluster)
        rows = np.asarray(_needed(self._stage, "select")(candidates, count, seed))
        if rows.size == 0:
            return []
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0:
            raise StageError(f"expected row numbers from 0, got shape {rows.shape}, dtype {rows.dtype}")
        return sorted(rows.tolist())


class _Extractor:
    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.is_frozen = bool(getattr(stage, "is_frozen", True))
        self.fingerprint = str(getattr(stage, "fingerprint", None) or name_of(stage))

    def extract(self, records: list[Record], adapter: _native.Adapter | None) -> Floats:
        given = None if adapter is None else Adapter._of(adapter)
        features = _needed(self._stage, "extract")(records, given)
        return np.ascontiguousarray(matrix(features, "what the extractor returned"))


class _Trainer:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def init(self, seed: int) -> _native.Adapter:
        return _adapter_of(_needed(self._stage, "init")(seed), "init")

    def train(
        self, adapter: _native.Adapter, records: list[Record], seed: int
    ) -> tuple[_native.Adapter, list[float], int, int]:
        trained = _needed(self._stage, "train")(Adapter._of(adapter), records, seed)
        if isinstance(trained, Trained):
            losses = [float(loss) for loss in trained.losses]
            return trained.adapter._native, losses, trained.skipped, trained.tokens
        return _adapter_of(trained, "train"), [], 0, 0


class _Aggregator:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def add(self, client: int, adapter: _native.Adapter, records: int) -> None:
        _needed(self._stage, "add")(client, Adapter._of(adapter), records)

    def finish(self) -> _native.Adapter | None:
        adapter = _needed(self._stage, "finish")()
        return None if adapter is None else _adapter_of(adapter, "finish")


class _Evaluator:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def evaluate(self, records: list[Record], adapter: _native.Adapter | None, generate: bool) -> list[RecordScore]:
        given = None if adapter is None else Adapter._of(adapter)
        scores = list(_needed(self._stage, "evaluate")(records, given, generate))
        for score in scores:
            if not isinstance(score, RecordScore):
                raise StageError(f"expected a fedhds.RecordScore for each record, got {type(score).__name__}")
        return scores


def _needed(stage: Any, method: str) -> Callable[..., Any]:
    found = _of(stage, method)
    if found is None:
        raise StageError(f"expected an object with `{method}`, got {type(stage).__name__}")
    return found


def _adapter_of(value: Any, call: str) -> _native.Adapter:
    if not isinstance(value, Adapter):
        raise StageError(f"`{call}`: expected a fedhds.Adapter, got {type(value).__name__}")
    return value._native


_KINDS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "client.normalizer": (_Reducer, ("reduce", "fit_transform")),
    "client.reducer": (_Reducer, ("reduce", "fit_transform")),
    "client.clusterer": (_Clusterer, ("cluster", "fit_predict")),
    "client.selector": (_Selector, ("select",)),
    "server.clusterer": (_Clusterer, ("cluster", "fit_predict")),
    "server.selector": (_Selector, ("select",)),
}


def wrap(stages: Mapping[str, Any] | None) -> dict[str, Any]:
    """The wrappers of a method's own stages.

    Raises:
        ParameterError: for a name that is none, or an object that cannot serve.
    """
    wrapped = {}
    for name, stage in (stages or {}).items():
        if name not in _KINDS:
            raise ParameterError(f"stages: expected one of {', '.join(_KINDS)}, got `{name}`")
        make, methods = _KINDS[name]
        if _of(stage, *methods) is None:
            expected = " or ".join(f"`{method}`" for method in methods)
            raise ParameterError(f"stages: {name}: expected an object with {expected}, got {stage!r}")
        wrapped[name] = make(stage)
    return wrapped


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
    if isinstance(stage, LayerFeatures):
        return stage._native
    if _of(stage, "extract") is None:
        raise ParameterError(f"extractor: expected an object with `extract` or a function, got {stage!r}")
    return _Extractor(stage)


def evaluator(stage: Any) -> Any:
    """The native evaluator, or the user's wrapped."""
    if isinstance(stage, ModelEvaluator):
        return stage._native
    if not callable(getattr(stage, "evaluate", None)):
        raise ParameterError(f"evaluator: expected an object with `evaluate`, got {stage!r}")
    return _Evaluator(stage)


def aggregator(stage: Any) -> Any:
    """The user's aggregator, wrapped."""
    for method in ("add", "finish"):
        if not callable(getattr(stage, method, None)):
            raise ParameterError(f"aggregator: expected an object with `add` and `finish`, got {stage!r}")
    return _Aggregator(stage)


def name_of(stage: Any) -> str:
    """What tells a user's object apart in a checkpoint: its fingerprint, or its class and settings."""
    fingerprint = getattr(stage, "fingerprint", None)
    if fingerprint is not None and not callable(fingerprint):
        return str(fingerprint)
    kind = stage if isinstance(stage, type) or hasattr(stage, "__qualname__") else type(stage)
    settings = getattr(stage, "settings", None)
    named = f"{kind.__module__}.{kind.__qualname__}"
    model = getattr(stage, "model", None)
    parts: Sequence[Any] = [settings, getattr(model, "fingerprint", None)]
    return " ".join([named, *(str(part) for part in parts if part is not None)])
