"""The PyTorch clients of examples/flower, alone and beside clients that train in Rust.

Needs PyTorch, transformers, PEFT and Flower in one environment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for needed in ("flwr", "torch", "transformers", "peft"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")

import torch  # type: ignore[import-not-found, unused-ignore]  # noqa: E402

import fedhds  # noqa: E402
from fedhds.flower import FedHDS, arrays_of, peft_arrays, record_of, set_peft_arrays  # noqa: E402
from flower_grid import ToyGrid, identity  # noqa: E402, F401

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flower"
sys.path.insert(0, str(EXAMPLE))

import fedhds_flower.client_app as client_app  # noqa: E402
import fedhds_flower.dataset as dataset  # noqa: E402
import fedhds_flower.models as models  # noqa: E402
import fedhds_flower.torch_models as torch_models  # noqa: E402
from fedhds_flower.settings import defaults  # noqa: E402
from fedhds_flower.strategy import make_strategy  # noqa: E402


def settings(**changes: Any) -> dict[str, Any]:
    small = {"data.records-per-task": 2, "data.test-records-per-task": 1, "method.budget": 8, "lora.dropout": 0.0}
    return defaults() | small | changes


def run(given: dict[str, Any], backends: list[str], rounds: int = 2) -> tuple[FedHDS, fedhds.Adapter]:
    grid = ToyGrid(client_app.make_app(given), range(len(backends)))
    for client, backend in enumerate(backends):
        grid.contexts[grid.node_of(client)].node_config |= {"backend": backend, "num-partitions": len(backends)}
    strategy, first = make_strategy(given), models.first_adapter(given)
    result = strategy.start(grid, record_of(first.tensors), num_rounds=rounds)
    return strategy, first.with_tensors(arrays_of(result.arrays))


def loss(given: dict[str, Any], adapter: fedhds.Adapter) -> float:
    scores = models.evaluator(given).evaluate(dataset.test_records(given), adapter, False)
    return float(np.mean([score.loss for score in scores]))


def trained(given: dict[str, Any]) -> fedhds.Adapter:
    """An adapter that is not the first one, of which half is zero."""
    first = models.first_adapter(given)
    rng = np.random.default_rng(3)
    return first.with_tensors({name: rng.normal(scale=0.05, size=array.shape) for name, array in first.tensors.items()})


def test_the_model_in_pytorch_is_the_model_in_rust() -> None:
    given, records = settings(**{"method.preset": "fedhds_shared"}), dataset._generated(2, 1)[0][:12]
    adapter = trained(given)
    model, tokenizer = torch_models.load(given)
    set_peft_arrays(model, adapter.tensors)
    got = torch_models.features(given, records, adapter.tensors)
    expected = models.extractor(given).extract(records, adapter)
    assert got.shape == expected.shape and np.abs(got - expected).max() < 1e-4
    plain = torch_models.features(given, records, None)
    assert np.abs(plain - models.extractor(given).extract(records)).max() < 1e-4
    scores = models.evaluator(given).evaluate(records, adapter, False)
    with torch.no_grad():
        for pair, score in zip(fedhds.render(records, "short"), scores, strict=True):
            ids, labels = torch_models.encode(tokenizer, pair)
            assert float(model(input_ids=ids, labels=labels).loss) == pytest.approx(score.loss, abs=1e-4), score.id


def test_a_step_in_pytorch_is_a_step_in_rust() -> None:
    """Without dropout and on one record, where neither order nor masks are drawn."""
    given, records = settings(), dataset._generated(2, 1)[0][:1]
    adapter = trained(given)
    arrays, mean = torch_models.train(given, records, adapter.tensors, seed=5)
    expected = models.trainer(given).train(adapter, records, seed=5)
    assert mean == pytest.approx(expected.losses[0], abs=1e-4)
    for name, array in expected.adapter.tensors.items():
        # Adam's first step is the learning rate by the gradient's sign: gradients near zero may differ in theirs.
        far = np.abs(arrays[name] - array) > 1e-5
        assert far.mean() < 0.01, name
        assert not np.array_equal(array, adapter.tensors[name])


def test_the_judge_in_pytorch_is_the_judge_in_rust() -> None:
    given, records = settings(), dataset._generated(2, 1)[0][:12]
    set_peft_arrays(torch_models.load(given)[0], trained(given).tensors)  # the model that judges is the untuned one
    got = torch_models.Judge(given).score(records, None)
    expected = fedhds.ResponseLoss(models.model(given), prompt="short").score(records)[:, 0]
    assert got.shape == (12,) and np.abs(got - expected).max() < 1e-4


def test_arrays_have_the_adapters_names_and_others_are_refused() -> None:
    given = settings()
    model, _ = torch_models.load(given)
    adapter = trained(given)
    set_peft_arrays(model, adapter.tensors)
    got = peft_arrays(model)
    assert list(got) == list(adapter.tensors) and all(
        np.array_equal(got[name], array) for name, array in adapter.tensors.items()
    )
    name = next(iter(got))
    with pytest.raises(fedhds.AdapterError, match="unknown"):
        set_peft_arrays(model, got | {"model.foreign": got[name]})
    with pytest.raises(fedhds.AdapterError, match="missing"):
        set_peft_arrays(model, {name: got[name]})
    with pytest.raises(fedhds.AdapterError, match="shape"):
        set_peft_arrays(model, got | {name: got[name][:1]})
    model.to(torch.bfloat16)
    assert all(array.dtype == np.float32 for array in peft_arrays(model).values())
    model.to(torch.float32)


@pytest.mark.parametrize("backends", [["torch"] * 3, ["rust", "torch", "rust"]])
def test_a_federation_learns_and_can_be_repeated(backends: list[str]) -> None:
    given = settings()
    strategy, adapter = run(given, backends)
    assert strategy.method.settings["name"] == "fedhds_robust"
    assert all(report.records == 8 and not report.left_out for report in strategy.reports)
    assert set(strategy.reports[0].trained) | set(strategy.reports[1].trained) == {0, 1, 2}
    assert loss(given, adapter) < loss(given, models.first_adapter(given)) - 0.1
    assert run(given, backends)[1] == adapter
