"""The core's aggregation of arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from logging import getLogger
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from .. import Adapter, weighted_mean
from .._fitting import fitted
from .._native import Adapter as NativeAdapter
from .._native import ParameterError
from .._told import told
from ._messages import NUM_EXAMPLES
from ._metrics import metrics_in, whole
from ._tensors import arrays_of, record_of

logger = getLogger("flwr.fedhds")


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
        """The mean of the replies' arrays, in the order in which they come: for a wrapper of Flower's around this strategy.

        What a single reply has otherwise than most decides nothing: its types are not the mean's, and with other names or shapes, with
        values that are not finite or without records it is left out.
        """
        replies, updates = list(replies), {}
        for place, reply in enumerate(replies):
            try:
                if not reply.has_error():
                    updates[place] = _weighed(reply)
            except Exception as error:  # whatever it holds: this reply is left out, and no other
                logger.warning("a reply of node %s is left out: %s", reply.metadata.src_node_id, told(error))
        shapes = {place: frozenset((name, array.shape) for name, array in like.items()) for place, (_, like, _) in updates.items()}
        usual = next((form for form, _ in Counter(shapes.values()).most_common(1)), None)
        kept = [place for place in updates if shapes[place] == usual]
        for place in updates.keys() - set(kept):
            logger.warning("a reply of node %s is left out: its arrays are unlike those of most", replies[place].metadata.src_node_id)
        metrics = self.joined_metrics([reply for place, reply in enumerate(replies) if place in kept or reply.has_error()])
        if not kept:
            return None, metrics
        mean = weighted_mean([(adapter, records) for adapter, _, records in (updates[place] for place in kept)])
        like = {}
        for name, array in updates[kept[0]][1].items():
            types = Counter(updates[place][1][name].dtype for place in kept)
            like[name] = np.broadcast_to(np.zeros((), types.most_common(1)[0][0]), array.shape)
        return record_of(as_arrays(mean, like)), metrics

    def joined_metrics(self, replies: list[Message]) -> MetricRecord | None:
        """``FedAvg``'s metrics of the replies; its checks are made."""
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        contents = [reply.content for reply in valid]
        return self.train_metrics_aggr_fn(contents, self.weighted_by_key) if contents else None


def _weighed(reply: Message) -> tuple[Adapter, dict[str, NDArray[Any]], int]:
    """The arrays of a reply as the core takes them, what they are like, and the records that they weigh."""
    (record,) = reply.content.array_records.values()
    arrays = arrays_of(record)
    for name, array in arrays.items():
        fitted(name, array, np.float32, array.shape, "in a train reply")
    _, metrics = metrics_in(reply, "train reply")
    like = {name: np.broadcast_to(np.zeros((), array.dtype), array.shape) for name, array in arrays.items()}
    return as_adapter(arrays), like, whole(metrics, NUM_EXAMPLES, 2**32 - 1, "train reply")


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
