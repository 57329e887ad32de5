//! GPT-2 (Radford et al. 2019): pre-norm layers, learned positions, one joint projection for queries, keys and values.

use super::attention::attend;
use super::batch::Batch;
use super::cache::KvCache;
use super::config::gpt2::{EMBEDDING, NAMES, NORM, NORM_1, NORM_2, OUTPUT, POSITIONS};
use super::config::names::LinearShape;
use super::config::{Activation, Gpt2Config};
use super::device::Device;
use super::embedding::{look_up, rows_of};
use super::linear::Linear;
use super::lora::LoraWeights;
use super::norm::LayerNorm;
use super::pass::Pass;
use super::spec::ModelSpec;
use super::tensor::{Tensor, like};
use super::transformer::{Transformer, Weight, no_layer};
use super::weights::{Loader, WeightSource};
use crate::error::Result;

/// A GPT-2 model.
#[derive(Debug, Clone)]
pub struct Gpt2 {
    heads: usize,
    activation: Activation,
    spec: ModelSpec,
    device: Device,
    /// `[vocab, hidden]`.
    embedding: Tensor<2>,
    /// `[n_positions, hidden]`.
    positions: Tensor<2>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    /// `[vocab, hidden]`, none where it is the embedding.
    output: Option<Tensor<2>>,
}

#[derive(Debug, Clone)]
struct Layer {
    norm_1: LayerNorm,
    attention: Linear,
    projection: Linear,
    norm_2: LayerNorm,
    widen: Linear,
    narrow: Linear,
}

impl Gpt2 {
    /// The model with these weights.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for sizes that do not fit each other; [`crate::Error::Model`] that names the first tensor that is
    /// missing or has another shape.
    pub fn new(config: &Gpt2Config, weights: &dyn WeightSource, device: &Device) -> Result<Self> {
        config.check()?;
        let loader = Loader::new(weights, device, &NAMES);
        let hidden = config.n_embd;
        let table = [config.vocab_size, hidden];
        let embedding = loader.matrix(&EMBEDDING.weight(), table)?;
        let positions = loader.matrix(&POSITIONS.weight(), [config.n_positions, hidden])?;
        let layers = (0..config.n_layer).map(|i| Layer::load(config, &loader, i)).collect::<Result<Vec<_>>>()?;
        let norm = LayerNorm::load(&loader, NORM.name.into(), hidden, config.layer_norm_epsilon)?;
        let output = if config.tie_word_embeddings { None } else { Some(loader.matrix(&OUTPUT.weight(), table)?) };
        let spec = ModelSpec {
            layers: config.n_layer,
            hidden_size: hidden,
            vocab_size: config.vocab_size,
            max_positions: config.n_positions,
            modules: layers.iter().flat_map(Layer::linears).map(Linear::spec).collect(),
            default_targets: NAMES.target_names(),
            fan_in_fan_out: true,
            causal: true,
        };
        Ok(Self {
            heads: config.n_head,
            activation: config.activation,
            spec,
            device: device.clone(),
            embedding,
            positions,
            layers,
            norm,
            output,
        })
    }
}

impl Layer {
    fn load(config: &Gpt2Config, loader: &Loader<'_>, index: usize) -> Result<Self> {
        let linear = |shape: LinearShape| Linear::load(loader, NAMES.path(index, shape.module), shape, NAMES.layout);
        let eps = config.layer_norm_epsilon;
        let norm = |module| LayerNorm::load(loader, NAMES.path(index, module), config.n_embd, eps);
        let [attention, projection, widen, narrow] = config.linears();
        Ok(Self {
            norm_1: norm(NORM_1)?,
            attention: linear(attention)?,
            projection: linear(projection)?,
            norm_2: norm(NORM_2)?,
            widen: linear(widen)?,
            narrow: linear(narrow)?,
        })
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.attention, &self.projection, &self.widen, &self.narrow]
    }

    fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        Ok(Self {
            norm_1: self.norm_1.map(f)?,
            attention: self.attention.map(f)?,
            projection: self.projection.map(f)?,
            norm_2: self.norm_2.map(f)?,
            widen: self.widen.map(f)?,
            narrow: self.narrow.map(f)?,
        })
    }
}

impl Transformer for Gpt2 {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass> {
        batch.check(self.spec.vocab_size, self.spec.max_positions)?;
        Pass::causal(batch, cache, &[None], self.heads, &self.device)
    }

    fn embed(&self, batch: &Batch) -> Result<Tensor<3>> {
        batch.check(self.spec.vocab_size, self.spec.max_positions)?;
        // Positions go on through the padding, which may reach past the table: what stands there is never seen.
        let last = self.spec.max_positions - 1;
        let positions = batch.positions().into_iter().map(|p| p.min(last));
        let positions = look_up(&self.positions, positions, batch, &self.device)?;
        let tokens = batch.ids().iter().map(|&id| id as usize);
        Ok(look_up(&self.embedding, tokens, batch, &self.device)? + positions)
    }

    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>> {
        rows_of(&self.embedding, ids, &self.device)
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
        let [b, t, width] = hidden.dims();
        let x = hidden.reshape([b * t, width]);
        let joint = layer.attention.forward(layer.norm_1.forward(x.clone()), lora);
        let part = |i: usize| joint.clone().narrow(1, i * width, width).reshape([b, t, self.heads, width / self.heads]);
        let cache = cache.map(|cache| (cache, index));
        let mixed = attend(part(0), part(1), part(2), pass.mask(None), cache)?;
        let x = x + layer.projection.forward(mixed, lora);
        let inner = self.activation.forward(layer.widen.forward(layer.norm_2.forward(x.clone()), lora));
        Ok((x + layer.narrow.forward(inner, lora)).reshape([b, t, width]))
    }

    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2> {
        self.norm.forward(rows)
    }

    fn logits(&self, rows: Tensor<2>) -> Result<Tensor<2>> {
        let weight = like(self.output.as_ref().unwrap_or(&self.embedding).clone(), &rows);
        Ok(rows.matmul(weight.transpose()))
    }

    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        let embedding = Weight::map_matrix(&EMBEDDING.weight(), &self.embedding, f)?;
        Ok(Box::new(Self {
            heads: self.heads,
            activation: self.activation,
            spec: self.spec.clone(),
            device: Device::of(&embedding),
            embedding,
            positions: Weight::map_matrix(&POSITIONS.weight(), &self.positions, f)?,
            layers: self.layers.iter().map(|layer| layer.map(f)).collect::<Result<_>>()?,
            norm: self.norm.map(f)?,
            output: match &self.output {
                None => None,
                Some(output) => Some(Weight::map_matrix(&OUTPUT.weight(), output, f)?),
            },
        }))
    }
}
