"""What a selection kept and why: groups, and which kept record stands for which others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Record
from .console import one_line, plural, table, width
from .pick import Picked
from .pool import Pool


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
    group_records: int | None
    """Records of that group, near copies among them; None where it is in none."""
    stands_for: int | None
    """Records that lie nearer to it than to any other kept one, itself included; None where there are no features."""
    copies: int | None
    """Records that say the same, itself included; None where nobody looked for them."""
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
    middle = points.mean(0, dtype=np.float64).astype(np.float32)
    with_kept = np.isin(labels, labels[kept]) & (labels >= 0)
    _assign(owner, points, middle, np.flatnonzero(~with_kept), kept)
    for rows in _by_label(labels, np.flatnonzero(with_kept)):
        _assign(owner, points, middle, rows, kept[labels[kept] == labels[rows[0]]])
    owner[kept] = kept
    return owner


def _assign(
    owner: NDArray[np.int64],
    points: NDArray[np.float32],
    middle: NDArray[np.float32],
    rows: NDArray[np.int64],
    among: NDArray[np.int64],
) -> None:
    """Writes the nearest of some rows to each of others."""
    if len(among) == 1:
        owner[rows] = among[0]
        return
    others = points[among] - middle
    norms = (others.astype(np.float64) ** 2).sum(1)
    for at in range(0, len(rows), 4096):
        part = rows[at : at + 4096]
        # |a - b|^2 without |a|^2, which is the same for all b.
        far = norms[None] - 2.0 * ((points[part] - middle) @ others.T).astype(np.float64)
        owner[part] = among[far.argmin(1)]


def _by_label(labels: NDArray[np.int64], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each label, ascending, in the order of labels."""
    order = rows[np.argsort(labels[rows], kind="stable")]
    if len(order) == 0:
        return []
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def explain(pool: Pool, picked: Picked, copies: NDArray[np.int64] | None) -> Explanation:
    """Says what was kept, with what it stands for where there are features.

    Args:
        pool: the records; those that are told of are read again.
        picked: the selection.
        copies: which near copy each record is of, where copies count as one.
    """
    kept, points, labels = picked.kept, picked.points, picked.groups
    said = None if copies is None else np.bincount(copies)
    if points is None or labels is None:
        texts = _texts(pool, kept.tolist())
        return Explanation([_kept(pool, texts, row, None, None, None, None) for row in kept.tolist()], [])
    owner = nearest_kept(points, labels, kept) if len(kept) else np.full(len(labels), -1)
    stands = np.bincount(owner[owner >= 0], minlength=len(labels))
    # By size, so that the same groups have the same numbers whatever the method calls them.
    members = _by_label(labels, np.arange(len(labels)))
    grouped = sorted((rows for rows in members if labels[rows[0]] >= 0), key=lambda rows: (-len(rows), int(rows[0])))
    alone = [rows for rows in members if labels[rows[0]] < 0]
    is_kept = np.zeros(len(labels), dtype=bool)
    is_kept[kept] = True
    number = np.full(len(labels), -1, dtype=np.int64)
    best = []
    for at, rows in enumerate(grouped):
        number[rows] = at
    for rows in [*grouped, *alone]:
        mine = rows[is_kept[rows]]
        if len(mine):
            within = np.bincount(np.searchsorted(mine, owner[rows][np.isin(owner[rows], mine)]), minlength=len(mine))
            best.append(int(mine[within.argmax()]))
        else:
            middle = points[rows].mean(0, dtype=np.float64)
            best.append(int(rows[((points[rows] - middle) ** 2).sum(1).argmin()]))
    texts = _texts(pool, sorted({*kept.tolist(), *best}))
    several = len(np.unique(pool.category)) > 1
    groups = []
    for at, (rows, row) in enumerate(zip([*grouped, *alone], best)):
        category = _category(pool, rows) if several else ""
        name = at if at < len(grouped) else -1
        groups.append(GroupOfRecords(name, len(rows), int(is_kept[rows].sum()), category, text_of(texts[row])))
    told = []
    for row in kept.tolist():
        group = int(number[row])
        size = len(grouped[group]) if group >= 0 else None
        same = None if said is None or copies is None else int(said[copies[row]])
        told.append(_kept(pool, texts, row, group, size, int(stands[row]), same))
    return Explanation(told, groups)


def _texts(pool: Pool, rows: list[int]) -> dict[int, Record]:
    """Records by their rows, which ascend."""
    return {row: record for row, (record, _) in zip(rows, pool.fetch(rows), strict=True)}


def _category(pool: Pool, rows: NDArray[np.int64]) -> str:
    """The commonest category of these records, the first of equals, with its share."""
    found, first, counts = np.unique(pool.category[rows], return_index=True, return_counts=True)
    at = min(range(len(found)), key=lambda at: (-counts[at], first[at]))
    name = pool.categories[found[at]]
    return f"{name} {counts[at] / len(rows):.0%}" if name else ""


def _kept(
    pool: Pool,
    texts: Mapping[int, Record],
    row: int,
    group: int | None,
    group_records: int | None,
    stands_for: int | None,
    copies: int | None,
) -> KeptRecord:
    place, record = pool.place(row), texts[row]
    name = record.id.removeprefix(f"{place.file}:")
    return KeptRecord(place.file, place.line, name, group, group_records, stands_for, copies, text_of(record))


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The same for machines."""
    return {"groups": [asdict(g) for g in explanation.groups], "kept": [asdict(k) for k in explanation.kept]}


def as_text(explanation: Explanation, most: int, every: bool = False) -> str:
    """The same for a terminal, with at most ``most`` groups and records (0 is all).

    Args:
        explanation: what is told.
        most: groups, and records, at most.
        every: of every kept record which group it is of, how large that is, and how many records say the same.
    """
    kept, groups = explanation.kept, explanation.groups
    featured = any(record.stands_for is not None for record in kept)
    if featured:
        # Equal ones stay in the order of the file.
        kept = sorted(kept, key=lambda record: -(record.stands_for or 0))
    rows = 0 if every else most
    shown = kept[: rows or None]
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
            "of": [record.group_records or "" for record in kept] if every and featured else [],
            "copies": [record.copies for record in kept] if every and _counted(kept) else [],
            "kept record": _without_shared([record.text for record in kept]),
        }
        if any(record.line is None for record in kept):
            columns = {"id" if name == "line" else name: values for name, values in columns.items()}
        parts.append(_columns(columns, rows, ["file", "id", "kept record"]) + _rest(len(kept), rows, "record"))
    return "\n\n".join(parts)


def _counted(kept: Sequence[KeptRecord]) -> bool:
    return any(record.copies is not None for record in kept)


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
