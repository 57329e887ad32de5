"""A federation in one process, in Rust, with any stage replaced by a Python object."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _judge, _native, _record_stages
from ._guard import guarded
from ._aggregators import aggregator as _aggregator
from ._aggregators import names_of
from ._arrays import seed as _seed
from ._identity import named
from ._model import Adapter, _count
from ._tuning import RecordScore
from ._native import InputError
from ._records import Record, _checked
from ._remade import Remade
from ._selection import Method, _id
from ._text import TextFeatures, takes_text
from ._tokens import in_tokens, tokens_of


_SETTINGS = _native.SimulationSettings()


@dataclass(frozen=True)
class Run:
    """What crosses to the native module, by name."""

    method: str
    layers: int
    stages: dict[str, Any]
    clients: list[list[Record]]
    trainer: Any
    extractor: Any | None
    scorer: Any | None
    judge: Any | None
    tokens: list[list[int]] | None
    aggregator: Any | None
    evaluator: Any | None
    test: list[Record] | None
    generate: int | None
    settings: _native.SimulationSettings
    seed: int
    checkpoint: str | None
    names: dict[str, str]
    clients_at_once: int


@dataclass(frozen=True)
class Outcome:
    """What a simulation ended with."""

    adapter: Adapter
    """The global adapter after the last round."""
    rounds: list[dict[str, Any]]
    """What happened, round by round: clients, records chosen (ids), losses, bytes, seconds, who was left out and why."""
    scores: list[RecordScore]
    """Of the last evaluation; empty without one."""


@guarded
class Simulation(Remade):
    """A federation in one process: sampling, selection, training, averaging, evaluation, every message encoded as on a network.

    A client of which a stage fails is left out of the round, with its reason in the round's ``left_out``; the run ends where all fail.

    The same seed gives the same bits, at any number of threads; a run that is stopped and started again with the same checkpoint ends with
    the bits of one that was not.

    Args:
        method: what selects; own stages in it are called.
        clients: the records of each client.
        trainer: a :class:`fedhds.LoraTrainer`, or an object with ``init(seed)`` and ``train(adapter, records, seed)`` that returns a
            :class:`fedhds.Trained` or an adapter. Where ``train`` has an argument ``factors``, it is told what the round trains, ``both``, ``a``
            or ``b``; the other factor must stay as it is, to the bit.
        extractor: for methods with features: a :class:`fedhds.LayerFeatures`, an object with ``extract(records, adapter)`` (attributes
            ``is_frozen``, ``fingerprint`` and ``layers`` are heeded), or a function of these. None is :class:`fedhds.TextFeatures` for a
            method with ``features = "text"``.
        scorer: numbers of each record, which clusterers and selectors see: an object with ``score(records, adapter)``, or a function of
            these, that gives a dict of columns, or an array where it has ``names``; ``is_frozen`` (absent: True) and ``fingerprint`` are
            heeded.
        judge: what gives losses of responses under prompts where the method has a quality gate: a :class:`fedhds.Model`, a
            :class:`fedhds.ResponseLoss`, or an object with ``score(records, adapter)`` that gives one loss a record, always the same for
            a record. None is the model of a :class:`fedhds.LoraTrainer`, untuned, where the method has a gate; without one, and with False,
            the clients decline.
        tokens: gives the tokens of records, [records], where the method's budget is in tokens, always the same for a record: such as
            ``lambda records: fedhds.count_tokens(records, model)``. None counts by the model of a :class:`fedhds.LoraTrainer`.
        aggregator: as for :class:`fedhds.Server`.
        evaluator: a :class:`fedhds.ModelEvaluator`, or an object with ``evaluate(records, adapter, generate)``.
        test: records of the evaluation.
        generate: for how many of them text is generated; None is all.
        rounds: at least 1; the paper's 40.
        participation: clients of a round: a number, or a share in (0, 1] as a float; the paper's 5%. ``1.0`` is all of them. As in a
            configuration: ``{"count": 5}``, ``{"fraction": 0.05}``.
        evaluate: ``"last"``, ``"never"``, or a number: after every so many rounds and after the last.
        ranks: of the clients, where they differ: client i trains an adapter of rank ``ranks[i % len(ranks)]``, if that is below the adapter's own.
            The aggregator must take ranks, as :class:`fedhds.FlexLora` does. Empty: all train the whole.
        seed: the experiment's.
        checkpoint: a file that is written after each round, and gone on from. A run of other settings is refused: of objects of your own
            it counts what they were made with, or what their ``fingerprint`` says (text; give one to what changes as it works).
        clients_at_once: clients that work at the same time; it does not change the results.

    Raises:
        ParameterError: that names a setting and its value, for one outside of its range or of another kind.

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
        scorer: Any = None,
        judge: Any = None,
        tokens: Callable[[Sequence[Record]], Sequence[int]] | None = None,
        aggregator: Any = None,
        evaluator: Any = None,
        test: Any = None,
        generate: int | None = None,
        rounds: int = _SETTINGS.rounds,
        participation: int | float | Mapping[str, float] = _SETTINGS.participation,
        evaluate: str | int | Mapping[str, int] = _SETTINGS.evaluate,
        ranks: Sequence[int] = (),
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        clients_at_once: int = 1,
    ) -> None:
        chosen = method if isinstance(method, Method) else Method(method)
        if (evaluator is None) != (test is None):
            raise InputError("test: expected an evaluator and its records, got one of them")
        joined = _aggregator(aggregator)
        if extractor is None and takes_text(chosen):
            extractor = TextFeatures()
        judge = _judge.judge_of(judge, chosen, trainer)
        parts = {"trainer": trainer, "extractor": extractor, "scorer": scorer, "judge": judge, "evaluator": evaluator}
        names: dict[str, str] = {}
        for name, stage in (parts | {f"stage {name}": stage for name, stage in chosen.stages.items()}).items():
            names |= {} if stage is None else named(name, stage)
        names |= names_of(aggregator)
        own = [_checked(records) for records in clients]
        counted = [tokens_of(tokens, records, chosen, trainer) for records in own] if in_tokens(chosen) else None
        if counted is not None:
            names["tokens"] = hashlib.sha256(json.dumps([list(map(int, one or ())) for one in counted]).encode()).hexdigest()
        layers = getattr(extractor, "layers", 1)
        self._run = Run(
            method=chosen._json,
            layers=layers if isinstance(layers, int) else 1,
            stages=chosen._wrapped,
            clients=own,
            trainer=_record_stages.trainer(trainer),
            extractor=None if extractor is None else _record_stages.extractor(extractor),
            scorer=None if scorer is None else _record_stages.scorer(scorer),
            judge=None if judge is None else _judge.native(judge),
            tokens=None if counted is None else [[_id(n, "tokens") for n in one or ()] for one in counted],
            aggregator=joined,
            evaluator=None if evaluator is None else _record_stages.evaluator(evaluator),
            test=None if test is None else _checked(test),
            generate=None if generate is None else _count("generate", generate),
            settings=_native.SimulationSettings(
                rounds=rounds, participation=participation, evaluate=evaluate, ranks=ranks
            ),
            seed=_seed(seed),
            checkpoint=None if checkpoint is None else os.fspath(checkpoint),
            names=names,
            clients_at_once=_count("clients_at_once", clients_at_once),
        )
        self._made_of(
            Simulation,
            method=chosen,
            clients=own,
            trainer=trainer,
            extractor=extractor,
            scorer=scorer,
            judge=False if judge is None else judge,
            tokens=tokens,
            aggregator=aggregator,
            evaluator=evaluator,
            test=self._run.test,
            generate=generate,
            rounds=rounds,
            participation=participation,
            evaluate=evaluate,
            ranks=ranks,
            seed=seed,
            checkpoint=self._run.checkpoint,
            clients_at_once=clients_at_once,
        )

    def run(self) -> Outcome:
        """Runs the rounds that are not done yet.

        Raises:
            InputError, ParameterError: before any work, for what does not fit.
            StageError: for a stage of one's own that failed for all clients, or on the server; its exception is the cause.
            CheckpointError: for a checkpoint of another run.
        """
        adapter, rounds, scores = _native.run_simulation(self._run)
        return Outcome(Adapter._of(adapter), [_by_number(one) for one in rounds], scores)


def _by_number(told: dict[str, Any]) -> dict[str, Any]:
    """A round of which client numbers are numbers, which JSON has not as keys."""

    def numbered(table: Mapping[str, Any]) -> dict[int, Any]:
        return {int(client): value for client, value in table.items()}

    aggregation = told["aggregation"]
    by_client = {name: numbered(aggregation[name]) for name in ("weights", "limited")}
    return told | {"left_out": numbered(told.get("left_out", {})), "aggregation": aggregation | by_client}
