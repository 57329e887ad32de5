//! Bounds on the first gains of facility location, from moments.
//!
//! Before anything is chosen every target is as far as `far` from it, and a gain is `far W - sum_i w_i d(i, j)`. With `u` the squared
//! distances of row j, `m` their weighted mean and `v` their weighted variance, the sum of their roots is at least
//! `W sqrt(m) (1 - v / (2 m^2))`, as `sqrt(z) >= 1 + (z - 1)/2 - (z - 1)^2/2` for every `z >= 0`: the difference is
//! `(y - 1)^2 y (y + 2) / 2` with `y = sqrt(z)`. Mean and variance follow from the moments of all rows, `O(d^2)` a row, where
//! all distances would be `O(n d)`. Rows of high dimension lie almost equally far from each other, and then few are left that could be the first.

use super::bounds::Placed;
use crate::error::Result;
use crate::loops;
use crate::types::Control;
use std::ops::Range;

/// Rows of one task.
const BLOCK: usize = 256;

/// Weighted moments of rows: of their values x and their squares `a = |x|^2`.
#[derive(Debug, Clone, Default)]
struct Moments {
    weight: f64,
    a: f64,
    aa: f64,
    x: Vec<f64>,
    ax: Vec<f64>,
    xx: Vec<f64>,
}

impl Moments {
    fn of(placed: &Placed, weights: &[f32], rows: Range<usize>, control: &Control) -> Result<Self> {
        let d = placed.columns();
        let zeros = || vec![0.0f64; d];
        let mut sums = Self { x: zeros(), ax: zeros(), xx: vec![0.0; d * d], ..Self::default() };
        for i in rows {
            control.check()?;
            let (w, x) = (f64::from(weights[i]), wide(placed, i));
            let a = square(&x);
            sums.weight += w;
            sums.a += w * a;
            sums.aa += w * a * a;
            add(&mut sums.x, w, &x);
            add(&mut sums.ax, w * a, &x);
            sums.xx.chunks_exact_mut(d.max(1)).zip(&x).for_each(|(row, &value)| add(row, w * value, &x));
        }
        Ok(sums)
    }

    fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        self.a += other.a;
        self.aa += other.aa;
        add(&mut self.x, 1.0, &other.x);
        add(&mut self.ax, 1.0, &other.ax);
        add(&mut self.xx, 1.0, &other.xx);
    }

    /// The weighted sum of the distances to row x, from below.
    fn distances(&self, x: &[f64]) -> f64 {
        let a = square(x);
        let (along, across) = (dot(&self.x, x), dot(&self.ax, x));
        let quadratic: f64 = self.xx.chunks_exact(x.len().max(1)).zip(x).map(|(row, value)| value * dot(row, x)).sum();
        let mean = (self.a + a * self.weight - 2.0 * along) / self.weight;
        if mean.is_nan() || mean < 0.1 * (self.a / self.weight + a) {
            return 0.0; // too little is left of what was subtracted
        }
        let squares = self.aa + 2.0 * a * self.a + a * a * self.weight - 4.0 * (across + a * along) + 4.0 * quadratic;
        let below = self.weight * mean.sqrt() * (1.0 - 0.5 * (squares / self.weight / (mean * mean) - 1.0));
        if below > 0.0 { below } else { 0.0 }
    }
}

/// Bounds from above on the first gain of every row, in the unit of bounds, where every target is so far from what is chosen.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn first(placed: &Placed, weights: &[f32], far: f32, control: &Control) -> Result<Vec<f64>> {
    let n = placed.len();
    let shares = 16.min(n);
    let size = n.div_ceil(shares.max(1));
    let parts = loops::try_map(shares, 1, |share| {
        Moments::of(placed, weights, (share * size).min(n)..n.min((share + 1) * size), control)
    })?;
    let mut parts = parts.into_iter();
    let mut moments = parts.next().unwrap_or_default();
    parts.for_each(|part| moments.merge(&part));
    let most = moments.weight * f64::from(far);
    // Far more than the rounding of the moments in f64.
    loops::try_map(n, BLOCK, |i| {
        control.check()?;
        Ok(most * (1.0 + 1e-6) - moments.distances(&wide(placed, i)) * (1.0 - 1e-6))
    })
}

fn wide(placed: &Placed, i: usize) -> Vec<f64> {
    placed.rows(i..i + 1).iter().map(|&x| f64::from(x)).collect()
}

fn add(sums: &mut [f64], by: f64, x: &[f64]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += by * x);
}

fn square(x: &[f64]) -> f64 {
    dot(x, x)
}

/// In four lanes, which vectors hold on any machine.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(x, y)| x * y).sum();
    let mut lanes = [0.0f64; 4];
    for (x, y) in a4.zip(b4) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}
