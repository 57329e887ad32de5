"""What a client answers a round's start with, where its records are at hand: near copies, and its part in the quality gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from ._judge import has_gate, pair_losses
from ._native import InputError
from ._records import Record
from ._selection import Client, Method
from ._text import TextFeatures, copies_of, counts_distinct, near_copies


def summarized(
    machine: Client,
    method: Method,
    start: bytes,
    features: ArrayLike | None,
    count: int,
    records: Sequence[Record] | None,
    judge: Any,
    tokens: Sequence[int] | None,
) -> bytes:
    """The summary, with the answer to the gate's question where somebody judges: the same as in the core's simulation.

    Args:
        machine: the client.
        method: the client's.
        start: the server's.
        features: of the records; None for methods that look at none.
        count: how many records there are.
        records: the records themselves, where they are known.
        judge: what gives losses of records; None declines.
        tokens: of each record, where the method's budget counts them.
    """
    copies = alike = prompts = None
    if records is not None:
        copies = copies_of(method, records)
        if copies is None and counts_distinct(method):
            alike = near_copies(records)
        if judge is not None and has_gate(method):
            prompts = TextFeatures().prompts(records)
    summary = machine.summarize(start, features, records=count, copies=copies, alike=alike, prompts=prompts, tokens=tokens)
    if judge is None or records is None:
        return summary
    return machine.answer(summary, start, pair_losses(judge, records, machine.pilot(start)))


def of_texts(records: Sequence[Record] | None, method: Method) -> ArrayLike:
    """The features of a method that looks at texts.

    Raises:
        InputError: where the records are not known.
    """
    if records is None:
        name = method.settings["name"]
        raise InputError(f"records: expected the records, whose texts the method {name!r} looks at, or their features; got neither")
    return TextFeatures().extract(records)
