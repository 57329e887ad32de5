"""The strategy: two phases a round, and any inner strategy to aggregate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from logging import getLogger
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from .. import Group, Method, Server
from .._aggregators import aggregator as checked_aggregator
from .._aggregators import settings_of
from .._arrays import seed as checked_seed
from .._identity import identity_of
from .._native import ParameterError, ProtocolError
from .._told import told
from ._evaluation import WITHOUT_NUMBER, evaluated
from ._exchange import GRACE, Exchange
from ._guard import aggregated
from ._join import join
from ._mean import WeightedMean, as_adapter
from ._messages import BODY, QUERY, Header, answer_of, arrays_key, client_stages, listed, reason_of, with_keys
from ._nodes import Nodes
from ._replies import sort_replies
from ._report import RoundReport
from ._run import ResumableStrategy
from ._sampling import amount, sample
from ._tensors import arrays_of

logger = getLogger("flwr.fedhds")


class FedHDS(ResumableStrategy):
    """Data-efficient instruction tuning as a strategy of Flower's message API.

    A round: the clients that the inner strategy samples are asked for summaries (``query.hds_extract``), the server
    selects, and only clients of which records are wanted are told to train, each with its own order. What comes back is
    aggregated in ascending order of client numbers: by the core where ``inner`` is :class:`WeightedMean`, else by the
    inner strategy, which does all of the evaluation.

    Clients that do not answer, or answer with anything that does not fit, are left out with a reason in the round's
    report, and the round goes on without them. A round in which nobody answers, or nothing is selected, leaves the
    arrays as they are.

    What aggregation keeps between rounds (FedAdam's moments) is in the checkpoint: the core's with the selection's
    state, and an inner strategy's as the attributes in which Flower keeps it.

    Args:
        method: what selects.
        inner: any strategy of Flower that aggregates train replies; None is :class:`WeightedMean`. Wrappers for
            differential privacy go in here too, so that this strategy stays the outermost one.
        aggregator: how the core aggregates, as for :class:`fedhds.Server`: ``fedhds.FedAdam(learning_rate=0.01)``, say.
            Only where ``inner`` is None or a :class:`WeightedMean`.
        seed: the experiment's. With the same seed, clients and replies the arrays are the same bit for bit.
        layers: as for :class:`fedhds.Server`.
        clients_per_round: of the clients that the inner strategy samples, so many (at least 1) or such a share (in (0,
            1]); drawn by (seed, round, client number), so that it can be repeated, which the inner strategy's own
            sampling cannot. None is all.
        query_timeout: seconds to wait for the summaries, above 0; None waits until each node has answered or is given
            up by Flower.
        quorum: how many of the nodes that are asked must have answered for a phase to end at its soft deadline: a count (at least 1), a share
            (in (0, 1]), or None for all, which waits as long as the phase has time.
        soft_deadline: seconds of a phase after which a quorum is enough, above 0; None is half of its time (`query_timeout` for summaries,
            `timeout` of :meth:`start` for training and evaluation), but no less than ten minutes.
        start_with: nodes to wait for before the first round, at least 1.
        checkpoint: file that is written after each round, and from which :meth:`start` goes on; None keeps nothing.

    Raises:
        ParameterError: for a parameter that does not fit.

    Example:
        >>> from fedhds import Method
        >>> from fedhds.flower import FedHDS
        >>> from flwr.serverapp.strategy import FedAdam
        >>> FedHDS(Method("fedhds_coverage", budget=20), inner=FedAdam(eta=0.01), seed=7)
        FedHDS(Method('fedhds_coverage'), inner=FedAdam)
    """

    def __init__(
        self,
        method: Method | str,
        inner: Strategy | None = None,
        *,
        aggregator: Any = None,
        seed: int = 0,
        layers: int = 1,
        clients_per_round: int | float | None = None,
        query_timeout: float | None = 3600.0,
        quorum: int | float | None = 2 / 3,
        soft_deadline: float | None = None,
        start_with: int = 1,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(
            WeightedMean() if inner is None else inner,
            checkpoint=checkpoint,
            start_with=start_with,
            exchange=Exchange(quorum, soft_deadline),
        )
        if query_timeout is not None and not query_timeout > 0:
            raise ParameterError(f"query_timeout: expected seconds above 0 or None, got {query_timeout!r}")
        self.method = method if isinstance(method, Method) else Method(method)
        self.seed = checked_seed(seed)
        self.layers = layers
        self.clients_per_round = amount(clients_per_round, "clients_per_round")
        self.query_timeout = query_timeout
        self.aggregator = aggregator
        checked_aggregator(aggregator)
        # An inner strategy that aggregates in a way of its own is asked.
        self._core = type(self.inner).aggregate_train is WeightedMean.aggregate_train
        if aggregator is not None and not self._core:
            raise ParameterError(
                "aggregator: expected none beside an inner strategy that aggregates by itself, got both; "
                "sampling and evaluation alone are those of fedhds.flower.WeightedMean"
            )
        self._server = self._fresh()
        self._nodes = Nodes()
        self._sent: ArrayRecord = ArrayRecord()
        self._key = "arrays"
        self._evaluating: set[int] | None = None
        self._selection: list[Group] = []

    def __repr__(self) -> str:
        joined = "" if self.aggregator is None else f", aggregator={self.aggregator!r}"
        return f"FedHDS({self.method!r}, inner={type(self.inner).__name__}{joined})"

    @property
    def selection(self) -> list[Group]:
        """Every group that was reported in the last round, and what became of it."""
        return self._selection

    def summary(self) -> None:
        """Logs the settings, and the inner strategy's."""
        logger.info("\t├──> FedHDS settings:")
        logger.info("\t│\t├── Method: %s | seed %s", self.method.settings["name"], self.seed)
        logger.info(
            "\t│\t├── Clients per round: %s",
            "all that are sampled" if self.clients_per_round is None else self.clients_per_round,
        )
        logger.info("\t│\t└── Inner strategy: %s", type(self.inner).__name__)
        self.inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks for summaries, selects, and gives the messages to the clients that are to train.

        Raises:
            StageError: when a stage of the selection fails.
        """
        report = RoundReport(server_round)
        self.reports.append(report)
        self._sent = arrays
        messages = {
            message.metadata.dst_node_id: message
            for message in self.inner.configure_train(server_round, arrays, config, grid)
        }
        self._key = arrays_key(messages.values(), self._key)
        found = self._nodes.identify(
            messages, lambda nodes: self._hello(grid, server_round, nodes), self._exchange.silent
        )
        report.refused = dict(self._nodes.refused)
        report.clients = sample(list(found), self.clients_per_round, self.seed, server_round)
        nodes = {client: found[client] for client in report.clients}
        self._collect(grid, server_round, {client: messages[node] for client, node in nodes.items()}, report)
        orders = self._server.select() if report.answered else {}
        self._selection = self._server.selection
        for group in self._selection:
            report.groups += 1
            if group.ordered:
                report.ordered[group.client] = report.ordered.get(group.client, 0) + group.ordered
                report.picked.append(group)
        if reasons := report.reasons():
            logger.info("round %s: picked %s", server_round, reasons)
        if not report.ordered:
            logger.warning(
                "round %s: nothing is selected of %s clients; the arrays stay as they are",
                server_round,
                len(report.clients),
            )
        return [
            self._message(messages[nodes[client]], self._header("train", server_round, client), orders[client])
            for client in sorted(report.ordered)
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregates the replies that fit, in ascending order of client numbers: in the core, or by the inner strategy."""
        report = self.reports[-1]
        updates = sort_replies(replies, report, self._sent, self._nodes, self._server.most)
        arrays: ArrayRecord | None = None
        metrics: MetricRecord | None = None
        if not report.answered:
            self._server.abandon_round()  # nothing was selected
        elif self._core:
            arrays, metrics = join(self._server, self.inner, self._sent, updates, self._key, report)
        else:
            discarded: str | None = None
            if updates:
                made = aggregated(self.inner, server_round, updates, self._sent, self._key)
                arrays, metrics, discarded = made.arrays, made.metrics, made.discarded
                report.left_out |= made.left_out
                report.trained = {client: n for client, n in report.trained.items() if client not in made.left_out}
            report.end(self._server.end_round({} if arrays is None else report.trained))
            report.discarded = report.discarded or discarded
        for client, reason in sorted(report.left_out.items()):
            logger.warning("round %s: client %s is left out: %s", server_round, client, reason)
        if report.discarded is not None:
            logger.warning("round %s: the arrays stay as they are: %s", server_round, report.discarded)
        logger.info("fedhds: %s", report)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's, but to nodes that were refused."""
        made = self.inner.configure_evaluate(server_round, arrays, config, grid)
        messages = [message for message in made if message.metadata.dst_node_id not in self._nodes.refused]
        self._evaluating = {message.metadata.dst_node_id for message in messages}
        return messages

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The inner strategy's, of the replies that fit and in ascending order of client numbers."""
        metrics, left_out = evaluated(self.inner, server_round, replies, self._nodes, self._evaluating)
        self._evaluating = None
        for place, reason in left_out.items():
            who = f"node {place - WITHOUT_NUMBER}" if place >= WITHOUT_NUMBER else f"client {place}"
            logger.warning("round %s: the evaluation of %s does not count: %s", server_round, who, reason)
        if self.reports:
            report = self.reports[-1]
            report.not_evaluated = {place: reason for place, reason in left_out.items() if place < WITHOUT_NUMBER}
            report.refused |= {place - WITHOUT_NUMBER: reason for place, reason in left_out.items() if place >= WITHOUT_NUMBER}
        return metrics

    def _header(self, phase: str, server_round: int, client: int | None) -> Header:
        return Header(
            phase,
            server_round,
            client,
            str(self.seed),
            self._experiment,
            self.method.settings,
            client_stages(self.method),
        )

    def _hello(self, grid: Grid, server_round: int, nodes: Iterable[int]) -> Iterable[Message]:
        """Asks nodes which clients they are."""
        header = self._header("hello", server_round, None)
        messages = [
            Message(RecordDict({"config": with_keys({}, header, None)}), node, QUERY, group_id=str(server_round))
            for node in nodes
        ]
        # It takes a node no work to say. Once there are others to go on with, nobody is waited for longer than for one that was silent.
        timeout = self.query_timeout
        if self._nodes.known and (timeout is None or timeout > GRACE):
            timeout = GRACE
        return self._exchange(grid, messages, "hello", timeout)

    def _collect(self, grid: Grid, server_round: int, templates: dict[int, Message], report: RoundReport) -> None:
        """Asks the clients for summaries and takes in what comes."""
        sent = as_adapter(arrays_of(self._sent)) if self._core else None
        start = self._server.begin_round(server_round - 1, report.clients, sent)
        tuned = self.method.settings["features"] == "model"
        queries = [
            self._message(template, self._header("extract", server_round, client), start, query=True, arrays=tuned)
            for client, template in templates.items()
        ]
        clients = {message.metadata.dst_node_id: client for client, message in zip(templates, queries, strict=True)}
        heard: set[int] = set()
        for reply in self._exchange(grid, queries, "summary", self.query_timeout):
            client = clients.get(reply.metadata.src_node_id)
            if client is None or client in heard:
                continue  # an error of the grid itself: its client stays silent; or a second answer
            heard.add(client)
            try:
                if reply.has_error():
                    raise ProtocolError(reason_of(reply))
                body = answer_of(reply).get(BODY)
                if not isinstance(body, bytes):
                    raise ProtocolError(f"protocol: client_summary: expected bytes, got {type(body).__name__}")
                self._server.receive(client, body)
                report.answered.append(client)
            except Exception as error:  # whatever it sent: this client is left out, and nobody else
                report.left_out[client] = told(error)
        report.answered.sort()
        for client in report.clients:
            if client not in report.answered:
                report.left_out.setdefault(client, "no answer to the query")
        if report.left_out:
            logger.info("round %s: no summary of clients %s", server_round, listed(report.left_out))

    def _message(
        self, template: Message, header: Header, body: bytes, *, query: bool = False, arrays: bool = True
    ) -> Message:
        """The inner strategy's message with our keys in its config; the arrays only where they are needed."""
        records = dict(template.content.items())
        configs = template.content.config_records
        key = next(iter(configs), "config")
        records[key] = with_keys(configs.get(key, ConfigRecord()), header, body)
        if not arrays:
            records = {name: record for name, record in records.items() if not isinstance(record, ArrayRecord)}
        kind = QUERY if query else template.metadata.message_type
        return Message(
            RecordDict(records),
            template.metadata.dst_node_id,
            kind,
            group_id=str(header.round),
            ttl=template.metadata.ttl,
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "method": self.method.settings,
            "aggregator": settings_of(self.aggregator) or identity_of(self.aggregator),
            "seed": self.seed,
            "layers": self.layers,
            "clients_per_round": self.clients_per_round,
        }

    def _fresh(self) -> Server:
        return Server(self.method, layers=self.layers, seed=self.seed, aggregator=self.aggregator)

    def _state(self) -> bytes:
        return self._server.state()

    def _begin(self, state: bytes | None) -> None:
        self._server = self._fresh()
        self._nodes = Nodes()
        self._exchange.forget()
        if state is not None:
            self._server.resume(state)
