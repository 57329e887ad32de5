//! Stanford Alpaca's form: `instruction`, `input` and `output`, as one JSON list or as JSON lines.

use super::jsonl::{Fields, load_jsonl};
use super::{BlankResponse, Dataset};
use crate::error::Result;
use crate::types::Control;
use std::path::Path;

/// Reads `alpaca_data.json` and its many relatives. The form has no categories: all records belong to one that bears the
/// file's name. The original file holds records with an empty output: [`BlankResponse::Skip`] leaves them out.
///
/// # Errors
/// As [`load_jsonl`].
pub fn load_alpaca(file: &Path, blank_response: BlankResponse, control: &Control) -> Result<Dataset> {
    load_jsonl(file, &Fields { response: "output".into(), blank_response, ..Fields::default() }, control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn list_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let one = "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}";
        let two = "{\"instruction\": \"Greet.\", \"input\": \"\", \"output\": \"\"}";
        for text in [format!("[{one},\n {two}]"), format!("{one}\n{two}\n")] {
            let file = folder.path().join("alpaca_data.json");
            std::fs::write(&file, text).unwrap();
            assert!(load_alpaca(&file, BlankResponse::Error, &Control::default()).is_err());
            let data = load_alpaca(&file, BlankResponse::Skip, &Control::default()).unwrap();
            assert_eq!(data.len(), 1);
            assert_eq!(data.records[0].input, "1 2");
            assert_eq!(data.records[0].category, "alpaca_data");
        }
    }
}
