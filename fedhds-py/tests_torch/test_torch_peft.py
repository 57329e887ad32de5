"""Adapters of ours in PEFT, and PEFT's here: the same losses, texts and features."""

import json

import numpy as np
import peft
import pytest
import tiny
import torch
from reference import generations, randomized, response_losses
from safetensors.torch import load_file

import fedhds
from fedhds.features import from_transformers

PROMPT = "short"
#: Records whose texts are compared: PyTorch generates them without a cache.
GENERATED = 6


def agree(folder, family, model, tokenizer, adapter):
    """Rust with the adapter against the PEFT model: losses, generations, hidden states of the last layer."""
    records = tiny.records()
    rust = fedhds.Model.load(folder)
    scores = fedhds.ModelEvaluator(rust, prompt=PROMPT, max_new_tokens=12).evaluate(records, adapter)
    losses = response_losses(model, tokenizer, records, PROMPT)
    np.testing.assert_allclose([score.loss for score in scores], losses, atol=1e-4, rtol=0)
    # Python's strip takes separators that Rust's trim leaves.
    texts = [score.output.strip() for score in scores[:GENERATED]]
    assert texts == generations(model, tokenizer, records[:GENERATED], PROMPT, 12)
    features = fedhds.LayerFeatures(rust, prompt=PROMPT, frozen=False).extract(records, adapter)
    np.testing.assert_allclose(
        from_transformers(model, tokenizer, records, prompt=PROMPT), features, atol=1e-4, rtol=1e-4
    )
    plain = fedhds.ModelEvaluator(rust, prompt=PROMPT).evaluate(records, generate=False)
    gap = np.abs(np.subtract([score.loss for score in scores], [score.loss for score in plain])).max()
    assert gap > 0.05, "the adapter must matter, or nothing is compared"


def test_ours_loads_in_peft(folders, causal_family, tmp_path):
    folder = folders[causal_family]
    trainer = fedhds.LoraTrainer(fedhds.Model.load(folder), prompt=PROMPT, r=4, learning_rate=1e-2, local_epochs=2)
    records = tiny.records()
    adapter = trainer.train(trainer.init(seed=3), records[:8], seed=3).adapter
    adapter.save(tmp_path / "ours", base_model=str(folder))
    model, tokenizer = tiny.load(folder, causal_family)
    loaded = peft.PeftModel.from_pretrained(model, tmp_path / "ours")
    assert loaded.peft_config["default"].base_model_name_or_path == str(folder)
    agree(folder, causal_family, loaded, tokenizer, adapter)
    merged = loaded.merge_and_unload()
    expected = [s.loss for s in fedhds.ModelEvaluator(trainer.model, prompt=PROMPT).evaluate(records, adapter, False)]
    np.testing.assert_allclose(response_losses(merged, tokenizer, records, PROMPT), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 16},
        {"r": 3, "lora_alpha": 5, "use_rslora": True},
        {"r": 2, "lora_alpha": 8, "target_modules": "all-linear"},
        {"r": 2, "lora_alpha": 8, "lora_dropout": 0.1},
    ],
    ids=str,
)
def test_theirs_loads_here(folders, causal_family, tmp_path, settings):
    folder = folders[causal_family]
    model, tokenizer = tiny.load(folder, causal_family)
    config = peft.LoraConfig(task_type="CAUSAL_LM", **settings)
    model = randomized(peft.get_peft_model(model, config), seed=5)
    model.save_pretrained(tmp_path / "theirs")
    adapter = fedhds.Adapter.load(tmp_path / "theirs")
    agree(folder, causal_family, model, tokenizer, adapter)


def test_an_encoders_adapter_gives_the_same_features(folders, tmp_path):
    model, tokenizer = tiny.load(folders["bert"], "bert")
    base = from_transformers(model, tokenizer, tiny.records())
    model = randomized(peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query", "value"])), seed=6)
    model.save_pretrained(tmp_path / "theirs")
    adapter = fedhds.Adapter.load(tmp_path / "theirs")
    extractor = fedhds.LayerFeatures(fedhds.Model.load(folders["bert"]), frozen=False)
    ours = extractor.extract(tiny.records(), adapter)
    np.testing.assert_allclose(from_transformers(model, tokenizer, tiny.records()), ours, atol=1e-4, rtol=1e-4)
    assert np.abs(ours - base).max() > 0.01
    with model.disable_adapter():
        np.testing.assert_allclose(from_transformers(model, tokenizer, tiny.records()), base, atol=1e-5, rtol=1e-5)


def test_files_are_the_same_to_the_last_value(folders, tmp_path):
    model, _ = tiny.load(folders["llama"], "llama")
    model = randomized(peft.get_peft_model(model, peft.LoraConfig(r=4, task_type="CAUSAL_LM")), seed=7)
    model.save_pretrained(tmp_path / "theirs")
    adapter = fedhds.Adapter.load(tmp_path / "theirs")
    theirs = load_file(tmp_path / "theirs/adapter_model.safetensors")
    assert list(adapter.tensors) == sorted(theirs)
    for name, values in adapter.tensors.items():
        np.testing.assert_array_equal(values, theirs[name].numpy())
    adapter.save(tmp_path / "back")
    back = load_file(tmp_path / "back/adapter_model.safetensors")
    assert all(torch.equal(back[name], theirs[name]) for name in theirs) and set(back) == set(theirs)
    rebuilt = fedhds.Adapter(adapter.config, {name: values.numpy() for name, values in theirs.items()})
    assert rebuilt == adapter
    written = json.loads((tmp_path / "back/adapter_config.json").read_text())
    known = peft.LoraConfig(**{key: value for key, value in written.items() if key != "peft_type"})
    assert (known.r, known.lora_alpha, known.target_modules) == (4, 8, {"q_proj", "v_proj"})


def test_the_state_of_a_peft_model_becomes_an_adapter_and_back(folders):
    """What a client does that trains with PEFT: no file in between."""
    model, tokenizer = tiny.load(folders["llama"], "llama")
    model = randomized(peft.get_peft_model(model, peft.LoraConfig(r=4, task_type="CAUSAL_LM")), seed=8)
    state = {name: values.numpy() for name, values in peft.get_peft_model_state_dict(model).items()}
    adapter = fedhds.Adapter({"r": 4, "lora_alpha": 8}, state)
    agree(folders["llama"], "llama", model, tokenizer, adapter)
    half = adapter.with_tensors({name: values * np.float32(0.5) for name, values in adapter.tensors.items()})
    outcome = peft.set_peft_model_state_dict(model, {n: torch.from_numpy(v) for n, v in half.tensors.items()})
    assert not outcome.unexpected_keys
    agree(folders["llama"], "llama", model, tokenizer, half)


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"use_dora": True}, "dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
    ids=str,
)
def test_what_is_not_plain_lora_is_refused(folders, tmp_path, settings, word):
    model, _ = tiny.load(folders["llama"], "llama")
    peft.get_peft_model(model, peft.LoraConfig(r=4, task_type="CAUSAL_LM", **settings)).save_pretrained(tmp_path)
    with pytest.raises(fedhds.AdapterError, match=word):
        fedhds.Adapter.load(tmp_path)


def test_learnt_prompts_are_no_adapters_of_layers(folders):
    model, tokenizer = tiny.load(folders["llama"], "llama")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(fedhds.InputError, match="learnt prompts"):
        from_transformers(peft.get_peft_model(model, config), tokenizer, tiny.records())
