"""A federation in one process, in Rust, with any stage replaced by a Python object."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import _native, _stages
from ._arrays import seed as _seed
from ._model import Adapter, RecordScore, _count
from ._native import InputError, ParameterError
from ._records import _parts
from ._selection import Method


@dataclass(frozen=True)
class Outcome:
    """What a simulation ended with."""

    adapter: Adapter
    """The global adapter after the last round."""
    rounds: list[dict[str, Any]]
    """What happened, round by round: clients, records chosen (ids), losses, bytes, seconds."""
    scores: list[RecordScore]
    """Of the last evaluation; empty without one."""


class Simulation:
    """A federation in one process: sampling, selection, training, averaging, evaluation, every message encoded as on a network.

    The same seed gives the same bits, at any number of threads; a run that is stopped and started again with the same checkpoint ends with
    the bits of one that was not.

    Args:
        method: what selects; own stages in it are called.
        clients: the records of each client.
        trainer: a :class:`fedhds.LoraTrainer`, or an object with ``init(seed)`` and ``train(adapter, records, seed)`` that returns a
            :class:`fedhds.Trained` or an adapter.
        extractor: for methods with features: a :class:`fedhds.LayerFeatures`, an object with ``extract(records, adapter)`` (attributes
            ``is_frozen``, ``fingerprint`` and ``layers`` are heeded), or a function of these.
        aggregator: an object with ``add(client, adapter, records)`` and ``finish()``; None is the mean weighted by records (eq. 12).
        evaluator: a :class:`fedhds.ModelEvaluator`, or an object with ``evaluate(records, adapter, generate)``.
        test: records of the evaluation.
        generate: for how many of them text is generated; None is all.
        evaluate: ``"last"``, ``"never"``, or a number: after every so many rounds.
        rounds: at least 1.
        clients_per_round: a number, or a share in (0, 1) as a float; None is all.
        seed: the experiment's.
        checkpoint: a file that is written after each round, and gone on from.
        clients_at_once: clients that work at the same time; it does not change the results.

    Example:
        >>> import fedhds
        >>> train, test = fedhds.embedded_records(records_per_task=1, test_records_per_task=1)
        >>> trainer = fedhds.LoraTrainer(fedhds.Model.embedded(), prompt="short", learning_rate=1e-3)
        >>> clients = fedhds.partition(train, "iid", clients=3)
        >>> outcome = fedhds.Simulation(fedhds.Method("random", budget=3), clients, trainer=trainer, rounds=2).run()
        >>> [sum(len(client["selected"]) for client in one["clients"]) for one in outcome.rounds]
        [3, 3]
    """

    def __init__(
        self,
        method: Method | str,
        clients: Iterable[Any],
        *,
        trainer: Any,
        extractor: Any = None,
        aggregator: Any = None,
        evaluator: Any = None,
        test: Any = None,
        generate: int | None = None,
        evaluate: str | int = "last",
        rounds: int = 10,
        clients_per_round: int | float | None = None,
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        clients_at_once: int = 1,
    ) -> None:
        self._method = method if isinstance(method, Method) else Method(method)
        self._clients = [_parts(records) for records in clients]
        participation: dict[str, float] = {"count": max(len(self._clients), 1)}
        if isinstance(clients_per_round, float):
            participation = {"fraction": clients_per_round}
        elif clients_per_round is not None:
            participation = {"count": _count("clients_per_round", clients_per_round)}
        if not isinstance(evaluate, (str, int)) or isinstance(evaluate, bool):
            raise ParameterError(f"parameter `evaluate`: expected `last`, `never` or a number, got {evaluate!r}")
        schedule: Any = evaluate if isinstance(evaluate, str) else {"every": evaluate}
        settings = {"rounds": _count("rounds", rounds), "participation": participation, "evaluate": schedule}
        self._settings = json.dumps(settings)
        self._trainer = _stages.trainer(trainer)
        self._extractor = None if extractor is None else _stages.extractor(extractor)
        self._aggregator = None if aggregator is None else _stages.aggregator(aggregator)
        self._evaluator = None if evaluator is None else _stages.evaluator(evaluator)
        if (evaluator is None) != (test is None):
            raise InputError("test: expected an evaluator and its records, got one of them")
        self._test = None if test is None else (_parts(test), None if generate is None else _count("generate", generate))
        layers = getattr(extractor, "layers", 1)
        self._layers = layers if isinstance(layers, int) else 1
        self._seed = _seed(seed)
        self._checkpoint: tuple[str, dict[str, str]] | None = None
        if checkpoint is not None:
            parts = {"trainer": trainer, "extractor": extractor, "aggregator": aggregator, "evaluator": evaluator}
            names = {name: _stages.name_of(stage) for name, stage in parts.items() if stage is not None}
            own = {f"stage {name}": _stages.name_of(stage) for name, stage in self._method.stages.items()}
            self._checkpoint = (os.fspath(checkpoint), names | own)
        self._at_once = _count("clients_at_once", clients_at_once)

    def run(self) -> Outcome:
        """Runs the rounds that are not done yet.

        Raises:
            InputError, ParameterError: before any work, for what does not fit.
            StageError: for a stage of one's own that failed; its exception is the cause.
            CheckpointError: for a checkpoint of another run.
        """
        adapter, rounds, scores = _native.run_simulation(
            self._method._json,
            self._layers,
            self._method._wrapped,
            self._clients,
            self._trainer,
            self._extractor,
            self._aggregator,
            self._evaluator,
            self._test,
            self._settings,
            self._seed,
            self._checkpoint,
            self._at_once,
        )
        return Outcome(Adapter._of(adapter), json.loads(rounds), [RecordScore(*score) for score in scores])
