//! Output projection and cross entropy together: scores of a few rows at a time, never of all.

use crate::inputs::{Activations, Inputs};
use crate::matrix::Matrix;
use crate::product::{self, Packed};
use crate::scratch;
use crate::threads;
use crate::vector;

/// Rows whose scores are in memory at once.
const ROWS: usize = 64;

/// Writes `-log softmax(hidden w^T)[target]` of each row, in nats.
///
/// # Shapes
/// - hidden: `[n, w.columns()]`
/// - targets: `[n]`, below `w.rows()`
/// - losses: `[n]`
pub fn losses(hidden: &[f32], w: &Matrix, targets: &[u32], activations: Activations, losses: &mut [f32]) {
    each(hidden, w, targets, activations, losses, |_, _, _| {});
}

/// [`losses`], and adds to `gradient` that of `factor` times their sum with respect to `hidden`.
///
/// # Shapes
/// - gradient: as `hidden`
pub fn losses_and_gradient(
    hidden: &[f32],
    w: &Matrix,
    targets: &[u32],
    factor: f32,
    losses: &mut [f32],
    gradient: &mut [f32],
) {
    let (width, vocab) = (w.columns(), w.rows());
    each(hidden, w, targets, Activations::F32, losses, |first, scores, targets| {
        let rows = targets.len();
        threads::parts(scores, vocab, |i, row| {
            // They are e^(score - largest).
            let sum: f32 = sum(row);
            vector::scale(row, factor / sum);
            row[targets[i] as usize] -= factor;
        });
        let packed = Packed::new(scores, rows, vocab);
        product::backward(&packed, w, &mut gradient[first * width..(first + rows) * width]);
        packed.give();
    });
}

fn sum(row: &[f32]) -> f32 {
    let (body, tail) = row.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    body.iter().for_each(|values| sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value));
    sums.iter().chain(tail).sum()
}

/// Hands the exponentials of each block of rows to `then`, with the number of its first row and its targets.
fn each(
    hidden: &[f32],
    w: &Matrix,
    targets: &[u32],
    activations: Activations,
    losses: &mut [f32],
    mut then: impl FnMut(usize, &mut [f32], &[u32]),
) {
    let (width, vocab) = (w.columns(), w.rows());
    assert!(hidden.len() == targets.len() * width && losses.len() == targets.len());
    assert!(targets.iter().all(|&target| (target as usize) < vocab));
    let mut room = scratch::take(ROWS.min(targets.len()) * vocab);
    for (block, (targets, losses)) in targets.chunks(ROWS).zip(losses.chunks_mut(ROWS)).enumerate() {
        let (first, rows) = (block * ROWS, targets.len());
        let scores = &mut room[..rows * vocab];
        let inputs = Inputs::new(&hidden[first * width..(first + rows) * width], rows, activations, &[w]);
        inputs.forward(w, scores);
        inputs.give();
        let losses = threads::Shared::new(losses);
        threads::parts(scores, vocab, |i, row| {
            let target = row[targets[i] as usize];
            let largest = vector::largest(row);
            let sum = vector::exponentials(row, largest);
            // SAFETY: place `i` is this row's.
            unsafe { losses.slice(i, 1)[0] = sum.ln() + (largest - target) };
        });
        then(first, scores, targets);
    }
    scratch::give(room);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_gradients_are_their_definition() {
        let (n, width, vocab) = (70, 5, 37);
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 20.0;
        let hidden: Vec<f32> = (0..n * width).map(value).collect();
        let w: Vec<f32> = (0..vocab * width).map(|i| value(i + 5)).collect();
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 11 % 37).collect();
        let matrix = Matrix::new(vocab, width, &w).unwrap();
        let (mut found, mut again, mut gradient) = (vec![0.0; n], vec![0.0; n], vec![1.0; n * width]);
        losses(&hidden, &matrix, &targets, Activations::F32, &mut found);
        losses_and_gradient(&hidden, &matrix, &targets, 0.5, &mut again, &mut gradient);
        assert_eq!(found, again);
        for i in 0..n {
            let score = |j: usize| (0..width).map(|c| f64::from(hidden[i * width + c] * w[j * width + c])).sum::<f64>();
            let sum: f64 = (0..vocab).map(|j| score(j).exp()).sum();
            let target = targets[i] as usize;
            assert!((f64::from(found[i]) - (sum.ln() - score(target))).abs() < 1e-4, "{i}");
            for c in 0..width {
                let p = |j: usize| score(j).exp() / sum - f64::from(u8::from(j == target));
                let exact = 1.0 + 0.5 * (0..vocab).map(|j| p(j) * f64::from(w[j * width + c])).sum::<f64>();
                assert!((f64::from(gradient[i * width + c]) - exact).abs() < 1e-4, "{i}");
            }
        }
        losses(&[], &matrix, &[], Activations::F32, &mut []);
    }
}
