//! Bytes that crossed between a client and the server, by kind of message.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Encoded bytes by kind of message, for one client in one round or for sums of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Client to server: bytes by kind of message, for example `client_summary`, `local_update`.
    pub up: BTreeMap<String, u64>,
    /// Server to client: bytes by kind of message, for example `selection_order`, `global_adapter`.
    pub down: BTreeMap<String, u64>,
}

impl Traffic {
    /// Counts a message from the client to the server.
    pub fn add_up(&mut self, kind: &str, bytes: usize) {
        *self.up.entry(kind.to_owned()).or_default() += bytes as u64;
    }

    /// Counts a message from the server to the client.
    pub fn add_down(&mut self, kind: &str, bytes: usize) {
        *self.down.entry(kind.to_owned()).or_default() += bytes as u64;
    }

    /// Adds another's counts to these.
    pub fn merge(&mut self, other: &Traffic) {
        for (mine, theirs) in [(&mut self.up, &other.up), (&mut self.down, &other.down)] {
            for (kind, bytes) in theirs {
                *mine.entry(kind.clone()).or_default() += bytes;
            }
        }
    }

    /// All bytes from client to server.
    pub fn total_up(&self) -> u64 {
        self.up.values().sum()
    }

    /// All bytes from server to client.
    pub fn total_down(&self) -> u64 {
        self.down.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_by_kind_and_direction() {
        let mut a = Traffic::default();
        a.add_up("client_summary", 44);
        a.add_up("client_summary", 6);
        a.add_down("global_adapter", 100);
        let mut b = Traffic::default();
        b.add_up("local_update", 7);
        b.merge(&a);
        assert_eq!((b.total_up(), b.total_down()), (57, 100));
        assert_eq!(b.up["client_summary"], 50);
    }
}
