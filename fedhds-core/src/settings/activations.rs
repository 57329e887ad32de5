//! In how many bits a model's rows go into its products.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How rows go into products with frozen weights, in passes without a gradient: features, losses and generation. Training multiplies in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// As they are.
    #[default]
    F32,
    /// In 8 bits with a scale for each 32 numbers, as llama.cpp does, with weights that are in such blocks too (Q8_0, Q4_0, Q4_1). About
    /// twice as fast on processors that multiply bytes; docs/speed.md has what it does to losses.
    Int8,
}

impl Activations {
    /// By its name in files: `f32` or `int8`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for another name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Activations::F32),
            "int8" => Ok(Activations::Int8),
            other => Err(Error::parameter("activations", "`f32` or `int8`", format!("`{other}`"))),
        }
    }
}
