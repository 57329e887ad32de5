"""Which train replies can be aggregated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from logging import getLogger

from flwr.app import ArrayRecord, Message

from .._native import ProtocolError
from ._messages import NUM_EXAMPLES, arrays_of, check_arrays, reason_of, record_of, single_arrays, told
from ._nodes import Nodes
from ._report import RoundReport

logger = getLogger("flwr.fedhds")


def sort_replies(
    replies: Iterable[Message], report: RoundReport, sent: ArrayRecord, nodes: Nodes, most: Callable[[int], int]
) -> tuple[dict[int, Message], list[Message]]:
    """Replies that fit by client, in ascending order of their numbers, and errors; the report says what became of each client.

    Args:
        replies: in any order, of anybody.
        report: the round's, with its orders.
        sent: the arrays that went to the clients.
        nodes: who is who.
        most: the most records that a client may have trained on.
    """
    good: dict[int, Message] = {}
    failed: list[Message] = []
    for reply in replies:
        client = nodes.number(reply.metadata.src_node_id)
        awaited = client is not None and client in report.ordered and client not in good
        if reply.has_error():
            failed.append(reply)
            if client is not None and awaited:
                report.left_out[client] = reason_of(reply)
        elif client is None or not awaited:
            logger.warning("a train reply of node %s that nobody waits for", reply.metadata.src_node_id)
        else:
            try:
                report.trained[client] = _check(reply, report.ordered[client], most(client), sent)
                good[client] = reply
            except Exception as error:  # whatever it sent: this client is left out, and nobody else
                report.left_out[client] = told(error)
    for client, reason in strangers(good).items():
        report.left_out[client] = reason
        del good[client]
    for client in report.ordered:
        if client not in good:
            report.left_out.setdefault(client, "no answer to its order")
    report.trained = {client: report.trained[client] for client in sorted(good)}
    return {client: good[client] for client in sorted(good)}, failed


def as_sent(arrays: ArrayRecord, sent: ArrayRecord) -> ArrayRecord:
    """The arrays in the types in which they were sent: some strategies give float64 for float32."""
    types = {name: array.dtype for name, array in sent.items()}
    if all(array.dtype == types.get(name) for name, array in arrays.items()):
        return arrays
    return record_of({name: array.astype(types.get(name, array.dtype)) for name, array in arrays_of(arrays).items()})


def _check(reply: Message, ordered: int, most: int, sent: ArrayRecord) -> int:
    """The records that a client trained on; an error where its reply cannot be aggregated.

    Of an order in tokens it may be more than were ordered. It then weighs no more than these: how many it took is its own word.
    """
    found = single_arrays(reply)
    if found is None:
        raise ProtocolError("protocol: train reply: expected one ArrayRecord, got none")
    check_arrays(arrays_of(sent), arrays_of(found[1]), "in a train reply")
    metrics = list(reply.content.metric_records.values())
    if len(metrics) != 1:
        raise ProtocolError(f"protocol: train reply: expected one MetricRecord, got {len(metrics)}")
    records = metrics[0].get(NUM_EXAMPLES)
    if not isinstance(records, (int, float)) or not 1 <= records <= most:
        raise ProtocolError(f"protocol: train reply: `{NUM_EXAMPLES}`: expected 1 to {most}, as ordered, got {records!r}")
    if records > ordered:
        metrics[0][NUM_EXAMPLES] = ordered
    return int(records)


def strangers(replies: Mapping[int, Message]) -> dict[int, str]:
    """Replies of which records or metrics have other names than most, and why: Flower's means need the same of all, and
    end the run where it is not so. Where two are equally common, the lowest key decides.
    """

    def names(reply: Message) -> str:
        kinds = [*reply.content.array_records, *reply.content.metric_records]
        metrics = [name for record in reply.content.metric_records.values() for name in record]
        return f"records {', '.join(kinds)} with the metrics {', '.join(sorted(metrics))}"

    found = {key: names(replies[key]) for key in sorted(replies)}
    usual = next((text for text, _ in Counter(found.values()).most_common(1)), "")
    return {
        key: f"protocol: reply: expected {usual}, as of most clients, got {theirs}"
        for key, theirs in found.items()
        if theirs != usual
    }
