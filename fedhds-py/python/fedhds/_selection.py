"""Methods, and the client's half of the selection: messages are bytes for any transport, features are arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native, _stages
from ._guard import guarded
from ._arrays import matrix
from ._arrays import seed as _seed
from ._identity import named
from ._model import Adapter, _adapter, _count
from ._native import AdapterError, InputError, ParameterError, ProtocolError, StageError
from ._record_stages import named_scores


def presets() -> list[str]:
    """The names of the methods.

    Example:
        >>> import fedhds
        >>> "fedhds_shared" in fedhds.presets()
        True
    """
    return _native.presets()


@guarded
class Method:
    """A selection method: a preset's name, and what differs from it.

    Args:
        preset: one of :func:`presets`.
        budget: records a round, for presets that select to a budget; ``{"tokens": n}`` counts tokens of prompt, response and end of
            sequence in their place, which the clients say by ``tokens`` of :meth:`Client.summarize`.
        stages: own stages in the place of the preset's, by name. A function serves for an object with one method.

            - ``client.normalizer``, ``client.reducer``: ``reduce(features, seed)``, or scikit-learn's ``fit_transform``.
            - ``client.clusterer``, ``server.clusterer``: ``cluster(points, seed)``, which returns labels, or labels and membership
              probabilities; or ``fit_predict``. Arguments named ``wanted`` (how many clusters the method needs, or None), ``weights`` and
              ``scores`` are given by name, and a first one named ``rows`` gets the whole :class:`Rows`.
            - ``client.upload``: ``release(summary, randomness)``, a :class:`Summary` to one as it may leave the client; what is drawn
              comes from :class:`Randomness`.
            - ``client.selector``, ``server.selector``: ``select(candidates, count, seed)``, which returns rows of the :class:`Rows`. The
              attribute ``uses_groups`` says whether clusters have a say (absent: as the method has it), ``uses_covered`` whether a
              memory has (absent: no).
            - ``server.memory``: a class or function that makes an object with ``begin(round)``, ``commit(trained)`` (a list of
              :class:`TrainedGroup`), ``covered()`` (points [m, d] and mass [m]), ``state()``, ``resume(state)`` and ``bound()``.
        settings: anything else of the method, nested as in the configuration file.

    Raises:
        ConfigError: for a name or setting that is none, or does not fit.

    Example:
        >>> import fedhds
        >>> fedhds.Method("fedhds_coverage", budget=20, client={"clusterer": {"n_clusters": 4}}).settings["count"]
        {'budget': 20}
    """

    def __init__(
        self,
        preset: str,
        budget: int | Mapping[str, int] | None = None,
        *,
        stages: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(preset, str):
            raise ParameterError(f"preset: expected a preset's name, got {preset!r}")
        given: dict[str, Any] = {"preset": preset, **settings}
        if budget is not None:
            if "count" in settings:
                raise ParameterError("budget: expected no `count` beside it, got both")
            plain = {name: _plain(value) for name, value in budget.items()} if isinstance(budget, Mapping) else _plain(budget)
            given["count"] = {"budget": plain}
        try:
            text = json.dumps(given)
        except TypeError as error:
            raise ParameterError(f"settings: expected numbers, text, lists and dicts: {error}") from error
        self._json = _native.method(text)
        self._wrapped = _stages.wrap(stages)
        self.stages: dict[str, Any] = dict(stages or {})

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, as it stands."""
        settings: dict[str, Any] = json.loads(self._json)
        return settings

    def __repr__(self) -> str:
        return f"Method({self.settings['name']!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and (self._json, self.stages) == (other._json, other.stages)

    def __hash__(self) -> int:
        return hash(self._json)


def _own_stages(method: Method) -> dict[str, str]:
    """What tells a method's own stages apart in a state."""
    found: dict[str, str] = {}
    for name, stage in method.stages.items():
        found |= named(f"stage {name}", stage)
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _method(method: Method | str) -> Method:
    return method if isinstance(method, Method) else Method(method)


