//! Distances from below and from above, by f32 products: what lets a greedy selector rule out rows without looking at them in f64.
//!
//! A greedy selector compares gains that are sums over all targets of exact f64 terms. It needs the exact gain of the few rows
//! that could win; of all others a bound from above is enough, and such a bound may be made of f32 products, a few hundred times
//! faster. What decides is never such a bound, so that picks depend neither on the kernels of the processor nor on blocks or threads.
//!
//! Why they hold. Rows are centred and scaled by a power of two into about [-1, 1], the *unit* of bounds: no f32 overflows, and
//! `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` cancels as little as can be. Centring rounds each value once, which moves a row by at most
//! its norm times 1.5 roundoffs ([`Placed::shift`]). An f32 product of d terms, in whatever order, is off by at most
//! `(d + 4) u |x| |y|`, which is at most half of that times `|x|^2 + |y|^2`: so the squared norms are kept once lowered and once
//! raised by this share and by 16 roundoffs for the three sums that use them. Roots, and the f64 rounding of the exact
//! distances, are covered by the few roundoffs that [`Placed::above`] and [`Placed::below`] add to what is compared with them.

use crate::loops;
use crate::product::{View, product};
use std::ops::Range;

/// Unit roundoff of f32.
pub(super) const ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
/// Sums of f32 run in so many lanes, which vectors hold on any machine.
pub(super) const LANES: usize = 16;
/// The least distance above 0 that [`Placed::above`] gives, so that what is made of it stays within f32's range.
const NEAREST: f32 = 1e-15;
/// Rows that are placed in one task.
const BLOCK: usize = 256;

/// Rows `[n, d]` in the unit of bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Placed {
    columns: usize,
    values: Vec<f32>,
    /// Squared norms, lowered by what products and sums may be off.
    pub low: Vec<f32>,
    /// Squared norms, raised by it.
    pub high: Vec<f32>,
    /// The unit of bounds, in that of the rows.
    scale: f64,
    /// By how much rounding may have changed the distance of two rows, in the unit of bounds.
    shift: f64,
}

impl Placed {
    /// Finite rows of `columns` values, by their number.
    pub(super) fn new<'a>(n: usize, columns: usize, row: impl Fn(usize) -> &'a [f32] + Sync) -> Self {
        let mut mean = vec![0.0f64; columns];
        for i in 0..n {
            mean.iter_mut().zip(row(i)).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        mean.iter_mut().for_each(|mean| *mean /= n.max(1) as f64);
        let extreme =
            |row: &[f32]| row.iter().zip(&mean).fold(0.0f64, |most, (&x, m)| most.max((f64::from(x) - m).abs()));
        let most = loops::map(n, BLOCK, |i| extreme(row(i))).into_iter().fold(0.0, f64::max);
        let power = if most > 0.0 { (-most.log2().ceil()).clamp(-126.0, 126.0) } else { 0.0 };
        let scale = power.exp2();
        let centre: Vec<f32> = mean.iter().map(|mean| (mean * scale) as f32).collect();
        let mut values = vec![0.0; n * columns];
        loops::parts(&mut values, BLOCK * columns, 1, |block, values| {
            for (i, out) in (block * BLOCK..).zip(values.chunks_exact_mut(columns.max(1))) {
                let pairs = row(i).iter().zip(&centre);
                out.iter_mut().zip(pairs).for_each(|(out, (&x, centre))| *out = x * scale as f32 - centre);
            }
        });
        let squares = loops::map(n, BLOCK, |i| -> f64 {
            values[i * columns..(i + 1) * columns].iter().map(|&x| f64::from(x) * f64::from(x)).sum()
        });
        // What values and products below f32's range may add up to.
        let tiny = (columns + 1) as f64 * f64::from(f32::MIN_POSITIVE);
        let share = (columns + 4) as f64 * ROUNDOFF * 1.01 + 16.0 * ROUNDOFF;
        let longest = squares.iter().fold(0.0f64, |most, &square| most.max(square)).sqrt();
        Self {
            columns,
            low: squares.iter().map(|square| (square * (1.0 - share) - 4.0 * tiny) as f32).collect(),
            high: squares.iter().map(|square| (square * (1.0 + share) + 4.0 * tiny) as f32).collect(),
            values,
            scale,
            shift: 2.0 * (longest * 1.5 * ROUNDOFF * (1.0 + 8.0 * ROUNDOFF) + tiny),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.low.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The unit of the rows, in that of bounds.
    pub(super) fn unit(&self) -> f64 {
        1.0 / self.scale
    }

    /// A distance in the unit of bounds, so far up that a pair farther apart by its lowered squares is farther apart; 0 stays.
    pub(super) fn above(&self, distance: f64) -> f32 {
        if distance <= 0.0 {
            return 0.0;
        }
        (((distance * self.scale + self.shift) * (1.0 + 8.0 * ROUNDOFF)) as f32).max(NEAREST)
    }

    /// A distance in the unit of bounds, so far down that a pair nearer by its raised squares is nearer; perhaps below 0.
    pub(super) fn below(&self, distance: f64) -> f32 {
        let scaled = distance * self.scale;
        (scaled - self.shift - 8.0 * ROUNDOFF * scaled) as f32
    }

    /// These rows, row after row.
    pub(super) fn gather(&self, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        rows.flat_map(|row| &self.values[row * self.columns..(row + 1) * self.columns]).copied().collect()
    }

    /// Inner products of `left`, row after row, with rows of `right`, as [`Placed::gather`] gives both: `[left, right]`.
    pub(super) fn products(&self, out: &mut [f32], left: &[f32], lefts: usize, right: &[f32], rights: usize) {
        let (left, right) = (View::new(left, lefts, self.columns), View::new(right, rights, self.columns));
        product(out, left, right.transpose());
    }

    pub(super) fn rows(&self, range: Range<usize>) -> &[f32] {
        &self.values[range.start * self.columns..range.end * self.columns]
    }
}

/// The larger, in one instruction: `f32::max` also looks for what is not a number.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller, in one instruction.
#[inline(always)]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The distance of two rows given their squares and their product; from below with lowered squares, from above with raised ones.
#[inline(always)]
pub(super) fn distance(a: f32, b: f32, product: f32) -> f32 {
    larger((a + b) - 2.0 * product, 0.0).sqrt()
}
