//! What the written model is worth: its loss on held-out text, what it answers, and whether tuning on a few instructions
//! helps on tasks that it was not tuned on.

use crate::corpus::{Corpus, Skills};
use crate::{sequences, training};
use fedhds_core::Result;
use fedhds_core::dataset::PromptTemplate;
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::generate::{GenerateConfig, ModelEvaluator, generate};
use fedhds_core::model::{Device, LanguageModel};
use fedhds_core::stage::{Evaluator as _, RecordScore, Trainer as _};
use fedhds_core::train::{LoraTrainer, TrainConfig};
use fedhds_core::types::{Adapter, AdapterConfig, Context, Control, Record, Seed};
use rand::seq::IndexedRandom as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Plain prompts, as the corpus has them.
const PROMPTS: [&str; 8] = [
    "Q: What is the capital of France?\nA:",
    "Q: What sound does a cow make?\nA:",
    "Q: What is 3 + 4?\nA:",
    "Topic: The young of an animal.\nEntry: sheep\nValue:",
    "Exercise:\nThe second word of a list.\nLine:\napple, dog, red\nSolution:",
    "Wanted: The superlative of an adjective\nGiven: fast\nFound:",
    "The opposite of hot is",
    "Kate: How do we say house in Spanish?\nBen:",
];

/// Prints all of it; tunes on `count` records.
///
/// # Errors
/// What loading, training and generating may return.
pub fn run(folder: &Path, skills: Skills, seed: u64, count: usize) -> Result<()> {
    let model = LanguageModel::load(folder, &Device::cpu())?;
    let corpus = Corpus::new(skills, seed);
    let held_out = sequences::held_out(&corpus, model.tokenizer.inner(), 64, 128)?;
    let (all, answers) = training::loss(&*model.transformer, &held_out, model.tokenizer.pad())?;
    println!("held-out loss {all:.4}, on answers {answers:.4}\n");
    plain_answers(&model)?;

    let tasks = EmbeddedTasks { test_tasks: skills.test_tasks(), ..EmbeddedTasks::default() };
    let (train, test) = tasks.generate()?;
    let train: Vec<Record> = train.records.sample(&mut Seed(seed).derive("check", 0).rng(), count).cloned().collect();
    let prompt = Arc::new(PromptTemplate::Short);
    let settings = TrainConfig { learning_rate: 3e-3, batch_size: 4, local_epochs: 5, ..TrainConfig::default() };
    let trainer = LoraTrainer::new(model.clone(), prompt.clone(), AdapterConfig::default(), settings)?;
    let evaluator = ModelEvaluator::new(
        model,
        prompt,
        GenerateConfig { max_new_tokens: 16, batch_size: 16, ..GenerateConfig::default() },
    )?;
    let context = Context::new(Seed(seed));
    let tuned = trainer.train(&trainer.init(&context)?, &train, &context)?;
    println!("\ntuned on {} records, {} steps", train.len(), tuned.losses.len());
    let evaluate = |adapter: Option<&Adapter>| evaluator.evaluate(adapter, &test.records, true, &context);
    for (name, scores) in [("untuned", evaluate(None)?), ("tuned", evaluate(Some(&tuned.adapter))?)] {
        println!("\n{name}, {} records of unseen tasks: {}", scores.len(), summary(&scores.iter().collect::<Vec<_>>()));
        print_tasks(&test.records, &scores);
    }
    Ok(())
}

fn plain_answers(model: &LanguageModel) -> Result<()> {
    let prompts: Vec<Vec<u32>> = PROMPTS.iter().map(|p| model.tokenizer.encode_prompt(p)).collect::<Result<_>>()?;
    let config = GenerateConfig { max_new_tokens: 8, batch_size: 8, ..GenerateConfig::default() };
    let eos = model.tokenizer.eos();
    let answers = generate(&*model.transformer, &prompts, eos, &config, None, &Control::default())?;
    for (prompt, ids) in PROMPTS.iter().zip(answers) {
        let answer = model.tokenizer.decode(&ids, true)?;
        println!("{prompt:?} -> {:?}", answer.lines().next().unwrap_or_default());
    }
    Ok(())
}

fn summary(scores: &[&RecordScore]) -> String {
    let mean = |value: &dyn Fn(&RecordScore) -> f64| {
        scores.iter().map(|score| value(score)).sum::<f64>() / scores.len().max(1) as f64
    };
    format!(
        "loss {:.3}, Rouge-L {:.3}, exact {:.3}",
        mean(&|s| s.loss),
        mean(&|s| s.rouge_l.unwrap_or_default()),
        mean(&|s| f64::from(u8::from(s.exact_match.unwrap_or_default())))
    )
}

/// Each task's means, and what was answered to its first record.
fn print_tasks(records: &[Record], scores: &[RecordScore]) {
    let mut tasks: BTreeMap<&str, Vec<&RecordScore>> = BTreeMap::new();
    scores.iter().for_each(|score| tasks.entry(&score.category).or_default().push(score));
    tasks.iter().for_each(|(task, scores)| println!("  {task}: {}", summary(scores)));
    let mut shown = BTreeSet::new();
    for (record, score) in records.iter().zip(scores) {
        if shown.insert(&record.category) {
            let answer = score.output.as_deref().unwrap_or_default();
            println!("  {} {} -> {answer:?} ({})", record.instruction, record.input, record.response());
        }
    }
}
