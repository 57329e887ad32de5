"""The records of files, each with the place that it came from and what is written when it is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import InputError, Record, as_records, load_records
from .console import Failure

FORMATS = ("guess", "jsonl", "alpaca", "dolly", "messages", "natural_instructions", "table")

#: Field names of the formats that differ in nothing else.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "jsonl": {},
    "alpaca": {"response": "output"},
    "dolly": {"input": "context", "category": "category"},
}

#: What fields are called in the wild, the likelier name first.
KNOWN: Mapping[str, Sequence[str]] = {
    "instruction": ("instruction", "prompt", "question", "query", "inputs"),
    "input": ("input", "context"),
    "response": ("response", "output", "completion", "answer", "targets", "target"),
    "category": ("category",),
}

TABLES = (".csv", ".tsv", ".parquet")


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
    """Records that were left out as their response is blank (of Natural Instructions they are not counted)."""


def read(files: Sequence[str], format: str, fields: Mapping[str, str], blank_response: str, split: str) -> Pool:
    """Reads files of one format, or each of the one that it looks like.

    Args:
        files: paths.
        format: one of :data:`FORMATS`.
        fields: names in place of the format's own.
        blank_response: ``"error"`` or ``"skip"``.
        split: of Natural Instructions.

    Raises:
        fedhds.Error: with file, line and field.
    """
    records: list[Record] = []
    places: list[Place] = []
    formats: dict[str, str] = {}
    blank = 0
    for file in files:
        one, names = (format, dict(fields)) if format != "guess" else _guess(Path(file), fields)
        formats[file] = one
        if one == "natural_instructions":
            found = load_records(file, one, blank_response=blank_response, split=split)
            pairs = [(record, Place(file, None, _as_line(dataclasses.asdict(record)))) for record in found]
            there = len(pairs)
        elif one == "table":
            pairs, there = _rows(file, _objects_of_table(Path(file)), names, blank_response)
        elif one == "messages":
            pairs, there = _rows(file, _chats(Path(file)), {}, blank_response)
        else:
            found = load_records(file, "jsonl", fields={**FIELDS[one], **names}, blank_response=blank_response)
            pairs, there = _placed(Path(file), found)
        blank += there - len(pairs)
        # Ids name the place, so that an error does.
        records.extend(dataclasses.replace(r, id=f"{p.file}:{r.id if p.line is None else p.line}") for r, p in pairs)
        places.extend(place for _, place in pairs)
    if not records:
        raise Failure(f"{', '.join(files)}: expected records, got none with a response")
    return Pool(records, places, formats, blank)


def _as_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


Pairs = list[tuple[Record, Place]]
Rows = list[tuple[int, Mapping[str, Any], bytes]]
"""Number, object, and what is written for it."""


def _placed(path: Path, records: Sequence[Record]) -> tuple[Pairs, int]:
    """Records of JSON lines, or of a JSON list, with their lines, and how many objects there are."""
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    listed = raw.lstrip()[:1] == b"["
    items: list[bytes] = []
    if listed:
        items = [_as_line(item) for item in json.loads(raw)]
    else:
        items = [line if line.endswith(b"\n") else line + b"\n" for line in raw.split(b"\n")]
    pairs = []
    for record in records:
        # Without a field for ids, an id ends in the line's number from 1, or the list's from 0.
        number = int(record.id.rpartition("-")[2])
        pairs.append((record, Place(str(path), number, items[number if listed else number - 1])))
    return pairs, sum(1 for item in items if item.strip())


def _rows(file: str, objects: Rows, names: Mapping[str, str], blank_response: str) -> tuple[Pairs, int]:
    """Records of objects that are already in memory, and how many objects there are."""
    pairs: Pairs = []
    response = names.get("response", "response")
    for number, value, raw in objects:
        if not str(value.get(response, "")).strip() and blank_response == "skip":
            continue
        try:
            pairs.extend((record, Place(file, number, raw)) for record in as_records([value], **names))
        except InputError as error:
            raise Failure(f"{file}:{number}: {str(error).removeprefix('records: row 0: ')}") from error
    return pairs, len(objects)


def _objects_of_table(path: Path) -> Rows:
    """The rows of a CSV, TSV or Parquet file; cells without a value are empty text."""
    try:
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise Failure(f"{path}: a {path.suffix} file is read by pandas, which is not installed") from error
    try:
        if path.suffix == ".parquet":
            frame = pandas.read_parquet(path)
        else:
            frame = pandas.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    except (ValueError, ImportError) as error:
        raise Failure(f"{path}: expected a table: {error}") from error
    filled = frame.astype(object).where(frame.notna(), "").astype(str)
    rows = [{str(name): text for name, text in row.items()} for row in filled.to_dict("records")]
    return [(number, row, _as_line(row)) for number, row in enumerate(rows)]


def _objects(path: Path) -> Iterator[tuple[int, Any, bytes]]:
    """The values of JSON lines (from 1) or of a JSON list (from 0), with what is written for them."""
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        if raw.lstrip()[:1] == b"[":
            yield from ((number, item, _as_line(item)) for number, item in enumerate(json.loads(raw)))
            return
        for number, line in enumerate(raw.split(b"\n"), 1):
            if line.strip():
                yield number, json.loads(line), line + b"\n"
    except ValueError as error:
        where = "" if raw.lstrip()[:1] == b"[" else f":{number}"
        raise Failure(f"{path}{where}: expected JSON: {error}") from error


def _chats(path: Path) -> Rows:
    """Conversations: the assistant's last turn is the response, the turns before it are the instruction."""
    rows: Rows = []
    for number, value, raw in _objects(path):
        turns = value.get("messages", value.get("conversations")) if isinstance(value, dict) else None
        said = [_turn(turn) for turn in turns] if isinstance(turns, list) else []
        last = max((at for at, (role, _) in enumerate(said) if role in ("assistant", "gpt", "model")), default=0)
        if last == 0:
            expected = "`messages` (or `conversations`) with an assistant's turn behind another"
            raise Failure(f"{path}:{number}: expected {expected}, got none")
        asked = "\n\n".join(text for _, text in said[:last] if text.strip())
        rows.append((number, {"instruction": asked, "response": said[last][1]}, raw))
    return rows


