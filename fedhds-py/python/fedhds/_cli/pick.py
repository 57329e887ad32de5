"""The selection behind ``fedhds select``: features, groups, the records that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Client, LayerFeatures, Method, Model, Record, Server, SharedProjection, render
from .._arrays import matrix
from .console import Failure

METHODS = ("fedhds_coverage", "fedhds_shared", "fedhds", "random", "stratified")

#: Columns in which k-means groups: it finds the same in so many random directions as in all, in a fraction of the time.
PROJECTED = 256


@dataclass(frozen=True)
class Features:
    """Features of records."""

    values: NDArray[np.float32]
    """``[n, layers * width]``"""
    layers: int
    facts: dict[str, Any] = field(default_factory=dict)
    """Where they are from."""


@dataclass(frozen=True)
class Picked:
    """What was selected."""

    kept: NDArray[np.int64]
    """Ascending rows."""
    groups: NDArray[np.int64] | None
    """The group of each record, -1 for none; None where there are no features."""
    points: NDArray[np.float32] | None
    """Where the records lie, ``[n, d]``."""


def needs_features(method: str) -> bool:
    """Whether a method looks at features."""
    return bool(Method(method).settings["features"] != "none")


def from_file(path: str, layers: int, records: int) -> Features:
    """Features that ``numpy.save`` wrote, row i for record i."""
    try:
        values = matrix(np.load(path, allow_pickle=False), path)
    except (ValueError, EOFError) as error:
        raise Failure(f"{path}: expected an array [records, columns] as numpy.save writes it: {error}") from error
    if len(values) != records:
        raise Failure(f"{path}: expected {records} rows, one for each record, got {len(values)}")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise Failure(f"{path}: expected finite values, got {values[row, column]} at row {row}, column {column}")
    return Features(values, layers, {"from": path})


def from_model(
    records: Sequence[Record],
    path: str | None,
    *,
    device: str,
    prompt: str,
    layers: str | list[int],
    pooling: str,
    max_tokens: int,
) -> Features:
    """Hidden states of a model; longer records are cut off. No path is the embedded model."""
    model = Model.load(path, device=device) if path else Model.embedded(device=device)
    limit = min(max_tokens, model.max_positions)
    extractor = LayerFeatures(model, prompt=prompt, layers=layers, pooling=pooling, max_tokens=limit, truncate=True)
    texts = ["".join(pair) for pair in render(records, prompt, model)]
    # The end of text is one token more.
    cut = sum(1 for tokens in model.count_tokens(texts) if tokens + model.causal > limit)
    facts = {"from": path or "embedded", "pooling": pooling, "max_tokens": limit, "cut_off": cut}
    return Features(extractor.extract(records), extractor.layers, facts)


def pick(features: Features | None, records: int, method: str, count: int, groups: int | None, seed: int) -> Picked:
    """Selects ``count`` of the records as one client would that trains on its own.

    Args:
        features: None for methods that look at none.
        records: how many there are.
        method: one of :data:`METHODS`.
        count: how many to keep.
        groups: of ``fedhds_coverage``; None is the square root of half the records, at most ``count``.
        seed: of every draw.
    """
    if features is None:
        kept, _ = _round(Method(method, count), None, records, 1, seed)
        return Picked(kept, None, None)
    values, layers = features.values, features.layers
    # The presets are made for clients of a hundred records and budgets of a few of each: in a file a group gives many
    # records, and those nearest to its middle would be near-duplicates. `spread` covers the group instead.
    client: dict[str, Any] = {"selector": "spread"}
    layer_norm = bool(Method(method).settings["client"]["layer_norm"])
    points = _normalised(values, layers) if layer_norm else values
    if method == "fedhds_coverage":
        client["clusterer"] = {"n_clusters": groups or max(1, min(count, round((records / 2) ** 0.5))), "n_init": 3}
        if points.shape[1] > PROJECTED:
            points = SharedProjection(PROJECTED, random_state=seed).fit_transform(points)
        values, layers = points, 1
    kept, labels = _round(Method(method, count, client=client), values, records, layers, seed)
    return Picked(kept, labels, points)


def _round(
    method: Method, values: NDArray[np.float32] | None, records: int, layers: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """One round of one client."""
    client, server = Client(0, method, layers=layers, seed=seed), Server(method, layers=layers, seed=seed)
    start = server.begin_round(0, [0])
    if values is None:
        server.receive(0, client.summarize(start, records=records))
    else:
        server.receive(0, client.summarize(start, values))
    return client.choose(server.select()[0]), client.groups


def _normalised(values: NDArray[np.float32], layers: int) -> NDArray[np.float32]:
    """Each layer's part of a row with mean 0 and variance 1, as the methods with ``layer_norm`` see it."""
    if values.shape[1] % layers:
        raise Failure(f"features: expected columns in {layers} equal parts, got {values.shape[1]} columns")
    out = np.empty_like(values)
    width = values.shape[1] // layers
    for layer in range(layers):
        part = values[:, layer * width : (layer + 1) * width].astype(np.float64)
        part -= part.mean(-1, keepdims=True)
        part /= np.sqrt((part**2).mean(-1, keepdims=True) + 1e-5)
        out[:, layer * width : (layer + 1) * width] = part
    return out
