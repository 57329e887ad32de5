//! What a model's config.json says: the family and its sizes.

mod bert;
mod gpt2;
pub(crate) mod json;
mod llama;

pub use bert::BertConfig;
pub use gpt2::Gpt2Config;
pub use llama::LlamaConfig;

use super::Device;
use super::bert::Bert;
use super::gpt2::Gpt2;
use super::llama::Llama;
use super::transformer::Transformer;
use super::weights::WeightSource;
use crate::error::{Error, Result};
use json::Json;
use serde_json::Value;
use std::path::Path;

/// `model_type`s that can be loaded.
pub const KNOWN_MODEL_TYPES: [&str; 5] = ["llama", "mistral", "qwen2", "gpt2", "bert"];

/// The configuration of a model of any known family.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelConfig {
    /// Llama 2 and 3, OpenLLaMA, TinyLlama, SmolLM, Mistral, Qwen2.
    Llama(LlamaConfig),
    /// GPT-2.
    Gpt2(Gpt2Config),
    /// BERT, as an encoder.
    Bert(BertConfig),
}

impl ModelConfig {
    /// Reads the text of a config.json; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Model`] for text that is not JSON, an unknown architecture (with the known ones), and a key that is missing
    /// or out of range.
    pub fn from_json(path: &Path, text: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| Error::model(path, "config.json", format!("expected JSON: {e}")))?;
        let json = Json::new(path, &value)?;
        let architecture = json.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let model_type = json.str_opt("model_type")?.or(architecture.and_then(model_type_of));
        match model_type {
            Some("llama" | "mistral" | "qwen2") => {
                Ok(Self::Llama(LlamaConfig::from_json(&json, model_type.unwrap_or_default())?))
            }
            Some("gpt2") => Ok(Self::Gpt2(Gpt2Config::from_json(&json)?)),
            Some("bert") => Ok(Self::Bert(BertConfig::from_json(&json)?)),
            other => Err(Error::model(
                path,
                "architecture",
                format!(
                    "expected one of {}, got {}",
                    KNOWN_MODEL_TYPES.join(", "),
                    other
                        .or(architecture)
                        .map_or("neither `model_type` nor `architectures`".into(), |n| format!("`{n}`"))
                ),
            )),
        }
    }

    /// The model with these weights on this device.
    ///
    /// # Errors
    /// [`Error::Model`] that names the first tensor that is missing or has another shape than this configuration asks for.
    pub fn build(&self, weights: &dyn WeightSource, device: &Device) -> Result<Box<dyn Transformer>> {
        match self {
            Self::Llama(config) => Ok(Box::new(Llama::new(config, weights, device)?)),
            Self::Gpt2(config) => Ok(Box::new(Gpt2::new(config, weights, device)?)),
            Self::Bert(config) => Ok(Box::new(Bert::new(config, weights, device)?)),
        }
    }

    /// Every weight with its shape, under the names that transformers uses.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Llama(config) => config.weight_shapes(),
            Self::Gpt2(config) => config.weight_shapes(),
            Self::Bert(config) => config.weight_shapes(),
        }
    }

    /// Standard deviation of freshly initialised matrices (`initializer_range`).
    pub fn initializer_range(&self) -> f32 {
        match self {
            Self::Llama(config) => config.initializer_range,
            Self::Gpt2(config) => config.initializer_range,
            Self::Bert(config) => config.initializer_range,
        }
    }

    /// Size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Llama(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
            Self::Bert(config) => config.vocab_size,
        }
    }
}

/// The family behind an architecture's name, for files that lack `model_type`.
fn model_type_of(architecture: &str) -> Option<&'static str> {
    [
        ("Llama", "llama"),
        ("Mistral", "mistral"),
        ("Qwen2For", "qwen2"),
        ("Qwen2Model", "qwen2"),
        ("GPT2", "gpt2"),
        ("BertFor", "bert"),
        ("BertModel", "bert"),
    ]
    .into_iter()
    .find(|(prefix, _)| architecture.starts_with(prefix))
    .map(|(_, model_type)| model_type)
}
