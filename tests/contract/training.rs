//! What the trainer, the evaluator and the aggregator promise, on a small model with its tokenizer.

use fedhds_core::aggregate::WeightedMean;
use fedhds_core::dataset::PromptTemplate;
use fedhds_core::generate::{GenerateConfig, ModelEvaluator};
use fedhds_core::metrics::RougeFlavor;
use fedhds_core::model::{Device, LanguageModel};
use fedhds_core::stage::{Aggregator, ClientUpdate, Evaluator, Trainer};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{AdapterConfig, ClientId, Context, Record, Round};
use std::path::Path;
use std::sync::Arc;

fn load(name: &str) -> LanguageModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name);
    LanguageModel::load(folder, &Device::cpu()).unwrap()
}

fn record(id: &str, instruction: &str, responses: &[&str]) -> Record {
    Record {
        id: id.into(),
        instruction: instruction.into(),
        responses: responses.iter().map(ToString::to_string).collect(),
        category: "task".into(),
        ..Record::default()
    }
}

fn records() -> Vec<Record> {
    vec![record("one", "Say yes.", &["yes"]), record("two", "Say no to it.", &["no", "never"])]
}

fn trainer(name: &str) -> LoraTrainer {
    let config = TrainConfig { learning_rate: 0.02, local_epochs: 80, ..TrainConfig::default() };
    let adapter = AdapterConfig { lora_dropout: 0.0, ..AdapterConfig::default() };
    LoraTrainer::new(load(name), Arc::new(PromptTemplate::Raw), adapter, config).unwrap()
}

fn evaluator(name: &str) -> ModelEvaluator {
    let config = GenerateConfig { max_new_tokens: 8, batch_size: 2, ..GenerateConfig::default() };
    ModelEvaluator::new(load(name), Arc::new(PromptTemplate::Raw), config).unwrap()
}

#[test]
fn a_tuned_model_says_what_it_was_taught() {
    for name in ["llama", "gpt2"] {
        let (trainer, evaluator) = (trainer(name), evaluator(name));
        let start = trainer.init(&Context::new(1)).unwrap();
        assert_eq!(start, trainer.init(&Context::new(1)).unwrap());
        let context = Context::new(2);
        let before = evaluator.evaluate(Some(&start), &records(), true, &context).unwrap();
        let untuned = evaluator.evaluate(None, &records(), false, &context).unwrap();
        for (fresh, untuned) in before.iter().zip(&untuned) {
            assert!((fresh.loss - untuned.loss).abs() < 1e-6, "a fresh adapter changes nothing");
            assert!(untuned.output.is_none() && untuned.rouge_l.is_none() && untuned.exact_match.is_none());
            assert_eq!(fresh.exact_match, Some(false));
        }
        let trained = trainer.train(&start, &records(), &context).unwrap();
        assert_eq!((trained.losses.len(), trained.skipped), (160, 0));
        let after = evaluator.evaluate(Some(&trained.adapter), &records(), true, &context).unwrap();
        for (score, record) in after.iter().zip(records()) {
            assert_eq!((score.id.as_str(), score.category.as_str()), (record.id.as_str(), "task"));
            assert!(score.loss < 0.5, "{name}: {score:?}");
            assert_eq!(score.output.as_deref(), Some(record.response()), "{name}");
            assert_eq!(score.exact_match, Some(true));
            assert!(score.rouge_l.unwrap() > 0.99, "{score:?}");
        }
        // The other reference counts as well, and the flavour is the caller's.
        let other = vec![record("two", "Say no to it.", &["never", "no"])];
        let evaluator = evaluator.with_rouge(RougeFlavor::RougeScore);
        let score = &evaluator.evaluate(Some(&trained.adapter), &other, true, &context).unwrap()[0];
        assert_eq!((score.rouge_l, score.exact_match), (Some(1.0), Some(true)));
        assert!(score.loss > after[1].loss);
    }
}

#[test]
fn clients_updates_become_one_adapter() {
    let trainer = trainer("llama");
    let start = trainer.init(&Context::new(1)).unwrap();
    let mut mean = WeightedMean::new();
    mean.begin(&start, Round(0)).unwrap();
    let mut losses = Vec::new();
    for (client, record) in records().into_iter().enumerate() {
        let trained = trainer.train(&start, &[record], &Context::new(client as u64)).unwrap();
        losses.push(trained.losses[0]);
        mean.add(&ClientUpdate::new(ClientId(client as u32), trained.adapter, 1)).unwrap();
    }
    let global = mean.finish().unwrap().adapter.unwrap();
    assert_eq!(global.config, start.config);
    assert_ne!(global.tensors, start.tensors);
    let scores = evaluator("llama").evaluate(Some(&global), &records(), false, &Context::new(0)).unwrap();
    for (score, loss) in scores.iter().zip(losses) {
        assert!(score.loss < f64::from(loss), "{} {loss}", score.loss);
    }
}

#[test]
fn bad_input_is_named() {
    let trainer = trainer("llama");
    let start = trainer.init(&Context::new(1)).unwrap();
    let long = record("endless", &"word ".repeat(400), &["yes"]);
    let fails = |records: &[Record]| trainer.train(&start, records, &Context::new(1)).unwrap_err().to_string();
    assert!(fails(std::slice::from_ref(&long)).contains("endless"));
    assert!(fails(&[]).contains("at least one"));
    let error = evaluator("llama").evaluate(None, &[long], false, &Context::new(1)).unwrap_err().to_string();
    assert!(error.contains("endless"), "{error}");
    assert!(evaluator("llama").evaluate(None, &[], true, &Context::new(1)).unwrap().is_empty());
    // An adapter of another model.
    let error = evaluator("gpt2").evaluate(Some(&start), &records(), false, &Context::new(1)).unwrap_err();
    assert!(error.to_string().contains("target_modules"), "{error}");
    let prompt = Arc::new(PromptTemplate::Raw);
    let error =
        LoraTrainer::new(load("bert"), prompt.clone(), AdapterConfig::default(), TrainConfig::default()).unwrap_err();
    assert!(error.to_string().contains("encoder"), "{error}");
    assert!(ModelEvaluator::new(load("bert"), prompt, GenerateConfig::default()).is_err());
}
