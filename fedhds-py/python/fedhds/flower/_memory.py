"""What a client remembers: between phases in Flower's ``context.state``, between runs in a folder of its own.

What it was told at first contact it remembers for all experiments, all else for one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context
from numpy.typing import NDArray

from .. import Client
from .._native import CheckpointError, ProtocolError
from .._writing import replacing
from ._messages import Header

logger = getLogger("flwr.fedhds")

_KEY = "fedhds"
"""Key of our record in ``context.state``."""


def unpin(context: Context, state_dir: str | os.PathLike[str] | None = None) -> None:
    """Lets a client forget what it was told at first contact, and which round it answered last.

    A client holds to the seed of the first experiment that it answers, and answers each round once. For another federation, or a server that
    begins again, its owner calls this in the client app; it is not for a server to ask for. What it trained on stays known.

    Args:
        context: the client app's.
        state_dir: the folder of :func:`answer`, where there is one: what lies there for this node's number is forgotten too.
    """
    record = context.state.config_records.get(_KEY)
    if record is not None:
        kept = {name: record[name] for name in ("experiment", "trained", "client") if name in record}
        context.state[_KEY] = ConfigRecord(kept)
    number = context.node_config.get("partition-id") if record is None else record.get("client")
    if state_dir is not None and isinstance(number, int):
        for file in _pins_files(Path(state_dir), number):
            file.unlink(missing_ok=True)


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
        self._client = header.known_client
        self._state: bytes | None = None
        self._state_round = 0
        self._pins_file = None if self._file is None else self._file.with_suffix(".pins")
        self._pins = _pins(context, [] if folder is None else _pins_files(Path(folder), self._client))
        self._asked = ""
        record = context.state.config_records.get(_KEY)
        if record is not None and record.get("experiment") == self._experiment:
            self._trained = _rows(str(record["trained"]), "context.state")
            state = record.get("state")
            self._state = state if isinstance(state, bytes) else None
            round = record.get("state-round")
            self._state_round = round if isinstance(round, int) else 0
            self._asked = str(record.get("asked", ""))
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
        self.pin(machine)
        if self._state is not None:
            # Its secret, and what it sent in this round already: an upload stage draws once a round. Rows of later rounds do not count.
            machine.resume(self._state, trained=False)
        machine.mark_trained(self._rows(lambda round: self._state_round <= round < number))

    def _rows(self, fits: Callable[[int], bool]) -> list[int]:
        return sorted({row for round, rows in self._trained.items() if fits(round) for row in rows})

    def pin(self, machine: Client) -> None:
        """Gives a machine what the client was told at first contact, in whatever experiment."""
        if self._pins is not None:
            machine.pin(self._pins)

    def check_asked(self, number: int, order: bytes, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Remembers what a round's training begins from: an order and an adapter. The same may come again.

        Raises:
            ProtocolError: for another one in the same round.
        """
        digest = hashlib.blake2b(order, digest_size=16)
        for name, array in arrays.items():
            digest.update(repr((name, array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        asked = f"{number} {digest.hexdigest()}"
        if self._asked.split(" ")[0] == str(number) and self._asked != asked:
            raise ProtocolError(
                f"protocol: train: expected the order and the arrays that round {number} was answered to, got others "
                "(fedhds.flower.unpin forgets them)"
            )
        self._asked = asked

    def keep_groups(self, number: int, machine: Client) -> None:
        """Remembers the client's state between the phases of a round, and that rows of earlier ones did not count where it was told so."""
        counted = set(machine.trained)
        earlier = {round: rows for round, rows in self._trained.items() if round < number}
        self._trained = {round: [row for row in rows if row in counted] for round, rows in earlier.items()}
        self._state, self._state_round = machine.state(), number
        pins = machine.pins()
        if pins != self._pins:
            self._pins = pins
            self._keep_file(self._pins_file, pins)
        self._write()

    def keep_trained(self, number: int, rows: Iterable[int]) -> None:
        """Remembers rows that were trained on in a round."""
        self._trained[number] = [int(row) for row in rows]
        self._write()
        self._keep_file(self._file, json.dumps(self._trained).encode())

    def _keep_file(self, file: Path | None, content: bytes) -> None:
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as whole:
                whole.write(content)
        except OSError as error:
            # The run itself remembers: what is lost is lost to the next one alone.
            logger.warning("%s: what is kept for the next run could not be written: %s", file, error)

    def _write(self) -> None:
        fields: dict[str, Any] = {
            "experiment": self._experiment,
            "trained": json.dumps(self._trained),
            "client": self._client,
            "asked": self._asked,
        }
        if self._pins is not None:
            fields["pins"] = self._pins
        if self._state is not None:
            fields["state"], fields["state-round"] = self._state, self._state_round
        self._context.state[_KEY] = ConfigRecord(fields)


def _pins_files(folder: Path, client: int) -> list[Path]:
    """What this client was told first lies beside its rows, in whatever experiment."""
    return sorted(folder.glob(f"*/client-{client}.pins"))


def _pins(context: Context, files: list[Path]) -> bytes | None:
    """What this client was told at first contact."""
    record = context.state.config_records.get(_KEY)
    pins = None if record is None else record.get("pins")
    if isinstance(pins, bytes):
        return pins
    for file in files[:1]:
        try:
            return file.read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {file}: expected a file that can be read: {error}") from error
    return None


def _rows(text: str, where: str) -> dict[int, list[int]]:
    try:
        found = {int(round): [int(row) for row in rows] for round, rows in json.loads(text).items()}
        if any(not 0 <= number < 2**32 for round, rows in found.items() for number in (round, *rows)):
            raise ValueError("a number below 0 or beyond 2**32")
        return found
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"checkpoint {where}: expected rows by round, got {text[:40]!r}") from error
