"""What happened in a round."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .. import Group
from .. import RoundReport as SelectionReport
from .._told import told
from ._messages import listed


@dataclass
class RoundReport:
    """One round of the federation, by client number."""

    round: int
    """Flower's number of it, from 1."""
    clients: list[int] = field(default_factory=list)
    """Who was asked."""
    answered: list[int] = field(default_factory=list)
    """Who sent a summary."""
    groups: int = 0
    """Groups that were reported in all."""
    ordered: dict[int, int] = field(default_factory=dict)
    """Records that were ordered of each client, at least 1; others do not train."""
    trained: dict[int, int] = field(default_factory=dict)
    """Records that each client trained on, of those whose update counts."""
    left_out: dict[int, str] = field(default_factory=dict)
    """Who was left out, and why."""
    weights: dict[int, float] = field(default_factory=dict)
    """The weight of each client in the arrays; empty where an inner strategy of Flower's aggregates."""
    limited: dict[int, str] = field(default_factory=dict)
    """Whose update the aggregator cut down or left out, and why."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the aggregator measured, by name."""
    discarded: str | None = None
    """Why what was aggregated is not taken, where that is so."""
    picked: list[Group] = field(default_factory=list)
    """The groups that records were ordered of, and why; the clients' records and scores stay with them."""
    not_evaluated: dict[int, str] = field(default_factory=dict)
    """Whose evaluation does not count, and why."""
    refused: dict[int, str] = field(default_factory=dict)
    """Nodes that take no part because it is not known which client they are, by Flower's number of the node, and why."""

    @property
    def records(self) -> int:
        """Records that were trained on."""
        return sum(self.trained.values())

    def __str__(self) -> str:
        text = (
            f"round {self.round}: {len(self.answered)} of {len(self.clients)} clients answered "
            f"with {self.groups} groups; {sum(self.ordered.values())} records ordered of {len(self.ordered)} clients, "
            f"{self.records} trained on"
        )
        if self.left_out:
            text += f"; left out: clients {listed(self.left_out)}"
        if self.refused:
            text += f"; refused: nodes {listed(self.refused)}"
        return text

    def reasons(self, most: int = 5) -> str:
        """Why the first groups were picked, in the order of the choice, for a log line; empty where the method says nothing."""
        ranked = sorted((group for group in self.picked if group.rank is not None), key=lambda group: group.rank or 0)
        texts = []
        for group in ranked[:most]:
            caps = f", reached {' and '.join(group.caps)}" if group.caps else ""
            texts.append(f"{group.rank}. client {group.client} group {group.cluster}: {group.ordered}, gain {group.gain:.3g}{caps}")
        more = [f"{len(ranked) - most} more"] if len(ranked) > most else []
        return "; ".join([*texts, *more])

    def end(self, ended: SelectionReport) -> None:
        """Takes in what the selection reports of the round; reasons that are known here stay in their own words."""
        # Reasons of the core name what a client sent, too.
        self.left_out = {client: told(reason) for client, reason in ended.left_out.items()} | self.left_out
        self.weights, self.limited = ended.weights, {client: told(reason) for client, reason in ended.limited.items()}
        self.measures, self.discarded = ended.measures, ended.discarded

    def write(self) -> dict[str, Any]:
        """In JSON's terms."""
        return asdict(self) | {name: {str(k): v for k, v in getattr(self, name).items()} for name in _BY_CLIENT}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> RoundReport:
        """From what :meth:`write` gave."""
        picked = [Group(**(group | {"caps": tuple(group["caps"])})) for group in fields.get("picked", [])]
        by_client = {name: {int(k): v for k, v in fields.get(name, {}).items()} for name in _BY_CLIENT}
        return cls(**(fields | by_client | {"picked": picked}))


_BY_CLIENT = ("ordered", "trained", "left_out", "weights", "limited", "not_evaluated", "refused")
