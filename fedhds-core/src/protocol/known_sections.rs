//! The sections that this release knows, by the message that they belong to.

use super::{Kind, Section};
use crate::types::{ClientId, ClusterId, Round, RowId, Scores, Seed};
use serde::{Deserialize, Serialize};

/// Section 1 of a [`RoundStart`](super::RoundStart): what the random keys of records are derived from, the same in all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordKeys(
    /// The seed; see [`RecordKeys::of`].
    pub Seed,
);

impl RecordKeys {
    /// The key of record number `row` of a client: whoever draws records of it takes those of the smallest keys. Numbers of records mean
    /// nothing outside the client, so that the server learns nothing by knowing the seed.
    pub fn of(self, client: ClientId, row: RowId) -> u64 {
        self.0.derive("client", u64::from(client.0)).derive("record", u64::from(row.0)).0
    }
}

impl Section for RecordKeys {
    const KIND: Kind = Kind::RoundStart;
    const NUMBER: u16 = 1;
    const NAME: &'static str = "record_keys";
}

/// Section 1 of a [`ClientSummary`](super::ClientSummary): the mean of each score over the records of each group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupScores(
    /// One row for each group, in the order of the summary's groups.
    pub Scores,
);

impl GroupScores {
    /// The most scores, and the longest name in bytes: what a client can make a server hold.
    pub const MAX: (usize, usize) = (32, 64);
}

impl Section for GroupScores {
    const KIND: Kind = Kind::ClientSummary;
    const NUMBER: u16 = 1;
    const NAME: &'static str = "group_scores";
}

/// Section 2 of a [`RoundStart`](super::RoundStart): which of the round's clients the server knows the groups of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registered(
    /// In ascending order of the clients.
    pub Vec<RegisteredClient>,
);

/// What the server knows of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredClient {
    /// The client.
    pub client: ClientId,
    /// The [digest](super::GroupsDigest) of its groups: a client that has the same ones sends the digest in their place.
    pub digest: u64,
    /// The last round whose update of this client counted; none where none did. What a client trained on in a later round was lost, and is
    /// open to it again.
    pub credited: Option<Round>,
    /// Whether its answer to the [`GateQuestion`] is known: it is not asked again.
    pub answered: bool,
}

impl Registered {
    /// What the server knows of this client.
    pub fn of(&self, client: ClientId) -> Option<RegisteredClient> {
        self.0.iter().find(|known| known.client == client).copied()
    }
}

impl Section for Registered {
    const KIND: Kind = Kind::RoundStart;
    const NUMBER: u16 = 2;
    const NAME: &'static str = "registered";
}

/// Section 3 of a [`RoundStart`](super::RoundStart): how a client ranks its own prompts among decoys. It may decline, by not answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateQuestion {
    /// Records that it ranks.
    pub representatives: u32,
    /// Decoys of each.
    pub decoys: u32,
    /// Distinct topics that they have at least, else it abstains.
    pub topics: u32,
}

impl Section for GateQuestion {
    const KIND: Kind = Kind::RoundStart;
    const NUMBER: u16 = 3;
    const NAME: &'static str = "gate_question";
}

/// Section 3 of a [`ClientSummary`](super::ClientSummary): the answer to a [`GateQuestion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateAnswer {
    /// The records, or their topics, are too few to tell.
    Abstained,
    /// How the scored records fare against their decoys.
    Scored {
        /// Records that were scored.
        records: u32,
        /// How many scores `ln(decoy loss) - ln(own loss)` lie between two neighbours of [`GateAnswer::EDGES`], the lowest first.
        bins: [u32; 14],
    },
}

impl GateAnswer {
    /// Where the bins end: bin i holds scores from the edge before it, included, to edge i.
    pub const EDGES: [f64; 13] = [-0.8, -0.6, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8];

    /// The bin of a score.
    pub fn bin(score: f64) -> usize {
        Self::EDGES.iter().take_while(|edge| **edge <= score).count()
    }

    /// Records that were scored.
    pub fn records(&self) -> u32 {
        match self {
            GateAnswer::Abstained => 0,
            GateAnswer::Scored { records, .. } => *records,
        }
    }

    /// The histogram of the scores; empty where there are none.
    pub fn bins(&self) -> [u32; 14] {
        match self {
            GateAnswer::Abstained => [0; 14],
            GateAnswer::Scored { bins, .. } => *bins,
        }
    }
}

impl Section for GateAnswer {
    const KIND: Kind = Kind::ClientSummary;
    const NUMBER: u16 = 3;
    const NAME: &'static str = "gate_answer";
}

/// Section 2 of a [`SelectionOrder`](super::SelectionOrder): the gate is open, and only records that pass may train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateLimit {
    /// The least mean of `ln(decoy loss) - ln(own loss)`, finite.
    pub least_score: f32,
    /// Decoys of a record, 1 to [`MAX_DECOYS`](Self::MAX_DECOYS).
    pub decoys: u32,
    /// Records that are scored at most for each that is ordered, 1 to [`MAX_TRIES`](Self::MAX_TRIES).
    pub tries: u32,
}

impl GateLimit {
    /// The most decoys of a record: what a server can make a client take the losses of.
    pub const MAX_DECOYS: u32 = 63;
    /// The most records that are scored for each that is ordered.
    pub const MAX_TRIES: u32 = 1000;
}

impl Section for GateLimit {
    const KIND: Kind = Kind::SelectionOrder;
    const NUMBER: u16 = 2;
    const NAME: &'static str = "gate_limit";
}

/// Section 1 of a [`SelectionOrder`](super::SelectionOrder): groups that may give a record where an ordered group holds fewer than were
/// ordered of it, the first before the others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpareGroups(
    /// Distinct groups of the summary; they may be among the ordered ones.
    pub Vec<ClusterId>,
);

impl Section for SpareGroups {
    const KIND: Kind = Kind::SelectionOrder;
    const NUMBER: u16 = 1;
    const NAME: &'static str = "spare_groups";
}

/// Section 1 of a [`LocalUpdate`](super::LocalUpdate): how many records of each group were trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedGroups(
    /// Groups in ascending order, each with at least one record.
    pub Vec<(ClusterId, u32)>,
);

impl Section for TrainedGroups {
    const KIND: Kind = Kind::LocalUpdate;
    const NUMBER: u16 = 1;
    const NAME: &'static str = "trained_groups";
}
