"""FedML's aggregator, in two phases a round."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from .._native import AdapterError, ProtocolError
from .._selection import Method
from .._server import Server
from . import _bases
from ._params import ORDER, RECORDS, ROUND, START, SUMMARY, Hooks, Params, check, numpy_of, packed, split

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
        that records were ordered of, and why: the fields of :class:`fedhds.Group`)."""
        self._clients = list(range(int(args.client_num_in_total)))
        self._rounds = int(args.comm_round) // 2
        self._server = Server(self.method, layers=layers, seed=seed)
        self._round = 0
        self._start: bytes | None = None
        self._phase = "summaries"
        self._answered = False
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
        for client, (_, params) in enumerate(raw_client_model_or_grad_list):
            try:
                records, state = self._update(client, params)
            except Exception as error:  # whatever it sent: this client is left out, and nobody else
                self._leave_out(client, error)
                continue
            if records:
                now["trained"][client] = records
                # Of an order in tokens a client weighs no more than the records that were ordered: how many it took is its own word.
                kept.append((min(records, now["ordered"][client]), state))
                places.append(client)
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
        self.history.append({"round": self._round, "ordered": {}, "trained": {}, "left_out": {}, "picked": []})
        answered = False
        for client, params in enumerate(replies):
            try:
                message = split(params)[1].get(SUMMARY)
                if message is None:
                    raise ProtocolError("protocol: client_summary: expected one in the parameters, got none")
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
        return {client: packed({ROUND: self._round, ORDER: orders.get(client, b"")}) for client in self._clients}

    def _end_round(self) -> None:
        """A memory of the selection learns what was trained on; the round is over."""
        now = self.history[-1]
        if self._answered:
            now["left_out"] = self._server.end_round(now["trained"]).left_out | now["left_out"]
        else:
            self._server.abandon_round()

    def _update(self, client: int, params: Any) -> tuple[int, Params]:
        """How many records a client trained on, and its adapter.

        Raises:
            ProtocolError, AdapterError: for what cannot be used.
        """
        state, messages = split(params)
        records, most = messages.get(RECORDS), self._server.most(client)
        if records is None or records > most:
            raise ProtocolError(f"protocol: local_update: expected at most {most} records, got {records}")
        own = self.get_adapter()
        if list(state) != list(own):
            unlike = sorted(set(state) ^ set(own))[:3]
            raise AdapterError(f"adapter: expected the names of the server's, in its order, got other ones: {unlike}")
        for name, value in state.items():
            array, shape = numpy_of(value), tuple(own[name].shape)
            if array.shape != shape or not np.isfinite(array).all():
                raise AdapterError(f"adapter: {name}: expected finite values of shape {shape}, got {array.shape}")
        return records, state

    def _leave_out(self, client: int, error: Exception) -> None:
        logger.warning("round %s: client %s is left out: %s", self._round, client, error)
        self.history[-1]["left_out"][client] = str(error)


class _Alone:
    """While FedML's own code runs, the parameters it asks for are adapters without messages."""

    def __init__(self, aggregator: ServerAggregator) -> None:
        self._aggregator = aggregator

    def __enter__(self) -> None:
        self._aggregator._adapters_alone = True

    def __exit__(self, *_: object) -> None:
        self._aggregator._adapters_alone = False
