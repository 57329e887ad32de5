//! How many bytes went which way.

use super::{Kind, Wire};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client to server.
    Up,
    /// Server to client.
    Down,
}

/// Messages and bytes by kind: what a run record says of communication.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Traffic(BTreeMap<Kind, Sent>);

/// Messages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sent {
    /// How many.
    pub messages: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one message of this many bytes.
    pub fn add(&mut self, kind: Kind, bytes: usize) {
        let count = self.0.entry(kind).or_default();
        count.messages += 1;
        count.bytes += bytes as u64;
    }

    /// Counts a message that is not encoded for it, as in-process transports need.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::Error::Protocol) when the message could not be sent.
    pub fn count<M: Wire>(&mut self, message: &M) -> Result<()> {
        self.add(M::KIND, message.encoded_len()?);
        Ok(())
    }

    /// What was counted of one kind.
    pub fn of(&self, kind: Kind) -> Sent {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Bytes that went this way.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.0.iter().filter(|(kind, _)| kind.direction() == direction).map(|(_, count)| count.bytes).sum()
    }

    /// Adds what another count holds.
    pub fn merge(&mut self, other: &Traffic) {
        for (&kind, count) in &other.0 {
            let mine = self.0.entry(kind).or_default();
            mine.messages += count.messages;
            mine.bytes += count.bytes;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{Ask, RoundStart};
    use super::*;
    use crate::types::Round;

    #[test]
    fn counts_by_kind_and_direction() {
        let mut traffic = Traffic::default();
        traffic.count(&RoundStart::new(Round(0), Ask::Counts)).unwrap();
        traffic.add(Kind::ClientSummary, 60);
        let mut more = Traffic::default();
        more.add(Kind::ClientSummary, 40);
        traffic.merge(&more);
        assert_eq!(traffic.of(Kind::ClientSummary), Sent { messages: 2, bytes: 100 });
        assert_eq!(traffic.bytes(Direction::Up), 100);
        assert_eq!(traffic.bytes(Direction::Down), 7);
        let json = serde_json::to_string(&traffic).unwrap();
        assert!(json.contains(r#""client_summary":{"messages":2,"bytes":100}"#), "{json}");
    }
}
