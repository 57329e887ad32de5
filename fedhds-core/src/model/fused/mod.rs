//! The Llama family on the CPU, by arithmetic of our own: no padding, common beginnings once, weights in the form that the file has.
//!
//! Everything here gives what the layers of [`Transformer`](super::Transformer) give, within rounding; it is what features, training,
//! losses and generation run where a model [offers it](super::Transformer::fused).

mod adapters;
mod forward;
mod layer;
mod memory;
mod tokens;
mod tune;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use adapters::Adapters;
pub(crate) use layer::PairGradient;
pub(crate) use memory::Memory;
pub(crate) use tokens::{Tokens, packs};
pub(crate) use tune::Padded;

use super::config::llama::{EMBEDDING, INPUT_NORM, NAMES, NORM, OUTPUT, POST_NORM};
use super::config::{LlamaConfig, ModelConfig};
use super::lora::LoraWeights;
use super::weights::{Loader, WeightData, WeightSource, missing};
use crate::error::Result;
use fedhds_kernels::attention::Heads;
use fedhds_kernels::{Activations, Matrix};
use std::path::Path;

/// Rows of a pass, unless somebody asks for another number: enough for the products to run at their full speed, few enough to lie near the
/// processor.
pub(crate) const PACKED_ROWS: usize = 1024;

/// Linear layers of a layer: q, k, v, o, gate, up, down.
pub(crate) const LINEARS: usize = 7;
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

/// A model of the Llama family.
#[derive(Debug)]
pub struct Fused {
    config: LlamaConfig,
    frequencies: Vec<f32>,
    /// `[vocab, hidden]`.
    embedding: Matrix,
    layers: Vec<Layer>,
    /// `[hidden]`.
    norm: Vec<f32>,
    /// `[vocab, hidden]`, none where it is the embedding.
    output: Option<Matrix>,
    /// The names of the linear layers.
    paths: Vec<[String; LINEARS]>,
    /// How rows go into products of passes without a gradient.
    activations: Activations,
}

#[derive(Debug)]
struct Layer {
    input_norm: Vec<f32>,
    post_norm: Vec<f32>,
    linears: [Linear; LINEARS],
}

#[derive(Debug)]
struct Linear {
    /// `[out, in]`.
    weight: Matrix,
    bias: Option<Vec<f32>>,
}

impl Fused {
    /// The model with these weights.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) that names the first tensor that is missing or has another shape.
    pub(crate) fn load(config: &LlamaConfig, loader: &Loader<'_>) -> Result<Self> {
        let hidden = config.hidden_size;
        let table = [config.vocab_size, hidden];
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        let mut paths = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let norm = |module| loader.values(&format!("{}.weight", NAMES.path(index, module)), hidden);
            let mut linears = Vec::with_capacity(LINEARS);
            for shape in config.linears() {
                let path = NAMES.path(index, shape.module);
                let weight = loader.stored(&format!("{path}.weight"), shape.weight(NAMES.layout))?;
                let bias = shape.bias.then(|| loader.values(&format!("{path}.bias"), shape.output)).transpose()?;
                linears.push(Linear { weight, bias });
            }
            let (input_norm, post_norm) = (norm(INPUT_NORM)?, norm(POST_NORM)?);
            // There are as many as `config.linears()` gives.
            if let Ok(linears) = linears.try_into() {
                layers.push(Layer { input_norm, post_norm, linears });
            }
            paths.push(config.linears().map(|shape| NAMES.path(index, shape.module)));
        }
        Ok(Self {
            config: config.clone(),
            frequencies: config.rope.frequencies(config.head_dim),
            embedding: loader.stored(&EMBEDDING.weight(), table)?,
            layers,
            norm: loader.values(&NORM.weight(), hidden)?,
            output: if config.tie_word_embeddings { None } else { Some(loader.stored(&OUTPUT.weight(), table)?) },
            paths,
            activations: Activations::F32,
        })
    }

    /// Rounds the rows of passes without a gradient to 8 bits, where weights are in blocks; false where none are.
    pub(crate) fn round_rows(&mut self) -> bool {
        let mut weights = self.layers.iter().flat_map(|layer| &layer.linears).map(|linear| &linear.weight);
        let some = weights.any(|weight| Activations::Int8.rounds(weight.form()));
        self.activations = if some { Activations::Int8 } else { Activations::F32 };
        some
    }

    /// Number of layers.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Width of the hidden states.
    pub(crate) fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    /// Number of token ids.
    pub(crate) fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    /// `[vocab, hidden]`.
    pub(crate) fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// The adapters of `lora` in this model's places.
    ///
    /// # Errors
    /// [`Error::Adapter`](crate::Error::Adapter) for factors of another shape; [`Error::Device`](crate::Error::Device) where they cannot be read.
    pub(crate) fn adapters(&self, lora: Option<&LoraWeights>) -> Result<Option<Adapters>> {
        let sizes = self.config.linears().map(|shape| (shape.input, shape.output));
        lora.map(|lora| Adapters::new(lora, &self.paths, &sizes)).transpose()
    }

    fn heads(&self, layer: usize) -> Heads {
        Heads {
            heads: self.config.num_attention_heads,
            kv_heads: self.config.num_key_value_heads,
            dim: self.config.head_dim,
            window: self.config.windows.get(layer).copied().flatten(),
        }
    }

    fn weight(&self, name: &str) -> Option<WeightData> {
        let matrix = |matrix: &Matrix| {
            let mut data = vec![0.0; matrix.rows() * matrix.columns()];
            matrix.decode(0..matrix.rows(), &mut data);
            WeightData { shape: vec![matrix.rows(), matrix.columns()], data }
        };
        let vector = |values: &[f32]| WeightData { shape: vec![values.len()], data: values.to_vec() };
        let (path, kind) = name.rsplit_once('.')?;
        if path == EMBEDDING.name {
            return Some(matrix(&self.embedding));
        }
        if path == OUTPUT.name {
            return self.output.as_ref().map(matrix);
        }
        if path == NORM.name {
            return Some(vector(&self.norm));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            for (module, norm) in [(INPUT_NORM, &layer.input_norm), (POST_NORM, &layer.post_norm)] {
                if path == NAMES.path(index, module) {
                    return Some(vector(norm));
                }
            }
            if let Some(place) = self.paths[index].iter().position(|own| own == path) {
                let linear = &layer.linears[place];
                return if kind == "bias" { linear.bias.as_deref().map(vector) } else { Some(matrix(&linear.weight)) };
            }
        }
        None
    }
}

/// Its weights as f32, for the layers that burn runs.
impl WeightSource for Fused {
    fn names(&self) -> Vec<String> {
        ModelConfig::Llama(self.config.clone()).weight_shapes().into_iter().map(|(name, _)| name).collect()
    }

    fn tensor(&self, name: &str) -> Result<WeightData> {
        self.weight(name).ok_or_else(|| missing(self.path(), name))
    }

    fn path(&self) -> &Path {
        Path::new("(in memory)")
    }
}
