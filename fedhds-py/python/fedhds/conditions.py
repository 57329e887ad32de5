"""What makes a clean federation like a real one, by seed: repeats, rare tasks, wrong answers, clients that answer nothing.

For measuring: what was done to each record is in the :class:`Truth` alone, which no record leads to.

    condition = fedhds.conditions.Condition.named("mix")
    pool, _ = condition.thin(records, seed=1)                 # rare tasks: before the partition
    clients, truth = condition.apply(fedhds.partition(pool, clients=10, alpha=0.5), seed=1)
    truth.purity(ids), truth.distinct(ids), truth.tasks(ids)  # of the records that a method chose
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import _native
from ._guard import guarded
from ._arrays import seed as _seed
from ._native import InputError, ParameterError
from ._records import Record, _checked

__all__ = ["Condition", "Reached", "RecordTruth", "Truth"]

_CLEAN = _native.Condition()


@dataclass(frozen=True)
class Reached:
    """What was asked of a knob, and what the data allowed."""

    knob: str
    """Its name: a keyword of :class:`Condition`."""
    asked: float
    reached: float
    """The share of all clients' records that are so in the end; of ``bad_clients`` the share of the clients, of ``tail`` the share of the
    records that is left, of ``length`` the standard deviation over clients of the logarithm of the mean prompt length."""


@dataclass(frozen=True)
class RecordTruth:
    """The truth about one record."""

    task: str
    """The task that its prompt is of; a copy's is the original's."""
    family: str
    copy_of: str | None
    """The id of the record that it is a near copy of."""
    flaw: str | None
    """What is wrong with its responses: ``"swapped"``, ``"junk"`` or ``"bad_client"``; None where they are right."""
    kind: str | None
    """Of what is swapped ``"across"`` or ``"within"`` tasks; of junk its kind."""


@guarded
class Truth(Mapping[str, RecordTruth]):
    """The truth about a federation after :meth:`Condition.apply`: a :class:`RecordTruth` by record id, of the clean ones too."""

    def __init__(self, native: _native.Truth) -> None:
        told = native.as_dict()
        self._native = native
        self._records = {id: _record_truth(record) for id, record in told["records"].items()}
        self.bad_clients: list[int] = list(told["bad_clients"])
        """Places of the clients that answer one fixed string."""
        self.reached = [Reached(**one) for one in told["reached"]]
        """What was asked for and what the data allowed, for each knob that is on."""

    def __getitem__(self, id: str) -> RecordTruth:
        return self._records[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def is_bad(self, id: str) -> bool:
        """Whether a record's responses are worth nothing: it has a flaw other than responses that were swapped within their task."""
        return self._native.is_bad(id)

    def purity(self, ids: Iterable[str]) -> float:
        """The share of these records that are not bad, in [0, 1], each as often as it comes; 1 for no records."""
        return self._native.purity(_ids(ids))

    def distinct(self, ids: Iterable[str]) -> int:
        """How many different records these are: the copies of one original count once, together with it."""
        return self._native.distinct(_ids(ids))

    def tasks(self, ids: Iterable[str]) -> int:
        """How many different tasks the prompts of these records are of, bad records too."""
        return self._native.tasks(_ids(ids))

    def __reduce__(self) -> tuple[Any, ...]:
        return _truth_again, (type(self), json.dumps(self._native.as_dict()))

    def __repr__(self) -> str:
        bad = sum(1 for id in self._records if self.is_bad(id))
        return f"Truth(records={len(self)}, bad={bad}, bad_clients={self.bad_clients})"


def _truth_again(kind: type[Truth], told: str) -> Truth:
    return kind(_native.Truth.of(told))


def _record_truth(told: Mapping[str, Any]) -> RecordTruth:
    flaw, kind = told["flaw"], None
    if isinstance(flaw, dict):
        ((flaw, kind),) = flaw.items()
    return RecordTruth(told["task"], told["family"], told["copy_of"], flaw, kind)


def _ids(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str):
        raise InputError("ids: expected ids of records, got one text")
    return list(ids)


