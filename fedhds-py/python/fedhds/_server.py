"""The server's half of the selection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _native
from ._guard import guarded
from ._aggregators import aggregator as _aggregator
from ._aggregators import names_of
from ._arrays import seed as _seed
from ._model import Adapter, _adapter, _count
from ._native import AdapterError
from ._selection import Method, _bytes, _id, _method, _own_stages


@dataclass(frozen=True)
class Group:
    """A group that a client reported, and what became of it."""

    client: int
    cluster: int
    """The client's number for it."""
    records: int
    """Records in it."""
    server_cluster: int
    """The server's cluster of it; -1 for none."""
    ordered: int
    """Records that were ordered of it."""
    rank: int | None = None
    """Place of its first record in the order of the greedy choice, from 1; None where the method has no such order, or nothing was ordered."""
    gain: float | None = None
    """What that record added to what the selector maximises, in the selector's own unit; comparable within a round alone."""
    covered_records: float | None = None
    """Records of earlier rounds near it, each counted by its similarity in [0, 1], where the method's memory measures so."""
    covered_distance: float | None = None
    """Distance to the nearest place that earlier rounds trained on, where the method's memory measures so."""
    caps: tuple[str, ...] = ()
    """The limits that it reached: ``share`` (its client gives as much as it may), ``room`` (nothing is left of it), ``pass`` (the open gate
    keeps back what is left)."""


@dataclass(frozen=True)
class RoundReport:
    """What happened in a round, by client number."""

    left_out: dict[int, str] = field(default_factory=dict)
    """Who was left out, and why; clients that stayed silent are not among them."""
    trained: dict[int, int] = field(default_factory=dict)
    """Records that the accepted updates trained on."""
    weights: dict[int, float] = field(default_factory=dict)
    """The weight of each client in the adapter, as shares that sum to 1."""
    limited: dict[int, str] = field(default_factory=dict)
    """Whose update the aggregator cut down or left out, and why."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the aggregator measured, by name."""
    discarded: str | None = None
    """Why what was aggregated is not taken, where that is so."""
    missing: int = 0
    """Records that the round asked for and that nobody trained on; where the method groups once, the next round makes up for them."""
    missing_tokens: int = 0
    """Tokens that the round asked for and that nobody trained on, where the budget is in tokens; likewise."""
    gate: dict[str, Any] | None = None
    """What the clients' scores say of their records, where the method has a quality gate: ``answered``, ``abstained``, ``counted``,
    ``raw``, ``lower``, ``bad`` (the share of bad records), ``separation`` (how well the judges tell prompts apart), ``least_score`` and ``open`` (whether they are left out)."""


@dataclass(frozen=True)
class FinishedRound(RoundReport):
    """How a round ended."""

    adapter: Adapter | None = None
    """The new global adapter; None where nobody trained: the adapter stays as it was."""


