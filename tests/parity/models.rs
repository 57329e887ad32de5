//! Every model family computes what transformers computes: `fixtures/models/make.py` made the models and the references.
//!
//! `FEDHDS_TEST_DEVICE` names the device, `cpu` where it is not set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::model::{
    Batch, ChatMessage, Device, KvCache, LanguageModel, Pooling, SafetensorsFolder, StoredType, Tokenizer,
    WeightSource, take_tokens, tensor, write_safetensors,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CAUSAL: [&str; 7] = ["llama", "llama-biases", "llama-bf16-sharded", "llama-f16", "mistral", "qwen2", "gpt2"];

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name)
}

pub fn device() -> Device {
    Device::parse(&std::env::var("FEDHDS_TEST_DEVICE").unwrap_or("cpu".into())).unwrap()
}

fn load(name: &str) -> LanguageModel {
    LanguageModel::load(fixture(name), &device()).unwrap()
}

struct Reference {
    bytes: Vec<u8>,
    facts: Value,
}

impl Reference {
    fn read(name: &str) -> Self {
        let folder = fixture(name);
        let facts = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
        Self { bytes: std::fs::read(folder.join("reference.safetensors")).unwrap(), facts }
    }

    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        tensors.tensor(name).unwrap().data().as_chunks().0.to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_le_bytes).collect()
    }

    fn ints(&self, name: &str) -> Vec<u32> {
        self.words(name).into_iter().map(u32::from_le_bytes).collect()
    }

    fn rows(&self) -> Vec<Vec<u32>> {
        let lengths = self.ints("lengths");
        let ids = self.ints("ids");
        let width = ids.len() / lengths.len();
        lengths.iter().zip(ids.chunks(width)).map(|(&len, row)| row[..len as usize].to_vec()).collect()
    }

    fn batch(&self) -> Batch {
        Batch::new(&self.rows(), 0).unwrap()
    }
}

/// The largest difference over real tokens, relative to the largest value there; what stands in padding does not count.
fn compare(what: &str, ours: &[f32], reference: &[f32], batch: &Batch) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let columns = ours.len() / (batch.rows() * batch.width());
    let (mut difference, mut scale) = (0f32, 0f32);
    for (row, &length) in batch.lengths().iter().enumerate() {
        let start = row * batch.width() * columns;
        let range = start..start + length * columns;
        for (a, b) in ours[range.clone()].iter().zip(&reference[range]) {
            assert!(a.is_finite(), "{what}");
            difference = difference.max((a - b).abs());
            scale = scale.max(b.abs());
        }
    }
    assert!(difference <= 1e-4 * scale, "{what}: differs by {difference} of {scale}");
}

fn layers_agree(name: &str, model: &LanguageModel, reference: &Reference, batch: &Batch) {
    let transformer = &model.transformer;
    let pass = transformer.pass(batch, None).unwrap();
    let mut hidden = transformer.embed(batch).unwrap();
    compare(
        &format!("{name} embedded"),
        &tensor::to_vec(hidden.clone()).unwrap(),
        &reference.floats("embedded"),
        batch,
    );
    for i in 0..transformer.spec().layers {
        hidden = transformer.layer(i, hidden, &pass, None, None).unwrap();
        let ours = tensor::to_vec(hidden.clone()).unwrap();
        compare(&format!("{name} layer {i}"), &ours, &reference.floats(&format!("layer.{i}")), batch);
    }
    if transformer.spec().causal {
        let all: Vec<usize> = (0..batch.rows() * batch.width()).collect();
        let normed = transformer.final_norm(take_tokens(hidden, &all).unwrap());
        compare(
            &format!("{name} normed"),
            &tensor::to_vec(normed.clone()).unwrap(),
            &reference.floats("normed"),
            batch,
        );
        let logits = tensor::to_vec(transformer.logits(normed).unwrap()).unwrap();
        compare(&format!("{name} logits"), &logits, &reference.floats("logits"), batch);
    }
}

#[test]
fn every_layer_and_the_logits_agree() {
    for name in CAUSAL {
        let reference = Reference::read(name);
        layers_agree(name, &load(name), &reference, &reference.batch());
    }
}

