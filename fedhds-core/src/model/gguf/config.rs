//! The metadata of a GGUF file as the `config.json` that the same model has on the Hugging Face hub.

use super::header::{Header, Value};
use super::quantization::Quantization;
use crate::error::{Error, Result};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// Architectures that can be read, as `general.architecture` spells them. Mistral's files say `llama`.
pub const ARCHITECTURES: [&str; 4] = ["llama", "qwen2", "gpt2", "bert"];

/// Typed look-ups in the metadata, with errors that name file and key.
pub struct Metadata<'a> {
    header: &'a Header,
    path: &'a Path,
}

impl<'a> Metadata<'a> {
    /// Look-ups in `header`, which was read from `path`.
    pub fn new(header: &'a Header, path: &'a Path) -> Self {
        Self { header, path }
    }

    /// An [`Error::Model`] about `key`.
    pub fn error(&self, key: &str, message: impl Into<String>) -> Error {
        Error::model(self.path, key, message)
    }

    fn get<T>(&self, key: &str, kind: &str, convert: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(value) => Ok(Some(value)),
                None => {
                    let got: String = format!("{value:?}").chars().take(80).collect();
                    Err(self.error(key, format!("expected {kind}, got {got}")))
                }
            },
        }
    }

    /// The value of `key`, or an error that it is missing.
    pub fn required<T>(&self, key: &str, value: Result<Option<T>>) -> Result<T> {
        value?.ok_or_else(|| self.error(key, "the key is missing"))
    }

    /// A count; a list of equal counts (one per layer) counts as one.
    pub fn count(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, "a count (the same in every layer)", |value| match value {
            Value::Integer(n) => i32::try_from(*n).ok().and_then(|n| usize::try_from(n).ok()),
            Value::Integers(list) => {
                let first = *list.first()?;
                let first_count = i32::try_from(first).ok().and_then(|n| usize::try_from(n).ok())?;
                list.iter().all(|n| *n == first).then_some(first_count)
            }
            _ => None,
        })
    }

    /// A finite float.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a finite number", |value| match value {
            Value::Float(x) if x.is_finite() => Some(*x),
            Value::Integer(n) => Some(*n as f64),
            _ => None,
        })
    }

    /// A flag.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |value| match value {
            Value::Bool(b) => Some(*b),
            _ => None,
        })
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a text", |value| match value {
            Value::String(s) => Some(s.as_str()),
            _ => None,
        })
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<&'a [String]>> {
        self.get(key, "a list of texts", |value| match value {
            Value::Strings(s) => Some(s.as_slice()),
            _ => None,
        })
    }

    /// A list of integers.
    pub fn integers(&self, key: &str) -> Result<Option<&'a [i64]>> {
        self.get(key, "a list of integers", |value| match value {
            Value::Integers(s) => Some(s.as_slice()),
            _ => None,
        })
    }

    /// A list of floats.
    pub fn floats(&self, key: &str) -> Result<Option<&'a [f32]>> {
        self.get(key, "a list of floats", |value| match value {
            Value::Floats(s) => Some(s.as_slice()),
            _ => None,
        })
    }

    /// `general.architecture`, checked against [`ARCHITECTURES`].
    pub fn architecture(&self) -> Result<&'a str> {
        let key = "general.architecture";
        let name = self.required(key, self.text(key))?;
        if ARCHITECTURES.contains(&name) {
            Ok(name)
        } else {
            Err(self.error(key, format!("expected one of {}, got `{name}`", ARCHITECTURES.join(", "))))
        }
    }

    fn has(&self, tensor: &str) -> bool {
        self.header.tensors.contains_key(tensor)
    }
}

/// Heads of queries and heads of keys and values, each at least 1.
pub fn heads(metadata: &Metadata<'_>, architecture: &str) -> Result<(usize, usize)> {
    let key = format!("{architecture}.attention.head_count");
    let heads = metadata.required(&key, metadata.count(&key))?;
    let key_kv = format!("{architecture}.attention.head_count_kv");
    let heads_kv = metadata.count(&key_kv)?.unwrap_or(heads);
    if heads == 0 || heads_kv == 0 || !heads.is_multiple_of(heads_kv) {
        let message = format!("expected a divisor of the {heads} heads, at least 1, got {heads_kv}");
        return Err(metadata.error(&key_kv, message));
    }
    Ok((heads, heads_kv))
}

