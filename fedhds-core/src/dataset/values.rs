//! The fields of an object: texts, names and responses, each error with its place.

use super::source::Place;
use crate::error::Result;
use crate::types::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What happens to a record whose response is empty or blank (Stanford Alpaca holds some).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlankResponse {
    /// It is an error that names the record.
    #[default]
    Error,
    /// It is left out.
    Skip,
}

/// What happens to a record that cannot be used: a field is missing or of another kind, a conversation has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRecord {
    /// It is an error that names the record.
    #[default]
    Error,
    /// It is left out and counted; the first one's error is kept.
    Skip,
}

impl BadRecord {
    /// Whether it is what happens where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == BadRecord::default()
    }
}

/// A field by its name, or by names joined with dots where objects are nested; the whole name comes first.
pub(super) fn find<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    object.get(field).or_else(|| {
        let (head, tail) = field.split_once('.')?;
        find(object.get(head)?.as_object()?, tail)
    })
}

/// 2^53, above which f64 has no odd numbers.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A field that must be there and be text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, field: &str, place: Place<'_>) -> Result<&'a str> {
    match find(object, field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(place.expected(field, "a string", other)),
        None => Err(place.error(field, "expected a string, got no such field")),
    }
}

/// A field that must be there and hold more than white space.
pub(super) fn filled<'a>(object: &'a Map<String, Value>, field: &str, place: Place<'_>) -> Result<&'a str> {
    let value = text(object, field, place)?;
    if value.trim().is_empty() { Err(place.error(field, "expected text, got an empty string")) } else { Ok(value) }
}

/// A field that may be missing or null: then it is empty.
pub(super) fn optional<'a>(object: &'a Map<String, Value>, field: &str, place: Place<'_>) -> Result<&'a str> {
    match find(object, field) {
        None | Some(Value::Null) => Ok(""),
        Some(_) => text(object, field, place),
    }
}

/// A name: text, or a number or truth value as it is written.
pub(super) fn label(object: &Map<String, Value>, field: &str, place: Place<'_>) -> Result<String> {
    match find(object, field) {
        // From here on JSON's whole numbers are rounded: two that differ would get one name.
        Some(Value::Number(number)) if number.as_f64().is_some_and(|n| number.is_f64() && n.abs() >= WHOLE) => {
            let expected = "a number that is told from its neighbours (write larger ones as text)";
            Err(place.error(field, format!("expected {expected}, got {number}")))
        }
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        _ => filled(object, field, place).map(Into::into),
    }
}

/// The responses: one text or a list of texts. Empty only where blank ones are skipped and none is left.
pub(super) fn responses(
    object: &Map<String, Value>,
    field: &str,
    place: Place<'_>,
    blank: BlankResponse,
) -> Result<Vec<String>> {
    let value = find(object, field)
        .ok_or_else(|| place.error(field, "expected a string or a list of strings, got no such field"))?;
    let items = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(items) => items,
        other => return Err(place.expected(field, "a string or a list of strings", other)),
    };
    let mut responses = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let at = if value.is_array() { format!("{field}[{i}]") } else { field.to_string() };
        match item {
            Value::String(text) if !text.trim().is_empty() => responses.push(text.clone()),
            Value::String(_) if blank == BlankResponse::Skip => {}
            Value::String(_) => return Err(place.error(&at, "expected a response, got an empty string")),
            other => return Err(place.expected(&at, "a string", other)),
        }
    }
    if responses.is_empty() && blank == BlankResponse::Error {
        return Err(place.error(field, "expected a response, got an empty list"));
    }
    Ok(responses)
}

/// Ids that a file gave: the second of two equal ones is an error that names the first's place.
#[derive(Default)]
pub(super) struct Ids(BTreeMap<String, String>);

impl Ids {
    pub fn take(&mut self, record: &Record, field: &str, place: Place<'_>) -> Result<()> {
        let here = place.line.map_or_else(|| place.path.to_string(), |line| format!("line {line}"));
        match self.0.insert(record.id.clone(), here) {
            None => Ok(()),
            Some(first) => {
                Err(place
                    .error(field, format!("expected an id of its own, got `{}` again (first at {first})", record.id)))
            }
        }
    }
}
