//! Products with frozen matrices.

use crate::matrix::{Form, Matrix};
use crate::scratch;
use crate::threads::{self, Shared};
use crate::vector;
use gemm::Parallelism;
use std::cell::RefCell;

/// Rows up to which weights are read once for all rows, in the place of a product of packed blocks: then memory is what takes the time.
const FEW: usize = 12;
/// Values of a product up to which gemm multiplies row by column.
const SMALL: usize = 16 * 16;
/// Rows of a matrix that one thread reads at a time.
const ROWS: usize = 64;
/// Values of a matrix that are decoded at a time: a layer's largest of a model of a billion parameters.
const DECODED: usize = 1 << 24;

/// A strided matrix of which the product reads.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) start: *const f32,
    pub(crate) row: isize,
    pub(crate) column: isize,
}

impl View {
    /// Rows that lie `row` values apart.
    pub(crate) fn rows(values: &[f32], row: usize) -> Self {
        Self { start: values.as_ptr(), row: row as isize, column: 1 }
    }

    /// The same, columns for rows.
    pub(crate) fn turned(values: &[f32], row: usize) -> Self {
        Self { start: values.as_ptr(), row: 1, column: row as isize }
    }
}

/// `[m, k] x [k, n]`, written to (or added to) rows that lie `row` values apart.
///
/// # Safety
/// All three are within their allocations for these sizes, and `out` overlaps neither of the others nor what another thread touches.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn multiply(
    [m, k, n]: [usize; 3],
    out: *mut f32,
    row: isize,
    add: bool,
    left: View,
    right: View,
    factor: f32,
    parallelism: Parallelism,
) {
    // SAFETY: the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row,
            add,
            left.start,
            left.column,
            left.row,
            right.start,
            right.column,
            right.row,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn parallelism() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    }
}

/// How a product is made of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The fastest for so many rows. The last bits of a row depend on how many there are.
    BySize,
    /// By packed blocks: a row has the same bits whatever rows are beside it.
    Packed,
}

/// `out = x w^T`.
///
/// # Shapes
/// - x: `[m, columns]`
/// - w: `[rows, columns]`
/// - out: `[m, rows]`
pub fn forward(x: &[f32], m: usize, w: &Matrix, way: Way, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    assert!(x.len() == m * k && out.len() == m * n);
    if m == 0 || n == 0 || k == 0 {
        return out.fill(0.0);
    }
    if way == Way::BySize && m <= FEW {
        return few(x, m, w, out);
    }
    // gemm makes small products in another way: rows of zeros make them large enough.
    let least = (SMALL / n + 1).max(2);
    if m < least && way == Way::Packed {
        let (mut more, mut all) = (scratch::zeros(least * k), scratch::take(least * n));
        more[..m * k].copy_from_slice(x);
        forward(&more, least, w, way, &mut all);
        out.copy_from_slice(&all[..m * n]);
        [more, all].into_iter().for_each(scratch::give);
        return;
    }
    let step = (DECODED / k).clamp(1, n);
    let mut scratch = decoded(w, step);
    for first in (0..n).step_by(step) {
        let count = step.min(n - first);
        let weights = w.plain(first..first + count, &mut scratch);
        // SAFETY: `x` is [m, k], `weights` [count, k], and columns first..first + count of `out`, [m, n], are written.
        unsafe {
            multiply(
                [m, k, count],
                out.as_mut_ptr().add(first),
                n as isize,
                false,
                View::rows(x, k),
                View::turned(weights, k),
                1.0,
                parallelism(),
            );
        }
    }
    scratch::give(scratch);
}

/// Room for so many rows of a matrix, where they must be decoded.
fn decoded(w: &Matrix, rows: usize) -> Vec<f32> {
    if w.form() == Form::F32 { Vec::new() } else { scratch::take(rows * w.columns()) }
}

