"""What a selection kept and why: groups, and which kept record stands for which others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Record
from .console import one_line, plural, table, width
from .pool import Place


@dataclass(frozen=True)
class KeptRecord:
    """A record that is kept."""

    file: str
    line: int | None
    """From 1; in a JSON list or a table from 0; None in formats of many files."""
    id: str
    """Within the file."""
    group: int | None
    """None where the method makes no groups."""
    stands_for: int | None
    """Records that lie nearer to it than to any other kept one, itself included; None where there are no features."""
    text: str


@dataclass(frozen=True)
class GroupOfRecords:
    """A group that the method found."""

    group: int
    """0 for the largest; -1 for the records that are in no group."""
    records: int
    kept: int
    category: str
    """The commonest category of its records and its share, where records have categories."""
    representative: str
    """The kept record that stands for most of it; where none is kept, the one nearest to its middle."""


@dataclass(frozen=True)
class Explanation:
    """Everything that is printed about a selection."""

    kept: list[KeptRecord]
    groups: list[GroupOfRecords]


def text_of(record: Record) -> str:
    """A record as a reader sees it: what is asked, and the answer."""
    asked = f"{record.instruction} | {record.input}" if record.input.strip() else record.instruction
    return f"{asked} → {record.response}"


def nearest_kept(points: NDArray[np.float32], labels: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row the kept row that is nearest, of its own group where that has one, else of all: ``[n]``.

    Args:
        points: ``[n, d]``.
        labels: the group of each row, -1 for none.
        kept: ascending row numbers, at least one.
    """
    owner = np.empty(len(points), dtype=np.int64)
    # What all rows share would take the digits of what they differ in.
    points = points - points.mean(0, dtype=np.float64).astype(np.float32)
    with_kept = set(labels[kept].tolist()) - {-1}
    for label in sorted(set(labels.tolist())):
        members = np.flatnonzero(labels == label)
        among = kept[labels[kept] == label] if label in with_kept else kept
        norms = (points[among].astype(np.float64) ** 2).sum(1)
        for at in range(0, len(members), 4096):
            rows = members[at : at + 4096]
            # |a - b|^2 without |a|^2, which is the same for all b.
            far = norms[None] - 2.0 * (points[rows] @ points[among].T).astype(np.float64)
            owner[rows] = among[far.argmin(1)]
    owner[kept] = kept
    return owner


def explain(
    records: Sequence[Record],
    places: Sequence[Place],
    kept: NDArray[np.int64],
    points: NDArray[np.float32] | None,
    labels: NDArray[np.int64] | None,
) -> Explanation:
    """Says what was kept, with what it stands for where there are features."""
    if points is None or labels is None:
        return Explanation([_kept(records[row], places[row], None, None) for row in kept], [])
    owner = nearest_kept(points, labels, kept) if len(kept) else np.full(len(labels), -1)
    counts = Counter(owner.tolist())
    # By size, so that the same groups have the same numbers whatever the method calls them.
    sizes = Counter(label for label in labels.tolist() if label >= 0)
    order = sorted(sizes, key=lambda label: (-sizes[label], int(np.flatnonzero(labels == label)[0])))
    number = {label: i for i, label in enumerate(order)} | {-1: -1}
    rows = [_kept(records[row], places[row], number[int(labels[row])], counts[int(row)]) for row in kept]
    groups = []
    for label in [*order, -1]:
        members: list[int] = np.flatnonzero(labels == label).tolist()
        if len(members) == 0:
            continue
        mine: list[int] = kept[labels[kept] == label].tolist()
        within = Counter(owner[members].tolist())
        if mine:
            best = max(mine, key=lambda row: (within[row], -row))
        else:
            middle = points[members].mean(0, dtype=np.float64)
            best = members[int(((points[members] - middle) ** 2).sum(1).argmin())]
        common, count = Counter(records[r].category for r in members).most_common(1)[0]
        several = len({record.category for record in records}) > 1
        category = f"{common} {count / len(members):.0%}" if common and several else ""
        groups.append(GroupOfRecords(number[label], len(members), len(mine), category, text_of(records[best])))
    return Explanation(rows, groups)


def _kept(record: Record, place: Place, group: int | None, stands_for: int | None) -> KeptRecord:
    name = record.id.removeprefix(f"{place.file}:")
    return KeptRecord(place.file, place.line, name, group, stands_for, text_of(record))


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The same for machines."""
    return {"groups": [asdict(g) for g in explanation.groups], "kept": [asdict(k) for k in explanation.kept]}


def as_text(explanation: Explanation, most: int) -> str:
    """The same for a terminal, with at most ``most`` groups and records (0 is all)."""
    kept, groups = explanation.kept, explanation.groups
    featured = any(record.stands_for is not None for record in kept)
    if featured:
        # Equal ones stay in the order of the file.
        kept = sorted(kept, key=lambda record: -(record.stands_for or 0))
    shown = kept[: most or None]
    parts = []
    columns: dict[str, Sequence[Any]]
    if groups:
        columns = {
            "group": [_group(group.group) for group in groups],
            "records": [group.records for group in groups],
            "kept": [group.kept for group in groups],
            "category": [one_line(group.category, 28) for group in groups],
            "for example": _without_shared([group.representative for group in groups]),
        }
        parts.append(_columns(columns, most, ["category", "for example"]) + _rest(len(groups), most, "group"))
    if shown:
        columns = {
            "file": [record.file for record in kept] if len({record.file for record in kept}) > 1 else [],
            "line": [record.id for record in kept],
            "stands for": [record.stands_for for record in kept] if featured else [],
            "group": [_group(record.group) for record in kept] if featured else [],
            "kept record": _without_shared([record.text for record in kept]),
        }
        if any(record.line is None for record in kept):
            columns = {"id" if name == "line" else name: values for name, values in columns.items()}
        parts.append(_columns(columns, most, ["file", "id", "kept record"]) + _rest(len(kept), most, "record"))
    return "\n\n".join(parts)


def _group(number: int | None) -> str:
    return "none" if number is None or number < 0 else str(number)


def _without_shared(texts: Sequence[str]) -> list[str]:
    """Texts without the words that all of them begin with: an instruction that is the same for all tells nothing."""
    shared = os.path.commonprefix(list(texts)) if len(texts) > 1 else ""
    shared = shared[: shared.rfind(" ") + 1]
    return [f"…{text[len(shared) :]}" for text in texts] if len(shared) > 20 else list(texts)


def _columns(columns: Mapping[str, Sequence[Any]], most: int, left: Sequence[str]) -> str:
    """A table of the columns that say anything; the last takes what the terminal has left."""
    told = {name: values[: most or None] for name, values in columns.items() if any(str(value) for value in values)}
    *names, last = told
    rows = list(zip(*told.values()))
    narrow = table(names, [row[:-1] for row in rows], left)
    room = max(width() - max(len(line) for line in narrow.splitlines()) - 2, 20)
    return table([*names, last], [[*row[:-1], one_line(str(row[-1]), room)] for row in rows], left)


def _rest(count: int, most: int, what: str) -> str:
    return f"\n… and {plural(count - most, what)} more (--show 0 prints all)" if 0 < most < count else ""
