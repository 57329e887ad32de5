//! What a simulation keeps for whoever looks at it afterwards, where that is asked for.

use super::RoundRecord;
use crate::error::{Error, Result};
use crate::types::ClientId;
use std::collections::BTreeSet;

/// Which views of a selection are kept in the round records. They hold places, groups and names of tasks, never a record's text; no result
/// depends on them, and what they take is charged to no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Views {
    /// Records of a client on its map, at most, beside the chosen ones; 0 keeps no map, of the server neither.
    pub map_records: usize,
    /// Equal parts of a feature vector, one a layer, each of which gets scores; 0 keeps none.
    pub layers: usize,
}

/// Of views the newest stay: each client's of its latest round, and the server's of the latest round that has one.
pub(super) fn keep_latest(rounds: &mut [RoundRecord]) {
    let (mut mapped, mut scored, mut server) = (BTreeSet::<ClientId>::new(), BTreeSet::<ClientId>::new(), false);
    for round in rounds.iter_mut().rev() {
        match server {
            true => round.map = None,
            false => server = round.map.is_some(),
        }
        for client in &mut round.clients {
            if client.map.is_some() && !mapped.insert(client.client) {
                client.map = None;
            }
            if !client.layers.is_empty() && !scored.insert(client.client) {
                client.layers = Vec::new();
            }
        }
    }
}

/// A view, or none where it cannot be made: no run ends because nobody can look at it.
pub(super) fn seen<T>(view: Result<T>) -> Result<Option<T>> {
    match view {
        Ok(view) => Ok(Some(view)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => {
            tracing::warn!("a view of the selection is left out: {error}");
            Ok(None)
        }
    }
}
