//! Every byte that crosses between client and server.
//!
//! A round is five messages:
//!
//! | message | from | says |
//! |---|---|---|
//! | [`RoundStart`] | server | what a client shall send before training, and the frame that all clients share |
//! | [`ClientSummary`] | client | its groups: id, size and centroid |
//! | [`SelectionOrder`] | server | how many records of which groups to train on |
//! | [`GlobalAdapter`] | server | the adapter to start from |
//! | [`LocalUpdate`] | client | the adapter after training, and the number of records trained on (of which groups, in a section) |
//!
//! On the wire a message is four bytes of header (`F`, `H`, protocol version, kind) and a [postcard] body: integers as
//! varints, f32 as four bytes in little-endian order; its last part are the numbered optional [`Sections`]. Decoding never panics, never allocates more than a small multiple
//! of the bytes that came, and returns only messages that [`Wire::check`] accepts: what does not fit is
//! [`Error::Protocol`]. `docs/wire_protocol.md` writes the format out.
//!
//! [postcard]: https://postcard.jamesmunns.com/wire-format

mod adapters;
mod known_sections;
mod order;
mod round_start;
mod sections;
mod summary;
mod token_sections;
mod traffic;
mod trained_factors;

pub use adapters::{GlobalAdapter, LocalUpdate};
pub use known_sections::{
    GateAnswer, GateLimit, GateQuestion, GroupScores, RecordKeys, Registered, RegisteredClient, SpareGroups,
    TrainedGroups,
};
pub use order::{ClusterOrder, SelectionOrder};
pub use round_start::{Ask, RoundStart};
pub use sections::{MUST_UNDERSTAND, Section, Sections};
pub use summary::{ClientSummary, Group, GroupsDigest};
pub use token_sections::{GroupTokens, MAX_RECORD_TOKENS, OrderTokens, TokensAsked, TrainedTokens};
pub use traffic::{Direction, Sent, Traffic};
pub use trained_factors::TrainedFactors;

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the messages' format. It changes only when bytes change their meaning: what is new comes as a
/// [section](Sections), which older releases pass over or refuse by its number.
pub const PROTOCOL_VERSION: u8 = 2;

/// The first two bytes of every message.
pub const MAGIC: [u8; 2] = *b"FH";

/// Bytes before the body: magic, version, kind.
pub const HEADER_BYTES: usize = 4;

/// The most groups that one client may send.
pub const MAX_GROUPS: usize = 1 << 20;

/// The most coordinates that a centroid may have.
pub const MAX_DIMS: usize = 1 << 16;

/// The most records that one client may say it holds: 16,777,216, the largest count below which f32 holds every integer.
pub const MAX_RECORDS: usize = 1 << 24;

/// What a message is: the fourth byte on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`RoundStart`], byte 1.
    RoundStart,
    /// [`ClientSummary`], byte 2.
    ClientSummary,
    /// [`SelectionOrder`], byte 3.
    SelectionOrder,
    /// [`GlobalAdapter`], byte 4.
    GlobalAdapter,
    /// [`LocalUpdate`], byte 5.
    LocalUpdate,
}

impl Kind {
    /// Every kind, in the order of a round.
    pub const ALL: [Kind; 5] =
        [Kind::RoundStart, Kind::ClientSummary, Kind::SelectionOrder, Kind::GlobalAdapter, Kind::LocalUpdate];

