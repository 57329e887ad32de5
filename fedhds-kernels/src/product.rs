//! Products with frozen matrices.

use crate::matrix::Matrix;
use crate::panels::{Lane, ROWS};
use crate::threads::{self, Shared};
use crate::tile::Tiles;
use crate::turn::turn;
use std::cell::RefCell;

pub use crate::tile::Packed;

/// Columns of two panels that are decoded at a time: what stays near the processor while all rows meet them. Whole blocks.
const DECODED: usize = 512;

/// Room for two panels, a thread's own as long as it lives.
fn with_room<R>(work: impl FnOnce(&mut [Lane], &mut [Lane]) -> R) -> R {
    thread_local!(static ROOM: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) });
    let mut room = ROOM.take();
    room.resize(2 * DECODED, [0.0; ROWS]);
    let (left, right) = room.split_at_mut(DECODED);
    let result = work(left, right);
    ROOM.set(room);
    result
}

/// `out = x w^T`. A row has the same bits whatever rows are beside it.
///
/// # Shapes
/// - x: `[m, columns]`
/// - w: `[rows, columns]`
/// - out: `[m, rows]`
pub fn forward(x: &Packed, w: &Matrix, out: &mut [f32]) {
    let (m, n, k) = (x.rows(), w.rows(), w.columns());
    assert!(x.columns() == k && out.len() == m * n);
    if k == 0 {
        return out.fill(0.0);
    }
    let shared = Shared::new(out);
    threads::each(n.div_ceil(2 * ROWS), m * n * k, |pair| {
        let first = pair * 2 * ROWS;
        let count = (n - first).min(2 * ROWS);
        with_room(|left, right| {
            for from in (0..k).step_by(DECODED) {
                let columns = from..(from + DECODED).min(k);
                let left = w.lanes(2 * pair, columns.clone(), left);
                let right = if count > ROWS { w.lanes(2 * pair + 1, columns, right) } else { left };
                let tiles = Tiles { x, from, panels: [left, right], out: shared, step: n, first, count, add: from > 0 };
                // SAFETY: these columns are this thread's.
                unsafe { tiles.run() };
            }
        });
    });
}

/// `out += y w`: a gradient of what [`forward`] made, carried back to its input.
///
/// # Shapes
/// - y: `[m, rows]`
/// - w: `[rows, columns]`
/// - out: `[m, columns]`
pub fn backward(y: &Packed, w: &Matrix, out: &mut [f32]) {
    let (m, n, k) = (y.rows(), w.rows(), w.columns());
    assert!(y.columns() == n && out.len() == m * k);
    let shared = Shared::new(out);
    threads::each(k.div_ceil(2 * ROWS), m * n * k, |pair| {
        let first = pair * 2 * ROWS;
        let columns = first..(first + 2 * ROWS).min(k);
        let mut decoded = [[0.0; ROWS]; 2 * ROWS];
        with_room(|left, right| {
            for from in (0..n).step_by(DECODED) {
                let depth = (n - from).min(DECODED);
                let turned = left.as_chunks_mut::<ROWS>().0.iter_mut().zip(right.as_chunks_mut::<ROWS>().0);
                for (panel, (left, right)) in (from / ROWS..(from + depth).div_ceil(ROWS)).zip(turned) {
                    let lanes = w.lanes(panel, columns.clone(), &mut decoded);
                    turn(&lanes[..lanes.len().min(ROWS)], left);
                    if lanes.len() > ROWS {
                        turn(&lanes[ROWS..], right);
                    }
                }
                let panels = [&left[..depth], if columns.len() > ROWS { &right[..depth] } else { &left[..depth] }];
                let count = columns.len();
                let tiles = Tiles { x: y, from, panels, out: shared, step: k, first, count, add: true };
                // SAFETY: these columns are this thread's.
                unsafe { tiles.run() };
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;
    use proptest::prelude::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + 3 * seed) * 37 % 101) as f32 - 50.0) / 64.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn products_are_their_definition(m in 0usize..40, n in 0usize..90, k in 0usize..90) {
            let (x, w, y) = (values(m * k, 1), values(n * k, 2), values(m * n, 3));
            let matrix = Matrix::new(n, k, &w).unwrap();
            let mut out = vec![f32::NAN; m * n];
            forward(&Packed::new(&x, m, k), &matrix, &mut out);
            for (at, got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let exact: f32 = (0..k).map(|c| x[i * k + c] * w[j * k + c]).sum();
                prop_assert!((got - exact).abs() < 1e-4, "{} {}", got, exact);
            }
            // A row alone has the bits that it has among others.
            let mut alone = vec![0.0; n];
            for (i, row) in x.chunks_exact(k.max(1)).enumerate() {
                forward(&Packed::new(row, 1, k), &matrix, &mut alone);
                prop_assert_eq!(&alone, &out[i * n..(i + 1) * n]);
            }
            let mut out = vec![1.0; m * k];
            backward(&Packed::new(&y, m, n), &matrix, &mut out);
            for (at, got) in out.iter().enumerate() {
                let (i, c) = (at / k, at % k);
                let exact: f32 = 1.0 + (0..n).map(|j| y[i * n + j] * w[j * k + c]).sum::<f32>();
                prop_assert!((got - exact).abs() < 1e-4, "{} {}", got, exact);
            }
        }
    }

    #[test]
    fn threads_and_form_change_no_bit() {
        // Longer than what is decoded at a time, in both directions.
        let (rows, columns) = (DECODED + 52, DECODED + 96);
        let bytes: Vec<u8> = (0..rows * columns / 32)
            .flat_map(|block| {
                let head = half::f16::from_f32(0.01 + (block % 7) as f32 / 100.0).to_le_bytes();
                head.into_iter().chain((0..32u32).map(move |i| (i * 11 + block as u32 * 5) as u8))
            })
            .collect();
        let stored = Matrix::stored(rows, columns, Form::Q8_0, &bytes).unwrap();
        let mut plain = vec![0.0; rows * columns];
        stored.decode(0..rows, &mut plain);
        let plain = Matrix::new(rows, columns, &plain).unwrap();
        for m in [1, 7, 12, 13, 70] {
            let (x, y) = (values(m * columns, 1), values(m * rows, 2));
            let run = |matrix: &Matrix, threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut out, mut back) = (vec![0.0; m * rows], vec![0.0; m * columns]);
                    forward(&Packed::new(&x, m, columns), matrix, &mut out);
                    backward(&Packed::new(&y, m, rows), matrix, &mut back);
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
