"""Models in Rust from Python: features, adapters, training, evaluation, llama.cpp's files."""

import inspect
import pickle

import numpy as np
import pytest

import fedhds

PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def model():
    return fedhds.Model.embedded()


@pytest.fixture(scope="module")
def records():
    return fedhds.embedded_records(records_per_task=2, test_records_per_task=1)


@pytest.fixture(scope="module")
def trainer(model):
    targets = ["q_proj", "k_proj", "v_proj"]
    return fedhds.LoraTrainer(model, prompt="short", learning_rate=2e-3, local_epochs=3, target_modules=targets)


@pytest.fixture(scope="module")
def trained(trainer, records):
    return trainer.train(trainer.init(seed=1), records[0][:6], seed=2)


def test_the_embedded_model_is_a_folder_too(model, tmp_path):
    fedhds.write_embedded_model(tmp_path / "model")
    again = fedhds.Model.load(tmp_path / "model")
    assert fedhds.Model(tmp_path / "model").fingerprint == again.fingerprint
    assert again.fingerprint == model.fingerprint
    assert (again.layers, again.hidden_size, again.family) == (4, 128, "llama")
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(fedhds.ModelError, match="config.json|architecture"):
        fedhds.Model.load(tmp_path / "model")
    with pytest.raises(fedhds.FileError):
        fedhds.Model.load(tmp_path / "nothing")
    with pytest.raises(fedhds.FileError, match="tpu"):
        fedhds.Model.embedded(device="tpu")


def test_features_are_rows_of_records(model, records):
    extractor = fedhds.LayerFeatures(model, prompt="short")
    features = extractor.extract(records[0][:5])
    assert features.shape == (5, 4 * 128) and features.dtype == np.float32
    assert extractor.layers == 4 and extractor.is_frozen
    np.testing.assert_array_equal(extractor.extract(records[0][2:3]), features[2:3])
    last = fedhds.LayerFeatures(model, prompt="short", layers="last")
    np.testing.assert_array_equal(last.extract(records[0][:5]), features[:, -128:])
    chosen = fedhds.LayerFeatures(model, prompt="short", layers=[2])
    np.testing.assert_array_equal(chosen.extract(records[0][:5]), features[:, 128:256])
    assert chosen.fingerprint != last.fingerprint
    assert extractor.extract([]).shape == (0, 512)


def test_tokens_are_prompt_response_and_end(model, records):
    some = records[0][:4]
    extractor = fedhds.LayerFeatures(model, prompt="short")
    tokens = extractor.tokens(some)
    assert {(ids[0], ids[-1]) for ids in tokens} == {(tokens[0][0], tokens[0][-1])}, "one beginning and one end"
    whole = [prompt + response for prompt, response in fedhds.render(some, "short")]
    assert [len(ids) - 1 for ids in tokens] == model.count_tokens(whole)
    cut = fedhds.LayerFeatures(model, prompt="short", max_tokens=5, truncate=True)
    assert cut.tokens(some) == [ids[:5] for ids in tokens]
    with pytest.raises(fedhds.InputError, match=f"record `{some[0].id}`: text: expected 1 to 5 tokens"):
        fedhds.LayerFeatures(model, prompt="short", max_tokens=5).tokens(some)
    assert extractor.tokens([]) == []


def test_features_of_the_tuned_model_follow_the_adapter(model, records, trained):
    frozen = fedhds.LayerFeatures(model)
    tuned = fedhds.LayerFeatures(model, frozen=False)
    some = records[0][:2]
    np.testing.assert_array_equal(frozen.extract(some), frozen.extract(some, trained.adapter))
    np.testing.assert_array_equal(frozen.extract(some), tuned.extract(some))
    assert np.abs(frozen.extract(some) - tuned.extract(some, trained.adapter)).max() > 1e-3


def test_training_lowers_the_loss_and_repeats_by_seed(model, trainer, trained, records):
    again = trainer.train(trainer.init(seed=1), records[0][:6], seed=2)
    assert again.adapter == trained.adapter and again.losses == trained.losses
    assert trainer.train(trainer.init(seed=1), records[0][:6], seed=3).adapter != trained.adapter
    assert len(trained.losses) == 18 and trained.tokens > 0 and trained.skipped == 0
    evaluator = fedhds.ModelEvaluator(model, prompt="short", max_new_tokens=8)
    before = evaluator.evaluate(records[0][:6], generate=False)
    after = evaluator.evaluate(records[0][:6], trained.adapter)
    assert np.mean([s.loss for s in after]) < 0.8 * np.mean([s.loss for s in before])
    assert before[0].output is None and all(s.output is not None and 0 <= s.rouge_l <= 1 for s in after)
    assert [s.id for s in after] == [r.id for r in records[0][:6]]


