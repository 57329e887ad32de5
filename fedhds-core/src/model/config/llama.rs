//! The Llama family: Llama 2 and 3, OpenLLaMA, TinyLlama, SmolLM, Mistral, Qwen2.

use super::json::Json;
use super::names::{LinearShape, Module, Names, Prefix, Shapes, WeightLayout};
use super::rope::{RopeConfig, RopeScaling};
use super::sizes::{MOST_LAYERS, check_layers, check_sizes, check_small};
use crate::error::{Error, Result};
use serde_json::Value;

pub(crate) const EMBEDDING: Module = Module::new("model.embed_tokens", "token_embd");
pub(crate) const NORM: Module = Module::new("model.norm", "output_norm");
pub(crate) const OUTPUT: Module = Module::new("lm_head", "output");

pub(crate) const INPUT_NORM: Module = Module::new("input_layernorm", "attn_norm");
pub(crate) const QUERY: Module = Module::new("self_attn.q_proj", "attn_q");
pub(crate) const KEY: Module = Module::new("self_attn.k_proj", "attn_k");
const VALUE: Module = Module::new("self_attn.v_proj", "attn_v");
const ATTENTION_OUTPUT: Module = Module::new("self_attn.o_proj", "attn_output");
pub(crate) const POST_NORM: Module = Module::new("post_attention_layernorm", "ffn_norm");
const GATE: Module = Module::new("mlp.gate_proj", "ffn_gate");
const UP: Module = Module::new("mlp.up_proj", "ffn_up");
const DOWN: Module = Module::new("mlp.down_proj", "ffn_down");

const LINEARS: &[Module] = &[QUERY, KEY, VALUE, ATTENTION_OUTPUT, GATE, UP, DOWN];

/// The names of the Llama family.
pub(crate) const NAMES: Names = Names {
    layers: "model.layers",
    linears: LINEARS,
    norms: &[INPUT_NORM, POST_NORM],
    outside: &[EMBEDDING, NORM, OUTPUT],
    default_targets: LINEARS,
    layout: WeightLayout::OutIn,
    prefix: Prefix::Carried("model."),
};

/// Sizes and switches of a model of the Llama family.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads; a multiple of `num_key_value_heads`.
    pub num_attention_heads: usize,
    /// Number of key and value heads (grouped-query attention where fewer than the query heads).
    pub num_key_value_heads: usize,
    /// Width of one head, even; `hidden_size / num_attention_heads` where the file does not say.
    pub head_dim: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Biases on q, k and v (Qwen2; Llama with `attention_bias`).
    pub qkv_bias: bool,
    /// Bias on the attention's output projection (Llama with `attention_bias`).
    pub output_bias: bool,
    /// Biases in the feed-forward layer.
    pub mlp_bias: bool,
    /// How many tokens back each layer sees, itself included; `None` is all of them.
    pub windows: Vec<Option<usize>>,
    /// Standard deviation of freshly initialised matrices.
    pub initializer_range: f32,
}

impl LlamaConfig {
    /// A plain Llama of these sizes: tied embeddings, no biases, RoPE theta 10,000, no grouped queries.
    pub fn new(vocab_size: usize, hidden_size: usize, layers: usize, heads: usize) -> Self {
        Self {
            vocab_size,
            hidden_size,
            intermediate_size: hidden_size.saturating_mul(8) / 3,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: hidden_size.checked_div(heads).unwrap_or(0),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-5,
            rope: RopeConfig::default(),
            tie_word_embeddings: true,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            // One more than any model may have is refused as well as a billion.
            windows: vec![None; layers.min(MOST_LAYERS + 1)],
            initializer_range: 0.02,
        }
    }

