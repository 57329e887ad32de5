"""examples/flower, started as its README says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

import fedhds  # noqa: E402
from fedhds.flower import record_of  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401
from flower_processes import Federation  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flower"
SMALL = {"num-server-rounds": 2, "method.budget": 6, "data.records-per-task": 2, "data.test-records-per-task": 1}
CLIENTS = 3
sys.path.insert(0, str(EXAMPLE))

import fedhds_flower.client_app as client_app  # noqa: E402
import fedhds_flower.dataset as dataset  # noqa: E402
import fedhds_flower.models as models  # noqa: E402
from fedhds_flower.settings import defaults  # noqa: E402
from fedhds_flower.strategy import make_strategy, selected  # noqa: E402

engine = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: flwr[simulation]")
posix = pytest.mark.skipif(os.name != "posix", reason="processes are found and killed as on POSIX")


def by_the_core() -> fedhds.Adapter:
    """The same run as a simulation of the core."""
    given = defaults() | SMALL
    clients = dataset._dealt(given["data.records-per-task"], CLIENTS, given["data.alpha"])
    assert given["method.preset"] == "fedhds_robust"
    method = fedhds.Method(given["method.preset"], budget=given["method.budget"])
    simulation = fedhds.Simulation(
        method,
        clients,
        trainer=models.trainer(given),
        extractor=models.extractor(given),
        rounds=2,
        participation=1.0,
        seed=given["seed"],
        evaluate="never",
    )
    return simulation.run().adapter


def check(output: str) -> str:
    """The last line, where everything was printed that should be."""
    for number in (1, 2):
        assert f"Round {number}: 6 records of" in output
    assert len(re.findall(r"client \d: \d of \d+ records in \d+ groups", output)) == 2 * CLIENTS
    assert len(re.findall(r"Loss on 15 records of unseen tasks: \d\.\d{4}", output)) == 3
    found = re.search(r"Done: loss (\d\.\d+) before, (\d\.\d+) after 2 rounds on 12 records", output)
    assert found is not None and float(found[2]) < float(found[1]) - 0.05
    return found[0]


@engine
@posix
def test_flwr_run_and_the_simulation_command_give_the_core_s_adapter(tmp_path: Path) -> None:
    expected, adapter = by_the_core(), tmp_path / "adapter"
    with Federation(tmp_path / "run", simulation=True) as federation:
        config = SMALL | {"save-path": str(adapter)}
        virtual = f"num-supernodes={CLIENTS} client-resources-num-cpus=1 init-args-num-cpus=2"
        overrides = " ".join(
            f"{name}='{value}'" if isinstance(value, str) else f"{name}={value}" for name, value in config.items()
        )
        output = federation.command(
            "run",
            str(EXAMPLE),
            "here",
            "--stream",
            "--run-config",
            overrides,
            "--federation-config",
            virtual,
            timeout=240,
        )
        environment = federation.environment()
    first = check(output)
    assert fedhds.Adapter.load(adapter) == expected
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    done = subprocess.run(
        [sys.executable, "-m", "fedhds_flower.simulate", "--clients", str(CLIENTS), *settings],
        cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert check(done.stdout) == first


def test_a_setting_that_is_none_is_named() -> None:
    package = str(Path(fedhds.__file__).parent.parent)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    }
    done = subprocess.run(
        [sys.executable, "-m", "fedhds_flower.simulate", "--set", "method.budge=3"],
        cwd=EXAMPLE, env=environment | {"FLWR_TELEMETRY_ENABLED": "0"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "method.budge=3: expected one of" in done.stderr and "method.budget" in done.stderr


@pytest.mark.parametrize("preset", ["fedhds_turbo", "all"])
def test_a_node_may_bring_its_own_records(preset: str, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [{"instruction": f"Say the number {n}.", "input": "", "response": str(n)} for n in range(30)]
    own.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    given = defaults() | SMALL | {"method.preset": preset, "method.budget": 0}
    grid = ToyGrid(client_app.make_app(given), range(2))
    for client, context in enumerate(grid.contexts.values()):
        context.node_config |= {"num-partitions": 2} | ({"data-path": str(own)} if client else {})
    strategy, first = make_strategy(given), models.first_adapter(given)
    strategy.start(grid, record_of(first.tensors), num_rounds=1)
    (report,) = strategy.reports
    assert report.answered == [0, 1] and not report.left_out and report.groups > 0
    if preset == "all":
        assert report.trained[1] == 30
    assert f"{sum(report.ordered.values())} records of {len(report.ordered)} clients" in selected(strategy)
