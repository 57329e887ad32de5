//! A linear layer, with a low-rank update where one is given.

use super::lora::LoraWeights;
use super::spec::ModuleSpec;
use super::tensor::{Tensor, like};
use super::transformer::Weight;
use super::weights::Loader;
use crate::error::Result;

/// How a weight lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as most models store it.
    OutIn,
    /// `[in, out]`, as GPT-2 stores it.
    InOut,
}

/// y = x W^T + b, plus the module's LoRA update where the weights of one are given.
#[derive(Debug, Clone)]
pub struct Linear {
    path: String,
    /// `[out, in]` or `[in, out]`.
    weight: Tensor<2>,
    /// `[out]`.
    bias: Option<Tensor<1>>,
    layout: Layout,
}

impl Linear {
    /// Loads `path.weight` and, where `bias`, `path.bias`.
    pub(crate) fn load(
        loader: &Loader<'_>,
        path: String,
        input: usize,
        output: usize,
        bias: bool,
        layout: Layout,
    ) -> Result<Self> {
        let shape = match layout {
            Layout::OutIn => [output, input],
            Layout::InOut => [input, output],
        };
        let weight = loader.matrix(&format!("{path}.weight"), shape)?;
        let bias = loader.vector_if(bias, &format!("{path}.bias"), output)?;
        Ok(Self { path, weight, bias, layout })
    }

    /// The module's name and sizes.
    pub fn spec(&self) -> ModuleSpec {
        let [rows, cols] = self.weight.dims();
        let (output, input) = match self.layout {
            Layout::OutIn => (rows, cols),
            Layout::InOut => (cols, rows),
        };
        ModuleSpec { path: self.path.clone(), input, output }
    }

    /// # Shapes
    /// - x: `[n, in]`
    /// - returns `[n, out]`
    pub fn forward(&self, x: Tensor<2>, lora: Option<&LoraWeights>) -> Tensor<2> {
        let weight = like(self.weight.clone(), &x);
        // The transpose is a view: the matrix product reads either order.
        let weight = match self.layout {
            Layout::OutIn => weight.transpose(),
            Layout::InOut => weight,
        };
        let update = lora.and_then(|lora| lora.update(&self.path, &x));
        let mut y = x.matmul(weight);
        if let Some(bias) = &self.bias {
            let bias = like(bias.clone(), &y).unsqueeze::<2>();
            y = y + bias;
        }
        match update {
            None => y,
            Some(update) => y + update,
        }
    }

    /// The same layer over other weights; see [`super::Transformer::map_weights`].
    pub(crate) fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        let weight = Weight::map_matrix(&format!("{}.weight", self.path), &self.weight, f)?;
        let bias = match &self.bias {
            None => None,
            Some(bias) => Some(Weight::map_vector(&format!("{}.bias", self.path), bias, f)?),
        };
        Ok(Self { path: self.path.clone(), weight, bias, layout: self.layout })
    }
}
