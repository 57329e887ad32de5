"""What a server keeps of the selection between rounds, as a Python object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import matrix
from ._calls import needed, own
from ._native import ParameterError, StageError


@dataclass(frozen=True)
class TrainedGroup:
    """Records of one uploaded group that were trained on, as the server knows it."""

    client: int
    cluster: int
    """The client's number for it."""
    records: int
    """Records of it that were trained on, at least 1."""
    centroid: NDArray[np.float32]
    """[d], as it was uploaded."""


class Memory:
    """A user's memory: ``commit(trained)``, ``covered()``, ``state()``, ``resume(state)``, ``bound()``; ``begin(round)`` may be absent."""

    def __init__(self, stage: Any) -> None:
        for method in ("commit", "covered", "state", "resume", "bound"):
            if own(stage, method) is None:
                raise StageError(f"expected an object with `{method}`, got {type(stage).__name__}")
        self._stage = stage

    def begin(self, round: int) -> None:
        call = own(self._stage, "begin")
        if call is not None:
            call(round)

    def commit(self, trained: list[tuple[int, int, int]], centroids: NDArray[np.float32]) -> None:
        groups = [TrainedGroup(*group, centroid) for group, centroid in zip(trained, centroids, strict=True)]
        needed(self._stage, "commit")(groups)

    def covered(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        covered = needed(self._stage, "covered")()
        if not isinstance(covered, tuple) or len(covered) != 2:
            raise StageError(f"`covered`: expected points and mass, got {type(covered).__name__}")
        points, mass = covered
        array = np.asarray(mass, dtype=np.float32)
        if array.ndim != 1:
            raise StageError(f"`covered`: expected mass of shape [points], got {array.shape}")
        # No points yet have no columns either.
        rows = np.zeros((0, 0), np.float32) if not len(points) else matrix(points, "`covered`: points")
        return np.ascontiguousarray(rows), np.ascontiguousarray(array)

    def state(self) -> bytes:
        state = needed(self._stage, "state")()
        if not isinstance(state, bytes):
            raise StageError(f"`state`: expected bytes, got {type(state).__name__}")
        return state

    def resume(self, state: bytes) -> None:
        needed(self._stage, "resume")(state)

    def bound(self) -> int:
        bound = needed(self._stage, "bound")()
        if not isinstance(bound, (int, np.integer)) or isinstance(bound, bool) or bound < 0:
            raise StageError(f"`bound`: expected a number of points, got {bound!r}")
        return int(bound)


class MemoryFactory:
    """What makes a memory for each server: a class or a function without arguments.

    Raises:
        ParameterError: for anything else.
    """

    def __init__(self, make: Any) -> None:
        if not callable(make):
            raise ParameterError(f"stages: server.memory: expected a class or function that makes one, got {make!r}")
        self._make = make

    def make(self) -> Memory:
        return Memory(self._make())
