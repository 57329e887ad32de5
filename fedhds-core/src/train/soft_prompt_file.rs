//! A soft prompt on disk, as PEFT writes and reads it: settings of prompt tuning and P-tuning, and the names of their tensors.
//!
//! PEFT keeps of P-tuning the vectors alone, with which nothing can be trained further. Ours are written too, and so is the network that makes
//! them, under names that PEFT passes over.

use crate::error::{Error, Result};
use crate::model::soft_prompt::PROMPT;
use crate::types::{Adapter, AdapterConfig, AdapterKind};
use serde_json::{Map, Value, json};

/// PEFT's name of the kind; none for low-rank factors.
pub(super) fn peft_type(kind: AdapterKind) -> Option<&'static str> {
    match kind {
        AdapterKind::LowRank => None,
        AdapterKind::PromptTuning => Some("PROMPT_TUNING"),
        AdapterKind::PTuning => Some("P_TUNING"),
    }
}

/// Settings that say nothing of what the vectors are once they are trained.
const WITHOUT_EFFECT: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "encoder_dropout",
    "encoder_hidden_size",
    "encoder_num_layers",
    "inference_mode",
    "num_attention_heads",
    "num_layers",
    "peft_type",
    "peft_version",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "revision",
    "task_type",
    "token_dim",
    "tokenizer_kwargs",
    "tokenizer_name_or_path",
    "num_virtual_tokens",
];

/// What a soft prompt's `adapter_config.json` says, and the base model that it names; none where it is of another kind.
///
/// # Errors
/// [`Error::Adapter`] that names the key whose value is not understood or not supported.
pub(super) fn read(source: &str, map: &Map<String, Value>) -> Result<Option<(AdapterConfig, Option<String>)>> {
    let target = match map.get("peft_type").and_then(Value::as_str) {
        Some("PROMPT_TUNING") => AdapterConfig::PROMPT_TUNING,
        Some("P_TUNING") => AdapterConfig::P_TUNING,
        _ => return Ok(None),
    };
    let wrong = |key: &str, expected: &str| {
        let got = map.get(key).map_or("nothing".to_string(), Value::to_string);
        Error::adapter(format!("{source}: {key}"), expected, got)
    };
    let most = AdapterConfig::MAX_RANK as u64;
    let count = map.get("num_virtual_tokens").and_then(Value::as_u64).filter(|count| (1..=most).contains(count));
    let Some(count) = count else {
        return Err(wrong("num_virtual_tokens", &format!("a whole number from 1 to {most}")));
    };
    if !matches!(map.get("num_transformer_submodules"), None | Some(Value::Null))
        && map["num_transformer_submodules"] != 1
    {
        return Err(wrong("num_transformer_submodules", "1: a decoder alone"));
    }
    if !matches!(map.get("encoder_reparameterization_type").and_then(Value::as_str), None | Some("MLP")) {
        return Err(wrong("encoder_reparameterization_type", "`MLP`"));
    }
    let known = |key: &str| {
        WITHOUT_EFFECT.contains(&key)
            || ["num_transformer_submodules", "encoder_reparameterization_type"].contains(&key)
    };
    let is_set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    if let Some((key, _)) = map.iter().find(|(key, value)| is_set(value) && !known(key)) {
        return Err(wrong(key, "its default: a setting that is not known here"));
    }
    let adapter =
        AdapterConfig { r: count as usize, target_modules: vec![target.to_owned()], ..AdapterConfig::default() };
    let base_model = map.get("base_model_name_or_path").and_then(Value::as_str).map(String::from);
    Ok(Some((adapter, base_model)))
}

/// The settings as PEFT reads them; none for low-rank factors.
pub(super) fn settings(adapter: &Adapter, base_model: Option<&str>) -> Option<Map<String, Value>> {
    let kind = peft_type(adapter.config.kind())?;
    let mut map = Map::new();
    if let Some(name) = base_model {
        map.insert("base_model_name_or_path".into(), json!(name));
    }
    if adapter.config.kind() == AdapterKind::PTuning {
        map.insert("encoder_reparameterization_type".into(), json!("MLP"));
    }
    // PEFT then takes the vectors as they are, without a network.
    map.insert("inference_mode".into(), json!(true));
    map.insert("num_transformer_submodules".into(), json!(1));
    map.insert("num_virtual_tokens".into(), json!(adapter.config.r));
    map.insert("peft_type".into(), json!(kind));
    map.insert("task_type".into(), json!("CAUSAL_LM"));
    if let Some(width) = adapter.tensors.values().map(|tensor| tensor.shape[1]).next() {
        map.insert("token_dim".into(), json!(width));
    }
    Some(map)
}

/// A soft prompt of the tensors that a file has: the network where it is there, else the vectors, which then are what is trained.
///
/// # Errors
/// [`Error::Adapter`] that names the first tensor which is missing, of another shape, or one too many.
pub(super) fn of_tensors(source: &str, mut adapter: Adapter) -> Result<Adapter> {
    if adapter.config.kind() == AdapterKind::PTuning {
        match adapter.tensors.len() {
            1 => adapter.config.target_modules = vec![AdapterConfig::PROMPT_TUNING.to_owned()],
            // What the network makes: it is made again.
            _ => drop(adapter.tensors.remove(PROMPT)),
        }
    }
    let width = adapter.tensors.values().map(|tensor| tensor.shape[1]).next().unwrap_or(0);
    let shapes = crate::model::soft_prompt::shapes(&adapter.config, width).unwrap_or_default();
    crate::model::soft_prompt::check(&adapter, &shapes).map_err(|error| match error {
        Error::Adapter { name, expected, got } => Error::adapter(format!("{source}: {name}"), expected, got),
        other => other,
    })?;
    Ok(adapter)
}
