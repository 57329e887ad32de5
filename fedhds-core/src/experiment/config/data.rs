//! The data of an experiment: what is read, what is left out, what is held back for the test, what is done to the rest.

use super::conditions::Conditions;
use crate::dataset::embedded::EmbeddedTasks;
use crate::dataset::{
    BadRecord, BlankResponse, DataPreset, Fields, Format, LoadOptions, NaturalInstructionsOptions, Partition, ReadFrom,
    TestRecords,
};
use crate::error::{Error, Result};
use crate::settings::MAX_TOKENS;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What happens to a record longer than `max_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// It is an error that names the record.
    #[default]
    Error,
    /// It is left out, and how many were is said.
    Drop,
}

/// The data of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The format, by its name. It is never guessed here: what the test records are depends on it.
    pub format: Format,
    /// The file or folder; none for a format whose records are generated.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// The seed of caps, test split and partition; the same for all runs, so that they share one federation. With `conditions` partition
    /// and condition are drawn by it and the run's seed together, so that each seed is a federation of its own.
    #[serde(default)]
    pub seed: u64,
    /// Longest record in tokens (prompt, response and end of sequence), at least 2.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// What happens to longer ones.
    #[serde(default)]
    pub too_long: TooLong,
    /// What happens to records without a response.
    #[serde(default)]
    pub blank_response: BlankResponse,
    /// What happens to records that cannot be used otherwise.
    #[serde(default, skip_serializing_if = "BadRecord::is_default")]
    pub bad_record: BadRecord,
    /// Natural Instructions: the folder of split lists under `splits/`.
    #[serde(default = "default_splits")]
    pub splits: String,
    /// Which field (or column) holds what, in place of the format's own names.
    #[serde(default)]
    pub fields: Fields,
    /// Embedded: what is generated.
    #[serde(default)]
    pub embedded: EmbeddedTasks,
    /// Which train records are used.
    #[serde(default)]
    pub train: Caps,
    /// Which records are the test set.
    #[serde(default)]
    pub test: TestConfig,
    /// How the train records are dealt to clients.
    #[serde(default)]
    pub partition: Option<Partition>,
    /// In place of `partition`, `train` and `test`: the paper's preparation of Natural Instructions or Dolly, by name.
    #[serde(default)]
    pub preset: Option<DataPreset>,
    /// What is done to the data, by name: a grid of conditions, methods and seeds. Left out: nothing, and no name in any folder.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
}

/// Limits on what is used; caps are drawn by `data.seed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// At most so many tasks (categories); left out, all.
    pub tasks: Option<usize>,
    /// At most so many records of each task; left out, all.
    pub records_per_task: Option<usize>,
    /// Tasks with fewer usable records are left out; at least 1.
    pub min_records_per_task: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { tasks: None, records_per_task: None, min_records_per_task: 1 }
    }
}

/// The test set. Some formats bring their own ([`Format::test_records`]); elsewhere exactly one of `path`, `categories` and
/// `fraction` says what it is (Dolly: left out, the last category in alphabetical order, as in the paper).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct TestConfig {
    /// A file of the same format.
    pub path: Option<PathBuf>,
    /// These categories of the data.
    pub categories: Vec<String>,
    /// This share of the records, in (0, 1), drawn by `data.seed`.
    pub fraction: Option<f64>,
    /// At most so many tasks; left out, all.
    pub tasks: Option<usize>,
    /// At most so many records of each task; left out, all.
    pub records_per_task: Option<usize>,
}

fn default_max_tokens() -> usize {
    MAX_TOKENS
}

fn default_splits() -> String {
    "default".into()
}

