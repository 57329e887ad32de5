"""Replies that no honest client sends, made by a seed: for each phase of a round of `fedhds.flower`."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from flower_toy import COLUMNS

Make = Callable[[random.Random, Message, Message], Message]


def answered(message: Message, *records: tuple[str, Any]) -> Message:
    return Message(RecordDict(dict(records)), reply_to=message)


def unchecked(values: dict[Any, Any]) -> MetricRecord:
    """A record with what Flower refuses to put into one: a client of one's own need not ask it."""
    record = MetricRecord()
    record.__dict__["_data"].update(values)
    return record


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


WORDS = ["", "x" * 100_000, "\x1b[2J\x1b[H", "line\nFATAL: everything is lost", "\u202egnorw", "\x00\x07", "\ud800", "{" * 5000]


def error(rng: random.Random, message: Message, reply: Message) -> Message:
    return Message(Error(rng.choice([0, 2, -5, 2**40]), rng.choice([None, *WORDS])), reply_to=message)


def empty(rng: random.Random, message: Message, reply: Message) -> Message:
    made = Message(RecordDict(), reply_to=message)
    if rng.random() < 0.5:
        made.__dict__["_content"] = None  # neither content nor error
    return made


def only_config(rng: random.Random, message: Message, reply: Message) -> Message:
    return answered(message, ("fedhds", ConfigRecord({"fedhds": rng.choice(WORDS), "arrays": [1, 2]})))


def parts(reply: Message) -> tuple[dict[str, Array], dict[str, Any]]:
    return dict(reply.content.array_records["arrays"]), dict(reply.content.metric_records["metrics"])


def wrong_array(rng: random.Random) -> Array:
    """In the place of `a`, float32 of shape (1, COLUMNS)."""
    size = (1, COLUMNS)
    shape = f"({rng.choice([2**70, 2**62, 2**40, 10**12])}, {COLUMNS})"
    descr = rng.choice(["<f4", "|O", "<f8", "|V8", "<U5", "<c8"])
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"
    bodies = [
        npy(head), npy(head, bytes(32)), npy("(" * 6000), npy("{" * 9000 + "}" * 900), npy("[]"), b"", b"\x93NUMPY junk",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }\n", bytes(32)),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 8), }\n", bytes(32)),
        npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {COLUMNS}), }}\n", bytes(20)),
        b"PK\x03\x04" + bytes(40), b"\x80\x04\x95" + bytes(40),
    ]  # fmt: skip
    arrays = [
        np.full(size, 1e300), np.full(size, -1e39), np.full(size, np.nan, np.float32), np.full(size, np.inf, np.float16),
        np.zeros((1, 3), np.float32), np.zeros((COLUMNS, 1), np.float32), np.zeros((0, COLUMNS), np.float32), np.zeros((), np.float32),
        np.full(size, 1 + 2j), np.full(size, "text"), np.zeros(size, "datetime64[s]"), np.zeros(size, [("x", "<f4")]),
        np.zeros((1, COLUMNS, 1), np.float32), np.where(np.arange(COLUMNS) == 3, 1e200, 0.5)[None],
    ]  # fmt: skip
    pick = rng.randrange(3)
    if pick == 0:
        return Array("float32", size, rng.choice(["numpy.ndarray", "numpy.ndarray", "pickle", ""]), rng.choice(bodies))
    if pick == 1:
        return Array("float32", rng.choice([size, (1, 2**70), ()]), "numpy.ndarray", rng.choice(bodies))
    return Array(rng.choice(arrays))


def wrong_arrays(rng: random.Random, message: Message, reply: Message) -> Message:
    arrays, metrics = parts(reply)
    records: list[tuple[str, Any]] = []
    pick = rng.randrange(6)
    if pick == 0:
        del arrays[rng.choice(["a", "b"])]
    elif pick == 1:
        arrays[rng.choice(["c", "", "A", "x" * 10_000, "\x1b[31m"])] = arrays["a"]
    elif pick == 2:
        arrays = {}
    elif pick == 3:
        records.append(("more", ArrayRecord(dict(arrays))))
    else:
        arrays["a"] = wrong_array(rng)
    if pick != 2 or rng.random() < 0.5:
        records.append(("arrays", ArrayRecord(arrays)))
    return answered(message, ("metrics", MetricRecord(metrics)), *records)


COUNTS: list[Any] = [0, -1, -(10**9), 2**33, 2**62, 10**400, 2.5, float("nan"), float("inf"), -float("inf"), [1], [], "3", b"3", None, 1j, [[]]]


def wrong_metrics(rng: random.Random, message: Message, reply: Message, loss: str = "train_loss") -> Message:
    metrics = dict(reply.content.metric_records["metrics"])
    others = [(key, record) for key, record in reply.content.items() if key != "metrics"]
    pick = rng.randrange(7)
    if pick == 0:
        del metrics["num-examples"]
    elif pick == 1:
        metrics["num-examples"] = rng.choice(COUNTS)
    elif pick == 2:
        metrics["num-clients"] = rng.choice([0, -1, 10**9, 1e300, [1], "1"])
    elif pick == 3:
        metrics[loss] = rng.choice([[0.5], [], [0.1] * 1000, "0.5", {}, 10**400, None])
    elif pick == 4:
        metrics |= {f"{rng.choice(WORDS)[:50]}{i}": 1.0 for i in range(rng.choice([1, 3, 5000]))}
    elif pick == 5:
        return answered(message, *others, *([] if rng.random() < 0.5 else [("metrics", unchecked(metrics)), ("again", unchecked(metrics))]))
    else:
        metrics = rng.choice([{}, {3: 4}, {loss: 0.0}])
    return answered(message, *others, ("metrics", unchecked(metrics)))


