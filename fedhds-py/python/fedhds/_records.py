"""Instruction records: from files, frames and lists, dealt to clients."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _native
from ._guard import guarded
from ._arrays import seed as _seed
from ._native import DataError, FileError, InputError, ParameterError

if TYPE_CHECKING:
    from ._model import Model

Prompt = str | Mapping[str, str]

_EMBEDDED = _native.EmbeddedTasks()


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
) -> list[Record]:
    """Records from a list of records or mappings, a pandas frame, or any iterable of mappings (a data set of Hugging Face's).

    Args:
        data: what to read.
        instruction, input, response, id, category: the names of the fields or columns. The response is a text or a list of texts; where
            no id is named, ids are the row numbers. An input that is missing, None or NaN is empty.

    Raises:
        InputError: that names the row and the field.

    Example:
        >>> import fedhds
        >>> fedhds.as_records([{"instruction": "Say hi.", "response": "hi"}])[0].id
        '0'
    """
    if isinstance(data, (str, bytes)) or not (isinstance(data, Iterable) or hasattr(data, "to_dict")):
        raise InputError(f"records: expected records, mappings or a frame, got {type(data).__name__}")
    # A frame's own iteration is over its columns.
    rows: Iterable[Any] = data.to_dict("records") if hasattr(data, "iloc") and hasattr(data, "columns") else data
    kept: list[Record] = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        if isinstance(row, Record):
            record = row
        elif isinstance(row, Mapping):
            record = _record(number, row, instruction, input, response, id, category)
        else:
            raise InputError(f"records: row {number}: expected a record or a mapping, got {type(row).__name__}")
        if record.id in seen:
            raise InputError(f"records: row {number}: expected an id of its own, got `{record.id}` a second time")
        seen.add(record.id)
        kept.append(record)
    return kept


def _record(
    number: int,
    row: Mapping[str, Any],
    instruction: str,
    input: str | None,
    response: str,
    id: str | None,
    category: str | None,
) -> Record:
    def field(name: str, what: str, needed: bool) -> str:
        value = row.get(name)
        if value is None or (isinstance(value, float) and value != value):
            if needed:
                raise InputError(f"records: row {number}: expected {what} in field `{name}`, got none")
            return ""
        if not isinstance(value, (str, int, float)):
            raise InputError(f"records: row {number}: expected text in field `{name}`, got {type(value).__name__}")
        return str(value)

    asked = field(instruction, "an instruction", True)
    if not asked.strip():
        raise InputError(f"records: row {number}: expected an instruction in field `{instruction}`, got blank text")
    answers = row.get(response)
    if isinstance(answers, Sequence) and not isinstance(answers, str):
        responses = tuple(answers)
    else:
        responses = (field(response, "a response", True),)
    if not responses or not all(isinstance(text, str) and text.strip() for text in responses):
        raise InputError(f"records: row {number}: expected text that is not blank in field `{response}`, got {answers!r}")
    group = field(category, "a category", True) if category else ""
    own = field(id, "an id", True) if id else str(number)
    return Record(own, asked, field(input, "", False) if input else "", responses, group, group)


def _checked(records: Any) -> list[Record]:
    """Records, each with an id of its own."""
    if isinstance(records, Record):
        raise InputError("records: expected a list of records, got one record")
    return as_records(records)


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


def load(
    path: str | os.PathLike[str] | None,
    format: str,
    fields: Mapping[str, str] | None,
    blank_response: str,
    split: str | None,
    keep_text: bool,
) -> Loaded:
    """:func:`load_records` with the places of the records."""
    if not isinstance(fields, (Mapping, type(None))):
        raise ParameterError(f"fields: expected names of fields by what they hold, got {fields!r}")
    name = None if path is None else os.fspath(path)
    content, asked = None, format
    if name is not None and name.lower().endswith(".parquet") and format in ("guess", "table"):
        # Only Python has a reader for it at hand. Its rows are a list of objects like any other.
        content, asked = _rows_of_parquet(name), "guess" if format == "guess" else "jsonl"
    found, records, lines, texts, left_out = _native.load_records(
        name, asked, content, fields=fields or {}, blank_response=blank_response, split=split, keep_text=keep_text
    )
    return Loaded(found if content is None else "table", records, lines, texts, left_out)


def _rows_of_parquet(path: str) -> bytes:
    """The rows of a Parquet file as a JSON list; cells without a value are empty text."""
    try:
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise DataError(f"{path}: a .parquet file is read by pandas, which is not installed") from error
    try:
        frame = pandas.read_parquet(path)
        filled = frame.astype(object).where(frame.notna(), "").astype(str)
        return json.dumps(filled.to_dict("records"), ensure_ascii=False).encode()
    except OSError as error:
        raise FileError(f"{path}: {error}") from error
    except (ValueError, ImportError) as error:
        raise DataError(f"{path}: expected a table: {error}") from error


@guarded
def load_records(
    path: str | os.PathLike[str] | None,
    format: str = "jsonl",
    *,
    fields: Mapping[str, str] | None = None,
    blank_response: str = "error",
    split: str | None = None,
) -> list[Record]:
    """Reads a data set.

    Args:
        path: a file; for ``natural_instructions`` a folder with ``tasks/*.json`` and ``splits/default/*_tasks.txt``; None for the generated
            tasks (``embedded``).
        format: the name of a format (``"jsonl"``, ``"alpaca"``, ``"dolly"``, ``"messages"``, ``"table"``, ``"natural_instructions"``, ...: an
            unknown one is answered with all of them), or ``"guess"`` for what the file looks like by its name and its first object.
        fields: names in place of the format's own: which field or column holds ``instruction``, ``input``, ``response``, ``id``,
            ``category``, ``family``; dots reach into nested objects.
        blank_response: ``"error"``, or ``"skip"`` leaves records with a blank response out.
        split: of formats that keep their test records apart (Natural Instructions, the embedded tasks): ``"train"``, which is meant by None,
            or ``"test"``.

    Raises:
        DataError: with file, line (or number in a list) and field.
        FileError: for a file that cannot be read, or a folder in place of a file.
        ParameterError: for an unknown format, and for an option that the format does not have.
    """
    return load(path, format, fields, blank_response, split, keep_text=False).records


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
