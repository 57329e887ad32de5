//! PEFT's `adapter_config.json`: what is read, what is refused, what is written.

use super::soft_prompt_file;
use crate::error::{Error, Result};
use crate::types::{Adapter, AdapterConfig};
use serde_json::{Map, Value, json};

/// Settings that change what an adapter computes and that this library does not know: refused unless they are at their default.
const REFUSED: [(&str, &str); 13] = [
    ("use_dora", "DoRA"),
    ("modules_to_save", "whole modules beside the low-rank factors"),
    ("lora_bias", "biases of the factors"),
    ("trainable_token_indices", "trained token embeddings"),
    ("target_parameters", "factors of bare parameters"),
    ("layer_replication", "repeated layers"),
    ("alora_invocation_tokens", "activated LoRA"),
    ("use_qalora", "QA-LoRA"),
    ("use_bdlora", "block-diagonal LoRA"),
    ("arrow_config", "Arrow routing"),
    ("kasa_config", "KaSA"),
    ("velora_config", "VeLoRA"),
    ("monteclora_config", "MonteCLoRA"),
];

/// Settings that say where an adapter came from or how it was initialised, and nothing about what it computes.
const WITHOUT_EFFECT: [&str; 17] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
];

/// Settings that this library reads.
const READ: [&str; 13] = [
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
    "use_dora",
    "bias",
];

/// What an `adapter_config.json` says, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFileConfig {
    /// Rank, alpha, dropout and targets.
    pub adapter: AdapterConfig,
    /// Whether `target_modules` names modules by their last components; where it is a pattern, or layers are picked by number,
    /// the names of the tensors say which modules are meant.
    pub targets_are_names: bool,
    /// The base model that was tuned, where it is named.
    pub base_model: Option<String>,
}

impl AdapterFileConfig {
    /// Reads the text of an `adapter_config.json`; `source` is what errors name. Keys that are missing have PEFT's defaults
    /// (r 8, alpha 8, no dropout); keys that no version known here has must be at a default: none, false or empty.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the key whose value is not understood or not supported.
    pub fn from_json(source: &str, text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::adapter(source, "JSON", e.to_string()))?;
        let Value::Object(map) = value else {
            return Err(Error::adapter(source, "a JSON object", "another value"));
        };
        if let Some((adapter, base_model)) = soft_prompt_file::read(source, &map)? {
            return Ok(Self { adapter, targets_are_names: true, base_model });
        }
        let keys = Keys { source, map: &map };
        keys.refuse_unsupported()?;
        let r = keys.number("r", 8.0)?;
        if r < 1.0 || r.fract() != 0.0 || r > 1e6 {
            return Err(keys.wrong("r", "a whole number of at least 1"));
        }
        let lora_alpha = keys.number("lora_alpha", 8.0)?;
        keys.same_everywhere("rank_pattern", r)?;
        keys.same_everywhere("alpha_pattern", lora_alpha)?;
        let (mut target_modules, mut targets_are_names) = match map.get("target_modules") {
            None | Some(Value::Null) => {
                return Err(Error::adapter(keys.name("target_modules"), "a list of names or a pattern", "none"));
            }
            Some(Value::String(_)) => (Vec::new(), false),
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(String::from)).collect::<Option<Vec<_>>>();
                (names.ok_or_else(|| keys.wrong("target_modules", "a list of names or a pattern"))?, true)
            }
            Some(_) => return Err(keys.wrong("target_modules", "a list of names or a pattern")),
        };
        if ["exclude_modules", "layers_to_transform"].iter().any(|key| keys.is_set(key)) {
            targets_are_names = false;
        }
        target_modules.sort_unstable();
        target_modules.dedup();
        let adapter = AdapterConfig {
            r: r as usize,
            lora_alpha: lora_alpha as f32,
            lora_dropout: keys.number("lora_dropout", 0.0)? as f32,
            target_modules,
            use_rslora: keys.flag("use_rslora")?,
        };
        adapter.check().map_err(|e| Error::adapter(source, "settings in their ranges", e))?;
        let base_model = map.get("base_model_name_or_path").and_then(Value::as_str).map(String::from);
        Ok(Self { adapter, targets_are_names, base_model })
    }
}

