"""What happens to a client's summary before it leaves the client, as a Python object."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._guard import guarded
from ._arrays import matrix, room
from ._calls import needed
from ._model import _count
from ._native import StageError

Floats = NDArray[np.float32]
_Named = tuple[list[str], Floats] | None


@dataclass(frozen=True)
class Summary:
    """A client's groups as they go up; ``dataclasses.replace`` makes another one of it."""

    client: int
    round: int
    """The selection's, from 0."""
    clusters: NDArray[np.int64]
    """[k]: the client's numbers for its groups, ascending; groups may be left out, none may be new."""
    sizes: NDArray[np.int64]
    """[k]: records of each group, at least 1."""
    centroids: Floats
    """[k, d]."""
    scores: dict[str, Floats]
    """[k] each: mean of each score over each group, where the method shares scores."""


@guarded
class Randomness:
    """What an upload stage draws, from the client's secret: the server cannot draw it again.

    One key of 256 bits for each call of the stage, stretched by SHAKE-256; each draw gives other bits.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._draws = 0

    def bytes(self, count: int) -> bytes:
        """So many random bytes."""
        count = _count("count", count)
        self._draws += 1
        return hashlib.shake_256(self._key + self._draws.to_bytes(8, "little")).digest(count)

    def uniform(self, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Numbers in (0, 1), each of 53 random bits."""
        sides = [_count("shape", side) for side in ([shape] if isinstance(shape, (int, np.integer)) else shape)]
        count = math.prod(sides)
        room(count, 2, "shape: what is drawn")
        drawn = np.frombuffer(self.bytes(8 * count), dtype="<u8") >> np.uint64(11)
        return ((drawn.astype(np.float64) + 0.5) / 2.0**53).reshape(sides)

    def normal(self, shape: int | tuple[int, ...], std: float = 1.0) -> NDArray[np.float64]:
        """Gaussian numbers with mean 0 and this standard deviation (Box and Muller's transformation)."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(shape)))
        drawn: NDArray[np.float64] = std * radius * np.cos(2.0 * np.pi * self.uniform(shape))
        return drawn


class Upload:
    """A user's stage with ``release(summary, randomness)``, or a function of these."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def release(
        self,
        client: int,
        round: int,
        clusters: NDArray[np.int64],
        sizes: NDArray[np.int64],
        centroids: Floats,
        scores: _Named,
        key: bytes,
    ) -> tuple[list[int], list[int], Floats, _Named]:
        names, values = ([], centroids) if scores is None else scores
        given = Summary(client, round, clusters, sizes, centroids, {n: values[:, j] for j, n in enumerate(names)})
        released = needed(self._stage, "release")(given, Randomness(key))
        if not isinstance(released, Summary):
            raise StageError(f"`release`: expected a fedhds.Summary, got {type(released).__name__}")
        if (released.client, released.round) != (client, round):
            got = f"client {released.client}, round {released.round}"
            raise StageError(f"`release`: expected the summary of client {client}, round {round}, got {got}")
        return (
            _whole(released.clusters, "clusters", 0),
            _whole(released.sizes, "sizes", 1),
            np.ascontiguousarray(_rows(released, released.centroids, "centroids")),
            _named(released),
        )


def _whole(values: Any, what: str, least: int) -> list[int]:
    array = np.asarray(values)
    fits = array.ndim == 1 and (array.size == 0 or array.dtype.kind in "iu")
    if not fits or (array.size and not (least <= array.min() and array.max() < 2**32)):
        raise StageError(f"`release`: {what}: expected whole numbers of at least {least}, got {values!r}")
    found: list[int] = array.tolist()
    return found


def _rows(summary: Summary, values: Any, what: str) -> Floats:
    rows = matrix(values, f"`release`: {what}")
    groups = len(summary.clusters)
    if len(rows) != groups or len(summary.sizes) != groups:
        got = f"{len(rows)} rows and {len(summary.sizes)} sizes"
        raise StageError(f"`release`: {what}: expected a row and a size for each of {groups} groups, got {got}")
    return rows


def _named(summary: Summary) -> _Named:
    if not summary.scores:
        return None
    columns = [np.asarray(column, dtype=np.float32) for column in summary.scores.values()]
    if any(column.shape != (len(summary.clusters),) for column in columns):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise StageError(f"`release`: scores: expected a number for each group, got columns of shape {shapes}")
    return list(summary.scores), _rows(summary, np.ascontiguousarray(np.stack(columns, axis=1)), "scores")
