//! The activations of feed-forward layers.

use super::config::json::Json;
use super::tensor::Tensor;
use crate::error::Result;
use burn::tensor::activation::{gelu, relu, sigmoid};

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
    pub(crate) fn from_json(json: &Json<'_>, key: &str, default: Self) -> Result<Self> {
        match json.str_opt(key)? {
            None => Ok(default),
            Some("gelu" | "gelu_python") => Ok(Self::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Self::GeluNew),
            Some("relu") => Ok(Self::Relu),
            Some(other) => Err(json
                .error(key, format!("expected gelu, gelu_new, gelu_pytorch_tanh, gelu_fast or relu, got `{other}`"))),
        }
    }

    /// Value by value.
    pub fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gelu => gelu(x),
            Self::Relu => relu(x),
            Self::GeluNew => {
                // 0.5 x (1 + tanh(u)) = x sigmoid(2u): sigmoid is the faster of the two on the CPU.
                let scale = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
                let cube = x.clone() * x.clone() * x.clone();
                let u = (x.clone() + cube.mul_scalar(0.044_715)).mul_scalar(scale);
                x * sigmoid(u)
            }
        }
    }
}
