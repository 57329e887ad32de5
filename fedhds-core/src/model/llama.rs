//! The Llama family (Touvron et al. 2023, arXiv 2307.09288): pre-norm layers with rotary positions, grouped queries and a
//! gated feed-forward layer. Mistral adds windows, Qwen2 biases.

use super::attention::attend;
use super::batch::Batch;
use super::cache::KvCache;
use super::config::LlamaConfig;
use super::config::llama::{EMBEDDING, INPUT_NORM, NAMES, NORM, OUTPUT, POST_NORM};
use super::config::names::LinearShape;
use super::device::Device;
use super::embedding::{look_up, rows_of};
use super::fused::Fused;
use super::linear::Linear;
use super::lora::LoraWeights;
use super::norm::RmsNorm;
use super::pass::Pass;
use super::rope::RopeTable;
use super::spec::{ModelSpec, ModuleSpec};
use super::tensor::{Tensor, like};
use super::transformer::{Transformer, Weight, no_layer};
use super::weights::{Loader, WeightSource};
use crate::error::{Error, Result};
use burn::tensor::activation::sigmoid;
use std::sync::{Arc, OnceLock};

/// A model of the Llama family.
///
/// On the CPU its weights lie in the form that the file has, for [`Fused`]; its layers as burn runs them are made when somebody
/// asks for one.
#[derive(Debug, Clone)]
pub struct Llama {
    config: LlamaConfig,
    spec: ModelSpec,
    device: Device,
    frequencies: Vec<f32>,
    fused: Option<Arc<Fused>>,
    recorded: OnceLock<Arc<Recorded>>,
    norm: RmsNorm,
}

/// The model as burn runs it, with a record where gradients are wanted.
#[derive(Debug)]
struct Recorded {
    /// `[vocab, hidden]`.
    embedding: Tensor<2>,
    layers: Vec<Layer>,
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
        let loader = Loader::new(weights, device, &NAMES);
        let norm = RmsNorm::load(&loader, NORM.name.into(), config.hidden_size, config.rms_norm_eps)?;
        let (mut fused, mut recorded) = (None, OnceLock::new());
        if device.is_cpu() {
            fused = Some(Arc::new(Fused::load(config, &loader)?));
        } else {
            recorded = Arc::new(Recorded::load(config, &loader)?).into();
        }
        Ok(Self::of(config.clone(), device.clone(), fused, recorded, norm))
    }

    fn of(
        config: LlamaConfig,
        device: Device,
        fused: Option<Arc<Fused>>,
        recorded: OnceLock<Arc<Recorded>>,
        norm: RmsNorm,
    ) -> Self {
        let module = |index: usize, shape: LinearShape| ModuleSpec {
            path: NAMES.path(index, shape.module),
            input: shape.input,
            output: shape.output,
        };
        let modules = |index: usize| config.linears().map(|shape| module(index, shape));
        let spec = ModelSpec {
            layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: config.max_position_embeddings,
            modules: (0..config.num_hidden_layers).flat_map(modules).collect(),
            default_targets: NAMES.target_names(),
            fan_in_fan_out: false,
            causal: true,
        };
        let frequencies = config.rope.frequencies(config.head_dim);
        Self { config, spec, device, frequencies, fused, recorded, norm }
    }

    /// Sizes and switches.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The layers as burn runs them.
    fn recorded(&self) -> Result<&Recorded> {
        if let Some(recorded) = self.recorded.get() {
            return Ok(recorded);
        }
        let Some(fused) = &self.fused else { return Err(Error::stage("model", "expected its weights, got none")) };
        let recorded = Recorded::load(&self.config, &Loader::new(fused.as_ref(), &self.device, &NAMES))?;
        Ok(self.recorded.get_or_init(|| Arc::new(recorded)))
    }
}

impl Recorded {
    fn load(config: &LlamaConfig, loader: &Loader<'_>) -> Result<Self> {
        let table = [config.vocab_size, config.hidden_size];
        let embedding = loader.matrix(&EMBEDDING.weight(), table)?;
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::load(config, loader, i)).collect::<Result<Vec<_>>>()?;
        let output = if config.tie_word_embeddings { None } else { Some(loader.matrix(&OUTPUT.weight(), table)?) };
        Ok(Self { embedding, layers, output })
    }
}