@guarded
def client_seed(seed: int, call: str, round: int | None = None, client: int = 0) -> int:
    """The seed that the core's simulation derives for a call of a client: what makes a training elsewhere the same to the last bit.

    Args:
        seed: the experiment's.
        call: ``"train"``, or another stage's name; ``"init"`` without a round for the first adapter.
        round: the round, from 0.
        client: the client's number.
    """
    number = None if round is None else _id(round, "round")
    return _native.client_seed(_seed(seed), call, number, _id(client, "client"))


def _id(value: Any, name: str) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= int(value) < 2**32:
        raise ParameterError(f"{name}: expected a whole number from 0 to 2**32 - 1, got {value!r}")
    return int(value)


def _bytes(value: Any, what: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ProtocolError(f"protocol: {what}: expected bytes, got {type(value).__name__}")
    return bytes(value)


@guarded
class Client:
    """A client's half of the selection, in two calls: :meth:`summarize` answers the server's start, :meth:`choose` its order.

    Row i of the features is record i, and record numbers never leave the client.

    Args:
        client: its number in the federation.
        method: the same as the server's.
        layers: equal parts of a feature vector, one for each layer, for methods that normalise per layer; 1 for one vector.
        seed: the experiment's.
        secret: 32 bytes that its upload stage draws from, for tests alone. None is the operating system's randomness, drawn when it is
            first needed and kept in :meth:`state`.
        least_group: distinct records that the method's groups must have at least (``client.min_group_size``), else this client shows none.
        max_records: records that it trains on at most in a round: an order that comes to more is refused. None sets no limit.
        rank: of the adapters that it trains, at most: :meth:`start_from` makes the global one smaller. The server's aggregator must take ranks, as
            :class:`fedhds.FlexLora` does. None takes any.

    A round is answered once: the same question and order get the same answer again, others are refused, and so is what differs from what
    the client was told first (:meth:`unpin` forgets both). All of it is in :meth:`state`.

    Example:
        >>> import numpy as np, fedhds
        >>> method = fedhds.Method("fedhds_coverage", budget=4)
        >>> server, client = fedhds.Server(method), fedhds.Client(0, method)
        >>> start = server.begin_round(0, [0])
        >>> features = np.random.default_rng(0).normal(size=(50, 8))
        >>> kind = server.receive(0, client.summarize(start, features))
        >>> orders = server.select()
        >>> len(client.choose(orders[0]))
        4
    """

    def __init__(
        self,
        client: int,
        method: Method | str,
        *,
        layers: int = 1,
        seed: int = 0,
        secret: bytes | None = None,
        least_group: int = 1,
        max_records: int | None = None,
        rank: int | None = None,
    ) -> None:
        self._seed = _seed(seed)
        chosen = _method(method)
        if secret is not None and (not isinstance(secret, bytes) or len(secret) != 32):
            raise ParameterError("secret: expected 32 bytes or None, got something else")
        number = _id(client, "client")
        least, most = _id(least_group, "least_group"), None if max_records is None else _id(max_records, "max_records")
        self._native = _native.Client(number, chosen._json, _id(layers, "layers"), chosen._wrapped, secret, least, most)
        if rank is not None:
            self._native.set_rank(_id(rank, "rank"))
        self._native.identify({"client": str(number), "seed": str(self._seed)} | _own_stages(chosen))
        self._given: dict[str, Any] = {
            "client": number, "method": chosen, "layers": layers, "seed": self._seed, "least_group": least, "max_records": most,
            "rank": rank
        }  # fmt: skip

    @property
    def id(self) -> int:
        """Its number."""
        return self._native.id

    def summarize(
        self,
        start: bytes,
        features: ArrayLike | Callable[[], ArrayLike] | None = None,
        *,
        records: int | None = None,
        scores: Mapping[str, ArrayLike] | tuple[Iterable[str], ArrayLike] | None = None,
        copies: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        alike: Sequence[int] | NDArray[np.integer[Any]] | None = None,
        prompts: ArrayLike | None = None,
        tokens: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    ) -> bytes:
        """Groups the records; the answer goes to the server.

        Args:
            start: what the server's ``begin_round`` gave.
            features: [records, d], or a function that gives them; None for methods that look at none, with ``records`` instead.
            records: how many records the client has, where there are no features.
            scores: numbers of each record (losses, lengths): a column [records] by name, or names and an array [records, k]. Own
                clusterers and selectors see them; they stay here unless the method has ``share_scores``.
            copies: which near copy each record is of, [records], as :func:`fedhds.near_copies` numbers them: those of one number count
                as one record, of which one may train. None takes each record for itself.
            alike: the same for records that each may train: it says alone how many distinct records a group has, where it must have so many.
            prompts: features of the prompts alone, [records, p], such as :meth:`fedhds.TextFeatures.prompts` gives them: what tells topics
                apart for :meth:`pilot`. None takes the features.
            tokens: of each record, [records]: prompt, response and end of sequence, as :func:`fedhds.count_tokens` counts them. A method
                whose budget is in tokens needs them.

        Raises:
            InputError: where the server asks for tokens and none, or not one number a record, were given.
        """
        if features is None:
            if records is None:
                raise InputError("features: expected an array, or `records` for a method without features, got neither")
            array: NDArray[np.float32] = np.zeros((_id(records, "records"), 0), dtype=np.float32)
        else:
            array = matrix(features() if callable(features) else features, "features")
        return self._native.summarize(
            _bytes(start, "round_start"),
            array,
            _scores(scores, len(array)),
            None if copies is None else [_id(copy, "copies") for copy in copies],
            None if alike is None else [_id(copy, "alike") for copy in alike],
            None if prompts is None else matrix(prompts, "prompts"),
            None if tokens is None else [_id(count, "tokens") for count in tokens],
            self._seed,
        )

    def pilot(self, start: bytes) -> list[tuple[int, int]]:
        """What a method's quality gate asks of this client, after :meth:`summarize`: pairs of rows, (whose response, under whose prompt).

        The mean loss of each is what :meth:`answer` takes. No pairs where the server does not ask or knows the answer, and where the
        client's topics are too few to tell. A client that has no model declines: it leaves both calls out.

        Args:
            start: what :meth:`summarize` was given.
        """
        return self._native.pilot(_bytes(start, "round_start"))

    def answer(self, summary: bytes, start: bytes, losses: Iterable[float]) -> bytes:
        """The summary with the answer to the gate's question, a histogram; it goes to the server in the place of the summary.

        Args:
            summary: what :meth:`summarize` gave.
            start: what it was given.
            losses: mean loss of each pair of :meth:`pilot`, in nats a token, in their order; NaN where there is none.

        Raises:
            InputError: for another number of losses.
        """
        given = [float(loss) for loss in losses]
        return self._native.answer(_bytes(summary, "client_summary"), _bytes(start, "round_start"), given)

    def choose(
        self, order: bytes, *, losses: Callable[[list[tuple[int, int]]], Iterable[float]] | None = None
    ) -> NDArray[np.int64]:
        """The rows to train on, ascending; none where the client does not train in this round.

        Args:
            order: what the server's ``select`` gave.
            losses: where the order's gate is open, a function of pairs as those of :meth:`pilot` that gives their losses: what does not
                pass is left out, remembered, and made up for by others of its group. It is called only then. None leaves nothing out.

        Raises:
            StageError: for what `losses` raised, which is the cause.
            InputError: for another number of losses than pairs.
        """
        judge = None if losses is None else _judged(losses)
        return self._native.choose(_bytes(order, "selection_order"), self._seed, judge)

    @property
    def factors(self) -> str:
        """Which factors of the adapter the round trains, as its start said: ``both``, ``a`` or ``b``. What is frozen must stay as it is, to the bit."""
        return self._native.factors

    def start_from(self, adapter: Adapter) -> Adapter:
        """The adapter to train from: the global one, at this client's rank where that is smaller.

        Raises:
            AdapterError: for a tensor whose name says neither ``lora_A`` nor ``lora_B``.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None")
        return Adapter._of(self._native.start_from(native))

    def update(
        self,
        order: bytes,
        rows: Iterable[int],
        adapter: Adapter,
        *,
        losses: Iterable[float] = (),
        skipped: int = 0,
        tokens: int = 0,
    ) -> bytes:
        """The message of what training gave; it goes to the server.

        Args:
            order: what was ordered.
            rows: those that :meth:`choose` gave, or fewer.
            adapter: after training.
            losses: mean loss of each step; their mean travels.
            skipped: steps that were not taken, as loss or gradient was not finite.
            tokens: that went through the model.

        Raises:
            InputError: for rows that are not in the order's groups.
            ProtocolError: for no rows, or an order of another client.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None")
        return self._native.update(
            _bytes(order, "selection_order"),
            [_id(row, "rows") for row in rows],
            native,
            [float(loss) for loss in losses],
            _count("skipped", skipped),
            _count("tokens", tokens),
        )

    def mark_trained(self, rows: Iterable[int]) -> None:
        """Remembers rows that were trained on: most methods prefer others in later rounds."""
        self._native.mark_trained([_id(row, "rows") for row in rows])

    @property
    def trained(self) -> list[int]:
        """The rows that are marked as trained on, ascending; without those of which the server said that they did not count."""
        return self._native.trained()

    @property
    def refused(self) -> list[int]:
        """The rows that did not pass an open gate, ascending; they stay on the client."""
        return self._native.refused()

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each record after :meth:`summarize`, -1 for none; it stays on the client."""
        return self._native.groups()

    def pin_seed(self, seed: int) -> None:
        """Takes the experiment's seed as a server said it: the first one holds.

        Raises:
            ProtocolError: for another one than the first.
        """
        self._native.pin_seed(_seed(seed))

    def pins(self) -> bytes:
        """What it was told at first contact: seeds, and what the quality gate asks. It is in :meth:`state`, too."""
        return self._native.pins()

    def pin(self, pins: bytes) -> None:
        """Gives it what :meth:`pins` gave earlier.

        Raises:
            ProtocolError: where it was told something else since.
        """
        self._native.pin(_bytes(pins, "client pins"))

    def unpin(self) -> None:
        """Forgets what it was told at first contact and which round it answered last: for another federation, or a server that begins again.

        It is for the client's owner to decide, never for a server.
        """
        self._native.unpin()

    def state(self) -> bytes:
        """What it remembers, its secret among it, for another process to go on (with Flower: in ``context.state``)."""
        return self._native.state()

    def resume(self, state: bytes, *, trained: bool = True) -> None:
        """Goes on from :meth:`state`.

        Args:
            state: of a client with the same number, method, layers and seed.
            trained: whether the rows that were marked as trained on count too.

        Raises:
            ProtocolError: for the state of another; the message names what differs.
        """
        self._native.resume(_bytes(state, "client state"), trained)

    def __reduce__(self) -> tuple[Any, ...]:
        # With its secret, as `state` has it: a pickle is not for others' eyes.
        own = {name: value for name, value in vars(self).items() if name != "_native"}
        return _client_again, (type(self), self._given, self.state()), own


def _client_again(kind: type[Client], given: Mapping[str, Any], state: bytes) -> Client:
    client = object.__new__(kind)
    Client.__init__(client, **given)
    client.resume(state)
    return client


def _judged(losses: Callable[[list[tuple[int, int]]], Iterable[float]]) -> Callable[[list[tuple[int, int]]], list[float]]:
    if not callable(losses):
        raise ParameterError(f"losses: expected a function of pairs, got {losses!r}")
    return lambda pairs: [float(loss) for loss in losses(pairs)]


def _scores(scores: Any, rows: int) -> tuple[list[str], NDArray[np.float32]] | None:
    if scores is None:
        return None
    names, values = (None, scores) if isinstance(scores, Mapping) else (scores[0], scores[1])
    try:
        return named_scores(values, None if names is None else [str(name) for name in names], rows)
    except StageError as error:
        raise InputError(str(error)) from None
