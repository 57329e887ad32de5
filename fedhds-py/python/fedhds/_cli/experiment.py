"""``fedhds experiment``: several experiments from TOML files, in one table."""

from __future__ import annotations

import argparse
from typing import Any

from .experiments import add_options, work

DESCRIPTION = """\
Run the federated experiments of TOML files, one after the other, each in its own folder, and print one table of all:
methods in conditions, with intervals over seeds.

What is finished is kept in the output folders: the same command goes on after a stop, and ends with the same bits. A
run that fails does not end the others; it is named, the exit code is 1, and the same command tries it again.
"""

EPILOG = """\
examples:
  fedhds experiment conditions.toml --model embedded --dry-run           what it would cost
  fedhds experiment a.toml b.toml --model ./SmolLM2-135M --seeds 1,2,3   one table of both
  fedhds experiment conditions.toml --methods fedhds_robust,random --seeds 1
  fedhds experiment mine.toml --model ./SmolLM2-135M --gate-only         does the quality gate open on my data?
"""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "experiment",
        help="run experiments from TOML files, in one table",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a TOML file")
    parser.add_argument("--seeds", type=_seeds, default=[], metavar="S,S", help="only these seeds, comma-separated")
    parser.add_argument("--methods", type=_names, default=[], metavar="NAME,NAME", help="only these methods")
    parser.add_argument("--conditions", type=_names, default=[], metavar="NAME,NAME", help="only these conditions")
    parser.add_argument(
        "--gate-only", action="store_true", help="only look at the quality gate: does it open on these data?"
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs or prices the experiments."""
    if len(arguments.files) > 1 and arguments.out:
        arguments.parser.error("argument --out: expected one FILE, as each experiment needs a folder of its own")
    return work(arguments, arguments.files, arguments.seeds, arguments.methods, arguments.conditions)


def _seeds(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) < 2**64 for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers of at least 0, comma-separated, got {text}")
    return [int(part) for part in parts]


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
