"""The selection behind ``fedhds select``: features, groups, the records that are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Client, LayerFeatures, Method, Model, Record, Server, SharedProjection, _native, render
from .._arrays import matrix
from .console import Failure

METHODS = ("fedhds_robust", "fedhds_coverage", "fedhds_shared", "fedhds", "random", "stratified")

#: Most groups of ``fedhds_robust``: what a selection costs grows with their square.
MOST_GROUPS = 5000

#: Groups that k-means finds at once.
SMALL = 256

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
    of_text: bool = False
    """Whether they are those of the records' texts, which lie in the shared frame already."""


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


def from_text(values: NDArray[np.float32]) -> Features:
    """Features of the records' texts."""
    return Features(values, 1, {"from": "text"}, of_text=True)


def from_model(
    records: Sequence[Record],
    path: str,
    *,
    device: str,
    activations: str,
    prompt: str,
    layers: str | list[int],
    pooling: str,
    max_tokens: int,
) -> Features:
    """Hidden states of a model; longer records are cut off."""
    embedded = path == "embedded" and not os.path.exists(path)
    model = Model.embedded(device=device) if embedded else Model.load(path, device=device, activations=activations)
    limit = min(max_tokens, model.max_positions)
    extractor = LayerFeatures(model, prompt=prompt, layers=layers, pooling=pooling, max_tokens=limit, truncate=True)
    texts = ["".join(pair) for pair in render(records, prompt, model)]
    # The end of text is one token more.
    cut = sum(1 for tokens in model.count_tokens(texts) if tokens + model.causal > limit)
    facts = {"from": path, "pooling": pooling, "max_tokens": limit, "cut_off": cut}
    return Features(extractor.extract(records), extractor.layers, facts)


def pick(
    features: Features | None,
    records: int,
    method: str,
    count: int,
    groups: int | None,
    seed: int,
    copies: NDArray[np.int64] | None = None,
) -> Picked:
    """Selects ``count`` of the records as one client would that trains on its own.

    Args:
        features: None for methods that look at none.
        records: how many there are.
        method: one of :data:`METHODS`.
        count: how many to keep.
        groups: of ``fedhds_robust`` and ``fedhds_coverage``; None is six records a group, at most :data:`MOST_GROUPS`, of the one, and the
            square root of half the records, at most ``count``, of the other.
        seed: of every draw.
        copies: which near copy each record is of: of those of one number one may be kept.
    """
    if features is None:
        kept, _ = _round(Method(method, count), None, records, 1, seed, None)
        return Picked(kept, None, None)
    values, layers = features.values, features.layers
    # Features of a model's layers differ in size by layer; those of texts have length 1, and fedhds_robust is made for them.
    wants_norm = method == "fedhds_robust" or bool(Method(method).settings["client"]["layer_norm"])
    layer_norm = wants_norm and not features.of_text
    points = _normalised(values, layers) if layer_norm else values
    client: dict[str, Any] = {"layer_norm": layer_norm}
    server: dict[str, Any] = {}
    stages: dict[str, Any] = {}
    if method == "fedhds_robust":
        # The preset is made for clients of a hundred records. Nobody judges, and no other client is to be spared.
        wanted = groups or max(1, min(MOST_GROUPS, len(values) // 6))
        stages["client.clusterer"] = TwoLevels(wanted)
        server |= {"gate": "none", "limits": {"max_groups": wanted}}
        client |= {"shared_dims": values.shape[1]} if features.of_text else {}
    else:
        # The presets are made for clients of a hundred records and budgets of a few of each: in a file a group gives many
        # records, and those nearest to its middle would be near-duplicates. `spread` covers the group instead.
        client["selector"] = "spread"
    if method == "fedhds_coverage":
        client["clusterer"] = {"n_clusters": groups or max(1, min(count, round((records / 2) ** 0.5))), "n_init": 3}
        if points.shape[1] > PROJECTED:
            points = SharedProjection(PROJECTED, random_state=seed).fit_transform(points)
        values, layers = points, 1
    chosen = Method(
        method, count, stages=stages, features="text" if features.of_text else "model", client=client, server=server
    )
    kept, labels = _round(chosen, values, records, layers, seed, copies)
    return Picked(kept, labels, points)


class TwoLevels:
    """Groups of many rows: k-means finds the root of so many, and in each of them its part of so many.

    One k-means of thousands of groups measures every row against every group; this measures a row against two roots of that.

    Args:
        wanted: how many groups; fewer where fewer rows are distinct.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted

    def cluster(self, points: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
        """A group for each row, ``[n]``."""
        if self._wanted <= SMALL:
            return _kmeans(points, self._wanted, seed)
        roots = round(self._wanted**0.5)
        first = _kmeans(points, roots, seed)
        order = np.argsort(first, kind="stable")
        found = np.empty(len(points), dtype=np.int64)
        groups = 0
        for rows in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
            share = 1 + int((self._wanted - roots) * len(rows) / len(points))
            labels = _kmeans(np.ascontiguousarray(points[rows]), share, seed)
            found[rows] = groups + labels
            groups += int(labels.max()) + 1
        return found


def _kmeans(points: NDArray[np.float32], groups: int, seed: int) -> NDArray[np.int64]:
    settings = json.dumps({"n_clusters": groups, "n_init": 1, "max_iter": 12})
    (labels, _, _), _, _ = _native.kmeans(settings, points, seed)
    return labels


def _round(
    method: Method,
    values: NDArray[np.float32] | None,
    records: int,
    layers: int,
    seed: int,
    copies: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """One round of one client; a copy is in the group of what stands for it."""
    client, server = Client(0, method, layers=layers, seed=seed), Server(method, layers=layers, seed=seed)
    start = server.begin_round(0, [0])
    if values is None:
        server.receive(0, client.summarize(start, records=records))
    else:
        server.receive(0, client.summarize(start, values, copies=copies))
    kept, labels = client.choose(server.select()[0]), client.groups
    if labels is not None and copies is not None:
        grouped = np.flatnonzero(labels >= 0)
        of_copy = np.full(int(copies.max()) + 1, -1, dtype=np.int64)
        of_copy[copies[grouped]] = labels[grouped]
        labels = of_copy[copies]
    return kept, labels


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
