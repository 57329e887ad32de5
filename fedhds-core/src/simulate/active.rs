//! A client at work in a round.

use super::ClientRecord;
use crate::client::{Client, Pair};
use crate::dataset::ClientData;
use crate::protocol::{GateAnswer, Kind};
use std::borrow::Cow;

/// A client at work in the round.
pub(super) struct Active<'a> {
    pub(super) data: Cow<'a, ClientData>,
    pub(super) machine: Client,
    pub(super) record: ClientRecord,
    pub(super) has_adapter: bool,
    /// What it looked at to answer the gate, and what it answered; none where it was not asked.
    pub(super) pilot: Option<Pilot>,
}

/// A client's answer to the gate, and the losses that it is made of.
pub(super) struct Pilot {
    pub(super) answer: GateAnswer,
    pub(super) pairs: Vec<Pair>,
    pub(super) losses: Vec<f32>,
}

impl Active<'_> {
    /// The global adapter goes to a client once a round, and only where it is needed: for features of the tuned model, or for
    /// training.
    pub(super) fn receive_adapter(&mut self, bytes: usize) {
        if !std::mem::replace(&mut self.has_adapter, true) {
            self.record.traffic.add(Kind::GlobalAdapter, bytes);
        }
    }
}
