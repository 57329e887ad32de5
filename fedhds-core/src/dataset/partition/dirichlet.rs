//! Shares of each group drawn from a Dirichlet distribution.

use crate::error::{Error, Result};
use crate::sorting;
use crate::types::{Rng, Seed};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Gamma, OpenClosed01};

/// Splits every group by its own shares, then gives the clients below `min_records` theirs.
///
/// `clients * min_records` is at most the number of records, which the caller has checked.
pub(super) fn split(
    groups: Vec<Vec<usize>>,
    clients: usize,
    alpha: f64,
    min_records: usize,
    seed: Seed,
) -> Result<Vec<Vec<usize>>> {
    let mut dealt = vec![Vec::new(); clients];
    for (number, mut rows) in groups.into_iter().enumerate() {
        let mut rng = seed.derive("group", number as u64).rng();
        rows.shuffle(&mut rng);
        let shares = shares(clients, alpha, &mut rng)?;
        let (mut begin, mut share_so_far) = (0, 0.0);
        for (client, share) in dealt.iter_mut().zip(&shares) {
            share_so_far += share;
            let end = ((share_so_far * rows.len() as f64).round() as usize).clamp(begin, rows.len());
            client.extend_from_slice(rows.get(begin..end).unwrap_or_default());
            begin = end;
        }
        // Rounding may leave the last record over.
        if let Some(last) = dealt.last_mut() {
            last.extend_from_slice(rows.get(begin..).unwrap_or_default());
        }
    }
    fill_up(&mut dealt, min_records, &mut seed.derive("fill", 0).rng());
    Ok(dealt)
}

/// One draw from the symmetric Dirichlet distribution of dimension `n`.
///
/// A small alpha's gamma variates are all below the smallest f64, so their logarithms are drawn:
/// Gamma(alpha) = Gamma(alpha + 1) * U^(1 / alpha).
fn shares(n: usize, alpha: f64, rng: &mut Rng) -> Result<Vec<f64>> {
    let gamma = Gamma::new(alpha + 1.0, 1.0)
        .map_err(|e| Error::parameter("alpha", format!("a number that a gamma distribution takes ({e})"), alpha))?;
    let logs: Vec<f64> = (0..n)
        .map(|_| {
            let uniform: f64 = rng.sample(OpenClosed01);
            gamma.sample(rng).ln() + uniform.ln() / alpha
        })
        .collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| if *log == largest { 1.0 } else { (log - largest).exp() }).collect();
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}

/// Moves random records from the largest clients to those below the minimum; the lowest number first among equals.
fn fill_up(dealt: &mut [Vec<usize>], min_records: usize, rng: &mut Rng) {
    let sizes = dealt.iter().enumerate().map(|(client, rows)| (rows.len(), std::cmp::Reverse(client)));
    let mut sizes = sorting::set(sizes);
    for needy in 0..dealt.len() {
        while dealt.get(needy).is_some_and(|rows| rows.len() < min_records) {
            // Enough records are there, so the largest client has more than the minimum.
            let Some((size, std::cmp::Reverse(giver))) = sizes.pop_last().filter(|(size, _)| *size > min_records)
            else {
                return;
            };
            let Some(row) = dealt.get_mut(giver).map(|rows| rows.swap_remove(rng.random_range(0..size))) else {
                return;
            };
            sizes.insert((size - 1, std::cmp::Reverse(giver)));
            if let Some(rows) = dealt.get_mut(needy) {
                sizes.remove(&(rows.len(), std::cmp::Reverse(needy)));
                rows.push(row);
                sizes.insert((rows.len(), std::cmp::Reverse(needy)));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_finite_and_whole_for_every_alpha() {
        for exponent in [-300, -30, -6, -3, 0, 3, 6, 30, 300] {
            let alpha = 10f64.powi(exponent);
            let shares = shares(50, alpha, &mut Seed(5).rng()).unwrap();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{alpha}");
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{alpha}");
        }
    }

    #[test]
    fn shares_have_the_distributions_moments() {
        // Of a symmetric Dirichlet: mean 1/n, variance (n - 1) / (n^2 (n alpha + 1)).
        let (n, alpha, draws) = (4, 0.5, 20_000);
        let mut rng = Seed(5).rng();
        let firsts: Vec<f64> = (0..draws).map(|_| shares(n, alpha, &mut rng).unwrap()[0]).collect();
        let mean = firsts.iter().sum::<f64>() / draws as f64;
        let variance = firsts.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws as f64;
        assert!((mean - 0.25).abs() < 0.01, "{mean}");
        assert!((variance - 3.0 / (16.0 * 3.0)).abs() < 0.003, "{variance}");
    }
}
