"""What a client remembers: between phases in Flower's ``context.state``, between runs in a folder of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from logging import getLogger
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context

from .. import Client
from .._writing import replacing
from .._native import CheckpointError
from ._messages import Header

logger = getLogger("flwr.fedhds")

_KEY = "fedhds"
"""Key of our record in ``context.state``."""


class Memory:
    """Rows that a client trained on, by round, and its groups of the round that runs. None of it leaves the client.

    Rows are kept by round, because a server that was stopped repeats a round: what the client trained on in it then
    must not count as known, or it would choose otherwise than it did.

    Args:
        context: the client app's.
        header: of the message at hand.
        folder: where rows outlive the run; None keeps them for the run alone.
    """

    def __init__(self, context: Context, header: Header, folder: str | os.PathLike[str] | None = None) -> None:
        self._context = context
        self._experiment = header.experiment
        self._file = None if folder is None else Path(folder) / header.experiment / f"client-{header.client}.json"
        self._trained: dict[int, list[int]] = {}
        self._state: bytes | None = None
        self._state_round = 0
        record = context.state.config_records.get(_KEY)
        if record is not None and record.get("experiment") == self._experiment:
            self._trained = _rows(str(record["trained"]), "context.state")
            state = record.get("state")
            self._state = state if isinstance(state, bytes) else None
            round = record.get("state-round")
            self._state_round = round if isinstance(round, int) else 0
        elif self._file is not None and self._file.exists():
            try:
                self._trained = _rows(self._file.read_text(encoding="utf-8"), str(self._file))
            except (OSError, ValueError, CheckpointError) as error:
                # A client that cannot remember begins anew, as one on a new device does; it would be lost for the federation otherwise.
                logger.warning("what the client trained on is forgotten: %s", error)

    @property
    def state(self) -> bytes | None:
        """``fedhds.Client.state()`` of the last first phase; None before it."""
        return self._state

    def bring_back(self, machine: Client, number: int) -> None:
        """Makes a new machine what the client was before this round: its groups, its secret, what it trained on in earlier rounds.

        What it trained on in the round of its last summary may have been lost on the way: the server says so, and the machine takes it
        back. Rows of rounds before that were told of, so they are marked before it knows a round.
        """
        machine.mark_trained(self._rows(lambda round: round < min(self._state_round, number)))
        if self._state is not None:
            # Its secret, and what it sent in this round already: an upload stage draws once a round. Rows of later rounds do not count.
            machine.resume(self._state, trained=False)
        machine.mark_trained(self._rows(lambda round: self._state_round <= round < number))

    def _rows(self, fits: Callable[[int], bool]) -> list[int]:
        return sorted({row for round, rows in self._trained.items() if fits(round) for row in rows})

    def keep_groups(self, number: int, machine: Client) -> None:
        """Remembers the client's state between the phases of a round, and that rows of earlier ones did not count where it was told so."""
        counted = set(machine.trained)
        earlier = {round: rows for round, rows in self._trained.items() if round < number}
        self._trained = {round: [row for row in rows if row in counted] for round, rows in earlier.items()}
        self._state, self._state_round = machine.state(), number
        self._write()

    def keep_trained(self, number: int, rows: Iterable[int]) -> None:
        """Remembers rows that were trained on in a round."""
        self._trained[number] = [int(row) for row in rows]
        self._write()
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as file:
                file.write(json.dumps(self._trained).encode())
        except OSError as error:
            # The run itself remembers: what is lost is lost to the next one alone.
            logger.warning("%s: what was trained on is not kept beyond this run: %s", self._file, error)

    def _write(self) -> None:
        fields: dict[str, Any] = {"experiment": self._experiment, "trained": json.dumps(self._trained)}
        if self._state is not None:
            fields["state"], fields["state-round"] = self._state, self._state_round
        self._context.state[_KEY] = ConfigRecord(fields)


def _rows(text: str, where: str) -> dict[int, list[int]]:
    try:
        found = {int(round): [int(row) for row in rows] for round, rows in json.loads(text).items()}
        if any(not 0 <= number < 2**32 for round, rows in found.items() for number in (round, *rows)):
            raise ValueError("a number below 0 or beyond 2**32")
        return found
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"checkpoint {where}: expected rows by round, got {text[:40]!r}") from error
