"""A client's two phases, for training in any library."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from numpy.typing import ArrayLike, NDArray

from .. import AllowedMethods, Client, Method, Record, as_records, client_seed
from .._answers import of_texts, summarized
from .._judge import judge_of, losses_by
from .._native import InputError, ParameterError, ProtocolError
from .._text import takes_text
from .._tokens import Tokens, tokens_of
from ._memory import Memory
from ._messages import (
    BODY,
    HEADER,
    NUM_CLIENTS,
    NUM_EXAMPLES,
    RECORD,
    TRAIN_LOSS,
    Header,
    body_of,
    client_stages,
    config_of,
    method_of,
)
from ._tensors import arrays_of, in_types_of, record_of, single_arrays


@dataclass(frozen=True)
class Query:
    """What the server asks in the first phase."""

    round: int
    """Flower's number of the round, from 1."""
    client: int
    """The client's number in the federation."""
    seed: int
    """The experiment's."""
    method: Method
    """What selects."""
    arrays: dict[str, NDArray[Any]] | None
    """The adapter as it stands, by name, where the method's features are the tuned model's; else None."""
    config: ConfigRecord
    """The server app's ``train_config`` among ours."""


Features = ArrayLike | Callable[[Query], ArrayLike] | None

Agreed = Method | str | AllowedMethods | None
"""What a client is willing to run: one method, or those within limits."""


def client_number(context: Context) -> int | None:
    """The client's number by its node config: ``partition-id``; None where there is none."""
    number = context.node_config.get("partition-id")
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ParameterError(f"partition-id: expected a whole number of at least 0, got {number!r}")
    return number


def answer(
    message: Message,
    context: Context,
    features: Features = None,
    *,
    records: Any = None,
    judge: Any = None,
    tokens: Tokens = None,
    method: Agreed = None,
    layers: int = 1,
    client: int | None = None,
    state_dir: str | os.PathLike[str] | None = None,
    least_group: int = 1,
) -> Message:
    """Answers the first phase for ``@app.query("hds_extract")``: groups the records and reports a few centroids.

    Args:
        message: the server's.
        context: the client app's; its ``state`` carries the groups to the second phase.
        features: an array of shape [records, d], row i of record i, or a function that makes it from a :class:`Query`;
            it is called only where the method looks at features. None for methods that look at none, and for those that look at the texts
            of `records`.
        records: the client's records, or whatever :func:`fedhds.as_records` takes, always in the same order: needed for methods that look
            at texts, let near copies count as one, or have a quality gate. Or only their number, for methods that look at no features.
        judge: what gives losses of responses under prompts where the method has a quality gate: a :class:`fedhds.Model`, a
            :class:`fedhds.ResponseLoss`, or an object with ``score(records, adapter)``. None declines: the federation does without this
            client's answer. :class:`Task` is given the same.
        tokens: of each record, or a function of the records that gives them, such as ``lambda records: fedhds.count_tokens(records, model)``:
            needed for methods whose budget is in tokens.
        method: what this client is willing to run: one method, and another server is refused; or :class:`fedhds.AllowedMethods`, and the
            server names one within its limits. None is ``AllowedMethods()``: every preset, within limits on work and on what is shown.
            Where stages are Python objects, which do not travel, it is the method with them.
        layers: equal parts of a feature vector, one for each layer.
        client: its number in the federation; None is the ``partition-id`` of its node config.
        state_dir: a folder on this client where the rows that it trained on are kept for a run that is resumed, and the seed that it
            was told first.
        least_group: distinct records that the method's groups must have at least, else this client shows none.

    Raises:
        ProtocolError: for a message of something else, of a server with a method that this client does not run, with another seed than at
            first contact, or with another question for a round that was answered (see :func:`unpin`).
        InputError: when the method needs what was not given.
    """
    return answered(
        message,
        context,
        features,
        records=records,
        judge=lambda ours: judge_of(judge, ours, None),
        tokens=lambda ours, texts: tokens_of(tokens, texts, ours),
        method=method,
        layers=layers,
        client=client,
        state_dir=state_dir,
        least_group=least_group,
    )


def answered(
    message: Message,
    context: Context,
    features: Features,
    *,
    records: Any,
    judge: Callable[[Method], Any],
    tokens: Callable[[Method, Sequence[Record] | None], Sequence[int] | None],
    method: Agreed,
    layers: int,
    client: int | None,
    state_dir: str | os.PathLike[str] | None,
    least_group: int,
) -> Message:
    """:func:`answer` for a judge and tokens that go by the method."""
    header = Header.read(message, "hello", "extract")
    if header.phase == "hello":
        number = client_number(context) if client is None else client
        told = Header("hello", header.round, number, header.seed, header.experiment, {}, [])
        return Message(RecordDict({RECORD: ConfigRecord({HEADER: told.write()})}), reply_to=message)
    ours = _agreed(method, header)
    memory = Memory(context, header, state_dir)
    machine = Client(header.known_client, ours, layers=layers, seed=int(header.seed), least_group=least_group)
    memory.bring_back(machine, header.round)
    machine.pin_seed(int(header.seed))
    start = body_of(message, "round_start")
    texts = _texts(records)
    found: ArrayLike | None = None
    if ours.settings["features"] == "none":
        if records is None:
            raise InputError(f"records: expected them or their number, for the method {ours.settings['name']!r}, got none")
    elif features is None and takes_text(ours):
        found = of_texts(texts, ours)
    else:
        sent = single_arrays(message)
        query = Query(
            round=header.round,
            client=header.known_client,
            seed=int(header.seed),
            method=ours,
            arrays=None if sent is None else arrays_of(sent[1]),
            config=config_of(message),
        )
        found = features(query) if callable(features) else features
        if found is None:
            raise InputError(f"features: expected an array, for the method {ours.settings['name']!r}, got none")
    count = len(texts) if texts is not None else records
    summary = summarized(machine, ours, start, found, count, texts, judge(ours), tokens(ours, texts))
    memory.keep_groups(header.round, machine)
    return Message(RecordDict({RECORD: ConfigRecord({BODY: summary})}), reply_to=message)


