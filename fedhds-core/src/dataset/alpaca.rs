//! Stanford Alpaca's form: `instruction`, `input` and `output`, as one JSON list or as JSON lines.

use super::fields::{Fields, ROLES};
use super::jsonl;
use super::loaded::Collected;
use super::options::LoadOptions;
use super::reader::{Reader, Sample};
use super::source::Source;
use crate::error::Result;
use crate::types::Control;

/// `alpaca_data.json` and its many relatives. The form has no categories: all records belong to one that bears the file's
/// name. The original file holds records with an empty output, which [`BlankResponse::Skip`](super::BlankResponse::Skip)
/// leaves out.
pub(super) struct Alpaca;

fn own() -> Fields {
    Fields { response: Some("output".into()), ..Fields::plain() }
}

impl Reader for Alpaca {
    fn name(&self) -> &'static str {
        "alpaca"
    }

    fn about(&self) -> &'static str {
        "Stanford Alpaca: JSON objects with instruction, input and output"
    }

    fn roles(&self) -> &'static [&'static str] {
        ROLES
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        jsonl::recognise(sample, &own(), &["output"])
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
        let format = Format::by_name("alpaca").unwrap();
        format.load(file, &options, &Control::default()).map(|loaded| loaded.dataset)
    }

    #[test]
    fn list_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let one = "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}";
        let two = "{\"instruction\": \"Greet.\", \"input\": \"\", \"output\": \"\"}";
        for text in [format!("[{one},\n {two}]"), format!("{one}\n{two}\n")] {
            let file = folder.path().join("alpaca_data.json");
            std::fs::write(&file, text).unwrap();
            assert!(load(&file, BlankResponse::Error).is_err());
            let data = load(&file, BlankResponse::Skip).unwrap();
            assert_eq!(data.len(), 1);
            assert_eq!(data.records[0].input, "1 2");
            assert_eq!(data.records[0].category, "alpaca_data");
        }
    }
}
