//! GPT-2.

use super::activation::Activation;
use super::json::Json;
use super::names::{LinearShape, Module, Names, Prefix, Shapes, WeightLayout};
use super::sizes::{check_layers, check_sizes, check_small};
use crate::error::{Error, Result};

pub(crate) const EMBEDDING: Module = Module::new("transformer.wte", "token_embd");
pub(crate) const POSITIONS: Module = Module::new("transformer.wpe", "position_embd");
pub(crate) const NORM: Module = Module::new("transformer.ln_f", "output_norm");
pub(crate) const OUTPUT: Module = Module::new("lm_head", "output");

pub(crate) const NORM_1: Module = Module::new("ln_1", "attn_norm");
const ATTENTION: Module = Module::new("attn.c_attn", "attn_qkv");
const PROJECTION: Module = Module::new("attn.c_proj", "attn_output");
pub(crate) const NORM_2: Module = Module::new("ln_2", "ffn_norm");
const WIDEN: Module = Module::new("mlp.c_fc", "ffn_up");
const NARROW: Module = Module::new("mlp.c_proj", "ffn_down");

/// The names of GPT-2.
pub(crate) const NAMES: Names = Names {
    layers: "transformer.h",
    linears: &[ATTENTION, PROJECTION, WIDEN, NARROW],
    norms: &[NORM_1, NORM_2],
    outside: &[EMBEDDING, POSITIONS, NORM, OUTPUT],
    default_targets: &[ATTENTION],
    layout: WeightLayout::InOut,
    prefix: Prefix::Carried("transformer."),
};

/// Sizes of a GPT-2 model.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Config {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence, in tokens: the learned positions.
    pub n_positions: usize,
    /// Width of the hidden states; a multiple of `n_head`.
    pub n_embd: usize,
    /// Number of layers.
    pub n_layer: usize,
    /// Number of heads.
    pub n_head: usize,
    /// Width of the feed-forward layer.
    pub n_inner: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Added to the variance in layer normalisation.
    pub layer_norm_epsilon: f64,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of freshly initialised matrices.
    pub initializer_range: f32,
}

impl Gpt2Config {
    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the first that does not fit.
    pub fn check(&self) -> Result<()> {
        check_layers("n_layer", self.n_layer)?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_head", self.n_head),
            ("n_inner", self.n_inner),
        ])?;
        check_small("layer_norm_epsilon", self.layer_norm_epsilon)?;
        check_small("initializer_range", f64::from(self.initializer_range))?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(Error::parameter("n_head", format!("a divisor of n_embd, {}", self.n_embd), self.n_head));
        }
        Ok(())
    }

    pub(super) fn from_json(json: &Json<'_>) -> Result<Self> {
        for (key, expected) in
            [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false), ("add_cross_attention", false)]
        {
            let value = json.bool_or(key, expected)?;
            if value != expected {
                return Err(json.error(key, format!("expected {expected}, got {value}")));
            }
        }
        let n_embd = json.positive("n_embd")?;
        let config = Self {
            vocab_size: json.positive("vocab_size")?,
            n_positions: json.usize_opt("n_positions")?.unwrap_or(1024),
            n_embd,
            n_layer: json.positive("n_layer")?,
            n_head: json.positive("n_head")?,
            n_inner: json.usize_opt("n_inner")?.unwrap_or(n_embd.saturating_mul(4)),
            activation: Activation::from_json(json, "activation_function", Activation::GeluNew)?,
            layer_norm_epsilon: json.f64_opt("layer_norm_epsilon")?.unwrap_or(1e-5),
            tie_word_embeddings: json.bool_or("tie_word_embeddings", true)?,
            initializer_range: json.f64_opt("initializer_range")?.unwrap_or(0.02) as f32,
        };
        config.check().map_err(|e| json.of_parameter(e))?;
        Ok(config)
    }

    /// The linear layers of each layer: c_attn (queries, keys and values at once), c_proj, c_fc, c_proj of the feed-forward layer.
    pub(crate) fn linears(&self) -> [LinearShape; 4] {
        let (hidden, inner) = (self.n_embd, self.n_inner);
        [
            LinearShape::new(ATTENTION, hidden, 3 * hidden, true),
            LinearShape::new(PROJECTION, hidden, hidden, true),
            LinearShape::new(WIDEN, hidden, inner, true),
            LinearShape::new(NARROW, inner, hidden, true),
        ]
    }

    /// Every weight with its shape, `[in, out]` for linear layers.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        shapes.table(EMBEDDING, [self.vocab_size, self.n_embd]);
        shapes.table(POSITIONS, [self.n_positions, self.n_embd]);
        for layer in 0..self.n_layer {
            shapes.layer(&NAMES, layer, &self.linears(), self.n_embd, true);
        }
        shapes.norm(NORM.name, self.n_embd, true);
        if !self.tie_word_embeddings {
            shapes.table(OUTPUT, [self.vocab_size, self.n_embd]);
        }
        shapes.0
    }
}
