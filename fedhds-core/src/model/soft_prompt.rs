//! Soft prompts: trained vectors in front of a text's embeddings, while the model stays as it is.
//!
//! - Prompt tuning (Lester et al. 2021, arXiv 2104.08691): the vectors themselves are trained.
//! - P-tuning (Liu et al. 2021, arXiv 2103.10385): a small network makes the vectors, and its weights are trained.
//!
//! They are adapters like any other: `target_modules = ["prompt_tuning"]` or `["p_tuning"]`, and `r` vectors.

use super::batch::Batch;
use super::cache::KvCache;
use super::device::Device;
use super::lora::LoraWeights;
use super::pass::Pass;
use super::spec::ModelSpec;
use super::tensor::{Tensor, like, plain, to_vec};
use super::transformer::{Transformer, Weight};
use super::{Example, LanguageModel};
use crate::error::{Error, Result};
use crate::types::{Adapter, AdapterConfig, AdapterKind, AdapterTensor, Seed};
use rand::RngExt as _;
use rand_distr::StandardNormal;
use std::collections::BTreeMap;

/// The vectors, `[r, hidden]`; also PEFT's name.
pub const PROMPT: &str = "prompt_embeddings";
/// What the network of P-tuning makes vectors of, `[r, hidden]`.
const INPUT: &str = "prompt_encoder.embedding.weight";
/// Its three layers, PEFT's names and sizes: `[hidden, hidden]` and `[1, hidden]` each, a ReLU between two.
const LAYERS: [(&str, &str); 3] = [
    ("prompt_encoder.mlp_head.0.weight", "prompt_encoder.mlp_head.0.bias"),
    ("prompt_encoder.mlp_head.2.weight", "prompt_encoder.mlp_head.2.bias"),
    ("prompt_encoder.mlp_head.4.weight", "prompt_encoder.mlp_head.4.bias"),
];
/// What stands in a batch in the place of a vector: any id of the vocabulary.
const PLACEHOLDER: u32 = 0;

/// The trained tensors of a soft prompt on a device.
#[derive(Debug, Clone)]
pub struct SoftPrompt {
    tensors: BTreeMap<String, Tensor<2>>,
}

/// Names and shapes of the tensors of a soft prompt for a model of this width; none for low-rank factors.
pub(crate) fn shapes(config: &AdapterConfig, hidden: usize) -> Option<BTreeMap<String, [usize; 2]>> {
    let vectors = [config.r, hidden];
    match config.kind() {
        AdapterKind::LowRank => None,
        AdapterKind::PromptTuning => Some(BTreeMap::from([(PROMPT.to_owned(), vectors)])),
        AdapterKind::PTuning => {
            let layers = LAYERS.iter().flat_map(|(weight, bias)| [(*weight, [hidden; 2]), (*bias, [1, hidden])]);
            let all = layers.chain([(INPUT, vectors)]);
            Some(all.map(|(name, shape)| (name.to_owned(), shape)).collect())
        }
    }
}

/// Whether these are the tensors of a soft prompt, by name and shape.
///
/// # Errors
/// [`Error::Adapter`] that names the first tensor which is missing, of another shape, or one too many.
pub(crate) fn check(adapter: &Adapter, shapes: &BTreeMap<String, [usize; 2]>) -> Result<()> {
    for (name, shape) in shapes {
        match adapter.tensors.get(name) {
            None => return Err(Error::adapter(name, format!("a tensor of shape {shape:?}"), "no such tensor")),
            Some(tensor) if tensor.shape != *shape || tensor.data.len() != shape[0] * shape[1] => {
                return Err(Error::adapter(name, format!("shape {shape:?}"), format!("shape {:?}", tensor.shape)));
            }
            Some(_) => {}
        }
    }
    match adapter.tensors.keys().find(|name| !shapes.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let names: Vec<&str> = shapes.keys().map(String::as_str).collect();
            Err(Error::adapter(name, format!("one of {}", names.join(", ")), "this name"))
        }
    }
}

impl SoftPrompt {
    /// An adapter's tensors on a device, checked against the model.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first tensor that is missing, of another shape, or one too many.
    pub fn from_adapter(adapter: &Adapter, spec: &ModelSpec, device: &Device) -> Result<Self> {
        Self::of_width(adapter, spec.hidden_size, device)
    }

