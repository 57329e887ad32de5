//! The rows as k-means measures them: exact distances in f64, and bounds on them from f32 products.
//!
//! What decides (labels, draws, empty clusters) is always [`distance::squared`] of the given f32 values, so that results depend
//! neither on the kernels of the processor nor on how rows are cut into blocks. Products only rule out what cannot decide: each
//! comes with a bound on its rounding.

use crate::cluster::distance;
use crate::product::{View, product};
use crate::types::Matrix;
use rayon::prelude::*;

/// Rows of one task. Sums run within blocks and then over them, so that the number of threads changes no bit.
pub(super) const BLOCK: usize = 256;
/// Columns over which one f32 product sums before f64 takes over, which bounds its rounding where there are many columns.
const PANEL: usize = 1024;
/// Unit roundoff of f32.
const ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
/// A factor just above 1: it carries an f64 result safely past the rounding of the few f32 operations that use it.
pub(super) const ABOVE: f64 = 1.0 + 8.0 * ROUNDOFF;

/// Rows `[n, d]` with what bounds their distances.
pub(super) struct Points<'a> {
    rows: &'a Matrix,
    weights: Option<&'a [f32]>,
    mean: Vec<f64>,
    /// A power of two: distances in bounds are true distances times this.
    scale: f64,
    /// Relative rounding of a product: `|computed - true| <= rounding |x| |y|`.
    rounding: f64,
    placed: Placed,
    /// The longest shift of a row.
    shift: f32,
}

/// Rows centred on the points' mean and scaled into [-1, 1], in f32, with their norms.
#[derive(Default)]
pub(super) struct Placed {
    values: Vec<f32>,
    norms: Vec<Norm>,
}

/// What a row adds to a bound; see [`Points::low`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Norm {
    /// Its squared norm, less what f32 sums of such norms may be off.
    pub square: f32,
    /// Its norm times the square root of twice the rounding of a product, rounded up.
    pub product: f32,
    /// The distance by which rounding may have moved the row, rounded up.
    pub shift: f32,
}

impl<'a> Points<'a> {
    /// Finite `rows`, with their weights where they have any.
    pub(super) fn new(rows: &'a Matrix, weights: Option<&'a [f32]>) -> Self {
        let mean = means(rows);
        let extreme =
            |row: &[f32]| row.iter().zip(&mean).fold(0.0f64, |most, (&x, m)| most.max((f64::from(x) - m).abs()));
        let most =
            (0..rows.rows()).into_par_iter().with_min_len(BLOCK).map(|i| extreme(rows.row(i))).reduce(|| 0.0, f64::max);
        let scale = if most > 0.0 { (-most.log2().ceil()).exp2() } else { 1.0 };
        let rounding = (rows.cols().min(PANEL) + 4) as f64 * ROUNDOFF * 1.01;
        let mut points = Self { rows, weights, mean, scale, rounding, placed: Placed::default(), shift: 0.0 };
        points.placed = points.place(rows);
        points.shift = points.placed.norms.iter().fold(0.0, |most, norm| most.max(norm.shift));
        points
    }

    pub(super) fn len(&self) -> usize {
        self.rows.rows()
    }

    pub(super) fn cols(&self) -> usize {
        self.rows.cols()
    }

    pub(super) fn row(&self, i: usize) -> &[f32] {
        self.rows.row(i)
    }

    pub(super) fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[i]))
    }

    /// The mean of the columns' variances.
    pub(super) fn variance(&self) -> f64 {
        let square: f64 = self.placed.norms.iter().map(|norm| f64::from(norm.square.max(0.0))).sum();
        square / (self.len() * self.cols()).max(1) as f64 / self.scale / self.scale
    }

    /// Squared distance of row `i` to `other`, exact to f64: the one that decides.
    pub(super) fn squared(&self, i: usize, other: &[f32]) -> f64 {
        distance::squared(self.rows.row(i), other)
    }

    /// A squared distance in the unit of bounds, as a distance rounded up.
    pub(super) fn above(&self, squared: f64) -> f32 {
        ((squared.sqrt() * self.scale * ABOVE) as f32).max(f32::MIN_POSITIVE)
    }

    /// The same rounded down.
    pub(super) fn below(&self, squared: f64) -> f32 {
        let below = (squared.sqrt() * self.scale / ABOVE) as f32;
        if below < f32::MIN_POSITIVE { 0.0 } else { below }
    }

    /// The distance by which rounding may have moved any row.
    pub(super) fn longest_shift(&self) -> f64 {
        f64::from(self.shift)
    }

    /// The rows in the unit of bounds.
    pub(super) fn placed(&self) -> &Placed {
        &self.placed
    }

    /// Rows of as many columns, in the unit of bounds.
    pub(super) fn place(&self, rows: &Matrix) -> Placed {
        let d = rows.cols();
        let mut placed = Placed { values: vec![0.0; rows.rows() * d], norms: vec![Norm::default(); rows.rows()] };
        placed
            .values
            .par_chunks_mut(d.max(1))
            .zip(&mut placed.norms)
            .enumerate()
            .with_min_len(16)
            .for_each(|(i, (out, norm))| *norm = self.place_row(rows.row(i), out));
        placed
    }

    fn place_row(&self, row: &[f32], out: &mut [f32]) -> Norm {
        for (out, (&x, mean)) in out.iter_mut().zip(row.iter().zip(&self.mean)) {
            *out = ((f64::from(x) - mean) * self.scale) as f32;
        }
        let square: f64 = out.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let norm = square.sqrt();
        // Values that f32 holds as 0, and products below its range.
        let tiny = (out.len() + 1) as f64 * f64::from(f32::MIN_POSITIVE);
        Norm {
            square: (square * (1.0 - 16.0 * ROUNDOFF) - 4.0 * tiny) as f32,
            product: ((norm * (2.0 * self.rounding).sqrt()) * ABOVE + tiny) as f32,
            shift: (norm * 1.5 * ROUNDOFF * ABOVE + tiny) as f32,
        }
    }

    /// Bounds from below, in place: `products[j]` is the inner product of row `i` and `others[j]`, and becomes a distance that
    /// [`squared`](Self::squared) of the two, in the unit of bounds, is not below.
    ///
    /// `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>`, less the rounding of each part.
    pub(super) fn low(&self, i: usize, others: &Placed, products: &mut [f32]) {
        let x = self.placed.norms[i];
        for (value, &y) in products.iter_mut().zip(&others.norms) {
            *value = low(x, y, *value);
        }
    }

    /// The same for `others[j]` alone.
    pub(super) fn low_of(&self, i: usize, others: &Placed, j: usize, product: f32) -> f32 {
        low(self.placed.norms[i], others.norms[j], product)
    }

    /// The bound from above that belongs to a bound from below of row `i` and `others[j]`.
    pub(super) fn high(&self, i: usize, others: &Placed, j: usize, low: f32) -> f32 {
        let (x, y) = (self.placed.norms[i], others.norms[j]);
        let [low, norms, product, shift] = [
            f64::from(low) * ABOVE,
            f64::from(x.square) + f64::from(y.square),
            f64::from(x.product) * f64::from(y.product),
            f64::from(x.shift) + f64::from(y.shift),
        ];
        let tiny = (self.cols() + 1) as f64 * f64::from(f32::MIN_POSITIVE);
        // What was taken off on the way down, twice: once to get back, once for the same rounding upwards.
        let square = ((low + shift) * ABOVE).powi(2) + 2.0 * (product + 48.0 * ROUNDOFF * norms.abs() + 16.0 * tiny);
        ((square.sqrt() * ABOVE + shift) * ABOVE) as f32
    }
}

