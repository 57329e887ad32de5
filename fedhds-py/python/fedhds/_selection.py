"""Both halves of the selection: messages are bytes for any transport, features are arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native, _stages
from ._arrays import matrix
from ._arrays import seed as _seed
from ._model import Adapter, _adapter, _count
from ._native import AdapterError, InputError, ParameterError, ProtocolError


def presets() -> list[str]:
    """The names of the methods.

    Example:
        >>> import fedhds
        >>> "fedhds_shared" in fedhds.presets()
        True
    """
    return _native.presets()


class Method:
    """A selection method: a preset's name, and what differs from it.

    Args:
        preset: one of :func:`presets`.
        budget: records a round, for presets that select to a budget.
        stages: own stages in the place of the preset's, by name: ``client.normalizer``, ``client.reducer``, ``client.clusterer``,
            ``client.selector``, ``server.clusterer``, ``server.selector``. A reducer has ``reduce(features, seed)`` or scikit-learn's
            ``fit_transform``; a clusterer ``cluster(points, seed)``, which returns labels or labels and strengths, or ``fit_predict``;
            a selector ``select(candidates, count, seed)``, which returns rows. A function serves too.
        settings: anything else of the method, nested as in the configuration file.

    Raises:
        ConfigError: for a name or setting that is none, or does not fit.

    Example:
        >>> import fedhds
        >>> fedhds.Method("fedhds_coverage", budget=20, client={"clusterer": {"n_clusters": 4}}).settings["count"]
        {'budget': 20}
    """

    def __init__(
        self, preset: str, budget: int | None = None, *, stages: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        if not isinstance(preset, str):
            raise ParameterError(f"preset: expected a preset's name, got {preset!r}")
        given: dict[str, Any] = {"preset": preset, **settings}
        if budget is not None:
            if "count" in settings:
                raise ParameterError("budget: expected no `count` beside it, got both")
            given["count"] = {"budget": budget.item() if isinstance(budget, np.generic) else budget}
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


def _method(method: Method | str) -> Method:
    return method if isinstance(method, Method) else Method(method)


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


class Client:
    """A client's half of the selection, in two calls: :meth:`summarize` answers the server's start, :meth:`choose` its order.

    Row i of the features is record i, and record numbers never leave the client.

    Args:
        client: its number in the federation.
        method: the same as the server's.
        layers: equal parts of a feature vector, one for each layer, for methods that normalise per layer; 1 for one vector.
        seed: the experiment's.

    Example:
        >>> import numpy as np, fedhds
        >>> method = fedhds.Method("fedhds_coverage", budget=4)
        >>> server, client = fedhds.Server(method), fedhds.Client(0, method)
        >>> start = server.begin_round(0, [0])
        >>> features = np.random.default_rng(0).normal(size=(50, 8))
        >>> server.receive(client.summarize(start, features))
        >>> orders = server.select()
        >>> len(client.choose(orders[0]))
        4
    """

    def __init__(self, client: int, method: Method | str, *, layers: int = 1, seed: int = 0) -> None:
        self._seed = _seed(seed)
        chosen = _method(method)
        self._native = _native.Client(_id(client, "client"), chosen._json, _id(layers, "layers"), chosen._wrapped)

    @property
    def id(self) -> int:
        """Its number."""
        return self._native.id

    def summarize(
        self, start: bytes, features: ArrayLike | Callable[[], ArrayLike] | None = None, *, records: int | None = None
    ) -> bytes:
        """Groups the records; the answer goes to the server.

        Args:
            start: what the server's ``begin_round`` gave.
            features: [records, d], or a function that gives them; None for methods that look at none, with ``records`` instead.
            records: how many records the client has, where there are no features.
        """
        if features is None:
            if records is None:
                raise InputError("features: expected an array, or `records` for a method without features, got neither")
            array: NDArray[np.float32] = np.zeros((_id(records, "records"), 0), dtype=np.float32)
        else:
            array = matrix(features() if callable(features) else features, "features")
        return self._native.summarize(_bytes(start, "round_start"), array, self._seed)

    def choose(self, order: bytes) -> NDArray[np.int64]:
        """The rows to train on, ascending; none where the client does not train in this round."""
        return self._native.choose(_bytes(order, "selection_order"), self._seed)

    def mark_trained(self, rows: Iterable[int]) -> None:
        """Remembers rows that were trained on: most methods prefer others in later rounds."""
        self._native.mark_trained([_id(row, "rows") for row in rows])

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each record after :meth:`summarize`, -1 for none; it stays on the client."""
        return self._native.groups()

    def state(self) -> str:
        """What it remembers, for another process to go on (with Flower: in ``context.state``)."""
        return self._native.state()

    def resume(self, state: str) -> None:
        """Goes on from :meth:`state`."""
        self._native.resume(state)


@dataclass(frozen=True)
class Group:
    """A group that a client reported, and what became of it."""

    client: int
    cluster: int
    """The client's number for it."""
    records: int
    """Records in it."""
    server_cluster: int
    """The server's cluster of it; -1 for none."""
    ordered: int
    """Records that were ordered of it."""


class Server:
    """The server's half of the selection.

    Args:
        method: what selects.
        layers: as for :class:`Client`.
        seed: the experiment's; the frame that clients share comes from it.
        aggregator: an object with ``add(client, adapter, records)`` and ``finish()``; None is the mean weighted by records (eq. 12).
    """

    def __init__(self, method: Method | str, *, layers: int = 1, seed: int = 0, aggregator: Any = None) -> None:
        self._seed = _seed(seed)
        chosen = _method(method)
        joined = None if aggregator is None else _stages.aggregator(aggregator)
        self._native = _native.Server(chosen._json, _id(layers, "layers"), self._seed, chosen._wrapped, joined)

    def begin_round(self, round: int, clients: Iterable[int]) -> bytes:
        """Begins a round with these clients; the answer goes to each of them. A round that still runs is left."""
        ids = [_id(client, "clients") for client in clients]
        self._native.end_round()
        return self._native.begin_round(_id(round, "round"), ids)

    def receive(self, summary: bytes) -> None:
        """Takes in a client's summary."""
        self._native.receive(_bytes(summary, "client_summary"))

    def select(self) -> Mapping[int, bytes]:
        """Selects; an order for each client that sent a summary, to be sent to it. Clients that stay silent are left out."""
        return self._native.select(self._seed)

    def receive_update(self, client: int, adapter: Adapter, records: int) -> None:
        """Takes in an adapter that a client trained on so many of the records that were ordered of it; in any order of clients.

        Raises:
            ProtocolError: for a client without an order, a second update, or more records than were ordered.
        """
        native = _adapter(adapter)
        if native is None:
            raise AdapterError("adapter: expected a fedhds.Adapter, got None")
        self._native.receive_update(_id(client, "client"), native, _count("records", records))

    def finish_round(self) -> Adapter | None:
        """Ends the round: the joined adapter, summed in the order of clients; None where nobody trained, and the adapter stays."""
        adapter = self._native.finish_round()
        return None if adapter is None else Adapter._of(adapter)

    @property
    def selection(self) -> list[Group]:
        """Every group of the round, after :meth:`select`."""
        return [Group(*group) for group in self._native.selection()]

    def state(self) -> str:
        """What it knows, for another process to go on."""
        return self._native.state()

    def resume(self, state: str) -> None:
        """Goes on from :meth:`state`."""
        self._native.resume(state)
