//! What the written model is worth: its loss on held-out text, what it answers, and whether tuning on a few instructions
//! helps on tasks that it was not tuned on.

use crate::corpus::Corpus;
use crate::{sequences, training};
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::dataset::{PromptTemplate, RenderPrompt as _};
use fedhds_core::generate::{GenerateConfig, generate, response_losses};
use fedhds_core::metrics::{RougeFlavor, rouge_l_best};
use fedhds_core::model::{Device, LanguageModel, LoraWeights};
use fedhds_core::train::init::init_adapter;
use fedhds_core::train::{Example, TrainConfig, train_adapter};
use fedhds_core::types::{AdapterConfig, Context, Control, Record, Seed};
use fedhds_core::{Error, Result};
use rand::seq::IndexedRandom as _;
use std::collections::BTreeMap;
use std::path::Path;

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

/// Records of a test task whose answers are printed.
const SHOWN: usize = 1;

fn examples(model: &LanguageModel, records: &[Record]) -> Result<Vec<Example>> {
    let example = |record| {
        let text = PromptTemplate::Short.render(record)?;
        let example = fedhds_core::model::Example::new(&model.tokenizer, &text.prompt, &text.response)?;
        Ok(Example { ids: example.ids, response_start: example.response_start })
    };
    records.iter().map(example).collect()
}

fn continued(model: &LanguageModel, prompts: &[Vec<u32>], lora: Option<&LoraWeights>) -> Result<Vec<String>> {
    let config = GenerateConfig { max_new_tokens: 16, batch_size: 16 };
    let ids = generate(&*model.transformer, prompts, model.tokenizer.eos(), &config, lora, &Control::default())?;
    ids.iter().map(|ids| model.tokenizer.decode(ids, true)).collect()
}

/// Prints all of it; tunes on `count` records.
///
/// # Errors
/// What loading, training and generating may return.
pub fn run(folder: &Path, seed: u64, count: usize) -> Result<()> {
    let model = LanguageModel::load(folder, &Device::cpu())?;
    let corpus = Corpus::new(seed);
    let held_out = sequences::held_out(&corpus, model.tokenizer.inner(), 64, 128)?;
    let (all, answers) = training::loss(&*model.transformer, &held_out, model.tokenizer.pad())?;
    println!("held-out loss {all:.4}, on answers {answers:.4}\n");
    let prompts: Vec<Vec<u32>> = PROMPTS.iter().map(|p| model.tokenizer.encode_prompt(p)).collect::<Result<_>>()?;
    for (prompt, answer) in PROMPTS.iter().zip(continued(&model, &prompts, None)?) {
        println!("{prompt:?} -> {:?}", answer.lines().next().unwrap_or_default());
    }
    let (train, test) = EmbeddedTasks::default().generate()?;
    let train: Vec<Record> = train.records.sample(&mut Seed(seed).derive("check", 0).rng(), count).cloned().collect();
    let config = AdapterConfig::default();
    let adapter = init_adapter(&config, model.transformer.spec(), Seed(seed).derive("adapter", 0))?;
    let settings = TrainConfig { learning_rate: 3e-3, batch_size: 4, local_epochs: 5, ..TrainConfig::default() };
    let tuned =
        train_adapter(&*model.transformer, &adapter, &examples(&model, &train)?, &settings, &Context::new(Seed(seed)))?;
    let lora = LoraWeights::from_adapter(&tuned.adapter, model.transformer.spec(), &model.transformer.device())?;
    let tests = examples(&model, &test.records)?;
    let prompts: Vec<Vec<u32>> = tests
        .iter()
        .map(|e| e.ids.get(..e.response_start).map(<[u32]>::to_vec))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::stage("check", "a prompt that is longer than its record"))?;
    println!(
        "\ntuned on {} records, {} steps; {} records of unseen tasks",
        train.len(),
        tuned.losses.len(),
        tests.len()
    );
    for (name, lora) in [("untuned", None), ("tuned", Some(&lora))] {
        let losses = response_losses(&*model.transformer, &tests, 16, lora, &Control::default())?;
        let answers = continued(&model, &prompts, lora)?;
        let mut tasks: BTreeMap<&str, Vec<(f64, f64, bool)>> = BTreeMap::new();
        let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lines = Vec::new();
        for ((record, loss), answer) in test.records.iter().zip(losses).zip(&answers) {
            let rouge = rouge_l_best(RougeFlavor::RougeScore, answer, &record.responses).f1;
            let exact = record.responses.iter().any(|response| response == answer.trim());
            tasks.entry(&record.category).or_default().push((loss, rouge, exact));
            let seen = shown.entry(&record.category).or_default();
            if *seen < SHOWN {
                lines.push(format!("  {} {} -> {answer:?} ({})", record.instruction, record.input, record.response()));
            }
            *seen += 1;
        }
        let mean = |values: &[(f64, f64, bool)]| {
            let n = values.len().max(1) as f64;
            let sum =
                values.iter().fold((0.0, 0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1, s.2 + f64::from(u8::from(v.2))));
            format!("loss {:.3}, Rouge-L {:.3}, exact {:.3}", sum.0 / n, sum.1 / n, sum.2 / n)
        };
        let every: Vec<_> = tasks.values().flatten().copied().collect();
        println!("\n{name}: {}", mean(&every));
        tasks.iter().for_each(|(task, values)| println!("  {task}: {}", mean(values)));
        lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}
