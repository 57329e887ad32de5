//! What the truth says of the records that a run trained on.

use crate::dataset::Truth;
use crate::error::{Error, Result};
use crate::simulate::{RoundRecord, atomic_write};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a run trained on, as the truth knows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedTruth {
    /// Distinct records: near copies of one original count once.
    pub distinct: usize,
    /// Distinct tasks that their prompts are of.
    pub tasks: usize,
    /// Share of the trained records, repeats counted, that are not bad, in [0, 1]; 1 where none was trained.
    pub purity: f64,
}

impl TrainedTruth {
    pub(super) fn of(rounds: &[RoundRecord], truth: &Truth) -> Self {
        let trained = || rounds.iter().flat_map(|r| &r.clients).flat_map(|c| &c.selected);
        Self { distinct: truth.distinct(trained()), tasks: truth.tasks(trained()), purity: truth.purity(trained()) }
    }
}

/// The truth of one condition and seed, for a file beside its cells.
#[derive(Serialize)]
struct TruthFile<'a> {
    condition: &'a str,
    seed: u64,
    #[serde(flatten)]
    truth: &'a Truth,
}

/// Writes the truth of the clients of a condition and seed, unless the file says it already.
pub(super) fn write(truth: &Truth, condition: &str, seed: u64, path: &Path) -> Result<()> {
    let file = TruthFile { condition, seed, truth };
    let json = serde_json::to_vec(&file).map_err(|e| Error::input("truth", "what JSON can hold", e))?;
    if std::fs::read(path).is_ok_and(|before| before == json) {
        return Ok(());
    }
    atomic_write(path, &json)
}
