//! The shipped folder: config.json, model.safetensors in bf16, tokenizer.json, tokenizer_config.json.

use crate::checkpoint::write_atomically;
use crate::vocabulary::{IDS, tokenizer_config};
use fedhds_core::model::{LlamaConfig, WeightData};
use fedhds_core::{Error, Result};
use half::bf16;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tokenizers::Tokenizer;

/// Writes the folder.
///
/// # Errors
/// [`Error::Io`], [`Error::Model`].
pub fn write(
    folder: &Path,
    config: &LlamaConfig,
    weights: &BTreeMap<String, WeightData>,
    tokenizer: &Tokenizer,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let failed = |what: &str, message: String| Error::model(folder, what, message);
    let mut json = config.to_json()?;
    if let Some(json) = json.as_object_mut() {
        for (key, id) in ["pad_token_id", "bos_token_id", "eos_token_id"].into_iter().zip(IDS) {
            json.insert(key.to_owned(), id.into());
        }
        json.insert("torch_dtype".to_owned(), "bfloat16".into());
    }
    let halves: Vec<(&str, &[usize], Vec<bf16>)> = weights
        .iter()
        .map(|(name, w)| (name.as_str(), w.shape.as_slice(), w.data.iter().map(|v| bf16::from_f32(*v)).collect()))
        .collect();
    let views = halves.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::BF16, shape.to_vec(), bytemuck::cast_slice(data));
        view.map(|view| (*name, view)).map_err(|e| failed(name, e.to_string()))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = serialize(views, Some(metadata)).map_err(|e| failed("model.safetensors", e.to_string()))?;
    write_atomically(&folder.join("model.safetensors"), &bytes)?;
    for (name, json) in
        [("config.json", json), ("tokenizer_config.json", tokenizer_config(config.max_position_embeddings))]
    {
        write_atomically(&folder.join(name), format!("{json:#}\n").as_bytes())?;
    }
    let text = tokenizer.to_string(true).map_err(|e| failed("tokenizer.json", e.to_string()))?;
    write_atomically(&folder.join("tokenizer.json"), text.as_bytes())
}
