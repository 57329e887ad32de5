//! The objects of JSON lines and JSON lists, one at a time, each with its place.

use super::foreign::foreign;
use super::loaded::At;
use super::nan::without_nan;
use super::source::{BYTE_ORDER_MARK, Place, Source, decode, describe, json_error, json_error_at};
use crate::error::{Error, Result};
use crate::types::Control;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

/// An object of a file, and where it stands.
pub(super) struct Object<'a> {
    pub map: Map<String, Value>,
    pub at: At,
    file: &'a Path,
    line: Option<usize>,
    path: String,
    /// As it stands in the file.
    text: &'a str,
}

impl Object<'_> {
    pub fn place(&self) -> Place<'_> {
        Place { file: self.file, line: self.line, path: &self.path }
    }

    /// The object on one line.
    pub fn text(&self) -> String {
        match self.at {
            At::Line(_) => self.text.to_string(),
            // Line breaks stand only between the tokens of JSON: within texts they are written `\n`.
            At::Row(_) => self.text.split(['\n', '\r']).map(str::trim).fold(String::new(), |mut all, part| {
                if all.ends_with(',') {
                    all.push(' ');
                }
                all + part
            }),
        }
    }

    /// A row of a table, whose columns are the fields.
    pub fn row<'a>(map: Map<String, Value>, row: usize, file: &'a Path, line: usize) -> Object<'a> {
        Object { map, at: At::Row(row), file, line: Some(line), path: String::new(), text: "" }
    }
}

/// Hands every object of JSON lines to `each`; a file that starts with `[` is one JSON list of objects.
///
/// The file is read once, and of lines one at a time is held. Blank lines are passed over.
pub(super) fn read(
    source: &Source<'_>,
    control: &Control,
    mut each: impl FnMut(&Object<'_>) -> Result<()>,
) -> Result<()> {
    let (file, mut reader) = source.open()?;
    let mut lines = 0;
    let mut bytes = Vec::new();
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
        if !found && starts_a_list(&bytes, lines == 1) {
            reader.read_to_end(&mut bytes).map_err(|e| Error::io(file, e))?;
            let before = "\n".repeat(lines - 1);
            return read_list(file, &decode(file, [before.as_bytes(), &bytes].concat())?, control, each);
        }
        if let Some(what) = foreign(&bytes).filter(|_| lines == 1) {
            return Err(place.error("", format!("expected JSON in UTF-8, got {what}")));
        }
        let mut text = std::str::from_utf8(&bytes).map_err(|e| {
            place.error("", format!("expected UTF-8, got other bytes at byte {} of the line", e.valid_up_to()))
        })?;
        if lines == 1 {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        if text.trim().is_empty() {
            continue;
        }
        found = true;
        let value = serde_json::from_str(&without_nan(text)).map_err(|e| match json_error(&e, place) {
            Error::Data { file, line, field, message } if e.is_eof() => {
                let message = format!("{message} (an object stands on one line)");
                Error::Data { file, line, field, message }
            }
            other => other,
        })?;
        match value {
            Value::Object(map) => {
                each(&Object { map, at: At::Line(lines), file, line: Some(lines), path: String::new(), text })?;
            }
            other => return Err(place.expected("", "an object", &other)),
        }
    }
    if found { Ok(()) } else { Err(Place::whole(file).error("", "expected one JSON object a line, got an empty file")) }
}

/// Whether the first byte that is not white space opens a list.
fn starts_a_list(line: &[u8], first: bool) -> bool {
    let mark = "\u{feff}".as_bytes();
    let line = if first { line.strip_prefix(mark).unwrap_or(line) } else { line };
    line.trim_ascii_start().starts_with(b"[")
}

fn read_list(
    file: &Path,
    text: &str,
    control: &Control,
    mut each: impl FnMut(&Object<'_>) -> Result<()>,
) -> Result<()> {
    // What is left of the text, and the line and column (both from 0) that it begins at.
    let text = without_nan(text);
    let mut left = Left { text: &text, line: 0, column: 0 };
    let expected = |left: &Left<'_>, expected: &str| {
        let got = left.text.chars().next().map_or("the end of the file".into(), |c| format!("`{c}`"));
        let place = Place { file, line: Some(left.line + 1), path: "" };
        Err(place.error("", format!("expected {expected}, got {got} at column {}", left.column + 1)))
    };
    left.skip_space();
    left.skip(1);
    left.skip_space();
    let mut row = 0;
    while !left.text.starts_with(']') {
        control.check()?;
        let path = format!("[{row}]");
        let mut values = serde_json::Deserializer::from_str(left.text).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                let column = error.column() + if error.line() == 1 { left.column } else { 0 };
                let place = Place { file, line: Some(left.line + error.line()), path: &path };
                return Err(json_error_at(&error, place, column));
            }
            None => return expected(&left, "an object or `]`"),
        };
        let item = left.text.get(..values.byte_offset()).unwrap_or_default();
        match value {
            Value::Object(map) => each(&Object { map, at: At::Row(row), file, line: None, path, text: item })?,
            other => return Err(Place { file, line: None, path: &path }.expected("", "an object", &other)),
        }
        row += 1;
        left.skip(item.len());
        left.skip_space();
        if left.text.starts_with(',') {
            left.skip(1);
            left.skip_space();
            if left.text.starts_with(']') {
                return expected(&left, "an object after the comma");
            }
        } else if !left.text.starts_with(']') {
            return expected(&left, "`,` or `]`");
        }
    }
    left.skip(1);
    left.skip_space();
    if left.text.is_empty() { Ok(()) } else { expected(&left, "nothing after the list") }
}

