"""``fedhds simulate``: one experiment from a TOML file."""

from __future__ import annotations

import argparse
from typing import Any

from .experiments import add_options, work

DESCRIPTION = """\
Run the federated experiment of a TOML file and print its table: methods, records, losses, Rouge-L, costs.

What is finished is kept in the output folder: the same command goes on after a stop, and ends with the same bits.
"""

EPILOG = """\
examples:
  fedhds simulate quickstart.toml --model embedded --dry-run     what it would cost
  fedhds simulate quickstart.toml --model embedded --seed 1      one seed of it, on the small model in the package
  fedhds simulate mine.toml --data DIR --model ./SmolLM2-135M --method fedhds_robust --method random
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
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs or prices the experiment."""
    return work(arguments, [arguments.config], arguments.seeds, arguments.methods)
