//! What a client's claim of records counts.

use serde::{Deserialize, Serialize};

/// What each client counts in a robust rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Each client counts once, whatever it claims: the default. How many records it trained on is its own word, and what a rule tolerates is
    /// a number of clients.
    #[default]
    Equal,
    /// By the records that it says it trained on, as in the weighted mean (FedHDS eq. 12). Then the rule tolerates a share of the records.
    Records,
}

impl Weighting {
    /// The weight of a client that trained on so many records; 0 for none.
    pub(super) fn of(self, records: usize) -> usize {
        match self {
            Weighting::Equal => records.min(1),
            Weighting::Records => records,
        }
    }
}
