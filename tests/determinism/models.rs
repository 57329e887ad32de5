//! Logits do not depend on the number of threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::threads;
use fedhds_core::model::{
    Batch, Device, InMemoryWeights, LlamaConfig, ModelConfig, hidden_states, take_tokens, tensor,
};
use fedhds_core::types::Seed;

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
    format!("{:016x}", threads::hash(logits.iter().flat_map(|v| v.to_le_bytes())))
}

#[test]
fn logits_have_the_same_bits_at_any_thread_count() {
    threads::check("models::logits_have_the_same_bits_at_any_thread_count", bits);
}
