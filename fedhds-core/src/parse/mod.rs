//! Settings from text: the one way in for TOML and JSON, in files, from Python and from C.
//!
//! Whatever is wrong is an [`Error::Config`] that names the whole dotted key (`methods[1].client.reducer.perplexity`), what was expected
//! and what came, the nearest name for one that is unknown, and in TOML the line and the column.
//!
//! Text becomes a tree (`value.rs`), the tree becomes the settings' own type. What serde meets on the way is told in parts (`fault.rs`), and each
//! table and list that it was met in adds its step: nothing here reads the texts of errors.

mod fault;
mod names;
mod place;
mod value;

pub use names::{meant, nearest, unknown_name};
pub(crate) use value::Value;

use crate::error::{Error, Result};
use fault::{Failure, Fault, Step};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

/// The key of a tagged enum's table that says which of its kinds it is.
const TAG: &str = "kind";

/// Settings from a TOML document. `what` is what an error is about that concerns no key of it.
///
/// # Errors
/// [`Error::Config`] with key, line and column.
pub fn from_toml<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    toml_value(what, text).and_then(|value| from_value(what, value)).map_err(|error| located(error, text))
}

/// Settings from JSON. `what` is what an error is about that concerns no key of it.
///
/// # Errors
/// [`Error::Config`] with the key.
pub fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    from_value(what, json_value(what, text)?)
}

/// Settings from a bare name (`random`), JSON (text that begins with a brace or is one string) or a TOML document.
///
/// # Errors
/// [`Error::Config`] as [`from_toml`] and [`from_json`].
pub fn from_text<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    value_of_text(what, text).and_then(|value| from_value(what, value)).map_err(|error| located(error, text))
}

/// A setting of a fixed set of names.
///
/// # Errors
/// [`Error::Config`] under `what` that lists the names.
pub fn from_name<T: DeserializeOwned>(what: &str, name: &str) -> Result<T> {
    from_value(what, Value::Text(name.to_owned()))
}

/// Settings as JSON, as [`from_json`] reads them.
///
/// # Errors
/// [`Error::Config`] under `what` for numbers that JSON cannot hold.
pub fn to_json<T: Serialize>(what: &str, settings: &T) -> Result<String> {
    serde_json::to_string(settings).map_err(|e| Error::config(what, format!("expected what JSON can hold: {e}")))
}

/// Adds line and column of the key to an [`Error::Config`] about a TOML document; leaves an error as it is that has them, or that is about
/// no key of this text.
pub(crate) fn located(error: Error, text: &str) -> Error {
    match error {
        Error::Config { file, position: None, key, message } => {
            let position = place::of_key(text, &key);
            Error::Config { file, position, key, message }
        }
        other => other,
    }
}

/// The tree of a bare name, of JSON or of a TOML document.
pub(crate) fn value_of_text(what: &str, text: &str) -> Result<Value> {
    let trimmed = text.trim();
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if trimmed.starts_with('{') || serde_json::from_str::<&str>(trimmed).is_ok() {
        json_value(what, trimmed)
    } else if !trimmed.is_empty() && trimmed.chars().all(is_name) {
        Ok(Value::Text(trimmed.to_owned()))
    } else {
        toml_value(what, text)
    }
}

/// The tree of a TOML document.
pub(crate) fn toml_value(what: &str, text: &str) -> Result<Value> {
    let document = DeTable::parse(text).map_err(|error| Error::Config {
        file: None,
        position: error.span().map(|span| place::of_byte(text, span.start)),
        key: what.to_owned(),
        message: format!("expected TOML: {}", error.message().trim()),
    })?;
    Ok(document.get_ref().into())
}

/// The tree of a JSON text.
pub(crate) fn json_value(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::config(what, format!("expected JSON: {e}")))
}

/// Settings from a tree.
pub(crate) fn from_value<T: DeserializeOwned>(what: &str, value: Value) -> Result<T> {
    let kept = value.clone();
    read(value).map_err(|mut failure| {
        failure.narrow(kept, &|value| read::<T>(value).err());
        failure.into_error(what)
    })
}

fn read<T: DeserializeOwned>(value: Value) -> std::result::Result<T, Failure> {
    T::deserialize(value).map_err(|met| {
        let mut failure = *met.0;
        failure.path.reverse();
        failure
    })
}

impl Failure {
    /// Follows the fault below the place where the path ends.
    ///
    /// serde reads a tagged enum into memory before it knows its kind, and from there on no path is kept. Which of its settings is at fault
    /// shows when each is left out in turn: without the faulty one the outcome is another. A table without its tag fails in another way too,
    /// so that the tag is meant only where nothing else is.
    fn narrow(&mut self, mut tree: Value, read: &dyn Fn(Value) -> Option<Failure>) {
        if !matches!(self.fault, Fault::Key { .. } | Fault::Name { .. } | Fault::Wrong { .. }) {
            return;
        }
        let first = self.clone();
        while let Some(steps) = tree.at(&self.path).map(|value| value.steps()) {
            let decides = |step: &Step| {
                let mut without = tree.clone();
                if let Some(value) = without.at(&self.path) {
                    value.remove(step);
                }
                read(without).as_ref() != Some(&first)
            };
            let (tags, settings): (Vec<Step>, Vec<Step>) =
                steps.into_iter().partition(|step| *step == Step::Key(TAG.into()));
            match settings.into_iter().chain(tags).find(decides) {
                Some(step) => self.path.push(step),
                None => break,
            }
        }
    }

    fn into_error(mut self, what: &str) -> Error {
        if let Fault::Key { name, .. } = &self.fault
            && self.path.last() != Some(&Step::Key(name.clone()))
        {
            self.path.push(Step::Key(name.clone()));
        }
        if let Fault::Missing(name) = self.fault {
            self.path.push(Step::Key(name.into()));
        }
        let mut key = String::new();
        for step in &self.path {
            match step {
                Step::Index(i) => key.push_str(&format!("[{i}]")),
                Step::Key(name) if key.is_empty() => key.push_str(name),
                Step::Key(name) => key.push_str(&format!(".{name}")),
            }
        }
        Error::config(if key.is_empty() { what } else { &key }, self.fault.to_string())
    }
}

#[cfg(test)]
mod tests;
