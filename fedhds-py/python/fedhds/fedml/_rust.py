"""Clients that train in Rust, and their server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._judge import judge_of
from .._model import Adapter
from .._tuning import RecordScore, Trained
from .._native import InputError
from .._records import Record
from .._selection import Method, client_seed
from .._text import TextFeatures, takes_text
from .._tokens import Tokens, tokens_of
from ._client import ClientTrainer
from ._params import Params, numpy_of, tensor
from ._server import ServerAggregator


class RustModel:
    """What FedML calls the model, where training runs in Rust: a trainer and the adapter as it stands.

    Args:
        trainer: a :class:`fedhds.LoraTrainer`, or an object with ``init(seed)`` and ``train(adapter, records, seed)``.
        adapter: where to start; None is a fresh one by the seed.
        seed: the experiment's.
    """

    def __init__(self, trainer: Any, *, adapter: Adapter | None = None, seed: int = 0) -> None:
        self.trainer = trainer
        self.adapter: Adapter = trainer.init(client_seed(seed, "init")) if adapter is None else adapter

    def to(self, device: Any) -> RustModel:
        """Itself: the device was chosen where the model was loaded."""
        return self

    def state_dict(self) -> Params:
        """The adapter's tensors under PEFT's names, in their order."""
        return OrderedDict((name, tensor(array)) for name, array in self.adapter.tensors.items())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes in an adapter of the same settings.

        Raises:
            AdapterError: for other names or shapes.
        """
        self.adapter = self.adapter.with_tensors({name: numpy_of(value) for name, value in state.items()})


class RustClientTrainer(ClientTrainer):
    """A client that trains in Rust.

    Args:
        model: a :class:`RustModel`, of this client alone.
        args: FedML's.
        method: the same as the server's.
        extractor: a :class:`fedhds.LayerFeatures`, or an object with ``extract(records, adapter)``; None for methods
            that look at no features, or at the records' texts. Where its ``is_frozen`` holds, features are taken once.
        judge: as for :class:`fedhds.Simulation`: None is the model of a :class:`fedhds.LoraTrainer` where the method has a quality
            gate, and False declines.
        tokens: as for :class:`ClientTrainer`; None counts by the model of a :class:`fedhds.LoraTrainer`.
        seed: the experiment's.
        least_group, max_records: as for :class:`ClientTrainer`.

    Raises:
        ConfigError: for arguments of FedML's that do not go with two phases.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        method: Method | str,
        extractor: Any = None,
        judge: Any = None,
        tokens: Tokens = None,
        seed: int = 0,
        least_group: int = 1,
        max_records: int | None = None,
    ) -> None:
        chosen = method if isinstance(method, Method) else Method(method)
        if extractor is None and takes_text(chosen):
            extractor = TextFeatures()
        layers = int(getattr(extractor, "layers", 1))
        trainer = getattr(model, "trainer", None)
        judge = judge_of(judge, chosen, trainer) or False

        def counted(records: Sequence[Record]) -> Sequence[int]:
            return tokens_of(tokens, records, chosen, trainer) or ()

        limits: dict[str, Any] = {"least_group": least_group, "max_records": max_records}
        super().__init__(model, args, method=chosen, layers=layers, judge=judge, tokens=counted, seed=seed, **limits)
        self.extractor = extractor
        self.losses: list[tuple[float, ...]] = []
        """Mean losses of the steps of each training."""
        self._taken: dict[int, Any] = {}

    def make_features(self, records: Sequence[Any]) -> ArrayLike | None:
        """The extractor's; those of a frozen one are taken once for each client."""
        if self.extractor is None:
            raise InputError(f"extractor: expected one, for the method {self.method.settings['name']!r}, got none")
        if not getattr(self.extractor, "is_frozen", False):
            features: ArrayLike = self.extractor.extract(records, self.model.adapter)
            return features
        if self.id not in self._taken:
            self._taken[self.id] = self.extractor.extract(records, None)
        taken: ArrayLike = self._taken[self.id]
        return taken

    def train_selected(self, records: list[Any], device: Any, args: Any) -> None:
        """LoRA training in Rust on these records."""
        trained = self.model.trainer.train(self.model.adapter, records, self.training_seed)
        if isinstance(trained, Trained):
            self.losses.append(trained.losses)
            trained = trained.adapter
        self.model.adapter = trained


class RustServerAggregator(ServerAggregator):
    """The server of clients that train in Rust.

    Args:
        model: a :class:`RustModel`.
        args, method, layers, seed: as for :class:`ServerAggregator`; ``layers`` is the extractor's.
        evaluator: a :class:`fedhds.ModelEvaluator`, or an object with ``evaluate(records, adapter, generate)``.
        generate: whether it generates text too.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        method: Method | str,
        layers: int = 1,
        seed: int = 0,
        evaluator: Any = None,
        generate: bool = False,
    ) -> None:
        super().__init__(model, args, method=method, layers=layers, seed=seed)
        self.evaluator = evaluator
        self.generate = generate
        self.scores: list[RecordScore] = []
        """Of the last evaluation."""

    def evaluate(self, test_data: Any, device: Any, args: Any) -> Any:
        """FedML's four metrics of the global test records: the share of exact matches and the mean loss, two empty."""
        if self.evaluator is None or not test_data:
            return None
        self.scores = self.evaluator.evaluate(test_data, self.model.adapter, self.generate)
        matches = [score.exact_match for score in self.scores if score.exact_match is not None]
        loss = float(np.mean([score.loss for score in self.scores]))
        return (float(np.mean(matches)) if matches else None, loss, None, None)