def _texts(records: Any) -> list[Record] | None:
    """The records where they were given, and not their number alone."""
    return None if records is None or isinstance(records, (int, np.integer)) else as_records(records)


class Task:
    """The second phase: the rows that the server wants, and the arrays to start from. For ``@app.train()``.

    Args:
        message: the server's.
        context: the client app's; its ``state`` holds what :func:`answer` left there.
        method, layers, state_dir: as for :func:`answer`.
        max_records: records that this client trains on at most in a round; an order of more is refused. None sets no limit.
        records, judge: as for :func:`answer`: with both, records that do not pass an open quality gate are left out, and others of their
            group come in their place.

    Raises:
        ProtocolError: for a message of something else, without a first phase before it, or with another order or arrays than the round
            was answered to (see :func:`unpin`).
    """

    round: int
    """Flower's number of the round, from 1."""
    client: int
    """The client's number in the federation."""
    rows: NDArray[np.int64]
    """Records to train on, by their row in the features; ascending."""
    arrays: dict[str, NDArray[Any]]
    """The adapter to start from, by name."""
    config: ConfigRecord
    """The server app's ``train_config`` among ours."""
    factors: str
    """What the round trains of the adapter, ``both``, ``a`` or ``b``; the other factor must come back as it is in :attr:`arrays`, to the bit."""

    def __init__(
        self,
        message: Message,
        context: Context,
        *,
        method: Agreed = None,
        layers: int = 1,
        state_dir: str | os.PathLike[str] | None = None,
        records: Any = None,
        judge: Any = None,
        max_records: int | None = None,
    ) -> None:
        header = Header.read(message, "train")
        self._message = message
        self._header = header
        self._memory = Memory(context, header, state_dir)
        if self._memory.state is None:
            raise ProtocolError(
                "protocol: selection_order: expected a summary before the order, got none in context.state"
            )
        ours = _agreed(method, header)
        machine = Client(header.known_client, ours, layers=layers, seed=int(header.seed), max_records=max_records)
        machine.resume(self._memory.state)
        machine.pin_seed(int(header.seed))
        sent = single_arrays(message)
        if sent is None:
            raise ProtocolError("protocol: selection_order: expected the arrays to start from, got none")
        self._key, record = sent
        self.round = header.round
        self.client = header.known_client
        self.arrays = arrays_of(record)
        order = body_of(message, "selection_order")
        self._memory.check_asked(header.round, order, self.arrays)
        texts = _texts(records)
        losses = None if texts is None else losses_by(judge_of(judge, ours, None), texts)
        self.rows = machine.choose(order, losses=losses)
        self.factors = machine.factors
        self._memory.keep_groups(header.round, machine)
        self.config = config_of(message)

    @property
    def seed(self) -> int:
        """The seed of this training: of (experiment, round, client), the same as in :class:`fedhds.Simulation`."""
        return client_seed(int(self._header.seed), "train", self._header.selection_round, self.client)

    def reply(
        self,
        arrays: Mapping[str, ArrayLike],
        *,
        train_loss: float | None = None,
        metrics: Mapping[str, int | float | list[int] | list[float]] | None = None,
    ) -> Message:
        """The answer after training: one ArrayRecord and one MetricRecord, as Flower's strategies want it.

        The rows count as trained on from here.

        Args:
            arrays: what was trained, with the names and shapes of :attr:`arrays`; they take the dtypes of those.
            train_loss: mean loss; all clients of a round must give one, or none.
            metrics: others, with the same names from all clients of a round.

        Raises:
            AdapterError: for other names or shapes, or values that are not finite.
        """
        trained = {name: np.asarray(array) for name, array in arrays.items()}
        ordered = in_types_of(self.arrays, trained, "after training")
        measured = MetricRecord({NUM_EXAMPLES: len(self.rows), NUM_CLIENTS: 1})
        if train_loss is not None:
            measured[TRAIN_LOSS] = float(train_loss)
        for name, value in (metrics or {}).items():
            measured[name] = value
        self._memory.keep_trained(self.round, self.rows)
        return Message(RecordDict({self._key: record_of(ordered), "metrics": measured}), reply_to=self._message)


def _agreed(method: Agreed, header: Header) -> Method:
    """The method of both sides.

    Raises:
        ProtocolError: where they differ, or where the server's is none that this client runs.
    """
    theirs = method_of(header)
    if method is None or isinstance(method, AllowedMethods):
        (AllowedMethods() if method is None else method).check(theirs)
        ours = theirs
    else:
        ours = method if isinstance(method, Method) else Method(method)
    mine, asked = ours.settings, theirs.settings
    for name in {**mine, **asked}:
        if mine.get(name) != asked.get(name):
            raise ProtocolError(
                f"protocol: method: {name}: expected {mine.get(name)!r}, as this client has it, "
                f"got {asked.get(name)!r} from the server"
            )
    if client_stages(ours) != header.stages:
        raise ProtocolError(
            f"protocol: method: stages: expected {client_stages(ours)}, as this client has them, "
            f"got {header.stages} from the server; "
            "stages in Python do not travel: give `method` with the same ones on the client too"
        )
    return ours
