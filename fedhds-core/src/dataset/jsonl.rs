//! Plain JSON lines (or one JSON list) whose fields are named by the user.

use super::Dataset;
use super::source::{self, BlankResponse, Ids, Place};
use crate::error::{Error, Result};
use crate::types::{Control, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Which field of a file's objects holds what. Names joined with dots reach into nested objects: `meta.topic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// What is asked; must be there and not blank. Default `instruction`.
    pub instruction: String,
    /// What it is asked about; missing or null in a record means empty. Default `input`.
    pub input: String,
    /// The response, a text or a list of texts; must be there. Default `response`.
    pub response: String,
    /// The record's id; where none is named, ids are the file's name and the line (or list index). Default none.
    pub id: Option<String>,
    /// The category, a text or number; where none is named, the file's name. Default none.
    pub category: Option<String>,
    /// The family, a text or number; where none is named, the category. Default none.
    pub family: Option<String>,
    /// What happens to records with a blank response. Default an error.
    pub blank_response: BlankResponse,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            instruction: "instruction".into(),
            input: "input".into(),
            response: "response".into(),
            id: None,
            category: None,
            family: None,
            blank_response: BlankResponse::Error,
        }
    }
}

/// Reads one JSON object a line; a file that starts with `[` is read as one JSON list of such objects.
///
/// Lines are read one at a time. Blank lines are passed over.
///
/// # Errors
/// [`Error::Data`] with file, line (or JSON path) and field for a record that cannot be used, for bytes that are not
/// UTF-8, and for a file without records; [`Error::Io`]; [`Error::Cancelled`].
pub fn load_jsonl(file: &Path, fields: &Fields, control: &Control) -> Result<Dataset> {
    let name = source::stem(file);
    let mut records = Vec::new();
    let mut ids = Ids::default();
    let mut take = |object: &Map<String, Value>, place: Place<'_>, number: usize| {
        if let Some(record) = record(object, fields, place, &name, number)? {
            ids.take(&record, fields.id.as_deref().unwrap_or_default(), place)?;
            records.push(record);
        }
        Ok(())
    };
    if starts_a_list(file)? {
        let items = match source::read_json(file)? {
            Value::Array(items) => items,
            other => return Err(Place { file, line: None, path: "" }.expected("", "a list of objects", &other)),
        };
        for (i, item) in items.iter().enumerate() {
            control.check()?;
            let path = format!("[{i}]");
            let place = Place { file, line: None, path: &path };
            take(item.as_object().ok_or_else(|| place.expected("", "an object", item))?, place, i)?;
        }
    } else {
        source::read_lines(file, control, |object, place| take(&object, place, place.line.unwrap_or_default()))?;
    }
    Dataset::new(name, source::at_least_one(records, file)?)
}

/// Whether the first byte that is not white space opens a list.
fn starts_a_list(file: &Path) -> Result<bool> {
    let reader = BufReader::new(File::open(file).map_err(|e| Error::io(file, e))?);
    for byte in reader.bytes() {
        let byte = byte.map_err(|e| Error::io(file, e))?;
        if !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(&byte) {
            return Ok(byte == b'[');
        }
    }
    Ok(false)
}

