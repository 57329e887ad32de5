//! The activations of feed-forward layers.

use super::config::Activation;
use super::tensor::Tensor;
use burn::tensor::activation::{gelu, relu, sigmoid};

impl Activation {
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
