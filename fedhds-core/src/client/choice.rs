//! What a client chose, record by record.

use crate::types::{ClusterId, RowId};

/// A record that a client took or refused for an order, and why. It stays on the client: no message holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The record.
    pub row: RowId,
    /// Its group.
    pub group: ClusterId,
    /// Whether it comes in the place of a record that an ordered group could not give.
    pub spare: bool,
    /// The mean over its decoys of ln(decoy loss) - ln(own loss), where an open gate looked at it; higher is better. None with a closed
    /// gate, and where there was nothing to compare with.
    pub score: Option<f64>,
}

/// What a client made of an order.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Chosen {
    /// The records to train on, ascending.
    pub records: Vec<Choice>,
    /// Records that did not pass an open gate this time, ascending.
    pub refused: Vec<Choice>,
}

impl Chosen {
    /// The records to train on, ascending.
    pub fn rows(&self) -> Vec<RowId> {
        self.records.iter().map(|choice| choice.row).collect()
    }
}