def test_generation_continues_texts(model):
    prompts = ["The cat", "One two three"]
    texts = model.generate(prompts, max_new_tokens=5)
    assert len(texts) == 2 and texts == model.generate(prompts, max_new_tokens=5, batch_size=1)
    assert all(1 <= n <= 8 for n in model.count_tokens(prompts))
    with pytest.raises(fedhds.InputError, match="one text"):
        model.generate("The cat")
    with pytest.raises(fedhds.ParameterError, match="max_new_tokens"):
        model.generate(prompts, max_new_tokens=0)


def test_adapters_go_out_and_come_back(trained, tmp_path):
    adapter = trained.adapter
    assert fedhds.Adapter.from_bytes(adapter.to_bytes(), adapter.config) == adapter
    assert fedhds.Adapter(adapter.config, adapter.tensors) == adapter
    assert pickle.loads(pickle.dumps(adapter)) == adapter and hash(pickle.loads(pickle.dumps(adapter))) == hash(adapter)
    adapter.save(tmp_path / "adapter", base_model="embedded")
    assert fedhds.Adapter.load(tmp_path / "adapter").tensors.keys() == adapter.tensors.keys()
    assert adapter.tensors[f"{PREFIX}.lora_A.weight"].shape == (8, 128)
    assert adapter.parameters == sum(t.size for t in adapter.tensors.values())
    doubled = adapter.with_tensors({name: 2 * t for name, t in adapter.tensors.items()})
    assert doubled != adapter and doubled.config == adapter.config
    adapter.tensors[f"{PREFIX}.lora_A.weight"][:] = 0
    assert adapter.tensors[f"{PREFIX}.lora_A.weight"].any(), "the arrays are copies"


def test_the_mean_is_weighted_by_records(trained, trainer):
    a, b = trained.adapter, trainer.init(seed=9)
    mean = fedhds.weighted_mean([(a, 1), (b, 3)])
    for name, values in mean.tensors.items():
        expected = (a.tensors[name].astype(np.float64) + 3 * b.tensors[name]) / 4
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
    assert fedhds.weighted_mean([(a, 5)]).tensors[f"{PREFIX}.lora_B.weight"].tolist() == a.tensors[f"{PREFIX}.lora_B.weight"].tolist()
    with pytest.raises(fedhds.InputError, match="at least one"):
        fedhds.weighted_mean([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(f"{PREFIX}.lora_A.weight"), "lora_A"),
        (lambda t: t.update({"odd.name": np.ones((2, 2))}), "odd.name"),
        (lambda t: t.update({f"{PREFIX}.lora_A.weight": np.ones((3, 128))}), "shape"),
        (lambda t: t.update({f"{PREFIX}.lora_A.weight": np.full((8, 128), np.nan)}), "nan|NaN|finite"),
        (lambda t: t.update({f"{PREFIX}.lora_A.weight": np.ones(8)}), "1 dimension"),
    ],
)
def test_adapters_that_are_not_whole_are_refused(trained, change, words):
    tensors = trained.adapter.tensors
    change(tensors)
    with pytest.raises(fedhds.Error, match=words):
        fedhds.Adapter(trained.adapter.config, tensors)


def test_damaged_adapters_and_wrong_calls_are_refused(trained, trainer, records):
    adapter = trained.adapter
    with pytest.raises(fedhds.AdapterError):
        fedhds.Adapter.from_bytes(adapter.to_bytes()[:-3], adapter.config)
    with pytest.raises(fedhds.AdapterError, match="bytes"):
        fedhds.Adapter.from_bytes("text", adapter.config)
    with pytest.raises(fedhds.ConfigError, match="rank"):
        fedhds.Adapter({"rank": 8}, adapter.tensors)
    other = fedhds.LoraTrainer(trainer.model, target_modules=["down_proj"]).init()
    foreign = {name.replace("layers.0", "layers.9"): values for name, values in adapter.tensors.items()}
    with pytest.raises(fedhds.AdapterError, match="layers.0"):
        trainer.train(fedhds.Adapter(adapter.config, foreign), records[0][:1])
    with pytest.raises(fedhds.AdapterError, match="tensors of this adapter"):
        adapter.with_tensors(other.tensors)
    with pytest.raises(fedhds.InputError, match="at least one"):
        trainer.train(adapter, [])
    with pytest.raises(fedhds.AdapterError, match="init"):
        trainer.train(None, records[0][:1])
    with pytest.raises(fedhds.AdapterError, match="nope"):
        fedhds.LoraTrainer(trainer.model, target_modules=["nope"])
    with pytest.raises(fedhds.ParameterError, match="learning_rate"):
        fedhds.LoraTrainer(trainer.model, learning_rate=-1.0)
    with pytest.raises(fedhds.ParameterError, match="model"):
        fedhds.LoraTrainer("model")


