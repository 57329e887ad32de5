//! Settings as data: what they are, their defaults and their ranges, each in one place.
//!
//! An experiment's file, Python and C have the same names, and take defaults and ranges from here. An adapter's are
//! [`AdapterConfig`](crate::types::AdapterConfig), a simulation's `simulate::SimulationSettings`. None of them needs the feature
//! `model`.

mod activations;
mod generation;
mod training;

pub use activations::Activations;
pub use generation::GenerateConfig;
pub use training::TrainConfig;

/// Longest record in tokens, prompt, response and special tokens together, unless a setting says otherwise: the paper's.
pub const MAX_TOKENS: usize = 1024;
