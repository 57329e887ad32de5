//! A linear layer, with a low-rank update where one is given.

use super::config::WeightLayout;
use super::config::names::LinearShape;
use super::lora::LoraWeights;
use super::spec::ModuleSpec;
use super::tensor::{Tensor, like};
use super::transformer::Weight;
use super::weights::Loader;
use crate::error::Result;

/// y = x W^T + b, plus the module's LoRA update where the weights of one are given.
#[derive(Debug, Clone)]
pub struct Linear {
    path: String,
    /// `[out, in]` or `[in, out]`.
    weight: Tensor<2>,
    /// `[out]`.
    bias: Option<Tensor<1>>,
    layout: WeightLayout,
}

impl Linear {
    /// Loads `path.weight` and, where the shape has one, `path.bias`.
    pub(crate) fn load(loader: &Loader<'_>, path: String, shape: LinearShape, layout: WeightLayout) -> Result<Self> {
        let weight = loader.matrix(&format!("{path}.weight"), shape.weight(layout))?;
        let bias = loader.vector_if(shape.bias, &format!("{path}.bias"), shape.output)?;
        Ok(Self { path, weight, bias, layout })
    }

    /// The module's name and sizes.
    pub fn spec(&self) -> ModuleSpec {
        let [rows, cols] = self.weight.dims();
        let (output, input) = match self.layout {
            WeightLayout::OutIn => (rows, cols),
            WeightLayout::InOut => (cols, rows),
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
            WeightLayout::OutIn => weight.transpose(),
            WeightLayout::InOut => weight,
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
