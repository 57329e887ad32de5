//! Reads keys of a config.json; every error names the file and the key.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// One object of a config.json. A key that is `null` counts as absent, as in transformers.
pub(crate) struct Json<'a> {
    path: &'a Path,
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Json<'a> {
    /// The object at the top of a file.
    pub fn new(path: &'a Path, value: &'a Value) -> Result<Self> {
        let map = value
            .as_object()
            .ok_or_else(|| Error::model(path, "config.json", format!("expected an object, got {}", kind(value))))?;
        Ok(Self { path, prefix: String::new(), map })
    }

    /// The value of a key, where it is there and not null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// The object under a key.
    pub fn object(&self, key: &str) -> Result<Option<Json<'a>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Json { path: self.path, prefix: format!("{}{key}.", self.prefix), map }))
            }
            Some(other) => Err(self.error(key, format!("expected an object, got {}", kind(other)))),
        }
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The objects among its values, by their keys.
    pub fn objects(&self) -> Vec<(&'a str, Json<'a>)> {
        let object = |(key, value): (&'a String, &'a Value)| {
            let map = value.as_object()?;
            Some((key.as_str(), Json { path: self.path, prefix: format!("{}{key}.", self.prefix), map }))
        };
        self.map.iter().filter_map(object).collect()
    }

    /// A non-negative integer that must be there.
    pub fn usize(&self, key: &str) -> Result<usize> {
        self.usize_opt(key)?.ok_or_else(|| self.missing(key, "a non-negative integer"))
    }

    /// A positive integer that must be there.
    pub fn positive(&self, key: &str) -> Result<usize> {
        match self.usize(key)? {
            0 => Err(self.error(key, "expected a positive integer, got 0".into())),
            value => Ok(value),
        }
    }

    /// A non-negative integer, where it is there.
    pub fn usize_opt(&self, key: &str) -> Result<Option<usize>> {
        self.get(key)
            .map(|v| {
                v.as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| self.error(key, format!("expected a non-negative integer, got {v}")))
            })
            .transpose()
    }

    /// A number, where it is there.
    pub fn f64_opt(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|v| v.as_f64().ok_or_else(|| self.error(key, format!("expected a number, got {v}"))))
            .transpose()
    }

    /// A number that must be there.
    pub fn f64(&self, key: &str) -> Result<f64> {
        self.f64_opt(key)?.ok_or_else(|| self.missing(key, "a number"))
    }

    /// A truth value, `default` where it is not there.
    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.error(key, format!("expected true or false, got {v}"))),
        }
    }

    /// A string, where it is there.
    pub fn str_opt(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key)
            .map(|v| v.as_str().ok_or_else(|| self.error(key, format!("expected a string, got {v}"))))
            .transpose()
    }

    /// An error about a key of this object.
    pub fn error(&self, key: &str, message: String) -> Error {
        Error::model(self.path, format!("config.json: `{}{key}`", self.prefix), message)
    }

    /// The error of a check of the values that were read, as an error about the key.
    pub fn of_parameter(&self, error: Error) -> Error {
        match error {
            Error::Parameter { name, expected, got } => self.error(&name, format!("expected {expected}, got {got}")),
            other => other,
        }
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        self.error(key, format!("expected {expected}, got nothing: the key is missing"))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
