//! Two real models: SmolLM2-135M-Instruct from its GGUF file and all-MiniLM-L6-v2 from its folder, as transformers and
//! sentence-transformers run them. `examples/models/get.py` brings them; without them these tests say so and pass.

use crate::gguf::{difference, floats};
use fedhds_core::dataset::{CustomPrompt, PromptTemplate};
use fedhds_core::features::{FeatureParams, LayerFeatures, Layers, extract_tokens};
use fedhds_core::generate::{GenerateConfig, generate};
use fedhds_core::model::tensor::to_vec;
use fedhds_core::model::{Activations, Batch, ChatMessage, LanguageModel, hidden_states, take_tokens};
use fedhds_core::stage::FeatureExtractor;
use fedhds_core::types::{Context, Control, Record};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Measured: scores and features within 2e-6, embeddings within 1e-6 (f32 on both sides); a wrong rotation or norm is far above 1e-3.
const TOLERANCE: f32 = 1e-3;

/// The model under `models/` of the repository, beside it, or in the folder that FEDHDS_MODELS names.
fn model(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = match std::env::var_os("FEDHDS_MODELS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => vec![root.join("models"), root.join("../models")],
    };
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: no {name} in {folders:?}: run examples/models/get.py, or set FEDHDS_MODELS");
    }
    found
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/real").join(name)).unwrap()
}