/// What `config.json` would say.
///
/// # Errors
/// [`Error::Model`] that names the key: an architecture that cannot be read, a key that is missing or of the wrong kind.
pub fn config_json(header: &Header, path: &Path) -> Result<Json> {
    let m = Metadata::new(header, path);
    let architecture = m.architecture()?;
    let key = |name: &str| format!("{architecture}.{name}");
    let count = |name: &str| m.required(&key(name), m.count(&key(name)));

    let embeddings = header.tensors.get("token_embd.weight");
    let vocabulary = match embeddings.map(|t| t.shape.as_slice()) {
        Some(&[rows, _]) => rows,
        Some(other) => return Err(m.error("token_embd.weight", format!("expected 2 dimensions, got {other:?}"))),
        None => return Err(m.error("token_embd.weight", "the tensor is missing")),
    };
    let hidden = count("embedding_length")?;
    let layers = count("block_count")?;
    let context = count("context_length")?;
    let inner = count("feed_forward_length")?;
    let (heads, heads_kv) = heads(&m, architecture)?;
    if m.count(&key("expert_count"))?.unwrap_or(0) > 0 {
        return Err(m.error(&key("expert_count"), "mixtures of experts cannot be read"));
    }

    let mut config = Map::new();
    let mut set = |name: &str, value: Json| {
        config.insert(name.into(), value);
    };
    match architecture {
        "gpt2" => {
            set("model_type", json!("gpt2"));
            set("architectures", json!(["GPT2LMHeadModel"]));
            set("n_embd", json!(hidden));
            set("n_layer", json!(layers));
            set("n_head", json!(heads));
            set("n_positions", json!(context));
            set("n_inner", json!(inner));
            set("activation_function", json!("gelu_new"));
            set("layer_norm_epsilon", json!(m.float(&key("attention.layer_norm_epsilon"))?.unwrap_or(1e-5)));
            set("tie_word_embeddings", json!(!m.has("output.weight")));
        }
        "bert" => {
            let token_types = header.tensors.get("token_types.weight").and_then(|t| t.shape.first()).copied();
            set("model_type", json!("bert"));
            set("architectures", json!(["BertModel"]));
            set("hidden_size", json!(hidden));
            set("num_hidden_layers", json!(layers));
            set("num_attention_heads", json!(heads));
            set("intermediate_size", json!(inner));
            set("max_position_embeddings", json!(context));
            set("type_vocab_size", json!(token_types.unwrap_or(0)));
            set("hidden_act", json!("gelu"));
            set("layer_norm_eps", json!(m.float(&key("attention.layer_norm_epsilon"))?.unwrap_or(1e-12)));
        }
        _ => {
            let head_dim = match m.count(&key("attention.key_length"))? {
                Some(d) => d,
                None => hidden / heads,
            };
            if let Some(d) = m.count(&key("rope.dimension_count"))?
                && d != head_dim
            {
                let message = format!("expected the head size {head_dim} (RoPE over all of it), got {d}");
                return Err(m.error(&key("rope.dimension_count"), message));
            }
            let theta = m.float(&key("rope.freq_base"))?.unwrap_or(10_000.0);
            let epsilon = key("attention.layer_norm_rms_epsilon");
            let window = m.count(&key("attention.sliding_window"))?.filter(|w| *w > 0 && architecture == "llama");
            let (name, class) = match (architecture, window) {
                ("qwen2", _) => ("qwen2", "Qwen2ForCausalLM"),
                (_, Some(_)) => ("mistral", "MistralForCausalLM"),
                _ => ("llama", "LlamaForCausalLM"),
            };
            set("sliding_window", json!(window));
            set("model_type", json!(name));
            set("architectures", json!([class]));
            set("hidden_size", json!(hidden));
            set("num_hidden_layers", json!(layers));
            set("num_attention_heads", json!(heads));
            set("num_key_value_heads", json!(heads_kv));
            set("head_dim", json!(head_dim));
            set("intermediate_size", json!(inner));
            set("max_position_embeddings", json!(context));
            set("rms_norm_eps", json!(m.required(&epsilon, m.float(&epsilon))?));
            set("hidden_act", json!("silu"));
            set("rope_theta", json!(theta));
            if let Some(scaling) = rope_scaling(&m, architecture, head_dim, theta, context)? {
                set("rope_scaling", scaling);
            }
            set("attention_bias", json!(m.has("blk.0.attn_q.bias")));
            set("mlp_bias", json!(m.has("blk.0.ffn_up.bias")));
            set("tie_word_embeddings", json!(!m.has("output.weight")));
        }
    }
    set("vocab_size", json!(vocabulary));
    for (name, id) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = m.count(&format!("tokenizer.ggml.{id}_token_id"))? {
            set(name, json!(id));
        }
    }
    Ok(Json::Object(config))
}

