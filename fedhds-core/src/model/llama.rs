//! The Llama family (Touvron et al. 2023, arXiv 2307.09288): pre-norm layers with rotary positions, grouped queries and a
//! gated feed-forward layer. Mistral adds windows, Qwen2 biases.

use super::attention::attend;
use super::batch::Batch;
use super::cache::KvCache;
use super::config::LlamaConfig;
use super::device::Device;
use super::embedding::look_up;
use super::linear::{Layout, Linear};
use super::lora::LoraWeights;
use super::norm::RmsNorm;
use super::pass::Pass;
use super::rope::RopeTable;
use super::tensor::{Tensor, like};
use super::transformer::{ModelSpec, Transformer, Weight, no_layer};
use super::weights::{Loader, WeightSource};
use crate::error::Result;
use burn::tensor::activation::sigmoid;

const EMBEDDING: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";

/// A model of the Llama family.
#[derive(Debug, Clone)]
pub struct Llama {
    config: LlamaConfig,
    spec: ModelSpec,
    device: Device,
    frequencies: Vec<f32>,
    /// `[vocab, hidden]`.
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// `[vocab, hidden]`, none where it is the embedding.
    output: Option<Tensor<2>>,
}

#[derive(Debug, Clone)]
struct Layer {
    input_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    post_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Llama {
    /// The model with these weights.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for sizes that do not fit each other; [`crate::Error::Model`] that names the first tensor that is
    /// missing or has another shape.
    pub fn new(config: &LlamaConfig, weights: &dyn WeightSource, device: &Device) -> Result<Self> {
        config.check()?;
        let loader = Loader::new(weights, device, "model.");
        let table = [config.vocab_size, config.hidden_size];
        let embedding = loader.matrix(EMBEDDING, table)?;
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::load(config, &loader, i)).collect::<Result<Vec<_>>>()?;
        let norm = RmsNorm::load(&loader, "model.norm".into(), config.hidden_size, config.rms_norm_eps)?;
        let output = if config.tie_word_embeddings { None } else { Some(loader.matrix(OUTPUT, table)?) };
        let spec = ModelSpec {
            layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: config.max_position_embeddings,
            modules: layers.iter().flat_map(Layer::linears).map(Linear::spec).collect(),
            default_targets: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
                .map(String::from)
                .to_vec(),
            fan_in_fan_out: false,
            causal: true,
        };
        let frequencies = config.rope.frequencies(config.head_dim);
        Ok(Self { config: config.clone(), spec, device: device.clone(), frequencies, embedding, layers, norm, output })
    }

    /// Sizes and switches.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }
}

impl Layer {
    fn load(config: &LlamaConfig, loader: &Loader<'_>, index: usize) -> Result<Self> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let path = |name: &str| format!("model.layers.{index}.{name}");
        let linear =
            |name: &str, input, output, bias| Linear::load(loader, path(name), input, output, bias, Layout::OutIn);
        let norm = |name: &str| RmsNorm::load(loader, path(name), hidden, config.rms_norm_eps);
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            q: linear("self_attn.q_proj", hidden, queries, config.qkv_bias)?,
            k: linear("self_attn.k_proj", hidden, keys, config.qkv_bias)?,
            v: linear("self_attn.v_proj", hidden, keys, config.qkv_bias)?,
            o: linear("self_attn.o_proj", queries, hidden, config.output_bias)?,
            post_norm: norm("post_attention_layernorm")?,
            gate: linear("mlp.gate_proj", hidden, inner, config.mlp_bias)?,
            up: linear("mlp.up_proj", hidden, inner, config.mlp_bias)?,
            down: linear("mlp.down_proj", inner, hidden, config.mlp_bias)?,
        })
    }

    fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }

    fn map(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Self> {
        Ok(Self {
            input_norm: self.input_norm.map(f)?,
            q: self.q.map(f)?,
            k: self.k.map(f)?,
            v: self.v.map(f)?,
            o: self.o.map(f)?,
            post_norm: self.post_norm.map(f)?,
            gate: self.gate.map(f)?,
            up: self.up.map(f)?,
            down: self.down.map(f)?,
        })
    }
}

impl Transformer for Llama {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass> {
        batch.check(self.spec.vocab_size, self.spec.max_positions)?;
        let config = &self.config;
        let mut pass = Pass::causal(batch, cache, &config.windows, config.num_attention_heads, &self.device)?;
        let positions = batch.positions();
        let table = |heads| RopeTable::new(&positions, batch.rows(), heads, &self.frequencies, &self.device);
        pass.rope = Some((table(config.num_attention_heads)?, table(config.num_key_value_heads)?));
        Ok(pass)
    }

    fn embed(&self, batch: &Batch) -> Result<Tensor<3>> {
        batch.check(self.spec.vocab_size, self.spec.max_positions)?;
        look_up(&self.embedding, batch.ids().iter().map(|&id| id as usize), batch, &self.device)
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
        let config = &self.config;
        let dim = config.head_dim;
        // Linear layers on flattened rows: a matrix product of three dimensions is slower.
        let x = hidden.reshape([b * t, width]);
        let normed = layer.input_norm.forward(x.clone());
        let mut q = layer.q.forward(normed.clone(), lora).reshape([b, t, config.num_attention_heads, dim]);
        let mut k = layer.k.forward(normed.clone(), lora).reshape([b, t, config.num_key_value_heads, dim]);
        let v = layer.v.forward(normed, lora).reshape([b, t, config.num_key_value_heads, dim]);
        if let Some((for_q, for_k)) = &pass.rope {
            q = for_q.apply(q);
            k = for_k.apply(k);
        }
        let mask = pass.mask(config.windows[index]);
        let mixed = attend(q, k, v, mask, cache.map(|cache| (cache, index)))?;
        let x = x + layer.o.forward(mixed, lora);
        let normed = layer.post_norm.forward(x.clone());
        let gate = layer.gate.forward(normed.clone(), lora);
        let up = layer.up.forward(normed, lora);
        // SiLU written out: the library's own is slower on the CPU.
        let inner = gate.clone() * sigmoid(gate) * up;
        Ok((x + layer.down.forward(inner, lora)).reshape([b, t, width]))
    }

    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2> {
        self.norm.forward(rows)
    }

    fn logits(&self, rows: Tensor<2>) -> Result<Tensor<2>> {
        let weight = self.output.as_ref().unwrap_or(&self.embedding);
        let weight = like(weight.clone(), &rows);
        // Transposed as a view: three times as fast as a copy in that order.
        Ok(rows.matmul(weight.transpose()))
    }

    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        let embedding = Weight::map_matrix(EMBEDDING, &self.embedding, f)?;
        let device = Device::of(&embedding);
        Ok(Box::new(Self {
            config: self.config.clone(),
            spec: self.spec.clone(),
            device,
            frequencies: self.frequencies.clone(),
            embedding,
            layers: self.layers.iter().map(|layer| layer.map(f)).collect::<Result<_>>()?,
            norm: self.norm.map(f)?,
            output: match &self.output {
                None => None,
                Some(output) => Some(Weight::map_matrix(OUTPUT, output, f)?),
            },
        }))
    }
}
