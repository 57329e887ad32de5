"""The kept records in the form that they came in: lines as they stand, rows of a table, items of a list."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from .._parquet import some_rows
from .console import Failure
from .pool import Pool

#: The endings that ask for a form, with the separator of cells.
_TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def check_out(out: str) -> None:
    """Refuses what cannot be written.

    Raises:
        Failure: that names the file.
    """
    if out.lower().endswith((".zst", ".zstd")):
        raise Failure(f"{out}: Zstandard is read and not written: end the name with .gz or without it")


def written(out: str, pool: Pool, rows: Sequence[int]) -> Iterator[bytes]:
    """What is written of the records of these rows, in parts.

    Most go as lines: a line of a file as it stands there, byte for byte, and else a JSON object on a line. Where the name of ``out`` asks for it
    and all files are of that form, a table is written as CSV, TSV or Parquet, and a JSON list as a list. ``.gz`` packs it.

    Raises:
        Failure: where a table is asked for that the files are not.
        fedhds.Error: where a file changed meanwhile.
    """
    packed = out.lower().endswith((".gz", ".gzip"))
    name = out[: out.rindex(".")] if packed else out
    parts = _form(name, pool, rows)
    return _packed(parts) if packed else parts


def _form(out: str, pool: Pool, rows: Sequence[int]) -> Iterator[bytes]:
    ending = Path(out).suffix.lower()
    forms = {part.form for part in pool.parts}
    if ending in _TABLES:
        if not forms <= {"table", "parquet"}:
            raise Failure(f"{out}: expected a name that ends with .jsonl: only what was a table is written as one")
        return _cells(_TABLES[ending], pool, rows)
    if ending == ".parquet":
        if forms != {"parquet"}:
            raise Failure(f"{out}: expected a name that ends with .jsonl: only what was Parquet is written as Parquet")
        return _parquet(pool, rows)
    lines = (text for _, text in pool.fetch(rows))
    return _list(lines) if ending == ".json" and forms == {"list"} else lines


def _cells(separator: str, pool: Pool, rows: Sequence[int]) -> Iterator[bytes]:
    """A line of column names, and a row for each record."""
    names: list[str] | None = None
    for _, text in pool.fetch(rows):
        row = json.loads(text)
        if names is None:
            names = list(row)
            yield _row(separator, names)
        elif names != list(row):
            raise Failure(f"the files' columns differ: {', '.join(names)} and {', '.join(row)}; write to a name that ends with .jsonl")
        yield _row(separator, [_cell(value) for value in row.values()])


def _row(separator: str, cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(pool: Pool, rows: Sequence[int]) -> Iterator[bytes]:
    files = []
    for at, part in enumerate(pool.parts):
        mine = [pool.place(row).line for row in rows if pool.starts[at] <= row < pool.starts[at + 1]]
        files.append((part.file, part.content, [line for line in mine if line is not None]))
    yield some_rows(files)


def _list(lines: Iterator[bytes]) -> Iterator[bytes]:
    before = b"[\n"
    for line in lines:
        yield before + line.rstrip(b"\r\n")
        before = b",\n"
    yield b"\n]\n"


def _packed(parts: Iterator[bytes]) -> Iterator[bytes]:
    """By gzip, without the time, so that the same records are the same bytes."""
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()
