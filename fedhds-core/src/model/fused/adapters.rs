//! Low-rank adapters as slices, by layer and place.

use super::LINEARS;
use crate::error::{Error, Result};
use crate::model::lora::{Dropout, LoraWeights};
use crate::model::tensor::{plain, to_vec};
use fedhds_kernels::{low_rank, scratch};
use std::collections::HashMap;

/// The two factors of one module.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub r: usize,
    /// `[r, in]`.
    pub a: Vec<f32>,
    /// B turned, `[r, out]`.
    pub b: Vec<f32>,
}

/// The adapters of a model, by layer, then in the order of its linear layers.
#[derive(Debug, Clone)]
pub(crate) struct Adapters {
    pub layers: Vec<[Option<Pair>; LINEARS]>,
    pub scaling: f32,
    dropout: Option<Dropout>,
}

/// What a module's input becomes under dropout: which values stay, and by what they are multiplied.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    kept: Vec<u8>,
    factor: f32,
}

impl Mask {
    /// The input with what is dropped at 0.
    pub fn applied(&self, x: &[f32]) -> Vec<f32> {
        let mut masked = scratch::take(x.len());
        low_rank::masked(x, &self.kept, self.factor, &mut masked);
        masked
    }

    /// Drops the gradient of what was dropped.
    pub fn apply(&self, gradient: &mut [f32]) {
        low_rank::mask(gradient, &self.kept, self.factor);
    }
}

impl Adapters {
    /// Those of `lora`, for modules of these paths and sizes `(in, out)`, layer by layer.
    ///
    /// # Errors
    /// [`Error::Adapter`] for factors of another shape; [`Error::Device`] where the tensors cannot be read.
    pub fn new(lora: &LoraWeights, paths: &[[String; LINEARS]], sizes: &[(usize, usize); LINEARS]) -> Result<Self> {
        let mut layers: Vec<[Option<Pair>; LINEARS]> = paths.iter().map(|_| std::array::from_fn(|_| None)).collect();
        let places: HashMap<&str, (usize, usize)> = paths
            .iter()
            .enumerate()
            .flat_map(|(layer, paths)| {
                paths.iter().enumerate().map(move |(place, path)| (path.as_str(), (layer, place)))
            })
            .collect();
        for (path, pair) in &lora.modules {
            if let Some(&(layer, place)) = places.get(path.as_str()) {
                let [out, r] = pair.b.dims();
                let (input, output) = sizes[place];
                if r == 0 || out != output || pair.a.dims() != [r, input] {
                    let expected = format!("factors [r, {input}] and [{output}, r], r at least 1");
                    return Err(Error::adapter(path, expected, format!("{:?} and {:?}", pair.a.dims(), [out, r])));
                }
                let b = to_vec(plain(pair.b.clone()))?;
                let mut turned = vec![0.0; b.len()];
                for (i, &value) in b.iter().enumerate() {
                    turned[i % r * out + i / r] = value;
                }
                layers[layer][place] = Some(Pair { r, a: to_vec(plain(pair.a.clone()))?, b: turned });
            }
        }
        Ok(Self { layers, scaling: lora.scaling, dropout: lora.dropout })
    }

    /// The dropout of a module's input, `columns` wide, drawn for `padded` rows of which these stay.
    pub fn mask(&self, path: &str, columns: usize, padded: usize, rows: &[usize]) -> Option<Mask> {
        let dropout = self.dropout?;
        let all = dropout.kept(path, padded * columns);
        let kept = if rows.len() == padded {
            all
        } else {
            rows.iter().flat_map(|&row| &all[row * columns..(row + 1) * columns]).copied().collect()
        };
        Some(Mask { kept, factor: dropout.factor() })
    }
}