fn rope_scaling(m: &Metadata<'_>, arch: &str, head_dim: usize, theta: f64, context: usize) -> Result<Option<Json>> {
    let key = |name: &str| format!("{arch}.rope.{name}");
    if let Some(factors) = m.header.tensors.get("rope_freqs.weight") {
        if factors.quantization != Quantization::F32 || factors.elements() != head_dim / 2 {
            let message = format!(
                "expected {} values in F32, got {:?} in {}",
                head_dim / 2,
                factors.shape,
                factors.quantization.name()
            );
            return Err(m.error("rope_freqs.weight", message));
        }
        let bytes = super::read_at(m.path, factors.offset, factors.bytes, "rope_freqs.weight")?;
        let factors = factors.quantization.dequantize(&bytes, m.path, "rope_freqs.weight")?;
        let scaling = llama3_scaling(&factors, theta).ok_or_else(|| {
            m.error(
                "rope_freqs.weight",
                "expected the factors of Llama 3's RoPE scaling (wavelengths 1 and 4), got others",
            )
        })?;
        return Ok(scaling);
    }
    let kind = m.text(&key("scaling.type"))?;
    // Files from before `rope.scaling` say `rope.scale_linear`.
    let factor = match m.float(&key("scaling.factor"))? {
        Some(factor) => Some(factor),
        None => m.float(&key("scale_linear"))?,
    };
    match (kind, factor) {
        (Some("none") | None, None) | (Some("none"), Some(_)) => Ok(None),
        (Some("linear") | None, Some(factor)) => Ok(if factor == 1.0 || factor == 0.0 {
            None
        } else {
            Some(json!({"rope_type": "linear", "factor": factor}))
        }),
        (Some("yarn"), Some(factor)) => {
            let original = m.count(&key("scaling.original_context_length"))?.unwrap_or(context);
            Ok(Some(json!({"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original})))
        }
        (Some(other), factor) => {
            let message = format!("expected none, linear or yarn with a factor, got `{other}` with {factor:?}");
            Err(m.error(&key("scaling.type"), message))
        }
    }
}

/// The settings of Llama 3's RoPE scaling that gave these factors, one for each frequency; `Some(None)` where all are 1.
///
/// transformers divides low frequencies by `factor`, keeps high ones, and blends between them by how often a wave fits
/// into the original context: `smooth = (original / wavelength - low) / (high - low)`. llama.cpp stores the quotients
/// alone, so the original context is solved from a blended one. Every released Llama 3 has low 1 and high 4.
fn llama3_scaling(factors: &[f32], theta: f64) -> Option<Option<Json>> {
    let (low, high) = (1.0, 4.0);
    let wavelength = |i: usize| 2.0 * std::f64::consts::PI * theta.powf(i as f64 / factors.len() as f64);
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    if factors.iter().all(|f| *f == 1.0) {
        return Some(None);
    }
    if !factor.is_finite() || factors.iter().any(|f| !(1.0..=f32::MAX).contains(f)) {
        return None;
    }
    let blended = (0..factors.len()).find(|&i| factors[i] > 1.001 && f64::from(factors[i]) < factor * 0.999)?;
    let smooth = (1.0 / f64::from(factors[blended]) - 1.0 / factor) / (1.0 - 1.0 / factor);
    let original = ((smooth * (high - low) + low) * wavelength(blended)).round();
    let fits = (0..factors.len()).all(|i| {
        let smooth = ((original / wavelength(i) - low) / (high - low)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - smooth) / factor + smooth);
        (expected / f64::from(factors[i]) - 1.0).abs() < 1e-3
    });
    fits.then(|| {
        Some(json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original as u64}))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_scaling_is_found_again() {
        let (theta, d, factor, original) = (500_000f64, 64, 32.0, 8192.0);
        let factors: Vec<f32> = (0..d / 2)
            .map(|i| {
                let wavelength = 2.0 * std::f64::consts::PI * theta.powf(2.0 * f64::from(i) / f64::from(d));
                let smooth = ((original / wavelength - 1.0) / 3.0f64).clamp(0.0, 1.0);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            })
            .collect();
        let found = llama3_scaling(&factors, theta);
        let expected = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        assert_eq!(found, Some(Some(expected)));
        assert_eq!(llama3_scaling(&[1.0; 32], theta), Some(None));
        let other: Vec<f32> = (0..32).map(|i| 1.0 + i as f32).collect();
        assert_eq!(llama3_scaling(&other, theta), None);
        assert_eq!(llama3_scaling(&[f32::NAN; 32], theta), None);
    }
}
