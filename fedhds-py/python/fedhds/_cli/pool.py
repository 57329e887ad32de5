"""The records of files: what is made of each as it is read, and the few that are read again.

A file of one record a line is read twice and never held, packed or not: once for features, and once for the lines that are kept. Other
formats, tables and lists among them, and what can be read only once (a pipe, ``-`` for stdin) are read whole.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import DataError, Record, _native
from .._files import Loaded, Reading, load, read_once, start_of
from .._parquet import is_parquet

STDIN = "-"


@dataclass(frozen=True)
class Place:
    """Where a record stands."""

    file: str
    line: int | None
    """Its line, from 1; in a JSON list or a table its number, from 0; None in formats of many files."""


@dataclass(frozen=True)
class Options(Reading):
    """How files are read: of one format, or each of the one that it looks like."""

    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Part:
    """The records of one file."""

    form: str
    """``"lines"``, ``"list"``, ``"table"``, ``"parquet"`` or ``"folder"``."""
    content: bytes | None = None
    """What is in the file, where it cannot be read again."""

    def __init__(self, file: str, lines: Sequence[int | None], form: str) -> None:
        self.file = file
        self.lines = lines
        self.form = form

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        """These records, ascending rows of the file, each with what is written when it is kept."""
        raise NotImplementedError


class _Held(Part):
    """What was read whole."""

    def __init__(self, file: str, loaded: Loaded, form: str, content: bytes | None = None) -> None:
        super().__init__(file, [None] * len(loaded.lines) if form == "folder" else loaded.lines, form)
        self.content = content
        self._loaded = loaded

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        for row in rows:
            yield self._loaded.records[row], (self._loaded.texts[row] or "").encode()


class _Lines(Part):
    """A file of one record a line, of which the lines are known."""

    def __init__(self, file: str, lines: Sequence[int | None], options: Options) -> None:
        super().__init__(file, lines, "lines")
        self._options = options

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        opened = _native.Lines(self.file)
        for at in range(0, len(rows), 1024):
            numbers = [self.lines[row] or 0 for row in rows[at : at + 1024]]
            texts = opened.take(numbers)
            loaded = load(self.file, self._options, content=b"".join(texts))
            if len(loaded.records) != len(texts):
                raise DataError(f"{self.file}: expected the records of the first reading again, got others: the file changed")
            yield from zip(loaded.records, texts, strict=True)


@dataclass(frozen=True)
class Pool:
    """Every record of the files, in order."""

    parts: list[Part]
    starts: list[int]
    """The row at which each part begins, and the number of all records."""
    formats: dict[str, str]
    """The format of each file."""
    blank: int
    """Records that were left out as their response is blank."""
    bad: int
    """Records that were left out as they cannot be used otherwise."""
    first_bad: str | None
    """What is wrong with the first of those."""
    values: NDArray[np.float32]
    """Features of the records' texts, ``[n, dims]``."""
    copies: NDArray[np.int64]
    """Which near copy each record is of, ``[n]``."""
    category: NDArray[np.uint32]
    """The number of each record's category, ``[n]``."""
    categories: list[str]

    def __len__(self) -> int:
        return self.starts[-1]

    def place(self, row: int) -> Place:
        """Where a record stands."""
        at = int(np.searchsorted(self.starts, row, side="right")) - 1
        part = self.parts[at]
        return Place(part.file, part.lines[row - self.starts[at]])

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        """These records, by ascending rows, each with what is written when it is kept: its line as it stands in the file, or a JSON object
        on a line. Ids name the place, so that an error does.
        """
        for at, part in enumerate(self.parts):
            start, end = self.starts[at], self.starts[at + 1]
            mine = [row - start for row in rows if start <= row < end]
            for row, (record, text) in zip(mine, part.fetch(mine), strict=True):
                line = part.lines[row]
                yield dataclasses.replace(record, id=f"{part.file}:{record.id if line is None else line}"), text


def read(files: Sequence[str], options: Options) -> Pool:
    """Reads files of one format, or each of the one that it looks like.

    Raises:
        fedhds.Error: with file, line and field.
    """
    scan = _native.TextScan(_native.TextFeaturesConfig(), _native.NearCopiesConfig())
    parts: list[Part] = []
    formats: dict[str, str] = {}
    starts, blank, bad, first_bad = [0], 0, 0, None
    for file in files:
        part, formats[file], left_out = _part(scan, file, options)
        blank, bad, first_bad = blank + left_out[0], bad + left_out[1], first_bad or left_out[2]
        parts.append(part)
        starts.append(starts[-1] + len(part.lines))
    values, copies, category, categories = scan.finish()
    return Pool(parts, starts, formats, blank, bad, first_bad, values, copies, category, categories)


_Left = tuple[int, int, str | None]
"""How many are left out as their response is blank, how many for another reason, and the first of those reasons."""


def _part(scan: _native.TextScan, file: str, options: Options) -> tuple[Part, str, _Left]:
    """A file's records, its format, and what is left out; the scan has the records."""
    content = sys.stdin.buffer.read() if file == STDIN else read_once(file)
    parquet, folder = is_parquet(file, start_of(file, content)), content is None and os.path.isdir(file)
    if content is not None or folder or parquet:
        loaded = load("stdin" if file == STDIN else file, options, content=content, keep_text=True)
        scan.add(loaded.records)
        form = "folder" if folder else "parquet" if parquet else _form(loaded.format, content)
        return _Held(file, loaded, form, content), loaded.format, (loaded.left_out, loaded.bad, loaded.first_bad)
    found, fields, by_line, lines, left_out = scan.read(
        file,
        options.format,
        fields=options.fields,
        blank_response=options.blank_response,
        bad_record=options.bad_record,
        split=options.split,
    )
    if not by_line:
        loaded = load(file, options, keep_text=True)
        return _Held(file, loaded, _form(found, None)), found, left_out
    return _Lines(file, lines, dataclasses.replace(options, format=found, fields=fields)), found, left_out


def _form(format: str, content: bytes | None) -> str:
    """What was read whole: a table, a list, or lines of a pipe."""
    if format == "table":
        return "table"
    return "list" if content is None or content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" else "lines"
