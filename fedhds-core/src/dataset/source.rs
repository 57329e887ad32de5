//! What is read: a file as text or JSON, and how an error says file, line (or JSON path) and field.

use super::foreign::foreign;
use super::nan::without_nan;
use crate::error::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

#[cfg(feature = "packed")]
pub(super) use super::packed::Bytes;
/// Something to read from, as a source gives it.
#[cfg(not(feature = "packed"))]
pub(super) type Bytes<'a> = Box<dyn io::BufRead + Send + 'a>;

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
            Source::Path(path) => Ok(std::fs::metadata(path).map_err(|e| unopened(path, e))?.is_dir()),
            _ => Ok(false),
        }
    }

    /// The file, from its beginning; of a packed file, what is in it.
    pub(super) fn open(&self) -> Result<(&'a Path, Bytes<'a>)> {
        match *self {
            Source::Path(path) => Ok((path, Source::opened(path)?)),
            Source::Content { name, bytes } => Ok((name, unpacked(name, Box::new(bytes))?)),
            Source::Nothing => Err(Error::input("path", "a file", "none")),
        }
    }

    /// What is in a file.
    pub(super) fn opened(path: &Path) -> Result<Bytes<'static>> {
        let file = File::open(path).map_err(|e| unopened(path, e))?;
        unpacked(path, Box::new(BufReader::new(file)))
    }

    /// The whole file as text without its byte order mark.
    pub(super) fn text(&self) -> Result<(&'a Path, String)> {
        let (file, mut reader) = self.open()?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Error::io(file, e))?;
        Ok((file, decode(file, bytes)?))
    }
}

#[cfg(feature = "packed")]
fn unpacked<'a>(file: &Path, bytes: Bytes<'a>) -> Result<Bytes<'a>> {
    super::packed::unpacked(bytes).map_err(|e| Error::io(file, e))
}

#[cfg(not(feature = "packed"))]
fn unpacked<'a>(_: &Path, bytes: Bytes<'a>) -> Result<Bytes<'a>> {
    Ok(bytes)
}

/// What to say of a path that cannot be opened: often it is none, but an address or the id of a data set elsewhere.
fn unopened(path: &Path, error: io::Error) -> Error {
    let text = path.to_string_lossy();
    let what = match error.kind() {
        io::ErrorKind::NotFound if text.contains(":/") => "an address: download it first",
        io::ErrorKind::NotFound if is_hub_id(&text) => {
            "no such path. The id of a data set on the Hugging Face hub is not one: download it first and name its file"
        }
        _ => return Error::io(path, error),
    };
    Error::io(path, io::Error::new(error.kind(), format!("expected a file or folder, got {what}")))
}

/// Whether a path looks like `owner/name` rather than like a file that is not there.
fn is_hub_id(text: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
    };
    let Some((owner, name)) = text.split_once('/') else { return false };
    let endings = ["json", "jsonl", "ndjson", "csv", "tsv", "tab", "txt", "parquet", "gz", "zst"];
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    is_name(owner) && is_name(name) && !endings.contains(&ending.as_str()) && !Path::new(owner).exists()
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
        // How a table's cell of bytes is handed on.
        Value::Object(map) if map.len() == 1 && map.contains_key("base64") => "bytes, which are no text".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// The whole file as text without its byte order mark.
pub(super) fn read_text(file: &Path) -> Result<String> {
    Source::Path(file).text().map(|(_, text)| text)
}

pub(super) fn decode(file: &Path, bytes: Vec<u8>) -> Result<String> {
    if let Some(what) = foreign(&bytes) {
        return Err(Place::whole(file).error("", format!("expected text in UTF-8, got {what}")));
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        Place { file, line: Some(line), path: "" }.error("", format!("expected UTF-8, got other bytes at byte {good}"))
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The whole file as one JSON value.
pub(super) fn read_json(file: &Path) -> Result<Value> {
    let text = read_text(file)?;
    if text.trim().is_empty() {
        return Err(Place::whole(file).error("", "expected JSON, got an empty file"));
    }
    serde_json::from_str(&without_nan(&text))
        .map_err(|e| json_error(&e, Place { file, line: Some(e.line()), path: "" }))
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

/// The path of a packed file without the ending that says so.
fn without_packing(file: &Path) -> std::path::PathBuf {
    let packed = file
        .extension()
        .is_some_and(|ending| ["gz", "gzip", "zst", "zstd"].iter().any(|known| ending.eq_ignore_ascii_case(known)));
    if packed { file.with_extension("") } else { file.to_path_buf() }
}

/// The ending of the file's name in lower case, without the dot and without what says that it is packed; empty where it has none.
pub(super) fn ending(file: &Path) -> String {
    without_packing(file).extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The file's name without its ending, which names the data set and its records.
pub(super) fn stem(file: &Path) -> String {
    without_packing(file).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
