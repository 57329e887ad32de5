//! GPT-2.

use super::json::Json;
use crate::error::{Error, Result};
use crate::model::activation::Activation;

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
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_inner", self.n_inner),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, "at least 1", 0));
            }
        }
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
            n_inner: json.usize_opt("n_inner")?.unwrap_or(4 * n_embd),
            activation: Activation::from_json(json, "activation_function", Activation::GeluNew)?,
            layer_norm_epsilon: json.f64_opt("layer_norm_epsilon")?.unwrap_or(1e-5),
            tie_word_embeddings: json.bool_or("tie_word_embeddings", true)?,
            initializer_range: json.f64_opt("initializer_range")?.unwrap_or(0.02) as f32,
        };
        config.check().map_err(|e| json.of_parameter(e))?;
        Ok(config)
    }

    /// Every weight with its shape, `[in, out]` for linear layers.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.n_embd, self.n_inner);
        let mut shapes = vec![
            ("transformer.wte.weight".into(), vec![self.vocab_size, hidden]),
            ("transformer.wpe.weight".into(), vec![self.n_positions, hidden]),
        ];
        for layer in 0..self.n_layer {
            let path = |name: &str| format!("transformer.h.{layer}.{name}");
            for (name, input, output) in [
                ("attn.c_attn", hidden, 3 * hidden),
                ("attn.c_proj", hidden, hidden),
                ("mlp.c_fc", hidden, inner),
                ("mlp.c_proj", inner, hidden),
            ] {
                shapes.push((path(&format!("{name}.weight")), vec![input, output]));
                shapes.push((path(&format!("{name}.bias")), vec![output]));
            }
            for name in ["ln_1", "ln_2"] {
                shapes.push((path(&format!("{name}.weight")), vec![hidden]));
                shapes.push((path(&format!("{name}.bias")), vec![hidden]));
            }
        }
        shapes.push(("transformer.ln_f.weight".into(), vec![hidden]));
        shapes.push(("transformer.ln_f.bias".into(), vec![hidden]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".into(), vec![self.vocab_size, hidden]));
        }
        shapes
    }
}
