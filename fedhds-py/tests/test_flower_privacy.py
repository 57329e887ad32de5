"""Flower's differential privacy together with the selection: what docs/flower.md says of it."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod  # noqa: E402
from flwr.serverapp.strategy import (  # noqa: E402
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    Strategy,
)

from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, WeightedMean, arrays_of  # noqa: E402
from fedhds.flower._inner import capture, restore  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401
from flower_toy import client_app, initial  # noqa: E402

METHOD = Method("stratified", budget=9)
CLIENTS, NORM = 3, 0.05


def run(inner: Strategy | None, *mods: Any, method: Method = METHOD) -> tuple[FedHDS, float]:
    """A round; how far the arrays went."""
    strategy = FedHDS(method, inner, seed=7)
    result = strategy.start(ToyGrid(client_app(mods=mods), range(CLIENTS)), initial(), num_rounds=1)
    return strategy, distance(arrays_of(result.arrays))


def distance(arrays: dict[str, Any]) -> float:
    return float(np.sqrt(sum(np.square(array - initial()[name].numpy()).sum() for name, array in arrays.items())))


def test_the_updates_go_farther_than_the_norm_that_clips_them_here() -> None:
    assert run(None)[1] > 3 * NORM


def test_clipping_on_the_client_needs_its_mod_around_training_alone() -> None:
    fixed = DifferentialPrivacyClientSideFixedClipping(WeightedMean(), 0.0, NORM, CLIENTS)
    strategy, moved = run(fixed, fixedclipping_mod)
    assert 0 < moved <= NORM * 1.001 and not strategy.reports[0].left_out
    adaptive = DifferentialPrivacyClientSideAdaptiveClipping(WeightedMean(), 0.0, CLIENTS, initial_clipping_norm=NORM)
    strategy, moved = run(adaptive, adaptiveclipping_mod)
    assert 0 < moved <= NORM * 1.001 and not strategy.reports[0].left_out and adaptive.clipping_norm != NORM


def test_clipping_on_the_server() -> None:
    strategy, moved = run(DifferentialPrivacyServerSideFixedClipping(WeightedMean(), 0.0, NORM, CLIENTS))
    assert 0 < moved <= NORM * 1.001 and not strategy.reports[0].left_out
    _, noisy = run(DifferentialPrivacyServerSideFixedClipping(WeightedMean(), 50.0, NORM, CLIENTS))
    assert noisy > NORM


def test_local_noise() -> None:
    np.random.seed(0)
    mod = LocalDpMod(clipping_norm=NORM, sensitivity=1.0, epsilon=1.0, delta=1e-5)
    strategy, moved = run(None, mod)
    assert moved > 1.0 and not strategy.reports[0].left_out  # the noise alone has a deviation of 4.8


@pytest.mark.parametrize("method", [METHOD, Method("fedhds_coverage", budget=9)])
def test_a_clipping_mod_around_queries_refuses_them_and_the_report_says_so(method: Method) -> None:
    from flwr.clientapp import ClientApp

    plain, app = client_app(), ClientApp(mods=[fixedclipping_mod])
    for register in (app.query("hds_extract"), app.train()):
        register(lambda message, context: plain(message, context))
    strategy = FedHDS(method, DifferentialPrivacyClientSideFixedClipping(WeightedMean(), 0.0, NORM, CLIENTS), seed=7)
    result = strategy.start(ToyGrid(app, range(CLIENTS)), initial(), num_rounds=1)
    assert distance(arrays_of(result.arrays)) == 0.0 and strategy.reports[0].clients == []


def test_a_wrapper_outside_works_without_checkpoints() -> None:
    inner = FedHDS(METHOD, seed=7)
    outer = DifferentialPrivacyServerSideFixedClipping(inner, 0.0, NORM, CLIENTS)
    result = outer.start(ToyGrid(client_app(), range(CLIENTS)), initial(), num_rounds=2)
    assert 0 < distance(arrays_of(result.arrays)) <= 2 * NORM * 1.001 and len(inner.reports) == 2


@pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None, reason="dp-accounting is not installed: flwr[dp]"
)
def test_accounting_counts_rounds_in_which_all_sampled_clients_train() -> None:
    from flwr.supercore.privacy_accounting import (
        GaussianPrivacyEvent,
        NeighboringRelation,
        PrivacyConfig,
        SamplingMethod,
    )
    from flwr.supercore.privacy_accounting.rdp_accountant import RdpAccountant

    config = PrivacyConfig(1e-5, CLIENTS, NeighboringRelation.ADD_OR_REMOVE_ONE, SamplingMethod.NO_AMPLIFICATION)
    accountant = RdpAccountant(config)
    # Accounting wants FedAvg's own mean, and clients of equal weight.
    average = FedAvg(weighted_by_key="num-clients")
    inner = DifferentialPrivacyServerSideFixedClipping(average, 1.0, NORM, CLIENTS, accountant=accountant)
    _, moved = run(inner)
    spent = inner.privacy_spent()
    assert moved > 0 and spent is not None and spent.num_releases == 1
    _, moved = run(inner, method=Method("stratified", budget=2))  # one client without an order
    spent = inner.privacy_spent()
    assert moved == 0 and spent is not None and spent.num_releases == 1
    # What was spent survives a restart, an event of a round without updates does not.
    inner._pending_events[9] = GaussianPrivacyEvent(1.0, CLIENTS, CLIENTS)
    kept: dict[str, Any] = {}
    captured = json.loads(json.dumps(capture(inner, kept)))
    fresh = DifferentialPrivacyServerSideFixedClipping(average, 1.0, NORM, CLIENTS, accountant=RdpAccountant(config))
    restore(fresh, captured, kept)
    assert fresh.privacy_spent() == spent and not fresh._pending_events


def test_secure_aggregation_has_no_part_in_the_message_api() -> None:
    """When this fails, Flower has it, and docs/flower.md must say how to use it."""
    import flwr.clientapp.mod as mods

    assert not [name for name in dir(mods) if "secagg" in name.lower()]
