"""The core's aggregation of a round's replies."""

from __future__ import annotations

from collections.abc import Mapping
from logging import getLogger

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from .. import Server
from .._native import NotFiniteError
from .._told import told
from ._blame import without_culprits
from ._guard import finite_as_sent
from ._mean import WeightedMean, as_adapter, as_arrays
from ._replies import Update, messages_of
from ._report import RoundReport
from ._tensors import arrays_of, record_of

logger = getLogger("flwr.fedhds")


def join(
    server: Server, inner: Strategy, sent: ArrayRecord, updates: Mapping[int, Update], key: str, report: RoundReport
) -> tuple[ArrayRecord | None, MetricRecord | None]:
    """Ends the server's round: the new arrays, none where nobody trained, and the inner strategy's metrics.

    Args:
        server: of which the round began with the arrays that were sent.
        inner: what joins the metrics.
        sent: names, shapes and types of the arrays.
        updates: of the clients, that were checked.
        key: under which the arrays were sent.
        report: the round's; it learns what became of each client.
    """
    for client, update in updates.items():
        try:
            server.receive_update(client, as_adapter(arrays_of(update.arrays)), update.records, update.loss)
        except Exception as error:  # whatever it sent: this client is left out, and nobody else
            report.left_out[client] = told(error)
    finished = server.finish_round()
    report.trained = finished.trained
    report.end(finished)
    metrics = _metrics(inner, {client: updates[client] for client in finished.trained}, key)
    if finished.adapter is None:
        return None, metrics
    try:
        return finite_as_sent(record_of(as_arrays(finished.adapter, arrays_of(sent))), sent), metrics
    except NotFiniteError as error:
        report.discarded = told(error)
        return None, metrics


def _metrics(inner: Strategy, counted: Mapping[int, Update], key: str) -> MetricRecord | None:
    """The metrics of the clients whose update counts; without those that the joining fails on."""
    if not counted or not isinstance(inner, WeightedMean):
        return None

    def attempt(clients: list[int]) -> MetricRecord | None:
        return inner.joined_metrics(list(messages_of({client: counted[client] for client in clients}, key).values()))

    metrics: MetricRecord | None = None
    try:
        metrics, culprits = without_culprits(attempt, list(counted))
    except Exception as error:
        if len(counted) > 1:
            raise
        culprits = {client: told(error) for client in counted}
    for client, reason in culprits.items():
        logger.warning("the metrics of client %s do not count: %s", client, reason)
    return metrics
