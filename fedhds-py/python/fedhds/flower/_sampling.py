"""How many clients, and which: of a round, or of a quorum."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from .._native import ParameterError

Amount = int | float | None


def amount(value: Amount, name: str) -> Amount:
    """Some clients: a count, a share, or None for all.

    Raises:
        ParameterError: for anything else.
    """
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    share = isinstance(value, float) and 0.0 < value <= 1.0
    if value is None or count or share:
        return value
    raise ParameterError(f"{name}: expected a count of at least 1, a share in (0, 1], or None, got {value!r}")


def needed(quorum: Amount, clients: int) -> int:
    """How many of the clients a quorum is."""
    if quorum is None:
        return clients
    return min(clients, quorum if isinstance(quorum, int) else math.ceil(quorum * clients - 1e-9))


def sample(clients: Sequence[int], wanted: Amount, seed: int, round: int) -> list[int]:
    """Clients of a round, ascending; the draw depends on (seed, round, client number) alone, not on who else is there.

    Example:
        >>> sample(range(100), 3, seed=7, round=1) == sample(range(99, -1, -1), 3, seed=7, round=1)
        True
    """
    if wanted is None:
        return sorted(clients)
    count = wanted if isinstance(wanted, int) else max(1, int(len(clients) * wanted + 0.5))

    def rank(client: int) -> bytes:
        return hashlib.blake2b(f"sampling {seed} {round} {client}".encode(), digest_size=16).digest()

    return sorted(sorted(clients, key=rank)[:count])