def _turn(turn: Any) -> tuple[str, str]:
    """Role and text of a turn in OpenAI's or ShareGPT's spelling."""
    if not isinstance(turn, dict):
        return "", ""
    role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    return str(role), text if isinstance(text, str) else ""


def _guess(path: Path, fields: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The format of a file, by its name and its first object, and the names of its fields."""
    if path.is_dir():
        return "natural_instructions", dict(fields)
    if path.suffix.lower() in TABLES:
        rows = _objects_of_table(path)
        first: Any = rows[0][1] if rows else {}
    else:
        first = next((value for _, value, _ in _objects(path)), {})
    if not isinstance(first, dict):
        raise Failure(f"{path}: expected one JSON object a line, or a list of objects; got another value")
    if isinstance(first.get("messages", first.get("conversations")), list) and not fields:
        return "messages", {}
    names = dict(fields)
    for role, known in KNOWN.items():
        name = next((name for name in known if name in first), None)
        if role not in names and name is not None:
            names[role] = name
    if "instruction" not in names or "response" not in names:
        lacking = "an instruction" if "instruction" not in names else "a response"
        has = ", ".join(first) or "none"
        raise Failure(
            f"{path}: no field looks like {lacking} (fields: {has}): name them by --instruction and --response"
        )
    if path.suffix.lower() in TABLES:
        return "table", names
    for format, own in FIELDS.items():
        plain = {"instruction": "instruction", "input": "input", "response": "response", **own}
        if {k: v for k, v in names.items() if v in first} == {k: v for k, v in plain.items() if v in first}:
            return format, names
    return "jsonl", names
