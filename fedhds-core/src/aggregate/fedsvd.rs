//! FedSVD: clients train B, and between rounds A becomes the directions that the product has found.

use super::AdapterShape;
use super::factor_mean::{FactorMean, no_state};
use super::product::{Module, Stack, modules, of_modules, seed_of};
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::{Adapter, Factors, Round};

/// FedSVD (Lee et al. 2025, arXiv 2505.12805): clients train B on a common A, as with [`FfaLora`](super::FfaLora), and of the product
/// `mean(B) A = U S V^T` the next round starts from `A = V_r^T`, `B = U_r S_r`. The product stays as it is, up to rounding, and A follows what was
/// learnt, where FFA-LoRA keeps a random one. The rows of A are orthonormal, which bounds the gradient of B: with noise for privacy it is the one
/// to take.
///
/// Where the product has fewer directions than the rank (B is zero at first), A gets random orthonormal rows for the others, and B zeros.
///
/// Nothing is kept between rounds. All clients have the global rank.
#[derive(Debug, Clone, Default)]
pub struct FedSvd {
    mean: FactorMean,
    running: Option<(Round, Adapter, Vec<Module>)>,
}

impl FedSvd {
    /// An aggregator that has not begun.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Aggregator for FedSvd {
    /// # Errors
    /// [`Error::Adapter`](crate::Error::Adapter) for a tensor that is no factor, or whose other factor is missing.
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.mean.begin(global, round, self.trains(round))?;
        self.running = Some((round, global.clone(), modules(global)?));
        Ok(())
    }

    /// # Errors
    /// As [`WeightedMean::add`](super::WeightedMean), and for an A that is not the global one.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.mean.add(update)
    }

    /// Where the product would leave the range of f32 the global adapter stays, and the report says so.
    fn finish(&mut self) -> Result<Aggregated> {
        let mut aggregated = self.mean.finish()?;
        let (Some((round, global, modules)), Some(mut adapter)) = (self.running.take(), aggregated.adapter.take())
        else {
            return Ok(aggregated);
        };
        let split = of_modules(&modules, |module| {
            let (a, b) = module.factors(&adapter)?;
            let rank = a.shape[0];
            let mut stack = Stack::new(module);
            stack.push(a, b, |_| 1.0);
            let seed = seed_of(module, &global)?.derive("fedsvd", u64::from(round.0));
            let directions = stack.directions(rank)?.completed(rank, module.inputs, module.outputs, seed);
            Ok(directions.factors(1.0, 1.0))
        })?;
        modules.iter().zip(split).for_each(|(module, factors)| module.set(&mut adapter, factors));
        match AdapterShape::of(&global).check(&adapter) {
            Err(error) => aggregated.report.discarded = Some(format!("a product that is not finite: {error}")),
            Ok(()) => aggregated.adapter = Some(adapter),
        }
        Ok(aggregated)
    }

    fn trains(&self, _round: Round) -> Factors {
        Factors::B
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        no_state("fedsvd", state)
    }

    /// The mean's, the global adapter once more, the new one, and modules in f64, stacked and as a basis.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values) + (8 + 24) * values as u64
    }
}
