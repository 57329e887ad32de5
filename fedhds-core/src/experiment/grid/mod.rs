//! The results of a grid: conditions and methods over seeds, of one experiment or of several.

mod build;
mod plot;
mod text;

pub(super) use build::{Cell, Part, build};
pub(super) use plot::svg;

use super::until::CostToTarget;
use crate::metrics::{Interval, Paired, RecoveredShare, SeedDifference, SeedMean};
use serde::{Deserialize, Serialize};

/// The results of a grid. Primary are the differences over seeds, the tasks being fixed; those over tasks stand beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// One row for each condition and method, conditions and methods in the order of the configuration.
    pub rows: Vec<GridRow>,
    /// Each method against each baseline in each condition; null results too.
    pub comparisons: Vec<GridComparison>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// The runs of one method in one condition. Means are over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridRow {
    /// The experiment's name.
    pub experiment: String,
    /// The condition; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method's label.
    pub method: String,
    /// Finished seeds.
    pub seeds: usize,
    /// Mean loss on the test records, in nats, over the seeds.
    pub loss: Option<SeedMean>,
    /// The same with its interval over tasks and records, each record's value being its mean over the seeds.
    pub loss_over_tasks: Option<Interval>,
    /// Which share of the oracle's gain over `random` it gains; none without an oracle, or for the two themselves.
    pub recovered: Option<RecoveredShare>,
    /// Records trained on, each as often as it was.
    pub trained: f64,
    /// Tokens that went through the model in training.
    pub tokens: f64,
    /// What the truth says of them; none without a condition.
    pub truth: Option<MeanTruth>,
    /// The family of test tasks with the highest mean loss.
    pub worst_family: Option<WorstFamily>,
    /// Forward passes over records that scoring took.
    pub passes: f64,
    /// Seconds of all clients in all rounds.
    pub seconds: f64,
    /// Bytes from a client to the server in a round, mean over clients and rounds.
    pub up: f64,
    /// Bytes from the server to a client in a round, likewise.
    pub down: f64,
    /// What it took to reach the target of `[until]`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<CostToTarget>,
}

/// What the truth says of trained records, mean over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanTruth {
    /// Distinct records, near copies of one original counting once.
    pub distinct: f64,
    /// Distinct tasks.
    pub tasks: f64,
    /// Share of the trained records that are not bad, in [0, 1].
    pub purity: f64,
}

/// The family of test tasks that a method does worst on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorstFamily {
    /// Its name.
    pub family: String,
    /// Its mean loss, in nats, over records and seeds.
    pub loss: f64,
}

/// One method against a baseline in one condition, over the seeds that both finished: the method's loss minus the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridComparison {
    /// The experiment's name.
    pub experiment: String,
    /// The condition; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method's label.
    pub method: String,
    /// The baseline's label.
    pub baseline: String,
    /// Records trained on by both, mean over their seeds.
    pub trained: [f64; 2],
    /// The difference over seeds, tasks fixed: the primary result.
    pub over_seeds: SeedDifference,
    /// Its p-value after Holm's correction over all primary comparisons of this table; none for the oracle, of which nothing is claimed,
    /// and for fewer than two seeds.
    pub holm: Option<f64>,
    /// The margin, in nats, within which the two count as level.
    pub margin: f64,
    /// P-value of the two one-sided tests: below 0.05 the two are level by the margin. None for fewer than two seeds.
    pub level: Option<f64>,
    /// The difference over test records and tasks, each record's value being its mean over the seeds.
    pub over_tasks: Paired,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
