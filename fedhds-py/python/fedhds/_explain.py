"""Why the records of a federation were picked, from its run record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._guard import guarded
from ._native import DataError, FileError, InputError
from ._server import reason_fields
from ._simulation import Outcome


@dataclass(frozen=True)
class Pick:
    """A record that a client picked in a round, and why."""

    round: int
    """From 0."""
    client: int
    record: str
    """Its id."""
    group: int | None
    """The client's number for its group; None where the run record does not say."""
    size: int | None
    """Records in that group, as the client reported them."""
    ordered: int | None
    """Records that were ordered of the group; 0 for a spare group."""
    rank: int | None
    """Place of the group's first record in the order of the server's greedy choice, from 1; None for methods without one."""
    gain: float | None
    """What that record added to what the selector maximises, in the selector's own unit; comparable within a round alone."""
    covered_records: float | None
    """Records of earlier rounds near the group, each counted by its similarity in [0, 1], where the method's memory measures so."""
    covered_distance: float | None
    """Distance to the nearest place that earlier rounds trained on, where the method's memory measures so."""
    caps: tuple[str, ...]
    """The limits that the group reached: ``share`` (its client gives as much as it may), ``room`` (nothing is left of it), ``pass`` (the
    open gate keeps back what is left)."""
    server_cluster: int | None
    """The server's cluster of the group; None where nothing was clustered."""
    spare: bool
    """Whether it came in the place of a record that an ordered group could not give."""
    score: float | None
    """The mean of ln(decoy loss) - ln(own loss), where an open gate looked at it; higher is better."""
    refused: bool
    """Whether it did not pass the gate, and so was not trained on."""
    counted: bool
    """Whether the client's update counted in the round."""


@guarded
def explain(
    run: Outcome | Mapping[str, Any] | str | os.PathLike[str],
    *,
    round: int | None = None,
    client: int | None = None,
    record: str | None = None,
    refused: bool = False,
) -> list[Pick]:
    """Says of each picked record of a run why it was picked, in the order of rounds, clients and their data.

    Only what simulates a federation knows all of it: a server knows the groups (:attr:`Server.selection`), a client its own records.

    Args:
        run: what :meth:`Simulation.run` gave, a run record as a dict, its file ``run.json``, or the folder of that.
        round, client, record: only of this round (from 0), of this client, with this id.
        refused: those that an open gate refused too, after the picked ones of their client.

    Raises:
        FileError: for a file that cannot be read.
        DataError: for one that is no run record.
        InputError: where the run has no such round, client or record.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=2, test_records_per_task=1)
        >>> clients = fedhds.partition(train, "iid", clients=3)
        >>> class Nothing:
        ...     def init(self, seed): return fedhds.LoraTrainer(fedhds.Model.embedded()).init(seed)
        ...     def train(self, adapter, records, seed): return adapter
        >>> run = fedhds.Simulation("fedhds_robust", clients, trainer=Nothing(), participation=1.0, rounds=1, judge=False).run()
        >>> min(pick.rank for pick in fedhds.explain(run))
        1
    """
    told = run.rounds if isinstance(run, Outcome) else rounds_of(run)
    if round is not None and not any(one["round"] == round for one in told):
        raise InputError(f"round: expected one of the run's {len(told)}, from 0, got {round}")
    told = [one for one in told if round in (None, one["round"])]
    if client is not None and not any(own["client"] == client for one in told for own in one["clients"]):
        raise InputError(f"client: expected one that took part, got {client}")
    picks = [pick for one in told for pick in _picks(one, refused)]
    found = [pick for pick in picks if client in (None, pick.client) and record in (None, pick.record)]
    if record is not None and not found:
        raise InputError(f"record: expected the id of a record that was picked, got {record!r}")
    return found


def rounds_of(run: Mapping[str, Any] | str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rounds of a run record, read where it is a file or folder."""
    found, where = (run, "run") if isinstance(run, Mapping) else (read_run(run), os.fspath(run))
    rounds: list[dict[str, Any]] | None = found.get("rounds")
    if not isinstance(rounds, list) or not all(isinstance(one, dict) and "clients" in one for one in rounds):
        raise DataError(f"{where}: expected a run record, which has `rounds` with `clients`, got other fields")
    return rounds


def read_run(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A run record from its file or folder."""
    file = Path(path)
    if file.is_dir():
        file = file / "run.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{file}: expected a run record that can be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected a run record in JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: expected a run record, which is an object, got {type(found).__name__}")
    return found


def _picks(told: Mapping[str, Any], with_refused: bool) -> Iterator[Pick]:
    for own in told["clients"]:
        groups = {group["group"]: group for group in own.get("groups", [])}
        only = next(iter(groups)) if len(groups) == 1 else None  # a method that looks at no features
        counted = own["client"] not in {int(client) for client in told.get("left_out", {})}
        parts = [("selected", "reasons")] + ([("refused", "refused_reasons")] if with_refused else [])
        for ids, reasons in parts:
            known = own.get(reasons) or [{"group": only}] * len(own.get(ids, []))
            for record, reason in zip(own.get(ids, []), known, strict=True):
                group = groups.get(reason["group"], {})
                yield Pick(
                    round=told["round"],
                    client=own["client"],
                    record=record,
                    group=reason["group"],
                    size=group.get("size"),
                    ordered=group.get("ordered"),
                    server_cluster=group.get("server_cluster"),
                    spare=reason.get("spare", False),
                    score=reason.get("score"),
                    refused=ids == "refused",
                    counted=counted,
                    **reason_fields(group),
                )
