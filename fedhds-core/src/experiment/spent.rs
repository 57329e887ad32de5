//! What all clients spent in these rounds: one way of counting for whole runs and for parts of them.

use crate::protocol::Direction;
use crate::simulate::{ClientRecord, RoundRecord};
use std::collections::BTreeSet;

fn clients(rounds: &[RoundRecord]) -> impl Iterator<Item = &ClientRecord> {
    rounds.iter().flat_map(|round| &round.clients)
}

/// Records trained on, each as often as it was.
pub(super) fn records(rounds: &[RoundRecord]) -> usize {
    clients(rounds).map(|client| client.selected.len()).sum()
}

/// Distinct records that were trained on at least once.
pub(super) fn distinct_records(rounds: &[RoundRecord]) -> usize {
    let pairs = clients(rounds).flat_map(|c| c.selected.iter().map(move |id| (c.client, id)));
    pairs.collect::<BTreeSet<_>>().len()
}

/// Tokens that went through the model in training.
pub(super) fn tokens(rounds: &[RoundRecord]) -> u64 {
    clients(rounds).map(|client| client.tokens).sum()
}

/// Forward passes over records that scoring took.
pub(super) fn passes(rounds: &[RoundRecord]) -> u64 {
    clients(rounds).map(|client| client.passes).sum()
}

/// Seconds of the clients.
pub(super) fn seconds(rounds: &[RoundRecord]) -> f64 {
    clients(rounds).map(ClientRecord::total_seconds).sum()
}

/// Bytes in this direction.
pub(super) fn bytes(rounds: &[RoundRecord], direction: Direction) -> u64 {
    clients(rounds).map(|client| client.traffic.bytes(direction)).sum()
}
