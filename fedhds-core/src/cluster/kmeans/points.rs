//! The rows as k-means measures them: exact distances in f64, and bounds on them from f32 products.
//!
//! What decides (labels, draws, empty clusters) is always [`distance::squared`] of the given f32 values, so that results depend
//! neither on the kernels of the processor nor on how rows are cut into blocks. Products only rule out what cannot decide: each
//! comes with a bound on its rounding.

use crate::cluster::distance;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Matrix};
use std::ops::Range;

/// Rows of one task. Sums run within blocks and then over them, so that the number of threads changes no bit.
pub(super) const BLOCK: usize = 256;
/// Columns over which one f32 product sums before f64 takes over, which bounds its rounding where there are many columns.
pub(super) const PANEL: usize = 1024;
/// Unit roundoff of f32.
const ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
/// A factor just above 1: it carries an f64 result safely past the rounding of the few f32 operations that use it.
const ABOVE: f64 = 1.0 + 8.0 * ROUNDOFF;

/// Rows `[n, d]` with what bounds their distances.
///
/// Bounds are in a unit of their own: rows are centred and scaled by a power of two into about [-1, 1], so that no f32 overflows.
pub(super) struct Points<'a> {
    rows: &'a Matrix,
    weights: Option<&'a [f32]>,
    scale: f32,
    /// The mean of the rows, in the unit of bounds.
    centre: Vec<f32>,
    /// Relative rounding of a product: `|computed - true| <= rounding |x| |y|`.
    rounding: f64,
    /// The rows in the unit of bounds, block after block, each column after column: `[d, rows]`. So products read them as they stand.
    strips: Vec<f32>,
    norms: Vec<Norm>,
    /// The longest shift of a row.
    longest_shift: f64,
}

/// Other rows in the unit of bounds, row after row.
pub(super) struct Placed {
    pub values: Vec<f32>,
    pub norms: Vec<Norm>,
}

/// What a row adds to a bound; see [`Norm::low`].
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
    /// Finite `rows` of at least one column, with their weights where they have any.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn new(rows: &'a Matrix, weights: Option<&'a [f32]>, control: &Control) -> Result<Self> {
        let (n, d) = (rows.rows(), rows.cols());
        let mean = means(rows, control)?;
        let extreme =
            |row: &[f32]| row.iter().zip(&mean).fold(0.0f64, |most, (&x, m)| most.max((f64::from(x) - m).abs()));
        let most = blocks(n, control, |rows_of| rows_of.map(|i| extreme(rows.row(i))).fold(0.0, f64::max))?
            .into_iter()
            .fold(0.0, f64::max);
        // A constant column may lie so far off that it, and no difference, would overflow.
        let largest = mean.iter().fold(1.0f64, |most, m| most.max(m.abs()));
        let highest = (126.0 - largest.log2().ceil()).min(126.0);
        let power = if most > 0.0 { (-most.log2().ceil()).clamp(-126.0, highest.max(-126.0)) } else { 0.0 };
        let mut points = Self {
            rows,
            weights,
            scale: power.exp2() as f32,
            centre: mean.iter().map(|m| (m * power.exp2()) as f32).collect(),
            rounding: (d.min(PANEL) + 4) as f64 * ROUNDOFF * 1.01,
            strips: vec![0.0; n * d],
            norms: vec![Norm::default(); n],
            longest_shift: 0.0,
        };
        let (mut strips, mut norms) = (std::mem::take(&mut points.strips), std::mem::take(&mut points.norms));
        loops::try_hand_out(
            strips.chunks_mut(BLOCK * d).zip(norms.chunks_mut(BLOCK)).collect(),
            1,
            |block, (strip, norms)| {
                control.check()?;
                let first = block * BLOCK;
                let mut placed = vec![0.0; strip.len()];
                for ((i, out), norm) in (first..).zip(placed.chunks_exact_mut(d)).zip(&mut *norms) {
                    points.place_row(rows.row(i), out);
                    *norm = points.norm_of(out);
                }
                transpose(&placed, d, strip);
                Ok(())
            },
        )?;
        points.longest_shift = norms.iter().fold(0.0, |most, norm| norm.shift.max(most)).into();
        (points.strips, points.norms) = (strips, norms);
        Ok(points)
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

    pub(super) fn norm(&self, i: usize) -> Norm {
        self.norms[i]
    }

    pub(super) fn longest_shift(&self) -> f64 {
        self.longest_shift
    }

    /// The rows of a block in the unit of bounds, column after column.
    pub(super) fn strip(&self, rows: Range<usize>) -> &[f32] {
        &self.strips[rows.start * self.cols()..rows.end * self.cols()]
    }

    /// The mean of the columns' variances.
    pub(super) fn variance(&self) -> f64 {
        let square: f64 = self.norms.iter().map(|norm| f64::from(norm.square.max(0.0))).sum();
        square / (self.len() * self.cols()).max(1) as f64 / f64::from(self.scale).powi(2)
    }

    /// Squared distance of row `i` to `other`, exact to f64: the one that decides.
    pub(super) fn squared(&self, i: usize, other: &[f32]) -> f64 {
        distance::squared(self.rows.row(i), other)
    }

    /// The distance of this square in the unit of bounds, rounded up.
    pub(super) fn above(&self, squared: f64) -> f32 {
        ((squared.sqrt() * f64::from(self.scale) * ABOVE) as f32).max(f32::MIN_POSITIVE)
    }

    /// The same rounded down.
    pub(super) fn below(&self, squared: f64) -> f32 {
        let below = (squared.sqrt() * f64::from(self.scale) / ABOVE) as f32;
        if below < f32::MIN_POSITIVE { 0.0 } else { below }
    }

    /// The square of a distance in the unit of bounds.
    pub(super) fn square(&self, distance: f32) -> f64 {
        (f64::from(distance) / f64::from(self.scale)).powi(2)
    }

    /// Rows of as many columns, in the unit of bounds.
    pub(super) fn place<'r>(&self, rows: impl ExactSizeIterator<Item = &'r [f32]>) -> Placed {
        let d = self.cols();
        let mut placed = Placed { values: vec![0.0; rows.len() * d], norms: vec![Norm::default(); rows.len()] };
        for ((out, norm), row) in placed.values.chunks_exact_mut(d).zip(&mut placed.norms).zip(rows) {
            self.place_row(row, out);
            *norm = self.norm_of(out);
        }
        placed
    }

    /// A row of as many columns in the unit of bounds.
    pub(super) fn place_row(&self, row: &[f32], out: &mut [f32]) {
        for (out, (&x, centre)) in out.iter_mut().zip(row.iter().zip(&self.centre)) {
            *out = x * self.scale - centre;
        }
    }

    /// The norm of a row in the unit of bounds.
    fn norm_of(&self, placed: &[f32]) -> Norm {
        let square: f64 = placed.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let norm = square.sqrt();
        // Values and products below f32's range.
        let tiny = (placed.len() + 1) as f64 * f64::from(f32::MIN_POSITIVE);
        Norm {
            square: (square * (1.0 - 16.0 * ROUNDOFF) - 4.0 * tiny) as f32,
            product: (norm * (2.0 * self.rounding).sqrt() * ABOVE + tiny) as f32,
            shift: (norm * 1.5 * ROUNDOFF * ABOVE + tiny) as f32,
        }
    }

    /// The bound from above that belongs to a bound from below, [`Norm::low`] of these two.
    pub(super) fn high(&self, x: Norm, y: Norm, low: f32) -> f32 {
        let [norms, product, shift] = [
            f64::from(x.square).abs() + f64::from(y.square).abs(),
            f64::from(x.product) * f64::from(y.product),
            f64::from(x.shift) + f64::from(y.shift),
        ];
        let tiny = (self.cols() + 1) as f64 * f64::from(f32::MIN_POSITIVE);
        // What was taken off on the way down, twice: once to get back, once for the same rounding upwards.
        let square = ((f64::from(low) * ABOVE + shift) * ABOVE).powi(2)
            + 2.0 * (product + 48.0 * ROUNDOFF * norms + 16.0 * tiny);
        ((square.sqrt() * ABOVE + shift) * ABOVE) as f32
    }
}

