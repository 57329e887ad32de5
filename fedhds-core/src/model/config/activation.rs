//! The activations that a config.json names.

use super::json::Json;
use crate::error::Result;

/// An activation by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x Phi(x), by the error function (`gelu`).
    Gelu,
    /// Its approximation by a hyperbolic tangent (`gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`).
    GeluNew,
    /// max(x, 0).
    Relu,
}

impl Activation {
    pub(super) fn from_json(json: &Json<'_>, key: &str, default: Self) -> Result<Self> {
        match json.str_opt(key)? {
            None => Ok(default),
            Some("gelu" | "gelu_python") => Ok(Self::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Self::GeluNew),
            Some("relu") => Ok(Self::Relu),
            Some(other) => Err(json
                .error(key, format!("expected gelu, gelu_new, gelu_pytorch_tanh, gelu_fast or relu, got `{other}`"))),
        }
    }
}
