"""``fedhds simulate``: a whole experiment from a TOML file."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from .. import progress, simulate, write_embedded_model
from .console import add_common, wants_bars

DESCRIPTION = """\
Run the federated experiment of a TOML file and print its table: methods, records, losses, Rouge-L, costs.

What is finished is kept in the output folder: the same command goes on after a stop, and ends with the same bits.
"""

EPILOG = """\
examples:
  fedhds simulate quickstart.toml --model embedded --dry-run     what it would cost
  fedhds simulate quickstart.toml --model embedded --seed 1      one seed of it, on the small model in the package
  fedhds simulate mine.toml --data DIR --model ./SmolLM2-135M --method fedhds_coverage --method random
"""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "simulate",
        help="run a federated experiment from a TOML file",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("config", metavar="CONFIG", help="the TOML file")
    parser.add_argument("--data", metavar="PATH", help="data set, in place of the file's")
    parser.add_argument("--model", metavar="PATH", help="model to tune; `embedded` is the small one in the package")
    parser.add_argument("--proxy", metavar="PATH", help="model that extracts features; `embedded` as for --model")
    parser.add_argument("--out", metavar="DIR", help="folder of run records, adapters and tables")
    parser.add_argument(
        "--seed",
        dest="seeds",
        action="append",
        type=int,
        default=[],
        metavar="S",
        help="only this seed (more than once: these)",
    )
    parser.add_argument(
        "--method",
        dest="methods",
        action="append",
        default=[],
        metavar="NAME",
        help="only this method (more than once: these)",
    )
    parser.add_argument("--dry-run", action="store_true", help="state the cost, and do nothing")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs or prices the experiment."""
    with contextlib.ExitStack() as stack:
        models = {}
        for name in ("model", "proxy"):
            models[name] = getattr(arguments, name)
            if models[name] == "embedded" and not Path("embedded").exists():
                # Results are bound to the content of a model, not to its path: a stopped run goes on with another copy.
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="fedhds-"))
                models[name] = str(Path(arguments.out) / "embedded-model") if arguments.out else made
                write_embedded_model(models[name])
        stack.enter_context(progress(wants_bars(arguments)))
        result = simulate(
            arguments.config,
            data=arguments.data,
            **models,
            out=arguments.out,
            seeds=arguments.seeds,
            methods=arguments.methods,
            dry_run=arguments.dry_run,
        )
    if arguments.json:
        print(
            json.dumps(
                {"out": result.out, "dry_run": arguments.dry_run, "table": result.table}, ensure_ascii=False, indent=1
            )
        )
        return 0
    print(result.text.rstrip())
    if not arguments.dry_run:
        print(f"\nrun records, adapters and plots: {result.out}")
    return 0