impl Layer {
    fn load(config: &LlamaConfig, loader: &Loader<'_>, index: usize) -> Result<Self> {
        let linear = |shape: LinearShape| Linear::load(loader, NAMES.path(index, shape.module), shape, NAMES.layout);
        let norm = |module| RmsNorm::load(loader, NAMES.path(index, module), config.hidden_size, config.rms_norm_eps);
        let [q, k, v, o, gate, up, down] = config.linears();
        Ok(Self {
            input_norm: norm(INPUT_NORM)?,
            q: linear(q)?,
            k: linear(k)?,
            v: linear(v)?,
            o: linear(o)?,
            post_norm: norm(POST_NORM)?,
            gate: linear(gate)?,
            up: linear(up)?,
            down: linear(down)?,
        })
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
        look_up(&self.recorded()?.embedding, batch.ids().iter().map(|&id| id as usize), batch, &self.device)
    }

    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>> {
        rows_of(&self.recorded()?.embedding, ids, &self.device)
    }

    fn layer(
        &self,
        index: usize,
        hidden: Tensor<3>,
        pass: &Pass,
        lora: Option<&LoraWeights>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        let layers = &self.recorded()?.layers;
        let layer = layers.get(index).ok_or_else(|| no_layer(index, layers.len()))?;
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
        let recorded = self.recorded()?;
        let weight = recorded.output.as_ref().unwrap_or(&recorded.embedding);
        let weight = like(weight.clone(), &rows);
        // Transposed as a view: three times as fast as a copy in that order.
        Ok(rows.matmul(weight.transpose()))
    }

    fn map_weights(&self, f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        let recorded = self.recorded()?;
        let embedding = Weight::map_matrix(&EMBEDDING.weight(), &recorded.embedding, f)?;
        let device = Device::of(&embedding);
        let layers = recorded.layers.iter().map(|layer| layer.map(f)).collect::<Result<_>>()?;
        let norm = self.norm.map(f)?;
        let output = match &recorded.output {
            None => None,
            Some(output) => Some(Weight::map_matrix(&OUTPUT.weight(), output, f)?),
        };
        let recorded = Arc::new(Recorded { embedding, layers, output }).into();
        Ok(Box::new(Self::of(self.config.clone(), device, None, recorded, norm)))
    }

    fn round_rows(&mut self) -> bool {
        self.fused.as_mut().and_then(Arc::get_mut).is_some_and(Fused::round_rows)
    }

    fn fused(&self) -> Option<&Fused> {
        self.fused.as_deref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::lora::{LoraPair, key_b};
    use crate::model::tensor::{lifted, to_vec};
    use crate::model::transformer::{hidden_states, take_tokens};
    use crate::model::weights::InMemoryWeights;
    use crate::model::{ModelConfig, Transformer};
    use crate::types::Seed;
    use std::collections::BTreeMap;

    fn tiny() -> LlamaConfig {
        let mut config = LlamaConfig::new(50, 16, 2, 4);
        config.num_key_value_heads = 2;
        config.initializer_range = 0.3;
        config
    }

    fn build(config: LlamaConfig) -> Box<dyn Transformer> {
        let config = ModelConfig::Llama(config);
        config.build(&InMemoryWeights::random(&config, Seed(1)).unwrap(), &Device::cpu()).unwrap()
    }

    fn close(a: &[f32], b: &[f32], tolerance: f32) {
        assert_eq!(a.len(), b.len());
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance, "{worst}");
    }

    fn last(model: &dyn Transformer, batch: &Batch) -> Vec<f32> {
        let hidden = hidden_states(model, batch, None).unwrap();
        let rows = model.final_norm(take_tokens(hidden, &batch.last_tokens()).unwrap());
        to_vec(model.logits(rows).unwrap()).unwrap()
    }

