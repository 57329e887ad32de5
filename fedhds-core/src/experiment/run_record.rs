//! A run as a JSON file: what was asked, what happened, what came of it.
//!
//! The schema has a number, [`SCHEMA`]. A record of another number is refused, never misread. Everything but times, memory
//! and versions is the same on every repetition: [`RunRecord::repeatable`].

use super::record_file::{self, RecordFile};
use super::spent;
use super::truth::TrainedTruth;
use super::until::UntilRecord;
use crate::error::Result;
use crate::metrics::Interval;
use crate::protocol::Direction;
use crate::simulate::{RoundRecord, RunIdentity};
use crate::stage::RecordScore;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The number of the run record's schema; it changes whenever a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// The label of the model as it came.
pub const UNTUNED: &str = "untuned";

/// One run: one method with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// [`SCHEMA`] of the release that wrote it.
    pub schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// The data condition by its name; none in an experiment without conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The method's label; `untuned` for the model as it came.
    pub method: String,
    /// The seed; 0 for the untuned model, which has none.
    pub seed: u64,
    /// The experiment's configuration.
    pub config: serde_json::Value,
    /// The method's settings, every one of them resolved; `null` for the untuned model.
    pub method_settings: serde_json::Value,
    /// Every setting that the result depends on.
    pub identity: RunIdentity,
    /// What it ran with.
    pub versions: Versions,
    /// The data.
    pub data: DataSummary,
    /// The rounds in order; none for the untuned model.
    pub rounds: Vec<RoundRecord>,
    /// The evaluation after the last round.
    pub metrics: Option<Metrics>,
    /// Its scores, one for each test record, in their order.
    pub scores: Vec<RecordScore>,
    /// What the truth says of the records that it trained on, where there is a condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<TrainedTruth>,
    /// What it took to reach the target of `[until]`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilRecord>,
    /// What a reader must know, for example that FedIT was capped.
    pub notes: Vec<String>,
    /// The most memory that the process had held when the run ended, in bytes, what came before the run in the same process
    /// included; `null` where the system does not say.
    pub peak_memory_bytes: Option<u64>,
}

/// What a run ran with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Of this library.
    pub fedhds: String,
    /// The operating system.
    pub os: String,
    /// The processor architecture: the same bits are promised for one machine type only.
    pub architecture: String,
    /// Threads at work.
    pub threads: usize,
}

impl Versions {
    /// Of this process.
    pub fn current() -> Self {
        Self {
            fedhds: env!("CARGO_PKG_VERSION").into(),
            os: std::env::consts::OS.into(),
            architecture: std::env::consts::ARCH.into(),
            threads: rayon::current_num_threads(),
        }
    }
}

/// The data of a federation in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// Clients.
    pub clients: usize,
    /// Records of all clients.
    pub records: usize,
    /// Tokens of all clients' records, prompt and response.
    pub tokens: u64,
    /// Test records.
    pub test_records: usize,
    /// Tokens of the test records.
    pub test_tokens: u64,
}

/// Means over the test records with their 95% intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Loss on response tokens per record, in nats.
    pub loss: Interval,
    /// Rouge-L F1 over the records with a generation, in [0, 1].
    pub rouge_l: Option<Interval>,
    /// Share of generations that equal a reference, in [0, 1].
    pub exact_match: Option<Interval>,
}

impl RecordFile for RunRecord {
    const NAME: &'static str = "run record";
    const SCHEMA: u32 = SCHEMA;
}

impl RunRecord {
    /// Writes the record as JSON, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        record_file::save(self, path.as_ref())
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be read; [`Error::Checkpoint`](crate::Error::Checkpoint) when it is damaged or of another schema.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        record_file::load(path.as_ref())
    }

    /// This record without times, memory and versions: equal for any two runs of one identity on one type of machine.
    #[must_use]
    pub fn repeatable(&self) -> Self {
        Self {
            versions: Versions::default(),
            peak_memory_bytes: None,
            rounds: self.rounds.iter().map(RoundRecord::without_times).collect(),
            until: self.until.as_ref().map(UntilRecord::without_times),
            ..self.clone()
        }
    }

    /// Seconds of all clients in all rounds: what the paper's speed-up compares.
    pub fn client_seconds(&self) -> f64 {
        spent::seconds(&self.rounds)
    }

    /// Clients that took part, summed over the rounds.
    pub fn client_rounds(&self) -> usize {
        self.rounds.iter().map(|r| r.clients.len()).sum()
    }

    /// Distinct records that were trained on at least once.
    pub fn distinct_records(&self) -> usize {
        spent::distinct_records(&self.rounds)
    }

    /// Forward passes over records that scoring took, over all clients and rounds.
    pub fn passes(&self) -> u64 {
        spent::passes(&self.rounds)
    }

    /// Bytes in this direction, over all clients and rounds.
    pub fn bytes(&self, direction: Direction) -> u64 {
        spent::bytes(&self.rounds, direction)
    }

    /// Tokens that went through the model in training, over all clients and rounds.
    pub fn trained_tokens(&self) -> u64 {
        spent::tokens(&self.rounds)
    }

    /// Records trained on, each as often as it was.
    pub fn trained_records(&self) -> usize {
        spent::records(&self.rounds)
    }
}
