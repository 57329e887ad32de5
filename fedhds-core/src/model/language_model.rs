//! A model with its tokenizer, from a folder or a file.

use super::config::ModelConfig;
use super::device::Device;
use super::lora::LoraWeights;
use super::safetensors::SafetensorsFolder;
use super::tokenizer::Tokenizer;
use super::transformer::Transformer;
use super::weights::WeightSource;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::settings::Activations;
use crate::types::Adapter;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A language model or encoder that is ready to run. Clones share the weights.
#[derive(Debug, Clone)]
pub struct LanguageModel {
    /// Family and sizes.
    pub config: ModelConfig,
    /// The model itself.
    pub transformer: Arc<dyn Transformer>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    fingerprint: String,
}

impl LanguageModel {
    /// A model from its parts. `fingerprint` identifies weights, configuration and tokenizer: equal ones promise equal results.
    ///
    /// Some published tokenizers have more ids than their model: that is an error where such an id is used, not here.
    pub fn new(
        config: ModelConfig,
        transformer: Arc<dyn Transformer>,
        mut tokenizer: Tokenizer,
        fingerprint: String,
    ) -> Self {
        tokenizer.keep_pad_below(config.vocab_size());
        Self { config, transformer, tokenizer: Arc::new(tokenizer), fingerprint }
    }

    /// Loads a Hugging Face folder (config.json, safetensors, tokenizer.json) or, with the feature `gguf`, a `.gguf` file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Model`] that name the file, the tensor, the key or the architecture.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load_with(path, device, Activations::F32)
    }

    /// [`load`](Self::load), and how rows go into products. With [`Activations::Int8`] the [fingerprint](Self::fingerprint) is another, as results are.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`Error::Model`] for [`Activations::Int8`] of a model that has no products in blocks: one of another family
    /// than Llama's, on another device than the CPU, or without weights in Q8_0, Q4_0 or Q4_1.
    pub fn load_with(path: impl AsRef<Path>, device: &Device, activations: Activations) -> Result<Self> {
        let path = path.as_ref();
        let mut model = Self::load_any(path, device)?;
        if activations == Activations::Int8 {
            // Nobody else holds what was just loaded.
            if !Arc::get_mut(&mut model.transformer).is_some_and(Transformer::round_rows) {
                let expected = "expected a model of the Llama family on the CPU with weights in Q8_0, Q4_0 or Q4_1";
                return Err(Error::model(path, "activations `int8`", expected));
            }
            model.fingerprint.push_str(" int8");
        }
        let spec = model.transformer.spec();
        tracing::debug!(path = %path.display(), layers = spec.layers, hidden_size = spec.hidden_size, "a model is loaded");
        Ok(model)
    }

    fn load_any(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            return Self::load_folder(path, device);
        }
        if !path.exists() {
            return Err(Error::io(path, std::io::ErrorKind::NotFound.into()));
        }
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            return load_gguf(path, device);
        }
        Err(Error::model(path, "model", "expected a folder with config.json or a file that ends with .gguf"))
    }

    fn load_folder(path: &Path, device: &Device) -> Result<Self> {
        let file = path.join("config.json");
        let text = read_text(&file, LARGEST_CONFIG)?;
        let config = ModelConfig::from_json(path, &text)?;
        refuse_quantized(path)?;
        let weights = SafetensorsFolder::open(path)?;
        let tokenizer = Tokenizer::from_folder(path)?;
        let transformer = config.build(&weights, device)?;
        let mut files = vec![file, path.join("tokenizer.json")];
        files.extend(weights.files());
        // Special tokens and chat template come from files beside these, some of which say nothing of the results: what was read of them counts.
        let mut hasher = blake3::Hasher::new();
        hasher.update(fingerprint(&files)?.as_bytes());
        hasher.update(tokenizer.identity()?.as_bytes());
        Ok(Self::new(config, transformer.into(), tokenizer, hasher.finalize().to_hex().to_string()))
    }

    /// BLAKE3 of what the model was loaded from, in hexadecimal: of a folder the configuration, the weights, tokenizer.json, the special tokens and
    /// the chat template; of a GGUF file all of it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A prompt's name in fingerprints: with the chat template where the prompt is the model's own, as that lies in no file that
    /// [`fingerprint`](Self::fingerprint) is of.
    pub(crate) fn prompt_key(&self, name: &str) -> String {
        match self.tokenizer.chat_template().filter(|_| name.contains("chat")) {
            Some(template) => format!("{name} by template {}", blake3::hash(template.as_bytes()).to_hex()),
            None => name.to_owned(),
        }
    }

    /// An adapter's tensors on the model's device, checked against the model, without dropout; none stays none.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first tensor that does not fit the model.
    pub fn lora(&self, adapter: Option<&Adapter>) -> Result<Option<LoraWeights>> {
        let transformer = self.transformer.as_ref();
        adapter.map(|a| LoraWeights::from_adapter(a, transformer.spec(), &transformer.device())).transpose()
    }
}

