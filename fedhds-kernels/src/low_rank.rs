//! Low-rank updates (Hu et al. 2021, arXiv 2106.09685): products of which one side is a few numbers wide.

use crate::threads;
use crate::vector::{self, wide};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Columns of a gradient that one thread sums at a time.
const COLUMNS: usize = 128;

/// `out = x a^T`.
///
/// # Shapes
/// - x: `[m, k]`
/// - a: `[r, k]`
/// - out: `[m, r]`
pub fn down(x: &[f32], a: &[f32], r: usize, out: &mut [f32]) {
    let k = a.len() / r;
    assert!(a.len() == r * k && x.len() * r == out.len() * k);
    let rows = threads::light_rows(k * r);
    threads::parts(out, rows * r, |i, out| {
        let x = x[i * rows * k..].chunks_exact(k);
        out.chunks_exact_mut(r).zip(x).for_each(|(out, x)| vector::dots(x, a, r, out, 1));
    });
}

/// `out += factor * u b`.
///
/// # Shapes
/// - u: `[m, r]`
/// - b: `[r, n]`
/// - out: `[m, n]`
pub fn up(u: &[f32], b: &[f32], r: usize, factor: f32, out: &mut [f32]) {
    let n = b.len() / r;
    assert!(b.len() == r * n && u.len() * n == out.len() * r);
    let rows = threads::light_rows(n * r);
    threads::parts(out, rows * n, |i, out| {
        let u = u[i * rows * r..].chunks_exact(r);
        let mut scaled = vec![0.0; r];
        out.chunks_exact_mut(n).zip(u).for_each(|(out, u)| {
            scaled.iter_mut().zip(u).for_each(|(scaled, &u)| *scaled = factor * u);
            vector::add_scaled(out, &scaled, b);
        });
    });
}

/// `out += factor * u^T x`: the gradient of one side by the other.
///
/// # Shapes
/// - u: `[m, r]`
/// - x: `[m, k]`
/// - out: `[r, k]`
pub fn gradient(u: &[f32], x: &[f32], r: usize, factor: f32, out: &mut [f32]) {
    let k = out.len() / r;
    assert!(out.len() == r * k && x.len() * r == u.len() * k);
    if k == 0 {
        return;
    }
    let shared = threads::Shared::new(out);
    threads::each(k.div_ceil(COLUMNS), x.len() * r, |block| {
        let columns = block * COLUMNS..((block + 1) * COLUMNS).min(k);
        wide(Gradient { u, x, r, k, factor, columns, out: shared });
    });
}

/// Some columns of [`gradient`].
struct Gradient<'a> {
    u: &'a [f32],
    x: &'a [f32],
    r: usize,
    k: usize,
    factor: f32,
    columns: Range<usize>,
    out: threads::Shared,
}

impl Gradient<'_> {
    /// Rows from `first` on, all sums in registers.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, first: usize) {
        let mut at = self.columns.start;
        while at < self.columns.end {
            let count = (self.columns.end - at).min(S::F32_LANES);
            let mut sums = [simd.splat_f32s(0.0); R];
            for (u, x) in self.u.chunks_exact(self.r).zip(self.x.chunks_exact(self.k)) {
                let x = &x[at..at + count];
                let x = S::as_simd_f32s(x).0.first().copied().unwrap_or_else(
                    #[inline(always)]
                    || simd.partial_load_f32s(x),
                );
                for j in 0..R {
                    sums[j] = simd.mul_add_f32s(simd.splat_f32s(u[first + j]), x, sums[j]);
                }
            }
            for (j, sum) in sums.iter().enumerate() {
                // SAFETY: these columns are this thread's.
                let out = unsafe { self.out.slice((first + j) * self.k + at, count) };
                let there = simd.partial_load_f32s(out);
                simd.partial_store_f32s(out, simd.mul_add_f32s(*sum, simd.splat_f32s(self.factor), there));
            }
            at += count;
        }
    }
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut first = 0;
        while first + 8 <= self.r {
            self.rows::<S, 8>(simd, first);
            first += 8;
        }
        while first < self.r {
            self.rows::<S, 1>(simd, first);
            first += 1;
        }
    }
}

/// Of draws of two bytes, which are at least `threshold`: 1 for those, else 0.
pub fn kept(draws: &[u8], threshold: u32) -> Vec<u8> {
    let mut kept = vec![0; draws.len() / 2];
    for (kept, &draw) in kept.iter_mut().zip(draws.as_chunks::<2>().0) {
        *kept = u8::from(u32::from(u16::from_le_bytes(draw)) >= threshold);
    }
    kept
}

/// Writes `factor * x` where `kept` is 1, and 0 where it is 0.
pub fn masked(x: &[f32], kept: &[u8], factor: f32, out: &mut [f32]) {
    assert!(x.len() == kept.len() && x.len() == out.len());
    threads::parts(out, threads::LIGHT, |i, out| {
        let at = i * threads::LIGHT;
        for ((out, x), &kept) in out.iter_mut().zip(&x[at..]).zip(&kept[at..]) {
            *out = x * (factor * f32::from(kept));
        }
    });
}

/// [`masked`] in place.
pub fn mask(values: &mut [f32], kept: &[u8], factor: f32) {
    assert!(values.len() == kept.len());
    threads::parts(values, threads::LIGHT, |i, values| {
        for (value, &kept) in values.iter_mut().zip(&kept[i * threads::LIGHT..]) {
            *value *= factor * f32::from(kept);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + 3 * seed) * 37 % 101) as f32 - 50.0) / 64.0).collect()
    }

    #[test]
    fn what_is_dropped_is_zero() {
        let kept = kept(&[0, 0, 255, 255, 0, 1, 255, 0], 256);
        assert_eq!(kept, [0, 1, 1, 0]);
        let mut out = [9.0; 4];
        masked(&[1.0, 2.0, 3.0, 4.0], &kept, 1.5, &mut out);
        assert_eq!(out, [0.0, 3.0, 4.5, 0.0]);
        mask(&mut out, &kept, 2.0);
        assert_eq!(out, [0.0, 6.0, 9.0, 0.0]);
    }

    #[test]
    fn each_is_its_definition() {
        for (m, k, r) in [(0, 5, 2), (1, 1, 1), (3, 130, 8), (40, 300, 11), (5, 17, 16)] {
            let (x, a, u) = (values(m * k, 1), values(r * k, 2), values(m * r, 3));
            let close = |got: f32, exact: f32| assert!((got - exact).abs() < 1e-3, "{m} {k} {r}: {got} {exact}");
            let mut out = vec![f32::NAN; m * r];
            down(&x, &a, r, &mut out);
            for (at, got) in out.iter().enumerate() {
                close(*got, (0..k).map(|c| x[at / r * k + c] * a[at % r * k + c]).sum());
            }
            let mut out = vec![1.0; m * k];
            up(&u, &a, r, 0.5, &mut out);
            for (at, got) in out.iter().enumerate() {
                close(*got, 1.0 + 0.5 * (0..r).map(|j| u[at / k * r + j] * a[j * k + at % k]).sum::<f32>());
            }
            let mut out = vec![1.0; r * k];
            gradient(&u, &x, r, 2.0, &mut out);
            for (at, got) in out.iter().enumerate() {
                close(*got, 1.0 + 2.0 * (0..m).map(|i| u[i * r + at / k] * x[i * k + at % k]).sum::<f32>());
            }
        }
    }
}
