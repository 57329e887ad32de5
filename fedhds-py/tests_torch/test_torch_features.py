"""`from_transformers` gives what the Rust extractor gives on the same weights."""

import numpy as np
import pytest
import tiny
import torch
import transformers

import fedhds
from fedhds import features as features_module
from fedhds.features import from_transformers

SETTINGS = [
    {},
    {"prompt": "short", "pooling": "mean", "embedding": True, "normalize": True},
    {"prompt": "raw", "layers": [3, 1]},
    {"prompt": "raw", "layers": "last", "max_tokens": 20, "truncate": True},
    {"prompt": "raw", "pooling": "mean", "max_tokens": 17, "truncate": True},
    {"prompt": {"with_input": "{instruction} [{input}]", "without_input": "{instruction}?"}},
]


def both(folder, family, records, **settings):
    model, tokenizer = tiny.load(folder, family)
    rust = fedhds.LayerFeatures(fedhds.Model.load(folder), **settings).extract(records)
    return rust, from_transformers(model, tokenizer, records, **settings)


def close(ours, theirs):
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_both_give_the_same(folders, family, settings):
    records = tiny.records()
    rust, torch_side = both(folders[family], family, records, **settings)
    close(rust, torch_side)
    assert np.unique(rust.round(3), axis=0).shape[0] > len(records) // 2, "records must differ, or nothing is compared"


@pytest.mark.parametrize("prompt, limit", [("alpaca", 512), ("short", 512), ("raw", 17), ("raw", 9)])
def test_both_read_the_same_tokens(folders, family, prompt, limit):
    records = tiny.records()
    model, tokenizer = tiny.load(folders[family], family)
    rust = fedhds.LayerFeatures(fedhds.Model.load(folders[family]), prompt=prompt, max_tokens=limit, truncate=True)
    reader = features_module._Reader(model, tokenizer, causal=family != "bert")
    assert reader.read(features_module._texts(records, prompt, tokenizer), limit, True) == rust.tokens(records)


def test_batches_do_not_matter(folders, family):
    model, tokenizer = tiny.load(folders[family], family)
    alone = from_transformers(model, tokenizer, tiny.records(), batch_size=1)
    for batch_size in (3, 100):
        close(alone, from_transformers(model, tokenizer, tiny.records(), batch_size=batch_size))


def test_the_chat_template_is_the_tokenizers(folders):
    close(*both(folders["embedded"], "embedded", tiny.records(), prompt="chat"))
    model, tokenizer = tiny.load(folders["gpt2"], "gpt2")
    with pytest.raises(fedhds.InputError, match="chat template"):
        from_transformers(model, tokenizer, tiny.records(), prompt="chat")


def test_dropout_is_off_and_every_mode_comes_back(folders):
    model, tokenizer = tiny.load(folders["gpt2"], "gpt2")
    expected = from_transformers(model.eval(), tokenizer, tiny.records())
    model.train()
    model.transformer.h[1].eval()  # as where a part is frozen
    before = {name: module.training for name, module in model.named_modules()}
    found = from_transformers(model, tokenizer, tiny.records())
    np.testing.assert_array_equal(found, expected)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert {True, False} <= set(before.values())
    with pytest.raises(fedhds.InputError):
        from_transformers(model, tokenizer, tiny.records(), max_tokens=3)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_modes_come_back_after_a_failure(folders, monkeypatch):
    model, tokenizer = tiny.load(folders["gpt2"], "gpt2")
    model.train()

    def fails(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.transformer, "forward", fails)
    with pytest.raises(RuntimeError, match="memory"):
        from_transformers(model, tokenizer, tiny.records())
    assert all(module.training for module in model.modules())


def test_no_gradient_is_recorded(folders):
    model, tokenizer = tiny.load(folders["llama"], "llama")
    from_transformers(model, tokenizer, tiny.records())
    assert torch.is_grad_enabled() and all(p.grad is None for p in model.parameters())


