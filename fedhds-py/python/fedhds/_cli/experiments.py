"""What ``fedhds simulate`` and ``fedhds experiment`` share: models by name, the work, and what is printed of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import Error, Experiments, progress, write_embedded_model
from .console import add_common, note, plural, wants_bars


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that take the place of a file's settings."""
    parser.add_argument("--data", metavar="PATH", help="data set, in place of the file's")
    parser.add_argument("--model", metavar="PATH", help="model to tune; `embedded` is the small one in the package")
    parser.add_argument("--proxy", metavar="PATH", help="model that extracts features; `embedded` as for --model")
    parser.add_argument("--judge", metavar="PATH", help="model that judges responses for a quality gate; left out, the untuned model")
    parser.add_argument("--out", metavar="DIR", help="folder of run records, adapters and tables, of one file alone")
    parser.add_argument("--dry-run", action="store_true", help="state the cost, and do nothing")
    add_common(parser)


def work(
    arguments: argparse.Namespace,
    files: Sequence[str],
    seeds: Sequence[int],
    methods: Sequence[str],
    conditions: Sequence[str] = (),
) -> int:
    """Says what the experiments are and cost, runs them, and prints their table; 1 where a run failed.

    Args:
        arguments: of the command line.
        files: the experiments.
        seeds, methods: in place of the files'.
        conditions: of the files' these alone; none is all.
    """
    with _models(arguments) as models, progress(wants_bars(arguments)):
        experiments = Experiments(
            files,
            data=arguments.data,
            **models,
            out=arguments.out,
            seeds=seeds,
            methods=methods,
            conditions=conditions,
        )
        if getattr(arguments, "gate_only", False):
            return _gate_only(arguments, experiments)
        if arguments.dry_run:
            costs = experiments.cost()
            if arguments.json:
                tables = [cost.table for cost in costs]
                return _document(arguments, experiments.out, tables[0] if len(tables) == 1 else tables, [])
            told = zip(experiments.describe(), costs, strict=True)
            print("\n\n".join(f"{about}\n\n{cost.text.rstrip()}" for about, cost in told))
            return 0
        result = experiments.run()
        page = _report(experiments)
    for run in result.failed:
        note(f"failed: {run}")
    if result.failed:
        note(f"{plural(len(result.failed), 'run')} failed, all others are finished; the same command tries again")
    if arguments.json:
        return _document(arguments, result.out, result.table, result.failed)
    print(result.text.rstrip())
    print(f"\nrun records, adapters and plots: {result.out}")
    if page is not None:
        print(f"report: {page}")
    return 1 if result.failed else 0


def _report(experiments: Experiments) -> str | None:
    """The page of what is finished. The runs are, whether it can be written or not."""
    try:
        return experiments.report().page
    except Error as error:
        note(f"no report was made: {error}")
        return None


def _gate_only(arguments: argparse.Namespace, experiments: Experiments) -> int:
    """The quality gate's part of each experiment, each with a table of its own."""
    if arguments.dry_run:
        told = [f"{a}\n{b}" for a, b in zip(experiments.describe(), experiments.describe_gate_only(), strict=True)]
        if arguments.json:
            return _document(arguments, experiments.out, told[0] if len(told) == 1 else told, [])
        print("\n\n".join(told))
        return 0
    results = experiments.gate_only()
    failed = [run for result in results for run in result.failed]
    for run in failed:
        note(f"failed: {run}")
    if arguments.json:
        tables = [result.table for result in results]
        return _document(arguments, experiments.out, tables[0] if len(tables) == 1 else tables, failed)
    print("\n\n".join(f"{result.text.rstrip()}\n\ntables: {result.out}" for result in results))
    return 1 if failed else 0


def _document(arguments: argparse.Namespace, out: str, table: object, failed: list[str]) -> int:
    document = {"out": out, "dry_run": arguments.dry_run, "table": table, "failed": failed}
    print(json.dumps(document, ensure_ascii=False, indent=1))
    sys.stdout.flush()
    return 1 if failed else 0


@contextlib.contextmanager
def _models(arguments: argparse.Namespace) -> Iterator[dict[str, str | None]]:
    """The models' paths, those of the package's own written to disk for as long as the work lasts."""
    with contextlib.ExitStack() as stack:
        models: dict[str, str | None] = {}
        for name in ("model", "proxy", "judge"):
            path: str | None = getattr(arguments, name)
            if path == "embedded" and not Path("embedded").exists():
                # Results are bound to the content of a model, not to its path: a stopped run goes on with another copy.
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="fedhds-"))
                path = str(Path(arguments.out) / "embedded-model") if arguments.out else made
                write_embedded_model(path)
            models[name] = path
        yield models
