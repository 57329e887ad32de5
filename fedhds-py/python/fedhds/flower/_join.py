"""The core's aggregation of a round's replies."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from .. import Server
from ._mean import WeightedMean, as_adapter, as_arrays
from ._messages import TRAIN_LOSS, arrays_of, record_of, told
from ._report import RoundReport


def join(
    server: Server,
    inner: Strategy,
    sent: ArrayRecord,
    good: Mapping[int, Message],
    failed: list[Message],
    report: RoundReport,
) -> tuple[ArrayRecord | None, MetricRecord | None]:
    """Ends the server's round: the new arrays, none where nobody trained, and the inner strategy's metrics.

    Args:
        server: of which the round began with the arrays that were sent.
        inner: what joins the metrics.
        sent: names, shapes and types of the arrays.
        good: replies that were checked, by client.
        failed: replies that are errors.
        report: the round's; it learns what became of each client.
    """
    for client, reply in good.items():
        try:
            (record,) = reply.content.array_records.values()
            (measured,) = reply.content.metric_records.values()
            loss = measured.get(TRAIN_LOSS)
            known = isinstance(loss, (int, float)) and math.isfinite(loss)
            adapter = as_adapter(arrays_of(record))
            server.receive_update(client, adapter, report.trained[client], loss if known else None)  # type: ignore[arg-type]
        except Exception as error:  # whatever it sent: this client is left out, and nobody else
            report.left_out[client] = told(error)
    finished = server.finish_round()
    report.trained = finished.trained
    report.end(finished)
    counted = [good[client] for client in finished.trained]
    metrics = inner.joined_metrics(counted + failed) if isinstance(inner, WeightedMean) and counted else None
    if finished.adapter is None:
        return None, metrics
    return record_of(as_arrays(finished.adapter, arrays_of(sent))), metrics
