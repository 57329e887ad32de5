"""The records of files, each with the place that it came from and what is written when it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import Record
from .._records import load


@dataclass(frozen=True)
class Place:
    """Where a record stands."""

    file: str
    line: int | None
    """Its line, from 1; in a JSON list or a table its number, from 0; None in formats of many files."""
    raw: bytes
    """What is written when it is kept: its line as it stands in the file, or a JSON object on a line."""


@dataclass(frozen=True)
class Pool:
    """Every record of the files, in order."""

    records: list[Record]
    places: list[Place]
    formats: dict[str, str]
    """The format of each file."""
    blank: int
    """Records that were left out as their response is blank."""


def read(
    files: Sequence[str], format: str, fields: Mapping[str, str], blank_response: str, split: str | None
) -> Pool:
    """Reads files of one format, or each of the one that it looks like.

    Args:
        files: paths.
        format: the name of a format, or ``"guess"``.
        fields: names in place of the format's own.
        blank_response: ``"error"`` or ``"skip"``.
        split: of formats that keep their test records apart.

    Raises:
        fedhds.Error: with file, line and field.
    """
    records: list[Record] = []
    places: list[Place] = []
    formats: dict[str, str] = {}
    blank = 0
    for file in files:
        loaded = load(file, format, fields, blank_response, split, keep_text=True)
        formats[file] = loaded.format
        blank += loaded.left_out
        many = Path(file).is_dir()
        for record, line, text in zip(loaded.records, loaded.lines, loaded.texts, strict=True):
            place = Place(file, None if many else line, (text or "").encode())
            places.append(place)
            # Ids name the place, so that an error does.
            name = record.id if place.line is None else place.line
            records.append(dataclasses.replace(record, id=f"{file}:{name}"))
    return Pool(records, places, formats, blank)
