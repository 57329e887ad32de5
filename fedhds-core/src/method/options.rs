//! The options of a method that are no stages: what happens to noise, and what trains again.

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

/// What a server accepts of its clients, so that none of them can make it work or remember without end, or move the adapter without end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most groups of a summary, at least 1; default 4,096. A summary with more is refused.
    pub max_groups: usize,
    /// The most records that a group counts for, at least 1; default 1,000,000. A larger one counts as so many.
    pub max_group_records: u32,
    /// The most groups of all clients of a round, at least 1; default 262,144. Where there are more, the clients with the most groups are left
    /// out, until so many are left. One client alone may always send [`max_groups`](Limits::max_groups).
    #[serde(skip_serializing_if = "usual_groups")]
    pub max_round_groups: usize,
    /// How far a client's adapter may lie from the global one, in medians of how far those of the round lie, at least 1; default 10,000, which
    /// honest clients do not come near. One that lies farther is drawn back to this distance, and the round's report says so.
    #[serde(skip_serializing_if = "usual_step")]
    pub max_step: f64,
}

const MAX_ROUND_GROUPS: usize = 1 << 18;
const MAX_STEP: f64 = 10_000.0;

fn usual_groups(groups: &usize) -> bool {
    *groups == MAX_ROUND_GROUPS
}

fn usual_step(step: &f64) -> bool {
    *step == MAX_STEP
}

impl Default for Limits {
    fn default() -> Self {
        let (max_round_groups, max_step) = (MAX_ROUND_GROUPS, MAX_STEP);
        Self { max_groups: 4096, max_group_records: 1_000_000, max_round_groups, max_step }
    }
}

impl Limits {
    /// # Errors
    /// [`Error::Parameter`] for a limit of 0, and a step below 1 or not finite.
    pub fn check(&self) -> Result<()> {
        if self.max_groups == 0 {
            return Err(Error::parameter("server.limits.max_groups", "at least 1", 0));
        }
        if self.max_group_records == 0 {
            return Err(Error::parameter("server.limits.max_group_records", "at least 1", 0));
        }
        if self.max_round_groups == 0 {
            return Err(Error::parameter("server.limits.max_round_groups", "at least 1", 0));
        }
        if !(self.max_step.is_finite() && self.max_step >= 1.0) {
            return Err(Error::parameter("server.limits.max_step", "a finite number of at least 1", self.max_step));
        }
        Ok(())
    }

    /// The most groups of all clients of a round.
    pub(crate) fn of_round(&self) -> usize {
        self.max_round_groups.max(self.max_groups)
    }
}
