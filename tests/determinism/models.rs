//! Logits do not depend on the number of threads.
//!
//! The number is fixed when a process starts its thread pool, so the test runs itself in processes of 1, 2 and 3 threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::model::{
    Batch, Device, InMemoryWeights, LlamaConfig, ModelConfig, hidden_states, take_tokens, tensor,
};
use fedhds_core::types::Seed;
use std::process::Command;

/// Large enough that matrix products, softmax and sums are split over threads.
fn bits() -> String {
    let mut llama = LlamaConfig::new(500, 192, 2, 6);
    llama.num_key_value_heads = 2;
    llama.initializer_range = 0.1;
    let config = ModelConfig::Llama(llama);
    let model = config.build(&InMemoryWeights::random(&config, Seed(3)).unwrap(), &Device::cpu()).unwrap();
    let rows: Vec<Vec<u32>> = (0..6).map(|r| (0..150 - 10 * r).map(|i| (i * 31 + r * 7) % 500).collect()).collect();
    let batch = Batch::new(&rows, 0).unwrap();
    let hidden = hidden_states(model.as_ref(), &batch, None).unwrap();
    let all: Vec<usize> = (0..batch.rows() * batch.width()).collect();
    let normed = model.final_norm(take_tokens(hidden, &all).unwrap());
    let logits = tensor::to_vec(model.logits(normed).unwrap()).unwrap();
    // FNV-1a over the bits.
    let hash = logits
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("bits {hash:016x}")
}

#[test]
fn logits_have_the_same_bits_at_any_thread_count() {
    if std::env::var_os("FEDHDS_PRINT_BITS").is_some() {
        println!("{}", bits());
        return;
    }
    let run = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "models::logits_have_the_same_bits_at_any_thread_count", "--nocapture"])
            .env("FEDHDS_PRINT_BITS", "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let at = text.find("bits ").unwrap_or_else(|| panic!("{text}"));
        text[at..at + 21].to_string()
    };
    let one = run("1");
    assert_eq!(run("2"), one);
    assert_eq!(run("3"), one);
}