    /// Checks the sizes against each other.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the first that does not fit.
    pub fn check(&self) -> Result<()> {
        check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        check_small("rms_norm_eps", self.rms_norm_eps)?;
        check_small("initializer_range", f64::from(self.initializer_range))?;
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let expected = format!("a divisor of num_attention_heads, {}", self.num_attention_heads);
            return Err(Error::parameter("num_key_value_heads", expected, self.num_key_value_heads));
        }
        check_sizes(&[("head_dim", self.head_dim)])?;
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::parameter("head_dim", "an even number, at least 2", self.head_dim));
        }
        if self.windows.len() != self.num_hidden_layers || self.windows.contains(&Some(0)) {
            let expected = format!("one positive window or none for each of {} layers", self.num_hidden_layers);
            return Err(Error::parameter("windows", expected, format!("{} of them", self.windows.len())));
        }
        self.rope.check()
    }

    pub(super) fn from_json(json: &Json<'_>, model_type: &str) -> Result<Self> {
        let hidden_size = json.positive("hidden_size")?;
        let heads = json.positive("num_attention_heads")?;
        let layers = json.positive("num_hidden_layers")?;
        check_layers("num_hidden_layers", layers).map_err(|e| json.of_parameter(e))?;
        let max_position_embeddings = json.usize_opt("max_position_embeddings")?.unwrap_or(2048);
        match json.str_opt("hidden_act")?.unwrap_or("silu") {
            "silu" | "swish" => {}
            other => return Err(json.error("hidden_act", format!("expected `silu`, got `{other}`"))),
        }
        if let Some(factor) = json.f64_opt("partial_rotary_factor")?
            && factor != 1.0
        {
            return Err(json.error("partial_rotary_factor", format!("expected 1, got {factor}")));
        }
        // Qwen2's code has the biases without a switch; Llama's and Mistral's have `attention_bias` for all four.
        let attention_bias = json.bool_or("attention_bias", false)?;
        let config = Self {
            vocab_size: json.positive("vocab_size")?,
            hidden_size,
            intermediate_size: json.positive("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: json.usize_opt("num_key_value_heads")?.unwrap_or(heads),
            head_dim: json.usize_opt("head_dim")?.unwrap_or(hidden_size / heads),
            max_position_embeddings,
            rms_norm_eps: json.f64_opt("rms_norm_eps")?.unwrap_or(1e-6),
            rope: rope(json, max_position_embeddings)?,
            tie_word_embeddings: json.bool_or("tie_word_embeddings", false)?,
            qkv_bias: attention_bias || model_type == "qwen2",
            output_bias: attention_bias && model_type != "qwen2",
            mlp_bias: json.bool_or("mlp_bias", false)?,
            windows: windows(json, model_type, layers)?,
            initializer_range: json.f64_opt("initializer_range")?.unwrap_or(0.02) as f32,
        };
        config.check().map_err(|e| json.of_parameter(e))?;
        Ok(config)
    }

    /// The linear layers of each layer: q, k, v, o, gate, up, down.
    pub(crate) fn linears(&self) -> [LinearShape; 7] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        [
            LinearShape::new(QUERY, hidden, queries, self.qkv_bias),
            LinearShape::new(KEY, hidden, keys, self.qkv_bias),
            LinearShape::new(VALUE, hidden, keys, self.qkv_bias),
            LinearShape::new(ATTENTION_OUTPUT, queries, hidden, self.output_bias),
            LinearShape::new(GATE, hidden, inner, self.mlp_bias),
            LinearShape::new(UP, hidden, inner, self.mlp_bias),
            LinearShape::new(DOWN, inner, hidden, self.mlp_bias),
        ]
    }

    /// Every weight with its shape, `[out, in]` for linear layers.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        shapes.table(EMBEDDING, [self.vocab_size, self.hidden_size]);
        for layer in 0..self.num_hidden_layers {
            shapes.layer(&NAMES, layer, &self.linears(), self.hidden_size, false);
        }
        shapes.norm(NORM.name, self.hidden_size, false);
        if !self.tie_word_embeddings {
            shapes.table(OUTPUT, [self.vocab_size, self.hidden_size]);
        }
        shapes.0
    }
}

