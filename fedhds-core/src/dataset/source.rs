//! What the loaders share: reading files and fields so that an error says file, line (or JSON path) and field.

use crate::error::{Error, Result};
use crate::types::{Control, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

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

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub file: &'a Path,
    pub line: Option<usize>,
    /// JSON path of the record within its file, empty for a line of its own.
    pub path: &'a str,
}

impl Place<'_> {
    pub fn error(&self, field: &str, message: impl Into<String>) -> Error {
        let path = match (self.path, field) {
            (path, "") => path.to_string(),
            ("", field) => field.to_string(),
            (path, field) if field.starts_with('[') => format!("{path}{field}"),
            (path, field) => format!("{path}.{field}"),
        };
        let field = (!path.is_empty()).then_some(path);
        Error::Data { file: self.file.into(), line: self.line, field, message: message.into() }
    }

    pub fn expected(&self, field: &str, expected: &str, got: &Value) -> Error {
        self.error(field, format!("expected {expected}, got {}", describe(got)))
    }
}

/// A value in a message: its kind, and itself where it is short.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.trim().is_empty() => "an empty string".into(),
        Value::String(_) => "a string".into(),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// The whole file as text without its byte order mark.
pub(super) fn read_text(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        Place { file, line: Some(line), path: "" }.error("", format!("expected UTF-8, got other bytes at byte {good}"))
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_string()),
        None => Ok(text),
    }
}

/// The whole file as one JSON value.
pub(super) fn read_json(file: &Path) -> Result<Value> {
    let text = read_text(file)?;
    if text.trim().is_empty() {
        return Err(Place { file, line: None, path: "" }.error("", "expected JSON, got an empty file"));
    }
    serde_json::from_str(&text).map_err(|e| json_error(&e, Place { file, line: Some(e.line()), path: "" }))
}

fn json_error(error: &serde_json::Error, place: Place<'_>) -> Error {
    place.error("", format!("expected JSON: {error}"))
}

/// Hands every line that is not blank to `each` as an object, with its number from 1; one line is held at a time.
pub(super) fn read_lines(
    file: &Path,
    control: &Control,
    mut each: impl FnMut(Map<String, Value>, Place<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = BufReader::new(File::open(file).map_err(|e| Error::io(file, e))?);
    let mut bytes = Vec::new();
    let mut lines = 0;
    let mut found = false;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(|e| Error::io(file, e))? == 0 {
            break;
        }
        lines += 1;
        if lines % 1024 == 0 {
            control.check()?;
        }
        let place = Place { file, line: Some(lines), path: "" };
        let mut text = std::str::from_utf8(&bytes).map_err(|e| {
            place.error("", format!("expected UTF-8, got other bytes at byte {} of the line", e.valid_up_to()))
        })?;
        if lines == 1 {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.trim().is_empty() {
            continue;
        }
        found = true;
        match serde_json::from_str(text).map_err(|e| json_error(&e, place))? {
            Value::Object(object) => each(object, place)?,
            other => return Err(place.expected("", "an object", &other)),
        }
    }
    if found {
        Ok(())
    } else {
        Err(Place { file, line: None, path: "" }.error("", "expected one JSON object a line, got an empty file"))
    }
}

/// A field by its name, or by names joined with dots where objects are nested; the whole name comes first.
pub(super) fn find<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    object.get(field).or_else(|| {
        let (head, tail) = field.split_once('.')?;
        find(object.get(head)?.as_object()?, tail)
    })
}

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

/// The file's name without its ending, which names the data set and its records.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A data set without any record is an error.
pub(super) fn at_least_one(records: Vec<Record>, file: &Path) -> Result<Vec<Record>> {
    if records.is_empty() {
        return Err(Place { file, line: None, path: "" }.error("", "expected at least one record, got none"));
    }
    Ok(records)
}
