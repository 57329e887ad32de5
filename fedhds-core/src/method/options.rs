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
