"""What the commands share: where text goes, how it is cut, and when there are progress bars."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from .. import Error


class Failure(Error):
    """Work that failed for a reason that the command itself found."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options that every command has."""
    parser.add_argument("--json", action="store_true", help="print one JSON document to stdout instead of text")
    parser.add_argument(
        "--quiet", action="store_true", help="no progress bars; there are none where stderr is no terminal"
    )


def wants_bars(arguments: argparse.Namespace) -> bool:
    """Whether progress is shown: on a terminal, where tqdm is installed to draw it."""
    return not arguments.quiet and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def note(text: str) -> None:
    """Something that the reader of a result should know, on stderr."""
    print(f"fedhds: {text}", file=sys.stderr, flush=True)


def width() -> int:
    """Columns of the terminal, between 60 and 160; 120 where there is none."""
    return min(max(shutil.get_terminal_size((120, 24)).columns, 60), 160)


def one_line(text: str, columns: int) -> str:
    """``text`` on one line of at most ``columns`` columns, without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if _columns(text) <= columns:
        return text
    kept, used = [], 1  # the dots take a column
    for char in text:
        used += _columns(char)
        if used > columns:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"


def _columns(text: str) -> int:
    """Columns that a terminal gives to a text: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], left: Sequence[str] = ()) -> str:
    """Rows under their headings; columns are right-aligned but for those named in ``left``."""
    cells = [[str(cell) for cell in row] for row in [list(head), *rows]]
    sizes = [max(_columns(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = []
        for name, cell, size in zip(head, row, sizes):
            blank = " " * (size - _columns(cell))
            padded.append(cell + blank if name in left else blank + cell)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 record``, ``1,200 records``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