    #[test]
    fn padding_has_no_influence() {
        let mut windowed = tiny();
        windowed.windows = vec![Some(2), None];
        for config in [tiny(), windowed] {
            let model = build(config);
            let alone = last(model.as_ref(), &Batch::new(&[[3, 1, 4]], 0).unwrap());
            let both = last(model.as_ref(), &Batch::new(&[vec![9, 2, 6, 5, 3], vec![3, 1, 4]], 7).unwrap());
            close(&both[50..], &alone, 1e-5);
        }
    }

    #[test]
    fn a_window_hides_what_is_further_back() {
        let mut config = tiny();
        config.windows = vec![Some(2); 2];
        let model = build(config);
        // Two layers of a window of 2 reach 2 tokens back.
        let one = last(model.as_ref(), &Batch::new(&[[1, 2, 3, 4]], 0).unwrap());
        let other = last(model.as_ref(), &Batch::new(&[[9, 2, 3, 4]], 0).unwrap());
        close(&one, &other, 1e-6);
        let seen = last(model.as_ref(), &Batch::new(&[[1, 9, 3, 4]], 0).unwrap());
        assert!(one.iter().zip(&seen).any(|(a, b)| (a - b).abs() > 1e-4));
    }

    #[test]
    fn a_cache_changes_nothing() {
        let mut windowed = tiny();
        windowed.windows = vec![Some(3), None];
        for config in [tiny(), windowed] {
            let model = build(config);
            let rows = [vec![3, 1, 4, 1, 5, 9, 2], vec![2, 7, 1, 8, 2]];
            let whole = last(model.as_ref(), &Batch::new(&rows, 0).unwrap());
            // The first tokens at once, of different number in each row, the others one by one.
            let mut cache = KvCache::new(2);
            let run = |batch: &Batch, cache: &mut KvCache| {
                let pass = model.pass(batch, Some(cache)).unwrap();
                let mut hidden = model.embed(batch).unwrap();
                for i in 0..2 {
                    hidden = model.layer(i, hidden, &pass, None, Some(cache)).unwrap();
                }
                let rows = model.final_norm(take_tokens(hidden, &batch.last_tokens()).unwrap());
                to_vec(model.logits(rows).unwrap()).unwrap()
            };
            run(&Batch::new(&[&rows[0][..4], &rows[1][..2]], 0).unwrap(), &mut cache);
            run(&cache.next_batch(&[5, 1]).unwrap(), &mut cache);
            run(&cache.next_batch(&[9, 8]).unwrap(), &mut cache);
            let mut kept = cache.clone();
            let stepwise = run(&cache.next_batch(&[2, 2]).unwrap(), &mut cache);
            close(&stepwise, &whole, 1e-5);
            assert_eq!(cache.lengths(), [7, 5]);
            kept.keep_rows(&[1]).unwrap();
            close(&run(&kept.next_batch(&[2]).unwrap(), &mut kept), &whole[50..], 1e-5);
            assert!(model.pass(&Batch::new(&[[1], [1]], 0).unwrap(), Some(&mut cache)).is_err());
        }
    }

