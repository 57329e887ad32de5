//! Features, training, loss, generation and the cost's counts read the same tokens of a record.

use fedhds_core::dataset::{Prompt, PromptTemplate, RenderPrompt};
use fedhds_core::error::Error;
use fedhds_core::features::{FeatureParams, LayerFeatures};
use fedhds_core::generate::{GenerateConfig, ModelEvaluator, generate, generate_texts};
use fedhds_core::model::{Device, LanguageModel, Overlong, RecordTokenizer, prompt_renderer};
use fedhds_core::stage::{Evaluator as _, Trainer as _};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{AdapterConfig, Context, Control, Record};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn load(path: PathBuf) -> LanguageModel {
    LanguageModel::load(path, &Device::cpu()).unwrap()
}

/// The causal models of the fixtures, of every family and kind of file.
fn causal() -> Vec<(String, LanguageModel)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| (name.to_string(), load(root.join("fixtures/models").join(name)));
    let file = |name: &str| (format!("{name}.gguf"), load(root.join("fixtures/gguf").join(format!("{name}.gguf"))));
    let embedded = ("embedded".to_string(), load(root.join("../examples/models/embedded")));
    vec![folder("llama"), folder("gpt2"), file("llama2"), file("qwen2"), embedded]
}

fn record(id: &str, instruction: &str, input: &str, responses: &[&str]) -> Record {
    Record {
        id: id.into(),
        instruction: instruction.into(),
        input: input.into(),
        responses: responses.iter().map(ToString::to_string).collect(),
        ..Record::default()
    }
}

fn records() -> Vec<Record> {
    vec![
        record("plain", "Say yes.", "", &["yes"]),
        record("input", "Add.", "1 + 2", &["3", "three"]),
        record("blanks", "Trailing blanks   ", " \n ", &["  leading"]),
        record("wide", "Übersetze „日本“ 🙂.", "", &["naïve\n\ttab"]),
        record("special", "Say <s> and </s> and <|endoftext|>.", "</s>", &["</s>"]),
        record("empty", "Say nothing.", "", &[""]),
    ]
}

struct Paths {
    features: LayerFeatures,
    trainer: LoraTrainer,
    evaluator: ModelEvaluator,
    reader: RecordTokenizer,
}

fn paths(model: &LanguageModel, prompt: &Arc<dyn RenderPrompt>, max_tokens: usize) -> Paths {
    let params = FeatureParams { max_tokens, ..FeatureParams::default() };
    let train = TrainConfig { max_tokens, ..TrainConfig::default() };
    Paths {
        features: LayerFeatures::new(model.clone(), prompt.clone(), "prompt", params).unwrap(),
        trainer: LoraTrainer::new(model.clone(), prompt.clone(), AdapterConfig::default(), train).unwrap(),
        evaluator: ModelEvaluator::new(model.clone(), prompt.clone(), GenerateConfig::default()).unwrap(),
        reader: RecordTokenizer::new(model, prompt.clone(), max_tokens, Overlong::Error),
    }
}

#[test]
fn every_path_reads_the_same_tokens() {
    for (name, model) in causal() {
        let mut prompts: Vec<Arc<dyn RenderPrompt>> =
            vec![Arc::new(PromptTemplate::Raw), Arc::new(PromptTemplate::Short)];
        if model.tokenizer.chat_template().is_some() {
            prompts.push(prompt_renderer(&Prompt::Chat, &model.tokenizer).unwrap());
        }
        for prompt in prompts {
            let paths = paths(&model, &prompt, 1024);
            let records: Vec<Record> = records()
                .into_iter()
                .filter(|r| paths.reader.count(r).unwrap() <= model.transformer.spec().max_positions)
                .collect();
            assert!(records.len() >= 3, "{name}");
            let examples = paths.trainer.examples(&records).unwrap();
            assert_eq!(examples, paths.evaluator.examples(&records).unwrap(), "{name}");
            let sequences = paths.features.tokens(&records).unwrap();
            for ((record, example), sequence) in records.iter().zip(&examples).zip(&sequences) {
                assert_eq!(sequence, &example.ids, "{name}: {}", record.id);
                assert_eq!(paths.reader.count(record).unwrap(), sequence.len());
                // What generation reads is the beginning of what training reads.
                let text = prompt.render(record).unwrap();
                assert_eq!(example.prompt(), model.tokenizer.encode_prompt(&text.prompt).unwrap());
                assert_eq!(example.prompt(), paths.reader.prompt(record).unwrap());
                assert!(example.response_tokens() > 0 && !example.prompt().is_empty());
            }
        }
    }
}

#[test]
fn a_text_is_continued_as_a_record_with_that_prompt() {
    let (_, model) = causal().remove(0);
    let prompt: Arc<dyn RenderPrompt> = Arc::new(PromptTemplate::Raw);
    let records = &records()[..2];
    let config = GenerateConfig { max_new_tokens: 5, ..GenerateConfig::default() };
    let texts: Vec<String> = records.iter().map(|r| prompt.render(r).unwrap().prompt).collect();
    let continued = generate_texts(&model, &texts, None, &config, &Control::default()).unwrap();
    let evaluator = ModelEvaluator::new(model.clone(), prompt.clone(), config.clone()).unwrap();
    let scores = evaluator.evaluate(None, records, true, &Context::new(0)).unwrap();
    let examples = evaluator.examples(records).unwrap();
    let prompts: Vec<&[u32]> = examples.iter().map(|e| e.prompt()).collect();
    let ids =
        generate(&*model.transformer, &prompts, model.tokenizer.eos(), &config, None, &Control::default()).unwrap();
    for ((score, text), ids) in scores.iter().zip(&continued).zip(&ids) {
        assert_eq!(score.output.as_deref(), Some(text.trim()));
        assert_eq!(text, &model.tokenizer.decode(ids, true).unwrap());
    }
    assert!(generate_texts::<&str>(&model, &[], None, &config, &Control::default()).unwrap().is_empty());
    let encoder = load(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/bert"));
    let error = generate_texts(&encoder, &["a"], None, &config, &Control::default()).unwrap_err();
    assert!(matches!(&error, Error::Input { got, .. } if got == "an encoder"), "{error}");
}

#[test]
fn a_record_over_the_limit_is_refused_by_every_path_alike() {
    let (_, model) = causal().remove(0);
    let prompt: Arc<dyn RenderPrompt> = Arc::new(PromptTemplate::Raw);
    let mut records = records()[..2].to_vec();
    records[1].instruction = "word ".repeat(300);
    let most = model.transformer.spec().max_positions;
    let length = RecordTokenizer::new(&model, prompt.clone(), 1, Overlong::Error).count(&records[1]).unwrap();
    let (small, wide) = (paths(&model, &prompt, 9), paths(&model, &prompt, usize::MAX));
    let start = small.trainer.init(&Context::new(0)).unwrap();
    let train = |paths: &Paths| paths.trainer.train(&start, &records[1..], &Context::new(0)).unwrap_err().to_string();
    for (limit, message) in [
        (9, small.features.tokens(&records[1..]).unwrap_err().to_string()),
        (9, train(&small)),
        (most, wide.features.tokens(&records).unwrap_err().to_string()),
        (most, train(&wide)),
        (most, wide.evaluator.examples(&records).unwrap_err().to_string()),
    ] {
        let expected =
            format!("record `input`: text: expected 1 to {limit} tokens with prompt, response and special tokens");
        assert!(message.starts_with(&expected) && message.ends_with(&format!("got {length}")), "{message}");
    }
}