def test_half_precision_and_the_bare_transformer(folders):
    model, tokenizer = tiny.load(folders["llama"], "llama")
    expected = from_transformers(model, tokenizer, tiny.records())
    np.testing.assert_array_equal(from_transformers(model.model, tokenizer, tiny.records()), expected)
    half = from_transformers(model.to(torch.bfloat16), tokenizer, tiny.records())
    assert half.dtype == np.float32
    gap = np.linalg.norm(half - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < gap.max() < 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there")
def test_a_gpu_gives_the_same(folders):
    model, tokenizer = tiny.load(folders["llama"], "llama")
    expected = from_transformers(model, tokenizer, tiny.records())
    found = from_transformers(model.cuda(), tokenizer, tiny.records())
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


def test_frames_and_mappings_are_records(folders):
    pandas = pytest.importorskip("pandas", exc_type=ImportError)
    model, tokenizer = tiny.load(folders["llama"], "llama")
    rows = [{"instruction": r.instruction, "input": r.input, "response": r.response} for r in tiny.records()[:5]]
    expected = from_transformers(model, tokenizer, tiny.records()[:5])
    for data in (rows, pandas.DataFrame(rows)):
        np.testing.assert_array_equal(from_transformers(model, tokenizer, data), expected)
    assert from_transformers(model, tokenizer, []).shape == (0, 3 * 48)


def test_progress_is_told(folders):
    class Heard:
        events: list = []

        def begin(self, stage, total):
            self.events.append((stage, total))

        def advance(self, stage, units):
            self.events.append(units)

        def end(self, stage):
            self.events.append("end")

    model, tokenizer = tiny.load(folders["llama"], "llama")
    with fedhds.progress(Heard()) as heard:
        from_transformers(model, tokenizer, tiny.records(), batch_size=10)
    assert heard.events == [("features", 16), 10, 6, "end"]
    from_transformers(model, tokenizer, tiny.records()[:2])
    assert len(heard.events) == 4


def test_positions_of_roberta_begin_behind_the_padding(folders):
    _, tokenizer = tiny.load(folders["bert"], "bert")
    config = transformers.RobertaConfig(
        vocab_size=500, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    model = transformers.RobertaModel(config)
    record = fedhds.Record("long", "word " * 100, "", ("end",))
    assert np.isfinite(from_transformers(model, tokenizer, [record], truncate=True)).all()
    with pytest.raises(fedhds.InputError, match="record `long`: text: expected 1 to 32 tokens"):
        from_transformers(model, tokenizer, [record])


def test_what_does_not_fit_is_named(folders):
    model, tokenizer = tiny.load(folders["llama"], "llama")
    records = tiny.records()
    for settings, word in [
        ({"layers": [4]}, "from 1 to 3"),
        ({"layers": [0]}, "from 1 to 3"),
        ({"layers": []}, "at least one"),
        ({"layers": [2, 2]}, "each layer once"),
        ({"layers": [1.5]}, "whole numbers"),
        ({"layers": "first"}, "layers"),
        ({"pooling": "max"}, "pooling"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_tokens": True}, "max_tokens"),
    ]:
        with pytest.raises(fedhds.ParameterError, match=word):
            from_transformers(model, tokenizer, records, **settings)
    with pytest.raises(fedhds.InputError, match=f"record `{records[0].id}`: text: expected 1 to 9 tokens"):
        from_transformers(model, tokenizer, records, max_tokens=9)
    with pytest.raises(fedhds.InputError, match="got str"):
        from_transformers("gpt2", tokenizer, records)
    with pytest.raises(fedhds.InputError, match="tokenizer"):
        from_transformers(model, None, records)
    both_halves = transformers.T5Config(vocab_size=10, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(fedhds.InputError, match="t5"):
        from_transformers(transformers.T5ForConditionalGeneration(both_halves), tokenizer, records)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(fedhds.NotFiniteError, match=f"record `{records[0].id}`"):
        from_transformers(model, tokenizer, records)
