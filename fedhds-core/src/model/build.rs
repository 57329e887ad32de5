//! From a configuration and weights to a model.

use super::bert::Bert;
use super::config::ModelConfig;
use super::device::Device;
use super::gpt2::Gpt2;
use super::llama::Llama;
use super::transformer::Transformer;
use super::weights::WeightSource;
use crate::error::Result;

impl ModelConfig {
    /// The model with these weights on this device.
    ///
    /// # Errors
    /// [`crate::Error::Model`] that names the first tensor that is missing or has another shape than this configuration asks for.
    pub fn build(&self, weights: &dyn WeightSource, device: &Device) -> Result<Box<dyn Transformer>> {
        match self {
            Self::Llama(config) => Ok(Box::new(Llama::new(config, weights, device)?)),
            Self::Gpt2(config) => Ok(Box::new(Gpt2::new(config, weights, device)?)),
            Self::Bert(config) => Ok(Box::new(Bert::new(config, weights, device)?)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn every_family_is_built_from_its_own_shapes() {
        let gpt2 =
            json!({"architectures": ["GPT2LMHeadModel"], "vocab_size": 10, "n_embd": 8, "n_layer": 1, "n_head": 2});
        let bert = json!({"model_type": "bert", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 2});
        let llama = json!({"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 64,
            "num_hidden_layers": 4, "num_attention_heads": 4});
        for value in [gpt2, bert, llama] {
            let config = ModelConfig::from_json(Path::new("folder"), &value.to_string()).unwrap();
            let weights = crate::model::InMemoryWeights::random(&config, Seed(0)).unwrap();
            let model = config.build(&weights, &Device::cpu()).unwrap();
            assert_eq!(model.spec().vocab_size, config.vocab_size());
            let mut names = Vec::new();
            model
                .map_weights(&mut |name, weight| {
                    names.push(name.to_string());
                    weight
                })
                .unwrap();
            names.sort();
            let mut expected: Vec<String> = config.weight_shapes().into_iter().map(|(name, _)| name).collect();
            expected.sort();
            assert_eq!(names, expected);
        }
    }
}
