//! Models by their id on the Hugging Face hub.

use super::device::Device;
use super::language_model::LanguageModel;
use crate::error::{Error, Result};
use hf_hub::HFClientSync;

/// What a model folder needs: no weights in other formats.
const PATTERNS: [&str; 10] = [
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "model*.safetensors",
    "model.safetensors.index.json",
    // They say that the weights are quantized, which is refused by name.
    "quant*_config.json",
    "hf_quant_config.json",
];

impl LanguageModel {
    /// Loads `owner/name` from the hub, or from its cache on this machine where it was downloaded before (`HF_HOME`, `HF_TOKEN` and
    /// `HF_HUB_OFFLINE` count as elsewhere). `revision` is a branch, tag or commit, the main branch where none is given.
    ///
    /// # Errors
    /// [`Error::Model`] with the hub's reason; otherwise as [`LanguageModel::load`].
    pub fn from_hub(id: &str, revision: Option<&str>, device: &Device) -> Result<Self> {
        let (owner, name) = id
            .split_once('/')
            .filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
            .ok_or_else(|| Error::parameter("model", "an id as owner/name", id))?;
        let failed = |e: hf_hub::HFError| Error::model(id, "hub", e.to_string());
        let client = HFClientSync::new().map_err(failed)?;
        let folder = client
            .model(owner, name)
            .snapshot_download()
            .maybe_revision(revision)
            .allow_patterns(PATTERNS.map(String::from).to_vec())
            .send()
            .map_err(failed)?;
        Self::load(folder, device)
    }
}