NAN, INF = float("nan"), float("inf")
COUNT = "expected a whole number of at least 1, got"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"learning_rate": NAN}, "learning_rate: expected a number above 0, got nan"),
        ({"learning_rate": INF}, "learning_rate: expected a number above 0, got inf"),
        ({"learning_rate": 0}, "learning_rate: expected a number above 0, got 0.0"),
        ({"learning_rate": -1e-3}, "learning_rate: expected a number above 0, got -0.001"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number, got 'fast'"),
        ({"learning_rate": True}, "learning_rate: expected a number, got True"),
        ({"learning_rate": None}, "learning_rate: expected a number, got None"),
        ({"batch_size": 0}, f"batch_size: {COUNT} 0"),
        ({"batch_size": -4}, f"batch_size: {COUNT} -4"),
        ({"batch_size": 1.0}, "batch_size: expected a whole number, got 1.0"),
        ({"local_epochs": 0}, f"local_epochs: {COUNT} 0"),
        ({"max_steps": 0}, f"max_steps: {COUNT} 0"),
        ({"max_steps": "4"}, "max_steps: expected a whole number or None, got '4'"),
        ({"gradient_accumulation_steps": 0}, f"gradient_accumulation_steps: {COUNT} 0"),
        ({"max_grad_norm": NAN}, "max_grad_norm: expected a number above 0, got nan"),
        ({"max_grad_norm": -1.0}, "max_grad_norm: expected a number above 0, got -1.0"),
        ({"max_grad_norm": []}, "max_grad_norm: expected a number or None, got []"),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing: expected True or False, got 1"),
        ({"max_tokens": 1}, "max_tokens: expected a whole number of at least 2, got 1"),
        ({"r": 0}, "r: expected a whole number from 1 to 16384, got 0"),
        ({"r": 16385}, "r: expected a whole number from 1 to 16384, got 16385"),
        ({"r": 2**64}, "r: expected a whole number from 1 to 16384, got 18446744073709551616"),
        ({"r": "eight"}, "r: expected a whole number, got 'eight'"),
        ({"lora_alpha": NAN}, "lora_alpha: expected a number above 0, got nan"),
        ({"lora_alpha": 1e39}, "lora_alpha: expected a number above 0, got 1e+39"),
        ({"lora_dropout": 1.0}, "lora_dropout: expected a number in [0, 1), got 1.0"),
        ({"lora_dropout": -0.05}, "lora_dropout: expected a number in [0, 1), got -0.05"),
        ({"target_modules": "q_proj"}, "target_modules: expected a list of texts, got 'q_proj'"),
        ({"target_modules": ["q_proj", 7]}, "target_modules: expected a list of texts, got ['q_proj', 7]"),
        ({"use_rslora": None}, "use_rslora: expected True or False, got None"),
        (
            {"prompt": "shrot"},
            "prompt: expected `alpaca`, `short`, `raw`, `chat`, or the texts `with_input` and `without_input`, got 'shrot'",
        ),
        ({"prompt": {"with_input": 7}}, "prompt.with_input: expected text, got 7"),
        ({"prompt": {"without_input": "x"}}, "prompt: expected the text `with_input`, got none"),
    ],
)
def test_a_wrong_setting_of_training_is_named_with_its_value(model, setting, message):
    with pytest.raises(fedhds.ParameterError) as caught:
        fedhds.LoraTrainer(model, **setting)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"layers": "first"}, "layers: expected `all`, `last` or a list of whole numbers from 1, got 'first'"),
        ({"layers": [1.5]}, "layers: expected `all`, `last` or a list of whole numbers from 1, got [1.5]"),
        ({"layers": []}, "layers: expected at least one layer, got none"),
        ({"layers": [2, 2]}, "layers: expected each layer once, got 2 twice"),
        ({"layers": [5]}, "layers: expected layers from 1 to 4 (`embedding` adds the embedding output), got 5"),
        ({"embedding": "yes"}, "embedding: expected True or False, got 'yes'"),
        ({"pooling": "max"}, "pooling: expected `last_token` or `mean`, got 'max'"),
        ({"normalize": 0}, "normalize: expected True or False, got 0"),
        ({"max_tokens": 0}, f"max_tokens: {COUNT} 0"),
        ({"truncate": None}, "truncate: expected True or False, got None"),
        ({"batch_tokens": 0}, f"batch_tokens: {COUNT} 0"),
    ],
)
def test_a_wrong_setting_of_features_is_named_with_its_value(model, setting, message):
    with pytest.raises(fedhds.ParameterError) as caught:
        fedhds.LayerFeatures(model, **setting)
    assert str(caught.value) == message


