//! What a model's config.json says: the family, its sizes, and what its weights are called.
//!
//! Nothing here knows a tensor: the other modules of [`model`](super) import this one, and it imports none of them.

mod activation;
pub(crate) mod bert;
pub(crate) mod gpt2;
mod json;
pub(crate) mod llama;
pub(crate) mod names;
mod rope;
mod sizes;

pub use activation::Activation;
pub use bert::BertConfig;
pub use gpt2::Gpt2Config;
pub use llama::LlamaConfig;
pub use names::WeightLayout;
pub use rope::{RopeConfig, RopeScaling};

use crate::error::{Error, Result};
use json::Json;
use serde_json::Value;
use std::path::Path;

/// `model_type`s that can be loaded.
pub const KNOWN_MODEL_TYPES: [&str; 5] = ["llama", "mistral", "qwen2", "gpt2", "bert"];

/// The configuration of a model of any known family.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelConfig {
    /// Llama 2 and 3, OpenLLaMA, TinyLlama, SmolLM, Mistral, Qwen2.
    Llama(LlamaConfig),
    /// GPT-2.
    Gpt2(Gpt2Config),
    /// BERT, as an encoder.
    Bert(BertConfig),
}

impl ModelConfig {
    /// Reads the text of a config.json; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Model`] for text that is not JSON, an unknown architecture (with the known ones), and a key that is missing
    /// or out of range.
    pub fn from_json(path: &Path, text: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| Error::model(path, "config.json", format!("expected JSON: {e}")))?;
        let json = Json::new(path, &value)?;
        refuse_quantized(&json)?;
        let architecture = json.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let model_type = json.str_opt("model_type")?.or(architecture.and_then(model_type_of));
        match model_type {
            Some("llama" | "mistral" | "qwen2") => {
                Ok(Self::Llama(LlamaConfig::from_json(&json, model_type.unwrap_or_default())?))
            }
            Some("gpt2") => Ok(Self::Gpt2(Gpt2Config::from_json(&json)?)),
            Some("bert") => Ok(Self::Bert(BertConfig::from_json(&json)?)),
            other => Err(Error::model(
                path,
                "architecture",
                format!(
                    "expected one of {}, got {}",
                    KNOWN_MODEL_TYPES.join(", "),
                    other
                        .or(architecture)
                        .map_or("neither `model_type` nor `architectures`".into(), |n| format!("`{n}`"))
                ),
            )),
        }
    }

    /// `llama`, `gpt2` or `bert`.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Llama(_) => "llama",
            Self::Gpt2(_) => "gpt2",
            Self::Bert(_) => "bert",
        }
    }

    /// Every weight with its shape, under the names that transformers uses.
    pub fn weight_shapes(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Llama(config) => config.weight_shapes(),
            Self::Gpt2(config) => config.weight_shapes(),
            Self::Bert(config) => config.weight_shapes(),
        }
    }

    /// Standard deviation of freshly initialised matrices (`initializer_range`).
    pub fn initializer_range(&self) -> f32 {
        match self {
            Self::Llama(config) => config.initializer_range,
            Self::Gpt2(config) => config.initializer_range,
            Self::Bert(config) => config.initializer_range,
        }
    }

    /// Size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Llama(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
            Self::Bert(config) => config.vocab_size,
        }
    }
}

/// Weights that a tool has quantized are numbers without the scales and the order that its own code reads beside them.
fn refuse_quantized(json: &Json<'_>) -> Result<()> {
    for key in ["quantization_config", "compression_config"] {
        if let Some(settings) = json.object(key)?.filter(|settings| !settings.is_empty()) {
            let method = settings.str_opt("quant_method")?.unwrap_or("an unnamed method");
            let message = format!(
                "expected none, got `{method}`: weights that were quantized so are not supported, GGUF files are"
            );
            return Err(json.error(key, message));
        }
    }
    Ok(())
}

