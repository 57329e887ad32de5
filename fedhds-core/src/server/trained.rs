//! What a client may send as an adapter: like the global one, with what the round does not train as it was.

use super::Server;
use crate::error::Result;
use crate::guard::caught;
use crate::types::{Adapter, Factors, Round};

impl Server {
    /// Which factors of the adapter the running round trains, as its start says; both between rounds, and where another library aggregates.
    ///
    /// # Errors
    /// [`Error::Stage`](crate::Error::Stage) where an aggregator of the user's panics.
    pub fn factors(&self) -> Result<Factors> {
        match (self.state.round, &self.state.expected) {
            (Some(round), Some(_)) => self.factors_of(round),
            _ => Ok(Factors::Both),
        }
    }

    pub(super) fn factors_of(&self, round: Round) -> Result<Factors> {
        caught("aggregator", || Ok(self.aggregator.trains(round)))
    }

    /// The adapter of an update, whole: a frozen factor that was left out is the global one. Nothing but the factor's values is put in, so that
    /// what else is wrong with the adapter is found as ever.
    pub(super) fn with_frozen(&self, adapter: &mut Adapter) -> Result<()> {
        let (factors, Some(global)) = (self.factors()?, &self.global) else { return Ok(()) };
        for (name, tensor) in global.tensors.iter().filter(|(name, _)| !factors.trains(name)) {
            adapter.tensors.entry(name.clone()).or_insert_with(|| tensor.clone());
        }
        factors.check_frozen(global, adapter)
    }
}