    /// The kind's byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            Kind::RoundStart => 1,
            Kind::ClientSummary => 2,
            Kind::SelectionOrder => 3,
            Kind::GlobalAdapter => 4,
            Kind::LocalUpdate => 5,
        }
    }

    /// The kind's name, as run records spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::RoundStart => "round_start",
            Kind::ClientSummary => "client_summary",
            Kind::SelectionOrder => "selection_order",
            Kind::GlobalAdapter => "global_adapter",
            Kind::LocalUpdate => "local_update",
        }
    }

    /// Who sends it.
    pub fn direction(self) -> Direction {
        match self {
            Kind::ClientSummary | Kind::LocalUpdate => Direction::Up,
            Kind::RoundStart | Kind::SelectionOrder | Kind::GlobalAdapter => Direction::Down,
        }
    }

    /// The kind of an encoded message, from its header alone.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the header is short, is not ours, or is of another version or an unknown kind.
    pub fn of(bytes: &[u8]) -> Result<Kind> {
        let [m0, m1, version, kind, ..] = *bytes else {
            let expected = format!("a header of {HEADER_BYTES} bytes");
            return Err(Error::protocol("message", expected, format!("{} bytes", bytes.len())));
        };
        if [m0, m1] != MAGIC {
            return Err(Error::protocol("magic", format!("{MAGIC:02x?}"), format!("{:02x?}", [m0, m1])));
        }
        if version != PROTOCOL_VERSION {
            let got = match version {
                1 => "1, of a release before 0.2: server and clients need releases of one protocol version".to_owned(),
                other => other.to_string(),
            };
            return Err(Error::protocol("protocol version", PROTOCOL_VERSION.to_string(), got));
        }
        Kind::ALL
            .into_iter()
            .find(|k| k.byte() == kind)
            .ok_or_else(|| Error::protocol("message kind", "a byte from 1 to 5", kind))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A message: how it becomes bytes and comes back.
pub trait Wire: Serialize + DeserializeOwned {
    /// Which message it is.
    const KIND: Kind;

    /// Whether the content makes sense by itself: lengths that agree, finite values, sizes within the limits.
    ///
    /// # Errors
    /// [`Error::Protocol`] that names the field.
    fn check(&self) -> Result<()>;

    /// The message as bytes.
    ///
    /// # Errors
    /// [`Error::Protocol`] when [`Wire::check`] refuses it: what must not be read is not sent.
    fn encode(&self) -> Result<Vec<u8>> {
        self.check()?;
        let header = vec![MAGIC[0], MAGIC[1], PROTOCOL_VERSION, Self::KIND.byte()];
        postcard::to_extend(self, header).map_err(|e| Error::protocol(Self::KIND.name(), "an encodable message", e))
    }

    /// The bytes that [`Wire::encode`] makes of it, counted without making them.
    ///
    /// # Errors
    /// As [`Wire::encode`].
    fn encoded_len(&self) -> Result<usize> {
        self.check()?;
        let body = postcard::experimental::serialized_size(self)
            .map_err(|e| Error::protocol(Self::KIND.name(), "an encodable message", e))?;
        Ok(HEADER_BYTES + body)
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another magic, version or kind, for bytes that are missing or left over, and for content
    /// that [`Wire::check`] refuses.
    fn decode(bytes: &[u8]) -> Result<Self> {
        let kind = Kind::of(bytes)?;
        if kind != Self::KIND {
            return Err(Error::protocol("message kind", Self::KIND.name(), kind));
        }
        let name = Self::KIND.name();
        let (message, rest) = postcard::take_from_bytes::<Self>(bytes.get(HEADER_BYTES..).unwrap_or_default())
            .map_err(|e| Error::protocol(name, "a whole and well-formed body", e))?;
        if !rest.is_empty() {
            return Err(Error::protocol(name, "no bytes after the message", format!("{} more", rest.len())));
        }
        message.check()?;
        Ok(message)
    }
}

/// Any message: what a transport that carries all kinds passes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Server to client: a round begins.
    RoundStart(RoundStart),
    /// Client to server: its groups.
    ClientSummary(ClientSummary),
    /// Server to client: what to train on.
    SelectionOrder(SelectionOrder),
    /// Server to client: what to start from.
    GlobalAdapter(GlobalAdapter),
    /// Client to server: what training gave.
    LocalUpdate(LocalUpdate),
}

impl Message {
    /// The message that these bytes are, of whichever kind the header names.
    ///
    /// # Errors
    /// As [`Wire::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(match Kind::of(bytes)? {
            Kind::RoundStart => Message::RoundStart(Wire::decode(bytes)?),
            Kind::ClientSummary => Message::ClientSummary(Wire::decode(bytes)?),
            Kind::SelectionOrder => Message::SelectionOrder(Wire::decode(bytes)?),
            Kind::GlobalAdapter => Message::GlobalAdapter(Wire::decode(bytes)?),
            Kind::LocalUpdate => Message::LocalUpdate(Wire::decode(bytes)?),
        })
    }

    /// The message as bytes.
    ///
    /// # Errors
    /// As [`Wire::encode`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        match self {
            Message::RoundStart(m) => m.encode(),
            Message::ClientSummary(m) => m.encode(),
            Message::SelectionOrder(m) => m.encode(),
            Message::GlobalAdapter(m) => m.encode(),
            Message::LocalUpdate(m) => m.encode(),
        }
    }

    /// Which message it is.
    pub fn kind(&self) -> Kind {
        match self {
            Message::RoundStart(_) => Kind::RoundStart,
            Message::ClientSummary(_) => Kind::ClientSummary,
            Message::SelectionOrder(_) => Kind::SelectionOrder,
            Message::GlobalAdapter(_) => Kind::GlobalAdapter,
            Message::LocalUpdate(_) => Kind::LocalUpdate,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Round;

    fn start() -> RoundStart {
        RoundStart::new(Round(3), Ask::Groups)
    }

    #[test]
    fn headers_are_checked() {
        let bytes = start().encode().unwrap();
        assert_eq!(&bytes[..4], b"FH\x02\x01");
        let cases = [(0, b'G', "magic"), (2, 9, "protocol version"), (2, 1, "before 0.2"), (3, 77, "message kind")];
        for (at, wrong, word) in cases {
            let mut bad = bytes.clone();
            bad[at] = wrong;
            let error = RoundStart::decode(&bad).unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }) && error.to_string().contains(word), "{error}");
        }
        let error = ClientSummary::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("expected client_summary, got round_start"), "{error}");
    }

    #[test]
    fn short_and_long_messages_are_refused() {
        let bytes = start().encode().unwrap();
        for cut in 0..bytes.len() {
            assert!(matches!(Message::decode(&bytes[..cut]), Err(Error::Protocol { .. })), "cut at {cut}");
        }
        let mut long = bytes;
        long.push(0);
        assert!(Message::decode(&long).unwrap_err().to_string().contains("1 more"));
    }

    #[test]
    fn kinds_have_distinct_bytes() {
        let bytes: std::collections::BTreeSet<u8> = Kind::ALL.iter().map(|k| k.byte()).collect();
        assert_eq!(bytes.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
