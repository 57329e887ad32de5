//! How far the product of the aggregated factors lies from the aggregated products.

use super::product::{Module, dot, modules};
use crate::error::Result;
use crate::types::{Adapter, Seed};
use rand::Rng as _;

/// The name of the measure in a report.
pub(super) const PRODUCT_ERROR: &str = "product_error";

/// Measures `e = |W* - s B A| / |W*|` in Frobenius norms over all modules, where `W* = sum_k p_k s_k B_k A_k` is what the clients' updates come to
/// and `s B A` what the aggregated factors come to. With means of both factors `W* - s B A = s sum_k p_k (B_k - B)(A_k - A)`: it is of second
/// order in how far the clients drift apart.
///
/// It streams: of `W*` only `W* x` is kept for 2 r probes `x` of random signs, and `|X x|^2` is `|X|^2` in the mean (Hutchinson 1989). Where a
/// module has no more inputs than that, the probes are its unit vectors and `e` is exact; else 48 modules of rank 8 give it within 3%,
/// standard deviation.
#[derive(Debug, Clone)]
pub(super) struct ProductError {
    probed: Vec<Probed>,
}

#[derive(Debug, Clone)]
struct Probed {
    module: Module,
    /// `[probes, inputs]`: entries of 1 and -1, or unit vectors.
    probes: Vec<Vec<f64>>,
    /// `sum_k n_k s_k B_k A_k x`, `[outputs, probes]`.
    sum: Vec<f64>,
}

impl Probed {
    fn new(module: Module, rank: usize) -> Self {
        let (inputs, outputs) = (module.inputs, module.outputs);
        let count = inputs.min(rank.saturating_mul(2));
        // What is measured changes nothing, so its draws are the same in every experiment.
        let mut rng = Seed(0).derive("product error", 0).derive(&module.path, 0).rng();
        let mut sign = || if rng.next_u32() & 1 == 0 { 1.0 } else { -1.0 };
        let unit = |at: usize| (0..inputs).map(|i| if i == at { 1.0 } else { 0.0 }).collect();
        let probes = match count == inputs {
            true => (0..count).map(unit).collect(),
            false => (0..count).map(|_| (0..inputs).map(|_| sign()).collect()).collect(),
        };
        Self { module, probes, sum: vec![0.0; outputs * count] }
    }

    /// Adds `weight * B A x` of an adapter for each probe.
    fn add(&mut self, weight: f64, adapter: &Adapter) -> Result<()> {
        let (a, b) = self.module.factors(adapter)?;
        let (r, count) = (a.shape[0], self.probes.len());
        if r == 0 || count == 0 {
            return Ok(());
        }
        // A x of every probe, `[probes, r]`.
        let rows: Vec<Vec<f64>> =
            a.data.chunks_exact(self.module.inputs).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
        let narrow: Vec<Vec<f64>> =
            self.probes.iter().map(|x| rows.iter().map(|row| weight * dot(row, x)).collect()).collect();
        for (b, sum) in b.data.chunks_exact(r).zip(self.sum.chunks_exact_mut(count)) {
            for (sum, x) in sum.iter_mut().zip(&narrow) {
                *sum += b.iter().zip(x).map(|(&b, x)| f64::from(b) * x).sum::<f64>();
            }
        }
        Ok(())
    }
}

impl ProductError {
    /// What measures a round from this global adapter; none where its tensors are no pairs of factors.
    pub(super) fn new(global: &Adapter) -> Option<Self> {
        let modules = modules(global).ok()?;
        let rank = |module: &Module| module.factors(global).map_or(0, |(a, _)| a.shape[0]);
        let probed = modules.into_iter().map(|module| (rank(&module), module));
        Some(Self { probed: probed.map(|(rank, module)| Probed::new(module, rank)).collect() })
    }

    /// Adds a client's update with its weight.
    pub(super) fn add(&mut self, weight: f64, adapter: &Adapter) -> Result<()> {
        let weight = weight * f64::from(adapter.config.scaling());
        self.probed.iter_mut().try_for_each(|probed| probed.add(weight, adapter))
    }

    /// `e` for this result; `total` is the sum of the weights. None where `W*` is 0 and the result's product is not.
    pub(super) fn of(mut self, result: &Adapter, total: f64) -> Result<Option<f64>> {
        let squares = |probed: &Probed| probed.sum.iter().map(|value| (value / total).powi(2)).sum::<f64>();
        let target: f64 = self.probed.iter().map(squares).sum();
        self.add(-total, result)?;
        let error: f64 = self.probed.iter().map(squares).sum();
        Ok(match error == 0.0 {
            true => Some(0.0),
            false => Some((error / target).sqrt()).filter(|e| e.is_finite()),
        })
    }

    /// The most bytes for an adapter of so many values: for each of them, a module has no more than two probes' values in f64.
    pub(super) fn memory(values: usize) -> u64 {
        16 * values as u64
    }
}
