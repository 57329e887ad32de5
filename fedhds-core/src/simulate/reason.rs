//! Why the records of a round were picked: what the server and the client know, side by side.
//!
//! Neither tells the other. The run record may hold both, as whoever simulates a federation sees all of it.

use crate::client::Choice;
use crate::server::{GroupReason, Selection};
use crate::types::{ClientId, ClusterId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A group of a client's that was ordered, or of which the client looked at a record, and what the server knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The client's number for it.
    pub group: ClusterId,
    /// Records in it, as the client reported them.
    pub size: u32,
    /// Records that were ordered of it; 0 for a spare group.
    pub ordered: u32,
    /// The server's cluster of it; none for noise and where nothing was clustered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cluster: Option<ClusterId>,
    /// Why it gives them, as far as the server knows.
    #[serde(flatten)]
    pub reason: GroupReason,
}

/// What the client knows of a record that it picked or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordReason {
    /// Its group.
    pub group: ClusterId,
    /// Whether it came in the place of a record that an ordered group could not give.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spare: bool,
    /// Its mean score, where an open gate looked at it; higher is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

impl From<&Choice> for RecordReason {
    fn from(choice: &Choice) -> Self {
        // JSON has no infinite numbers.
        Self { group: choice.group, spare: choice.spare, score: choice.score.filter(|score| score.is_finite()) }
    }
}

/// The groups of a client that were ordered or that are among those of `reasons`, ascending.
pub(super) fn groups_of<'a>(
    selection: &Selection,
    client: ClientId,
    reasons: impl Iterator<Item = &'a RecordReason>,
) -> Vec<GroupRecord> {
    let from = selection.groups.partition_point(|group| group.client < client);
    let own = selection.groups[from..].iter().take_while(|group| group.client == client);
    let looked_at: BTreeSet<ClusterId> = reasons.map(|reason| reason.group).collect();
    own.filter(|group| group.records > 0 || looked_at.contains(&group.cluster))
        .map(|group| GroupRecord {
            group: group.cluster,
            size: group.size,
            ordered: group.records,
            server_cluster: group.server_cluster,
            reason: group.reason,
        })
        .collect()
}
