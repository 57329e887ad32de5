//! How a data set is read: options of all formats, and of one.

#[cfg(feature = "experiment")]
use super::embedded::EmbeddedTasks;
use super::fields::Fields;
use super::values::{BadRecord, BlankResponse};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a data set is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadOptions {
    /// Names of fields in place of the format's own.
    pub fields: Fields,
    /// What happens to records with a blank response. Default an error.
    pub blank_response: BlankResponse,
    /// What happens to records that cannot be used. Default an error.
    pub bad_record: BadRecord,
    /// `train` or `test`, of a format that keeps its test records apart; none means `train`. Default none.
    pub split: Option<String>,
    /// Of Natural Instructions: which lists, and how much.
    pub natural_instructions: NaturalInstructionsOptions,
    /// Of the embedded tasks: what is generated.
    #[cfg(feature = "experiment")]
    pub embedded: EmbeddedTasks,
    /// Whether [`Origin::text`](super::Origin::text) is kept, at the price of the data's size in memory. Default no.
    pub keep_text: bool,
}

/// How a folder of Natural Instructions is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NaturalInstructionsOptions {
    /// The folder of split lists under `splits/`. Default `default` (the English track).
    pub splits: String,
    /// At most so many tasks, the first of the list; none means all. Default none.
    pub max_tasks: Option<usize>,
    /// At most so many records of a task, the first of its file; none means all. Default none.
    pub max_records_per_task: Option<usize>,
}

impl Default for NaturalInstructionsOptions {
    fn default() -> Self {
        Self { splits: "default".into(), max_tasks: None, max_records_per_task: None }
    }
}

impl NaturalInstructionsOptions {
    pub(super) fn check(&self) -> Result<()> {
        for (name, most) in [("max_tasks", self.max_tasks), ("max_records_per_task", self.max_records_per_task)] {
            if most == Some(0) {
                return Err(Error::parameter(name, "at least 1, or none for all", 0));
            }
        }
        if !is_name(&self.splits) {
            return Err(Error::parameter("splits", "the name of a folder in splits/", &self.splits));
        }
        Ok(())
    }
}

/// Whether a text from outside names something in a folder, and nothing elsewhere.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\\', '\0']) && !text.starts_with('.')
}
