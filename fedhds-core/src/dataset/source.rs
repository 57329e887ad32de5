//! What is read: a file as text or JSON, and how an error says file, line (or JSON path) and field.

use crate::error::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What is read; paths and [`Option`]s of them convert.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A file or folder.
    Path(&'a Path),
    /// A file's content that is in memory.
    Content {
        /// What messages and ids call it.
        name: &'a Path,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Nothing: for formats whose records are generated.
    Nothing,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Source<'a> {
    fn from(path: &'a P) -> Self {
        Source::Path(path.as_ref())
    }
}

impl<'a> From<Option<&'a Path>> for Source<'a> {
    fn from(path: Option<&'a Path>) -> Self {
        path.map_or(Source::Nothing, Source::Path)
    }
}

impl<'a> Source<'a> {
    /// The path, or what stands for it.
    pub fn path(&self) -> Option<&'a Path> {
        match *self {
            Source::Path(path) | Source::Content { name: path, .. } => Some(path),
            Source::Nothing => None,
        }
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> Result<bool> {
        match *self {
            Source::Path(path) => Ok(std::fs::metadata(path).map_err(|e| Error::io(path, e))?.is_dir()),
            _ => Ok(false),
        }
    }

    /// The file, from its beginning.
    pub(super) fn open(&self) -> Result<(&'a Path, Box<dyn BufRead + 'a>)> {
        match *self {
            Source::Path(path) => {
                let file = File::open(path).map_err(|e| Error::io(path, e))?;
                Ok((path, Box::new(BufReader::new(file))))
            }
            Source::Content { name, bytes } => Ok((name, Box::new(bytes))),
            Source::Nothing => Err(Error::input("path", "a file", "none")),
        }
    }

    /// The whole file as text without its byte order mark.
    pub(super) fn text(&self) -> Result<(&'a Path, String)> {
        let (file, mut reader) = self.open()?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Error::io(file, e))?;
        Ok((file, decode(file, bytes)?))
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub file: &'a Path,
    pub line: Option<usize>,
    /// JSON path of the record within its file, empty for a line of its own.
    pub path: &'a str,
}

impl<'a> Place<'a> {
    /// The file as a whole.
    pub fn whole(file: &'a Path) -> Self {
        Place { file, line: None, path: "" }
    }

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
    Source::Path(file).text().map(|(_, text)| text)
}

pub(super) fn decode(file: &Path, bytes: Vec<u8>) -> Result<String> {
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        let message = not_utf8(e.as_bytes(), format!("at byte {good}"));
        Place { file, line: Some(line), path: "" }.error("", message)
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Bytes at the beginning of files that are often taken for text, and what to do with them.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"\xff\xfe", "UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16: save it as UTF-8"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    (b"PK\x03\x04", "a zip file (or an office document): unpack or export it first"),
    (b"PAR1", "a Parquet file: export it as CSV or JSON lines first"),
];

/// What a file that begins with these bytes is in place of text.
pub(super) fn foreign(start: &[u8]) -> Option<&'static str> {
    FOREIGN.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

/// What is said of bytes that are not UTF-8, in a file that begins with `start`.
fn not_utf8(start: &[u8], at: String) -> String {
    match foreign(start) {
        Some(what) => format!("expected UTF-8, got {what}"),
        None => format!("expected UTF-8, got other bytes {at}"),
    }
}

/// The whole file as one JSON value.
pub(super) fn read_json(file: &Path) -> Result<Value> {
    let text = read_text(file)?;
    if text.trim().is_empty() {
        return Err(Place::whole(file).error("", "expected JSON, got an empty file"));
    }
    serde_json::from_str(&text).map_err(|e| json_error(&e, Place { file, line: Some(e.line()), path: "" }))
}

/// The place says the line: serde's own count of lines begins at the text that it was handed.
pub(super) fn json_error(error: &serde_json::Error, place: Place<'_>) -> Error {
    json_error_at(error, place, error.column())
}

pub(super) fn json_error_at(error: &serde_json::Error, place: Place<'_>, column: usize) -> Error {
    let shown = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = shown.strip_suffix(&position).unwrap_or(&shown);
    place.error("", format!("expected JSON: {what} at column {column}"))
}

/// The file's name without its ending, which names the data set and its records.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
