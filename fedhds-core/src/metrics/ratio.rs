//! How many times a baseline's figure a method's is, seed by seed.

use super::seeds::{BySeed, SeedMean};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// The geometric mean over seeds of a method's figure over a baseline's, with its interval by Student's t on the logarithms: costs
/// differ by factors, and half of a cost is as far from it as its double.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedRatio {
    /// The mean ratio, above 0; below 1 the method's figure is smaller.
    pub ratio: f64,
    /// Lower and upper end of the interval; `None` for fewer than two seeds.
    pub interval: Option<[f64; 2]>,
    /// How many seeds.
    pub seeds: usize,
}

/// The ratio over the seeds that both have, with `level` (0.95, for example) of confidence; `None` where there is no such seed, and
/// where one of their figures is not above 0, so that there is no ratio.
///
/// # Errors
/// As [`SeedMean::of`].
pub fn ratio_by_seed(method: &BySeed, baseline: &BySeed, level: f64) -> Result<Option<SeedRatio>> {
    let both = method.iter().filter_map(|(seed, value)| Some((*value, *baseline.get(seed)?)));
    let pairs: Vec<(f64, f64)> = both.collect();
    if pairs.is_empty() || pairs.iter().any(|(mine, theirs)| !(*mine > 0.0 && *theirs > 0.0)) {
        return Ok(None);
    }
    let logarithms: Vec<f64> = pairs.into_iter().map(|(mine, theirs)| (mine / theirs).ln()).collect();
    let mean = SeedMean::of(&logarithms, level)?;
    let interval = mean.interval.map(|ends| ends.map(f64::exp));
    Ok(Some(SeedRatio { ratio: mean.mean.exp(), interval, seeds: mean.seeds }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by_seed(values: &[f64]) -> BySeed {
        (0..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn the_mean_is_of_ratios_and_the_interval_is_of_their_logarithms() {
        let found = ratio_by_seed(&by_seed(&[2.0, 8.0, 5.0]), &by_seed(&[4.0, 4.0]), 0.95).unwrap().unwrap();
        assert!((found.ratio - 1.0).abs() < 1e-12 && found.seeds == 2, "half and double are level: {found:?}");
        // Logarithms -ln 2 and ln 2: their deviation is sqrt(2) ln 2, its error ln 2, and t of one degree of freedom 12.706.
        let [low, high] = found.interval.unwrap();
        assert!((high.ln() - 12.7062 * 2f64.ln()).abs() < 1e-3 && (low * high - 1.0).abs() < 1e-9, "{found:?}");
        let one = ratio_by_seed(&by_seed(&[3.0]), &by_seed(&[2.0]), 0.95).unwrap().unwrap();
        assert_eq!((one.ratio, one.interval, one.seeds), (1.5, None, 1));
    }

    #[test]
    fn what_has_no_ratio_is_none() {
        let none = |mine: &[f64], theirs: &[f64]| ratio_by_seed(&by_seed(mine), &by_seed(theirs), 0.95).unwrap();
        assert_eq!(none(&[1.0], &[]), None);
        assert_eq!(none(&[0.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(none(&[1.0, 1.0], &[1.0, 0.0]), None);
        assert!(ratio_by_seed(&by_seed(&[1.0]), &by_seed(&[1.0]), 1.0).is_err());
    }
}
