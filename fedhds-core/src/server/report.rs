//! What became of a round.

use super::GateReport;
use crate::error::{Error, plain_text};
use crate::stage::AggregationReport;
use crate::types::{Adapter, ClientId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest reason that a report repeats, in bytes: what a client sends is in it.
const MAX_REASON: usize = 400;

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct FinishedRound {
    /// The new global adapter (eq. 12); `None` where nobody trained: the global adapter stays as it was.
    pub adapter: Option<Adapter>,
    /// What happened on the way.
    pub report: RoundReport,
}

/// What happened in a round beside its result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RoundReport {
    /// Clients of the round that were left out, and why: a stage or message of theirs failed. Who stayed silent is not among them.
    pub left_out: BTreeMap<ClientId, String>,
    /// Records that the accepted updates trained on, by client.
    pub trained: BTreeMap<ClientId, u32>,
    /// How the aggregation came about.
    pub aggregation: AggregationReport,
    /// Records that the round asked for and that nobody trained on. Where the method groups once the next round makes up for them.
    pub missing: u32,
    /// Tokens that the round asked for and that nobody trained on, where the budget is in tokens. Where the method groups once the next round
    /// makes up for them.
    pub missing_tokens: u64,
    /// What the clients' ranks say, where the method has a gate.
    pub gate: Option<GateReport>,
}

/// An error as a report repeats it: bounded, and on one line.
pub(crate) fn reason(error: &Error) -> String {
    plain_text(&error.to_string(), MAX_REASON)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short_and_on_one_line() {
        let short = reason(&Error::stage("trainer", "line one\nline two\u{1b}[2J"));
        assert_eq!(short, "stage `trainer`: line one line two [2J");
        let long = reason(&Error::stage("trainer", "\u{e9}".repeat(5000)));
        assert!(long.len() <= MAX_REASON + 4 && long.ends_with(" ..."), "{}", long.len());
    }
}
