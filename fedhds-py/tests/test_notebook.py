"""The notebook runs from top to bottom, and shows what its text says."""

import base64
import re
from pathlib import Path

import pytest

for module in ("nbclient", "nbformat", "ipykernel", "matplotlib", "pandas", "sklearn"):
    pytest.importorskip(module, reason=f"the notebook is executed with {module}", exc_type=ImportError)

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebooks" / "from_records_to_coreset.ipynb"


@pytest.fixture(scope="module")
def executed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # The kernel is a process of its own: it takes PYTHONPATH from the environment of the tests.
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook):
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_nothing_is_warned_of(executed):
    assert [output.text for output in outputs(executed) if output.get("name") == "stderr"] == []
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


def test_four_plots_are_drawn(executed):
    plots = [base64.b64decode(o.data["image/png"]) for o in outputs(executed) if "image/png" in o.get("data", {})]
    assert len(plots) == 4 and all(plot.startswith(b"\x89PNG") and len(plot) > 5000 for plot in plots)


def test_groups_are_near_to_the_tasks(executed):
    groups, agreement = re.search(r"(\d+) groups, \d+ records in none; .* tasks ([\d.]+)", printed(executed)).groups()
    assert 5 <= int(groups) <= 40 and float(agreement) > 0.3


def test_the_budget_is_met_and_covers_more_than_chance(executed):
    text = printed(executed)
    assert "300 records of 10 tasks" in text and re.search(r"15 records chosen, of \d+ tasks", text)
    ours, random = map(float, re.search(r"kept record: ([\d.]+); of random draws ([\d.]+)", text).groups())
    assert ours < random


def test_training_helps(executed):
    table = next(o.data["text/plain"] for o in reversed(outputs(executed)) if "text/plain" in o.get("data", {}))
    losses = {row[0]: float(row[1]) for row in re.findall(r"^(\w[\w ]*?) {2,}([\d.]+) +[\d.]+$", table, re.MULTILINE)}
    assert set(losses) == {"untuned", "fedhds_coverage", *(f"random {i}" for i in range(1, 6))}
    assert all(losses[name] < losses["untuned"] for name in losses if name != "untuned")
