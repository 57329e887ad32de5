//! One instruction record.

use serde::{Deserialize, Serialize};

/// One instruction record, before any prompt template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Unique within its data set; what run records and error messages name.
    pub id: String,
    /// What is asked (Natural Instructions: `Definition`).
    pub instruction: String,
    /// What it is asked about; empty where the instruction says all.
    #[serde(default)]
    pub input: String,
    /// The reference responses; training uses the first, evaluation the best match over all. Never empty.
    pub responses: Vec<String>,
    /// The task (Natural Instructions) or category (Dolly) that it belongs to; what partitioners and means by task group by.
    #[serde(default)]
    pub category: String,
    /// The data set that the task came from, where several tasks share one; else equal to `category`.
    #[serde(default)]
    pub family: String,
}

impl Record {
    /// The response that training uses; empty for a record without responses, which no loader makes.
    pub fn response(&self) -> &str {
        self.responses.first().map_or("", String::as_str)
    }
}
