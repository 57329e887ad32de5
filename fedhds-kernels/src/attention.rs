//! Causal attention with grouped queries (Vaswani et al. 2017; Ainslie et al. 2023): `softmax(q k^T / sqrt(dim)) v`, a block of queries at
//! a time, so that scores of a whole sequence with itself are never in memory.

use crate::product::{View, multiply};
use crate::threads::{self, Shared};
use crate::vector;
use gemm::Parallelism;

/// Queries of a block.
const QUERIES: usize = 64;

/// The heads of a layer, and how far back a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of the queries, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of the keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub dim: usize,
    /// How many tokens back a token sees, itself included; none is all of them.
    pub window: Option<usize>,
}

impl Heads {
    fn width(&self) -> usize {
        self.heads * self.dim
    }

    fn kv_width(&self) -> usize {
        self.kv_heads * self.dim
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }

    /// Scores of the token at `position` become probabilities; 0 for what it does not see.
    fn softmax(&self, row: &mut [f32], position: usize) {
        let first = self.first_seen(position);
        row[..first].fill(0.0);
        row[position + 1..].fill(0.0);
        let seen = &mut row[first..=position];
        let largest = vector::largest(seen);
        let sum = vector::exponentials(seen, largest);
        vector::scale(seen, 1.0 / sum);
    }

    /// The first position that a token at `position` sees.
    fn first_seen(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Keys and values of tokens that stand one after the other, `[n, kv_heads * dim]` each.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Rotated keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

/// Tokens of one sequence among the rows of a pass.
#[derive(Debug, Clone)]
pub struct Span<'a> {
    /// The row of its first token.
    pub first: usize,
    /// Its tokens, at least 1.
    pub len: usize,
    /// What its sequence holds from the first token to the last of this span, which the last segment ends with.
    pub segments: Vec<Segment<'a>>,
}

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
                    View { start: scores.as_ptr().add(first), row: block.keys as isize, column: 1 },
                    View { start: values.as_ptr(), row: kv as isize, column: 1 },
                    1.0,
                    Parallelism::None,
                );
            }
        }
    });
}

/// [`forward`], with the same bits for a token whatever its sequence is cut into, and whatever is beside it: blocks begin at multiples of
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
                        View { start: block.as_ptr(), row: dim as isize, column: 1 },
                        View { start: keys.as_ptr(), row: 1, column: dim as isize },
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
                        View { start: scores.as_ptr(), row: end as isize, column: 1 },
                        View { start: values.as_ptr(), row: dim as isize, column: 1 },
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

/// Some queries of one head.
struct Block<'a> {
    q: &'a [f32],
    span: &'a Span<'a>,
    shape: &'a Heads,
    /// The place of the head's first value in `q`, of the first query.
    start: usize,
    /// The place of its keys' first value in a row of keys.
    kv_column: usize,
    count: usize,
    /// Position of the first query.
    position: usize,
    /// Keys up to the last query's own.
    keys: usize,
}

impl<'a> Block<'a> {
    fn new(q: &'a [f32], span: &'a Span<'a>, shape: &'a Heads, head: usize, at: usize, count: usize) -> Self {
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
    fn probabilities(&self) -> Vec<f32> {
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
                    View { start: q.as_ptr().add(self.start), row: shape.width() as isize, column: 1 },
                    View { start: there.as_ptr(), row: 1, column: kv as isize },
                    shape.scale(),
                    Parallelism::None,
                );
            }
        }
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            shape.softmax(row, self.position + i);
        }
        scores
    }
}

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