def _report(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a report of the native module's: JSON has text for client numbers."""

    def by_client(table: Mapping[str, Any]) -> dict[int, Any]:
        return {int(client): value for client, value in sorted(table.items(), key=lambda item: int(item[0]))}

    aggregation = told["aggregation"]
    return {
        "left_out": by_client(told["left_out"]),
        "trained": by_client(told["trained"]),
        "weights": by_client(aggregation["weights"]),
        "limited": by_client(aggregation["limited"]),
        "measures": dict(aggregation["measures"]),
        "discarded": aggregation["discarded"],
        "missing": told["missing"],
        "missing_tokens": told["missing_tokens"],
        "gate": told["gate"],
    }


CAPS = ("share", "room", "pass")
"""The limits that a group can reach, in the order in which they are told."""


def reason_fields(reason: Mapping[str, Any]) -> dict[str, Any]:
    """What a server says of a group, by the names that it has in Python."""
    covered, caps = reason.get("covered", {}), reason.get("caps", {})
    return {
        "rank": reason.get("rank"),
        "gain": reason.get("gain"),
        "covered_records": covered.get("records"),
        "covered_distance": covered.get("distance"),
        "caps": tuple(cap for cap in CAPS if caps.get(cap)),
    }


@guarded
class Server:
    """The server's half of the selection.

    A round: :meth:`begin_round`, :meth:`receive` for each summary, :meth:`select`, :meth:`receive` for each update, :meth:`finish_round`.
    A message that is refused raises, leaves its client out of the round with a reason, and touches nobody else.

    Args:
        method: what selects.
        layers: as for :class:`Client`.
        seed: the experiment's; the frame that clients share comes from it.
        aggregator: :class:`WeightedMean` (None: eq. 12), :class:`FedAvgM`, :class:`FedAdam`, :class:`FlexLora`, :class:`FfaLora`,
            :class:`RoLora`, :class:`FedSvd`, their settings as a dict with ``kind``, or an
            object with ``add(client, adapter, records, loss)`` and ``finish()``, which gives an adapter, None, or one of them and a report:
            a dict of ``weights``, ``limited``, ``measures``, ``discarded``, as :class:`RoundReport` has them. It may have
            ``begin(adapter, round)``; ``state()`` (bytes) and ``resume(state)``, without which it keeps nothing between rounds;
            ``trains(round)``, which factors a round trains (``both``, ``a`` or ``b``); ``takes_ranks()``, whether clients may have smaller
            ranks; and ``memory(clients, values)``, the most bytes that it holds.

    Example:
        >>> import fedhds
        >>> server = fedhds.Server("random", aggregator=fedhds.FedAdam(learning_rate=0.02))
        >>> server.begin_round(0, [0, 1])[:2]
        b'FH'
    """

    def __init__(self, method: Method | str, *, layers: int = 1, seed: int = 0, aggregator: Any = None) -> None:
        self._seed = _seed(seed)
        chosen, joined = _method(method), _aggregator(aggregator)
        self._native = _native.Server(chosen._json, _id(layers, "layers"), self._seed, chosen._wrapped, joined)
        self._native.identify(names_of(aggregator) | _own_stages(chosen))
        self._given: dict[str, Any] = {
            "method": chosen, "layers": layers, "seed": self._seed, "aggregator": aggregator
        }  # fmt: skip
        self._adapter: Adapter | None = None  # the global one of the round, for a copy

    def begin_round(self, round: int, clients: Iterable[int], adapter: Adapter | None = None) -> bytes:
        """Begins a round with these clients; the answer goes to each of them. A round that still runs is left.

        Args:
            round: the round, from 0; later than the last.
            clients: their numbers.
            adapter: the global one, which clients train and the aggregator begins from. Without it the round selects and takes no
                updates: another library aggregates, and :meth:`end_round` ends it.
        """
        ids = [_id(client, "clients") for client in clients]
        self._native.abandon_round()
        start = self._native.begin_round(_id(round, "round"), ids, _adapter(adapter))
        self._adapter = adapter
        return start

    def receive(self, client: int, message: bytes) -> str:
        """Takes in a summary or an update, in any order of clients.

        Args:
            client: who sent it, as the transport knows; one that speaks for another is refused.
            message: what the client's ``summarize`` or ``update`` gave.

        Returns:
            ``"client_summary"`` or ``"local_update"``.

        Raises:
            ProtocolError, AdapterError, StageError: for what cannot be used; the round's report says it too.
        """
        return self._native.receive(_id(client, "client"), _bytes(message, "message"))

    def receive_update(self, client: int, adapter: Adapter, records: int, loss: float | None = None) -> None:
        """Takes in an adapter that came by other ways than :meth:`receive`: trained on so many of the records that were ordered.

        Raises:
            ProtocolError: for a client without an order, a second update, or more records than were ordered.
            AdapterError: for one that is not like the global adapter.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None")
        mean = None if loss is None else float(loss)
        self._native.receive_update(_id(client, "client"), native, _count("records", records), mean)

    def most(self, client: int) -> int:
        """The most records that a client may train on in this round: those that were ordered; for an order in tokens those of all its ordered
        and spare groups. 0 before :meth:`select`.
        """
        return self._native.most(_id(client, "client"))

    def leave_out(self, client: int, reason: str) -> None:
        """Notes that a client is left out of the round, for a reason that the transport knows."""
        self._native.leave_out(_id(client, "client"), str(reason))

    def select(self) -> Mapping[int, bytes]:
        """Selects; an order for each client that sent a summary, to be sent to it. Clients that stay silent are left out."""
        return self._native.select(self._seed)

    def orders(self) -> Mapping[int, bytes]:
        """The orders of this round again, for example after :meth:`resume`; none before :meth:`select`."""
        return self._native.orders()

    def finish_round(self) -> FinishedRound:
        """Ends the round: the joined adapter, made in the order of clients, and what happened on the way."""
        adapter, report = self._native.finish_round()
        return FinishedRound(**_report(report), adapter=None if adapter is None else Adapter._of(adapter))

    def end_round(self, trained: Mapping[int, int]) -> RoundReport:
        """Ends a round whose adapters another library joined: a memory of the selection learns what was trained on.

        Args:
            trained: records that each client trained on whose update was accepted.
        """
        accepted = {_id(client, "client"): _count("records", records) for client, records in trained.items()}
        return RoundReport(**_report(self._native.end_round(accepted)))

    def abandon_round(self) -> None:
        """Leaves the round as if it had not selected anyone; what came in is dropped."""
        self._native.abandon_round()

    @property
    def selection(self) -> list[Group]:
        """Every group of the round and why it gives records, after :meth:`select`; after :meth:`resume` without the reasons."""
        return [
            Group(client, cluster, records, server_cluster, ordered, **reason_fields(reason))
            for client, cluster, records, server_cluster, ordered, reason in self._native.selection()
        ]

    def state(self) -> bytes:
        """What it knows, for another process to go on: the round, and what aggregator and memory keep between rounds.

        Raises:
            ProtocolError: once an update of the round came in: a running sum is not part of it.
        """
        return self._native.state()

    def resume(self, state: bytes, adapter: Adapter | None = None) -> None:
        """Goes on from :meth:`state`.

        Args:
            state: of a server with the same method, layers, seed and aggregator.
            adapter: the global one, in the middle of a round that began with it; else it may be given to be held against those of earlier
                rounds: one of another model is refused.

        Raises:
            ProtocolError: for the state of another; the message names what differs.
            AdapterError: for an adapter unlike those of earlier rounds.
        """
        self._native.resume(_bytes(state, "server state"), _adapter(adapter))
        self._adapter = adapter

    def __reduce__(self) -> tuple[Any, ...]:
        own = {name: value for name, value in vars(self).items() if name != "_native"}
        return _server_again, (type(self), self._given, self.state(), self._adapter), own


def _server_again(kind: type[Server], given: Mapping[str, Any], state: bytes, adapter: Adapter | None) -> Server:
    server = object.__new__(kind)
    Server.__init__(server, **given)
    server.resume(state, adapter)
    return server
