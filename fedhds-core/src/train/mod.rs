//! LoRA training.

pub mod adam;
pub mod adapter_config;
pub mod adapter_file;
pub mod gradients;
pub mod init;
pub mod loss;

pub use adam::{Adam, AdamConfig, AdamState};
