"""Flower itself: the simulation with ray, and a SuperLink with SuperNodes as processes on the loopback."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="flwr is not installed")


from fedhds import Method  # noqa: E402
from fedhds.flower import FedHDS, WeightedMean, arrays_of  # noqa: E402
from flower_keys import certificates, node_key  # noqa: E402
from flower_processes import Federation, write_app  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401
from flower_toy import client_app, initial  # noqa: E402

posix = pytest.mark.skipif(os.name != "posix", reason="processes are found and killed as on POSIX")
ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: flwr[simulation]")


def in_this_process(clients: int, rounds: int) -> dict[str, str]:
    """What the app of `flower_processes` computes, without processes."""
    method = Method("fedhds_coverage", budget=7, client={"clusterer": {"n_clusters": 4}})
    strategy = FedHDS(method, WeightedMean(fraction_evaluate=0.0), seed=7)
    result = strategy.start(ToyGrid(client_app(), range(clients)), initial(), num_rounds=rounds)
    return {name: array.tobytes().hex() for name, array in arrays_of(result.arrays).items()}


@posix
def test_a_node_that_is_killed_in_mid_round_is_left_out_and_the_round_completes(tmp_path: Path) -> None:
    """As it is deployed: encrypted, and with registered nodes only (docs/flower.md)."""
    app, signals, out = write_app(tmp_path / "app"), tmp_path / "signals", tmp_path / "result.json"
    signals.mkdir()
    with Federation(tmp_path / "run", tls=certificates(tmp_path / "tls"), node_auth=True) as federation:
        for client in range(2):
            private, public = node_key(tmp_path / "tls", f"node-{client}")
            federation.command("supernode", "register", str(public), "here")
            federation.supernode(client, "--auth-supernode-private-key", str(private))
        # The dead node never answers, so that the round lasts as long as this: time enough for the other one.
        config = {"train-timeout": 30.0, "hang-client": 1, "hang-round": 1, "rounds": 1}
        federation.run(app, config | {"out": str(out), "signals": str(signals)})
        federation.wait(
            lambda: all((signals / f"training-{client}-1").exists() for client in range(2)), "both to train", 180
        )
        federation.kill("supernode-1")
        result = federation.result(out, 180)
    (report,) = result["reports"]
    assert report["clients"] == report["answered"] == [0, 1] and set(report["ordered"]) == {"0", "1"}
    assert report["trained"] == {"0": report["ordered"]["0"]} and report["left_out"] == {"1": "no answer to its order"}
    assert result["arrays"]["a"] != initial()["a"].numpy().tobytes().hex()


@posix
@ray
def test_flwr_run_on_the_simulation_engine_stopped_and_resumed_has_the_same_bits(tmp_path: Path) -> None:
    app, clients = write_app(tmp_path / "app"), 3
    config = {"nodes": clients, "checkpoint": str(tmp_path / "run.npz"), "state-dir": str(tmp_path / "clients")}
    engine = f"num-supernodes={clients} client-resources-num-cpus=1 init-args-num-cpus=2"
    with Federation(tmp_path / "run", simulation=True) as federation:
        for rounds in (1, 3):
            out = tmp_path / f"after-{rounds}.json"
            federation.run(app, config | {"rounds": rounds, "out": str(out)}, "--federation-config", engine)
            result = federation.result(out, 180)
    assert result["arrays"] == in_this_process(clients, 3)
    assert [report["round"] for report in result["reports"]] == [1, 2, 3]
    assert all(sum(report["trained"].values()) == 7 and not report["left_out"] for report in result["reports"])
