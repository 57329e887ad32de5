//! The options of a method that are no stages: what happens to noise, and how many records train.

use crate::error::{Error, Result};
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

/// How many records train in a round.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
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
    /// Every record in a group.
    All,
}

impl Count {
    /// # Errors
    /// [`Error::Parameter`] for a budget of 0 or a ratio outside (0, 1].
    pub fn check(&self) -> Result<()> {
        match *self {
            Count::Budget(0) => Err(Error::parameter("count.budget", "at least 1", 0)),
            Count::Ratio(ratio) if !(ratio > 0.0 && ratio <= 1.0) => {
                Err(Error::parameter("count.ratio", "above 0 and at most 1", ratio))
            }
            _ => Ok(()),
        }
    }

    /// The budget where `records` records are in groups; `None` where the clustering decides.
    pub fn budget(&self, records: usize) -> Option<usize> {
        match *self {
            Count::PerCluster => None,
            Count::Budget(budget) => Some(budget.min(records)),
            Count::Ratio(ratio) => Some(((ratio * records as f64).round() as usize).clamp(records.min(1), records)),
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
        assert_eq!(Count::PerCluster.budget(10), None);
        assert_eq!(Count::Budget(4).budget(10), Some(4));
        assert_eq!(Count::Budget(40).budget(10), Some(10));
        assert_eq!(Count::Ratio(0.25).budget(10), Some(3));
        assert_eq!(Count::Ratio(1e-9).budget(10), Some(1));
        assert_eq!(Count::Ratio(0.5).budget(0), Some(0));
        assert_eq!(Count::All.budget(10), Some(10));
        for bad in [Count::Budget(0), Count::Ratio(0.0), Count::Ratio(1.5), Count::Ratio(f64::NAN)] {
            assert!(bad.check().is_err());
        }
    }
}