/// See [`Points::low`].
fn low(x: Norm, y: Norm, product: f32) -> f32 {
    let square = (x.square + y.square - 2.0 * product - x.product * y.product).max(0.0);
    ((square.sqrt() - (x.shift + y.shift)) * (1.0 - 4.0 * ROUNDOFF as f32)).max(0.0)
}

impl Placed {
    pub(super) fn len(&self) -> usize {
        self.norms.len()
    }

    pub(super) fn norm(&self, i: usize) -> Norm {
        self.norms[i]
    }

    pub(super) fn row(&self, i: usize) -> &[f32] {
        let d = self.values.len() / self.norms.len();
        &self.values[i * d..(i + 1) * d]
    }

    /// Takes over one row.
    pub(super) fn set(&mut self, i: usize, row: &[f32], points: &Points<'_>) {
        let d = row.len();
        self.norms[i] = points.place_row(row, &mut self.values[i * d..(i + 1) * d]);
    }

    /// These rows, copied.
    pub(super) fn take(&self, rows: &[usize]) -> Placed {
        Placed { values: self.gather(rows.iter().copied()), norms: rows.iter().map(|&i| self.norms[i]).collect() }
    }

    /// The values of these rows, one after the other.
    pub(super) fn gather(&self, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut values = Vec::new();
        rows.for_each(|i| values.extend_from_slice(self.row(i)));
        values
    }

    /// The rows `from..to` as they stand.
    pub(super) fn slice(&self, from: usize, to: usize) -> &[f32] {
        let d = self.values.len() / self.norms.len();
        &self.values[from * d..to * d]
    }
}

/// Inner products of `left` `[m, d]` and `right` `[n, d]`: `[m, n]`.
pub(super) fn products(out: &mut [f32], left: &[f32], right: &[f32], d: usize) {
    let (left, right) = (View::new(left, left.len() / d, d), View::new(right, right.len() / d, d));
    if d <= PANEL {
        return product(out, left, right.transpose());
    }
    let mut sums = vec![0.0f64; out.len()];
    for start in (0..d).step_by(PANEL) {
        let columns = start..d.min(start + PANEL);
        product(out, left.columns(columns.clone()), right.columns(columns).transpose());
        sums.iter_mut().zip(&*out).for_each(|(sum, &p)| *sum += f64::from(p));
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
}

/// The inner product of two rows within the same rounding, without the packing of [`products`].
pub(super) fn inner(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (mut lanes, mut sum) = ([0.0f32; LANES], 0.0f64);
    for (a, b) in a.chunks(PANEL).zip(b.chunks(PANEL)) {
        let (a16, b16) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        sum += f64::from(a16.remainder().iter().zip(b16.remainder()).map(|(x, y)| x * y).sum::<f32>());
        for (x, y) in a16.zip(b16) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * y[lane];
            }
        }
        sum += f64::from(lanes.iter().sum::<f32>());
        lanes = [0.0; LANES];
    }
    sum as f32
}

/// The mean of each column, in f64, block after block.
fn means(rows: &Matrix) -> Vec<f64> {
    let (n, d) = (rows.rows(), rows.cols());
    let sum = |block: usize| {
        let mut sum = vec![0.0f64; d];
        for i in block * BLOCK..n.min((block + 1) * BLOCK) {
            sum.iter_mut().zip(rows.row(i)).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        sum
    };
    let blocks: Vec<Vec<f64>> = (0..n.div_ceil(BLOCK)).into_par_iter().map(sum).collect();
    let mut mean = vec![0.0f64; d];
    for block in blocks {
        mean.iter_mut().zip(block).for_each(|(mean, sum)| *mean += sum);
    }
    mean.iter_mut().for_each(|mean| *mean /= n.max(1) as f64);
    mean
}
