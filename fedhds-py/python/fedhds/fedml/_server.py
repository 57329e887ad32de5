"""FedML's aggregator, in two phases a round."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .._fitting import same_names
from .._native import ProtocolError
from .._selection import Method
from .._server import Server
from .._told import told
from . import _bases
from ._params import ORDER, RECORDS, ROUND, START, SUMMARY, TICKET, TICKET_BYTES, Hooks, Params, check, client_of, finite, like, packed, split

logger = logging.getLogger("fedhds.fedml")


class ServerAggregator(Hooks, _bases.ServerAggregator):
    """The server: selects in the first of FedML's two rounds, and lets FedML aggregate in the second.

    A client whose message cannot be used, or whose adapter does not fit, is left out of the round with a warning.

    Args:
        model: as for :class:`ClientTrainer`; only its adapter is looked at.
        args: FedML's; ``comm_round`` is twice the rounds, and all clients take part.
        method: what selects.
        layers: as for :class:`ClientTrainer`.
        seed: the experiment's.

    Raises:
        ConfigError: for arguments of FedML's that do not go with two phases.
    """

    def __init__(self, model: Any, args: Any, *, method: Method | str, layers: int = 1, seed: int = 0) -> None:
        super().__init__(model, args)
        check(args)
        self.method = method if isinstance(method, Method) else Method(method)
        self.history: list[dict[str, Any]] = []
        """Each round: ``round``, ``ordered`` and ``trained`` (records by client), ``left_out`` (reasons by client), ``picked`` (the groups
        that records were ordered of, and why: the fields of :class:`fedhds.Group`), ``discarded`` (why the new adapter is not taken; None
        where it is)."""
        self._clients = list(range(int(args.client_num_in_total)))
        self._rounds = int(args.comm_round) // 2
        self._server = Server(self.method, layers=layers, seed=seed)
        self._round = 0
        self._start: bytes | None = None
        self._phase = "summaries"
        self._answered = False
        self._tickets: dict[bytes, int] = {}
        self._adapters_alone = False

    def get_model_params(self) -> Any:
        """The adapter with the start of the round that comes; the adapter alone to FedML's defences."""
        if self._adapters_alone:
            return OrderedDict(self.get_adapter())
        return self._started(OrderedDict(self.get_adapter()))

    def set_model_params(self, model_parameters: Any) -> None:
        if type(model_parameters) is dict:
            return  # the orders, a set of parameters for each client
        self.set_adapter(split(model_parameters)[0])

    def on_before_aggregation(self, raw_client_model_or_grad_list: Any) -> tuple[Any, list[int]]:
        if self._phase == "summaries":
            return raw_client_model_or_grad_list, list(range(len(raw_client_model_or_grad_list)))
        now, kept, places = self.history[-1], [], []
        updates = self._by_speaker([params for _, params in raw_client_model_or_grad_list])
        for client, (place, state, messages) in updates.items():
            try:
                records, state = self._update(client, state, messages)
            except Exception as error:  # whatever it sent: this client is left out, and nobody else
                self._leave_out(client, error)
                continue
            if records:
                now["trained"][client] = records
                # Of an order in tokens a client weighs no more than the records that were ordered: how many it took is its own word.
                kept.append((min(records, now["ordered"][client]), state))
                places.append(place)
        if not kept:
            return [], []
        with _Alone(self):
            kept, indexes = super().on_before_aggregation(kept)
        return kept, [places[index] for index in indexes]

    def aggregate(self, raw_client_model_or_grad_list: Any) -> Any:
        """The orders, by client, in the first phase; the new adapter in the second."""
        if self._phase == "summaries":
            return self._select([params for _, params in raw_client_model_or_grad_list])
        if not raw_client_model_or_grad_list:
            return OrderedDict(self.get_adapter())  # nobody trained
        with _Alone(self):
            return super().aggregate(raw_client_model_or_grad_list)

    def on_after_aggregation(self, aggregated_model_or_grad: Any) -> Any:
        """FedML's own on the adapter, to which the start of the next round is added, where there is one."""
        if ORDER in aggregated_model_or_grad:
            self._phase = "updates"
            return aggregated_model_or_grad
        if self.history[-1]["trained"]:
            with _Alone(self):
                aggregated_model_or_grad = super().on_after_aggregation(aggregated_model_or_grad)
            if not finite(aggregated_model_or_grad):
                self.history[-1]["discarded"] = "the mean of the adapters: expected finite values, got others"
                logger.warning("round %s: the adapter stays as it is: %s", self._round, self.history[-1]["discarded"])
                aggregated_model_or_grad = OrderedDict(self.get_adapter())
        self._end_round()
        self._phase, self._start = "summaries", None
        self._round += 1
        if self._round == self._rounds:
            return aggregated_model_or_grad
        return self._started(aggregated_model_or_grad)

    def test(self, test_data: Any, device: Any, args: Any) -> Any:
        """:meth:`evaluate` after an aggregation; FedML asks after each phase, and the first changes nothing."""
        return self.evaluate(test_data, device, args) if self._phase == "summaries" else None

    def evaluate(self, test_data: Any, device: Any, args: Any) -> Any:
        """Metrics of the adapter on FedML's global test data; a subclass's."""
        return None

    def _started(self, state: Params) -> Params:
        """Parameters with the start of the round, the same however often they are asked for."""
        if self._start is None:
            self._start = self._server.begin_round(self._round, self._clients)
        return OrderedDict(state) | packed({ROUND: self._round, START: self._start})

    def _select(self, replies: Iterable[Any]) -> dict[int, Params]:
        now: dict[str, Any] = {"round": self._round, "ordered": {}, "trained": {}, "left_out": {}, "picked": [], "discarded": None}
        self.history.append(now)
        answered, replies = False, list(replies)
        for place, params in enumerate(replies):
            client = place
            try:
                message = split(params)[1].get(SUMMARY)
                if message is None:
                    raise ProtocolError("protocol: client_summary: expected one in the parameters, got none")
                if len(replies) != len(self._clients):
                    client = client_of(message)  # somebody is missing: places tell no longer who is who
                self._server.receive(client, message)
                answered = True
            except Exception as error:  # as above
                self._leave_out(client, error)
        self._answered = answered
        orders = self._server.select() if answered else {}
        ordered, picked = self.history[-1]["ordered"], self.history[-1]["picked"]
        for group in self._server.selection if answered else []:
            if group.ordered:
                ordered[group.client] = ordered.get(group.client, 0) + group.ordered
                picked.append(asdict(group))
        # Order after order, no adapters: the clients have it from the first phase.
        # FedML takes a client's word for who it is: a ticket, of which the others do not know, says whose answer an answer is.
        self._tickets = {secrets.token_bytes(TICKET_BYTES): client for client in self._clients}
        return {
            client: packed({ROUND: self._round, ORDER: orders.get(client, b"") + ticket})
            for ticket, client in self._tickets.items()
        }

    def _end_round(self) -> None:
        """A memory of the selection learns what was trained on; the round is over."""
        now = self.history[-1]
        if self._answered:
            ended = self._server.end_round(now["trained"] if now["discarded"] is None else {})
            now["left_out"] = {client: told(reason) for client, reason in ended.left_out.items()} | now["left_out"]
        else:
            self._server.abandon_round()

    def _by_speaker(self, replies: list[Any]) -> dict[int, tuple[int, Params, dict[str, Any]]]:
        """Place, adapter and messages of each client's reply, ascending; by the ticket of its order, whatever place it came in."""
        found: dict[int, tuple[int, Params, dict[str, Any]]] = {}
        liars: set[int] = set()
        everybody = len(replies) == len(self._clients)
        for place, params in enumerate(replies):
            try:
                state, messages = split(params)
                speaker = self._tickets.get(messages.get(TICKET, b""))
                if speaker is None:
                    raise ProtocolError("protocol: local_update: expected the ticket of its order in `fedhds.records`, got none that is known")
                if everybody and speaker != place:
                    liars.add(speaker)
                    self._leave_out(speaker, f"protocol: local_update: client: expected {speaker}, whose order it had, got {place}")
                    raise ProtocolError(f"protocol: local_update: expected an update of its own, got one of client {speaker} in its name")
                found.setdefault(speaker, (place, state, messages))
            except Exception as error:  # whatever it sent: this client is left out, and nobody else
                if everybody:
                    self._leave_out(place, error)
                else:
                    logger.warning("round %s: a reply of nobody knows whom: %s", self._round, told(error))
        for client in set(self.history[-1]["ordered"]) - found.keys():
            self.history[-1]["left_out"].setdefault(client, "no update of its own")
        return {client: found[client] for client in sorted(found) if client not in liars}

    def _update(self, client: int, state: Params, messages: dict[str, Any]) -> tuple[int, Params]:
        """How many records a client trained on, and its adapter, in the order and types of the server's.

        Raises:
            ProtocolError, AdapterError: for what cannot be used.
        """
        records, most = messages.get(RECORDS), self._server.most(client)
        if records is None or records > most:
            raise ProtocolError(f"protocol: local_update: expected at most {most} records, got {records}")
        own = self.get_adapter()
        same_names(own, state, "in an update")
        return records, OrderedDict((name, like(name, state[name], value, "in an update")) for name, value in own.items())

    def _leave_out(self, client: int, error: object) -> None:
        reason = told(error)
        logger.warning("round %s: client %s is left out: %s", self._round, client, reason)
        self.history[-1]["left_out"][client] = reason


class _Alone:
    """While FedML's own code runs, the parameters it asks for are adapters without messages."""

    def __init__(self, aggregator: ServerAggregator) -> None:
        self._aggregator = aggregator

    def __enter__(self) -> None:
        self._aggregator._adapters_alone = True

    def __exit__(self, *_: object) -> None:
        self._aggregator._adapters_alone = False
