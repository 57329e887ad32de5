"""The Python of docs/flower.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="flwr is not installed")

import fedhds  # noqa: E402
from fedhds.flower import record_of  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401

PAGE = Path(__file__).resolve().parents[2] / "docs" / "flower.md"


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)

    grid = ToyGrid(names["client_app"], range(4))
    for context in grid.contexts.values():
        context.node_config["num-partitions"] = 4
    names["server_app"](grid, next(iter(grid.contexts.values())))
    assert len(grid.of_type("train")) > 0 and fedhds.Adapter.load(tmp_path / "adapter").parameters > 0

    first = record_of(names["trainer"].init(0).tensors)
    own = names["strategy"]
    own.start(ToyGrid(names["own_app"], range(2)), first, num_rounds=1)
    assert own.reports[0].records == 20 and (tmp_path / "run.npz").exists()

    grid = ToyGrid(names["private_app"], range(4))
    for context in grid.contexts.values():
        context.node_config["num-partitions"] = 4
    names["private"].inner.strategy.fraction_evaluate = 0.0
    names["private"].start(grid, first, num_rounds=1)
    assert names["private"].reports[0].records == 20 and not names["private"].reports[0].left_out