#[test]
fn the_encoder_agrees() {
    let reference = Reference::read("bert");
    let batch = reference.batch().with_token_types(reference.ints("token_types")).unwrap();
    let model = load("bert");
    layers_agree("bert", &model, &reference, &batch);
    let hidden = fedhds_core::model::hidden_states(model.transformer.as_ref(), &batch, None).unwrap();
    let ours = tensor::to_vec(Pooling::Mean.pool(hidden, &batch).unwrap()).unwrap();
    let last = reference.floats("layer.1");
    let width = model.transformer.spec().hidden_size;
    for (row, &length) in batch.lengths().iter().enumerate() {
        for column in 0..width {
            let at = |token: usize| f64::from(last[(row * batch.width() + token) * width + column]);
            let mean = (0..length).map(at).sum::<f64>() / length as f64;
            assert!((f64::from(ours[row * width + column]) - mean).abs() < 1e-4);
        }
    }
}

/// Greedy generation of a batch of different lengths, by the cache alone.
fn generate(model: &LanguageModel, rows: &[Vec<u32>], steps: usize) -> Vec<Vec<u32>> {
    let transformer = &model.transformer;
    let mut cache = KvCache::new(transformer.spec().layers);
    let mut batch = Batch::new(rows, model.tokenizer.pad()).unwrap();
    let mut out = vec![Vec::new(); rows.len()];
    for _ in 0..steps {
        let pass = transformer.pass(&batch, Some(&mut cache)).unwrap();
        let mut hidden = transformer.embed(&batch).unwrap();
        for i in 0..transformer.spec().layers {
            hidden = transformer.layer(i, hidden, &pass, None, Some(&mut cache)).unwrap();
        }
        let last = transformer.final_norm(take_tokens(hidden, &batch.last_tokens()).unwrap());
        let logits = tensor::to_vec(transformer.logits(last).unwrap()).unwrap();
        let width = transformer.spec().vocab_size;
        let tokens: Vec<u32> = logits
            .chunks(width)
            .map(|row| (0..width).reduce(|best, i| if row[i] > row[best] { i } else { best }).unwrap() as u32)
            .collect();
        for (row, token) in out.iter_mut().zip(&tokens) {
            row.push(*token);
        }
        batch = cache.next_batch(&tokens).unwrap();
    }
    out
}

#[test]
fn greedy_generation_agrees_token_for_token() {
    for name in CAUSAL {
        let model = load(name);
        let reference = Reference::read(name);
        let expected: Vec<Vec<u32>> = serde_json::from_value(reference.facts["generated"].clone()).unwrap();
        let ours = generate(&model, &reference.rows(), 14);
        for (ours, expected) in ours.iter().zip(&expected) {
            // transformers stops at the end token.
            assert_eq!(&ours[..expected.len()], expected, "{name}");
            assert!(expected.len() == 14 || model.tokenizer.eos().contains(expected.last().unwrap()), "{name}");
        }
    }
}

#[test]
fn texts_and_conversations_become_the_same_tokens() {
    for name in CAUSAL.into_iter().chain(["bert"]) {
        let tokenizer = Tokenizer::from_folder(fixture(name)).unwrap();
        let facts = Reference::read(name).facts;
        for text in facts["texts"].as_array().unwrap() {
            let ids: Vec<u32> = serde_json::from_value(text["ids"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text["text"].as_str().unwrap(), true).unwrap(), ids, "{name}");
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text["decoded"].as_str().unwrap(), "{name}");
        }
        if let Some(turns) = facts["conversation"].as_array() {
            let text = |turn: &Value, key: &str| turn[key].as_str().unwrap().to_string();
            let messages: Vec<_> =
                turns.iter().map(|t| ChatMessage::new(text(t, "role"), text(t, "content"))).collect();
            let rendered = tokenizer.apply_chat_template(&messages, true).unwrap();
            assert_eq!(rendered, facts["rendered"].as_str().unwrap(), "{name}");
            assert_eq!(tokenizer.bos(), Some(1));
            assert_eq!(tokenizer.eos(), [2]);
            assert_eq!(tokenizer.pad(), 3);
        }
    }
}

/// A copy of a fixture's folder, its config changed.
fn changed(name: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let file = copy.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(config.as_object_mut().unwrap());
    std::fs::write(&file, config.to_string()).unwrap();
    copy
}

fn error_of(folder: &Path) -> String {
    LanguageModel::load(folder, &Device::cpu()).unwrap_err().to_string()
}