    /// The same for hidden states of this width.
    pub(crate) fn of_width(adapter: &Adapter, hidden: usize, device: &Device) -> Result<Self> {
        let Some(shapes) = shapes(&adapter.config, hidden) else {
            let got = adapter.config.target_modules.join(", ");
            return Err(Error::adapter("target_modules", "a soft prompt", got));
        };
        check(adapter, &shapes)?;
        let tensor = |(name, tensor): (&String, &AdapterTensor)| {
            Ok((name.clone(), device.tensor(tensor.data.clone(), tensor.shape)?))
        };
        Ok(Self { tensors: adapter.tensors.iter().map(tensor).collect::<Result<_>>()? })
    }

    /// The values as an adapter with these settings.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub fn to_adapter(&self, config: &AdapterConfig) -> Result<Adapter> {
        let tensor = |(name, tensor): (&String, &Tensor<2>)| {
            Ok((name.clone(), AdapterTensor { shape: tensor.dims(), data: to_vec(plain(tensor.clone()))? }))
        };
        let tensors = self.tensors.iter().map(tensor).collect::<Result<_>>()?;
        Ok(Adapter { config: config.clone(), tensors })
    }

    /// The same with each tensor replaced; `f` is given the names of [`Adapter::tensors`].
    #[must_use]
    pub fn map(&self, mut f: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self {
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), f(name, tensor.clone())));
        Self { tensors: tensors.collect() }
    }

    /// The vectors that stand in front of a text's embeddings, `[r, hidden]`.
    ///
    /// # Errors
    /// [`Error::Adapter`] for a tensor that is missing.
    pub fn vectors(&self) -> Result<Tensor<2>> {
        let fetch = |name: &str| {
            self.tensors.get(name).cloned().ok_or_else(|| Error::adapter(name, "a tensor of a soft prompt", "none"))
        };
        let Some(input) = self.tensors.get(INPUT) else { return fetch(PROMPT) };
        let mut x = input.clone();
        for (at, (weight, bias)) in LAYERS.iter().enumerate() {
            if at > 0 {
                x = burn::tensor::activation::relu(x);
            }
            let [rows, _] = x.dims();
            x = x.matmul(fetch(weight)?.transpose()) + fetch(bias)?.repeat_dim(0, rows);
        }
        Ok(x)
    }
}

/// A fresh soft prompt. Prompt tuning begins with the embeddings of tokens drawn from the vocabulary, which Lester et al. found better than
/// random vectors; P-tuning as PEFT does, with normal inputs and PyTorch's layers, uniform in (-1/sqrt(hidden), 1/sqrt(hidden)).
///
/// # Errors
/// [`Error::Parameter`] for a setting out of range; [`Error::Adapter`] for settings of low-rank factors.
pub fn init_soft_prompt(config: &AdapterConfig, model: &dyn Transformer, seed: Seed) -> Result<Adapter> {
    config.check()?;
    let spec = model.spec();
    let Some(shapes) = shapes(config, spec.hidden_size) else {
        return Err(Error::adapter("target_modules", "a soft prompt", config.target_modules.join(", ")));
    };
    if config.r >= spec.max_positions {
        let expected = format!("fewer vectors than the model's {} positions", spec.max_positions);
        return Err(Error::parameter("r", expected, config.r));
    }
    let bound = 1.0 / (spec.hidden_size as f32).sqrt();
    let tensor = |(name, shape): (String, [usize; 2])| {
        let mut rng = seed.derive(&name, 0).rng();
        let data = match name.as_str() {
            PROMPT => {
                let ids: Vec<u32> = (0..shape[0]).map(|_| rng.random_range(0..spec.vocab_size as u32)).collect();
                to_vec(plain(model.token_embeddings(&ids)?))?
            }
            INPUT => (0..shape[0] * shape[1]).map(|_| rng.sample(StandardNormal)).collect(),
            _ => (0..shape[0] * shape[1]).map(|_| rng.random_range(-bound..bound)).collect(),
        };
        Ok((name, AdapterTensor { shape, data }))
    };
    let tensors = shapes.into_iter().map(tensor).collect::<Result<_>>()?;
    Ok(Adapter { config: config.clone(), tensors })
}

/// A model with vectors in front of every sequence. A batch holds as many placeholders before its tokens ([`placed`]), so that positions,
/// masks and caches are those of the longer sequence.
#[derive(Debug)]
pub struct Prompted<'a> {
    model: &'a dyn Transformer,
    /// `[r, hidden]`, plain or on the autodiff side.
    vectors: Tensor<2>,
}

/// Tokens with room for so many vectors before them.
pub fn placed(tokens: &[u32], vectors: usize) -> Vec<u32> {
    let mut all = vec![PLACEHOLDER; vectors];
    all.extend_from_slice(tokens);
    all
}

impl<'a> Prompted<'a> {
    /// A model behind these vectors, `[r, hidden]`.
    pub fn new(model: &'a dyn Transformer, vectors: Tensor<2>) -> Self {
        Self { model, vectors }
    }
}