/// Writes the gradients of q, k and v, `gradient` being that of what [`forward`] made of spans `(first, len)` whose sequences begin with
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
    threads::each(spans.len() * shape.kv_heads, |task| {
        let ((first, len), kv_head) = (spans[task / shape.kv_heads], task % shape.kv_heads);
        if len == 0 {
            return;
        }
        let rows = first * kv..(first + len) * kv;
        let segments = vec![Segment { keys: &k[rows.clone()], values: &v[rows] }];
        let span = Span { first, len, segments };
        let kv_start = first * kv + kv_head * dim;
        let kv_last = kv_start + (len - 1) * kv + dim - 1;
        // SAFETY: the columns of this head of the keys, in the rows of this span, are this task's.
        let (to_k, to_v) = unsafe { (by_k.pointer(kv_start, kv_last), by_v.pointer(kv_start, kv_last)) };
        let (keys, values) = (&k[kv_start..=kv_last], &v[kv_start..=kv_last]);
        for head in kv_head * group..(kv_head + 1) * group {
            for at in (0..len).step_by(QUERIES) {
                let count = QUERIES.min(len - at);
                let block = Block::new(q, &span, shape, head, at, count);
                let known = block.keys;
                let p = block.probabilities();
                let start = block.start;
                let last = start + (count - 1) * width + dim - 1;
                let (own_q, own_gradient) = (&q[start..=last], &gradient[start..=last]);
                let mut by_score = vec![0.0; count * known];
                let step = |values: &[f32], row: usize| View { start: values.as_ptr(), row: row as isize, column: 1 };
                let turned = |values: &[f32], row: usize| View { start: values.as_ptr(), row: 1, column: row as isize };
                // SAFETY: every view starts at its first value and holds the rows that are named, as its slice was cut; what is written is
                // this task's.
                unsafe {
                    multiply(
                        [count, dim, known],
                        by_score.as_mut_ptr(),
                        known as isize,
                        false,
                        step(own_gradient, width),
                        turned(values, kv),
                        1.0,
                        Parallelism::None,
                    );
                    multiply(
                        [known, count, dim],
                        to_v,
                        kv as isize,
                        true,
                        turned(&p, known),
                        step(own_gradient, width),
                        1.0,
                        Parallelism::None,
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
                        step(&by_score, known),
                        step(keys, kv),
                        1.0,
                        Parallelism::None,
                    );
                    multiply(
                        [known, count, dim],
                        to_k,
                        kv as isize,
                        true,
                        turned(&by_score, known),
                        step(own_q, width),
                        1.0,
                        Parallelism::None,
                    );
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Heads = Heads { heads: 4, kv_heads: 2, dim: 6, window: None };

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| (((i + 5 * seed) * 37 % 101) as f32 - 50.0) / 40.0).collect()
    }

    /// The definition, for one sequence.
    fn exact(q: &[f32], k: &[f32], v: &[f32], shape: &Heads) -> Vec<f64> {
        let (width, kv, dim) = (shape.width(), shape.kv_width(), shape.dim);
        let mut out = vec![0.0; q.len()];
        for i in 0..q.len() / width {
            for head in 0..shape.heads {
                let column = head / (shape.heads / shape.kv_heads) * dim;
                let seen: Vec<usize> = (shape.first_seen(i)..=i).collect();
                let score = |j: usize| {
                    let dot = (0..dim)
                        .map(|c| f64::from(q[i * width + head * dim + c] * k[j * kv + column + c]))
                        .sum::<f64>();
                    (dot / (dim as f64).sqrt()).exp()
                };
                let sum: f64 = seen.iter().map(|&j| score(j)).sum();
                for c in 0..dim {
                    out[i * width + head * dim + c] =
                        seen.iter().map(|&j| score(j) / sum * f64::from(v[j * kv + column + c])).sum();
                }
            }
        }
        out
    }

    #[test]
    fn spans_see_their_own_sequence_alone() {
        for window in [None, Some(1), Some(5), Some(100)] {
            let shape = Heads { window, ..SHAPE };
            let (width, kv) = (shape.width(), shape.kv_width());
            // Three sequences of 150, 3 and 70 tokens; the third is the continuation of the first's first 20.
            let tokens = 223;
            let (q, k, v) = (values(tokens * width, 1), values(tokens * kv, 2), values(tokens * kv, 3));
            let rows = |first: usize, count: usize| Segment {
                keys: &k[first * kv..][..count * kv],
                values: &v[first * kv..][..count * kv],
            };
            let spans = [
                Span { first: 0, len: 150, segments: vec![rows(0, 150)] },
                Span { first: 150, len: 3, segments: vec![rows(150, 3)] },
                Span { first: 153, len: 70, segments: vec![rows(0, 20), rows(153, 70)] },
            ];
            let (mut out, mut alike) = (vec![f32::NAN; q.len()], vec![f32::NAN; q.len()]);
            forward(&q, &spans, &shape, &mut out);
            forward_alike(&q, &spans, &shape, &mut alike);
            let joined = |of: &[f32], width: usize| [&of[..20 * width], &of[153 * width..]].concat();
            let whole = exact(&joined(&q, width), &joined(&k, kv), &joined(&v, kv), &shape);
            let first = exact(&q[..150 * width], &k[..150 * kv], &v[..150 * kv], &shape);
            let second = exact(&q[150 * width..153 * width], &k[150 * kv..153 * kv], &v[150 * kv..153 * kv], &shape);
            let expected: Vec<f64> =
                first.into_iter().chain(second).chain(whole[20 * width..].iter().copied()).collect();
            for out in [&out, &alike] {
                assert!(out.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{window:?}");
            }
            // The third sequence in one piece.
            let (q, k, v) = (joined(&q, width), joined(&k, kv), joined(&v, kv));
            let mut whole = vec![f32::NAN; q.len()];
            let span = Span { first: 0, len: 90, segments: vec![Segment { keys: &k, values: &v }] };
            forward_alike(&q, &[span], &shape, &mut whole);
            assert!(whole[20 * width..] == alike[153 * width..], "{window:?}: the same bits");
        }
    }

    #[test]
    fn gradients_are_differences() {
        for window in [None, Some(7)] {
            let shape = Heads { window, ..SHAPE };
            let (width, kv) = (shape.width(), shape.kv_width());
            let tokens = 75;
            let (q, k, v) = (values(tokens * width, 1), values(tokens * kv, 2), values(tokens * kv, 3));
            let gradient = values(tokens * width, 4);
            let spans = [(0, 5), (5, 70)];
            let (mut by_q, mut by_k, mut by_v) = (vec![9.0; q.len()], vec![9.0; k.len()], vec![9.0; v.len()]);
            let out = Gradients { q: &mut by_q, k: &mut by_k, v: &mut by_v };
            backward(&q, &k, &v, &spans, &shape, &gradient, out);
            let loss = |q: &[f32], k: &[f32], v: &[f32]| {
                let of = |from: usize, to: usize| {
                    exact(&q[from * width..to * width], &k[from * kv..to * kv], &v[from * kv..to * kv], &shape)
                };
                let out = [of(0, 5), of(5, 75)].concat();
                out.iter().zip(&gradient).map(|(a, &b)| a * f64::from(b)).sum::<f64>()
            };
            let moved = |values: &[f32], at: usize, by: f32| {
                let mut values = values.to_vec();
                values[at] += by;
                values
            };
            let h = 1e-2;
            for at in (0..q.len()).step_by(97) {
                let expected =
                    (loss(&moved(&q, at, h), &k, &v) - loss(&moved(&q, at, -h), &k, &v)) / f64::from(2.0 * h);
                assert!((f64::from(by_q[at]) - expected).abs() < 1e-3, "q {at}: {} {expected}", by_q[at]);
            }
            for at in (0..k.len()).step_by(53) {
                let expected =
                    (loss(&q, &moved(&k, at, h), &v) - loss(&q, &moved(&k, at, -h), &v)) / f64::from(2.0 * h);
                assert!((f64::from(by_k[at]) - expected).abs() < 1e-3, "k {at}: {} {expected}", by_k[at]);
                let expected =
                    (loss(&q, &k, &moved(&v, at, h)) - loss(&q, &k, &moved(&v, at, -h))) / f64::from(2.0 * h);
                assert!((f64::from(by_v[at]) - expected).abs() < 1e-3, "v {at}: {} {expected}", by_v[at]);
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (width, kv, tokens) = (SHAPE.width(), SHAPE.kv_width(), 200);
        let (q, k, v, gradient) =
            (values(tokens * width, 1), values(tokens * kv, 2), values(tokens * kv, 3), values(tokens * width, 4));
        let run = |threads: usize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let mut out = vec![0.0; q.len()];
                let span = Span { first: 0, len: tokens, segments: vec![Segment { keys: &k, values: &v }] };
                forward(&q, &[span], &SHAPE, &mut out);
                let (mut by_q, mut by_k, mut by_v) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
                let to = Gradients { q: &mut by_q, k: &mut by_k, v: &mut by_v };
                backward(&q, &k, &v, &[(0, 120), (120, 80)], &SHAPE, &gradient, to);
                [out, by_q, by_k, by_v]
            })
        };
        let one = run(1);
        assert!([2, 3, 8].iter().all(|&threads| run(threads) == one));
    }
}
