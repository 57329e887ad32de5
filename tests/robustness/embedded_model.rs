//! The shipped model and the generated tasks fit each other and hold what examples/models/embedded/README.md says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::dataset::embedded::{EmbeddedTasks, TestTasks};
use fedhds_core::dataset::{PromptTemplate, RenderPrompt as _};
use fedhds_core::generate::{GenerateConfig, ModelEvaluator, generate};
use fedhds_core::model::{ChatMessage, Device, Example, LanguageModel};
use fedhds_core::stage::{Evaluator as _, RecordScore, Trainer as _};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{AdapterConfig, Context, Control, Record, Seed};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/embedded")
}

fn load() -> LanguageModel {
    LanguageModel::load(folder(), &Device::cpu()).unwrap()
}

#[test]
fn the_folder_is_small_and_in_bf16() {
    let bytes = std::fs::read(folder().join("model.safetensors")).unwrap();
    assert!(bytes.len() < 12 * 1024 * 1024, "{} bytes", bytes.len());
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.iter().all(|(_, view)| view.dtype() == safetensors::Dtype::BF16));
}

#[test]
fn every_record_is_short_in_its_tokens() {
    let model = load();
    let every = EmbeddedTasks { test_tasks: TestTasks::All, ..EmbeddedTasks::default() };
    let (train, test) = every.generate().unwrap();
    for record in train.records.iter().chain(&test.records) {
        for template in [PromptTemplate::Short, PromptTemplate::Alpaca] {
            let text = template.render(record).unwrap();
            let example = Example::new(&model.tokenizer, &text.prompt, &text.response).unwrap();
            assert!(example.ids.len() <= 96, "{}: {} tokens", record.id, example.ids.len());
        }
    }
}

#[test]
fn texts_come_back_from_their_tokens() {
    let model = load();
    let text = "Name the sound: café, 12 + 7\n\n### Response:\nA cow says moo.";
    let ids = model.tokenizer.encode(text, true).unwrap();
    assert_eq!(ids.first().copied(), model.tokenizer.bos());
    assert_eq!(model.tokenizer.decode(&ids, true).unwrap(), text);
    let message = ChatMessage { role: "user".into(), content: "Name a fruit.".into() };
    let chat = model.tokenizer.apply_chat_template(&[message], true).unwrap();
    assert_eq!(chat, "<s>### Instruction:\nName a fruit.\n\n### Response:\n");
}

#[test]
fn it_knows_what_its_corpus_says() {
    let model = load();
    let known = [
        ("Q: What is the capital of France?\nA:", "Paris"),
        ("Q: What sound does a cow make?\nA:", "moo"),
        ("Topic: The young of an animal.\nEntry: sheep\nValue:", "lamb"),
        ("Wanted: The superlative of an adjective\nGiven: fast\nFound:", "fastest"),
    ];
    let prompts: Vec<_> = known.iter().map(|(prompt, _)| model.tokenizer.encode_prompt(prompt).unwrap()).collect();
    let config = GenerateConfig { max_new_tokens: 4, batch_size: 4, ..GenerateConfig::default() };
    let eos = model.tokenizer.eos();
    let ids = generate(&*model.transformer, &prompts, eos, &config, None, &Control::default()).unwrap();
    for ((prompt, answer), ids) in known.iter().zip(ids) {
        let text = model.tokenizer.decode(&ids, true).unwrap();
        assert!(text.trim_start().starts_with(answer), "{prompt}: {text}");
    }
}

#[test]
fn a_few_records_teach_it_unseen_tasks() {
    let model = load();
    let (train, test) = EmbeddedTasks::default().generate().unwrap();
    let every = |records: &[Record], step: usize| records.iter().step_by(step).cloned().collect::<Vec<_>>();
    let (train, test) = (every(&train.records, 40), every(&test.records, 3));
    let prompt = Arc::new(PromptTemplate::Short);
    let settings = TrainConfig { learning_rate: 3e-3, batch_size: 4, local_epochs: 3, ..TrainConfig::default() };
    let trainer = LoraTrainer::new(model.clone(), prompt.clone(), AdapterConfig::default(), settings).unwrap();
    let evaluator = ModelEvaluator::new(
        model,
        prompt,
        GenerateConfig { max_new_tokens: 8, batch_size: 16, ..GenerateConfig::default() },
    )
    .unwrap();
    let context = Context::new(Seed(1));
    let tuned = trainer.train(&trainer.init(&context).unwrap(), &train, &context).unwrap();
    let before = evaluator.evaluate(None, &test, true, &context).unwrap();
    let after = evaluator.evaluate(Some(&tuned.adapter), &test, true, &context).unwrap();
    let mean = |scores: &[RecordScore], value: fn(&RecordScore) -> f64| {
        scores.iter().map(value).sum::<f64>() / scores.len() as f64
    };
    let (loss, rouge) = (|s: &RecordScore| s.loss, |s: &RecordScore| s.rouge_l.unwrap());
    assert!(mean(&after, loss) < 0.7 * mean(&before, loss), "{} {}", mean(&before, loss), mean(&after, loss));
    assert!(mean(&after, rouge) > mean(&before, rouge) + 0.1, "{} {}", mean(&before, rouge), mean(&after, rouge));
}
