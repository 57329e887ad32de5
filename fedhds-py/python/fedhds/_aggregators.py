"""What makes the clients' adapters one: the core's aggregators by their settings, and a user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import _native
from ._calls import adapter_of, needed, own, parameters
from ._identity import named
from ._model import Adapter
from ._native import ParameterError, StageError


@dataclass(frozen=True)
class WeightedMean:
    """The mean weighted by records (the paper, eq. 12)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "weighted_mean"}


@dataclass(frozen=True)
class FedAvgM:
    """The mean with server momentum (Hsu et al. 2019; Reddi et al. 2020)."""

    learning_rate: float = 1.0
    """Above 0; 1 without momentum is the mean itself."""
    momentum: float = 0.9
    """In [0, 1)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "fedavgm", **asdict(self)}


@dataclass(frozen=True)
class FedAdam:
    """Adam on the server (Reddi et al. 2020, algorithm 2)."""

    learning_rate: float = 0.01
    """Above 0."""
    beta_1: float = 0.9
    """Decay of the mean of steps, in [0, 1)."""
    beta_2: float = 0.99
    """Decay of the mean of squared steps, in [0, 1)."""
    tau: float = 1e-3
    """What is added to the root of the squares, above 0: the larger, the less adaptive."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "fedadam", **asdict(self)}


@dataclass(frozen=True)
class FlexLora:
    """The best adapter of the global rank for the mean of the clients' products B A (Bai et al. 2024); clients may have smaller ranks."""

    rank_weights: bool = False
    """Whether each rank is weighed among the clients that have it alone (raFLoRA)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "flexlora", **asdict(self)}


@dataclass(frozen=True)
class FfaLora:
    """The mean of B with a fixed A (Sun et al. 2024)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "ffa_lora"}


@dataclass(frozen=True)
class RoLora:
    """The means of B and of A in turn, B first (Chen et al. 2025)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "rolora"}


@dataclass(frozen=True)
class FedSvd:
    """The mean of B with an A that follows the product (Lee et al. 2025)."""

    @property
    def settings(self) -> dict[str, Any]:
        """As a configuration has them."""
        return {"kind": "fedsvd"}


_REPORT = ("weights", "limited", "measures", "discarded")


class Own:
    """A user's aggregator: ``add(client, adapter, records, loss)`` and ``finish()``. May be absent: ``begin(adapter, round)``; ``state()``
    and ``resume(state)``, where it keeps nothing between rounds; ``memory(clients, values)``; ``trains(round)``, which factors a round trains
    (``both``, ``a`` or ``b``); ``takes_ranks()``, whether updates may have a smaller rank than the global adapter. An ``add`` of three arguments
    gets no loss.
    """

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        names = parameters(needed(stage, "add"))
        self._takes_loss = names is None or len(names) > 3
        self._factors: tuple[int, str] | None = None

    def begin(self, adapter: _native.Adapter, round: int) -> None:
        # Asked here, where what it raises ends the round's beginning.
        self._factors = (round, self._asked(round))
        call = own(self._stage, "begin")
        if call is not None:
            call(Adapter._of(adapter), round)

    def add(self, client: int, adapter: _native.Adapter, records: int, loss: float | None) -> None:
        given: tuple[Any, ...] = (client, Adapter._of(adapter), records)
        needed(self._stage, "add")(*given, *([loss] if self._takes_loss else []))

    def finish(self) -> tuple[_native.Adapter | None, str | None]:
        finished = needed(self._stage, "finish")()
        adapter, report = finished if isinstance(finished, tuple) and len(finished) == 2 else (finished, None)
        told = None if report is None else _report(report)
        return None if adapter is None else adapter_of(adapter, "finish"), told

    def _asked(self, round: int) -> str:
        call = own(self._stage, "trains")
        factors = "both" if call is None else call(round)
        if factors not in ("both", "a", "b"):
            raise StageError(f"`trains`: expected `both`, `a` or `b`, got {factors!r}")
        return str(factors)

    def trains(self, round: int) -> str:
        known = self._factors
        return known[1] if known is not None and known[0] == round else self._asked(round)

    def takes_ranks(self) -> bool:
        call = own(self._stage, "takes_ranks")
        return False if call is None else bool(call())

    def state(self) -> bytes:
        call = own(self._stage, "state")
        state = b"" if call is None else call()
        if not isinstance(state, bytes):
            raise StageError(f"`state`: expected bytes, got {type(state).__name__}")
        return state

    def resume(self, state: bytes) -> None:
        call = own(self._stage, "resume")
        if call is not None:
            call(state)
        elif state:
            raise StageError(f"expected an object with `resume`, as there is a state of {len(state)} bytes")

    def memory(self, clients: int, values: int) -> int:
        call = own(self._stage, "memory")
        # One that does not say may keep every adapter of a round.
        return 4 * clients * values if call is None else int(call(clients, values))


def _report(report: Any) -> str:
    """What `finish` reports, in JSON.

    Raises:
        StageError: for anything else.
    """
    if not isinstance(report, Mapping) or set(report) - set(_REPORT):
        got = sorted(report) if isinstance(report, Mapping) else type(report).__name__
        raise StageError(f"`finish`: report: expected a dict of {', '.join(_REPORT)}, got {got}")

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value).__name__} in it")

    told: dict[str, Any] = dict(report)
    for name in ("weights", "limited", "measures"):
        table = told.get(name, {})
        if not isinstance(table, Mapping):
            raise StageError(f"`finish`: report: {name}: expected a dict, got {type(table).__name__}")
        told[name] = {str(key): value for key, value in table.items()}
    try:
        return json.dumps(told, allow_nan=False, default=plain)
    except (TypeError, ValueError) as error:
        raise StageError(f"`finish`: report: expected finite numbers and text: {error}") from error


Settings = WeightedMean | FedAvgM | FedAdam | FlexLora | FfaLora | RoLora | FedSvd


def settings_of(given: Any) -> dict[str, Any] | None:
    """The settings of one of the core's aggregators; None for an object of the user's."""
    if given is None:
        return WeightedMean().settings
    if isinstance(given, Settings):
        return given.settings
    return dict(given) if isinstance(given, Mapping) else None


def names_of(given: Any) -> dict[str, str]:
    """What tells an aggregator apart in a state or a checkpoint, by name."""
    settings = settings_of(given)
    if settings is None:
        return named("aggregator", given)
    return {f"aggregator.{name}": json.dumps(value) for name, value in settings.items()}


def aggregator(given: Any) -> str | Own | None:
    """What crosses to the native module: settings as text, a wrapped object, or None for the mean.

    Raises:
        ParameterError: for what is none of them.
    """
    if given is None:
        return None
    settings = settings_of(given)
    if settings is not None:
        try:
            return json.dumps(settings)
        except TypeError as error:
            raise ParameterError(f"aggregator: expected numbers and text as settings: {error}") from error
    for method in ("add", "finish"):
        if own(given, method) is None:
            raise ParameterError(
                "aggregator: expected fedhds.WeightedMean, FedAvgM, FedAdam, FlexLora, FfaLora, RoLora or FedSvd, their settings, "
                f"or an object with `add` and `finish`, got {given!r}"
            )
    return Own(given)
