//! Language models on burn.
//!
//! A file or folder gives a [`ModelConfig`] and a [`WeightSource`]; together they build a [`Transformer`], which runs one layer at
//! a time on a [`Batch`]. [`LoraWeights`] change its linear layers, a [`KvCache`] spares generation what it has read.

mod activation;
mod attention;
mod batch;
mod bert;
mod cache;
pub mod config;
mod device;
mod embedding;
#[cfg(feature = "gguf")]
pub mod gguf;
mod gpt2;
mod linear;
mod llama;
pub mod lora;
mod norm;
mod pass;
mod pooling;
mod rope;
pub mod tensor;
mod transformer;
mod weights;

pub use activation::Activation;
pub use batch::Batch;
pub use bert::Bert;
pub use cache::KvCache;
pub use config::{BertConfig, Gpt2Config, LlamaConfig, ModelConfig};
pub use device::Device;
pub use gpt2::Gpt2;
pub use linear::{Layout, Linear};
pub use llama::Llama;
pub use lora::{Dropout, LoraPair, LoraWeights};
pub use norm::{LayerNorm, RmsNorm};
pub use pass::Pass;
pub use pooling::Pooling;
pub use rope::{RopeConfig, RopeScaling, RopeTable};
pub use transformer::{ModelSpec, ModuleSpec, Transformer, Weight, hidden_states, take_tokens};
pub use weights::{InMemoryWeights, WeightData, WeightSource};