#[test]
fn the_older_rope_keys_mean_the_same() {
    let folder = changed("llama", |config| {
        let mut rope = config.remove("rope_parameters").unwrap();
        config.insert("rope_theta".into(), rope.as_object_mut().unwrap().remove("rope_theta").unwrap());
        config.insert("rope_scaling".into(), rope);
        config.remove("head_dim");
    });
    let reference = Reference::read("llama");
    let model = LanguageModel::load(folder.path(), &device()).unwrap();
    layers_agree("llama with rope_scaling", &model, &reference, &reference.batch());
}

#[test]
fn a_saved_model_is_the_same_model() {
    let model = load("llama");
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path(), StoredType::F32).unwrap();
    let again = LanguageModel::load(folder.path(), &device()).unwrap();
    let reference = Reference::read("llama");
    layers_agree("llama saved", &again, &reference, &reference.batch());
    assert_eq!(again.config, model.config);
    assert_eq!(again.tokenizer.special(), model.tokenizer.special());
    assert_eq!(again.tokenizer.chat_template(), model.tokenizer.chat_template());
    assert_ne!(load("llama-f16").fingerprint(), model.fingerprint());
    assert_eq!(load("llama").fingerprint(), model.fingerprint());
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let unknown = changed("llama", |config| {
        config.insert("model_type".into(), "mamba".into());
    });
    let error = error_of(unknown.path());
    assert!(error.contains("`mamba`") && error.contains("llama, mistral, qwen2, gpt2, bert"), "{error}");

    let rope = changed("llama", |config| config["rope_parameters"]["rope_type"] = "yarn".into());
    let error = error_of(rope.path());
    assert!(error.contains("rope_parameters.rope_type") && error.contains("`yarn`"), "{error}");

    let key = changed("llama", |config| {
        config.remove("hidden_size");
    });
    assert!(error_of(key.path()).contains("`hidden_size`"));

    let heads = changed("llama", |config| {
        config.insert("num_key_value_heads".into(), 3.into());
    });
    assert!(error_of(heads.path()).contains("`num_key_value_heads`"));

    let shape = changed("llama", |config| {
        config.insert("intermediate_size".into(), 50.into());
    });
    let error = error_of(shape.path());
    assert!(
        error.contains("mlp.gate_proj.weight") && error.contains("[50, 32]") && error.contains("[48, 32]"),
        "{error}"
    );

    let layers = changed("llama", |config| {
        config.insert("num_hidden_layers".into(), 3.into());
    });
    assert!(error_of(layers.path()).contains("model.layers.2."));

    let cut = changed("llama", |_| {});
    let file = cut.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    assert!(error_of(cut.path()).contains("model.safetensors"));

    let shard = changed("llama-bf16-sharded", |_| {});
    std::fs::remove_file(shard.path().join("model-00002-of-00003.safetensors")).unwrap();
    assert!(error_of(shard.path()).contains("model-00002-of-00003.safetensors"));

    for missing in ["config.json", "tokenizer.json"] {
        let folder = changed("llama", |_| {});
        std::fs::remove_file(folder.path().join(missing)).unwrap();
        assert!(error_of(folder.path()).contains(missing));
    }
    assert!(error_of(Path::new("no/such/folder")).contains("no/such/folder"));
}

#[test]
fn names_without_the_body_s_prefix_load() {
    for (name, prefix, add) in [("gpt2", "transformer.", false), ("bert", "bert.", true)] {
        let source = SafetensorsFolder::open(fixture(name)).unwrap();
        let renamed: BTreeMap<String, _> = source
            .names()
            .into_iter()
            .map(|n| {
                let new = if add { format!("{prefix}{n}") } else { n.trim_start_matches(prefix).to_string() };
                (new, source.tensor(&n).unwrap())
            })
            .collect();
        let folder = changed(name, |_| {});
        write_safetensors(folder.path().join("model.safetensors"), &renamed, StoredType::F32).unwrap();
        let model = LanguageModel::load(folder.path(), &device()).unwrap();
        let reference = Reference::read(name);
        let mut batch = reference.batch();
        if add {
            batch = batch.with_token_types(reference.ints("token_types")).unwrap();
        }
        layers_agree(name, &model, &reference, &batch);
    }
}
