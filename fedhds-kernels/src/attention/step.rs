//! Attention of one query to its sequence, as each step of a generation has it.

use super::{Heads, Span, multiplications};
use crate::threads::{self, Shared};
use crate::vector::wide;
use pulp::{Simd, WithSimd};

/// [`forward`](super::forward()) of spans of one token each, within rounding: keys and values are read as they lie, once for all heads that
/// share them.
pub fn step(q: &[f32], spans: &[Span<'_>], shape: &Heads, out: &mut [f32]) {
    assert!(q.len() == out.len() && shape.heads.is_multiple_of(shape.kv_heads));
    assert!(spans.iter().all(|span| span.len == 1 && (span.first + 1) * shape.width() <= q.len()));
    let out = Shared::new(out);
    let group = shape.heads / shape.kv_heads;
    threads::each(spans.len() * shape.kv_heads, multiplications(spans, shape), |task| {
        let (span, kv_head) = (&spans[task / shape.kv_heads], task % shape.kv_heads);
        let place = span.first * shape.width() + kv_head * group * shape.dim;
        // SAFETY: these heads' columns of this span's row are this task's.
        let out = unsafe { out.slice(place, group * shape.dim) };
        wide(Step { q: &q[place..][..group * shape.dim], span, shape, column: kv_head * shape.dim, out });
    });
}

/// The heads of one key head.
struct Step<'a> {
    q: &'a [f32],
    span: &'a Span<'a>,
    shape: &'a Heads,
    /// The place of the key head's first number in a row of keys.
    column: usize,
    out: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { q, span, shape, column, out } = self;
        let (kv, dim) = (shape.kv_width(), shape.dim);
        let known: usize = span.segments.iter().map(|segment| segment.keys.len() / kv).sum();
        let mut scores = vec![0.0f32; q.len() / dim * known];
        let mut at = 0;
        for segment in &span.segments {
            for key in segment.keys.chunks_exact(kv) {
                let (key, tail) = S::as_simd_f32s(&key[column..column + dim]);
                for (head, q) in q.chunks_exact(dim).enumerate() {
                    let (q, q_tail) = S::as_simd_f32s(q);
                    let mut sum = simd.splat_f32s(0.0);
                    for (&a, &b) in q.iter().zip(key) {
                        sum = simd.mul_add_f32s(a, b, sum);
                    }
                    let mut rest = 0.0;
                    for (a, b) in q_tail.iter().zip(tail) {
                        rest += a * b;
                    }
                    scores[head * known + at] = (simd.reduce_sum_f32s(sum) + rest) * shape.scale();
                }
                at += 1;
            }
        }
        for (scores, out) in scores.chunks_exact_mut(known).zip(out.chunks_exact_mut(dim)) {
            shape.softmax(scores, known - 1);
            let (out, out_tail) = S::as_mut_simd_f32s(out);
            for (place, out) in out.iter_mut().enumerate() {
                let mut sum = simd.splat_f32s(0.0);
                let mut scores = scores.iter();
                for segment in &span.segments {
                    for (value, score) in segment.values.chunks_exact(kv).zip(&mut scores) {
                        let value = S::as_simd_f32s(&value[column..column + dim]).0[place];
                        sum = simd.mul_add_f32s(simd.splat_f32s(*score), value, sum);
                    }
                }
                *out = sum;
            }
            let done = dim - out_tail.len();
            for (place, out) in out_tail.iter_mut().enumerate() {
                let values = span.segments.iter().flat_map(|segment| segment.values.chunks_exact(kv));
                *out = values.zip(&*scores).map(|(value, score)| value[column + done + place] * score).sum();
            }
        }
    }
}
