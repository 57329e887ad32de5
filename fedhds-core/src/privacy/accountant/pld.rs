//! Privacy loss distributions of Gaussian noise, plain and Poisson-sampled: nearly exact, and never below the truth.
//!
//! The loss of an outcome is `ln P / Q` for the two neighbours' outputs; the losses of releases add up, so that their distributions are convolved
//! (Koskela, Jaelkoe and Honkela 2020; Sommer, Meiser and Mohammadi 2019). Losses stand on a grid. The mass between two of its points goes to both of
//! them so that neither neighbour's mass changes ("connect the dots", Doroshenko et al. 2022, arXiv 2207.04380), which bounds every delta from
//! above; what lies beyond the grid counts as infinite loss.

use super::fft::{Complex, transform};
use super::special::{log_add, log_sub, normal, normal_between};

/// Steps of the grid of losses, the finest.
const FINEST: f64 = 1e-4;
/// Points of a grid, at most: 16 million, half a gigabyte on the way.
const MOST_POINTS: usize = 1 << 24;
/// Standard deviations of the noise beyond which mass is counted as infinite loss: 1e-21 of it.
const REACH: f64 = 9.5;
/// Mass of the sum of all losses that may wrap around; it is counted as infinite loss.
const WRAPPED: f64 = 1e-15;

/// The largest epsilon that is told from infinity: e to it is an f64.
const LARGEST: f64 = 700.0;

/// Which neighbour has the unit that is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The first: the unit is removed.
    Remove,
    /// The second: it is added.
    Add,
}

/// Masses of losses on a grid, and the mass of an infinite one.
#[derive(Debug, Clone)]
struct Losses {
    /// The step of the grid.
    step: f64,
    /// The loss of the first mass, in steps.
    first: i64,
    masses: Vec<f64>,
    infinite: f64,
}

/// The loss at `x` where the first neighbour's output is a mixture of `N(0, z^2)` and, with share q, `N(1, z^2)`: `ln(1 - q + q e^((2x - 1) / (2 z^2)))`.
fn loss(q: f64, z: f64, x: f64) -> f64 {
    let shifted = (2.0 * x - 1.0) / (2.0 * z * z);
    if q == 1.0 {
        return shifted;
    }
    log_add((-q).ln_1p(), q.ln() + shifted)
}

/// Where the loss is `l`; minus infinity where it is never so small.
fn place(q: f64, z: f64, l: f64) -> f64 {
    if q == 1.0 {
        return z * z * l + 0.5;
    }
    let rest = log_sub(l, (-q).ln_1p());
    if l <= (-q).ln_1p() { f64::NEG_INFINITY } else { z * z * (rest - q.ln()) + 0.5 }
}

impl Losses {
    /// Of one release.
    fn of(q: f64, z: f64, step: f64, direction: Direction) -> Self {
        let (low, high) = (-REACH * z, 1.0 + REACH * z);
        let (lowest, highest) = ((loss(q, z, low) / step).floor() as i64, (loss(q, z, high) / step).ceil() as i64);
        let ends: Vec<i64> = (lowest..=highest).collect();
        let places: Vec<f64> = ends.iter().map(|&l| place(q, z, l as f64 * step).clamp(low, high)).collect();
        let plain = |a: f64, b: f64| normal_between(a / z, b / z);
        let mixed = |a: f64, b: f64| (1.0 - q) * plain(a, b) + q * normal_between((a - 1.0) / z, (b - 1.0) / z);
        let mut masses = vec![0.0; ends.len()];
        let negated = direction == Direction::Add;
        let last = ends.len() - 1;
        for (at, (pair, l)) in places.windows(2).zip(&ends).enumerate() {
            let (a, b) = (pair[0], pair[1]);
            let (with, without) = (mixed(a, b), plain(a, b));
            // The loss lies between l and l + 1 steps, or between their negatives where the neighbours change places.
            let (p, q_mass, near, far) = match negated {
                false => (with, without, *l, *l + 1),
                true => (without, with, -*l - 1, -*l),
            };
            // a + b = p, a e^-near + b e^-far = q: with the ratio of q to p e^-near, which is exact where masses are small.
            let log_ratio = q_mass.ln() + near as f64 * step - p.ln();
            // Masses that are nothing in f64 go to the larger loss.
            let ratio = if log_ratio.is_nan() { 0.0 } else { log_ratio.exp() }.clamp((-step).exp(), 1.0);
            let far_mass = if p > 0.0 { p * ((1.0 - ratio) / -(-step).exp_m1()).clamp(0.0, 1.0) } else { 0.0 };
            let (near_at, far_at) = match negated {
                false => ((near - lowest) as usize, (far - lowest) as usize),
                true => (last - at - 1, last - at),
            };
            masses[near_at] += p - far_mass;
            masses[far_at] += far_mass;
        }
        let first = if negated { -highest } else { lowest };
        let outside = |shift: f64| normal((low - shift) / z) + normal((shift - high) / z);
        let infinite = match direction {
            Direction::Remove => (1.0 - q) * outside(0.0) + q * outside(1.0),
            Direction::Add => outside(0.0),
        };
        Self { step, first, masses, infinite }
    }

    fn at(&self, index: usize) -> f64 {
        (self.first + index as i64) as f64 * self.step
    }

