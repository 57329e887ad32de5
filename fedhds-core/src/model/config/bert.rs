//! BERT, as an encoder.

use super::activation::Activation;
use super::json::Json;
use super::names::{LinearShape, Module, Names, Prefix, Shapes, WeightLayout};
use super::sizes::{check_layers, check_sizes, check_small};
use crate::error::{Error, Result};

pub(crate) const WORDS: Module = Module::new("embeddings.word_embeddings", "token_embd");
pub(crate) const POSITIONS: Module = Module::new("embeddings.position_embeddings", "position_embd");
pub(crate) const TYPES: Module = Module::new("embeddings.token_type_embeddings", "token_types");
pub(crate) const NORM: Module = Module::new("embeddings.LayerNorm", "token_embd_norm");

const QUERY: Module = Module::new("attention.self.query", "attn_q");
const KEY: Module = Module::new("attention.self.key", "attn_k");
const VALUE: Module = Module::new("attention.self.value", "attn_v");
const ATTENTION_OUTPUT: Module = Module::new("attention.output.dense", "attn_output");
pub(crate) const ATTENTION_NORM: Module = Module::new("attention.output.LayerNorm", "attn_output_norm");
const WIDEN: Module = Module::new("intermediate.dense", "ffn_up");
const NARROW: Module = Module::new("output.dense", "ffn_down");
pub(crate) const OUTPUT_NORM: Module = Module::new("output.LayerNorm", "layer_output_norm");

/// The names of BERT.
pub(crate) const NAMES: Names = Names {
    layers: "encoder.layer",
    linears: &[QUERY, KEY, VALUE, ATTENTION_OUTPUT, WIDEN, NARROW],
    norms: &[ATTENTION_NORM, OUTPUT_NORM],
    outside: &[WORDS, POSITIONS, TYPES, NORM],
    default_targets: &[QUERY, VALUE],
    layout: WeightLayout::OutIn,
    prefix: Prefix::Added("bert."),
};

/// Sizes of a BERT model.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Number of token types (segments).
    pub type_vocab_size: usize,
    /// Longest sequence, in tokens: the learned positions.
    pub max_position_embeddings: usize,
    /// Width of the hidden states; a multiple of `num_attention_heads`.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads.
    pub num_attention_heads: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Standard deviation of freshly initialised matrices.
    pub initializer_range: f32,
}

impl BertConfig {
    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the first that does not fit.
    pub fn check(&self) -> Result<()> {
        check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("type_vocab_size", self.type_vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
        ])?;
        check_small("layer_norm_eps", self.layer_norm_eps)?;
        check_small("initializer_range", f64::from(self.initializer_range))?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of hidden_size, {}", self.hidden_size);
            return Err(Error::parameter("num_attention_heads", expected, self.num_attention_heads));
        }
        Ok(())
    }

    pub(super) fn from_json(json: &Json<'_>) -> Result<Self> {
        match json.str_opt("position_embedding_type")?.unwrap_or("absolute") {
            "absolute" => {}
            other => return Err(json.error("position_embedding_type", format!("expected `absolute`, got `{other}`"))),
        }
        if json.bool_or("is_decoder", false)? {
            return Err(json.error("is_decoder", "expected false: BERT is loaded as an encoder".into()));
        }
        let config = Self {
            vocab_size: json.positive("vocab_size")?,
            type_vocab_size: json.usize_opt("type_vocab_size")?.unwrap_or(2),
            max_position_embeddings: json.usize_opt("max_position_embeddings")?.unwrap_or(512),
            hidden_size: json.positive("hidden_size")?,
            intermediate_size: json.positive("intermediate_size")?,
            num_hidden_layers: json.positive("num_hidden_layers")?,
            num_attention_heads: json.positive("num_attention_heads")?,
            activation: Activation::from_json(json, "hidden_act", Activation::Gelu)?,
            layer_norm_eps: json.f64_opt("layer_norm_eps")?.unwrap_or(1e-12),
            initializer_range: json.f64_opt("initializer_range")?.unwrap_or(0.02) as f32,
        };
        config.check().map_err(|e| json.of_parameter(e))?;
        Ok(config)
    }

    /// The linear layers of each layer: query, key, value, output, and the two of the feed-forward layer.
    pub(crate) fn linears(&self) -> [LinearShape; 6] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        [
            LinearShape::new(QUERY, hidden, hidden, true),
            LinearShape::new(KEY, hidden, hidden, true),
            LinearShape::new(VALUE, hidden, hidden, true),
            LinearShape::new(ATTENTION_OUTPUT, hidden, hidden, true),
            LinearShape::new(WIDEN, hidden, inner, true),
            LinearShape::new(NARROW, inner, hidden, true),
        ]
    }

    /// Every weight with its shape, `[out, in]` for linear layers.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        shapes.table(WORDS, [self.vocab_size, self.hidden_size]);
        shapes.table(POSITIONS, [self.max_position_embeddings, self.hidden_size]);
        shapes.table(TYPES, [self.type_vocab_size, self.hidden_size]);
        shapes.norm(NORM.name, self.hidden_size, true);
        for layer in 0..self.num_hidden_layers {
            shapes.layer(&NAMES, layer, &self.linears(), self.hidden_size, true);
        }
        shapes.0
    }
}