/// The text of an `adapter_config.json` for a causal language model: only what differs from PEFT's defaults, because older
/// versions of PEFT refuse keys that they do not know.
///
/// # Errors
/// [`Error::Adapter`] when the adapter has no target modules: neither named nor in its tensors.
pub fn to_json(adapter: &Adapter, base_model: Option<&str>) -> Result<String> {
    let text = |map| {
        serde_json::to_string_pretty(&Value::Object(map))
            .map_err(|e| Error::adapter("adapter_config.json", "settings that JSON can hold", e))
    };
    if let Some(map) = soft_prompt_file::settings(adapter, base_model) {
        return text(map);
    }
    let config = &adapter.config;
    let mut targets = config.target_modules.clone();
    if targets.is_empty() {
        targets = (adapter.tensors.keys())
            .filter_map(|name| module_of(name).and_then(|path| path.rsplit('.').next()).map(String::from))
            .collect();
    }
    targets.sort_unstable();
    targets.dedup();
    if targets.is_empty() {
        return Err(Error::adapter("target_modules", "at least one module", "an adapter without tensors"));
    }
    let mut map = Map::new();
    if let Some(name) = base_model {
        map.insert("base_model_name_or_path".into(), json!(name));
    }
    // GPT-2 keeps its weights as [in, out]; PEFT corrects a missing flag by itself, with a warning.
    if adapter.tensors.keys().any(|name| name.starts_with("transformer.h.") || name.starts_with("h.")) {
        map.insert("fan_in_fan_out".into(), json!(true));
    }
    map.insert("lora_alpha".into(), number(config.lora_alpha));
    if config.lora_dropout != 0.0 {
        map.insert("lora_dropout".into(), number(config.lora_dropout));
    }
    map.insert("peft_type".into(), json!("LORA"));
    map.insert("r".into(), json!(config.r));
    map.insert("target_modules".into(), json!(targets));
    map.insert("task_type".into(), json!("CAUSAL_LM"));
    if config.use_rslora {
        map.insert("use_rslora".into(), json!(true));
    }
    text(map)
}

/// The module path in the name of a factor.
pub(super) fn module_of(name: &str) -> Option<&str> {
    name.strip_suffix(".lora_A.weight").or_else(|| name.strip_suffix(".lora_B.weight"))
}

/// A setting with as few digits as say the same: PEFT expects a whole alpha as an integer.
fn number(value: f32) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return json!(value as i64);
    }
    value.to_string().parse::<f64>().map_or(Value::Null, |v| json!(v))
}

