//! What the gate saw with one method, condition and seed: a JSON file.

use super::super::record_file::{self, RecordFile};
use super::super::run_record::Versions;
use crate::dataset::{ClientData, Truth};
use crate::error::Result;
use crate::protocol::GateAnswer;
use crate::server::GateReport;
use crate::simulate::{GateOutcome, RunIdentity};
use crate::types::ClientId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The number of the record's schema; it changes whenever a field changes its meaning or goes.
pub(super) const SCHEMA: u32 = 1;

/// What the gate saw in one run: one method with one seed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRecord {
    /// The schema of the release that wrote it.
    pub schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// The data condition by its name; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method's label.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// Every setting that the result depends on.
    pub identity: RunIdentity,
    /// What it ran with; empty in records of releases that did not say it.
    #[serde(default)]
    pub versions: Versions,
    /// What the gate said, round by round; none for a round in which no client had any group.
    pub rounds: Vec<Option<GateReport>>,
    /// Clients of the federation.
    pub clients: usize,
    /// Clients that were asked in some round.
    pub asked: usize,
    /// Forward passes over whole records that the asked clients took together.
    pub passes: u64,
    /// The records that were scored.
    pub scored: ScoredRecords,
    /// What the truth says of them; none where nobody knows it.
    pub truth: Option<GateTruth>,
    /// Clients that were left out, and why.
    pub left_out: BTreeMap<ClientId, String>,
}

/// Records with their scores `ln(decoy loss) - ln(own loss)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoredRecords {
    /// How many records.
    pub records: u64,
    /// Their scores, one for each decoy, by the bins of [`GateAnswer::EDGES`], the lowest first.
    pub bins: [u64; 14],
}

/// The truth about the records of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateTruth {
    /// Records that the clients hold.
    pub records: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// The bad ones among the scored records.
    pub scored: ScoredRecords,
}

impl ScoredRecords {
    fn add(&mut self, scores: &[f64]) {
        self.records += 1;
        scores.iter().for_each(|score| self.bins[GateAnswer::bin(*score)] += 1);
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.records += other.records;
        self.bins.iter_mut().zip(other.bins).for_each(|(sum, bin)| *sum += bin);
        self
    }

    /// These without some of them.
    #[must_use]
    pub fn without(mut self, some: &Self) -> Self {
        self.records = self.records.saturating_sub(some.records);
        self.bins.iter_mut().zip(some.bins).for_each(|(left, bin)| *left = left.saturating_sub(bin));
        self
    }

    /// Twice the share of the scores that lie below 0: about 1 where records are bad, the gate's `base` where they are good. None
    /// without scores.
    pub fn doubled_share(&self) -> Option<f64> {
        let all: u64 = self.bins.iter().sum();
        let below: u64 = self.bins.iter().take(7).sum();
        (all > 0).then(|| 2.0 * below as f64 / all as f64)
    }
}

impl GateTruth {
    /// The share of bad records among all that the clients hold; 0 where they hold none.
    pub fn share(&self) -> f64 {
        self.bad as f64 / self.records.max(1) as f64
    }
}

impl RecordFile for GateRecord {
    const NAME: &'static str = "record of a gate";
    const SCHEMA: u32 = SCHEMA;
}

impl GateRecord {
    /// What an outcome says, with the truth of who knows it. What names the run is left empty.
    pub(super) fn of(outcome: GateOutcome, clients: &[ClientData], truth: Option<&Truth>) -> Self {
        let GateOutcome { rounds, pilots, left_out } = outcome;
        let mut scored = ScoredRecords::default();
        let mut bad = ScoredRecords::default();
        for (id, scores) in pilots.values().flat_map(|pilot| &pilot.scores) {
            scored.add(scores);
            if truth.is_some_and(|truth| truth.is_bad(id)) {
                bad.add(scores);
            }
        }
        let held = || clients.iter().flat_map(|client| &client.records);
        let truth = truth.map(|truth| GateTruth {
            records: held().count() as u64,
            bad: held().filter(|record| truth.is_bad(&record.id)).count() as u64,
            scored: bad,
        });
        let passes = pilots.values().map(|pilot| pilot.passes).sum();
        Self { rounds, asked: pilots.len(), passes, scored, truth, left_out, ..Self::default() }
    }

    /// What the gate said last.
    pub fn last(&self) -> Option<&GateReport> {
        self.rounds.iter().rev().flatten().next()
    }

    /// Whether it was open in some round.
    pub fn ever_open(&self) -> bool {
        self.rounds.iter().flatten().any(|report| report.open)
    }

    /// Writes the record as JSON.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        record_file::save(self, path.as_ref())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Checkpoint`](crate::Error::Checkpoint) for a file of another schema, or that is none.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        record_file::load(path.as_ref())
    }

    /// The record of this identity, where it was finished before.
    pub(super) fn finished(path: &Path, identity: &RunIdentity) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let record = Self::load(path)?;
        match identity.difference(&record.identity) {
            None => Ok(Some(record)),
            Some(difference) => Err(super::super::cell::other_run(path, &difference)),
        }
    }
}
