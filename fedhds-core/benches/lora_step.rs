//! What one LoRA step costs at the shapes of SmolLM2-135M, with random weights:
//! `RAYON_NUM_THREADS=1 cargo bench -p fedhds-core --bench lora_step`.
//!
//! One record of 128 tokens, the loss on the last 32; rank 8 on all seven linear layers (2.44 million values). CPU seconds are
//! the process's own, so that other work on the machine does not count; they and the memory are read where Linux tells them.

mod measured;

use fedhds_core::features::{FeatureParams, extract_tokens};
use fedhds_core::generate::{GenerateConfig, generate};
use fedhds_core::model::{Device, InMemoryWeights, LoraWeights, ModelConfig, Transformer};
use fedhds_core::train::{Example, TrainConfig, init::init_adapter, train_adapter};
use fedhds_core::types::{AdapterConfig, Context, Control, Seed};
use fedhds_core::{Error, Result};
use fedhds_kernels::Matrix;
use fedhds_kernels::product::{self, Packed};
use measured::{cpu_seconds, megabytes};
use std::path::Path;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIG: &str = r#"{
    "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 2048, "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "initializer_range": 0.02}"#;
const TOKENS: usize = 128;
const RESPONSE: usize = 32;
const STEPS: usize = 8;

fn main() -> Result<()> {
    let config = ModelConfig::from_json(Path::new("(bench)"), CONFIG)?;
    let model = config.build(&InMemoryWeights::random(&config, Seed(1))?, &Device::cpu())?;
    println!("{} MB once the model is loaded", megabytes("VmRSS"));
    products()?;
    features(&*model)?;
    let example = |i: usize| Example {
        ids: (0..TOKENS).map(|t| ((t * 379 + i * 7919) % 49_152) as u32).collect(),
        response_start: TOKENS - RESPONSE,
    };
    let examples: Vec<Example> = (0..STEPS).map(example).collect();
    for (dropout, checkpointing) in [(0.0, false), (0.05, false), (0.0, true)] {
        let adapter = AdapterConfig { lora_dropout: dropout, ..AdapterConfig::default() };
        let adapter = init_adapter(&adapter, model.spec(), Seed(2))?;
        let train = TrainConfig { gradient_checkpointing: checkpointing, ..TrainConfig::default() };
        // The first steps fill caches.
        train_adapter(&*model, &adapter, &examples[..2], &train, &Context::new(3))?;
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let trained = train_adapter(&*model, &adapter, &examples, &train, &Context::new(3))?;
        let steps = STEPS as f64;
        println!(
            "LoRA step, dropout {dropout}, checkpointing {checkpointing}: {:.3} CPU s, {:.3} s; last loss {:.4}; peak {} MB",
            (cpu_seconds() - cpu) / steps,
            wall.elapsed().as_secs_f64() / steps,
            trained.losses.last().copied().unwrap_or(f32::NAN),
            megabytes("VmHWM"),
        );
    }
    generation(&*model)
}

/// The matrix products alone, which nothing can be faster than: of the features below, and of one step forward and backward.
fn products() -> Result<()> {
    let shapes = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)];
    let matrix = |(rows, columns): (usize, usize)| {
        Matrix::new(rows, columns, &(0..rows * columns).map(|i| (i % 7) as f32 / 70.0).collect::<Vec<_>>())
            .ok_or_else(|| Error::input("matrix", "its values", "others"))
    };
    let layers: Vec<Vec<Matrix>> =
        (0..30).map(|_| shapes.into_iter().map(matrix).collect::<Result<_>>()).collect::<Result<_>>()?;
    let head = matrix((49_152, 576))?;
    let run = |rows: usize, backward: bool| {
        let (mut narrow, mut wide, mut out) = (vec![0.1; rows * 576], vec![0.1; rows * 1536], vec![0.0; rows * 1536]);
        for layer in &layers {
            for w in layer {
                let x = if w.columns() == 576 { &narrow } else { &wide };
                product::forward(
                    &Packed::new(&x[..rows * w.columns()], rows, w.columns()),
                    w,
                    &mut out[..rows * w.rows()],
                );
                if backward {
                    let into = if w.columns() == 576 { &mut narrow } else { &mut wide };
                    product::backward(&Packed::new(&out[..rows * w.rows()], rows, w.rows()), w, into);
                    into.fill(0.1);
                }
            }
        }
        if backward {
            let mut scores = vec![0.0; RESPONSE * head.rows()];
            product::forward(&Packed::new(&narrow[..RESPONSE * 576], RESPONSE, 576), &head, &mut scores);
            product::backward(&Packed::new(&scores, RESPONSE, head.rows()), &head, &mut narrow[..RESPONSE * 576]);
        }
    };
    for (what, rows, backward) in [("features", 8 * TOKENS, false), ("a step", TOKENS, true)] {
        run(rows, backward);
        let mut seconds: Vec<f64> = (0..5)
            .map(|_| {
                let cpu = cpu_seconds();
                run(rows, backward);
                cpu_seconds() - cpu
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        println!("matrix products of {what}: {:.3} CPU s", seconds[2]);
    }
    Ok(())
}

/// Eight sequences of 128 tokens that have nothing in common.
fn features(model: &dyn Transformer) -> Result<()> {
    let sequences: Vec<Vec<u32>> =
        (0..8).map(|i| (0..TOKENS).map(|t| ((t * 379 + i * 7919) % 49_152) as u32).collect()).collect();
    let mut seconds: Vec<f64> = Vec::new();
    for _ in 0..6 {
        let cpu = cpu_seconds();
        extract_tokens(model, &sequences, None, &FeatureParams::default(), &Context::new(1))?;
        seconds.push(cpu_seconds() - cpu);
    }
    seconds[1..].sort_by(f64::total_cmp);
    println!("features of 8 sequences of {TOKENS} tokens: {:.3} CPU s; peak {} MB", seconds[3], megabytes("VmHWM"));
    Ok(())
}

/// Eight prompts of 96 tokens, 32 new tokens each.
fn generation(model: &dyn Transformer) -> Result<()> {
    let prompts: Vec<Vec<u32>> =
        (0..8).map(|i| (0..96).map(|t| ((t * 379 + i * 7919) % 49_152) as u32).collect()).collect();
    let adapter = init_adapter(&AdapterConfig::default(), model.spec(), Seed(2))?;
    let lora = LoraWeights::from_adapter(&adapter, model.spec(), &model.device())?;
    let config = GenerateConfig { max_new_tokens: 32, batch_size: 8, ..GenerateConfig::default() };
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let outputs = generate(model, &prompts, &[], &config, Some(&lora), &Control::default())?;
    let new: usize = outputs.iter().map(Vec::len).sum();
    if new == 0 {
        return Err(Error::input("generated tokens", "some", 0));
    }
    println!(
        "generation, 8 prompts of 96 tokens, {new} new tokens: {:.2} CPU s, {:.2} s; peak {} MB",
        cpu_seconds() - cpu,
        wall.elapsed().as_secs_f64(),
        megabytes("VmHWM"),
    );
    Ok(())
}
