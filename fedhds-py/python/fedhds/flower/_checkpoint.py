"""The server app's checkpoint: one file after each round, from which the next run goes on.

It is an npz archive without pickled objects: arrays, and one text in JSON. Reading a foreign file runs no code.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Result
from numpy.typing import NDArray

from .._writing import replacing
from .._native import CheckpointError
from ._tensors import arrays_of, record_of

VERSION = 3
_TEXT = "checkpoint.json"
# What NumPy, zipfile and json raise for files that are none of theirs.
_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError, OverflowError, RuntimeError, SyntaxError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass
class Checkpoint:
    """All that a run needs to go on."""

    settings: dict[str, Any]
    """What must be the same in the run that goes on."""
    round: int
    """The last round that is finished."""
    experiment: str
    state: bytes
    """The selection's, with what its aggregator and memory keep between rounds."""
    inner: dict[str, Any]
    """The inner strategy's attributes."""
    reports: list[dict[str, Any]]
    metrics: dict[str, dict[str, dict[str, Any]]]
    """Flower's metrics by kind, round and name."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The global arrays in their order."""
    inner_arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the file so that at any moment there is a whole one: under another name first.

        Raises:
            CheckpointError: when it cannot be written.
        """
        text = {name: getattr(self, name) for name in _FIELDS} | {
            "version": VERSION,
            "arrays": list(self.arrays),
            "inner_arrays": list(self.inner_arrays),
        }
        named = {f"arrays/{i}": array for i, array in enumerate(self.arrays.values())}
        named |= {f"inner/{i}": array for i, array in enumerate(self.inner_arrays.values())}
        named["state"] = np.frombuffer(self.state, dtype=np.uint8)
        encoded = np.frombuffer(json.dumps(text).encode(), dtype=np.uint8)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, **{_TEXT: encoded, **named})
        except OSError as error:
            raise CheckpointError(f"checkpoint {path}: expected a file that can be written: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Checkpoint | None:
        """The checkpoint of a file; None where there is no file.

        Raises:
            CheckpointError: for a file that is none.
        """
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                text = json.loads(archive[_TEXT].tobytes().decode())
                if text.pop("version") != VERSION:
                    raise ValueError(f"a version other than {VERSION}")
                arrays = {name: archive[f"arrays/{i}"] for i, name in enumerate(text.pop("arrays"))}
                inner = {name: archive[f"inner/{i}"] for i, name in enumerate(text.pop("inner_arrays"))}
                state = archive["state"].tobytes()
            return cls(**text, state=state, arrays=arrays, inner_arrays=inner)
        except _DAMAGE as error:
            raise CheckpointError(
                f"checkpoint {path}: expected a checkpoint of this version, got another file: {error}"
            ) from error

    def check(self, settings: Mapping[str, Any], path: Path) -> None:
        """Whether it is of a run with these settings, and of one that can go on.

        Raises:
            CheckpointError: that names the first setting which differs, or an array that is not finite.
        """
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CheckpointError(f"checkpoint {path}: array `{name}`: expected finite values, got others: no client can train from it")
        # Through JSON once, as the file's went: tuples become lists there.
        ours = json.loads(json.dumps(settings))
        for name in {**ours, **self.settings}:
            if ours.get(name) != self.settings.get(name):
                where, mine, theirs = _difference(name, ours.get(name), self.settings.get(name))
                raise CheckpointError(
                    f"checkpoint {path}: {where}: expected {mine!r}, as this run has it, got {theirs!r}; "
                    "give the settings that it was written with, or another path"
                )


_FIELDS = ("settings", "round", "experiment", "inner", "reports", "metrics")


def _difference(where: str, mine: Any, theirs: Any) -> tuple[str, Any, Any]:
    """The innermost setting that differs."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                return _difference(f"{where}.{name}", mine.get(name), theirs.get(name))
    return where, mine, theirs


def fingerprint(arrays: ArrayRecord) -> dict[str, str]:
    """Names, shapes and a digest of each array."""
    found = {}
    for name, array in arrays_of(arrays).items():
        digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
        found[name] = f"{array.dtype} {list(array.shape)} {digest}"
    return found


_KINDS = ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp")


def metrics_of(result: Result) -> dict[str, dict[str, dict[str, Any]]]:
    """Flower's result without its arrays, in JSON's terms."""
    return {
        kind: {str(number): dict(metrics.items()) for number, metrics in getattr(result, kind).items()}
        for kind in _KINDS
    }


def result_of(checkpoint: Checkpoint) -> Result:
    """Flower's result up to the checkpoint."""
    result = Result(arrays=record_of(checkpoint.arrays))
    for kind in _KINDS:
        found = checkpoint.metrics.get(kind, {})
        getattr(result, kind).update({int(number): MetricRecord(metrics) for number, metrics in found.items()})
    return result
