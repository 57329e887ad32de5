"""A client of FedML's, in two phases a round."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._answers import of_texts, summarized
from .._judge import judge_of, losses_by
from .._native import ProtocolError
from .._records import Record
from .._selection import Client, Method, client_seed
from .._text import takes_text
from .._tokens import Tokens, tokens_of
from . import _bases
from ._params import ORDER, ROUND, START, SUMMARY, TICKET_BYTES, Hooks, Params, check, order_and_ticket, packed, split, trained


class ClientTrainer(Hooks, _bases.ClientTrainer):
    """A client: FedML's hooks around the two phases. Subclasses train, in :meth:`train_selected`.

    Args:
        model: a PEFT model, or any module of PyTorch whose whole state travels; else override :meth:`get_adapter` and
            :meth:`set_adapter`.
        args: FedML's.
        method: the same as the server's.
        features: of shape [records, d], or a function that makes them from the client's records, called each round
            after the server's adapter is in the model; None for methods that look at none, or at the records' texts.
        judge: what gives losses of responses under prompts where the method has a quality gate: a :class:`fedhds.Model`, a
            :class:`fedhds.ResponseLoss`, or an object with ``score(records, adapter)``. None declines.
        tokens: of each of the client's records, or a function of them, for methods whose budget is in tokens: such as
            ``lambda records: fedhds.count_tokens(records, model)``. A trainer that serves several clients needs a function.
        layers: equal parts of a feature vector, one for each layer; 1 for one vector.
        seed: the experiment's.
        least_group: distinct records that the method's groups must have at least, else this client shows none.
        max_records: records that it trains on at most in a round; an order of more is refused. None sets no limit.

    Raises:
        ConfigError: for arguments of FedML's that do not go with two phases.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        method: Method | str,
        features: Callable[[Sequence[Any]], ArrayLike] | ArrayLike | None = None,
        judge: Any = None,
        tokens: Tokens = None,
        layers: int = 1,
        seed: int = 0,
        least_group: int = 1,
        max_records: int | None = None,
    ) -> None:
        super().__init__(model, args)
        check(args)
        self.method = method if isinstance(method, Method) else Method(method)
        self.layers = layers
        self.seed = seed
        self.selected: list[Any] | None = None
        """The records to train on in the second phase; None in the first."""
        self.rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """Their numbers in the client's data."""
        self.round = 0
        """The selection's round, from 0."""
        self._features = features
        self._tokens = tokens
        self._judge = judge_of(judge, self.method, None)
        self._limits: dict[str, Any] = {"least_group": least_group, "max_records": max_records}
        self._machines: dict[int, Client] = {}
        self._sent: dict[str, Any] = {}
        self._ticket = bytes(TICKET_BYTES)
        self._reply: Params = OrderedDict()

    def train_selected(self, records: list[Any], device: Any, args: Any) -> None:
        """Trains the model on these records, at least one; the adapter that was sent is in it. Yours to write.

        :attr:`training_seed` makes it repeatable.
        """
        raise NotImplementedError("fedhds.fedml.ClientTrainer: expected a subclass with `train_selected`")

    @property
    def training_seed(self) -> int:
        """The seed of this training: of (experiment, round, client), the same as in :class:`fedhds.Simulation`."""
        return client_seed(self.seed, "train", self.round, self.id)

    def make_features(self, records: Sequence[Any]) -> ArrayLike | None:
        """Features of the records, [records, d]; None for a method that looks at none."""
        return self._features(records) if callable(self._features) else self._features

    def make_records(self, train_data: Sequence[Any]) -> Sequence[Record] | None:
        """The client's data as records, in their order: what a method needs that looks at texts, lets near copies count as one, or has a
        quality gate. None, the default for data of another kind than :class:`fedhds.Record`, does without.
        """
        if len(train_data) and not isinstance(train_data[0], Record):
            return None  # a row may cost much to load
        return [train_data[row] for row in range(len(train_data))]

    def set_model_params(self, model_parameters: Any) -> None:
        state, messages = split(model_parameters)
        if messages:
            self._sent, self._reply = messages, OrderedDict()
        if state:
            self.set_adapter(state)

    def get_model_params(self) -> Any:
        """The adapter after training; the summary alone after the first phase, as the adapter did not change."""
        if SUMMARY in self._reply:
            return OrderedDict(self._reply)
        return OrderedDict(self.get_adapter()) | self._reply

    def on_before_local_training(self, train_data: Any, device: Any, args: Any) -> None:
        """Answers the start of a round with a summary, or an order with the choice of records.

        Raises:
            ProtocolError: for parameters without a message of :class:`ServerAggregator`, or out of turn.
        """
        super().on_before_local_training(train_data, device, args)
        sent, self._sent = self._sent, {}
        self.round = sent.get(ROUND, self.round)
        if self.id not in self._machines:
            self._machines[self.id] = Client(self.id, self.method, layers=self.layers, seed=self.seed, **self._limits)
        machine = self._machines[self.id]
        if START in sent:
            self.selected = None
            records = self.make_records(train_data)
            features = None if self.method.settings["features"] == "none" else self.make_features(train_data)
            if features is None and takes_text(self.method):
                features = of_texts(records, self.method)
            start = sent[START]
            # Of data of another kind a function of the caller's may count the tokens all the same.
            tokens = tokens_of(self._tokens, train_data if records is None else records, self.method)
            summary = summarized(machine, self.method, start, features, len(train_data), records, self._judge, tokens)
            self._reply = packed({SUMMARY: summary})
        elif ORDER in sent:
            # No bytes are the order of a client whose summary did not arrive.
            order, self._ticket = order_and_ticket(sent[ORDER])
            known = self.make_records(train_data)
            losses = None if known is None else losses_by(self._judge, known)
            self.rows = machine.choose(order, losses=losses) if order else np.zeros(0, dtype=np.int64)
            self.selected = [train_data[row] for row in self.rows.tolist()]
        else:
            raise ProtocolError("protocol: round: expected parameters of fedhds.fedml.ServerAggregator, got no message")

    def train(self, train_data: Any, device: Any, args: Any) -> None:
        if self.selected:
            self.train_selected(self.selected, device, args)

    def on_after_local_training(self, train_data: Any, device: Any, args: Any) -> None:
        """FedML's own, local noise included, after the second phase; the records count as trained on from here."""
        if self.selected is None:
            return
        if self.selected:
            super().on_after_local_training(train_data, device, args)
            self._machines[self.id].mark_trained(self.rows.tolist())
        self._reply = trained(len(self.selected), self._ticket)

    def test(self, test_data: Any, device: Any, args: Any) -> Any:
        """Nothing, unless a subclass does; FedML calls it with ``test_on_clients``."""
        return None
