//! Tables as text: a line of column names, then a record a row.

use super::fields::{Fields, Maker, ROLES};
use super::loaded::Collected;
use super::objects::Object;
use super::options::LoadOptions;
use super::reader::{Reader, Sample};
use super::source::{self, Place, Source};
use crate::error::{Error, Result};
use crate::types::{Control, Record};
use csv::{ErrorKind, StringRecord};
use serde_json::{Map, Value};
use std::path::Path;

/// Comma-separated values (RFC 4180), and tab-separated ones in a file that ends with `.tsv` or `.tab`. The first line names
/// the columns; every cell is text, and an empty one is an empty text.
pub(super) struct Table;

/// How the names of tables end.
const ENDINGS: [&str; 3] = ["csv", "tsv", "tab"];

impl Reader for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn about(&self) -> &'static str {
        "CSV, or TSV in a .tsv file, whose first line names the columns"
    }

    fn roles(&self) -> &'static [&'static str] {
        ROLES
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        if sample.folder || !ENDINGS.contains(&sample.extension.as_str()) {
            return Ok(None);
        }
        let (file, text) = sample.source.text()?;
        let columns = columns(file, &mut reader(file, &text))?;
        let first = columns.iter().map(|name| (name.to_string(), Value::Null)).collect();
        sample.given.guess(&first, Place::whole(file)).map(Some)
    }

    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()> {
        let (file, text) = source.text()?;
        let stem = source::stem(file);
        let mut maker = Maker::new(options.fields.or(&Fields::plain()), options.blank_response, &stem);
        closed(file, &text)?;
        let mut reader = reader(file, &text);
        let columns = columns(file, &mut reader)?;
        for (row, cells) in reader.records().enumerate() {
            control.check()?;
            let cells = cells.map_err(|error| unreadable(file, &error))?;
            let line = cells.position().map_or(0, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
            let pairs = columns.iter().zip(&cells);
            let map: Map<String, Value> = pairs.map(|(name, cell)| (name.to_string(), cell.into())).collect();
            let object = Object::row(map, row, file, line);
            let text = |_: &Record| serde_json::to_string(&object.map).unwrap_or_default();
            records.take(maker.record(&object), Some(object.at), text)?;
        }
        Ok(())
    }
}

fn reader<'a>(file: &Path, text: &'a str) -> csv::Reader<&'a [u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter(file)).from_reader(text.as_bytes())
}

fn delimiter(file: &Path) -> u8 {
    if ["tsv", "tab"].contains(&source::ending(file).as_str()) { b'\t' } else { b',' }
}

