//! Databricks' Dolly-15K: one JSON object a line with `instruction`, `context`, `response` and `category`.

use super::fields::{Fields, ROLES};
use super::jsonl;
use super::loaded::Collected;
use super::options::LoadOptions;
use super::reader::{Reader, Sample, TestRecords};
use super::source::Source;
use crate::error::Result;
use crate::types::Control;

/// `databricks-dolly-15k.jsonl`; a record's family is its category.
pub(super) struct Dolly;

fn own() -> Fields {
    Fields { input: Some("context".into()), category: Some("category".into()), ..Fields::plain() }
}

impl Reader for Dolly {
    fn name(&self) -> &'static str {
        "dolly"
    }

    fn about(&self) -> &'static str {
        "Databricks' Dolly-15K: JSON objects with instruction, context, response and category"
    }

    fn test_records(&self) -> TestRecords {
        TestRecords::LastCategory
    }

    fn roles(&self) -> &'static [&'static str] {
        ROLES
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        jsonl::recognise(sample, &own(), &["context", "category"])
    }

    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()> {
        jsonl::read(source, &own(), options, control, records)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{BlankResponse, Dataset, Format};
    use super::*;
    use std::path::Path;

    fn load(file: &Path, blank_response: BlankResponse) -> Result<Dataset> {
        let options = LoadOptions { blank_response, ..LoadOptions::default() };
        let format = Format::by_name("dolly").unwrap();
        format.load(file, &options, &Control::default()).map(|loaded| loaded.dataset)
    }

    #[test]
    fn context_is_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dolly.jsonl");
        let line = "{\"instruction\": \"When?\", \"context\": \"In 2000.\", \"response\": \"2000\", \"category\": \"closed_qa\"}";
        std::fs::write(&file, line).unwrap();
        let data = load(&file, BlankResponse::Error).unwrap();
        let record = &data.records[0];
        assert_eq!(
            (record.input.as_str(), record.category.as_str(), record.id.as_str()),
            ("In 2000.", "closed_qa", "dolly-1")
        );
        std::fs::write(&file, line.replace("category", "class")).unwrap();
        let error = load(&file, BlankResponse::Error).unwrap_err().to_string();
        assert!(error.ends_with("dolly.jsonl:1: field `category`: expected a string, got no such field"), "{error}");
    }
}
