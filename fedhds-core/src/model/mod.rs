//! Language models on burn.
//!
//! A file or folder gives a [`ModelConfig`] and a [`WeightSource`]; together they build a [`Transformer`], which runs one layer at
//! a time on a [`Batch`]. [`LoraWeights`] change its linear layers, a [`KvCache`] spares generation what it has read.

mod activation;
mod attention;
mod batch;
mod bert;
mod build;
mod cache;
mod chat_prompt;
mod chat_template;
pub mod config;
mod device;
mod embedding;
mod example;
#[cfg(feature = "pretrain")]
mod export;
mod foreign;
pub(crate) mod fused;
#[cfg(feature = "gguf")]
pub mod gguf;
mod gpt2;
#[cfg(feature = "hub")]
mod hub;
mod jinja;
mod language_model;
mod linear;
mod llama;
pub mod lora;
mod norm;
mod pass;
mod pooling;
mod record_tokenizer;
mod rope;
mod safetensors;
pub mod soft_prompt;
mod spec;
pub mod tensor;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
mod tokenizer_check;
mod tokenizer_files;
mod transformer;
mod weights;

pub use crate::settings::Activations;
pub use batch::Batch;
pub use bert::Bert;
pub use cache::KvCache;
pub use chat_prompt::{ChatPrompt, prompt_renderer};
pub use chat_template::{ChatMessage, ChatTemplate};
pub use config::{Activation, BertConfig, Gpt2Config, LlamaConfig, ModelConfig, RopeConfig, RopeScaling, WeightLayout};
pub use device::Device;
pub use example::Example;
#[cfg(feature = "pretrain")]
pub use export::{StoredType, export_weights, write_safetensors};
pub use fused::Fused;
pub use gpt2::Gpt2;
pub use language_model::{LanguageModel, fingerprint, fingerprint_weights};
pub use linear::Linear;
pub use llama::Llama;
pub use lora::{Dropout, LoraPair, LoraWeights};
pub use norm::{LayerNorm, RmsNorm};
pub use pass::Pass;
pub use pooling::Pooling;
pub use record_tokenizer::{Overlong, RecordTokenizer};
pub use rope::RopeTable;
pub use safetensors::SafetensorsFolder;
pub use soft_prompt::{Prompted, SoftPrompt, Tuned};
pub use spec::{ModelSpec, ModuleSpec};
pub use tokenizer::{SpecialTokens, Tokenizer};
pub use transformer::{Transformer, Weight, hidden_states, take_tokens};
pub use weights::{InMemoryWeights, WeightData, WeightSource};