struct Keys<'a> {
    source: &'a str,
    map: &'a Map<String, Value>,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}: {key}", self.source)
    }

    fn wrong(&self, key: &str, expected: &str) -> Error {
        let got = self.map.get(key).map_or("nothing".to_string(), Value::to_string);
        Error::adapter(self.name(key), expected, got)
    }

    /// Whether a key has any value but a default one.
    fn is_set(&self, key: &str) -> bool {
        match self.map.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(_) => true,
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// A pattern of exceptions is fine where every exception says what holds anyway.
    fn same_everywhere(&self, key: &str, value: f64) -> Result<()> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(map)) if map.values().all(|v| v.as_f64() == Some(value)) => Ok(()),
            Some(_) => Err(self.wrong(key, "no exceptions: one rank and one alpha for all modules")),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        match self.map.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            _ => return Err(self.wrong("peft_type", "`LORA`, `PROMPT_TUNING` or `P_TUNING`")),
        }
        for (key, what) in REFUSED {
            if self.is_set(key) {
                return Err(self.wrong(key, &format!("its default: {what} is not supported")));
            }
        }
        if !matches!(self.map.get("bias").and_then(Value::as_str), None | Some("none")) {
            return Err(self.wrong("bias", "`none`: trained biases are not supported"));
        }
        // These initialisations change the base weights: the factors alone do not say what was tuned.
        let kind = self.map.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        if ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|name| kind.starts_with(name)) {
            return Err(self.wrong("init_lora_weights", "an initialisation that leaves the base weights as they are"));
        }
        // What is not known may change what the adapter computes: a warning would be heard by nobody.
        let known = |key: &str| READ.contains(&key) || WITHOUT_EFFECT.contains(&key);
        match self.map.keys().map(String::as_str).find(|key| self.is_set(key) && !known(key)) {
            Some(key) => Err(self.wrong(key, "its default: a setting that is not known here")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::AdapterTensor;
    use std::collections::BTreeMap;

    fn read(text: &str) -> Result<AdapterFileConfig> {
        AdapterFileConfig::from_json("adapter_config.json", text)
    }

    #[test]
    fn missing_keys_have_the_defaults_of_peft() {
        let config = read(r#"{"peft_type": "LORA", "target_modules": ["v_proj", "q_proj"]}"#).unwrap();
        let expected = AdapterConfig {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: vec!["q_proj".into(), "v_proj".into()],
            use_rslora: false,
        };
        assert_eq!(config.adapter, expected);
        assert!(config.targets_are_names && config.base_model.is_none());
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let base = r#""peft_type": "LORA", "target_modules": ["q_proj"]"#;
        for (extra, named) in [
            (r#""use_dora": true"#, "DoRA"),
            (r#""modules_to_save": ["lm_head"]"#, "modules_to_save"),
            (r#""bias": "all""#, "biases"),
            (r#""init_lora_weights": "pissa_niter_4""#, "init_lora_weights"),
            (r#""rank_pattern": {"q_proj": 4}"#, "rank_pattern"),
            (r#""alpha_pattern": {"q_proj": 32}"#, "alpha_pattern"),
            (r#""r": 0"#, "r"),
            (r#""r": 2.5"#, "whole number"),
            (r#""lora_dropout": 1.5"#, "lora_dropout"),
            (r#""use_rslora": "yes""#, "use_rslora"),
            (r#""a_key_of_tomorrow": 3"#, "a_key_of_tomorrow"),
            (r#""lora_bias": true"#, "lora_bias"),
        ] {
            let error = read(&format!("{{{base}, {extra}}}")).unwrap_err().to_string();
            assert!(error.contains(named), "{extra}: {error}");
        }
        assert!(read(r#"{"peft_type": "IA3", "target_modules": ["q"]}"#).unwrap_err().to_string().contains("IA3"));
        assert!(read(r#"{"peft_type": "LORA"}"#).unwrap_err().to_string().contains("target_modules"));
        assert!(read("[]").is_err() && read("{").is_err());
    }

    #[test]
    fn what_changes_nothing_is_accepted() {
        let config = read(
            r#"{"peft_type": "LORA", "target_modules": "all-linear", "rank_pattern": {"q_proj": 4}, "r": 4, "use_dora": false,
                "fan_in_fan_out": true, "bias": "none", "init_lora_weights": true, "modules_to_save": null,
                "use_rslora": true, "lora_alpha": 8, "a_key_of_tomorrow": null, "another": false, "a_third": {}}"#,
        )
        .unwrap();
        assert!(!config.targets_are_names);
        assert_eq!(config.adapter.scaling(), 4.0);
    }

    #[test]
    fn only_what_differs_is_written() {
        let config = AdapterConfig {
            lora_dropout: 0.05,
            target_modules: vec!["v_proj".into(), "q_proj".into()],
            ..AdapterConfig::default()
        };
        let tensor = AdapterTensor { shape: [8, 1], data: vec![0.0; 8] };
        let tensors = BTreeMap::from([("model.layers.0.self_attn.q_proj.lora_A.weight".to_string(), tensor)]);
        let mut adapter = Adapter { config, tensors };
        let text = to_json(&adapter, None).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({"lora_alpha": 16, "lora_dropout": 0.05, "peft_type": "LORA", "r": 8,
            "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"});
        assert_eq!(value, expected);
        assert_eq!(read(&text).unwrap().adapter.lora_dropout, 0.05);

        adapter.config.target_modules.clear();
        assert!(to_json(&adapter, Some("base")).unwrap().contains("q_proj"));
        adapter.tensors.clear();
        assert!(to_json(&adapter, None).is_err());
    }
}
