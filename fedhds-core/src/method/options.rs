//! The options of a method that are no stages: what happens to noise, what trains again, and how many records train.

use crate::error::{Error, Result};
use crate::types::Round;
use serde::{Deserialize, Serialize};

/// What happens to rows that the clusterer calls noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// They belong to no group (the paper), and with them goes what only one client, or one record, has.
    #[default]
    Drop,
    /// Each is a group of its own, so that rare topics stay within reach.
    Singletons,
}

/// What a client sends whose records form no group: too few of them, or all of them noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ungrouped {
    /// No group (the paper): it does not train in this round.
    #[default]
    Skip,
    /// One group of all its records. HDBSCAN may not return a single cluster, so that a client which holds one coherent topic
    /// looks like noise to it: this keeps such clients.
    OneGroup,
}

/// Whether a client picks a record again that it trained on in an earlier round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// Like any other (the paper). The record nearest to a group's centre stays the same where the groups do: with a frozen
    /// proxy a client that is sampled again trains on the same few records again.
    #[default]
    Allow,
    /// Only where the chosen group has none left that it has not trained on. The same number of records then covers more of the
    /// group.
    Avoid,
    /// Never: where the chosen group has none left, a spare group gives one, and where there is none, the client trains on fewer
    /// records than ordered; what is missing goes to the next round.
    Never,
}

/// When a client groups its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regroup {
    /// In every round that it takes part in (the paper): with the tuned model's features the groups follow what the model has learnt.
    #[default]
    EachRound,
    /// Once for its data. The server keeps the groups, and what each has given: later rounds send a digest of eight bytes, and choose
    /// for all clients together. Groups that are made anew for what is left would tell single records by the difference of two uploads.
    /// New records form new groups.
    Once,
}

/// What near copies among a client's records count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copies {
    /// Each is a record (the paper).
    #[default]
    Keep,
    /// Together they are one record: sizes count them once, and one of them may train.
    Collapse,
}

/// What a server accepts of one client, so that no client can make it work or remember without end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most groups of a summary, at least 1; default 4,096. A summary with more is refused.
    pub max_groups: usize,
    /// The most records that a group counts for, at least 1; default 1,000,000. A larger one counts as so many.
    pub max_group_records: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_groups: 4096, max_group_records: 1_000_000 }
    }
}

impl Limits {
    /// # Errors
    /// [`Error::Parameter`] for a limit of 0.
    pub fn check(&self) -> Result<()> {
        if self.max_groups == 0 {
            return Err(Error::parameter("server.limits.max_groups", "at least 1", 0));
        }
        if self.max_group_records == 0 {
            return Err(Error::parameter("server.limits.max_group_records", "at least 1", 0));
        }
        Ok(())
    }
}

/// How many records train in a round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// One record per cluster that the server finds (the paper): the clustering decides, and the count varies from round to
    /// round; it may be none.
    #[default]
    PerCluster,
    /// So many records, at least 1: met exactly where the clients' groups hold so many, all of them where they hold fewer.
    Budget(usize),
    /// This share of the records in the clients' groups, in (0, 1], rounded to the nearest count, at least 1: met as a budget.
    Ratio(f64),
    /// So many records in each round, that of the first round first, met as a budget; 0 is a round without a selection, and so is
    /// one past the end. For a baseline at the count that another method's clustering decided on.
    PerRound(Vec<usize>),
    /// Every record in a group.
    All,
}

impl Count {
    /// # Errors
    /// [`Error::Parameter`] for a budget of 0 or a ratio outside (0, 1].
    pub fn check(&self) -> Result<()> {
        match self {
            Count::Budget(0) => Err(Error::parameter("count.budget", "at least 1", 0)),
            Count::Ratio(ratio) if !(*ratio > 0.0 && *ratio <= 1.0) => {
                Err(Error::parameter("count.ratio", "above 0 and at most 1", ratio))
            }
            _ => Ok(()),
        }
    }

    /// The records that a round asks for, where `records` records are in groups: as [`budget`](Count::budget), but a number that the
    /// configuration names stays what it is where the groups hold fewer.
    pub fn asked(&self, round: Round, records: usize) -> Option<usize> {
        match self {
            Count::Budget(budget) => Some(*budget),
            Count::PerRound(counts) => Some(counts.get(round.0 as usize).copied().unwrap_or_default()),
            _ => self.budget(round, records),
        }
    }

    /// The budget of a round where `records` records are in groups; `None` where the clustering decides.
    pub fn budget(&self, round: Round, records: usize) -> Option<usize> {
        match self {
            Count::PerCluster => None,
            Count::Budget(budget) => Some(records.min(*budget)),
            Count::Ratio(ratio) => Some(((*ratio * records as f64).round() as usize).clamp(records.min(1), records)),
            Count::PerRound(counts) => Some(counts.get(round.0 as usize).map_or(0, |count| records.min(*count))),
            Count::All => Some(records),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_budgets() {
        assert_eq!(Count::PerCluster.budget(Round(0), 10), None);
        assert_eq!(Count::Budget(4).budget(Round(0), 10), Some(4));
        assert_eq!(Count::Budget(40).budget(Round(0), 10), Some(10));
        assert_eq!(Count::Ratio(0.25).budget(Round(0), 10), Some(3));
        assert_eq!(Count::Ratio(1e-9).budget(Round(0), 10), Some(1));
        assert_eq!(Count::Ratio(0.5).budget(Round(0), 0), Some(0));
        assert_eq!(Count::All.budget(Round(0), 10), Some(10));
        let counts = Count::PerRound(vec![3, 0]);
        assert_eq!([0, 1, 2].map(|round| counts.budget(Round(round), 10)), [Some(3), Some(0), Some(0)]);
        assert_eq!(counts.budget(Round(0), 2), Some(2));
        for bad in [Count::Budget(0), Count::Ratio(0.0), Count::Ratio(1.5), Count::Ratio(f64::NAN)] {
            assert!(bad.check().is_err());
        }
    }
}
