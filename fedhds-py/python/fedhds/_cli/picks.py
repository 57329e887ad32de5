"""``fedhds explain``: why the records of a run were picked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from .._explain import Pick, explain, read_run
from .console import add_common, note, one_line, plural, table, width

DESCRIPTION = """\
Say of the records that a run of `fedhds simulate` or `fedhds experiment` picked why they were picked: the place of their
topic in the server's choice, how covered it was before, the limits that bound, and what the quality gate thought of them.
"""

EPILOG = """\
columns:
  group    the client's number for the group of records (its topic), and how many it holds
  rank     place of the group in the greedy choice of the round, 1 for the first; - for methods that draw or cluster
  gain     what its first record added, in the selector's own unit: compare within a round
  covered  before the round, where the method has a memory: records near it, each counted by its similarity (`0.31`),
           or the distance to the nearest place that was trained on (`4.2 away`)
  caps     limits that the group reached: share (its client gives as much as it may), room (nothing is left of it),
           pass (the open gate keeps back what is left of it)
  score    of the open quality gate: ln of the loss under other prompts over that under its own; - where none was made

examples:
  fedhds explain runs/quickstart/fedhds_robust/seed-1
  fedhds explain runs/conditions/mix/fedhds_robust/seed-1/run.json --round 3 --client 7
  fedhds explain RUN --record task042-17 --refused      whether and why this record was picked or refused
"""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "explain",
        help="say why the records of a run were picked",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    option = parser.add_argument
    option("path", metavar="RUN", help="a run.json, or the folder that it lies in")
    option("--round", type=_whole, metavar="N", help="only this round, from 0")
    option("--client", type=_whole, metavar="N", help="only this client")
    option("--record", metavar="ID", help="only the record with this id")
    option("--refused", action="store_true", help="the records that an open gate refused too")
    option("--show", type=_whole, default=20, metavar="N", help="records of a round that are printed (default 20; 0 is all)")
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the picks of each round."""
    told = read_run(arguments.path)
    picks = explain(
        told, round=arguments.round, client=arguments.client, record=arguments.record, refused=arguments.refused
    )
    about = {name: told.get(name) for name in ("experiment", "condition", "method", "seed")}
    gates = {one["round"]: one.get("gate") for one in told["rounds"]}
    if arguments.json:
        rounds = [
            {"round": number, "gate": gates[number], "picks": [_document(pick) for pick in own]}
            for number, own in groupby(picks, lambda pick: pick.round)
        ]
        print(json.dumps(about | {"rounds": rounds}, ensure_ascii=False, indent=1))
        return 0
    condition = f", condition {about['condition']}" if about["condition"] else ""
    parts = [f"{about['method']} with seed {about['seed']} of {about['experiment']}{condition}: {_taken(picks)}"]
    for number, grouped in groupby(picks, lambda pick: pick.round):
        own = list(grouped)
        shown = own[: arguments.show] if arguments.show else own
        more = f"\nand {len(own) - len(shown):,} more: --show 0 prints all" if len(shown) < len(own) else ""
        parts.append(f"round {number}: {_taken(own)}{_gate(gates[number])}\n{_table(shown)}{more}")
    print("\n\n".join(parts))
    if picks and all(pick.group is None for pick in picks):
        note("this run record says no reasons: it was written by an older release")
    return 0


def _taken(picks: Sequence[Pick]) -> str:
    """How many records."""
    refused = sum(pick.refused for pick in picks)
    text = plural(len(picks) - refused, "record")
    return f"{text}, and {refused:,} refused" if refused else text


def _gate(gate: dict[str, Any] | None) -> str:
    if gate is None:
        return ""
    if not gate["open"]:
        return "; the gate is closed"
    return f"; the gate is open: {gate['bad']:.0%} taken to be bad, passing from a score of {gate['least_score']:.1f}"


def _document(pick: Pick) -> dict[str, Any]:
    fields = asdict(pick)
    del fields["round"]  # it stands above
    return fields


def _table(picks: Sequence[Pick]) -> str:
    rows = [
        (
            pick.client,
            one_line(pick.record, max(width() - 70, 16)),
            _or_dash(pick.group),
            _or_dash(pick.size),
            _or_dash(pick.rank),
            _number(pick.gain),
            _covered(pick),
            ", ".join(pick.caps) or "-",
            _number(pick.score),
            _remark(pick),
        )
        for pick in picks
    ]
    head = ("client", "record", "group", "of", "rank", "gain", "covered", "caps", "score", "")
    return table(head, rows, ("record", "caps", ""))


def _covered(pick: Pick) -> str:
    if pick.covered_distance is not None:
        return f"{_number(pick.covered_distance)} away"
    return _number(pick.covered_records)


def _remark(pick: Pick) -> str:
    remarks = [("refused", pick.refused), ("spare", pick.spare), ("did not count", not pick.counted)]
    return ", ".join(text for text, holds in remarks if holds)


def _or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text}")
    return int(text)