def wrong_evaluation(rng: random.Random, message: Message, reply: Message) -> Message:
    if rng.random() < 0.25:
        metrics = dict(reply.content.metric_records["metrics"]) | {"eval_loss": rng.choice([float("nan"), float("inf"), -float("inf")])}
        return answered(message, ("metrics", MetricRecord(metrics)))
    return wrong_metrics(rng, message, reply, "eval_loss")


def wrong_summary(rng: random.Random, message: Message, reply: Message) -> Message:
    body = reply.content.config_records["fedhds"]["fedhds-message"]
    assert isinstance(body, bytes)
    values: list[Any] = [
        b"", b"F", b"FH\x02\x02", body[:-1], body + b"\x00", b"FH\x02\x05" + body[4:], b"FH\x09" + body[3:], bytes(10**6), rng.randbytes(40),
        body[:4] + b"\xff\xff\xff\xff\x0f" + body[5:], body[:4] + b"\xff" * 40, "text", [1, 2], 3, True, [b"x"],
    ]  # fmt: skip
    key, name = rng.choice([("fedhds", "fedhds-message")] * 6 + [("other", "fedhds-message"), ("fedhds", "message")])
    return answered(message, (key, ConfigRecord({name: rng.choice(values)})))


def bent_summary(rng: random.Random, message: Message, reply: Message) -> Message:
    """The client's own, with some of its bytes changed: it may be refused, or taken for what it says."""
    body = bytearray(reply.content.config_records["fedhds"]["fedhds-message"])  # type: ignore[arg-type]
    for _ in range(rng.choice([1, 1, 2, 5])):
        body += bytes(max(0, 5 - len(body)))
        at = rng.randrange(4, len(body))
        pick = rng.randrange(5)
        if pick == 0:
            body[at] ^= 1 << rng.randrange(8)
        elif pick == 1:
            body[at] = rng.randrange(256)
        elif pick == 2:
            body[at : at + 4] = struct.pack("<f", rng.choice([3e38, -3e38, float("nan"), float("inf"), 1e-45]))
        elif pick == 3:
            body[at : at + 1] = bytes([255, 255, 255, 255, 15])[: rng.choice([1, 5])]
        else:
            del body[at:]
            body += rng.randbytes(rng.choice([0, 1, 30]))
    return answered(message, ("fedhds", ConfigRecord({"fedhds-message": bytes(body)})))


def wrong_hello(rng: random.Random, message: Message, reply: Message) -> Message:
    texts: list[Any] = [
        "[" * 200_000, '{"client": ' * 50_000, '{"client": ' + "[" * 100_000, "{" * 4000, "[]", "null", "3", "junk", *WORDS[1:],
        '{"client": -3}', '{"client": "1"}', '{"client": 4000000000}', '{"client": 1.0}', '{"client": true}', '{"client": NaN}',
        '{"client": 1e999}', '{"client": ' + "9" * 3000 + "}", '{"client": ' + "9" * 9000 + "}", b'{"client": 1}', 1, [1], 0.5,
    ]  # fmt: skip
    return answered(message, ("fedhds", ConfigRecord({"fedhds": rng.choice(texts)})))


def taken_number(rng: random.Random, message: Message, reply: Message) -> Message:
    """Of an honest client: the first of them is 0."""
    return answered(message, ("fedhds", ConfigRecord({"fedhds": json.dumps({"client": 0})})))


FAULTS: dict[str, list[Make]] = {
    "hello": [error, empty, wrong_hello, wrong_hello, wrong_hello, taken_number],
    "extract": [error, empty, only_config, wrong_summary, wrong_summary, wrong_summary],
    "train": [error, empty, only_config, wrong_arrays, wrong_arrays, wrong_arrays, wrong_metrics, wrong_metrics],
    "evaluate": [error, empty, only_config, wrong_evaluation, wrong_evaluation, wrong_evaluation],
}


def phase_of(message: Message) -> str:
    kind = message.metadata.message_type
    if kind != "query.hds_extract":
        return kind
    return str(json.loads(str(message.content["config"]["fedhds"]))["phase"])


def hostile(rng: random.Random, nodes: set[int], phases: set[str], told: list[str]) -> Any:
    """An interference by these nodes in these phases; what they did goes into `told`."""

    def interfere(message: Message, reply: Message | None) -> Message | None:
        phase = phase_of(message)
        if message.metadata.dst_node_id not in nodes or phase not in phases or reply is None or reply.has_error():
            return reply
        make = rng.choice(FAULTS[phase])
        told.append(f"{phase}: {make.__name__}")
        return make(rng, message, reply)

    return interfere


def silent(nodes: set[int], phases: set[str]) -> Any:
    """The same nodes say nothing in these phases."""

    def interfere(message: Message, reply: Message | None) -> Message | None:
        return None if message.metadata.dst_node_id in nodes and phase_of(message) in phases else reply

    return interfere
