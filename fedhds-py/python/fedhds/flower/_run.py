"""Flower's loop over the rounds, from a checkpoint on."""

from __future__ import annotations

import os
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from .. import __version__
from .._writing import held
from .._native import ParameterError
from ._checkpoint import Checkpoint, fingerprint, metrics_of, result_of
from ._exchange import Exchange
from ._inner import capture, restore
from ._report import RoundReport
from ._tensors import arrays_of, record_of

logger = getLogger("flwr.fedhds")


class ResumableStrategy(Strategy):
    """A strategy around an inner one, that keeps its run in a checkpoint after each round.

    Args:
        inner: what aggregates.
        checkpoint: the file; None keeps nothing.
        start_with: nodes to wait for before the first round, at least 1.
        exchange: sends messages and waits for replies; None waits for all of them.
    """

    inner: Strategy
    """What aggregates and evaluates."""
    reports: list[RoundReport]
    """What happened in each round, those before a restart included."""

    def __init__(
        self,
        inner: Strategy,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        start_with: int = 1,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(inner, Strategy):
            raise ParameterError(f"inner: expected a strategy of flwr.serverapp.strategy, got {inner!r}")
        if not isinstance(start_with, int) or isinstance(start_with, bool) or start_with < 1:
            raise ParameterError(f"start_with: expected a count of at least 1, got {start_with!r}")
        self.inner = inner
        self.start_with = start_with
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.reports = []
        self._exchange = Exchange() if exchange is None else exchange
        self._experiment = uuid.uuid4().hex

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What must not change between a run and the one that goes on from its checkpoint, in JSON's terms."""

    @abstractmethod
    def _state(self) -> bytes:
        """What it knows between two rounds."""

    @abstractmethod
    def _begin(self, state: bytes | None) -> None:
        """Begins anew, or goes on from a state."""

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Runs the rounds; with a checkpoint, those that are not done yet.

        Args:
            grid: Flower's.
            initial_arrays: what training begins with.
            num_rounds: rounds in all, those before a restart included.
            timeout: seconds to wait for the replies of a phase, of training and of evaluation.
            train_config, evaluate_config: go to the clients in their messages.
            evaluate_fn: evaluates arrays on the server, before the first round and after each.

        Raises:
            CheckpointError: for a checkpoint of other settings, one that another run writes, or an inner strategy that cannot be kept in one.
        """
        with held(self.checkpoint):
            return self._run(
                grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn
            )

    def _run(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int,
        timeout: float,
        train_config: ConfigRecord | None,
        evaluate_config: ConfigRecord | None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None,
    ) -> Result:
        train_config = ConfigRecord() if train_config is None else train_config
        evaluate_config = ConfigRecord() if evaluate_config is None else evaluate_config
        settings = self._all_settings(initial_arrays, train_config) if self.checkpoint is not None else {}
        logger.info("Starting %s strategy:", type(self).__name__)
        self.summary()
        done, arrays, result = self._resume(settings, initial_arrays)
        if done == 0 and evaluate_fn is not None:
            self._evaluate(evaluate_fn, 0, arrays, result)
        if done < num_rounds:
            self._wait(grid)
        for current in range(done + 1, num_rounds + 1):
            logger.info("")
            logger.info("[ROUND %s/%s]", current, num_rounds)
            messages = self.configure_train(current, arrays, train_config, grid)
            trained, metrics = self.aggregate_train(current, self._exchange(grid, messages, "train", timeout))
            if trained is not None:
                result.arrays = arrays = trained
            if metrics is not None:
                result.train_metrics_clientapp[current] = metrics
            messages = self.configure_evaluate(current, arrays, evaluate_config, grid)
            metrics = self.aggregate_evaluate(current, self._exchange(grid, messages, "evaluate", timeout))
            if metrics is not None:
                result.evaluate_metrics_clientapp[current] = metrics
            if evaluate_fn is not None:
                self._evaluate(evaluate_fn, current, arrays, result)
            self._save(settings, current, arrays, result)
        return result

    def _evaluate(
        self,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None],
        number: int,
        arrays: ArrayRecord,
        result: Result,
    ) -> None:
        metrics = evaluate_fn(number, arrays)
        logger.info("Evaluation on the server: %s", metrics)
        if metrics is not None:
            result.evaluate_metrics_serverapp[number] = metrics

    def _wait(self, grid: Grid) -> None:
        while (found := len(list(grid.get_node_ids()))) < self.start_with:
            logger.info("Waiting for nodes to connect: %s connected (at least %s to start)", found, self.start_with)
            time.sleep(1.0)

    def _all_settings(self, arrays: ArrayRecord, config: ConfigRecord) -> dict[str, Any]:
        return self._settings() | {
            "release": __version__,
            "inner": capture(self.inner, {}),
            "train_config": {key: value.hex() if isinstance(value, bytes) else value for key, value in config.items()},
            # Last, as what it differs by is seldom the cause: another seed or rank makes other arrays.
            "initial_arrays": fingerprint(arrays),
        }

    def _resume(self, settings: dict[str, Any], initial: ArrayRecord) -> tuple[int, ArrayRecord, Result]:
        """Finished rounds, the arrays after them and Flower's result so far."""
        found = None if self.checkpoint is None else Checkpoint.read(self.checkpoint)
        if found is None or self.checkpoint is None:
            self._begin(None)
            self._experiment, self.reports = uuid.uuid4().hex, []
            return 0, initial, Result(arrays=initial)
        found.check(settings, self.checkpoint)
        self._begin(found.state)
        restore(self.inner, found.inner, found.inner_arrays)
        self._experiment = found.experiment
        self.reports = [RoundReport.read(report) for report in found.reports]
        logger.info("Going on after round %s from %s", found.round, self.checkpoint)
        return found.round, record_of(found.arrays), result_of(found)

    def _save(self, settings: dict[str, Any], number: int, arrays: ArrayRecord, result: Result) -> None:
        if self.checkpoint is None:
            return
        inner_arrays: dict[str, Any] = {}
        inner = capture(self.inner, inner_arrays)
        Checkpoint(
            settings=settings,
            round=number,
            experiment=self._experiment,
            state=self._state(),
            inner=inner,
            reports=[report.write() for report in self.reports],
            metrics=metrics_of(result),
            arrays=arrays_of(arrays),
            inner_arrays=inner_arrays,
        ).write(self.checkpoint)
