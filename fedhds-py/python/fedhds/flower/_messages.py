"""What the strategy and its clients say to each other inside Flower's messages.

Every message of ours holds one ConfigRecord with two keys: a header in JSON, and the bytes of the selection's own
protocol. They lie beside what an inner strategy or a DP wrapper writes into the same record (the clipping mods insist
on a single one).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from flwr.app import ConfigRecord, Message

from .. import Method
from .._native import ProtocolError
from .._told import told

QUERY = "query.hds_extract"
"""The message type of the first phase: ``@app.query("hds_extract")`` answers it."""
ACTION = "hds_extract"

HEADER = "fedhds"
"""Key of the header in the ConfigRecord."""
BODY = "fedhds-message"
"""Key of the selection's bytes in the ConfigRecord."""
RECORD = "fedhds"
"""Key of the ConfigRecord in a client's answer to a query."""

NUM_EXAMPLES = "num-examples"
"""Metric of a reply: records that it trained on, or evaluated."""
NUM_CLIENTS = "num-clients"
"""Metric of a reply: always 1, for means in which each client weighs the same."""
TRAIN_LOSS = "train_loss"
"""Metric of a train reply: mean loss over its steps."""
EVAL_LOSS = "eval_loss"
"""Metric of an evaluation: mean loss over its records."""

VERSION = 1

_SETTINGS = ("preset", "name", "features", "client", "server", "count")
"""The parts of a method's settings."""


@dataclass(frozen=True)
class Header:
    """What the server says of itself in every query and order; the seed is text, as JSON readers may round it."""

    phase: str
    round: int
    """Flower's, from 1; the selection's is one less."""
    client: int | None
    """The number that the client has in the selection; None while it is asked for."""
    seed: str
    experiment: str
    """The same for all runs that one checkpoint joins."""
    method: dict[str, Any]
    """Its settings."""
    stages: list[str]
    """Names of its client stages that are Python objects."""

    def write(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    @property
    def selection_round(self) -> int:
        """The round as the selection counts it, from 0."""
        return self.round - 1

    @property
    def known_client(self) -> int:
        """The client's number, in the phases that have one."""
        if self.client is None:
            raise ProtocolError(f"protocol: {self.phase}: client: expected a number, got none")
        return self.client

    @classmethod
    def read(cls, message: Message, *phases: str) -> Header:
        """The header of a message from the strategy.

        Raises:
            ProtocolError: where there is none, or one of another version or phase.
        """
        text = config_of(message).get(HEADER)
        if not isinstance(text, str):
            raise ProtocolError(
                f"protocol: message: expected one of the FedHDS strategy, got none with the key `{HEADER}`"
            )
        fields = read_json(text, "header")
        version = fields.pop("version", None)
        if version != VERSION:
            raise ProtocolError(f"protocol: header: version: expected {VERSION}, got {version!r}")
        try:
            header = cls(**fields)
        except TypeError as error:
            raise ProtocolError(f"protocol: header: expected this version's fields: {error}") from error
        if header.phase not in phases:
            raise ProtocolError(f"protocol: header: phase: expected {' or '.join(phases)}, got {header.phase!r}")
        header._check()
        return header

    def _check(self) -> None:
        """Whether each field is what it should be: they come from another machine, and one of them names a folder."""
        expected = {
            "round": ("a whole number of at least 1", _whole(self.round, 1, 2**32 - 1)),
            "client": ("a whole number or none", self.client is None or _whole(self.client, 0, 2**32 - 1)),
            "seed": ("a whole number as text", _matches(r"[0-9]{1,20}", self.seed) and int(self.seed) < 2**64),
            "experiment": ("32 hexadecimal digits", _matches(r"[0-9a-f]{32}", self.experiment)),
            "method": ("an object", isinstance(self.method, dict)),
            "stages": ("a list", isinstance(self.stages, list)),
        }
        for name, (what, fits) in expected.items():
            if not fits:
                raise ProtocolError(f"protocol: header: {name}: expected {what}, got {getattr(self, name)!r}")


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def read_json(text: str, what: str) -> dict[str, Any]:
    """An object in JSON.

    Raises:
        ProtocolError: for anything else.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:  # brackets within brackets end the stack
        raise ProtocolError(f"protocol: {what}: expected JSON, got {text[:40]!r}: {told(error, 100)}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(f"protocol: {what}: expected an object, got {text[:40]!r}")
    return fields


def config_of(message: Message) -> ConfigRecord:
    """The ConfigRecord that holds our keys; an empty one where none does."""
    for record in message.content.config_records.values():
        if HEADER in record:
            return record
    return ConfigRecord()


def answer_of(reply: Message) -> ConfigRecord:
    """Our record in a client's answer to a query; an empty one where there is none."""
    return reply.content.config_records.get(RECORD) or ConfigRecord()


def body_of(message: Message, what: str) -> bytes:
    """The selection's bytes in a message.

    Raises:
        ProtocolError: where there are none.
    """
    body = config_of(message).get(BODY)
    if not isinstance(body, bytes):
        raise ProtocolError(f"protocol: {what}: expected bytes with the key `{BODY}`, got {type(body).__name__}")
    return body


def method_of(header: Header) -> Method:
    """The server's method; stages of its own in Python are not part of it.

    Raises:
        ProtocolError: for what is no method's settings.
    """
    settings = dict(header.method)
    unknown = next((name for name in settings if name not in _SETTINGS), None)
    if unknown is not None:
        raise ProtocolError(f"protocol: header: method: expected {', '.join(_SETTINGS)}, got {unknown!r}")
    return Method(settings.pop("preset", ""), **settings)


def client_stages(method: Method) -> list[str]:
    """Names of the stages that run on clients and are Python objects."""
    return sorted(name for name in method.stages if name.startswith("client."))


def with_keys(config: Mapping[str, Any], header: Header, body: bytes | None) -> ConfigRecord:
    """A copy of a config with our keys in it."""
    record = ConfigRecord(cast(dict[str, Any], dict(config)))
    record[HEADER] = header.write()
    if body is not None:
        record[BODY] = body
    return record


def reason_of(message: Message) -> str:
    """Why a client failed, in its own words, on one line."""
    return told(message.error.reason or f"error {message.error.code}")


def listed(numbers: Iterable[int], most: int = 12) -> str:
    """Numbers for a log line."""
    found = sorted(numbers)
    shown = ", ".join(map(str, found[:most]))
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"


def arrays_key(messages: Iterable[Message], otherwise: str) -> str:
    """The name under which messages have their arrays."""
    return next((key for message in messages for key in message.content.array_records), otherwise)