impl Transformer for Prompted<'_> {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn pass(&self, batch: &Batch, cache: Option<&mut KvCache>) -> Result<Pass> {
        self.model.pass(batch, cache)
    }

    /// The vectors in the place of the placeholders; tokens that continue a cache stand behind them.
    fn embed(&self, batch: &Batch) -> Result<Tensor<3>> {
        let embedded = like(self.model.embed(batch)?, &self.vectors);
        let [count, hidden] = self.vectors.dims();
        if batch.starts().iter().all(|&start| start >= count) {
            return Ok(embedded);
        }
        let [b, t, _] = embedded.dims();
        if t <= count || batch.starts().iter().any(|&start| start > 0) {
            let expected = format!("{count} placeholders and a token, from the start of each sequence");
            return Err(Error::input("batch under a soft prompt", expected, format!("{t} tokens")));
        }
        // Where a family adds positions to the tokens they are added to the vectors too: what embedding a placeholder is more than its row.
        let placeholder = like(self.model.token_embeddings(&[PLACEHOLDER])?, &self.vectors);
        let rest = embedded.clone().narrow(1, count, t - count);
        let positions =
            embedded.narrow(1, 0, count) - placeholder.reshape([1, 1, hidden]).repeat_dim(1, count).repeat_dim(0, b);
        let vectors = self.vectors.clone().reshape([1, count, hidden]).repeat_dim(0, b);
        Ok(Tensor::cat(vec![vectors + positions, rest], 1))
    }

    fn token_embeddings(&self, ids: &[u32]) -> Result<Tensor<2>> {
        self.model.token_embeddings(ids)
    }

    fn layer(
        &self,
        index: usize,
        hidden: Tensor<3>,
        pass: &Pass,
        lora: Option<&LoraWeights>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        self.model.layer(index, hidden, pass, lora, cache)
    }

    fn final_norm(&self, rows: Tensor<2>) -> Tensor<2> {
        self.model.final_norm(rows)
    }

    fn logits(&self, rows: Tensor<2>) -> Result<Tensor<2>> {
        self.model.logits(rows)
    }

    fn map_weights(&self, _f: &mut dyn FnMut(&str, Weight) -> Weight) -> Result<Box<dyn Transformer>> {
        Err(Error::input("model", "one without a soft prompt, whose weights can be replaced", "one with a soft prompt"))
    }
}

/// A model with an adapter of any kind, as evaluation and generation run it.
#[derive(Debug)]
pub struct Tuned<'a> {
    model: &'a dyn Transformer,
    lora: Option<LoraWeights>,
    prompted: Option<Prompted<'a>>,
    vectors: usize,
}

impl<'a> Tuned<'a> {
    /// A model with this adapter; without one, as it is.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first tensor that does not fit the model.
    pub fn new(model: &'a dyn Transformer, adapter: Option<&Adapter>) -> Result<Self> {
        let (spec, device) = (model.spec(), model.device());
        let (mut lora, mut prompted, mut vectors) = (None, None, 0);
        match adapter {
            Some(adapter) if adapter.config.kind() == AdapterKind::LowRank => {
                lora = Some(LoraWeights::from_adapter(adapter, spec, &device)?);
            }
            Some(adapter) => {
                prompted = Some(Prompted::new(model, SoftPrompt::from_adapter(adapter, spec, &device)?.vectors()?));
                vectors = adapter.config.r;
            }
            None => {}
        }
        Ok(Self { model, lora, prompted, vectors })
    }

    /// What is run.
    pub fn model(&self) -> &dyn Transformer {
        match &self.prompted {
            Some(prompted) => prompted,
            None => self.model,
        }
    }

    /// The low-rank factors that it is run with.
    pub fn lora(&self) -> Option<&LoraWeights> {
        self.lora.as_ref()
    }

    /// Tokens as [`model`](Self::model) reads them.
    pub fn tokens(&self, tokens: &[u32]) -> Vec<u32> {
        placed(tokens, self.vectors)
    }

    /// Examples as [`model`](Self::model) reads them.
    pub fn examples(&self, mut examples: Vec<Example>) -> Vec<Example> {
        if self.vectors > 0 {
            for example in &mut examples {
                example.ids = self.tokens(&example.ids);
                example.response_start += self.vectors;
            }
        }
        examples
    }
}

impl LanguageModel {
    /// The model with an adapter of any kind.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first tensor that does not fit the model.
    pub fn tuned(&self, adapter: Option<&Adapter>) -> Result<Tuned<'_>> {
        Tuned::new(self.transformer.as_ref(), adapter)
    }
}
