//! Attention that gives a token the same bits whatever its sequence is cut into.

use super::{Heads, QUERIES, Span};
use crate::product::{View, multiply};
use crate::threads::{self, Shared};
use gemm::Parallelism;

/// [`forward`](super::forward()), with the same bits for a token whatever its sequence is cut into, and whatever is beside it: blocks begin at multiples of
/// their size in the sequence, and are whole.
pub fn forward_alike(q: &[f32], spans: &[Span<'_>], shape: &Heads, out: &mut [f32]) {
    let (width, kv, dim) = (shape.width(), shape.kv_width(), shape.dim);
    assert!(q.len() == out.len() && shape.heads.is_multiple_of(shape.kv_heads));
    let out = Shared::new(out);
    let group = shape.heads / shape.kv_heads;
    threads::each(spans.len() * shape.kv_heads, |task| {
        let (span, kv_head) = (&spans[task / shape.kv_heads], task % shape.kv_heads);
        let known: usize = span.segments.iter().map(|segment| segment.keys.len() / kv).sum();
        assert!(span.len <= known && (span.first + span.len) * width <= q.len());
        let start = known - span.len;
        // This head's keys and values side by side, zeros behind them.
        let room = known.next_multiple_of(QUERIES) * dim;
        let (mut keys, mut values) = (vec![0.0; room], vec![0.0; room]);
        let columns = kv_head * dim..(kv_head + 1) * dim;
        let rows = span.segments.iter().flat_map(|s| s.keys.chunks_exact(kv).zip(s.values.chunks_exact(kv)));
        for ((to_k, to_v), (k, v)) in keys.chunks_exact_mut(dim).zip(values.chunks_exact_mut(dim)).zip(rows) {
            to_k.copy_from_slice(&k[columns.clone()]);
            to_v.copy_from_slice(&v[columns.clone()]);
        }
        let (mut block, mut mixed) = (vec![0.0; QUERIES * dim], vec![0.0; QUERIES * dim]);
        let mut scores = vec![0.0; QUERIES * (room / dim)];
        for first in (start / QUERIES * QUERIES..known).step_by(QUERIES) {
            let end = first + QUERIES;
            let own = first.max(start)..end.min(known);
            for head in kv_head * group..(kv_head + 1) * group {
                let place = |position: usize| (span.first + position - start) * width + head * dim;
                block.fill(0.0);
                for position in own.clone() {
                    block[(position - first) * dim..][..dim].copy_from_slice(&q[place(position)..][..dim]);
                }
                let scores = &mut scores[..QUERIES * end];
                // SAFETY: `block` and `mixed` are [QUERIES, dim], `scores` is [QUERIES, end], `keys` and `values` have `end` rows at least.
                unsafe {
                    multiply(
                        [QUERIES, dim, end],
                        scores.as_mut_ptr(),
                        end as isize,
                        false,
                        View::rows(&block, dim),
                        View::turned(&keys, dim),
                        shape.scale(),
                        Parallelism::None,
                    );
                }
                for (i, row) in scores.chunks_exact_mut(end).enumerate() {
                    shape.softmax(row, first + i);
                }
                // SAFETY: as above.
                unsafe {
                    multiply(
                        [QUERIES, end, dim],
                        mixed.as_mut_ptr(),
                        dim as isize,
                        false,
                        View::rows(scores, end),
                        View::rows(&values, dim),
                        1.0,
                        Parallelism::None,
                    );
                }
                for position in own.clone() {
                    // SAFETY: this head's columns of this span's rows are this task's.
                    let to = unsafe { out.slice(place(position), dim) };
                    to.copy_from_slice(&mixed[(position - first) * dim..][..dim]);
                }
            }
        }
    });
}