/// [`forward`] of few rows: each row of the weights meets all of them while it is at hand.
fn few(x: &[f32], m: usize, w: &Matrix, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    let shared = Shared::new(out);
    threads::each(n.div_ceil(ROWS), |part| {
        let rows = part * ROWS..((part + 1) * ROWS).min(n);
        // A thread's own, as long as it lives: a few hundred kilobytes.
        thread_local!(static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
        let mut room = ROOM.take();
        let mut found = [0.0f32; FEW];
        let weights = w.plain(rows.clone(), &mut room);
        for (i, row) in rows.enumerate() {
            vector::dots(&weights[i * k..(i + 1) * k], x, m, &mut found, 1);
            for (j, &found) in found.iter().take(m).enumerate() {
                // SAFETY: column `row` of `out` is this thread's.
                unsafe { shared.slice(j * n + row, 1)[0] = found };
            }
        }
        ROOM.set(room);
    });
}

/// `out += y w`: a gradient of what [`forward`] made, carried back to its input.
///
/// # Shapes
/// - y: `[m, rows]`
/// - w: `[rows, columns]`
/// - out: `[m, columns]`
pub fn backward(y: &[f32], m: usize, w: &Matrix, out: &mut [f32]) {
    let (n, k) = (w.rows(), w.columns());
    assert!(y.len() == m * n && out.len() == m * k);
    if m == 0 || k == 0 {
        return;
    }
    let step = (DECODED / k).clamp(1, n.max(1));
    let mut scratch = decoded(w, step);
    for first in (0..n).step_by(step) {
        let count = step.min(n - first);
        let weights = w.plain(first..first + count, &mut scratch);
        // SAFETY: columns first..first + count of `y`, [m, n], and `weights`, [count, k], are read; `out` is [m, k].
        unsafe {
            multiply(
                [m, count, k],
                out.as_mut_ptr(),
                k as isize,
                true,
                View::rows(&y[first..], n),
                View::rows(weights, k),
                1.0,
                parallelism(),
            );
        }
    }
    scratch::give(scratch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + 3 * seed) * 37 % 101) as f32 - 50.0) / 64.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn products_are_their_definition(m in 0usize..40, n in 0usize..70, k in 0usize..50) {
            let (x, w, y) = (values(m * k, 1), values(n * k, 2), values(m * n, 3));
            let matrix = Matrix::new(n, k, w.clone()).unwrap();
            let mut out = vec![f32::NAN; m * n];
            for way in [Way::BySize, Way::Packed] {
                out.fill(f32::NAN);
                forward(&x, m, &matrix, way, &mut out);
                for (at, got) in out.iter().enumerate() {
                    let (i, j) = (at / n, at % n);
                    let exact: f32 = (0..k).map(|c| x[i * k + c] * w[j * k + c]).sum();
                    prop_assert!((got - exact).abs() < 1e-4, "{} {}", got, exact);
                }
            }
            // A row alone has the bits that it has among others.
            forward(&x, m, &matrix, Way::Packed, &mut out);
            let mut alone = vec![0.0; n];
            for (i, row) in x.chunks_exact(k.max(1)).enumerate() {
                forward(row, 1, &matrix, Way::Packed, &mut alone);
                prop_assert_eq!(&alone, &out[i * n..(i + 1) * n]);
            }
            let mut out = vec![1.0; m * k];
            backward(&y, m, &matrix, &mut out);
            for (at, got) in out.iter().enumerate() {
                let (i, c) = (at / k, at % k);
                let exact: f32 = 1.0 + (0..n).map(|j| y[i * n + j] * w[j * k + c]).sum::<f32>();
                prop_assert!((got - exact).abs() < 1e-4, "{} {}", got, exact);
            }
        }
    }

    #[test]
    fn threads_and_form_change_no_bit() {
        let bytes: Vec<u8> = (0..300 * 3)
            .flat_map(|block| {
                let head = half::f16::from_f32(0.01 + (block % 7) as f32 / 100.0).to_le_bytes();
                head.into_iter().chain((0..32u32).map(move |i| (i * 11 + block as u32 * 5) as u8))
            })
            .collect();
        let stored = Matrix::stored(300, 96, Form::Q8_0, bytes).unwrap();
        let mut plain = vec![0.0; 300 * 96];
        stored.decode(0..300, &mut plain);
        let plain = Matrix::new(300, 96, plain).unwrap();
        for m in [1, 7, FEW, FEW + 1, 200] {
            let (x, y) = (values(m * 96, 1), values(m * 300, 2));
            let run = |matrix: &Matrix, threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut out, mut back) = (vec![0.0; m * 300], vec![0.0; m * 96]);
                    forward(&x, m, matrix, Way::BySize, &mut out);
                    backward(&y, m, matrix, &mut back);
                    (out, back)
                })
            };
            let expected = run(&plain, 1);
            for threads in [1, 2, 3, 5] {
                assert!(run(&stored, threads) == expected, "{m} rows, {threads} threads");
            }
        }
    }
}
