//! How text is generated.

use crate::error::Result;
use crate::types::range::at_least;
use serde::{Deserialize, Serialize};

/// Settings of greedy generation; the defaults are the paper's (section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateConfig {
    /// Most tokens that are generated for one prompt, at least 1.
    pub max_new_tokens: usize,
    /// Test records of an experiment for which text is generated, spread evenly over the tasks: 0 for none of them, not set for
    /// all. The loss is always measured on all. `simulate::TestSet` heeds it; a generation continues every
    /// prompt that it is given.
    pub records: Option<usize>,
    /// Prompts or records that go through the model side by side, at least 1; the texts do not depend on it.
    pub batch_size: usize,
    /// Batches that are at work at the same time, each on a thread of its own, at least 1; the texts do not depend on it. Not in
    /// a file: there it is `workers`.
    #[serde(skip)]
    pub batches_at_once: usize,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self { max_new_tokens: 128, records: None, batch_size: 8, batches_at_once: 1 }
    }
}

impl GenerateConfig {
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        at_least("max_new_tokens", self.max_new_tokens, 1)?;
        at_least("batch_size", self.batch_size, 1)?;
        at_least("batches_at_once", self.batches_at_once, 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_range() {
        let paper = GenerateConfig::default();
        paper.check().unwrap();
        let most = usize::MAX;
        GenerateConfig { max_new_tokens: most, records: Some(0), batch_size: most, batches_at_once: most }
            .check()
            .unwrap();
        for (name, wrong) in [
            ("max_new_tokens", GenerateConfig { max_new_tokens: 0, ..paper.clone() }),
            ("batch_size", GenerateConfig { batch_size: 0, ..paper.clone() }),
            ("batches_at_once", GenerateConfig { batches_at_once: 0, ..paper.clone() }),
        ] {
            let expected = format!("{name}: expected a whole number of at least 1, got 0");
            assert_eq!(wrong.check().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_file_says_neither_less_nor_more() {
        assert_eq!(toml::from_str::<GenerateConfig>("").unwrap(), GenerateConfig::default());
        let read: GenerateConfig = toml::from_str("max_new_tokens = 7\nrecords = 3\nbatch_size = 2").unwrap();
        assert_eq!((read.max_new_tokens, read.records, read.batch_size, read.batches_at_once), (7, Some(3), 2, 1));
        assert!(toml::from_str::<GenerateConfig>("batches_at_once = 2").is_err());
    }
}