impl Norm {
    /// A distance that the exact one of x and y, in the unit of bounds, is not below, given their product in f32.
    ///
    /// `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>`, less the rounding of each part.
    pub(super) fn low(x: Norm, y: Norm, product: f32) -> f32 {
        let square = (x.square + y.square - 2.0 * product - x.product * y.product).max(0.0);
        ((square.sqrt() - (x.shift + y.shift)) * (1.0 - 4.0 * ROUNDOFF as f32)).max(0.0)
    }
}

impl Placed {
    pub(super) fn row(&self, i: usize) -> &[f32] {
        let d = self.values.len() / self.norms.len();
        &self.values[i * d..(i + 1) * d]
    }

    /// Takes over one row.
    pub(super) fn set(&mut self, i: usize, row: &[f32], points: &Points<'_>) {
        let out = &mut self.values[i * row.len()..(i + 1) * row.len()];
        points.place_row(row, out);
        self.norms[i] = points.norm_of(out);
    }
}

/// What `of` makes of each block of `n` rows.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn blocks<R: Default + Send>(
    n: usize,
    control: &Control,
    of: impl Fn(Range<usize>) -> R + Sync,
) -> Result<Vec<R>> {
    loops::try_map(n.div_ceil(BLOCK), 1, |block| {
        control.check()?;
        Ok(of(block * BLOCK..n.min((block + 1) * BLOCK)))
    })
}

/// Rows of `columns` values, row after row, to column after column.
pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32]) {
    /// Side of the tiles: a cache line.
    const TILE: usize = 16;
    let rows = from.len() / columns;
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for j in left..columns.min(left + TILE) {
                let out = &mut to[j * rows + top..j * rows + rows.min(top + TILE)];
                out.iter_mut().zip(top..).for_each(|(out, i)| *out = from[i * columns + j]);
            }
        }
    }
}

/// The mean of each column, in f64, block after block.
fn means(rows: &Matrix, control: &Control) -> Result<Vec<f64>> {
    let (n, d) = (rows.rows(), rows.cols());
    let sum = |block: Range<usize>| {
        let mut sum = vec![0.0f64; d];
        for i in block {
            sum.iter_mut().zip(rows.row(i)).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        sum
    };
    let blocks = blocks(n, control, sum)?;
    let mut mean = vec![0.0f64; d];
    for block in blocks {
        mean.iter_mut().zip(block).for_each(|(mean, sum)| *mean += sum);
    }
    mean.iter_mut().for_each(|mean| *mean /= n.max(1) as f64);
    Ok(mean)
}
