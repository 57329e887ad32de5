"""Python objects as stages of the Rust selection: what a user's object may look like, and how it is called.

Each wrapper has the fixed methods that the native module calls, with arrays of float32 and plain tuples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import matrix
from ._calls import keywords, method_of, needed
from ._memory import MemoryFactory
from ._native import ParameterError, StageError
from ._upload import Upload

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Covered:
    """What earlier rounds have covered, as a server's memory says."""

    points: Floats
    """[m, d], in the space of the uploaded centroids."""
    mass: Floats
    """[m]: records that were trained on at each point."""


@dataclass(frozen=True)
class Rows:
    """What clusterers and selectors look at: records on a client, uploaded groups on the server."""

    points: Floats
    """[n, d]; no columns where no features were looked at."""
    weights: Floats
    """[n]: how many records each row stands for."""
    scores: dict[str, Floats]
    """[n] each: numbers of each row by name, means over the records where a row is a group; NaN where there is none."""
    owners: NDArray[np.int64]
    """[n]: the client that sent each row; empty where there is one owner."""
    labels: NDArray[np.int64] | None
    """[n]: the cluster of each row, -1 for none; None where nothing was clustered."""
    probabilities: Floats | None
    """[n]: the membership probability of each row in its cluster; None where nothing was clustered."""
    covered: Covered | None
    """On a server whose memory has points; else None."""
    per_cluster: bool = False
    """For a selector: whether the count is meant for each cluster (the paper) or in all."""

    def __len__(self) -> int:
        return len(self.points)


def _rows(given: Any, per_cluster: bool = False) -> Rows:
    """Of what the native module gives."""
    points, weights, scores, owners, groups, covered = given
    names, values = ([], points) if scores is None else scores
    labels, probabilities = (None, None) if groups is None else groups
    return Rows(
        points=points,
        weights=weights,
        scores={name: values[:, column] for column, name in enumerate(names)},
        owners=owners,
        labels=labels,
        probabilities=probabilities,
        covered=None if covered is None else Covered(*covered),
        per_cluster=per_cluster,
    )


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
            reduced = needed(self._stage, "reduce")(features, seed)
        return np.ascontiguousarray(matrix(reduced, "what the reducer returned"))


class _Clusterer:
    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def cluster(self, given: Any, wanted: int | None, seed: int) -> tuple[list[int], list[float]]:
        rows = _rows(given)
        found: Any = None
        if not hasattr(self._stage, "cluster") and hasattr(self._stage, "fit_predict"):
            labels, fitted = _fitted(self._stage, "fit_predict", rows.points, seed)
            found = getattr(fitted, "probabilities_", None)
        else:
            labels = _cluster(needed(self._stage, "cluster"), rows, wanted, seed)
            if isinstance(labels, tuple):
                labels, found = labels
        labels = np.asarray(labels)
        if labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
            got = f"shape {labels.shape}, dtype {labels.dtype}"
            raise StageError(f"expected {len(rows)} whole numbers as labels, one for each row, got {got}")
        probabilities = np.asarray(labels >= 0 if found is None else found, dtype=np.float32)
        if probabilities.shape != labels.shape:
            told = f"expected {len(rows)} membership probabilities, one for each row"
            raise StageError(f"{told}, got shape {probabilities.shape}")
        return labels.tolist(), probabilities.tolist()


def _cluster(call: Callable[..., Any], rows: Rows, wanted: int | None, seed: int) -> Any:
    """Calls a user's clusterer with what it asks for by the names of its arguments."""
    first, asked = keywords(call, {"seed": seed, "wanted": wanted, "weights": rows.weights, "scores": rows.scores})
    given = rows if first == "rows" else rows.points
    # One that names nothing else has two arguments of any name, as it may have no signature at all.
    return call(given, **asked) if set(asked) - {"seed"} else call(given, seed)


class _Selector:
    def __init__(self, stage: Any) -> None:
        self._stage = stage
        uses = getattr(stage, "uses_groups", None)
        self.uses_groups: bool | None = None if uses is None else bool(uses)
        self.uses_covered = bool(getattr(stage, "uses_covered", False))

    def select(self, given: Any, count: int, per_cluster: bool, seed: int) -> list[int]:
        rows = np.asarray(needed(self._stage, "select")(_rows(given, per_cluster), count, seed))
        if rows.size == 0:
            return []
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0:
            raise StageError(f"expected row numbers from 0, got shape {rows.shape}, dtype {rows.dtype}")
        return sorted(rows.tolist())


_KINDS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "client.normalizer": (_Reducer, ("reduce", "fit_transform")),
    "client.reducer": (_Reducer, ("reduce", "fit_transform")),
    "client.clusterer": (_Clusterer, ("cluster", "fit_predict")),
    "client.upload": (Upload, ("release",)),
    "client.selector": (_Selector, ("select",)),
    "server.clusterer": (_Clusterer, ("cluster", "fit_predict")),
    "server.selector": (_Selector, ("select",)),
}


def wrap(stages: Mapping[str, Any] | None) -> dict[str, Any]:
    """The wrappers of a method's own stages.

    Raises:
        ParameterError: for a name that is none, or an object that cannot serve.
    """
    wrapped: dict[str, Any] = {}
    for name, stage in (stages or {}).items():
        if name == "server.memory":
            wrapped[name] = MemoryFactory(stage)
            continue
        if name not in _KINDS:
            raise ParameterError(f"stages: expected one of {', '.join(_KINDS)}, server.memory, got `{name}`")
        make, methods = _KINDS[name]
        if method_of(stage, *methods) is None:
            expected = " or ".join(f"`{method}`" for method in methods)
            raise ParameterError(f"stages: {name}: expected an object with {expected}, got {stage!r}")
        wrapped[name] = make(stage)
    return wrapped