#[derive(Deserialize)]
struct SmolLm2 {
    prompts: Vec<Prompt>,
    layers: Vec<usize>,
    chat: Chat,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    text: String,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Prompt {
    text: String,
    ids: Vec<u32>,
    top_ids: Vec<usize>,
    top_scores: Vec<f32>,
    greedy: Vec<u32>,
}

fn smollm2() -> Option<(LanguageModel, SmolLm2)> {
    let path = model("SmolLM2-135M-Instruct.Q4_1.gguf")?;
    let facts = serde_json::from_slice(&fixture("smollm2.json")).unwrap();
    Some((LanguageModel::load(path, &crate::models::device()).unwrap(), facts))
}

#[test]
fn smollm2_tokens_are_those_of_transformers() {
    let Some((model, facts)) = smollm2() else { return };
    let tokenizer = &model.tokenizer;
    for prompt in &facts.prompts {
        assert_eq!(tokenizer.encode(&prompt.text, false).unwrap(), prompt.ids, "{:?}", prompt.text);
        assert_eq!(tokenizer.encode_prompt(&prompt.text).unwrap(), prompt.ids, "{:?}", prompt.text);
        assert_eq!(tokenizer.decode(&prompt.ids, false).unwrap(), prompt.text);
    }
    assert_eq!((tokenizer.eos(), tokenizer.bos()), (&[2][..], Some(1)));
    let messages: Vec<_> = facts.chat.messages.iter().map(|m| ChatMessage::new(&m.role, &m.content)).collect();
    assert_eq!(tokenizer.apply_chat_template(&messages, true).unwrap(), facts.chat.text);
}

#[test]
fn smollm2_scores_are_those_of_transformers() {
    let Some((model, facts)) = smollm2() else { return };
    let model = model.transformer;
    // All prompts in one padded batch; the reference ran them one by one.
    let ids: Vec<&[u32]> = facts.prompts.iter().map(|p| p.ids.as_slice()).collect();
    let batch = Batch::new(&ids, 2).unwrap();
    let hidden = hidden_states(model.as_ref(), &batch, None).unwrap();
    let last = take_tokens(hidden, &batch.last_tokens()).unwrap();
    let logits = to_vec(model.logits(model.final_norm(last)).unwrap()).unwrap();
    let mut worst = 0f32;
    for (prompt, scores) in facts.prompts.iter().zip(logits.chunks_exact(model.spec().vocab_size)) {
        let got: Vec<f32> = prompt.top_ids.iter().map(|&id| scores[id]).collect();
        let off = difference(&got, &prompt.top_scores);
        assert!(off < TOLERANCE, "{:?}: {off:e}", prompt.text);
        worst = worst.max(off);
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        assert_eq!(best, prompt.top_ids[0], "{:?}", prompt.text);
    }
    eprintln!("SmolLM2: scores differ by {worst:.1e} at most");
}

#[test]
fn smollm2_features_are_those_of_transformers() {
    let Some((model, facts)) = smollm2() else { return };
    let model = model.transformer;
    let bytes = fixture("smollm2.safetensors");
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let ids: Vec<Vec<u32>> = facts.prompts.iter().map(|p| p.ids.clone()).collect();
    let chosen: Vec<usize> = facts.layers.iter().copied().filter(|&layer| layer > 0).collect();
    let params = FeatureParams { layers: Layers::Chosen(chosen), embedding: true, ..FeatureParams::default() };
    let extract = |ids: &[Vec<u32>], params: &FeatureParams| {
        extract_tokens(model.as_ref(), ids, None, params, &Context::new(0)).unwrap()
    };
    let features = extract(&ids, &params);
    let hidden = model.spec().hidden_size;
    let mut worst = 0f32;
    for row in 0..ids.len() {
        let (shape, states) = floats(&expected, &format!("hidden.{row}"));
        assert_eq!(shape, [facts.layers.len(), hidden]);
        for (got, expected) in features.row(row).chunks(hidden).zip(states.chunks(hidden)) {
            let off = difference(got, expected);
            assert!(off < TOLERANCE, "prompt {row}: {off:e}");
            worst = worst.max(off);
        }
    }
    eprintln!("SmolLM2: features differ by {worst:.1e} at most");

    // The same records in one padded batch, and in other company.
    let padded = extract(&ids, &FeatureParams { batch_tokens: Some(1024), ..params.clone() });
    let mut reversed = ids.clone();
    reversed.reverse();
    let reversed = extract(&reversed, &params);
    for row in 0..ids.len() {
        assert_eq!(features.row(row), reversed.row(ids.len() - 1 - row), "row {row}: equal bits");
        for (got, expected) in padded.row(row).chunks(hidden).zip(features.row(row).chunks(hidden)) {
            assert!(difference(got, expected) < 1e-5, "padded, row {row}");
        }
    }
}

#[test]
fn smollm2_with_rows_in_8_bits_is_near() {
    let Some((model, facts)) = smollm2() else { return };
    let path = self::model("SmolLM2-135M-Instruct.Q4_1.gguf").unwrap();
    let rounded = LanguageModel::load_with(path, &crate::models::device(), Activations::Int8).unwrap();
    assert_ne!(model.fingerprint(), rounded.fingerprint(), "caches tell them apart");
    let ids: Vec<Vec<u32>> = facts.prompts.iter().map(|p| p.ids.clone()).collect();
    let params = FeatureParams { normalize: true, ..FeatureParams::default() };
    let of = |model: &LanguageModel| {
        extract_tokens(model.transformer.as_ref(), &ids, None, &params, &Context::new(0)).unwrap()
    };
    let (exact, rounded) = (of(&model), of(&rounded));
    let hidden = model.transformer.spec().hidden_size;
    let cosine = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let pairs = exact.as_slice().chunks(hidden).zip(rounded.as_slice().chunks(hidden));
    let least = pairs.map(cosine).fold(1.0f32, f32::min);
    eprintln!("SmolLM2: features with rows in 8 bits have cosine {least:.4} at least");
    assert!(least > 0.98, "{least}");
}

#[test]
fn smollm2_continues_as_in_transformers() {
    let Some((model, facts)) = smollm2() else { return };
    let prompts: Vec<&[u32]> = facts.prompts.iter().map(|p| p.ids.as_slice()).collect();
    let config = GenerateConfig { max_new_tokens: 16, ..GenerateConfig::default() };
    let eos = model.tokenizer.eos();
    let got = generate(model.transformer.as_ref(), &prompts, eos, &config, None, &Control::default()).unwrap();
    for (prompt, got) in facts.prompts.iter().zip(got) {
        assert_eq!(got, prompt.greedy, "{:?}", prompt.text);
    }
}

#[derive(Deserialize)]
struct MiniLm {
    sentences: Vec<String>,
    ids: Vec<Vec<u32>>,
}

#[test]
fn minilm_embeddings_are_those_of_sentence_transformers() {
    let Some(path) = model("all-MiniLM-L6-v2") else { return };
    let facts: MiniLm = serde_json::from_slice(&fixture("minilm.json")).unwrap();
    let model = LanguageModel::load(path, &crate::models::device()).unwrap();
    let prompt = CustomPrompt { with_input: "{instruction}".into(), without_input: None };
    let prompt = Arc::new(PromptTemplate::Custom(prompt));
    let features = LayerFeatures::new(model, prompt, "plain", FeatureParams::sentence_encoder()).unwrap().frozen();
    let records: Vec<Record> = facts
        .sentences
        .iter()
        .map(|text| Record { instruction: text.clone(), responses: vec![String::new()], ..Record::default() })
        .collect();
    assert_eq!(features.tokens(&records).unwrap(), facts.ids);
    let embeddings = features.extract(&records, None, &Context::new(0)).unwrap();
    let bytes = fixture("minilm.safetensors");
    let (shape, expected) = floats(&SafeTensors::deserialize(&bytes).unwrap(), "embeddings");
    assert_eq!((embeddings.rows(), embeddings.cols()), (shape[0], shape[1]));
    let worst = difference(embeddings.as_slice(), &expected);
    assert!(worst < TOLERANCE, "{worst:e}");
    eprintln!("all-MiniLM-L6-v2: embeddings differ by {worst:.1e} at most");

    // A long record is cut off within its special tokens.
    let long = Record { instruction: "word ".repeat(400), responses: vec![String::new()], ..Record::default() };
    let tokens = features.tokens(&[long]).unwrap();
    assert_eq!((tokens[0].len(), tokens[0][0], tokens[0][255]), (256, 101, 102));
}