    #[test]
    fn gradients_of_an_adapter_are_those_of_its_loss() {
        let model = build(tiny());
        let device = Device::cpu();
        let path = "model.layers.0.self_attn.v_proj";
        let value = |i: usize| ((i * 7 % 11) as f32 - 5.0) / 20.0;
        let pair = |shift: f32, at: usize| {
            let a = device.tensor((0..2 * 16).map(value).collect(), [2, 16]).unwrap();
            let mut b: Vec<f32> = (0..8 * 2).map(value).collect();
            b[at] += shift;
            LoraPair { a, b: device.tensor(b, [8, 2]).unwrap() }
        };
        let batch = Batch::new(&[vec![3, 1, 4, 1], vec![5, 9]], 0).unwrap();
        let lora = |pair: LoraPair| {
            LoraWeights { modules: BTreeMap::from([(path.to_string(), pair)]), scaling: 2.0, dropout: None }
                .with_dropout(0.2, Seed(5))
        };
        let loss = |lora: &LoraWeights, lift: bool| {
            let pass = model.pass(&batch, None).unwrap();
            let mut hidden = model.embed(&batch).unwrap();
            if lift {
                hidden = lifted(hidden);
            }
            for i in 0..2 {
                hidden = model.layer(i, hidden, &pass, Some(lora), None).unwrap();
            }
            let rows = model.final_norm(take_tokens(hidden, &batch.last_tokens()).unwrap());
            model.logits(rows).unwrap().powi_scalar(2).mean()
        };
        let trainable = lora(pair(0.0, 0)).map(|_, t| lifted(t).require_grad());
        let gradients = loss(&trainable, true).backward();
        let mut gradient = Vec::new();
        let _ = trainable.map(|name, tensor| {
            if name == key_b(path) {
                gradient = to_vec(tensor.grad(&gradients).unwrap()).unwrap();
            }
            tensor
        });
        for at in [0, 5, 15] {
            let plain = |shift| f64::from(to_vec(loss(&lora(pair(shift, at)), false)).unwrap()[0]);
            let slope = (plain(1e-2) - plain(-1e-2)) / 2e-2;
            assert!((f64::from(gradient[at]) - slope).abs() < 1e-2 * slope.abs().max(0.1), "{} {slope}", gradient[at]);
        }
    }

    #[test]
    fn every_weight_can_be_made_trainable() {
        let model = build(tiny());
        let mut names = Vec::new();
        let trainable = model
            .map_weights(&mut |name, weight| {
                names.push(name.to_string());
                weight.map(|m| lifted(m).require_grad(), |v| lifted(v).require_grad())
            })
            .unwrap();
        let mut expected: Vec<String> = tiny().weight_shapes().into_iter().map(|(name, _)| name).collect();
        expected.sort();
        names.sort();
        assert_eq!(names, expected);
        let batch = Batch::new(&[[1, 2, 3]], 0).unwrap();
        let hidden = hidden_states(trainable.as_ref(), &batch, None).unwrap();
        let rows = trainable.final_norm(take_tokens(hidden, &[2]).unwrap());
        let gradients = trainable.logits(rows).unwrap().powi_scalar(2).mean().backward();
        let mut without = Vec::new();
        let _ = trainable.map_weights(&mut |name, weight| {
            let some = match &weight {
                Weight::Matrix(m) => m.grad(&gradients).is_some(),
                Weight::Vector(v) => v.grad(&gradients).is_some(),
            };
            if !some {
                without.push(name.to_string());
            }
            weight
        });
        assert!(without.is_empty(), "{without:?}");
        let misfit = model.map_weights(&mut |_, weight| weight.map(|m| m.transpose(), |v| v)).unwrap_err();
        assert!(misfit.to_string().contains("model.embed_tokens.weight"), "{misfit}");
    }

    #[test]
    fn bad_weights_are_named() {
        let config = ModelConfig::Llama(tiny());
        let mut weights = InMemoryWeights::random(&config, Seed(1)).unwrap();
        let name = "model.layers.1.mlp.up_proj.weight";
        let tensor = weights.tensors_mut().remove(name).unwrap();
        let error = config.build(&weights, &Device::cpu()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        let shape = vec![tensor.shape[1], tensor.shape[0]];
        weights.tensors_mut().insert(name.into(), crate::model::WeightData { shape, data: tensor.data });
        let error = config.build(&weights, &Device::cpu()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("[42, 16]") && error.contains("[16, 42]"), "{error}");
    }

    #[test]
    fn bad_input_is_an_error() {
        let model = build(tiny());
        let batch = Batch::new(&[[1, 2]], 0).unwrap();
        assert!(model.embed(&Batch::new(&[[50]], 0).unwrap()).is_err());
        let pass = model.pass(&batch, None).unwrap();
        let hidden = model.embed(&batch).unwrap();
        assert!(model.layer(2, hidden.clone(), &pass, None, None).is_err());
        assert!(model.layer(0, hidden.narrow(1, 0, 1), &pass, None, None).is_err());
    }
}
