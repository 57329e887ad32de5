//! Attention of queries to whatever their sequences hold.

use super::{Heads, QUERIES, Segment, Span};
use crate::strided::{View, multiply};
use crate::threads::{self, Shared};

/// Attends for every span.
///
/// # Shapes
/// - q, out: `[tokens, heads * dim]`; rows that no span has stay as they are
pub fn forward(q: &[f32], spans: &[Span<'_>], shape: &Heads, out: &mut [f32]) {
    let width = shape.width();
    assert!(q.len() == out.len() && shape.heads.is_multiple_of(shape.kv_heads));
    let out = Shared::new(out);
    let blocks: Vec<(usize, usize)> =
        spans.iter().enumerate().flat_map(|(i, span)| (0..span.len).step_by(QUERIES).map(move |at| (i, at))).collect();
    threads::each(blocks.len() * shape.heads, |task| {
        let ((span, at), head) = (blocks[task / shape.heads], task % shape.heads);
        let span = &spans[span];
        let count = QUERIES.min(span.len - at);
        let block = Block::new(q, span, shape, head, at, count);
        let scores = block.probabilities();
        let kv = shape.kv_width();
        let start = (span.first + at) * width + head * shape.dim;
        // SAFETY: these rows and columns of `out` are this task's.
        let target = unsafe { out.pointer(start, start + (count - 1) * width + shape.dim - 1) };
        for (i, (first, tokens, segment)) in block.segments().enumerate() {
            let values = &segment.values[block.kv_column..];
            assert!((tokens - 1) * kv + shape.dim <= values.len());
            // SAFETY: as above, and both factors were measured.
            unsafe {
                multiply(
                    [count, tokens, shape.dim],
                    target,
                    width as isize,
                    i > 0,
                    View::rows(&scores[first..], block.keys),
                    View::rows(values, kv),
                    1.0,
                );
            }
        }
    });
}

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
