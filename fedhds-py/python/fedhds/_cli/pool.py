"""The records of files: what is made of each as it is read, and the few that are read again.

A file of one record a line is read twice and never held: once for features, and once for the lines that are kept. Other formats, tables
and lists among them, are read whole.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import Record, _native
from .._records import Loaded, load

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Place:
    """Where a record stands."""

    file: str
    line: int | None
    """Its line, from 1; in a JSON list or a table its number, from 0; None in formats of many files."""


@dataclass(frozen=True)
class Options:
    """How files are read."""

    format: str = "guess"
    """The name of a format, or ``"guess"`` for what each file looks like."""
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names in place of the format's own."""
    blank_response: str = "error"
    split: str | None = None

    def load(self, file: str) -> Loaded:
        """Reads a file whole."""
        return load(file, self.format, self.fields, self.blank_response, self.split, keep_text=True)


class Part:
    """The records of one file."""

    def __init__(self, file: str, lines: Sequence[int | None]) -> None:
        self.file = file
        self.lines = lines

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        """These records, ascending rows of the file, each with what is written when it is kept."""
        raise NotImplementedError


class _Held(Part):
    """What was read whole."""

    def __init__(self, file: str, loaded: Loaded) -> None:
        many = Path(file).is_dir()
        super().__init__(file, [None] * len(loaded.lines) if many else loaded.lines)
        self._loaded = loaded

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        for row in rows:
            yield self._loaded.records[row], (self._loaded.texts[row] or "").encode()


class _Lines(Part):
    """A file of one record a line, of which the lines are known."""

    def __init__(self, file: str, lines: Sequence[int | None], options: Options) -> None:
        super().__init__(file, lines)
        self._options = options

    def fetch(self, rows: Sequence[int]) -> Iterator[tuple[Record, bytes]]:
        wanted = iter(rows)
        texts: list[bytes] = []
        with open(self.file, "rb") as opened:
            row = next(wanted, None)
            for number, text in enumerate(opened, 1):
                if row is None:
                    break
                if number != self.lines[row]:
                    continue
                text = text.removeprefix(_MARK) if number == 1 else text
                texts.append(text if text.endswith(b"\n") else text + b"\n")
                row = next(wanted, None)
                if len(texts) == 1024:
                    yield from self._records(texts)
                    texts = []
        if texts:
            yield from self._records(texts)

    def _records(self, texts: list[bytes]) -> Iterator[tuple[Record, bytes]]:
        found = _native.load_records(
            self.file,
            self._options.format,
            b"".join(texts),
            fields=self._options.fields,
            blank_response=self._options.blank_response,
            split=self._options.split,
        )
        yield from zip(found[1], texts, strict=True)


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
    starts, blank = [0], 0
    for file in files:
        part, formats[file], left_out = _part(scan, file, options)
        blank += left_out
        parts.append(part)
        starts.append(starts[-1] + len(part.lines))
    values, copies, category, categories = scan.finish()
    return Pool(parts, starts, formats, blank, values, copies, category, categories)


def _part(scan: _native.TextScan, file: str, options: Options) -> tuple[Part, str, int]:
    """A file's records, its format, and how many are left out; the scan has them."""
    # What is no file, a pipe for example, is read once; only Python reads Parquet.
    if os.path.exists(file) and (not os.path.isfile(file) or file.lower().endswith(".parquet")):
        loaded = options.load(file)
        scan.add(loaded.records)
        return _Held(file, loaded), loaded.format, loaded.left_out
    found, fields, by_line, lines, left_out = scan.read(
        file,
        options.format,
        fields=options.fields,
        blank_response=options.blank_response,
        split=options.split,
    )
    if not by_line:
        return _Held(file, options.load(file)), found, left_out
    return _Lines(file, lines, dataclasses.replace(options, format=found, fields=fields)), found, left_out