    /// `ln` of the mean of `e^(t loss)` over what is not infinite.
    fn log_moment(&self, t: f64) -> f64 {
        let exponent =
            |(i, mass): (usize, &f64)| if *mass > 0.0 { mass.ln() + t * self.at(i) } else { f64::NEG_INFINITY };
        let largest = self.masses.iter().enumerate().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.masses.iter().enumerate().map(|pair| (exponent(pair) - largest).exp()).sum();
        largest + sum.ln()
    }
}

/// What remains of `count` releases of each distribution, by Chernoff's bound: the range, in steps, outside of which the sum has a mass of [`WRAPPED`]
/// at most at either end.
fn range(parts: &[(Losses, u64)]) -> (i64, i64) {
    let step = parts.first().map_or(FINEST, |(part, _)| part.step);
    let (mut high, mut low) = (f64::INFINITY, f64::NEG_INFINITY);
    for exponent in -12..=14 {
        let t = 2f64.powi(exponent);
        let moments = |t: f64| parts.iter().map(|(part, count)| *count as f64 * part.log_moment(t)).sum::<f64>();
        high = high.min((moments(t) - WRAPPED.ln()) / t);
        low = low.max(-(moments(-t) - WRAPPED.ln()) / t);
    }
    // Never beyond what the sum can be.
    let most: i64 = parts.iter().map(|(p, n)| (p.first + p.masses.len() as i64 - 1).saturating_mul(*n as i64)).sum();
    let least: i64 = parts.iter().map(|(p, n)| p.first.saturating_mul(*n as i64)).sum();
    (least.max((low / step).floor() as i64), most.min((high / step).ceil() as i64))
}

/// The sum of the losses of all releases; none where its grid would have too many points.
fn sum(parts: &[(Losses, u64)]) -> Option<Losses> {
    let step = parts.first()?.0.step;
    let (low, high) = range(parts);
    let wanted = usize::try_from(high - low + 1).ok()?;
    let longest = parts.iter().map(|(part, _)| part.masses.len()).max()?;
    let n = wanted.max(longest).checked_next_power_of_two().filter(|n| *n <= MOST_POINTS)?;
    let mut product = vec![Complex { re: 1.0, im: 0.0 }; n];
    let mut certain = 1.0;
    for (part, count) in parts {
        let mut values = vec![Complex::default(); n];
        for (i, mass) in part.masses.iter().enumerate() {
            values[(part.first + i as i64).rem_euclid(n as i64) as usize].re += mass;
        }
        transform(&mut values, false);
        product.iter_mut().zip(values).for_each(|(all, value)| *all = all.product(value.power(*count)));
        certain *= (1.0 - part.infinite).powf(*count as f64);
    }
    transform(&mut product, true);
    let of = |at: i64| (product[at.rem_euclid(n as i64) as usize].re / n as f64).max(0.0);
    let masses: Vec<f64> = (low..low + wanted as i64).map(of).collect();
    let infinite = (1.0 - certain) + 2.0 * WRAPPED;
    // What is missing would be claimed as privacy.
    let all = masses.iter().sum::<f64>() + infinite;
    ((1.0 - 1e-9..1.0 + 1e-6).contains(&all)).then_some(Losses { step, first: low, masses, infinite })
}

impl Losses {
    /// The least epsilon at this delta: `delta(eps) = infinite + sum over losses above eps of mass (1 - e^(eps - loss))`.
    fn epsilon(&self, delta: f64) -> f64 {
        if self.infinite > delta {
            return f64::INFINITY;
        }
        // From the largest loss down: with the sums of masses and of masses times e^-loss, delta is known at every loss.
        let (mut mass, mut weighted, mut above) = (self.infinite, 0.0, f64::INFINITY);
        for (i, &m) in self.masses.iter().enumerate().rev() {
            let l = self.at(i);
            if l > LARGEST && mass > delta {
                return f64::INFINITY;
            }
            // Between this loss and the one above delta(eps) = mass - e^eps weighted.
            if weighted > 0.0 {
                let here = mass - l.exp() * weighted;
                if here > delta {
                    let crossing = ((mass - delta) / weighted).ln();
                    return crossing.clamp(l, above).max(0.0);
                }
            }
            if l < 0.0 && above < 0.0 {
                break;
            }
            mass += m;
            weighted += m * (-l).exp();
            above = l;
        }
        0.0
    }
}

/// The least epsilon at `delta` after releases of `(rate, noise, times)`; none where the noise is too small, or the releases too many, for a grid that
/// fits into memory.
pub(super) fn epsilon(releases: &[(f64, f64, u64)], delta: f64) -> Option<f64> {
    let live: Vec<&(f64, f64, u64)> = releases.iter().filter(|(q, _, times)| *q > 0.0 && *times > 0).collect();
    if live.is_empty() {
        return Some(0.0);
    }
    let mut step = FINEST;
    // What one release reaches says how coarse the grid must be at least.
    let widest =
        live.iter().map(|(q, z, _)| loss(*q, *z, 1.0 + REACH * z) - loss(*q, *z, -REACH * z)).fold(0.0, f64::max);
    while widest / step > (MOST_POINTS / 16) as f64 {
        step *= 2.0;
        if !step.is_finite() {
            return None;
        }
    }
    for _ in 0..12 {
        let of = |direction| {
            let parts: Vec<(Losses, u64)> =
                live.iter().map(|(q, z, times)| (Losses::of(*q, *z, step, direction), *times)).collect();
            sum(&parts).map(|sum| sum.epsilon(delta))
        };
        if let (Some(remove), Some(add)) = (of(Direction::Remove), of(Direction::Add)) {
            return Some(remove.max(add));
        }
        step *= 2.0;
    }
    None
}
