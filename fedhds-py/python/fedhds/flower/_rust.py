"""A client that trains in Rust: both phases from records, a trainer and an extractor."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from .. import Adapter, Method, Record, Trained, as_records
from .._writing import replacing
from .._native import InputError, ProtocolError
from .._judge import judge_of
from .._record_stages import train_with
from .._text import TextFeatures, takes_text
from .._tokens import Tokens, tokens_of
from ._client import Agreed, Query, Task, answered
from ._messages import ACTION, EVAL_LOSS, NUM_CLIENTS, NUM_EXAMPLES, Header, method_of
from ._tensors import arrays_of, single_arrays

logger = getLogger("flwr.fedhds")

Mod = Callable[[Message, Context, Callable[[Message, Context], Message]], Message]


@dataclass
class LocalData:
    """What one client has.

    Args:
        records: its records, or whatever :func:`fedhds.as_records` takes; always in the same order.
        trainer: a :class:`fedhds.LoraTrainer`, or an object with ``init(seed)`` and ``train(adapter, records, seed)``.
        extractor: a :class:`fedhds.LayerFeatures`, or an object with ``extract(records, adapter)``; None for methods
            that look at no features, or at the records' texts. Where ``is_frozen`` holds, features are taken once.
        evaluator: a :class:`fedhds.ModelEvaluator`, for :meth:`RustClient.evaluate`.
        test: records for it.
        state_dir: a folder on this client where it keeps the rows that it trained on, for a run that is resumed, and
            features that do not change; None keeps them in memory, as long as the run lasts.
        judge: as for :class:`fedhds.Simulation`: None is the model of a :class:`fedhds.LoraTrainer` where the method has a quality
            gate, and False declines.
        tokens: of each record, or a function of the records that gives them, for methods whose budget is in tokens; None counts by the
            model of a :class:`fedhds.LoraTrainer`.
    """

    records: Any
    trainer: Any
    extractor: Any = None
    evaluator: Any = None
    test: Any = ()
    state_dir: str | os.PathLike[str] | None = None
    judge: Any = None
    tokens: Tokens = None


class RustClient:
    """Both phases of a round, and evaluation, of a client that trains in Rust; no PyTorch.

    A run with it, all clients taking part and :class:`WeightedMean` on the server, ends with the adapter of
    :class:`fedhds.Simulation` with the same seed, records, trainer and extractor, bit for bit.

    Args:
        load: makes a client's data from the client app's context (its ``node_config["partition-id"]``, say). Called
            once for each client in a process; keep what is large, such as a model, in a cache of your own, as a
            simulation runs many clients in one process.
        method: what this client is willing to run, as for :func:`answer`: one method, or :class:`fedhds.AllowedMethods`; None is every preset
            within limits.
        keep: clients whose data stays in the memory of a process, at least 1.
        least_group: as for :func:`answer`.
        max_records: as for :class:`Task`.

    Example:
        >>> import fedhds
        >>> from fedhds.flower import LocalData, RustClient
        >>> def load(context):
        ...     model = fedhds.Model.embedded()
        ...     records, _ = fedhds.embedded_records(records_per_task=2)
        ...     parts = fedhds.partition(records, clients=context.node_config["num-partitions"], alpha=0.5)
        ...     own = parts[context.node_config["partition-id"]]
        ...     return LocalData(own, fedhds.LoraTrainer(model), fedhds.LayerFeatures(model))
        >>> app = RustClient(load).app()
    """

    def __init__(
        self,
        load: Callable[[Context], LocalData],
        *,
        method: Agreed = None,
        keep: int = 16,
        least_group: int = 1,
        max_records: int | None = None,
    ) -> None:
        self._load = load
        self._least_group = least_group
        self._max_records = max_records
        self._method = method
        self._keep = max(1, keep)
        self._clients: dict[tuple[int, int], _Loaded] = {}

    def app(self, *, mods: Sequence[Mod] = (), train_mods: Sequence[Mod] = ()) -> ClientApp:
        """A whole ClientApp.

        Args:
            mods: Flower's mods around everything.
            train_mods: around training alone: mods for differential privacy, which refuse other messages.
        """
        app = ClientApp(mods=list(mods))
        app.query(ACTION)(self.extract)
        app.train(mods=list(train_mods))(self.train)
        app.evaluate()(self.evaluate)
        return app

    def extract(self, message: Message, context: Context) -> Message:
        """The first phase, for ``@app.query("hds_extract")``."""
        local = self._local(context)
        return answered(
            message,
            context,
            local.features,
            records=local.records,
            judge=local.judge,
            tokens=local.tokens,
            method=self._method,
            layers=local.layers,
            client=None,
            state_dir=local.data.state_dir,
            least_group=self._least_group,
        )

    def train(self, message: Message, context: Context) -> Message:
        """The second phase, for ``@app.train()``."""
        local = self._local(context)
        theirs = method_of(Header.read(message, "train"))
        task = Task(
            message,
            context,
            method=self._method,
            layers=local.layers,
            state_dir=local.data.state_dir,
            records=local.records,
            judge=local.judge(theirs) or False,
            max_records=self._max_records,
        )
        adapter = local.adapter(task.arrays)
        chosen = [local.records[row] for row in task.rows]
        trained = train_with(local.data.trainer, adapter, chosen, task.seed, task.factors)
        if not isinstance(trained, Trained):
            trained = Trained(trained)
        loss = float(np.mean(trained.losses)) if trained.losses else float("nan")
        return task.reply(trained.adapter.tensors, train_loss=loss)

    def evaluate(self, message: Message, context: Context) -> Message:
        """The loss on the client's test records, for ``@app.evaluate()``: ``eval_loss`` in nats a token.

        Raises:
            InputError: for a client without an evaluator or test records.
        """
        local = self._local(context)
        test = as_records(local.data.test)
        if local.data.evaluator is None or not test:
            raise InputError(
                "test: expected an evaluator and test records, got a client without; set `fraction_evaluate=0.0`"
            )
        sent = single_arrays(message)
        if sent is None:
            raise ProtocolError("protocol: evaluate: expected one ArrayRecord, got none")
        scores = local.data.evaluator.evaluate(test, local.adapter(arrays_of(sent[1])), False)
        loss = float(np.mean([score.loss for score in scores]))
        metrics = MetricRecord({NUM_EXAMPLES: len(scores), NUM_CLIENTS: 1, EVAL_LOSS: loss})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    def _local(self, context: Context) -> _Loaded:
        key = (context.run_id, context.node_id)
        local = self._clients.pop(key, None)
        if local is None:
            local = _Loaded(self._load(context))
        self._clients[key] = local  # the one that was used last is the last to go
        while len(self._clients) > self._keep:
            del self._clients[next(iter(self._clients))]
        return local


class _Loaded:
    """A client's data in this process."""

    def __init__(self, data: LocalData) -> None:
        self.data = data
        self.records: list[Record] = as_records(data.records)
        self.layers = int(getattr(data.extractor, "layers", 1))
        self._start: Adapter | None = None
        self._features: NDArray[np.float32] | None = None
        self._text = TextFeatures()
        self._judge: Any = None
        self._tokens: Sequence[int] | None = None

    def adapter(self, arrays: dict[str, NDArray[Any]]) -> Adapter:
        """The arrays as an adapter of this client's trainer, which knows rank and targets."""
        if self._start is None:
            self._start = self.data.trainer.init(0)
        return self._start.with_tensors(arrays)

    def judge(self, method: Method) -> Any:
        """Who judges the records; None for nobody."""
        if self._judge is None:
            self._judge = judge_of(self.data.judge, method, self.data.trainer)
        return self._judge

    def tokens(self, method: Method, _: Any) -> Sequence[int] | None:
        """Tokens of the records where the method's budget counts them, counted once."""
        if self._tokens is None:
            self._tokens = tokens_of(self.data.tokens, self.records, method, self.data.trainer)
        return self._tokens

    def features(self, query: Query) -> NDArray[np.float32]:
        """Features of the records; those of a frozen extractor are taken once."""
        extractor = self.data.extractor
        if extractor is None and takes_text(query.method):
            extractor = self._text
        if extractor is None:
            raise InputError(f"extractor: expected one, for the method {query.method.settings['name']!r}, got none")
        extract = getattr(extractor, "extract", extractor)
        if not getattr(extractor, "is_frozen", False):
            adapter = None if query.arrays is None else self.adapter(query.arrays)
            return np.asarray(extract(self.records, adapter), dtype=np.float32)
        if self._features is None:
            file = self._file(extractor)
            self._features = _read(file, len(self.records))
            if self._features is None:
                self._features = np.asarray(extract(self.records, None), dtype=np.float32)
                _write(file, self._features)
        return self._features

    def _file(self, extractor: Any) -> Path | None:
        """Where features of these records are kept; nowhere for an extractor that does not say what it is."""
        fingerprint = getattr(extractor, "fingerprint", None)
        if self.data.state_dir is None or not isinstance(fingerprint, str):
            return None
        digest = hashlib.blake2b(fingerprint.encode(), digest_size=16)
        for record in self.records:
            digest.update(repr(record).encode())
        return Path(self.data.state_dir) / "features" / f"{digest.hexdigest()}.npy"


def _read(file: Path | None, rows: int) -> NDArray[np.float32] | None:
    if file is None or not file.exists():
        return None
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s: features are taken again, as the file is damaged: %s", file, error)
        return None
    whole = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim == 2 and len(found) == rows
    if not whole or not np.isfinite(found).all():
        logger.warning("%s: features are taken again: expected %s finite rows of float32, got something else", file, rows)
        return None
    return np.asarray(found)


def _write(file: Path | None, features: NDArray[np.float32]) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as opened:
            np.save(opened, features, allow_pickle=False)
    except OSError as error:
        logger.warning("%s: features are not kept, and taken again in the next run: %s", file, error)
