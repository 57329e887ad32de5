"""Whose data it is that a computation over many clients fails on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .._told import told

Result = TypeVar("Result")


def without_culprits(attempt: Callable[[list[int]], Result], clients: Sequence[int]) -> tuple[Result, dict[int, str]]:
    """Does it with all clients; where that fails, without those on whose data it fails. Gives the result, and who they are and why.

    Each is tried alone; where that tells nothing, as a strategy may need several, all but one.

    Raises:
        Exception: the first, where it is nobody's data in particular: then the computation itself is at fault.
    """
    everybody = list(clients)
    try:
        return attempt(everybody), {}
    except Exception as error:
        first = error
    alone = {client: _fails(attempt, [client]) for client in everybody}
    culprits = {client: told(error) for client, error in alone.items() if error is not None}
    if not 0 < len(culprits) < len(everybody):
        without = {client: [other for other in everybody if other != client] for client in everybody}
        culprits = {client: told(first) for client, rest in without.items() if rest and _fails(attempt, rest) is None}
    if not 0 < len(culprits) < len(everybody):
        raise first
    return attempt([client for client in everybody if client not in culprits]), culprits


def _fails(attempt: Callable[[list[int]], Result], clients: list[int]) -> Exception | None:
    try:
        attempt(clients)
    except Exception as error:
        return error
    return None
