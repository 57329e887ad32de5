"""What PyTorch, transformers and PEFT computed (`tests_torch/run.py fixtures`) comes out here too."""

import json
from pathlib import Path

import numpy as np
import pytest

import fedhds

FIXTURES = Path(__file__).parent / "fixtures" / "torch"
FACTS = json.loads((FIXTURES / "fixture.json").read_text(encoding="utf-8"))
ADAPTERS = ["peft_adapter", "fedhds_adapter"]


@pytest.fixture(scope="module")
def model():
    return fedhds.Model.embedded()


@pytest.fixture(scope="module")
def records():
    rows = [json.loads(line) for line in (FIXTURES / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    return [fedhds.Record(**{**row, "responses": tuple(row["responses"])}) for row in rows]


@pytest.fixture(scope="module")
def arrays():
    with np.load(FIXTURES / "features.npz") as file:
        return {name: file[name] for name in file.files}


def evaluated(model, records, adapter):
    evaluator = fedhds.ModelEvaluator(model, prompt=FACTS["prompt"], max_new_tokens=FACTS["max_new_tokens"])
    return evaluator.evaluate(records, adapter)


def test_the_fixtures_are_of_this_model(model):
    assert model.fingerprint == FACTS["model"], "another embedded model: run tests_torch/run.py fixtures"


@pytest.mark.parametrize("name", FACTS["features"])
def test_features_are_those_of_transformers(model, records, arrays, name):
    found = fedhds.LayerFeatures(model, **FACTS["features"][name]).extract(records)
    assert found.shape == arrays[name].shape
    np.testing.assert_allclose(found, arrays[name], atol=1e-4, rtol=1e-4)


def test_features_with_an_adapter_are_those_of_peft(model, records, arrays):
    adapter = fedhds.Adapter.load(FIXTURES / "peft_adapter")
    settings = {"prompt": FACTS["prompt"]}
    found = fedhds.LayerFeatures(model, frozen=False, **settings).extract(records, adapter)
    np.testing.assert_allclose(found, arrays["peft_adapter"], atol=1e-4, rtol=1e-4)
    frozen = fedhds.LayerFeatures(model, frozen=True, **settings).extract(records, adapter)
    np.testing.assert_allclose(frozen, arrays["all_last_token"], atol=1e-4, rtol=1e-4)
    assert np.abs(found - frozen).max() > 0.1


@pytest.mark.parametrize("name", ["base", *ADAPTERS])
def test_losses_and_texts_are_those_of_pytorch(model, records, name):
    adapter = None if name == "base" else fedhds.Adapter.load(FIXTURES / name)
    scores = evaluated(model, records, adapter)
    np.testing.assert_allclose([score.loss for score in scores], FACTS[name]["losses"], atol=1e-4, rtol=0)
    assert [score.output for score in scores] == FACTS[name]["outputs"]


def test_the_adapters_matter():
    losses = {name: np.array(FACTS[name]["losses"]) for name in ["base", *ADAPTERS]}
    assert all(np.abs(losses[name] - losses["base"]).max() > 0.1 for name in ADAPTERS)
    assert losses["fedhds_adapter"][:8].mean() < losses["base"][:8].mean() - 0.2, "it was trained on these"


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_are_written_as_peft_read_them(tmp_path, name):
    """PEFT loaded the fixture's folder: what is written today has the same names, shapes, values and settings."""
    adapter = fedhds.Adapter.load(FIXTURES / name)
    adapter.save(tmp_path, base_model="embedded")
    stored = (FIXTURES / name / "adapter_model.safetensors").read_bytes()
    assert tensors((tmp_path / "adapter_model.safetensors").read_bytes()) == tensors(stored)
    assert tensors(adapter.to_bytes()) == tensors(stored)
    config, written = (json.loads((f / "adapter_config.json").read_text()) for f in (FIXTURES / name, tmp_path))
    assert {key: config[key] for key in written if key not in ("target_modules", "lora_dropout")} == {
        key: value for key, value in written.items() if key not in ("target_modules", "lora_dropout")
    }
    assert sorted(config["target_modules"]) == written["target_modules"]
    assert written["peft_type"] == "LORA" and written["task_type"] == "CAUSAL_LM"


def tensors(data):
    """A safetensors file as names, shapes, types and bytes, without its library."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    body = data[8 + size :]
    return {
        name: (entry["dtype"], entry["shape"], body[entry["data_offsets"][0] : entry["data_offsets"][1]])
        for name, entry in header.items()
    }


def test_an_adapter_of_another_model_is_refused(model, records):
    adapter = fedhds.Adapter.load(FIXTURES / "peft_adapter")
    other = {name.replace("layers.0", "layers.9"): values for name, values in adapter.tensors.items()}
    with pytest.raises(fedhds.AdapterError, match=r"layers\.0.*no such tensor"):
        evaluated(model, records, fedhds.Adapter(adapter.config, other))
    more = adapter.tensors | {name: values for name, values in other.items() if "layers.9" in name}
    with pytest.raises(fedhds.AdapterError, match=r"layers\.9"):
        evaluated(model, records, fedhds.Adapter(adapter.config, more))


def test_a_damaged_folder_is_refused(tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((FIXTURES / "peft_adapter" / name).read_bytes())
    fedhds.Adapter.load(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(fedhds.AdapterError, match="dora"):
        fedhds.Adapter.load(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    data = (tmp_path / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(fedhds.Error, match="adapter_model.safetensors"):
        fedhds.Adapter.load(tmp_path)
