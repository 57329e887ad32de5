//! Language models on burn.
//!
//! A file or folder gives a [`ModelConfig`] and a [`WeightSource`]; together they build a [`Transformer`], which runs one layer at
//! a time on a [`Batch`]. [`LoraWeights`] change its linear layers, a [`KvCache`] spares generation what it has read.

mod attention;
mod batch;
mod cache;
pub mod config;
mod device;
mod embedding;
mod linear;
mod llama;
pub mod lora;
mod norm;
mod pass;
mod rope;
pub mod tensor;
mod transformer;
mod weights;

pub use batch::Batch;
pub use cache::KvCache;
pub use config::{LlamaConfig, ModelConfig};
pub use device::Device;
pub use linear::{Layout, Linear};
pub use llama::Llama;
pub use lora::{Dropout, LoraPair, LoraWeights};
pub use norm::{LayerNorm, RmsNorm};
pub use pass::Pass;
pub use rope::{RopeConfig, RopeScaling, RopeTable};
pub use transformer::{ModelSpec, ModuleSpec, Transformer, Weight, hidden_states, take_tokens};
pub use weights::{InMemoryWeights, WeightData, WeightSource};