/// `rope_theta` and `rope_scaling` of older files, `rope_parameters` of newer ones: one for all layers, or one for each kind of layer. As in
/// transformers, `rope_scaling` counts where a file has both.
fn rope(json: &Json<'_>, max_positions: usize) -> Result<RopeConfig> {
    let theta = json.f64_opt("rope_theta")?.unwrap_or(1e4);
    let scaling = json.object("rope_scaling")?.filter(|object| !object.is_empty());
    let (key, object) = match scaling {
        Some(object) => ("rope_scaling", Some(object)),
        None => ("rope_parameters", json.object("rope_parameters")?),
    };
    let Some(object) = object else { return Ok(RopeConfig { theta, scaling: RopeScaling::None }) };
    let kinds = object.objects();
    if kinds.is_empty() {
        return rope_of(&object, theta, max_positions);
    }
    // Nested by kind of layer: those that no layer has do not count.
    let types = json.get("layer_types").and_then(Value::as_array);
    let used = |kind: &str| types.is_none_or(|types| types.iter().any(|t| t.as_str() == Some(kind)));
    let mut found: Option<(&str, RopeConfig)> = None;
    for (kind, of_kind) in kinds.iter().filter(|(kind, _)| used(kind)) {
        let rope = rope_of(of_kind, theta, max_positions)?;
        match &found {
            Some((first, other)) if *other != rope => {
                let message = format!(
                    "expected the same for every kind of layer, got others for `{first}` and `{kind}`: not supported"
                );
                return Err(json.error(key, message));
            }
            _ => found = Some((kind, rope)),
        }
    }
    let (_, rope) =
        found.ok_or_else(|| json.error(key, "expected an entry for a kind of layer that the model has".into()))?;
    Ok(rope)
}

/// The rotation that one object describes.
fn rope_of(object: &Json<'_>, theta: f64, max_positions: usize) -> Result<RopeConfig> {
    let theta = object.f64_opt("rope_theta")?.unwrap_or(theta);
    if let Some(factor) = object.f64_opt("partial_rotary_factor")?
        && factor != 1.0
    {
        return Err(object.error("partial_rotary_factor", format!("expected 1, got {factor}")));
    }
    let kind = match object.str_opt("rope_type")? {
        Some(kind) => kind,
        None => object.str_opt("type")?.unwrap_or("default"),
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: object.f64("factor")? },
        "dynamic" => RopeScaling::Dynamic { factor: object.f64("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: object.f64("factor")?,
            low_freq_factor: object.f64("low_freq_factor")?,
            high_freq_factor: object.f64("high_freq_factor")?,
            original_max_position_embeddings: object
                .usize_opt("original_max_position_embeddings")?
                .unwrap_or(max_positions),
        },
        other => {
            let message = format!("expected default, linear, dynamic or llama3, got `{other}`");
            return Err(object.error("rope_type", message));
        }
    };
    Ok(RopeConfig { theta, scaling })
}

/// Which layers see only a window: all of Mistral's, Qwen2's from `max_window_layers` on where it is switched on, or those
/// that `layer_types` names.
fn windows(json: &Json<'_>, model_type: &str, layers: usize) -> Result<Vec<Option<usize>>> {
    let mut window = json.usize_opt("sliding_window")?;
    let mut first = 0;
    match model_type {
        "mistral" => {}
        "qwen2" => {
            if !json.bool_or("use_sliding_window", false)? {
                window = None;
            }
            first = json.usize_opt("max_window_layers")?.unwrap_or(28);
        }
        _ => window = None,
    }
    if let Some(window) = window {
        check_sizes(&[("sliding_window", window)]).map_err(|e| json.of_parameter(e))?;
    }
    if let Some(types) = json.get("layer_types")
        && window.is_some()
    {
        let types: Vec<&str> =
            types.as_array().map(|a| a.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        if types.len() != layers {
            return Err(json.error("layer_types", format!("expected {layers} names, got {}", types.len())));
        }
        return types
            .into_iter()
            .map(|name| match name {
                "full_attention" => Ok(None),
                "sliding_attention" => Ok(window),
                other => {
                    let message = format!("expected full_attention or sliding_attention, got `{other}`");
                    Err(json.error("layer_types", message))
                }
            })
            .collect();
    }
    Ok((0..layers).map(|layer| if layer >= first { window } else { None }).collect())
}
