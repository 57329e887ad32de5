"""The Kullback-Leibler divergence of maps, the same for both sides: exact, in f64, with affinities of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Reduce = Callable[[np.ndarray, float, int], np.ndarray]


def load(folder: Path, work: str) -> list[np.ndarray]:
    """The data of each seed."""
    return [np.load(path) for path in sorted(folder.glob(f"{work}_[0-9].npy"))]


def divergence(data: list[np.ndarray], reduce: Reduce, score: bool = True) -> dict[str, float]:
    """The mean over the data sets, each with its number as the seed."""
    found = []
    for seed, x in enumerate(data):
        perplexity = min(30.0, (len(x) - 1) / 3)
        reduced = np.asarray(reduce(x, perplexity, seed), dtype=np.float64)
        if score:
            found.append(_divergence(x.astype(np.float64), reduced, perplexity))
    return {"KL": float(np.mean(found))} if score else {}


def _squared(x: np.ndarray) -> np.ndarray:
    squared = (x**2).sum(1)[:, None] + (x**2).sum(1)[None, :] - 2 * x @ x.T
    np.fill_diagonal(squared, 0)
    return np.maximum(squared, 0)


def _affinities(x: np.ndarray, perplexity: float) -> np.ndarray:
    squared, n = _squared(x), len(x)
    p = np.zeros((n, n))
    for i in range(n):
        others = np.arange(n) != i
        distances = squared[i, others] - squared[i, others].min()
        low, high, beta = 0.0, np.inf, 1.0
        for _ in range(200):
            row = np.exp(-distances * beta)
            row /= row.sum()
            entropy = -(row * np.log(np.maximum(row, 1e-300))).sum()
            if abs(entropy - np.log(perplexity)) < 1e-10:
                break
            if entropy > np.log(perplexity):
                low, beta = beta, beta * 2 if high == np.inf else (beta + high) / 2
            else:
                high, beta = beta, (beta + low) / 2
        p[i, others] = row
    return (p + p.T) / (2 * n)


def _divergence(x: np.ndarray, reduced: np.ndarray, perplexity: float) -> float:
    p = _affinities(x, perplexity)
    q = 1 / (1 + _squared(reduced))
    np.fill_diagonal(q, 0)
    q /= q.sum()
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
