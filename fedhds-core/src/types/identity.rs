//! What a run is: every setting that its result depends on, by name.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every setting that a run's result depends on, as dotted names and values. Two runs of equal identity have equal results.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunIdentity(BTreeMap<String, String>);

impl RunIdentity {
    /// Sets a name to a printable value.
    pub fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    /// Sets every leaf of a JSON value under `name`: objects and arrays are flattened to `name.key` and `name.0`.
    pub fn set_json(&mut self, name: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    self.set_json(&format!("{name}.{key}"), value);
                }
            }
            serde_json::Value::Array(items) if !items.is_empty() => {
                for (i, value) in items.iter().enumerate() {
                    self.set_json(&format!("{name}.{i}"), value);
                }
            }
            serde_json::Value::String(text) => self.set(name, text),
            other => self.set(name, other),
        }
    }

    /// Sets every name of another.
    pub fn extend(&mut self, other: &RunIdentity) {
        self.0.extend(other.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// BLAKE3 of all names and values, in hex: the hash that run records and checkpoints carry.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in self.0.iter().flat_map(|(k, v)| [k, v]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What differs between this (expected) and another (found), in words, at most six names; `None` when they are equal.
    pub fn difference(&self, found: &RunIdentity) -> Option<String> {
        const SHOWN: usize = 6;
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(found.0.keys()).collect();
        let differing: Vec<String> = names
            .into_iter()
            .filter(|name| self.0.get(*name) != found.0.get(*name))
            .map(|name| {
                let show = |value: Option<&String>| value.map_or("nothing".to_owned(), |v| shorten(v));
                format!("`{name}`: this run has {}, the saved one {}", show(self.0.get(name)), show(found.0.get(name)))
            })
            .collect();
        if differing.is_empty() {
            return None;
        }
        let more = differing.len().saturating_sub(SHOWN);
        let mut text = differing.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        Some(text)
    }
}

fn shorten(value: &str) -> String {
    const LONGEST: usize = 60;
    if value.chars().count() <= LONGEST {
        return format!("`{value}`");
    }
    format!("`{}...`", value.chars().take(LONGEST).collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn identity(json: &str) -> RunIdentity {
        let mut identity = RunIdentity::default();
        identity.set_json("config", &serde_json::from_str(json).unwrap());
        identity
    }

    #[test]
    fn nested_settings_are_named() {
        let a = identity(r#"{"training": {"learning_rate": 0.0003}, "seeds": [1, 2], "note": "x"}"#);
        assert_eq!(a.get("config.training.learning_rate"), Some("0.0003"));
        assert_eq!(a.get("config.seeds.1"), Some("2"));
        let b = identity(r#"{"training": {"learning_rate": 0.001}, "seeds": [1], "note": "x"}"#);
        assert_ne!(a.hash(), b.hash());
        let text = a.difference(&b).unwrap();
        assert!(
            text.contains("`config.training.learning_rate`: this run has `0.0003`, the saved one `0.001`"),
            "{text}"
        );
        assert!(text.contains("`config.seeds.1`: this run has `2`, the saved one nothing"), "{text}");
        assert!(!text.contains("note"));
        assert_eq!(a.difference(&a.clone()), None);
    }

    #[test]
    fn the_hash_separates_names_from_values() {
        let mut a = RunIdentity::default();
        a.set("ab", "c");
        let mut b = RunIdentity::default();
        b.set("a", "bc");
        assert_ne!(a.hash(), b.hash());
    }
}
