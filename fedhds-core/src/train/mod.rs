//! LoRA training.
//!
//! [`LoraTrainer`] trains an adapter on records; [`train_adapter`] does the same on token ids. A step is
//! [`step`] (forward and backward pass) -> [`gradients`] (norm and clipping) -> [`Adam`].

pub mod adam;
pub mod adapter_config;
pub mod adapter_file;
mod config;
mod example;
pub mod gradients;
pub mod init;
pub mod loss;
mod run;
pub mod step;

pub use adam::{Adam, AdamConfig, AdamState};
pub use adapter_file::{check_adapter, read_adapter, write_adapter};
pub use config::TrainConfig;
pub use example::Example;
pub use run::train_adapter;
