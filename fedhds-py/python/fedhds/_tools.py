"""Rouge-L and whole simulations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import _native
from ._arrays import seed


@dataclass(frozen=True)
class RougeL:
    """Precision, recall and F1, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def rouge_l(
    prediction: str, references: str | Sequence[str], *, flavor: str = "rouge", stemmer: bool = False
) -> RougeL:
    """Rouge-L against the reference that fits best by F1.

    Args:
        prediction: the text that was generated.
        references: one or more right answers.
        flavor: ``"rouge"``, the package that the paper used, or ``"rouge_score"``: their figures must not be compared.
        stemmer: ``rouge_score``'s.

    Example:
        >>> import fedhds
        >>> round(fedhds.rouge_l("a cat sat", "the cat sat", flavor="rouge_score").f1, 3)
        0.667
    """
    texts = [references] if isinstance(references, str) else list(references)
    return RougeL(*_native.rouge_l(prediction, texts, flavor, stemmer))


@dataclass(frozen=True)
class SimulationResult:
    """What an experiment ended with."""

    table: dict[str, Any]
    """Rows, comparisons and notes; of a dry run the stages of the cost."""
    text: str
    """The same for a terminal."""
    out: str
    """The folder of run records, adapters, tables and plots."""


def simulate(
    config: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    proxy: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    seeds: Sequence[int] = (),
    methods: Sequence[str] = (),
    dry_run: bool = False,
) -> SimulationResult:
    """Runs the experiment of a TOML file in this process; what is finished is kept, and the same call goes on after a stop.

    Args:
        config: the file.
        data, model, proxy, out, seeds, methods: in place of the file's.
        dry_run: only state what it would cost.
    """
    numbers = [seed(value, "seeds") for value in seeds]
    table, text, folder = _native.simulate(
        config, data=data, model=model, proxy=proxy, out=out, seeds=numbers, methods=list(methods), dry_run=dry_run
    )
    return SimulationResult(table, text, os.fspath(folder))
