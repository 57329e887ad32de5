//! A small model for the tests of training and generation.

use crate::model::{Device, Example, InMemoryWeights, ModelConfig, Transformer};
use crate::types::Seed;
use std::path::Path;

/// The id whose embedding is not a number: a record with it has no finite loss.
pub(crate) const POISON: u32 = 49;

/// A Llama of two layers with random weights, 50 ids and 24 positions.
pub(crate) fn small_model() -> Box<dyn Transformer> {
    let text = r#"{"model_type": "llama", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 24,
        "initializer_range": 0.3, "tie_word_embeddings": false}"#;
    let config = ModelConfig::from_json(Path::new("(test)"), text).unwrap();
    let mut weights = InMemoryWeights::random(&config, Seed(1)).unwrap();
    let embedding = weights.tensors_mut().get_mut("model.embed_tokens.weight").unwrap();
    let width = embedding.shape[1];
    embedding.data[POISON as usize * width..].fill(f32::NAN);
    config.build(&weights, &Device::cpu()).unwrap()
}

/// Examples of 6 to 12 tokens, half of each a response.
pub(crate) fn examples(count: usize) -> Vec<Example> {
    (0..count)
        .map(|i| {
            let length = 6 + i % 7;
            let ids = (0..length).map(|t| ((t * 7 + i * 11 + 3) % 49) as u32).collect();
            Example { ids, response_start: length / 2 }
        })
        .collect()
}
