//! What goes wrong with single clients of a round.

use crate::error::{Error, Result};
use crate::guard::caught;
use crate::server::Server;
use crate::types::ClientId;
use std::collections::BTreeMap;

/// What went wrong with clients of a round: each is left out, with its reason in the round's report.
#[derive(Default)]
pub(super) struct Failures(pub(super) BTreeMap<ClientId, Error>);

impl Failures {
    pub(super) fn note<T>(&mut self, server: &mut Server, client: ClientId, result: Result<T>) {
        if let Err(error) = result {
            self.0.insert(client, server.leave_out(client, error));
        }
    }

    /// Ends the run where nobody of so many is left: that is no bad client, but stages that do not work. A lone client is one bad client, where
    /// the stages `worked` before.
    pub(super) fn end_if_all(&mut self, clients: usize, worked: bool) -> Result<()> {
        match self.0.pop_first() {
            Some((_, first)) if self.0.len() + 1 == clients && !(worked && clients == 1) => Err(first),
            _ => Ok(()),
        }
    }
}

/// One client's work, whose error or panic is a result of its own and ends nobody else's; a cancelled run ends.
pub(super) fn own<T>(work: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
    match caught("client", work) {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        other => Ok(other),
    }
}