/// The family behind an architecture's name, for files that lack `model_type`.
fn model_type_of(architecture: &str) -> Option<&'static str> {
    [
        ("Llama", "llama"),
        ("Mistral", "mistral"),
        ("Qwen2For", "qwen2"),
        ("Qwen2Model", "qwen2"),
        ("GPT2", "gpt2"),
        ("BertFor", "bert"),
        ("BertModel", "bert"),
    ]
    .into_iter()
    .find(|(prefix, _)| architecture.starts_with(prefix))
    .map(|(_, model_type)| model_type)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<ModelConfig> {
        ModelConfig::from_json(Path::new("folder"), &value.to_string())
    }

    fn llama(changes: Value) -> Result<LlamaConfig> {
        let mut value = json!({"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 4, "num_attention_heads": 4});
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        match parse(value)? {
            ModelConfig::Llama(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = llama(json!({"rope_scaling": null, "sliding_window": 3})).unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim, config.max_position_embeddings), (4, 16, 2048));
        assert!(!config.tie_word_embeddings && !config.qkv_bias && !config.output_bias && !config.mlp_bias);
        assert_eq!((config.rms_norm_eps, config.rope.theta), (1e-6, 1e4));
        // Llama itself has no windows, whatever its file says.
        assert_eq!(config.windows, [None; 4]);
    }

    #[test]
    fn rope_is_read_from_old_and_new_keys() {
        let scaling = |changes| llama(changes).unwrap().rope;
        let linear = scaling(json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}));
        assert_eq!((linear.theta, linear.scaling), (5e5, RopeScaling::Linear { factor: 2.0 }));
        let dynamic = scaling(json!({"rope_parameters": {"rope_type": "dynamic", "factor": 4, "rope_theta": 1e6}}));
        assert_eq!((dynamic.theta, dynamic.scaling), (1e6, RopeScaling::Dynamic { factor: 4.0 }));
        let error = llama(json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}})).unwrap_err().to_string();
        assert!(error.contains("rope_scaling.low_freq_factor"), "{error}");
        let both = scaling(
            json!({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 7e3}}),
        );
        assert_eq!((both.theta, both.scaling), (1e4, RopeScaling::Linear { factor: 2.0 }));
        let partial = llama(json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}));
        assert!(partial.unwrap_err().to_string().contains("rope_parameters.partial_rotary_factor"));
        let error = llama(json!({"rope_scaling": {"type": "longrope"}})).unwrap_err().to_string();
        assert!(error.contains("`longrope`") && error.contains("llama3"), "{error}");
    }

    #[test]
    fn rope_by_kind_of_layer_is_read_where_all_layers_agree() {
        let nested = |full: Value, sliding: Value, types: Value| {
            llama(json!({"model_type": "mistral", "sliding_window": 8, "layer_types": types,
                "rope_parameters": {"full_attention": full, "sliding_attention": sliding}}))
        };
        let of = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
        let mixed = json!(["full_attention", "sliding_attention", "full_attention", "full_attention"]);
        assert_eq!(nested(of(5e5), of(5e5), mixed.clone()).unwrap().rope.theta, 5e5);
        assert_eq!(nested(of(5e5), of(1e4), json!(vec!["full_attention"; 4])).unwrap().rope.theta, 5e5);
        let error = nested(of(5e5), of(1e4), mixed.clone()).unwrap_err().to_string();
        assert!(error.contains("`rope_parameters`") && error.contains("`full_attention`"), "{error}");
        let error = nested(json!({"rope_type": "yarn"}), of(1e4), mixed).unwrap_err().to_string();
        assert!(error.contains("rope_parameters.full_attention.rope_type"), "{error}");
    }

    #[test]
    fn quantized_weights_are_refused_by_their_method() {
        for method in ["fp8", "gptq", "awq", "bitsandbytes", "compressed-tensors"] {
            let error = llama(json!({"quantization_config": {"quant_method": method}})).unwrap_err().to_string();
            assert!(error.contains("`quantization_config`") && error.contains(method), "{error}");
        }
        assert!(llama(json!({"quantization_config": null})).is_ok());
    }

    proptest! {
        /// Numbers of any kind give a model of bounded sizes or an error that names a key, at once and in little memory.
        #[test]
        fn any_number_is_read_or_refused(
            key in proptest::sample::select(vec!["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "initializer_range",
                "sliding_window", "max_window_layers"]),
            value in prop_oneof![
                (0..3i64).prop_map(|v| json!(v)),
                any::<u64>().prop_map(|v| json!(v)),
                any::<i64>().prop_map(|v| json!(v)),
                any::<f64>().prop_map(|v| json!(v)),
                Just(json!(1_000_000_000)),
                Just(json!("1")),
                Just(json!([1])),
            ],
            family in proptest::sample::select(vec!["llama", "mistral", "qwen2"]),
        ) {
            match llama(json!({"model_type": family, "use_sliding_window": true, key: value})) {
                Ok(config) => {
                    prop_assert!(config.num_hidden_layers <= 16_384 && config.check().is_ok());
                    prop_assert_eq!(config.windows.len(), config.num_hidden_layers);
                    let shapes = config.linears();
                    prop_assert!(shapes.iter().all(|shape| shape.input > 0 && shape.output > 0));
                }
                Err(error) => prop_assert!(error.to_string().contains("config.json: `"), "{}", error),
            }
        }
    }

    #[test]
    fn biases_and_windows_depend_on_the_family() {
        let both = llama(json!({"attention_bias": true})).unwrap();
        assert!(both.qkv_bias && both.output_bias);
        let qwen = llama(json!({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": false})).unwrap();
        assert!(qwen.qkv_bias && !qwen.output_bias);
        assert_eq!(qwen.windows, [None; 4]);
        let changes =
            json!({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 3});
        assert_eq!(llama(changes).unwrap().windows, [None, None, None, Some(8)]);
        assert_eq!(llama(json!({"model_type": "mistral", "sliding_window": 8})).unwrap().windows, [Some(8); 4]);
        assert_eq!(llama(json!({"model_type": "mistral", "sliding_window": null})).unwrap().windows, [None; 4]);
        let changes = json!({"model_type": "mistral", "sliding_window": 8, "layer_types": ["full_attention"]});
        assert!(llama(changes).unwrap_err().to_string().contains("layer_types"));
    }

    #[test]
    fn errors_name_the_key_or_the_architecture() {
        let message = |value| parse(value).unwrap_err().to_string();
        let unknown = message(json!({"architectures": ["GemmaForCausalLM"]}));
        assert!(unknown.contains("`GemmaForCausalLM`") && unknown.contains("gpt2"), "{unknown}");
        assert!(message(json!({})).contains("neither"));
        assert!(message(json!([])).contains("an object"));
        for (key, value) in [
            ("hidden_size", json!("big")),
            ("hidden_size", json!(0)),
            ("num_attention_heads", json!(-1)),
            ("hidden_act", json!("gelu")),
            ("head_dim", json!(7)),
            ("partial_rotary_factor", json!(0.5)),
        ] {
            let error = llama(json!({key: value})).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        let gpt2 = json!({"model_type": "gpt2", "vocab_size": 10, "n_embd": 8, "n_layer": 1, "n_head": 3});
        assert!(message(gpt2).contains("`n_head`"));
        let bert = json!({"model_type": "bert", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 2, "position_embedding_type": "relative_key"});
        assert!(message(bert).contains("relative_key"));
    }

    #[test]
    fn no_module_that_imports_this_one_is_imported() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model/config");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let up = if path.ends_with("mod.rs") { "use super::" } else { "use super::super::" };
            for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                assert!(!line.contains("crate::model") && !line.contains(up), "{}: {line}", path.display());
            }
        }
    }
}
