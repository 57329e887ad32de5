//! What a client takes from the first messages that it answers, and does not let a server change.

use super::Client;
use crate::error::{Error, Result};
use crate::protocol::{GateQuestion, RecordKeys, RoundStart};
use crate::saved;
use crate::types::Seed;
use serde::{Deserialize, Serialize};

/// What a client was told at first contact. Another seed would make other groups and draw other records, another question would score one
/// record more: the difference between two answers can be a single record. So what was told first holds, and anything else is refused,
/// until [`Client::unpin`].
///
/// The seed of the shared frame is not among it: the method has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pins {
    /// The experiment's seed, where whoever runs the client was told one ([`Client::pin_seed`]).
    pub seed: Option<Seed>,
    /// What the random keys of records come from.
    pub keys: Option<Seed>,
    /// What the quality gate asks.
    pub question: Option<GateQuestion>,
}

impl Pins {
    const HEAD: &[u8] = b"FHDS client pins 1\n";

    /// As bytes, for [`from_bytes`](Pins::from_bytes).
    ///
    /// # Errors
    /// [`Error::Input`] where they cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        saved::write("client pins", Self::HEAD, self)
    }

    /// From bytes that [`to_bytes`](Pins::to_bytes) gave.
    ///
    /// # Errors
    /// [`Error::Protocol`] for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        saved::read("client pins", Self::HEAD, bytes)
    }

    /// With what a round's start says in addition.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it says something else than before.
    pub(super) fn with(self, start: &RoundStart) -> Result<Self> {
        let keys = start.sections.get::<RecordKeys>()?.map(|RecordKeys(seed)| seed);
        let question = start.sections.get::<GateQuestion>()?;
        let shown = |question: &GateQuestion| format!("{question:?}");
        Ok(Self {
            seed: self.seed,
            keys: kept("round_start: record_keys", self.keys, keys, |seed| seed.0.to_string())?,
            question: kept("round_start: gate_question", self.question, question, shown)?,
        })
    }
}

/// What was told first; what is told now where nothing was.
fn kept<T: PartialEq + Copy>(
    what: &str,
    first: Option<T>,
    now: Option<T>,
    shown: impl Fn(&T) -> String,
) -> Result<Option<T>> {
    match (first, now) {
        (Some(first), Some(now)) if first != now => {
            let expected = format!("{}, which this client was told first (`unpin` forgets it)", shown(&first));
            Err(Error::protocol(what, expected, shown(&now)))
        }
        (first, now) => Ok(first.or(now)),
    }
}

impl Client {
    /// What it was told at first contact.
    pub fn pins(&self) -> Pins {
        self.pins
    }

    /// Gives it what it was told at first contact in an earlier process; [`restore`](Client::restore) does it too.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it was told something else since.
    pub fn pin(&mut self, pins: Pins) -> Result<()> {
        let shown = |question: &GateQuestion| format!("{question:?}");
        let number = |seed: &Seed| seed.0.to_string();
        self.pins = Pins {
            seed: kept("pins: seed", self.pins.seed, pins.seed, number)?,
            keys: kept("pins: record_keys", self.pins.keys, pins.keys, number)?,
            question: kept("pins: gate_question", self.pins.question, pins.question, shown)?,
        };
        Ok(())
    }

    /// The experiment's seed, as a server said it to whoever runs the client: the first one holds.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another one than the first.
    pub fn pin_seed(&mut self, seed: Seed) -> Result<()> {
        self.pins.seed = kept("seed", self.pins.seed, Some(seed), |seed| seed.0.to_string())?;
        Ok(())
    }

    /// Forgets what it was told at first contact, and which round it answered last: for another federation, or a server that begins
    /// again. It is for the client's owner to decide, never for a server. Groups, secret and trained records stay.
    pub fn unpin(&mut self) {
        self.pins = Pins::default();
        self.answered.forget();
        if let Some(state) = &mut self.state {
            state.asked = None;
        }
    }
}