/// Largest config.json, in bytes.
const LARGEST_CONFIG: u64 = 16 << 20;

/// Files beside config.json with which tools that quantize say what they did; without it their weights are only numbers.
const QUANTIZED: [&str; 3] = ["quantize_config.json", "quant_config.json", "hf_quant_config.json"];

fn refuse_quantized(folder: &Path) -> Result<()> {
    match QUANTIZED.into_iter().find(|name| folder.join(name).exists()) {
        Some(name) => {
            Err(Error::model(folder, name, "expected weights that are not quantized: this kind is not supported"))
        }
        None => Ok(()),
    }
}

/// BLAKE3 of the contents of files, in this order, in hexadecimal; their names do not count.
///
/// # Errors
/// [`Error::Io`] that names a file that cannot be read.
pub fn fingerprint(files: &[PathBuf]) -> Result<String> {
    let mut all = blake3::Hasher::new();
    for path in files {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut one = blake3::Hasher::new();
        one.update_reader(&mut file).map_err(|e| Error::io(path, e))?;
        all.update(one.finalize().as_bytes());
    }
    Ok(all.finalize().to_hex().to_string())
}

/// BLAKE3 of weights that are in no file: their names, shapes and values.
///
/// # Errors
/// As [`WeightSource::tensor`].
pub fn fingerprint_weights(weights: &dyn WeightSource) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in weights.names() {
        let weight = weights.tensor(&name)?;
        hasher.update(format!("{name} {:?}", weight.shape).as_bytes());
        hasher.update(bytemuck::cast_slice(&weight.data));
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(feature = "gguf")]
fn load_gguf(path: &Path, device: &Device) -> Result<LanguageModel> {
    use super::gguf::GgufFile;
    use super::tokenizer::SpecialTokens;
    let file = GgufFile::open(path)?;
    let config = ModelConfig::from_json(path, &file.config_json()?.to_string())?;
    let parts = file.tokenizer()?;
    let (inner, growth) = super::tokenizer_files::parse(path, parts.json.to_string().as_bytes())?;
    let special =
        SpecialTokens { bos: parts.bos_token, eos: parts.eos_tokens, pad: parts.pad_token, unk: parts.unk_token };
    let tokenizer = Tokenizer::new(inner, special, parts.chat_template.as_deref(), path)?.bounded(growth);
    let transformer = config.build(&file, device)?;
    let fingerprint = fingerprint(&[path.to_path_buf()])?;
    Ok(LanguageModel::new(config, transformer.into(), tokenizer, fingerprint))
}

#[cfg(not(feature = "gguf"))]
fn load_gguf(path: &Path, _device: &Device) -> Result<LanguageModel> {
    Err(Error::model(path, "format", "GGUF is not compiled in: build with the feature `gguf`"))
}
