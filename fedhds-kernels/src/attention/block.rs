//! Probabilities of some queries of a head, computed again on the way back.

use super::{Heads, Segment, Span};
use crate::strided::{View, multiply};

/// Some queries of one head.
pub(super) struct Block<'a> {
    q: &'a [f32],
    span: &'a Span<'a>,
    shape: &'a Heads,
    /// The place of the head's first value in `q`, of the first query.
    pub(super) start: usize,
    /// The place of its keys' first value in a row of keys.
    kv_column: usize,
    count: usize,
    /// Position of the first query.
    position: usize,
    /// Keys up to the last query's own.
    pub(super) keys: usize,
}

impl<'a> Block<'a> {
    pub(super) fn new(
        q: &'a [f32],
        span: &'a Span<'a>,
        shape: &'a Heads,
        head: usize,
        at: usize,
        count: usize,
    ) -> Self {
        let kv = shape.kv_width();
        let known: usize = span.segments.iter().map(|segment| segment.keys.len() / kv).sum();
        assert!(span.len <= known && (span.first + span.len) * shape.width() <= q.len());
        let position = known - span.len + at;
        Self {
            q,
            span,
            shape,
            start: (span.first + at) * shape.width() + head * shape.dim,
            kv_column: head / (shape.heads / shape.kv_heads) * shape.dim,
            count,
            position,
            keys: position + count,
        }
    }

    /// Position of the first token, tokens that are looked at, and all of each segment.
    fn segments(&self) -> impl Iterator<Item = (usize, usize, &Segment<'a>)> {
        let kv = self.shape.kv_width();
        let mut first = 0;
        self.span.segments.iter().filter_map(move |segment| {
            let at = first;
            let tokens = segment.keys.len() / kv;
            first += tokens;
            (at < self.keys && tokens > 0).then(|| (at, tokens.min(self.keys - at), segment))
        })
    }

    /// `[count, keys]`; 0 where a query does not see.
    pub(super) fn probabilities(&self) -> Vec<f32> {
        let Self { q, shape, keys, count, .. } = *self;
        let kv = shape.kv_width();
        let mut scores = vec![0.0; count * keys];
        for (first, tokens, segment) in self.segments() {
            let there = &segment.keys[self.kv_column..];
            assert!((tokens - 1) * kv + shape.dim <= there.len());
            // SAFETY: columns first..first + tokens of the scores are written; the rows of `q` were measured in `new`.
            unsafe {
                multiply(
                    [count, shape.dim, tokens],
                    scores.as_mut_ptr().add(first),
                    keys as isize,
                    false,
                    View::rows(&q[self.start..], shape.width()),
                    View::turned(there, kv),
                    shape.scale(),
                );
            }
        }
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            shape.softmax(row, self.position + i);
        }
        scores
    }
}
