//! What a client may send as an adapter: like the global one, with what the round does not train as it was, or of a smaller rank.

use super::Server;
use crate::aggregate::{step, truncated};
use crate::error::{Error, Result};
use crate::guard::caught;
use crate::types::{Adapter, Factors, Round};
use std::collections::btree_map::Entry;

impl Server {
    /// Which factors of the adapter the running round trains, as its start says; both between rounds, and where another library aggregates.
    ///
    /// # Errors
    /// [`Error::Stage`] where an aggregator of the user's panics.
    pub fn factors(&self) -> Result<Factors> {
        match (self.state.round, &self.state.expected) {
            (Some(round), Some(_)) => self.factors_of(round),
            _ => Ok(Factors::Both),
        }
    }

    pub(super) fn factors_of(&self, round: Round) -> Result<Factors> {
        caught("aggregator", || Ok(self.aggregator.trains(round)))
    }

    /// Makes the adapter of an update whole, and says how far it lies from what its client started from: the global adapter, or that at the
    /// client's rank. A frozen factor that was left out is the global one.
    ///
    /// # Errors
    /// [`Error::Adapter`] for an adapter that is not like the global one, whose frozen factor moved, or of another rank where the aggregator
    /// takes none; [`Error::Protocol`] where the round takes no updates.
    pub(super) fn take_adapter(&mut self, adapter: &mut Adapter) -> Result<f64> {
        let factors = self.factors()?;
        let (Some(expected), Some(global)) = (&self.state.expected, &self.global) else {
            let got = "an update";
            return Err(Error::protocol("local_update", "none: the round began without a global adapter", got));
        };
        let (rank, whole) = (adapter.config.r, expected.rank());
        if rank != whole && !caught("aggregator", || Ok(self.aggregator.takes_ranks()))? {
            let expected = format!("{whole}, as the global adapter has: the aggregator takes no other rank");
            return Err(Error::adapter("r", expected, rank));
        }
        let expected = expected.of_rank(rank)?;
        let start = match self.starts.entry(rank) {
            _ if rank == whole => global,
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(truncated(global, rank)?),
        };
        for (name, tensor) in start.tensors.iter().filter(|(name, _)| !factors.trains(name)) {
            adapter.tensors.entry(name.clone()).or_insert_with(|| tensor.clone());
        }
        factors.check_frozen(start, adapter)?;
        expected.check(adapter)?;
        Ok(step::distance(start, adapter))
    }
}