impl DataConfig {
    /// Checks every value, and no file.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn check(&self) -> Result<()> {
        if self.max_tokens < 2 {
            return Err(Error::config("data.max_tokens", format!("expected at least 2, got {}", self.max_tokens)));
        }
        let caps = [
            ("train.tasks", self.train.tasks),
            ("train.records_per_task", self.train.records_per_task),
            ("train.min_records_per_task", Some(self.train.min_records_per_task)),
            ("test.tasks", self.test.tasks),
            ("test.records_per_task", self.test.records_per_task),
        ];
        if let Some((key, _)) = caps.iter().find(|(_, cap)| *cap == Some(0)) {
            return Err(Error::config(format!("data.{key}"), "expected at least 1, got 0"));
        }
        self.check_options()?;
        self.conditions.check()?;
        let partition = match (&self.partition, self.preset) {
            (Some(partition), None) => partition,
            (None, Some(_)) if !self.conditions.is_empty() => {
                let message = "expected none beside `preset`, which deals the records as the paper does";
                return Err(Error::config("data.conditions", message));
            }
            (None, Some(preset)) => return self.check_preset(preset),
            (None, None) => {
                let message =
                    "expected how records are dealt to clients, for example { kind = \"iid\", clients = 10 }, got none";
                return Err(Error::config("data.partition", message));
            }
            (Some(_), Some(_)) => {
                return Err(Error::config("data.preset", "expected no `partition` beside it: the preset says how"));
            }
        };
        self.check_test()?;
        partition.check().map_err(|error| error.under("data.partition"))
    }

    /// How the records of a split are read; none for a format that does not keep its test records apart.
    pub(crate) fn load_options(&self, split: Option<&str>) -> LoadOptions {
        LoadOptions {
            fields: self.fields.clone(),
            blank_response: self.blank_response,
            bad_record: self.bad_record,
            split: split.map(Into::into),
            natural_instructions: NaturalInstructionsOptions { splits: self.splits.clone(), ..Default::default() },
            embedded: self.embedded.clone(),
            keep_text: false,
        }
    }

    /// The loaders' options under the names that they have here.
    fn check_options(&self) -> Result<()> {
        self.format.check(&self.load_options(None)).map_err(|error| match error {
            Error::Parameter { name, expected, got } => {
                let key = if name == "natural_instructions" { "splits" } else { &name };
                Error::config(format!("data.{key}"), format!("expected {expected}, got {got}"))
            }
            other => other,
        })
    }

    /// A preset says what the train and test records are.
    fn check_preset(&self, preset: DataPreset) -> Result<()> {
        if self.format != preset.format() {
            let message = format!("`{}` does not prepare data of this format", preset.name());
            return Err(Error::config("data.preset", message));
        }
        if self.train != Caps::default() || self.test != TestConfig::default() {
            let message = "expected neither `train` nor `test` beside it: the preset says what they are";
            return Err(Error::config("data.preset", message));
        }
        if self.fields != Fields::default() || self.splits != default_splits() {
            let message = "expected neither `fields` nor `splits` beside it: the preset reads the published files";
            return Err(Error::config("data.preset", message));
        }
        Ok(())
    }

    fn check_test(&self) -> Result<()> {
        let test = &self.test;
        if let Some(fraction) = test.fraction
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return Err(Error::config("data.test.fraction", format!("expected a number in (0, 1), got {fraction}")));
        }
        let given = [test.path.is_some(), !test.categories.is_empty(), test.fraction.is_some()];
        let given = given.into_iter().filter(|g| *g).count();
        let expected = match (self.format.test_records(), given) {
            (TestRecords::Own | TestRecords::LastCategory, 0) => return Ok(()),
            (TestRecords::Chosen | TestRecords::LastCategory, 1) => return Ok(()),
            (TestRecords::Own, _) => {
                "none of `path`, `categories` and `fraction`: this format has test tasks of its own"
            }
            _ => "exactly one of `path`, `categories` and `fraction`",
        };
        Err(Error::config("data.test", format!("expected {expected}, got {given} of them")))
    }

    /// Checks that the files are there.
    ///
    /// # Errors
    /// [`Error::Config`] with the key.
    pub fn check_path(&self) -> Result<()> {
        let wants = self.format.read_from();
        let Some(path) = &self.path else {
            return match wants {
                ReadFrom::Nothing => Ok(()),
                _ => Err(Error::config("data.path", "expected the data's file or folder (or --data), got nothing")),
            };
        };
        if wants == ReadFrom::Nothing {
            return Err(Error::config(
                "data.path",
                format!("expected none: the records of `{}` are generated", self.format),
            ));
        }
        if !path.exists() {
            let message = format!("expected the data's file or folder, but {} does not exist", path.display());
            return Err(Error::config("data.path", message));
        }
        let kind = if path.is_dir() { ReadFrom::Folder } else { ReadFrom::File };
        if kind != wants {
            let expected = if wants == ReadFrom::Folder { "a folder" } else { "a file" };
            let got = if kind == ReadFrom::Folder { "a folder" } else { "a file" };
            let message = format!("expected {expected} for `{}`, but {} is {got}", self.format, path.display());
            return Err(Error::config("data.path", message));
        }
        match &self.test.path {
            Some(test) if !test.is_file() => {
                let message = format!("expected a file, but {} is none", test.display());
                Err(Error::config("data.test.path", message))
            }
            _ => Ok(()),
        }
    }
}
