"""``fedhds report``: one page of any runs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .. import report
from .console import add_common, note, plural

DESCRIPTION = """\
Make the report of runs: one page with what they show in words, tables with intervals, curves, selection maps, costs
and settings, and every table as CSV and Markdown. The page needs no other file and no network.

A file that is damaged or of another release's schema is named and left out.
"""

EPILOG = """\
examples:
  fedhds report runs/conditions                          the experiment's report, in runs/conditions/report
  fedhds report runs/clean runs/dirty --out reports/all  several experiments on one page
"""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report",
        help="make one page of runs, with tables, curves and costs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="folder of an experiment or of a run, or a run.json")
    parser.add_argument("--out", metavar="DIR", help="where the page goes; left out, `report` in the first of RUNS")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Makes the report and says where it is."""
    made = report(arguments.runs, out=arguments.out)
    for file in made.left_out:
        note(f"left out: {file}")
    if arguments.json:
        print(json.dumps({"page": made.page, "runs": made.runs, "left_out": made.left_out}, ensure_ascii=False, indent=1))
    else:
        print(f"report of {plural(made.runs, 'run')}: {made.page}")
    return 0
