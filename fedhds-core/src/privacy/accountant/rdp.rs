//! Renyi differential privacy of Gaussian noise (Mironov 2017): simple, quick, and an upper bound at every order.
//!
//! `noise` is the standard deviation over the L2 sensitivity, `rate` the share of the units that is drawn, `order` is above 1.

use super::special::{log_add, log_choose, log_erfc, log_sub};
use std::f64::consts::{LN_2, SQRT_2};

/// Terms of the series for a fractional order: it ends long before.
const MOST_TERMS: usize = 100_000;
/// The largest order whose forward differences are made: beyond it they lose their digits.
const MOST_DIFFERENCES: usize = 256;

/// The orders that are looked at.
pub(super) fn orders() -> Vec<f64> {
    let fine = (11..110).map(|tenth| f64::from(tenth) / 10.0);
    let whole = (11..64).map(f64::from);
    fine.chain(whole).chain([128.0, 256.0, 512.0, 1024.0]).collect()
}

/// Without sampling: `a / (2 z^2)`.
pub(super) fn gaussian(noise: f64, order: f64) -> f64 {
    order / (2.0 * noise * noise)
}

/// Each unit is drawn by itself with probability `rate`; neighbours differ by one that is there or not (Mironov, Talwar and Zhang 2019,
/// arXiv 1908.10530, sections 3.3).
pub(super) fn poisson(rate: f64, noise: f64, order: f64) -> f64 {
    if rate == 0.0 {
        return 0.0;
    }
    if rate == 1.0 {
        return gaussian(noise, order);
    }
    let log_a = if order.fract() == 0.0 { whole(rate, noise, order) } else { fractional(rate, noise, order) };
    (log_a / (order - 1.0)).max(0.0)
}

/// `ln A` of a whole order, `A = sum_i C(a, i) (1 - q)^(a - i) q^i exp((i^2 - i) / (2 z^2))`.
fn whole(q: f64, z: f64, a: f64) -> f64 {
    let mut sum = f64::NEG_INFINITY;
    let mut i = 0.0;
    while i <= a {
        let term = log_choose(a, i) + i * q.ln() + (a - i) * (-q).ln_1p() + (i * i - i) / (2.0 * z * z);
        sum = log_add(sum, term);
        i += 1.0;
    }
    sum
}

/// The same of any order, with generalised binomials, whose signs alternate once `i` is above `a`.
fn fractional(q: f64, z: f64, a: f64) -> f64 {
    let z0 = z * z * (1.0 / q - 1.0).ln() + 0.5;
    let (log_q, log_rest) = (q.ln(), (-q).ln_1p());
    let (mut above, mut below) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let (mut log_binomial, mut positive) = (0.0f64, true);
    for term in 0..MOST_TERMS {
        let i = term as f64;
        let j = a - i;
        let first =
            log_binomial + i * log_q + j * log_rest + (i * i - i) / (2.0 * z * z) + log_erfc((i - z0) / (SQRT_2 * z))
                - LN_2;
        let second =
            log_binomial + j * log_q + i * log_rest + (j * j - j) / (2.0 * z * z) + log_erfc((z0 - j) / (SQRT_2 * z))
                - LN_2;
        let both = log_add(first, second);
        let side = if positive { &mut above } else { &mut below };
        *side = log_add(*side, both);
        if i > a && both < above - 45.0 {
            break;
        }
        let ratio = (a - i) / (i + 1.0);
        log_binomial += ratio.abs().ln();
        positive = positive == (ratio >= 0.0);
    }
    log_sub(above, below)
}

/// A fixed number of the units is drawn without replacement; neighbours differ by one that is another, and `noise` is against that
/// sensitivity (Wang, Balle and Kasiviswanathan 2019, arXiv 1808.00087, theorem 27). An order between two whole ones is interpolated, as `ln A` is
/// convex in it.
pub(super) fn without_replacement(rate: f64, noise: f64, order: f64) -> f64 {
    if rate == 0.0 {
        return 0.0;
    }
    if rate == 1.0 {
        return gaussian(noise, order);
    }
    let (low, high) = (order.floor(), order.ceil());
    let of = |a: f64| if a <= 1.0 { 0.0 } else { drawn(rate, noise, a as usize) };
    let share = order - low;
    let log_a = (1.0 - share) * of(low) + share * of(high);
    // Sampling never makes it worse.
    (log_a / (order - 1.0)).clamp(0.0, gaussian(noise, order))
}

/// `ln A` of a whole order from 2.
fn drawn(q: f64, z: f64, order: usize) -> f64 {
    let cgf = |x: f64| x * (x + 1.0) / (2.0 * z * z);
    let differences = if order <= MOST_DIFFERENCES { forward_differences(cgf, order + 1) } else { Vec::new() };
    let step = 1.0 / (z * z);
    let log_step = step + (-(-step).exp_m1()).ln(); // ln(e^s - 1)
    let mut sum = 0.0;
    for i in 2..=order {
        let n = i as f64;
        let plain = LN_2 + cgf(n - 1.0);
        let bound = match i {
            2 => (4f64.ln() + log_step).min(LN_2 + step),
            _ => match (differences.get(i / 2 * 2), differences.get(i.div_ceil(2) * 2)) {
                (Some(low), Some(high)) => (4f64.ln() + 0.5 * (low + high)).min(plain),
                _ => plain,
            },
        };
        sum = log_add(sum, n * q.ln() + log_choose(order as f64, n) + bound);
    }
    sum
}

/// `ln D_k` for `k` up to `most`, `D_k` being the k-th forward difference of `x -> exp(cgf(x - 1))` at 0, which is none below 0. Each row is taken from
/// the one before in logarithms.
fn forward_differences(cgf: impl Fn(f64) -> f64, most: usize) -> Vec<f64> {
    let mut row: Vec<f64> = (0..=most).map(|x| cgf(x as f64 - 1.0)).collect();
    let mut out = Vec::with_capacity(most + 1);
    while let Some(first) = row.first() {
        out.push(*first);
        row = row.windows(2).map(|pair| log_sub(pair[1], pair[0])).collect();
    }
    out
}

/// The least epsilon that orders and their Renyi divergences give at this delta (Canonne, Kamath and Steinke 2020, arXiv 2004.00010, proposition
/// 12), at least 0.
pub(super) fn epsilon(divergences: impl Iterator<Item = (f64, f64)>, delta: f64) -> f64 {
    let of = |(a, r): (f64, f64)| r + (-1.0 / a).ln_1p() - (delta * a).ln() / (a - 1.0);
    divergences.map(of).fold(f64::INFINITY, f64::min).max(0.0)
}
