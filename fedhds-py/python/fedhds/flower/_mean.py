"""The core's aggregation of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from .. import Adapter, weighted_mean
from .._native import Adapter as NativeAdapter
from .._native import ParameterError
from ._messages import NUM_EXAMPLES, arrays_of, record_of


class WeightedMean(FedAvg):
    """Flower's ``FedAvg`` with the core's mean, summed in float64 (FedHDS eq. 12): each client weighs as many records as it trained on. The
    inner strategy of :class:`FedHDS` where none is given; it samples and evaluates, and :class:`FedHDS` aggregates in the core.

    Unlike ``FedAvg`` it waits for a single node, not for two: a federation of which clients fall away goes on. The core works in float32:
    arrays of other types become that on the way, and are what they were when they come back.

    Args:
        settings: ``FedAvg``'s, such as ``fraction_evaluate`` or ``min_available_nodes``; but ``weighted_by_key``, as records weigh.

    Raises:
        ParameterError: for another ``weighted_by_key``.
    """

    def __init__(self, **settings: Any) -> None:
        if settings.get("weighted_by_key", NUM_EXAMPLES) != NUM_EXAMPLES:
            key = settings["weighted_by_key"]
            raise ParameterError(f"weighted_by_key: expected {NUM_EXAMPLES!r}, as records weigh, got {key!r}")
        fewest = {"min_train_nodes": 1, "min_evaluate_nodes": 1, "min_available_nodes": 1}
        super().__init__(**(fewest | settings))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the replies' arrays, in the order in which they come: for a wrapper of Flower's around this strategy."""
        replies = list(replies)
        metrics = self.joined_metrics(replies)
        updates, first = [], None
        for reply in replies:
            if reply.has_error():
                continue
            (record,) = reply.content.array_records.values()
            (measured,) = reply.content.metric_records.values()
            arrays = arrays_of(record)
            first = arrays if first is None else first
            updates.append((as_adapter(arrays), int(measured[NUM_EXAMPLES])))  # type: ignore[arg-type]
        if first is None:
            return None, metrics
        return record_of(as_arrays(weighted_mean(updates), first)), metrics

    def joined_metrics(self, replies: list[Message]) -> MetricRecord | None:
        """``FedAvg``'s metrics of the replies; its checks are made."""
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        contents = [reply.content for reply in valid]
        return self.train_metrics_aggr_fn(contents, self.weighted_by_key) if contents else None


def as_adapter(arrays: Mapping[str, NDArray[Any]]) -> Adapter:
    """Arrays of any shape as the core takes them."""

    def flat(array: NDArray[Any]) -> NDArray[np.float32]:
        rows = array.shape[0] if array.ndim else 1
        columns = math.prod(array.shape[1:])
        with np.errstate(over="ignore"):  # what becomes infinite is refused by name
            return np.ascontiguousarray(array.reshape(rows, columns), dtype=np.float32)

    return Adapter._of(NativeAdapter.of_arrays({name: flat(array) for name, array in arrays.items()}))


def as_arrays(adapter: Adapter, like: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What :func:`as_adapter` was given, in the order, shapes and types of these."""
    found = adapter._native.arrays()
    return {name: found[name].reshape(array.shape).astype(array.dtype) for name, array in like.items()}
