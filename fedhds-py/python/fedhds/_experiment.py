"""Whole experiments from TOML files: one at a time, or several in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _native
from ._guard import guarded
from ._arrays import seed
from ._remade import Remade
from ._report import Report

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class SimulationResult:
    """What an experiment ended with."""

    table: dict[str, Any]
    """Rows, comparisons and notes; of conditions, or of several experiments, the whole grid; of a dry run the stages of the cost. With
    ``[until]`` a row's ``until`` says what it took to reach the target: ``reached``, ``cost`` and ``to_random``."""
    text: str
    """The same for a terminal."""
    out: str
    """The folder of run records, adapters, tables and plots; of several experiments that of the first."""
    failed: list[str] = field(default_factory=list)
    """The runs that failed, and why. All others are finished; the same call tries these again."""


@guarded
class Experiments(Remade):
    """Experiments of TOML files, ready to run: files, data and models are read and checked.

    Args:
        configs: one file, or several: each is run in its own folder, and one table has all of them.
        data, model, proxy, judge, out, seeds, methods: in place of the files'; ``out`` of one experiment alone. Seeds are those of single
            conditions too.
        conditions: of the files' conditions these alone; none is all.

    Raises:
        ConfigError: that names file, key, line and column.
        ParameterError: for a folder that several experiments would share.
        FileError, DataError, ModelError: for what cannot be read.
    """

    def __init__(
        self,
        configs: Path | Iterable[Path],
        *,
        data: Path | None = None,
        model: Path | None = None,
        proxy: Path | None = None,
        judge: Path | None = None,
        out: Path | None = None,
        seeds: Sequence[int] = (),
        methods: Sequence[str] = (),
        conditions: Sequence[str] = (),
    ) -> None:
        files = [configs] if isinstance(configs, (str, os.PathLike)) else list(configs)
        given: dict[str, Any] = {
            "data": data,
            "model": model,
            "proxy": proxy,
            "judge": judge,
            "out": out,
            "seeds": [seed(value, "seeds") for value in seeds],
            "methods": list(methods),
            "conditions": list(conditions),
        }
        self._native = _native.Experiments([os.fspath(file) for file in files], **given)
        self._made_of(Experiments, configs=files, **given)

    @property
    def out(self) -> str:
        """The folder of the results; of several experiments that of the first."""
        return str(self._native.out)

    def describe(self) -> list[str]:
        """Data and models of each experiment in words."""
        return self._native.describe()

    def cost(self) -> list[SimulationResult]:
        """What each will cost, from a short measurement: a dry run."""
        return [SimulationResult(table, text, self.out) for table, text in self._native.cost()]

    def run(self) -> SimulationResult:
        """Runs what is not finished; the same experiments go on after a stop. A run that fails does not end the others.

        Raises:
            Error: of the first run, where every one failed.
            CheckpointError: for a folder that holds runs of other settings, or where another process is at work.
        """
        table, text, folder, failed = self._native.run()
        return SimulationResult(table, text, os.fspath(folder), failed)

    def report(self) -> Report:
        """The report of all runs that are finished, in the folder ``report`` of the first experiment.

        Raises:
            InputError: where none is.
            FileError: where it cannot be written.
        """
        page, count, left_out = self._native.report()
        return Report(os.fspath(page), count, left_out)

    def gate_only(self) -> list[SimulationResult]:
        """Does the quality gate open on these data? The gate's part of every method that has one, of each experiment.

        Clients summarize and answer, the server selects, and nothing is trained. A table has a row for each condition: how often the
        gate opened, and the share of bad records that it estimated, beside the true one where a condition knows it. What is finished
        is kept, as by :meth:`run`.

        Raises:
            ConfigError: where no method has a gate.
            Error: of the first federation, where every one failed.
            CheckpointError: as :meth:`run`.
        """
        looked = self._native.gate_only()
        return [SimulationResult(table, text, os.fspath(folder), failed) for table, text, folder, failed in looked]

    def describe_gate_only(self) -> list[str]:
        """What :meth:`gate_only` asks of the model at most, of each experiment in words."""
        return self._native.describe_gate_only()


@guarded
def simulate(
    config: Path,
    *,
    data: Path | None = None,
    model: Path | None = None,
    proxy: Path | None = None,
    judge: Path | None = None,
    out: Path | None = None,
    seeds: Sequence[int] = (),
    methods: Sequence[str] = (),
    conditions: Sequence[str] = (),
    dry_run: bool = False,
) -> SimulationResult:
    """Runs the experiment of a TOML file in this process; what is finished is kept, and the same call goes on after a stop.

    Args:
        config: the file.
        data, model, proxy, judge, out, seeds, methods: in place of the file's.
        conditions: of the file's conditions these alone; none is all.
        dry_run: only state what it would cost.

    Raises:
        Error: as :class:`Experiments`, and as its ``run``.
    """
    given = {"data": data, "model": model, "proxy": proxy, "judge": judge, "out": out}
    prepared = Experiments([config], **given, seeds=seeds, methods=methods, conditions=conditions)
    return prepared.cost()[0] if dry_run else prepared.run()