/// What is left of a text, and where it begins: line and column from 0, columns in bytes.
struct Left<'a> {
    text: &'a str,
    line: usize,
    column: usize,
}

impl Left<'_> {
    fn skip(&mut self, bytes: usize) {
        let (skipped, text) = self.text.split_at_checked(bytes).unwrap_or((self.text, ""));
        self.text = text;
        match skipped.rfind('\n') {
            Some(last) => {
                self.line += skipped.bytes().filter(|b| *b == b'\n').count();
                self.column = skipped.len() - last - 1;
            }
            None => self.column += skipped.len(),
        }
    }

    /// The white space of JSON.
    fn skip_space(&mut self) {
        self.skip(self.text.len() - self.text.trim_start_matches([' ', '\t', '\n', '\r']).len());
    }
}

/// The first object of JSON lines or of a JSON list; what stands behind it is not looked at.
pub(super) fn first(source: &Source<'_>) -> Result<Map<String, Value>> {
    let (file, mut reader) = source.open()?;
    let place = Place::whole(file);
    let expected = "expected one JSON object a line, a list of objects, or a table";
    let start = reader.fill_buf().map_err(|e| Error::io(file, e))?;
    if let Some(what) = foreign(start) {
        return Err(place.error("", format!("{expected}, got {what}")));
    }
    if start.starts_with("\u{feff}".as_bytes()) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let mut lines = 0;
    let mut listed = false;
    loop {
        let byte = reader.fill_buf().map_err(|e| Error::io(file, e))?.first().copied();
        match byte {
            None => return Err(place.error("", format!("{expected}, got an empty file"))),
            Some(b']') if listed => return Err(place.error("", format!("{expected}, got an empty list"))),
            Some(b'[') if !listed => listed = true,
            Some(byte) if byte.is_ascii_whitespace() => lines += usize::from(byte == b'\n'),
            Some(_) => break,
        }
        reader.consume(1);
    }
    let mut values = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
    match values.next() {
        Some(Ok(Value::Object(map))) => Ok(map),
        Some(Ok(other)) => Err(place.error("", format!("{expected}, got {}", describe(&other)))),
        Some(Err(error)) if error.is_io() => Err(Error::io(file, error.into())),
        Some(Err(error))
            if error.is_syntax()
                && let Some(map) = first_with_nan(source)? =>
        {
            Ok(map)
        }
        Some(Err(error)) => {
            let place = Place { file, line: Some(lines + error.line()), path: "" };
            Err(json_error(&error, place))
        }
        None => Err(place.error("", format!("{expected}, got an empty file"))),
    }
}

/// The first object where a NaN stands in it or behind it; none where none does, and where there is another fault before it.
fn first_with_nan(source: &Source<'_>) -> Result<Option<Map<String, Value>>> {
    let (_, text) = source.text()?;
    let Cow::Owned(mended) = without_nan(&text) else { return Ok(None) };
    let start = mended.trim_start();
    let object = start.strip_prefix('[').unwrap_or(start);
    let first = serde_json::Deserializer::from_str(object).into_iter().next();
    Ok(first.and_then(Result::ok))
}
