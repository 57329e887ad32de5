//! BERT, as an encoder.

use super::json::Json;
use crate::error::{Error, Result};
use crate::model::activation::Activation;

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
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("type_vocab_size", self.type_vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, "at least 1", 0));
            }
        }
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

    /// Every weight with its shape, `[out, in]` for linear layers.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("embeddings.word_embeddings.weight".into(), vec![self.vocab_size, hidden]),
            ("embeddings.position_embeddings.weight".into(), vec![self.max_position_embeddings, hidden]),
            ("embeddings.token_type_embeddings.weight".into(), vec![self.type_vocab_size, hidden]),
        ];
        let mut norms = vec!["embeddings.LayerNorm".to_string()];
        for layer in 0..self.num_hidden_layers {
            let path = |name: &str| format!("encoder.layer.{layer}.{name}");
            for (name, input, output) in [
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", hidden, inner),
                ("output.dense", inner, hidden),
            ] {
                shapes.push((path(&format!("{name}.weight")), vec![output, input]));
                shapes.push((path(&format!("{name}.bias")), vec![output]));
            }
            norms.extend([path("attention.output.LayerNorm"), path("output.LayerNorm")]);
        }
        for norm in norms {
            shapes.push((format!("{norm}.weight"), vec![hidden]));
            shapes.push((format!("{norm}.bias"), vec![hidden]));
        }
        shapes
    }
}