@guarded
class Condition:
    """What is done to clean data; every knob is off by default. The same seed does the same.

    Shares are of each client's records, rounded to the nearest count. Where the data do not allow what is asked for, as much as they allow
    is done, and :attr:`Truth.reached` says how much.

    Args:
        duplicates: share in [0, 1) of each client's records that become near copies of 8 records of the federation.
        tail: exponent, at least 0, of Zipf's law for the sizes of the tasks: what :meth:`thin` does.
        swap_across: share in [0, 1] of each client's records that get the responses of another task of the client.
        swap_within: share in [0, 1] of each client's records that get other responses of their own task.
        junk: share in [0, 1] of each client's records that get one response that is junk.
        junk_generators: ``"development"``, or ``"confirmation"`` for others to confirm a choice with.
        bad_clients: share in [0, 1] of the clients that answer one fixed string to everything.
        scarce: the whole run selects so many records; the data stay as they are, and whoever sets the budget heeds it.
        length: standard deviation, at least 0, of the logarithm of the clients' factors of text length.

    Raises:
        ParameterError: that names the knob and its value.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=2)
        >>> parts = fedhds.partition(train, "iid", clients=4)
        >>> clients, truth = fedhds.conditions.Condition(junk=0.5).apply(parts, seed=1)
        >>> round(truth.purity(record.id for records in clients for record in records), 1)
        0.5
    """

    def __init__(
        self,
        *,
        duplicates: float = _CLEAN.duplicates,
        tail: float = _CLEAN.tail,
        swap_across: float = _CLEAN.swap_across,
        swap_within: float = _CLEAN.swap_within,
        junk: float = _CLEAN.junk,
        junk_generators: str = _CLEAN.junk_generators,
        bad_clients: float = _CLEAN.bad_clients,
        scarce: int | None = _CLEAN.scarce,
        length: float = _CLEAN.length,
    ) -> None:
        self._native = _native.Condition(
            duplicates=duplicates,
            tail=tail,
            swap_across=swap_across,
            swap_within=swap_within,
            junk=junk,
            junk_generators=junk_generators,
            bad_clients=bad_clients,
            scarce=scarce,
            length=length,
        )

    @classmethod
    def named(cls, name: str) -> Condition:
        """The condition of a name: ``"clean"``, or ``"mix"``, which is repeats, rare tasks and wrong answers together.

        Raises:
            ParameterError: for another name.
        """
        native = _native.named_condition(name) if isinstance(name, str) else None
        if native is None:
            raise ParameterError(f"name: expected `clean` or `mix`, got {name!r}")
        condition = object.__new__(cls)
        condition._native = native
        return condition

    @property
    def settings(self) -> dict[str, Any]:
        """Every knob, as it stands."""
        return self._native.as_dict()

    def thin(self, records: Any, seed: int = 0, *, all: int | None = None) -> tuple[list[Record], list[Reached]]:
        """What comes before the partition, ``tail``: the records that are left, in their order, and what was reached.

        Args:
            records: all records, whose categories are their tasks.
            seed: of the draws; the one that :meth:`apply` gets too.
            all: how many records there should be in all, at least 1; where more are given, large tasks take what small ones leave. None is
                as many as are given.
        """
        kept, reached = _native.thin(self._native, _checked(records), all, _seed(seed))
        return kept, [Reached(**one) for one in reached]

    def apply(
        self, clients: Iterable[Any], seed: int = 0, *, pool: Any = None
    ) -> tuple[list[list[Record]], Truth]:
        """What comes after the partition: the clients' records and the truth about each of them. Ids, order and number of the records stay.

        Args:
            clients: the records of each client; ids that no two of them share.
            seed: of every draw; one knob does not move the draws of another.
            pool: the records that were dealt, which lend their words to the junk of a client that has no other record; None is the
                clients' own.

        Raises:
            InputError: for an id that two clients have.
        """
        given = [_checked(records) for records in clients]
        words = [record for records in given for record in records] if pool is None else _checked(pool)
        changed, truth = _native.apply(self._native, given, words, _seed(seed))
        return changed, Truth(truth)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(tuple(self.settings.items()))

    def __repr__(self) -> str:
        clean = _CLEAN.as_dict()
        return f"Condition({', '.join(f'{name}={value!r}' for name, value in self.settings.items() if value != clean[name])})"
