"""The mean of the clients' adapters, as the core takes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from ._messages import arrays_of, record_of


class WeightedMean(FedAvg):
    """Flower's ``FedAvg`` with the sums in float64, so that the result is the core's ``WeightedMean`` bit for bit
    (FedHDS eq. 12): each client weighs as many records as it trained on. The inner strategy of :class:`FedHDS` where
    none is given.

    Unlike ``FedAvg`` it waits for a single node, not for two: a federation of which clients fall away goes on.

    Args:
        settings: ``FedAvg``'s, such as ``fraction_evaluate`` or ``min_available_nodes``.
    """

    def __init__(self, **settings: Any) -> None:
        fewest = {"min_train_nodes": 1, "min_evaluate_nodes": 1, "min_available_nodes": 1}
        super().__init__(**(fewest | settings))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the replies' arrays, in the order in which they come; its checks and metrics are ``FedAvg``'s."""
        replies = list(replies)
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is None:
            return None, metrics
        total = 0.0
        sums: dict[str, NDArray[np.float64]] = {}
        dtypes: dict[str, np.dtype[Any]] = {}
        for reply in replies:
            if reply.has_error():
                continue
            (measured,) = reply.content.metric_records.values()
            (record,) = reply.content.array_records.values()
            weight = float(cast(float, measured[self.weighted_by_key]))
            total += weight
            for name, array in arrays_of(record).items():
                dtypes.setdefault(name, array.dtype)
                # From zeros, as the core begins: -0.0 alone would keep its sign.
                sums.setdefault(name, np.zeros(array.shape, dtype=np.float64))
                sums[name] += weight * array.astype(np.float64)
        return record_of({name: (sums[name] / total).astype(dtypes[name]) for name in arrays}), metrics
