"""Records from files."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from . import _native, _parquet
from ._cells import cell, plain
from ._guard import guarded
from ._native import DataError, FileError, ParameterError
from ._records import Record


@dataclass(frozen=True)
class Loaded:
    """A data set, and where each record stood."""

    format: str
    """The format that it was read as."""
    records: list[Record]
    lines: list[int | None]
    """The line of each record, from 1; its number, from 0, in a JSON list, a table or a task; None where it was generated."""
    texts: list[str | None]
    """The line that each record is in the file, or a JSON object on a line, where that was asked for."""
    left_out: int
    """Records that were left out as their response is blank."""
    bad: int = 0
    """Records that were left out as they cannot be used otherwise."""
    first_bad: str | None = None
    """What is wrong with the first of those."""


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    format: str = "guess"
    fields: Mapping[str, str] | None = None
    blank_response: str = "error"
    bad_record: str = "error"
    split: str | None = None


def load(path: str | os.PathLike[str] | None, how: Reading, *, content: bytes | None = None, keep_text: bool = False) -> Loaded:
    """:func:`load_records` with the places of the records; ``content`` is what is in the file where that is in memory."""
    if not isinstance(how.fields, (Mapping, type(None))):
        raise ParameterError(f"fields: expected names of fields by what they hold, got {how.fields!r}")
    name = None if path is None else os.fsdecode(path)
    if name is not None and content is None:
        content = read_once(name)
    if name is not None and how.format != "natural_instructions" and _parquet.is_parquet(name, start_of(name, content)):
        return _load_parquet(name, how, content, keep_text)
    return _load(name, how, content, keep_text)


def _load(name: str | None, how: Reading, content: bytes | None, keep_text: bool) -> Loaded:
    found, records, lines, texts, left = _native.load_records(
        name,
        how.format,
        content,
        fields=how.fields or {},
        blank_response=how.blank_response,
        bad_record=how.bad_record,
        split=how.split,
        keep_text=keep_text,
    )
    return Loaded(found, records, lines, texts, *left)


def _load_parquet(name: str, how: Reading, content: bytes | None, keep_text: bool) -> Loaded:
    """The rows of a Parquet file are a list of objects like any other; cells without a value are empty text."""
    _native.check_format(how.format)
    rows = _parquet.rows(name, content)
    listed = json.dumps([{str(key): cell(value) for key, value in row.items()} for row in rows], ensure_ascii=False).encode()
    asked = Reading("jsonl" if how.format == "table" else how.format, how.fields, how.blank_response, how.bad_record, how.split)
    read = _load(name, asked, listed, keep_text=False)
    texts: list[str | None] = [None] * len(read.records)
    if keep_text:
        # As it stands in the table: numbers are numbers.
        texts = [json.dumps(plain(rows[row or 0]), ensure_ascii=False) + "\n" for row in read.lines]
    format = read.format if read.format == "messages" else "table"
    return Loaded(format, read.records, read.lines, texts, read.left_out, read.bad, read.first_bad)


def read_once(name: str) -> bytes | None:
    """What comes out of a pipe or the like, which can be read once; None for files, folders and what is not there."""
    if not os.path.exists(name) or os.path.isfile(name) or os.path.isdir(name):
        return None
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise FileError(f"{name}: {error.strerror}") from error


def start_of(name: str, content: bytes | None) -> bytes:
    """How a file begins; nothing where there is none, of which its reader will speak."""
    if content is not None:
        return content[:4]
    try:
        with open(name, "rb") as file:
            return file.read(4)
    except (OSError, ValueError):
        return b""


@guarded
def load_records(
    path: str | os.PathLike[str] | None,
    format: str = "jsonl",
    *,
    fields: Mapping[str, str] | None = None,
    blank_response: str = "error",
    bad_record: str = "error",
    split: str | None = None,
) -> list[Record]:
    """Reads a data set. A file that is packed by gzip or Zstandard is read as what is in it.

    Args:
        path: a file; for ``natural_instructions`` a folder with ``tasks/*.json`` and ``splits/default/*_tasks.txt``; None for the generated
            tasks (``embedded``).
        format: the name of a format (``"jsonl"``, ``"alpaca"``, ``"dolly"``, ``"messages"``, ``"table"``, ``"natural_instructions"``, ...: an
            unknown one is answered with all of them), or ``"guess"`` for what the file looks like by its name and its first object. A
            Parquet file is known by how it begins.
        fields: names in place of the format's own: which field or column holds ``instruction``, ``input``, ``response``, ``id``,
            ``category``, ``family``; dots reach into nested objects.
        blank_response: ``"error"``, or ``"skip"`` leaves records with a blank response out.
        bad_record: ``"error"``, or ``"skip"`` leaves records out that cannot be used otherwise: a field is missing or of another kind, a
            conversation has no answer. How many were, and what is wrong with the first, is a warning.
        split: of formats that keep their test records apart (Natural Instructions, the embedded tasks): ``"train"``, which is meant by None,
            or ``"test"``.

    Raises:
        DataError: with file, line (or number in a list) and field.
        FileError: for a file that cannot be read, or a folder in place of a file.
        ParameterError: for an unknown format, and for an option that the format does not have.
    """
    loaded = load(path, Reading(format, fields, blank_response, bad_record, split))
    if loaded.bad:
        warnings.warn(f"{loaded.bad} records cannot be used and are left out, the first since {loaded.first_bad}", stacklevel=2)
    return loaded.records
