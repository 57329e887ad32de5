//! The gradients of attention.

use super::Heads;
use crate::strided::{View, multiply};
use crate::threads::{self, Shared};
use crate::vector;

/// Queries of a block.
const QUERIES: usize = 64;

/// Where the gradients of [`backward`] go.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[tokens, heads * dim]`.
    pub q: &'a mut [f32],
    /// `[tokens, kv_heads * dim]`.
    pub k: &'a mut [f32],
    /// `[tokens, kv_heads * dim]`.
    pub v: &'a mut [f32],
}

/// Writes the gradients of q, k and v, `gradient` being that of what [`forward`](super::forward()) made of spans `(first, len)` whose sequences begin with
/// them.
///
/// # Shapes
/// - q, gradient: `[tokens, heads * dim]`; k, v: `[tokens, kv_heads * dim]`
pub fn backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    spans: &[(usize, usize)],
    shape: &Heads,
    gradient: &[f32],
    out: Gradients<'_>,
) {
    let (width, kv, dim) = (shape.width(), shape.kv_width(), shape.dim);
    assert!(q.len() == gradient.len() && out.q.len() == q.len() && k.len() == v.len());
    assert!(out.k.len() == k.len() && out.v.len() == v.len());
    out.k.fill(0.0);
    out.v.fill(0.0);
    let (by_q, by_k, by_v) = (Shared::new(out.q), Shared::new(out.k), Shared::new(out.v));
    let group = shape.heads / shape.kv_heads;
    let multiplications = spans.iter().map(|(_, len)| 4 * len * len * width).sum();
    threads::each(spans.len() * shape.kv_heads, multiplications, |task| {
        let ((first, len), kv_head) = (spans[task / shape.kv_heads], task % shape.kv_heads);
        if len == 0 {
            return;
        }
        let kv_start = first * kv + kv_head * dim;
        let kv_last = kv_start + (len - 1) * kv + dim - 1;
        // SAFETY: the columns of this head of the keys, in the rows of this span, are this task's.
        let (to_k, to_v) = unsafe { (by_k.pointer(kv_start, kv_last), by_v.pointer(kv_start, kv_last)) };
        let (keys, values) = (&k[kv_start..=kv_last], &v[kv_start..=kv_last]);
        for head in kv_head * group..(kv_head + 1) * group {
            for at in (0..len).step_by(QUERIES) {
                let count = QUERIES.min(len - at);
                let known = at + count;
                let start = (first + at) * width + head * dim;
                let last = start + (count - 1) * width + dim - 1;
                let (own_q, own_gradient) = (&q[start..=last], &gradient[start..=last]);
                let p = probabilities(own_q, keys, shape, at, count);
                let mut by_score = vec![0.0; count * known];
                // SAFETY: every view starts at its first value and holds the rows that are named, as its slice was cut; what is written is
                // this task's.
                unsafe {
                    multiply(
                        [count, dim, known],
                        by_score.as_mut_ptr(),
                        known as isize,
                        false,
                        View::rows(own_gradient, width),
                        View::turned(values, kv),
                        1.0,
                    );
                    multiply(
                        [known, count, dim],
                        to_v,
                        kv as isize,
                        true,
                        View::turned(&p, known),
                        View::rows(own_gradient, width),
                        1.0,
                    );
                }
                let scale = shape.scale();
                for (by_score, p) in by_score.chunks_exact_mut(known).zip(p.chunks_exact(known)) {
                    let mean = vector::dot(by_score, p);
                    vector::wide(
                        #[inline(always)]
                        || {
                            by_score
                                .iter_mut()
                                .zip(p)
                                .for_each(|(by_score, p)| *by_score = scale * p * (*by_score - mean))
                        },
                    );
                }
                // SAFETY: as above.
                unsafe {
                    let to_q = by_q.pointer(start, last);
                    multiply(
                        [count, known, dim],
                        to_q,
                        width as isize,
                        false,
                        View::rows(&by_score, known),
                        View::rows(keys, kv),
                        1.0,
                    );
                    multiply(
                        [known, count, dim],
                        to_k,
                        kv as isize,
                        true,
                        View::turned(&by_score, known),
                        View::rows(own_q, width),
                        1.0,
                    );
                }
            }
        }
    });
}

/// The probabilities of `count` queries of a head from position `at` on, `[count, at + count]`, computed again; 0 where a query does not see.
/// `q` begins with the first query, `keys` with the first key.
fn probabilities(q: &[f32], keys: &[f32], shape: &Heads, at: usize, count: usize) -> Vec<f32> {
    let known = at + count;
    let last = |rows: usize, width: usize| (rows - 1) * width + shape.dim;
    assert!(last(count, shape.width()) <= q.len() && last(known, shape.kv_width()) <= keys.len());
    let mut scores = vec![0.0; count * known];
    // SAFETY: both sides were measured, and `scores` is [count, known].
    unsafe {
        multiply(
            [count, shape.dim, known],
            scores.as_mut_ptr(),
            known as isize,
            false,
            View::rows(q, shape.width()),
            View::turned(keys, shape.kv_width()),
            shape.scale(),
        );
    }
    for (i, row) in scores.chunks_exact_mut(known).enumerate() {
        shape.softmax(row, at + i);
    }
    scores
}
