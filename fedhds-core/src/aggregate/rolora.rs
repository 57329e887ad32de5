//! RoLoRA: the factors take turns, so that the mean of the one is the mean of the products in every round.

use super::factor_mean::{FactorMean, no_state};
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, Factors, Round};

/// RoLoRA (Chen et al. 2025, arXiv 2502.01755): clients train B in the first round and every other one after it, A in those between, and the global
/// factor is the mean weighted by records. As the other factor is the same for all, `s B A = sum_k p_k s B_k A_k` without error, and an update is
/// half as large; unlike with a frozen A, both factors learn. B comes first: a fresh B is zero and gives A no gradient.
///
/// Which factor a round trains follows from its number alone, so nothing is kept between rounds. All clients have the global rank.
#[derive(Debug, Clone, Default)]
pub struct RoLora {
    mean: FactorMean,
}

impl RoLora {
    /// An aggregator that has not begun.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Aggregator for RoLora {
    /// # Errors
    /// [`Error::Adapter`](crate::Error::Adapter) for a tensor that is no factor, or whose other factor is missing.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.mean.begin(global, round, self.trains(round))
    }

    /// # Errors
    /// As [`WeightedMean::add`](super::WeightedMean), and for a frozen factor that is not the global one.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.mean.add(update)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        self.mean.finish()
    }

    /// Rounds count from 0: the paper's odd ones are even here.
    fn trains(&self, round: Round) -> Factors {
        match round.0 % 2 {
            0 => Factors::B,
            _ => Factors::A,
        }
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        no_state("rolora", state)
    }

    fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values)
    }
}
