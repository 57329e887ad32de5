//! FFA-LoRA: A never moves, so that the mean of B is the mean of the products.

use super::factor_mean::{FactorMean, no_state};
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, Factors, Round};

/// FFA-LoRA (Sun et al. 2024, arXiv 2403.12313): A stays what the experiment's seed made it, clients train B, and the global B is the mean weighted by
/// records, `B = sum_k p_k B_k`. Then `s B A = sum_k p_k s B_k A` without error, and an update is half as large. An adapter with a frozen A can
/// express less: a larger rank or learning rate makes up for it. Noise that is added for privacy is not squared, as it is where both factors carry some.
///
/// Nothing is kept between rounds. All clients have the global rank.
#[derive(Debug, Clone, Default)]
pub struct FfaLora {
    mean: FactorMean,
}

impl FfaLora {
    /// An aggregator that has not begun.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Aggregator for FfaLora {
    /// # Errors
    /// [`Error::Adapter`](crate::Error::Adapter) for a tensor that is no factor, or whose other factor is missing.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.mean.begin(global, round, self.trains(round))
    }

    /// # Errors
    /// As [`WeightedMean::add`](super::WeightedMean), and for an A that is not the global one.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.mean.add(update)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        self.mean.finish()
    }

    fn trains(&self, _round: Round) -> Factors {
        Factors::B
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        no_state("ffa_lora", state)
    }

    fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values)
    }
}
