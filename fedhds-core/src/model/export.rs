//! What is written of a model: its weights, read back from their device, and the folder that transformers loads.

use super::config::{LlamaConfig, ModelConfig, RopeScaling};
use super::language_model::LanguageModel;
use super::tensor::{plain, to_vec};
use super::tokenizer::Tokenizer;
use super::transformer::{Transformer, Weight};
use super::weights::WeightData;
use crate::error::{Error, Result};
use crate::files::atomic_write;
use ::safetensors::tensor::{Dtype, TensorView};
use half::{bf16, f16};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredType {
    /// 4 bytes, exact.
    F32,
    /// 2 bytes, 11 bits of precision.
    F16,
    /// 2 bytes, 8 bits of precision, the range of f32.
    Bf16,
}

/// Writes weights as one safetensors file that transformers reads; the file appears whole or not at all.
///
/// # Errors
/// [`Error::Input`] when a tensor's values do not fill its shape; [`Error::Io`] when the file cannot be written.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, WeightData>,
    stored: StoredType,
) -> Result<()> {
    let dtype = match stored {
        StoredType::F32 => Dtype::F32,
        StoredType::F16 => Dtype::F16,
        StoredType::Bf16 => Dtype::BF16,
    };
    let bytes: Vec<(&String, &WeightData, Vec<u8>)> = tensors
        .iter()
        .map(|(name, weight)| {
            let values = weight.data.iter();
            let bytes = match stored {
                StoredType::F32 => values.flat_map(|v| v.to_le_bytes()).collect(),
                StoredType::F16 => values.flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
                StoredType::Bf16 => values.flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            };
            (name, weight, bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, weight, bytes)| match TensorView::new(dtype, weight.shape.clone(), bytes) {
            Ok(view) => Ok((name.as_str(), view)),
            Err(e) => Err(Error::input(&format!("tensor `{name}`"), format!("values of shape {:?}", weight.shape), e)),
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = ::safetensors::serialize(views, Some(metadata))
        .map_err(|e| Error::input("weights", "tensors that safetensors can hold", e))?;
    atomic_write(path, &bytes)
}

/// A model's weights by name, read back from its device.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub fn export_weights(model: &dyn Transformer) -> Result<BTreeMap<String, WeightData>> {
    let mut tensors = BTreeMap::new();
    let mut failed = None;
    model.map_weights(&mut |name, weight| {
        let (shape, data) = match &weight {
            Weight::Matrix(tensor) => (tensor.dims().to_vec(), to_vec(plain(tensor.clone()))),
            Weight::Vector(tensor) => (tensor.dims().to_vec(), to_vec(plain(tensor.clone()))),
        };
        match data {
            Ok(data) => {
                tensors.insert(name.to_string(), WeightData { shape, data });
            }
            Err(error) => failed = Some(error),
        }
        weight
    })?;
    match failed {
        None => Ok(tensors),
        Some(error) => Err(error),
    }
}

impl LanguageModel {
    /// Writes the model as a folder that [`LanguageModel::load`] and transformers read.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a family that is not written (all but Llama's); [`Error::Io`] for what cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, stored: StoredType) -> Result<()> {
        let folder = folder.as_ref();
        let mut config = match &self.config {
            ModelConfig::Llama(config) => config.to_json()?,
            other => {
                return Err(Error::parameter("model", "a family that can be written: Llama", format!("{other:?}")));
            }
        };
        if let Some(config) = config.as_object_mut() {
            let tokenizer = &self.tokenizer;
            config.insert("bos_token_id".into(), tokenizer.bos().into());
            config.insert("eos_token_id".into(), tokenizer.eos().first().copied().into());
            config.insert("pad_token_id".into(), tokenizer.pad().into());
        }
        let special = self.tokenizer.special();
        let mut tokenizer_config = serde_json::Map::new();
        tokenizer_config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        for (key, token) in [
            ("bos_token", special.bos.as_ref()),
            ("eos_token", special.eos.first()),
            ("pad_token", special.pad.as_ref()),
            ("unk_token", special.unk.as_ref()),
        ] {
            if let Some(token) = token {
                tokenizer_config.insert(key.into(), token.as_str().into());
            }
        }
        if let Some(template) = self.tokenizer.chat_template() {
            tokenizer_config.insert("chat_template".into(), template.into());
        }
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        write_safetensors(folder.join("model.safetensors"), &export_weights(self.transformer.as_ref())?, stored)?;
        for (name, text) in [
            ("tokenizer.json", tokenizer_json(&self.tokenizer, folder)?),
            ("tokenizer_config.json", format!("{:#}", serde_json::Value::Object(tokenizer_config))),
            ("config.json", format!("{config:#}")),
        ] {
            atomic_write(folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

fn tokenizer_json(tokenizer: &Tokenizer, folder: &Path) -> Result<String> {
    tokenizer.inner().to_string(false).map_err(|e| Error::model(folder, "tokenizer", e.to_string()))
}

impl LlamaConfig {
    /// This configuration as a config.json that transformers reads.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a combination of switches that no family of transformers has.
    pub fn to_json(&self) -> Result<Value> {
        let window = self.windows.first().copied().flatten();
        if self.windows.iter().any(|w| *w != window) {
            return Err(Error::parameter(
                "windows",
                "the same for every layer, to be written",
                format!("{:?}", self.windows),
            ));
        }
        let (model_type, architecture) = match (self.qkv_bias, self.output_bias, window) {
            (true, false, None) => ("qwen2", "Qwen2ForCausalLM"),
            (false, false, Some(_)) => ("mistral", "MistralForCausalLM"),
            (q, o, None) if q == o => ("llama", "LlamaForCausalLM"),
            _ => return Err(Error::parameter("biases and windows", "a family's combination", format!("{self:?}"))),
        };
        Ok(json!({
            "architectures": [architecture],
            "model_type": model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope.theta,
            "rope_scaling": scaling_json(&self.rope.scaling),
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.output_bias,
            "mlp_bias": self.mlp_bias,
            "sliding_window": window,
            "initializer_range": self.initializer_range,
            "torch_dtype": "float32",
        }))
    }
}

/// The value of `rope_scaling`.
fn scaling_json(scaling: &RopeScaling) -> Value {
    match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::safetensors::SafetensorsFolder;
    use super::super::weights::WeightSource as _;
    use super::*;

    fn weights() -> BTreeMap<String, WeightData> {
        let weight = |shape: &[usize]| {
            let len = shape.iter().product::<usize>();
            WeightData { shape: shape.to_vec(), data: (0..len).map(|i| i as f32 / 8.0 - 1.0).collect() }
        };
        BTreeMap::from([("a".into(), weight(&[2, 3])), ("b".into(), weight(&[4]))])
    }

    #[test]
    fn values_come_back_in_every_type() {
        for stored in [StoredType::F32, StoredType::F16, StoredType::Bf16] {
            let folder = tempfile::tempdir().unwrap();
            write_safetensors(folder.path().join("model.safetensors"), &weights(), stored).unwrap();
            let source = SafetensorsFolder::open(folder.path()).unwrap();
            assert_eq!(source.names(), ["a", "b"]);
            // Eighths are exact in all three.
            for (name, weight) in weights() {
                assert_eq!(source.tensor(&name).unwrap(), weight);
            }
            assert!(source.tensor("c").unwrap_err().to_string().contains("`c`"));
        }
    }

    fn llama(changes: Value) -> LlamaConfig {
        let mut value = json!({"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 4, "num_attention_heads": 4});
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        match parse(value) {
            ModelConfig::Llama(config) => config,
            other => panic!("{other:?}"),
        }
    }

    fn parse(value: Value) -> ModelConfig {
        ModelConfig::from_json(Path::new("folder"), &value.to_string()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let llama3 = json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 512}, "rms_norm_eps": 1e-5});
        for changes in [llama3, json!({"model_type": "qwen2"}), json!({"model_type": "mistral", "sliding_window": 8})] {
            let config = llama(changes);
            assert_eq!(parse(config.to_json().unwrap()), ModelConfig::Llama(config));
        }
        let mut mixed = llama(json!({}));
        mixed.windows[0] = Some(2);
        assert!(mixed.to_json().is_err());
    }
}
