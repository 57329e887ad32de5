"""Instruction records: from frames and lists, dealt to clients."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _native
from ._guard import guarded
from ._arrays import seed as _seed
from ._cells import is_unicode, missing, plain, shown
from ._native import InputError, ParameterError

if TYPE_CHECKING:
    from ._model import Model

Prompt = str | Mapping[str, str]

_EMBEDDED = _native.EmbeddedTasks()
#: Where the turns of a conversation stand.
_TURNS = ("messages", "conversations")


@dataclass(frozen=True)
class Record:
    """One instruction record, before any prompt template.

    Args:
        id: unique within its data set; what messages name.
        instruction: what is asked.
        input: what it is asked about; empty where the instruction says all.
        responses: the reference responses; training uses the first, evaluation the best match over all.
        category: the task or category that it belongs to.
        family: the data set that the task came from, where several tasks share one.

    Example:
        >>> import fedhds
        >>> fedhds.Record("a", "Add the numbers.", "1 2", ("3",)).response
        '3'
    """

    id: str
    instruction: str
    input: str = ""
    responses: tuple[str, ...] = ()
    category: str = ""
    family: str = ""

    @property
    def response(self) -> str:
        """The response that training uses; empty where there is none."""
        return self.responses[0] if self.responses else ""


@guarded
def as_records(
    data: Any,
    *,
    instruction: str = "instruction",
    input: str | None = "input",
    response: str = "response",
    id: str | None = None,
    category: str | None = None,
    bad_record: str = "error",
) -> list[Record]:
    """Records from a list of records or mappings, a frame (pandas, polars, Arrow), or any iterable of mappings (a data set of Hugging Face's).

    A row that has no instruction but ``messages`` or ``conversations`` is a conversation: the assistant's last turn is the response, and the turns
    before it are the instruction.

    Args:
        data: what to read.
        instruction, input, response, id, category: the names of the fields or columns. The response is a text or a list of texts; where
            no id is named, ids are the row numbers. An input that is missing, None or NaN is empty.
        bad_record: ``"error"``, or ``"skip"`` leaves rows out that make no record; how many were, and what is wrong with the first, is a
            warning.

    Raises:
        InputError: that names the row and the field.

    Example:
        >>> import fedhds
        >>> fedhds.as_records([{"instruction": "Say hi.", "response": "hi"}])[0].id
        '0'
        >>> turns = [{"role": "user", "content": "Say hi."}, {"role": "assistant", "content": "hi"}]
        >>> fedhds.as_records([{"messages": turns}])[0].response
        'hi'
    """
    if bad_record not in ("error", "skip"):
        raise ParameterError(f"bad_record: expected `error` or `skip`, got {shown(bad_record)}")
    names = _Names(instruction, input, response, id, category)
    kept: list[Record] = []
    seen: set[str] = set()
    bad: list[str] = []
    for number, row in enumerate(_rows(data)):
        try:
            record = _record(f"records: row {number}", number, row, names)
            if record.id in seen:
                raise InputError(f"records: row {number}: expected an id of its own, got `{record.id}` a second time")
        except InputError as error:
            if bad_record == "error":
                raise
            bad.append(str(error))
            continue
        seen.add(record.id)
        kept.append(record)
    if bad:
        warnings.warn(f"{len(bad)} rows make no record and are left out, the first since {bad[0]}", stacklevel=2)
    return kept


class _Names(NamedTuple):
    """What fields are called."""

    instruction: str
    input: str | None
    response: str
    id: str | None
    category: str | None


def _rows(data: Any) -> Iterable[Any]:
    """The rows of whatever holds records."""
    columns = getattr(data, "columns", None)
    if columns is not None and (hasattr(data, "iloc") or hasattr(data, "iter_rows")):
        named = list(columns)
        twice = next((name for at, name in enumerate(named) if name in named[:at]), None)
        if twice is not None:
            raise InputError(f"records: expected each column once, got `{twice}` twice")
        # A frame's own iteration is over its columns.
        rows: Iterable[Any] = data.to_dict("records") if hasattr(data, "iloc") else data.iter_rows(named=True)
        return rows
    if hasattr(data, "to_pylist") and hasattr(data, "column_names"):
        named = list(data.column_names)
        if len(set(named)) < len(named):
            raise InputError(f"records: expected each column once, got {', '.join(map(str, named))}")
        rows = data.to_pylist()
        return rows
    if isinstance(data, Mapping):
        hint = "of a DatasetDict name a split, and of columns by name make rows"
        raise InputError(f"records: expected records, mappings or a frame, got one {type(data).__name__} ({hint})")
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise InputError(f"records: expected records, mappings or a frame, got {type(data).__name__}")
    return data


def _record(where: str, number: int, row: Any, names: _Names) -> Record:
    """The record of a row."""
    if isinstance(row, Record):
        return _whole(where, row)
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: expected a record or a mapping, got {type(row).__name__}")

    def field(name: str, what: str, needed: bool) -> str:
        value = row.get(name)
        if missing(value):
            if needed:
                raise InputError(f"{where}: expected {what} in field `{name}`, got none")
            return ""
        if not isinstance(value, (str, int, float, np.bool_, np.integer, np.floating)):
            raise InputError(f"{where}: expected text in field `{name}`, got {type(value).__name__}")
        return _unicode(where, name, str(value))

    group = field(names.category, "a category", True) if names.category else ""
    own = field(names.id, "an id", True) if names.id else str(number)
    if names.instruction not in row and any(name in row for name in _TURNS):
        asked, answer = _conversation(where, row)
        if not answer.strip():
            raise InputError(f"{where}: expected an answer that is not blank in the assistant's last turn, got {answer!r}")
        return Record(own, asked, "", (answer,), group, group)
    asked = field(names.instruction, "an instruction", True)
    if not asked.strip():
        raise InputError(f"{where}: expected an instruction in field `{names.instruction}`, got blank text")
    answers = row.get(names.response)
    if isinstance(answers, (Sequence, np.ndarray)) and not isinstance(answers, (str, bytes)):
        responses = tuple(answers)
    else:
        responses = (field(names.response, "a response", True),)
    if not responses or not all(isinstance(text, str) and text.strip() for text in responses):
        raise InputError(f"{where}: expected text that is not blank in field `{names.response}`, got {shown(answers)}")
    responses = tuple(_unicode(where, names.response, text) for text in responses)
    return Record(own, asked, field(names.input, "", False) if names.input else "", responses, group, group)


def _unicode(where: str, name: str, text: str) -> str:
    if not is_unicode(text):
        raise InputError(f"{where}: expected Unicode in field `{name}`, got a lone surrogate in {shown(text)}")
    return text


def _conversation(where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """What a row with turns asks and is answered; the core reads it, as it does in files."""
    try:
        turns = json.dumps({name: plain(row[name]) for name in _TURNS if name in row}, ensure_ascii=False)
    except RecursionError:
        raise InputError(f"{where}: expected turns, got something that is nested too deeply") from None
    for name in _TURNS:
        if name in row and not is_unicode(turns):
            raise InputError(f"{where}: expected Unicode in field `{name}`, got a lone surrogate")
    return _native.conversation(where, turns)


def _whole(where: str, record: Record) -> Record:
    """A record whose fields are what they must be."""
    for name in ("id", "instruction", "input", "responses", "category", "family"):
        value = getattr(record, name)
        listed = name == "responses"
        texts = list(value) if listed and isinstance(value, (list, tuple, set, frozenset)) else [value]
        fits = isinstance(value, (list, tuple, set, frozenset)) if listed else True
        if not fits or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{where}: {name}: expected {'a list of texts' if listed else 'text'}, got {shown(value)}")
        for text in texts:
            _unicode(where, name, text)
    return record


def _checked(records: Any) -> list[Record]:
    """Records, each with an id of its own."""
    if isinstance(records, Record):
        raise InputError("records: expected a list of records, got one record")
    return as_records(records)


@guarded
def embedded_records(
    *,
    records_per_task: int = _EMBEDDED.records_per_task,
    test_records_per_task: int = _EMBEDDED.test_records_per_task,
    tasks: int | None = _EMBEDDED.tasks,
    test_tasks: str = _EMBEDDED.test_tasks,
    seed: int = _EMBEDDED.seed,
    allow_fewer: bool = _EMBEDDED.allow_fewer,
) -> tuple[list[Record], list[Record]]:
    """Instruction tasks that are generated by seed: the train records, and those of unseen test tasks. No file, no network.

    Args:
        records_per_task: records of a train task, at least 1.
        test_records_per_task: records of a test task, at least 1.
        tasks: train tasks; None is every one.
        test_tasks: ``"development"``, the test tasks to make choices on; ``"confirmation"``, others to confirm a choice that was made; or
            ``"all"``.
        seed: of every draw.
        allow_fewer: a task that has fewer different records gives those, in the place of an error.

    Example:
        >>> import fedhds
        >>> train, test = fedhds.embedded_records(records_per_task=2, test_records_per_task=1)
        >>> len(train) == 2 * len({record.category for record in train})
        True
    """
    wanted = _native.EmbeddedTasks(
        records_per_task=records_per_task,
        test_records_per_task=test_records_per_task,
        tasks=tasks,
        test_tasks=test_tasks,
        seed=seed,
        allow_fewer=allow_fewer,
    )
    return _native.embedded_records(wanted)


@guarded
def partition(
    records: Any,
    kind: str = "dirichlet",
    *,
    clients: int | None = None,
    alpha: float | None = None,
    by: str | None = None,
    labels_per_client: int | None = None,
    min_records: int = 1,
    seed: int = 0,
) -> list[list[Record]]:
    """Deals records to clients: each record to exactly one, each client at least ``min_records``.

    Args:
        records: what is dealt.
        kind: ``"iid"``, ``"dirichlet"``, ``"labels"`` or ``"one_task_per_client"``.
        clients: how many, at least 1; not for ``one_task_per_client``.
        alpha: of dirichlet, above 0: near 0 a category goes to one client, large values split it evenly.
        by: ``"category"`` or ``"family"``: what dirichlet and labels group by.
        labels_per_client: of labels: categories of a client.
        min_records: fewest records of a client, at least 1.
        seed: of the draws.

    Raises:
        ParameterError, ConfigError: for a setting that is missing, out of range or not of this kind.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=2)
        >>> [len(part) for part in fedhds.partition(train[:9], "iid", clients=2)]
        [5, 4]
    """
    kept = as_records(records)
    named = {"clients": clients, "alpha": alpha, "by": by, "labels_per_client": labels_per_client}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    rows = _native.partition(kept, _seed(seed), kind=kind, min_records=min_records, **given)
    return [[kept[row] for row in part] for part in rows]


@guarded
def render(records: Any, prompt: Prompt = "alpaca", model: Model | None = None) -> list[tuple[str, str]]:
    """Prompt and response of each record as text, as a model reads them.

    Args:
        records: what is rendered.
        prompt: ``"alpaca"`` (the paper's), ``"short"``, ``"raw"``, ``"chat"``, or the texts ``with_input`` and ``without_input`` with the
            fields ``{instruction}``, ``{input}``, ``{category}`` and ``{family}``.
        model: whose chat template is meant by ``"chat"``.

    Example:
        >>> import fedhds
        >>> record = fedhds.Record("a", "Say hi.", "", ("hi",))
        >>> fedhds.render([record], {"with_input": "Q: {instruction} A: "})
        [('Q: Say hi. A: ', 'hi')]
    """
    return _native.render(_checked(records), prompt, None if model is None else model._native)
