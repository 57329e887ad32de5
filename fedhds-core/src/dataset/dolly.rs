//! Databricks' Dolly-15K: one JSON object a line with `instruction`, `context`, `response` and `category`.

use super::jsonl::{Fields, load_jsonl};
use super::{BlankResponse, Dataset};
use crate::error::Result;
use crate::types::Control;
use std::path::Path;

/// Reads `databricks-dolly-15k.jsonl`; a record's family is its category.
///
/// # Errors
/// As [`load_jsonl`].
pub fn load_dolly(file: &Path, blank_response: BlankResponse, control: &Control) -> Result<Dataset> {
    let fields =
        Fields { input: "context".into(), category: Some("category".into()), blank_response, ..Fields::default() };
    load_jsonl(file, &fields, control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn context_is_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dolly.jsonl");
        let line = "{\"instruction\": \"When?\", \"context\": \"In 2000.\", \"response\": \"2000\", \"category\": \"closed_qa\"}";
        std::fs::write(&file, line).unwrap();
        let data = load_dolly(&file, BlankResponse::Error, &Control::default()).unwrap();
        let record = &data.records[0];
        assert_eq!(
            (record.input.as_str(), record.category.as_str(), record.id.as_str()),
            ("In 2000.", "closed_qa", "dolly-1")
        );
        std::fs::write(&file, line.replace("category", "class")).unwrap();
        let error = load_dolly(&file, BlankResponse::Error, &Control::default()).unwrap_err().to_string();
        assert!(error.ends_with("dolly.jsonl:1: field `category`: expected a string, got no such field"), "{error}");
    }
}
