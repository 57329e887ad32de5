//! What several seeds say of two methods: the tasks are fixed, the federation is drawn anew with each seed.
//!
//! Everything is paired by seed: methods of one seed share clients, records and first adapter, so that what differs between
//! seeds drops out of the difference.

use super::interval::{Bootstrap, mean, quantile};
use crate::error::{Error, Result};
use crate::loops;
use crate::types::Seed;
use crate::types::range::above_zero;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};
use std::collections::BTreeMap;

/// A figure of each seed.
pub type BySeed = BTreeMap<u64, f64>;

/// A mean over seeds with its interval by Student's t.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedMean {
    /// The mean.
    pub mean: f64,
    /// Lower and upper end of the interval; `None` for fewer than two seeds, which say nothing of others.
    pub interval: Option<[f64; 2]>,
    /// Sample standard deviation over the seeds; `None` for fewer than two.
    pub deviation: Option<f64>,
    /// How many seeds.
    pub seeds: usize,
}

/// How a method differs from a baseline, seed by seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedDifference {
    /// The method minus the baseline, over the seeds that both have.
    pub difference: SeedMean,
    /// Two-sided p-value of the paired t-test of no difference; `None` for fewer than two seeds.
    pub p: Option<f64>,
    /// Seeds in which the method is lower.
    pub lower: usize,
}

/// Which share of what an oracle gains a method gains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecoveredShare {
    /// (baseline - method) / (baseline - oracle), of the means over the seeds that all three have.
    pub share: f64,
    /// Its percentile interval over resampled seeds; `None` for fewer than three seeds, or where too many resamples leave the
    /// oracle no gain to share.
    pub interval: Option<[f64; 2]>,
    /// How many seeds.
    pub seeds: usize,
}

impl SeedMean {
    /// The mean of a figure of each seed, `level` (0.95, for example) of the interval's confidence.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a level outside (0, 1); [`Error::Input`] for no values, or one that is not finite.
    pub fn of(values: &[f64], level: f64) -> Result<Self> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::parameter("level", "between 0 and 1", level));
        }
        if values.is_empty() {
            return Err(Error::input("values of seeds", "at least one", "none"));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::input("values of seeds", "finite numbers", value));
        }
        let (n, mean) = (values.len(), mean(values));
        let deviation =
            (n > 1).then(|| (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt());
        let interval = match (deviation, student(n)) {
            (Some(deviation), Some(student)) => {
                let half = student.inverse_cdf(0.5 + level / 2.0) * deviation / (n as f64).sqrt();
                Some([mean - half, mean + half])
            }
            _ => None,
        };
        Ok(Self { mean, interval, deviation, seeds: n })
    }

    /// (mean - `from`) in standard errors of the mean; infinite where all seeds agree on another value, `None` where they agree on
    /// `from` or are fewer than two.
    fn t(&self, from: f64) -> Option<f64> {
        let error = self.deviation? / (self.seeds as f64).sqrt();
        let away = self.mean - from;
        if error > 0.0 || away != 0.0 { Some(away / error) } else { None }
    }

    /// One-sided p-value of two tests that the mean lies outside of (-margin, margin): below 0.05 the mean is level with 0 by that
    /// margin (Schuirmann 1987). `None` for fewer than two seeds.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a margin that is not above 0.
    pub fn equivalence(&self, margin: f64) -> Result<Option<f64>> {
        above_zero("margin", margin)?;
        let Some(student) = student(self.seeds) else { return Ok(None) };
        // At the margin itself with no deviation nothing speaks for being inside.
        let above = self.t(-margin).map_or(1.0, |t| upper_tail(&student, t));
        let below = self.t(margin).map_or(1.0, |t| upper_tail(&student, -t));
        Ok(Some(above.max(below)))
    }
}

/// Student's t with as many degrees of freedom as a mean over `n` has; none for fewer than two.
fn student(n: usize) -> Option<StudentsT> {
    if n < 2 { None } else { StudentsT::new(0.0, 1.0, (n - 1) as f64).ok() }
}

/// The probability of a value above `t`, also where that is infinite.
fn upper_tail(student: &StudentsT, t: f64) -> f64 {
    if t.is_infinite() { f64::from(t < 0.0) } else { student.sf(t) }
}

/// The method minus the baseline over the seeds that both have; `None` where there is none.
///
/// # Errors
/// As [`SeedMean::of`].
pub fn paired_by_seed(method: &BySeed, baseline: &BySeed, level: f64) -> Result<Option<SeedDifference>> {
    let both = method.iter().filter_map(|(seed, value)| Some(value - baseline.get(seed)?));
    let differences: Vec<f64> = both.collect();
    if differences.is_empty() {
        return Ok(None);
    }
    let difference = SeedMean::of(&differences, level)?;
    let p = student(difference.seeds)
        .map(|student| difference.t(0.0).map_or(1.0, |t| (2.0 * upper_tail(&student, t.abs())).min(1.0)));
    Ok(Some(SeedDifference { difference, p, lower: differences.iter().filter(|d| **d < 0.0).count() }))
}

/// P-values corrected for how many there are, in the same order: the chance that any true null hypothesis among them is rejected at
/// a level is at most that level (Holm 1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p.get(a).unwrap_or(&1.0).total_cmp(p.get(b).unwrap_or(&1.0)).then(a.cmp(&b)));
    let mut corrected = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, row) in order.into_iter().enumerate() {
        let (Some(value), Some(slot)) = (p.get(row), corrected.get_mut(row)) else { continue };
        largest = largest.max((value * (p.len() - rank) as f64).min(1.0));
        *slot = largest;
    }
    corrected
}

/// The share of the oracle's gain over the baseline that the method gains, of the means over the seeds that all three have; `None`
/// where there is no such seed, or the oracle gains nothing. Seeds are resampled together.
///
/// # Errors
/// [`Error::Parameter`] as [`Bootstrap::check`].
pub fn recovered_share(
    method: &BySeed,
    baseline: &BySeed,
    oracle: &BySeed,
    bootstrap: &Bootstrap,
    seed: Seed,
) -> Result<Option<RecoveredShare>> {
    bootstrap.check()?;
    let gains = baseline.iter().filter_map(|(seed, base)| Some((base - method.get(seed)?, base - oracle.get(seed)?)));
    let gains: Vec<(f64, f64)> = gains.collect();
    let n = gains.len();
    let ratio = |rows: &mut dyn Iterator<Item = usize>| {
        let (mut mine, mut most) = (0.0, 0.0);
        for (a, b) in rows.filter_map(|row| gains.get(row)) {
            mine += a;
            most += b;
        }
        (most > 0.0).then(|| mine / most)
    };
    let Some(share) = ratio(&mut (0..n)) else { return Ok(None) };
    let mut shares: Vec<f64> = loops::map(bootstrap.resamples, 16, |number| {
        let mut rng = seed.derive("resample", number as u64).rng();
        ratio(&mut (0..n).map(|_| rng.random_range(0..n)))
    })
    .into_iter()
    .flatten()
    .collect();
    shares.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - bootstrap.level) / 2.0;
    // A ratio whose denominator may well be 0 has no interval.
    let sure = (bootstrap.resamples - shares.len()) as f64 <= tail * bootstrap.resamples as f64;
    let interval = (n > 2 && sure).then(|| [quantile(&shares, tail), quantile(&shares, 1.0 - tail)]);
    Ok(Some(RecoveredShare { share, interval, seeds: n }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