fn record(
    object: &Map<String, Value>,
    fields: &Fields,
    place: Place<'_>,
    name: &str,
    number: usize,
) -> Result<Option<Record>> {
    let instruction = source::filled(object, &fields.instruction, place)?;
    let input = source::optional(object, &fields.input, place)?;
    let responses = source::responses(object, &fields.response, place, fields.blank_response)?;
    if responses.is_empty() {
        return Ok(None);
    }
    let id = match &fields.id {
        Some(field) => source::label(object, field, place)?,
        None => format!("{name}-{number}"),
    };
    let category = match &fields.category {
        Some(field) => source::label(object, field, place)?,
        None => name.to_string(),
    };
    let family = match &fields.family {
        Some(field) => source::label(object, field, place)?,
        None => category.clone(),
    };
    let (instruction, input) = (instruction.into(), input.into());
    Ok(Some(Record { id, instruction, input, responses, category, family }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn load(text: &str, fields: &Fields) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.jsonl");
        std::fs::write(&file, text).unwrap();
        load_jsonl(&file, fields, &Control::default())
    }

    #[test]
    fn fields_are_found_by_name_and_dots() {
        let fields = Fields {
            instruction: "q".into(),
            response: "a.texts".into(),
            id: Some("n".into()),
            category: Some("meta.topic".into()),
            ..Fields::default()
        };
        let text = "\u{feff}{\"q\": \"Why?\", \"a\": {\"texts\": [\"So.\", \"Thus.\"]}, \"n\": 7, \"meta\": {\"topic\": \"x\"}}\n\n";
        let data = load(text, &fields).unwrap();
        assert_eq!(data.name, "data");
        let record = &data.records[0];
        assert_eq!((record.id.as_str(), record.category.as_str(), record.family.as_str()), ("7", "x", "x"));
        assert_eq!(record.responses, ["So.", "Thus."]);
        assert_eq!(record.input, "");
    }

    #[test]
    fn lists_and_lines_read_alike_but_for_the_ids() {
        let lines =
            "{\"instruction\":\"a\",\"response\":\"b\",\"input\":null}\n{\"instruction\":\"c\",\"response\":\"d\"}";
        let list = format!(" [{}]", lines.replace('\n', ","));
        let (lines, list) = (load(lines, &Fields::default()).unwrap(), load(&list, &Fields::default()).unwrap());
        assert_eq!(lines.records[1].id, "data-2");
        assert_eq!(list.records[1].id, "data-1");
        assert_eq!(lines.records[1].responses, list.records[1].responses);
        assert_eq!(lines.records[0].category, "data");
    }

    #[test]
    fn a_broken_record_is_placed() {
        let good = "{\"instruction\":\"a\",\"response\":\"b\"}\n";
        let error = |bad: &str| load(&format!("{good}{bad}"), &Fields::default()).unwrap_err().to_string();
        assert!(
            error("{\"instruction\":\"a\"}")
                .ends_with("data.jsonl:2: field `response`: expected a string or a list of strings, got no such field")
        );
        assert!(
            error("{\"instruction\":3,\"response\":\"b\"}")
                .ends_with(":2: field `instruction`: expected a string, got 3")
        );
        assert!(error("{\"instruction\":\"a\",\"response\":[\"b\",\" \"]}").contains(":2: field `response[1]`"));
        assert!(error("{\"instruction\":").contains(":2: expected JSON"));
        assert!(error("[1]").contains(":2: expected an object, got a list"));
        let list = load(
            "[{\"instruction\":\"a\",\"response\":\"b\"},{\"instruction\":\"\",\"response\":\"b\"}]",
            &Fields::default(),
        );
        assert!(list.unwrap_err().to_string().contains("field `[1].instruction`: expected text, got an empty string"));
        let fields = Fields { id: Some("id".into()), ..Fields::default() };
        let twice = "{\"id\":1,\"instruction\":\"a\",\"response\":\"b\"}\n";
        let error = load(&format!("{twice}{twice}"), &fields).unwrap_err().to_string();
        assert!(
            error.contains(":2: field `id`: expected an id of its own, got `1` again (first at line 1)"),
            "{error}"
        );
    }

    #[test]
    fn blank_responses_are_skipped_on_demand() {
        let text = "{\"instruction\":\"a\",\"response\":\"\"}\n{\"instruction\":\"c\",\"response\":[\"d\",\"\"]}";
        assert!(load(text, &Fields::default()).unwrap_err().to_string().contains(":1: field `response`"));
        let skip = Fields { blank_response: BlankResponse::Skip, ..Fields::default() };
        let data = load(text, &skip).unwrap();
        assert_eq!(data.len(), 1);
        assert_eq!(data.records[0].responses, ["d"]);
        assert!(
            load("{\"instruction\":\"a\",\"response\":\"\"}", &skip).unwrap_err().to_string().contains("at least one")
        );
    }
}
