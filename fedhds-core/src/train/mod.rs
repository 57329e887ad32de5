//! LoRA training.
//!
//! [`LoraTrainer`] trains an adapter on records; [`train_adapter`] does the same on token ids. A step is
//! [`step`] (forward and backward pass) -> [`gradients`] (norm and clipping) -> [`Adam`].

pub mod adam;
pub mod adapter_config;
pub mod adapter_file;
pub mod gradients;
pub mod init;
mod lora_trainer;
pub mod loss;
mod run;
mod soft_prompt;
mod soft_prompt_file;
pub mod step;

pub use crate::model::Example;
pub use crate::settings::TrainConfig;
pub use adam::{Adam, AdamConfig, AdamState};
pub use adapter_file::{check_adapter, read_adapter, write_adapter};
pub use lora_trainer::LoraTrainer;
pub use run::train_adapter;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod test_model;
