//! A client that trains a smaller rank than the global adapter has.

use super::Client;
use crate::aggregate::truncated;
use crate::error::Result;
use crate::types::range::within;
use crate::types::{Adapter, AdapterConfig};

impl Client {
    /// Agrees to train adapters of at most this rank, 1 to [`AdapterConfig::MAX_RANK`]: for a client with little memory. The server's aggregator must
    /// [take ranks](crate::stage::Aggregator::takes_ranks). It is for whoever runs the client to say in each process.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a rank outside of its range.
    pub fn set_rank(&mut self, rank: usize) -> Result<()> {
        within("rank", rank, 1..=AdapterConfig::MAX_RANK)?;
        self.rank = Some(rank);
        Ok(())
    }

    /// The rank that it trains at most; none where it takes any.
    pub fn rank(&self) -> Option<usize> {
        self.rank
    }

    /// The adapter that it trains from: the global one, [`truncated`] to its own rank where that is smaller.
    ///
    /// # Errors
    /// As [`truncated`].
    pub fn start_from(&self, global: &Adapter) -> Result<Adapter> {
        match self.rank {
            Some(rank) => truncated(global, rank),
            None => Ok(global.clone()),
        }
    }
}
