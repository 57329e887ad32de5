//! BERT (Devlin et al. 2019, arXiv 1810.04805) as an encoder: post-norm layers, every token sees its whole sequence.

use super::attention::attend;
use super::batch::Batch;
use super::cache::KvCache;
use super::config::bert::{ATTENTION_NORM, NAMES, NORM, OUTPUT_NORM, POSITIONS, TYPES, WORDS};
use super::config::names::LinearShape;
use super::config::{Activation, BertConfig};
use super::device::Device;
use super::embedding::{look_up, rows_of};
use super::linear::Linear;
use super::lora::LoraWeights;
use super::norm::LayerNorm;
use super::pass::Pass;
use super::spec::ModelSpec;
use super::tensor::Tensor;
use super::transformer::{Transformer, Weight, no_layer};
use super::weights::{Loader, WeightSource};
use crate::error::{Error, Result};

/// A BERT encoder.
#[derive(Debug, Clone)]
pub struct Bert {
    heads: usize,
    activation: Activation,
    spec: ModelSpec,
    device: Device,
    /// `[vocab, hidden]`.
    words: Tensor<2>,
    /// `[max_position_embeddings, hidden]`.
    positions: Tensor<2>,
    /// `[type_vocab, hidden]`.
    types: Tensor<2>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    output_norm: LayerNorm,
}

impl Bert {
    /// The encoder with these weights; files of models with a head on top are read as well.
    ///
    /// # Errors
    /// [`Error::Parameter`] for sizes that do not fit each other; [`Error::Model`] that names the first tensor that is missing or
    /// has another shape.
    pub fn new(config: &BertConfig, weights: &dyn WeightSource, device: &Device) -> Result<Self> {
        config.check()?;
        let loader = Loader::new(weights, device, &NAMES);
        let hidden = config.hidden_size;
        let words = loader.matrix(&WORDS.weight(), [config.vocab_size, hidden])?;
        let positions = loader.matrix(&POSITIONS.weight(), [config.max_position_embeddings, hidden])?;
        let types = loader.matrix(&TYPES.weight(), [config.type_vocab_size, hidden])?;
        let norm = LayerNorm::load(&loader, NORM.name.into(), hidden, config.layer_norm_eps)?;
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::load(config, &loader, i)).collect::<Result<Vec<_>>>()?;
        let spec = ModelSpec {
            layers: config.num_hidden_layers,
            hidden_size: hidden,
            vocab_size: config.vocab_size,
            max_positions: config.max_position_embeddings,
            modules: layers.iter().flat_map(Layer::linears).map(Linear::spec).collect(),
            default_targets: NAMES.target_names(),
            fan_in_fan_out: false,
            causal: false,
        };
        Ok(Self {
            heads: config.num_attention_heads,
            activation: config.activation,
            spec,
            device: device.clone(),
            words,
            positions,
            types,
            norm,
            layers,
        })
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        batch.check(self.spec.vocab_size, self.spec.max_positions)?;
        let types = self.types.dims()[0];
        match batch.token_types().iter().find(|&&t| t as usize >= types) {
            None => Ok(()),
            Some(t) => Err(Error::input("token type", format!("below {types}"), t)),
        }
    }
}

impl Layer {
    fn load(config: &BertConfig, loader: &Loader<'_>, index: usize) -> Result<Self> {
        let linear = |shape: LinearShape| Linear::load(loader, NAMES.path(index, shape.module), shape, NAMES.layout);
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let norm = |module| LayerNorm::load(loader, NAMES.path(index, module), hidden, eps);
        let [query, key, value, output, widen, narrow] = config.linears();
        Ok(Self {
            query: linear(query)?,
            key: linear(key)?,
            value: linear(value)?,
            output: linear(output)?,
            attention_norm: norm(ATTENTION_NORM)?,
            widen: linear(widen)?,
            narrow: linear(narrow)?,
            output_norm: norm(OUTPUT_NORM)?,
        })
    }

    fn linears(&self) -> [&Linear; 6] {
        [&self.query, &self.key, &self.value, &self.output, &self.widen, &self.narrow]
    }

    fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        Ok(Self {
            query: self.query.map(f)?,
            key: self.key.map(f)?,
            value: self.value.map(f)?,
            output: self.output.map(f)?,
            attention_norm: self.attention_norm.map(f)?,
            widen: self.widen.map(f)?,
            narrow: self.narrow.map(f)?,
            output_norm: self.output_norm.map(f)?,
        })
    }
}

impl Transformer for Bert {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass> {
        self.check(batch)?;
        if cache.is_some() || batch.starts().iter().any(|&s| s > 0) {
            return Err(Error::input("cache", "none: an encoder reads whole sequences", "one"));
        }
        Pass::bidirectional(batch, self.heads, &self.device)
    }

    fn embed(&self, batch: &Batch) -> Result<Tensor<3>> {
        self.check(batch)?;
        let look_up = |table: &Tensor<2>, ids: Vec<usize>| look_up(table, ids.into_iter(), batch, &self.device);
        let sum = look_up(&self.words, batch.ids().iter().map(|&id| id as usize).collect())?
            + look_up(&self.positions, batch.positions())?
            + look_up(&self.types, batch.token_types().iter().map(|&t| t as usize).collect())?;
        let [b, t, width] = sum.dims();
        Ok(self.norm.forward(sum.reshape([b * t, width])).reshape([b, t, width]))
    }

    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>> {
        rows_of(&self.words, ids, &self.device)
    }

    fn layer(
        &self,
        index: usize,
        hidden: Tensor<3>,
        pass: &Pass,
        lora: Option<&LoraWeights>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        let layer = self.layers.get(index).ok_or_else(|| no_layer(index, self.layers.len()))?;
        pass.check(&hidden, self.spec.hidden_size)?;
        if cache.is_some() {
            return Err(Error::input("cache", "none: an encoder reads whole sequences", "one"));
        }
        let [b, t, width] = hidden.dims();
        let x = hidden.reshape([b * t, width]);
        let heads = |linear: &Linear| linear.forward(x.clone(), lora).reshape([b, t, self.heads, width / self.heads]);
        let (q, k, v) = (heads(&layer.query), heads(&layer.key), heads(&layer.value));
        let mixed = attend(q, k, v, pass.mask(None), None)?;
        let x = layer.attention_norm.forward(layer.output.forward(mixed, lora) + x);
        let inner = self.activation.forward(layer.widen.forward(x.clone(), lora));
        Ok(layer.output_norm.forward(layer.narrow.forward(inner, lora) + x).reshape([b, t, width]))
    }

    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2> {
        rows
    }

    fn logits(&self, _rows: Tensor<2>) -> Result<Tensor<2>> {
        Err(Error::input("model", "one that predicts tokens", "a BERT encoder"))
    }

    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        let words = Weight::map_matrix(&WORDS.weight(), &self.words, f)?;
        Ok(Box::new(Self {
            heads: self.heads,
            activation: self.activation,
            spec: self.spec.clone(),
            device: Device::of(&words),
            words,
            positions: Weight::map_matrix(&POSITIONS.weight(), &self.positions, f)?,
            types: Weight::map_matrix(&TYPES.weight(), &self.types, f)?,
            norm: self.norm.map(f)?,
            layers: self.layers.iter().map(|layer| layer.map(f)).collect::<Result<_>>()?,
        }))
    }
}