/// Refuses a quote that is never closed: all that follows it would be one cell.
fn closed(file: &Path, text: &str) -> Result<()> {
    enum At {
        Start,
        Cell,
        Quoted,
        AfterQuote,
    }
    let delimiter = delimiter(file);
    let (mut line, mut opened, mut at) = (1, 1, At::Start);
    for byte in text.bytes() {
        at = match (at, byte) {
            (At::Start, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::AfterQuote,
            (At::Quoted, _) | (At::AfterQuote, b'"') => At::Quoted,
            (_, b'\n' | b'\r') => At::Start,
            (_, byte) if byte == delimiter => At::Start,
            _ => At::Cell,
        };
        line += usize::from(byte == b'\n');
    }
    if matches!(at, At::Quoted) {
        let place = Place { file, line: Some(opened), path: "" };
        return Err(
            place.error("", "expected a quote that closes the one that a cell of this line begins with, got none")
        );
    }
    Ok(())
}

/// The names of the columns, each once.
fn columns(file: &Path, reader: &mut csv::Reader<&[u8]>) -> Result<StringRecord> {
    let columns = reader.headers().map_err(|error| unreadable(file, &error))?.clone();
    if columns.is_empty() {
        return Err(Place::whole(file).error("", "expected a line of column names, got an empty file"));
    }
    if columns.len() == 1
        && let Some(other) = [';', '\t', '|'].into_iter().find(|other| columns[0].contains(*other))
    {
        let by = |byte: char| if byte == '\t' { "tabs".into() } else { format!("`{byte}`") };
        let expected = by(delimiter(file).into());
        let mut message = format!("expected cells that are separated by {expected}, got {}", by(other));
        if other == '\t' {
            message.push_str(": name the file .tsv");
        }
        return Err(Place { file, line: Some(1), path: "" }.error("", message));
    }
    let twice = columns.iter().enumerate().find(|(i, name)| columns.iter().take(*i).any(|other| other == *name));
    match twice {
        Some((_, name)) => {
            let place = Place { file, line: Some(1), path: "" };
            let got = if name.is_empty() { "two columns without one" } else { "it twice" };
            Err(place.error(name, format!("expected each column name once, got {got}")))
        }
        None => Ok(columns),
    }
}

fn unreadable(file: &Path, error: &csv::Error) -> Error {
    let line = error.position().map(|at| usize::try_from(at.line()).unwrap_or(usize::MAX));
    let message = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("expected {expected_len} cells as in the first line, got {len}")
        }
        _ => format!("expected a table: {error}"),
    };
    Place { file, line, path: "" }.error("", message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{At, Format, Loaded};
    use super::*;

    fn load(name: &str, text: &str, options: &LoadOptions) -> Result<Loaded> {
        let source = Source::Content { name: Path::new(name), bytes: text.as_bytes() };
        Format::by_name("table").unwrap().load(source, options, &Control::default())
    }

    #[test]
    fn cells_are_text_and_may_hold_line_breaks() {
        let options = LoadOptions { keep_text: true, ..LoadOptions::default() };
        let text = "\u{feff}instruction,input,response\r\n\"Add,\nplease\",,3\r\n\r\nSay,NA,\"a \"\"b\"\"\"\r\n";
        let loaded = load("t.csv", text, &options).unwrap();
        let [one, two] = loaded.dataset.records.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((one.id.as_str(), one.instruction.as_str(), one.input.as_str()), ("t-0", "Add,\nplease", ""));
        assert_eq!((one.responses[0].as_str(), one.category.as_str()), ("3", "t"));
        assert_eq!((two.input.as_str(), two.responses[0].as_str()), ("NA", "a \"b\""));
        assert_eq!(loaded.origins[1].at, Some(At::Row(1)));
        let kept = "{\"instruction\":\"Add,\\nplease\",\"input\":\"\",\"response\":\"3\"}\n";
        assert_eq!(loaded.origins[0].text.as_deref(), Some(kept));
    }

    #[test]
    fn tabs_are_for_files_that_say_so() {
        let text = "instruction\tresponse\nAdd, please\t3\n";
        assert_eq!(load("T.TSV", text, &LoadOptions::default()).unwrap().dataset.records[0].instruction, "Add, please");
        let error = load("t.csv", text, &LoadOptions::default()).unwrap_err().to_string();
        assert!(
            error.contains("t.csv:1: expected cells that are separated by `,`, got tabs: name the file .tsv"),
            "{error}"
        );
        let error = load("t.csv", "instruction;response\na;b\n", &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("t.csv:1: expected cells that are separated by `,`, got `;`"), "{error}");
    }

    #[test]
    fn a_broken_row_is_placed_by_its_line() {
        let error = |text: &str| load("t.csv", text, &LoadOptions::default()).unwrap_err().to_string();
        let good = "instruction,response\n\"two\nlines\",b\n";
        assert!(
            error(&format!("{good}a,\n"))
                .ends_with("t.csv:4: field `response`: expected a response, got an empty string")
        );
        assert!(error(&format!("{good} ,b\n")).contains("t.csv:4: field `instruction`"));
        assert!(error(&format!("{good}a\n")).contains("t.csv:4: expected 2 cells as in the first line, got 1"));
        assert!(
            error("question,response\na,b\n")
                .contains("t.csv:2: field `instruction`: expected a string, got no such field")
        );
        assert!(error("a,b,a\n").contains("t.csv:1: field `a`: expected each column name once"));
        assert!(error(&format!("{good}a,b,c\n")).contains("t.csv:4: expected 2 cells as in the first line, got 3"));
        assert!(error("a,,\n").contains("t.csv:1: expected each column name once, got two columns without one"));
        assert!(error(&format!("{good}a,\"b\nc,d\ne,f\n")).contains("t.csv:4: expected a quote that closes"));
        assert!(error("instruction,response\n").contains("at least one record"));
        assert!(error("").contains("got an empty file"));
    }
}
