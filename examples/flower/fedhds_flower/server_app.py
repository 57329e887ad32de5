"""The server: what was selected in each round, and the loss on tasks that no client has."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from fedhds.flower import arrays_of, record_of

from . import models
from .dataset import test_records
from .settings import Settings, settings_of
from .strategy import make_strategy, selected


def make_app(given: Settings | None = None) -> ServerApp:
    """The ServerApp; with settings of its own instead of Flower's run configuration where they are given."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run(grid, settings_of(context, given))

    return app


def run(grid: Grid, settings: Settings) -> None:
    """All rounds of the federation."""
    strategy, evaluator, test = make_strategy(settings), models.evaluator(settings), test_records(settings)
    first = models.first_adapter(settings)

    def loss(number: int, arrays: ArrayRecord) -> MetricRecord:
        scores = evaluator.evaluate(test, first.with_tensors(arrays_of(arrays)), False)
        mean = float(np.mean([score.loss for score in scores]))
        print(
            f"{selected(strategy)}\n" if number else "",
            f"Loss on {len(test)} records of unseen tasks: {mean:.4f}",
            sep="",
            flush=True,
        )
        return MetricRecord({"test-loss": mean})

    result = strategy.start(
        grid,
        record_of(first.tensors),
        num_rounds=int(settings["num-server-rounds"]),
        timeout=float(settings["train.timeout"]),
        evaluate_fn=loss,
    )
    measured = result.evaluate_metrics_serverapp
    losses = {number: float(cast(float, metrics["test-loss"])) for number, metrics in measured.items()}
    trained = sum(report.records for report in strategy.reports)
    print(
        f"Done: loss {losses[0]:.4f} before, {losses[max(losses)]:.4f} after {max(losses)} rounds on {trained} records",
        flush=True,
    )
    if settings["save-path"]:
        folder = Path(str(settings["save-path"]))
        first.with_tensors(arrays_of(result.arrays)).save(folder, base_model=str(settings["model.path"]) or None)
        print(f"The adapter is in {folder}", flush=True)


app = make_app()
