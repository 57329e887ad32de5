//! Normalisation over the hidden width.

use super::tensor::{Tensor, like};
use super::transformer::Weight;
use super::weights::Loader;
use crate::error::Result;

/// x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).
#[derive(Debug, Clone)]
pub struct RmsNorm {
    path: String,
    /// `[hidden]`.
    weight: Tensor<1>,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn load(loader: &Loader<'_>, path: String, hidden: usize, eps: f64) -> Result<Self> {
        let weight = loader.vector(&format!("{path}.weight"), hidden)?;
        Ok(Self { path, weight, eps })
    }

    /// # Shapes
    /// - x: `[n, hidden]`, and so is what is returned.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        let weight = like(self.weight.clone(), &x).unsqueeze::<2>();
        x * mean_square.add_scalar(self.eps).sqrt().recip() * weight
    }

    pub(crate) fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        let weight = Weight::map_vector(&format!("{}.weight", self.path), &self.weight, f)?;
        Ok(Self { path: self.path.clone(), weight, eps: self.eps })
    }
}

/// (x - mean) / sqrt(variance + eps) * weight + bias (Ba et al. 2016).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    path: String,
    /// `[hidden]`.
    weight: Tensor<1>,
    /// `[hidden]`.
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(loader: &Loader<'_>, path: String, hidden: usize, eps: f64) -> Result<Self> {
        // The first BERT files call them gamma and beta.
        let old = !loader.has(&format!("{path}.weight")) && loader.has(&format!("{path}.gamma"));
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let weight = loader.vector(&format!("{path}.{weight}"), hidden)?;
        let bias = loader.vector(&format!("{path}.{bias}"), hidden)?;
        Ok(Self { path, weight, bias, eps })
    }

    /// # Shapes
    /// - x: `[n, hidden]`, and so is what is returned.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mean = x.clone().mean_dim(1);
        let centred = x - mean;
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let weight = like(self.weight.clone(), &centred).unsqueeze::<2>();
        let bias = like(self.bias.clone(), &centred).unsqueeze::<2>();
        centred * variance.add_scalar(self.eps).sqrt().recip() * weight + bias
    }

    pub(crate) fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        let weight = Weight::map_vector(&format!("{}.weight", self.path), &self.weight, f)?;
        let bias = Weight::map_vector(&format!("{}.bias", self.path), &self.bias, f)?;
        Ok(Self { path: self.path.clone(), weight, bias, eps: self.eps })
    }
}
