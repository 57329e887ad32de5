//! Plain JSON lines (or one JSON list) whose fields are named by the user.

use super::fields::{Fields, Maker, ROLES};
use super::loaded::Collected;
use super::objects;
use super::options::LoadOptions;
use super::reader::{Reader, Sample};
use super::source::{self, Place, Source};
use crate::error::Result;
use crate::types::Control;
use std::path::Path;

/// One JSON object a line; a file that starts with `[` is one JSON list of such objects.
pub(super) struct Jsonl;

impl Reader for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn about(&self) -> &'static str {
        "one JSON object a line, or one JSON list of objects"
    }

    fn roles(&self) -> &'static [&'static str] {
        ROLES
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        match sample.source.path() {
            Some(file) if !sample.folder => sample.given.guess(sample.first()?, Place::whole(file)).map(Some),
            _ => Ok(None),
        }
    }

    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()> {
        read(source, &Fields::plain(), options, control, records)
    }
}

/// Reads objects under the names of the options, and `own` ones where those are silent.
pub(super) fn read(
    source: &Source<'_>,
    own: &Fields,
    options: &LoadOptions,
    control: &Control,
    records: &mut Collected<'_>,
) -> Result<()> {
    let stem = source::stem(source.path().unwrap_or(Path::new("")));
    let mut maker = Maker::new(options.fields.or(own), options.blank_response, &stem);
    objects::read(source, control, |object| records.take(maker.record(object), Some(object.at), |_| object.text()))
}

/// The names of a file that differs from plain JSON lines in `own` names alone: it has one of `telling`, and nothing that
/// the usual names would read otherwise.
pub(super) fn recognise(sample: &Sample<'_>, own: &Fields, telling: &[&str]) -> Result<Option<Fields>> {
    let Some(file) = sample.source.path().filter(|_| !sample.folder) else { return Ok(None) };
    let first = sample.first()?;
    if !telling.iter().any(|name| first.contains_key(*name)) {
        return Ok(None);
    }
    let fields = sample.given.guess(first, Place::whole(file))?;
    Ok(fields.agree(own, first).then_some(fields))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{At, BlankResponse, Dataset, Format};
    use super::*;

    fn load(text: &str, fields: &Fields) -> Result<Dataset> {
        load_with(text, &LoadOptions { fields: fields.clone(), ..LoadOptions::default() }).map(|loaded| loaded.dataset)
    }

    fn load_with(text: &str, options: &LoadOptions) -> Result<super::super::Loaded> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.jsonl");
        std::fs::write(&file, text).unwrap();
        Format::by_name("jsonl").unwrap().load(&file, options, &Control::default())
    }

    #[test]
    fn fields_are_found_by_name_and_dots() {
        let fields = Fields {
            instruction: Some("q".into()),
            response: Some("a.texts".into()),
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
        let skip = LoadOptions { blank_response: BlankResponse::Skip, ..LoadOptions::default() };
        let loaded = load_with(text, &skip).unwrap();
        let data = &loaded.dataset;
        assert_eq!((data.len(), loaded.left_out), (1, 1));
        assert_eq!(loaded.origins[0].at, Some(At::Line(2)));
        assert_eq!(data.records[0].responses, ["d"]);
        assert!(
            load_with("{\"instruction\":\"a\",\"response\":\"\"}", &skip)
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
    }

    #[test]
    fn records_one_by_one_are_those_of_the_whole() {
        let text = "{\"instruction\":\"a\",\"response\":\"b\"}\n\n{\"instruction\":\"c\",\"response\":\"\"}\n{\"instruction\":\"e\",\"response\":\"f\"}";
        let options = LoadOptions { blank_response: BlankResponse::Skip, ..LoadOptions::default() };
        let loaded = load_with(text, &options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.jsonl");
        let each = |text: &str, found: &mut Vec<_>| {
            std::fs::write(&file, text).unwrap();
            let format = Format::by_name("jsonl").unwrap();
            format.each(&file, &options, &Control::default(), &mut |record, origin| found.push((record, origin)))
        };
        let mut found = Vec::new();
        assert_eq!(each(text, &mut found).unwrap().blank, 1);
        let (records, origins): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        assert_eq!((records, &origins), (loaded.dataset.records, &loaded.origins));
        assert_eq!(origins[1].at, Some(At::Line(4)));
        // What came before an error came.
        let mut found = Vec::new();
        assert!(each(&text.replace("\"e\"", "5"), &mut found).unwrap_err().to_string().contains(":4: "));
        assert_eq!(found.len(), 1);
        assert!(
            each("{\"instruction\":\"a\",\"response\":\"\"}", &mut found)
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
    }

    #[test]
    fn what_is_written_for_a_record_is_one_line() {
        let options = LoadOptions { keep_text: true, ..LoadOptions::default() };
        let texts = |text: &str| {
            let origins = load_with(text, &options).unwrap().origins;
            origins.into_iter().map(|origin| origin.text.unwrap()).collect::<Vec<_>>()
        };
        let (one, two) = (
            "{\"response\": \"b\",  \"instruction\": \"a\\n\", \"n\": 1.50}",
            "{\"instruction\":\"c\",\"response\":\"d\"}",
        );
        assert_eq!(texts(&format!("\u{feff}{one}\r\n\n{two}")), [format!("{one}\r\n"), format!("{two}\n")]);
        let list = "[{\n \"response\": \"b\",\r\n \"instruction\": [\"a\"],\n \"n\": 1.50\n}]";
        let fields = Fields { instruction: Some("response".into()), ..Fields::default() };
        let loaded = load_with(list, &LoadOptions { fields, ..options.clone() }).unwrap();
        let kept = "{\"response\": \"b\", \"instruction\": [\"a\"], \"n\": 1.50}\n";
        assert_eq!(loaded.origins[0].text.as_deref(), Some(kept));
        assert_eq!(loaded.origins[0].at, Some(At::Row(0)));
        assert_eq!(load_with(one, &LoadOptions::default()).unwrap().origins[0].text, None);
    }
}