def test_a_wrong_setting_of_generation_is_named_with_its_value(model):
    for setting, message in (
        ({"max_new_tokens": 0}, f"max_new_tokens: {COUNT} 0"),
        ({"max_new_tokens": "many"}, "max_new_tokens: expected a whole number, got 'many'"),
        ({"batch_size": -1}, f"batch_size: {COUNT} -1"),
    ):
        with pytest.raises(fedhds.ParameterError) as caught:
            fedhds.ModelEvaluator(model, **setting)
        assert str(caught.value) == message
        with pytest.raises(fedhds.ParameterError) as caught:
            model.generate(["The"], **setting)
        assert str(caught.value) == message
    with pytest.raises(fedhds.ParameterError, match="rouge: expected `rouge`, `rouge_score` or .*, got 'bleu'"):
        fedhds.ModelEvaluator(model, rouge="bleu")


def test_settings_may_come_from_numpy_and_defaults_are_the_cores(model):
    trainer = fedhds.LoraTrainer(
        model,
        r=np.int64(4),
        lora_alpha=np.float32(8),
        lora_dropout=0.05,
        learning_rate=np.float64(1e-3),
        gradient_checkpointing=np.bool_(True),
        target_modules={"v_proj"},
    )
    assert trainer.settings == {
        "r": 4,
        "lora_alpha": 8.0,
        "lora_dropout": 0.05,
        "target_modules": ["v_proj"],
        "use_rslora": False,
        "learning_rate": 1e-3,
        "batch_size": 1,
        "local_epochs": 1,
        "max_steps": None,
        "gradient_accumulation_steps": 1,
        "max_grad_norm": None,
        "gradient_checkpointing": True,
        "max_tokens": 1024,
        "prompt": "alpaca",
    }
    shared = ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora")
    assert trainer.init().config == {name: trainer.settings[name] for name in shared}
    signature = inspect.signature(fedhds.LoraTrainer).parameters
    assert (signature["r"].default, signature["learning_rate"].default, signature["max_tokens"].default) == (8, 3e-4, 1024)
    with pytest.raises(TypeError, match="rank"):
        fedhds.LoraTrainer(model, rank=8)


def test_llama_cpp_reads_the_adapter(trained, model, tmp_path):
    """Names, alpha and the order of rows, as read by llama.cpp's own package."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "adapter.gguf"
    trained.adapter.save_gguf(path, model)
    reader = gguf.GGUFReader(path)

    def text(key):
        return bytes(reader.fields[key].parts[reader.fields[key].data[0]]).decode()

    assert (text("general.type"), text("general.architecture"), text("adapter.type")) == ("adapter", "llama", "lora")
    alpha = reader.fields["adapter.lora.alpha"]
    assert alpha.types == [gguf.GGUFValueType.FLOAT32] and float(alpha.parts[alpha.data[0]][0]) == 16.0
    tensors = {t.name: t for t in reader.tensors}
    own = trained.adapter.tensors
    assert len(tensors) == len(own)
    a = tensors["blk.0.attn_q.weight.lora_a"]
    assert a.shape.tolist() == [128, 8]
    np.testing.assert_array_equal(a.data, own[f"{PREFIX}.lora_A.weight"])
    b = own[f"{PREFIX}.lora_B.weight"]
    heads = 4
    # What llama.cpp's converter does to the queries of this family.
    permuted = b.reshape(heads, 2, b.shape[0] // heads // 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight.lora_b"].data, permuted)
    keys = f"{PREFIX.replace('q_proj', 'k_proj')}.lora_B.weight"
    b = own[keys]
    permuted = b.reshape(2, 2, b.shape[0] // 4, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
    np.testing.assert_array_equal(tensors["blk.0.attn_k.weight.lora_b"].data, permuted)
    value = f"{PREFIX.replace('q_proj', 'v_proj')}.lora_B.weight"
    np.testing.assert_array_equal(tensors["blk.0.attn_v.weight.lora_b"].data, own[value])
