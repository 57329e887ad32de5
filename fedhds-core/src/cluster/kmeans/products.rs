//! Inner products that bounds come from: a few rows with a strip of many.
//!
//! A strip holds its rows column after column and is made once, so that a product reads it as it stands. A general product would pack it
//! anew each time, which costs as much as the product itself where the other side has few rows (a start's candidates, 20 centroids).

use super::points::PANEL;
use pulp::{Arch, Simd, WithSimd};

/// Rows of one group at most: with two vectors each, what the registers of the widest machine hold.
const GROUP: usize = 8;
/// Vectors of a strip's rows that are worked on at a time.
const VECTORS: usize = 2;
/// Values in so many of the widest vectors that there are.
const WIDEST: usize = VECTORS * 16;

/// Inner products of `left` `[m, d]`, row after row, with a strip `[d, n]`: `[m, n]`.
///
/// A sum is of f32 over at most [`PANEL`] columns, and of f64 over those.
pub(super) fn products(out: &mut [f32], left: &[f32], strip: &[f32], d: usize) {
    let n = strip.len() / d;
    if d <= PANEL {
        return one_panel(out, left, strip, d);
    }
    let mut sums = vec![0.0f64; out.len()];
    let mut part = Vec::new();
    for start in (0..d).step_by(PANEL) {
        let columns = start..d.min(start + PANEL);
        part.clear();
        left.chunks_exact(d).for_each(|row| part.extend_from_slice(&row[columns.clone()]));
        one_panel(out, &part, &strip[start * n..columns.end * n], columns.len());
        sums.iter_mut().zip(&*out).for_each(|(sum, &p)| *sum += f64::from(p));
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
}

fn one_panel(out: &mut [f32], left: &[f32], strip: &[f32], d: usize) {
    let n = strip.len() / d;
    let arch = Arch::new();
    let rest = padded(strip, n, n - n % lanes(arch), lanes(arch));
    let mut packed = vec![0.0f32; GROUP * d];
    let (mut left, mut out) = (left, out);
    while !left.is_empty() {
        let rows = group(left.len() / d, lanes(arch));
        let (these, others) = left.split_at(rows * d);
        let (products, later) = std::mem::take(&mut out).split_at_mut(rows * n);
        pack(these, d, rows, &mut packed);
        let packed = &packed[..rows * d];
        match rows {
            8 => arch.dispatch(Group::<8> { packed, strip, rest: &rest, n, out: products }),
            4 => arch.dispatch(Group::<4> { packed, strip, rest: &rest, n, out: products }),
            2 => arch.dispatch(Group::<2> { packed, strip, rest: &rest, n, out: products }),
            _ => arch.dispatch(Group::<1> { packed, strip, rest: &rest, n, out: products }),
        }
        (left, out) = (others, later);
    }
}

/// How many rows of a strip are worked on at a time on this machine.
fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            VECTORS * S::F32_LANES
        }
    }
    arch.dispatch(Lanes)
}

/// How many of so many rows go together: narrow vectors come with half the registers.
fn group(rows: usize, lanes: usize) -> usize {
    let most = if lanes == WIDEST { GROUP } else { GROUP / 2 };
    1 << rows.min(most).ilog2()
}

/// The rows of a strip from `first` on, with zeros up to `lanes` of them.
fn padded(strip: &[f32], n: usize, first: usize, lanes: usize) -> Vec<f32> {
    if first == n {
        return Vec::new();
    }
    let mut rest = vec![0.0; strip.len() / n * lanes];
    for (to, from) in rest.chunks_exact_mut(lanes).zip(strip.chunks_exact(n)) {
        to[..n - first].copy_from_slice(&from[first..]);
    }
    rest
}

/// Rows `[rows, d]` to `[d, rows]`.
fn pack(from: &[f32], d: usize, rows: usize, to: &mut [f32]) {
    for (row, from) in from.chunks_exact(d).enumerate() {
        to[row..].iter_mut().step_by(rows).zip(from).for_each(|(to, &x)| *to = x);
    }
}

