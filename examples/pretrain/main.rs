//! Pretrains the embedded model: `cargo run --release --example pretrain`.
//!
//! Killed and started again with the same arguments it continues from its last checkpoint; at the end it writes the model folder.

mod check;
mod checkpoint;
mod corpus;
mod sequences;
mod training;
mod vocabulary;

use checkpoint::Checkpoint;
use clap::Parser;
use corpus::{Corpus, Skills};
use fedhds_core::model::{
    Device, InMemoryWeights, LanguageModel, LlamaConfig, ModelConfig, StoredType, Transformer, export_weights,
};
use fedhds_core::train::{Adam, AdamConfig};
use fedhds_core::types::Seed;
use fedhds_core::{Error, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use training::Schedule;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pretrains the embedded model.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the model folder is written.
    #[arg(long, default_value = "examples/models/embedded")]
    output: PathBuf,
    /// Where the checkpoint lies meanwhile.
    #[arg(long, default_value = "runs/pretrain")]
    work: PathBuf,
    /// The skills of the corpus: those of the shipped model, or those of the confirmation tasks too.
    #[arg(long, value_enum, default_value_t)]
    skills: Skills,
    /// Seed of weights and corpus.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps in all. Until the learning rate falls, a restart may change it.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Rows of a batch.
    #[arg(long, default_value_t = 8)]
    rows: usize,
    /// Tokens of a row.
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Token ids.
    #[arg(long, default_value_t = 2048)]
    vocab_size: usize,
    /// Width of the hidden states.
    #[arg(long, default_value_t = 128)]
    hidden_size: usize,
    /// Layers.
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Shards of a batch, each on a thread of its own.
    #[arg(long, default_value_t = 2)]
    shards: usize,
    /// Only check the written model folder: held-out loss, answers, and what tuning on this many records is worth.
    #[arg(long)]
    check: Option<usize>,
    /// Only print this many documents of the corpus.
    #[arg(long)]
    sample: Option<u64>,
    /// Stop after this step as if killed; for tests and measurements.
    #[arg(long)]
    stop_after: Option<u64>,
}

/// Steps between two lines of the log, two checkpoints, two looks at the held-out rows.
const LOG: u64 = 20;
const CHECKPOINT: u64 = 100;
const HELD_OUT: u64 = 250;
/// Context that the model is made for, in tokens.
const CONTEXT: usize = 256;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn config(arguments: &Arguments) -> LlamaConfig {
    let heads = arguments.hidden_size / 32;
    LlamaConfig {
        num_key_value_heads: if heads.is_multiple_of(3) { heads / 3 } else { heads / 2 },
        // Eight thirds of the width, as Llama has it, on the next multiple of 32.
        intermediate_size: (arguments.hidden_size * 8 / 3).next_multiple_of(32),
        max_position_embeddings: CONTEXT,
        ..LlamaConfig::new(arguments.vocab_size, arguments.hidden_size, arguments.layers, heads)
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(records) = arguments.check {
        return check::run(&arguments.output, arguments.skills, arguments.seed, records);
    }
    let llama = config(arguments);
    llama.check()?;
    let model_config = ModelConfig::Llama(llama.clone());
    let Arguments { seed, steps, rows, width, vocab_size, hidden_size, layers, learning_rate, shards, .. } = arguments;
    // A run of the shipped skills goes on from checkpoints that name none.
    let skills = if arguments.skills == Skills::All { "all skills, " } else { "" };
    let settings = format!(
        "{skills}seed {seed}, rows {rows}, width {width}, vocab {vocab_size}, hidden {hidden_size}, \
         layers {layers}, learning rate {learning_rate}, shards {shards}"
    );
    std::fs::create_dir_all(&arguments.work).map_err(|e| Error::io(&arguments.work, e))?;
    let corpus = Corpus::new(arguments.skills, *seed);
    if let Some(count) = arguments.sample {
        (0..count).for_each(|number| println!("{}\n---", corpus.document(number).text));
        return Ok(());
    }
    let tokenizer = vocabulary::read_or_train(&arguments.work.join("tokenizer.json"), &corpus, *vocab_size)?;
    let path = arguments.work.join("checkpoint.safetensors");
    let device = Device::cpu();
    let adam_config = AdamConfig { beta2: 0.95, ..AdamConfig::default() };
    let (mut model, mut adam, first, before) = match Checkpoint::read(&path, &settings)? {
        Some(checkpoint) => {
            let model = model_config.build(&checkpoint.source(), &device)?;
            (model, Adam::resume(adam_config, checkpoint.adam, &device)?, checkpoint.step, checkpoint.seconds)
        }
        None => {
            let weights = InMemoryWeights::random(&model_config, Seed(*seed).derive("weights", 0))?;
            (model_config.build(&weights, &device)?, Adam::new(adam_config)?, 0, 0.0)
        }
    };
    let parameters: usize = model_config.weight_shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let tokens = rows * width;
    println!(
        "{settings}: {parameters} parameters, {steps} steps, {} tokens in all; from step {first}",
        *steps * tokens as u64
    );
    let held_out = sequences::held_out(&corpus, &tokenizer, 64, *width)?;
    let schedule = Schedule { peak: *learning_rate, warmup: 100, steps: *steps };
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|e| Error::stage("pretraining", e.to_string()))?;
    let start = Instant::now();
    let save = |step: u64, model: &dyn Transformer, adam: &Adam| -> Result<()> {
        let seconds = before + start.elapsed().as_secs_f64();
        let (settings, weights) = (settings.clone(), export_weights(model)?);
        Checkpoint { settings, step, seconds, weights, adam: adam.state()? }.write(&path)
    };
    let (mut sum, mut since) = (0.0, 0);
    for step in first..*steps {
        let batch = sequences::rows(&corpus, &tokenizer, step * *rows as u64, *rows, *width)?;
        adam.set_learning_rate(schedule.rate(step))?;
        let (next, done) = training::step(&*model, &mut adam, &batch, vocabulary::IDS[0], *shards, 1.0)?;
        model = next;
        (sum, since) = (sum + done.loss, since + 1);
        let step = step + 1;
        if step % LOG == 0 {
            let each = start.elapsed().as_secs_f64() / (step - first) as f64;
            println!(
                "step {step}/{steps} loss {:.4} norm {:.2} rate {:.2e} tokens/s {:.0} minutes left {:.0}",
                sum / f64::from(since),
                done.norm,
                schedule.rate(step),
                tokens as f64 / each,
                each * (steps - step) as f64 / 60.0,
            );
            (sum, since) = (0.0, 0);
        }
        if step % HELD_OUT == 0 || step == *steps {
            let (all, answers) = training::loss(&*model, &held_out, vocabulary::IDS[0])?;
            println!("step {step} held-out loss {all:.4}, on answers {answers:.4}");
        }
        let stopped = stop.load(Ordering::Relaxed) || arguments.stop_after.is_some_and(|last| step >= last);
        if step % CHECKPOINT == 0 || step == *steps || stopped {
            save(step, &*model, &adam)?;
        }
        if stopped {
            println!("stopped at step {step}; the same command continues");
            return Ok(());
        }
    }
    let tokenizer = vocabulary::finished(tokenizer, &arguments.output)?;
    LanguageModel::new(model_config, model.into(), tokenizer, String::new())
        .save(&arguments.output, StoredType::Bf16)?;
    let seconds = before + start.elapsed().as_secs_f64();
    println!("wrote {} after {:.0} minutes of work", arguments.output.display(), seconds / 60.0);
    Ok(())
}