/// `M` packed rows and a strip.
struct Group<'a, const M: usize> {
    /// `[d, M]`.
    packed: &'a [f32],
    /// `[d, n]`.
    strip: &'a [f32],
    /// The last rows of the strip, where they do not fill vectors.
    rest: &'a [f32],
    n: usize,
    /// `[M, n]`.
    out: &'a mut [f32],
}

impl<const M: usize> WithSimd for Group<'_, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, strip, rest, n, out } = self;
        let (lanes, packed) = (VECTORS * S::F32_LANES, packed.as_chunks::<M>().0);
        for first in (0..n).step_by(lanes) {
            let sums = if first + lanes <= n {
                tile::<S, M>(simd, packed, &strip[first..], n)
            } else {
                tile::<S, M>(simd, packed, rest, lanes)
            };
            let count = lanes.min(n - first);
            let mut row = [0.0f32; WIDEST];
            for (out, sums) in out.chunks_exact_mut(n).zip(&sums) {
                S::as_mut_simd_f32s(&mut row[..lanes]).0.copy_from_slice(sums);
                out[first..first + count].copy_from_slice(&row[..count]);
            }
        }
    }
}

/// Sums over the columns, two vectors for each packed row; a column of the strip begins `step` after the one before.
#[inline(always)]
fn tile<S: Simd, const M: usize>(simd: S, packed: &[[f32; M]], strip: &[f32], step: usize) -> [[S::f32s; VECTORS]; M] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; M];
    for (column, x) in packed.iter().enumerate() {
        let y = &S::as_simd_f32s(&strip[column * step..][..VECTORS * S::F32_LANES]).0[..VECTORS];
        for (sums, &x) in sums.iter_mut().zip(x) {
            let x = simd.splat_f32s(x);
            for (sum, &y) in sums.iter_mut().zip(y) {
                *sum = simd.mul_add_f32s(x, y, *sum);
            }
        }
    }
    sums
}

/// The inner product of two rows within the same rounding.
pub(super) fn inner(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sum = 0.0f64;
    for (a, b) in a.chunks(PANEL).zip(b.chunks(PANEL)) {
        let (a16, b16) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest: f32 = a16.remainder().iter().zip(b16.remainder()).map(|(x, y)| x * y).sum();
        let mut lanes = [0.0f32; LANES];
        for (x, y) in a16.zip(b16) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * y[lane];
            }
        }
        sum += f64::from(lanes.iter().sum::<f32>() + rest);
    }
    sum as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kmeans::points::transpose;
    use crate::types::Seed;
    use rand::RngExt as _;

    #[test]
    fn products_equal_their_definition_for_any_shape() {
        for (m, n, d) in [(1, 1, 1), (3, 5, 2), (20, 256, 384), (13, 67, 9), (8, 32, 16), (4, 33, 1500), (7, 31, 1024)]
        {
            let mut rng = Seed((m * n * d) as u64).rng();
            let mut values = |count: usize| (0..count).map(|_| rng.random::<f32>() - 0.5).collect::<Vec<_>>();
            let (left, right) = (values(m * d), values(n * d));
            let (mut strip, mut out) = (vec![0.0; n * d], vec![f32::NAN; m * n]);
            transpose(&right, d, &mut strip);
            products(&mut out, &left, &strip, d);
            for i in 0..m {
                for j in 0..n {
                    let (x, y) = (&left[i * d..(i + 1) * d], &right[j * d..(j + 1) * d]);
                    let exact: f64 = x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                    let rounding = (d.min(PANEL) + 4) as f64 / f64::from(1u32 << 24) * (d as f64) * 0.25;
                    for got in [out[i * n + j], inner(x, y)] {
                        assert!(
                            (f64::from(got) - exact).abs() <= rounding,
                            "({m}, {n}, {d}) at ({i}, {j}): {got} {exact}"
                        );
                    }
                }
            }
        }
    }
}
