//! Attention beside its definition, and its gradients beside differences.

use super::*;
use std::ops::Range;

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
                let dot =
                    (0..dim).map(|c| f64::from(q[i * width + head * dim + c] * k[j * kv + column + c])).sum::<f64>();
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
        let mut out = vec![f32::NAN; q.len()];
        forward(&q, &spans, &shape, &mut out);
        let joined = |of: &[f32], width: usize| [&of[..20 * width], &of[153 * width..]].concat();
        let whole = exact(&joined(&q, width), &joined(&k, kv), &joined(&v, kv), &shape);
        let first = exact(&q[..150 * width], &k[..150 * kv], &v[..150 * kv], &shape);
        let second = exact(&q[150 * width..153 * width], &k[150 * kv..153 * kv], &v[150 * kv..153 * kv], &shape);
        let expected: Vec<f64> = first.into_iter().chain(second).chain(whole[20 * width..].iter().copied()).collect();
        assert!(out.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{window:?}");
        // The third sequence in one piece.
        let (q, k, v) = (joined(&q, width), joined(&k, kv), joined(&v, kv));
        let mut whole = vec![f32::NAN; q.len()];
        let span = Span { first: 0, len: 90, segments: vec![Segment { keys: &k, values: &v }] };
        forward(&q, &[span], &shape, &mut whole);
        assert!(whole[20 * width..] == out[153 * width..], "{window:?}: the same bits");
    }
}

#[test]
fn a_query_alone_sees_what_it_sees_among_others() {
    for (window, dim) in [(None, 6), (Some(9), 6), (None, 64)] {
        let shape = Heads { window, dim, ..SHAPE };
        let (width, kv) = (shape.width(), shape.kv_width());
        let (q, k, v) = (values(50 * width, 1), values(50 * kv, 2), values(50 * kv, 3));
        let expected = exact(&q, &k, &v, &shape);
        let part =
            |of: Range<usize>| Segment { keys: &k[of.start * kv..of.end * kv], values: &v[of.start * kv..of.end * kv] };
        // The last token, and the twentieth.
        let spans = [
            Span { first: 0, len: 1, segments: vec![part(0..20), part(20..21), part(21..50)] },
            Span { first: 1, len: 1, segments: vec![part(0..20)] },
        ];
        let asked = [&q[49 * width..], &q[19 * width..20 * width]].concat();
        let mut out = vec![f32::NAN; 2 * width];
        step(&asked, &spans, &shape, &mut out);
        let expected = expected[49 * width..].iter().chain(&expected[19 * width..20 * width]);
        assert!(out.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{window:?} {dim}");
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
            let expected = (loss(&moved(&q, at, h), &k, &v) - loss(&moved(&q, at, -h), &k, &v)) / f64::from(2.0 * h);
            assert!((f64::from(by_q[at]) - expected).abs() < 1e-3, "q {at}: {} {expected}", by_q[at]);
        }
        for at in (0..k.len()).step_by(53) {
            let expected = (loss(&q, &moved(&k, at, h), &v) - loss(&q, &moved(&k, at, -h), &v)) / f64::from(2.0 * h);
            assert!((f64::from(by_k[at]) - expected).abs() < 1e-3, "k {at}: {} {expected}", by_k[at]);
            let expected = (loss(&q, &k, &moved(&v, at, h)) - loss(&q, &k, &moved(&v, at, -h))) / f64::from(2.0 * h);
            assert!((f64::from(by_v[at]) - expected).abs() < 1e-3, "v {at}: {} {expected}", by_v[at]);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    // Enough for other threads to be woken.
    let (width, kv, tokens) = (SHAPE.width(), SHAPE.kv_width(), 320);
    let (q, k, v, gradient) =
        (values(tokens * width, 1), values(tokens * kv, 2), values(tokens * kv, 3), values(tokens * width, 4));
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut out = vec![0.0; q.len()];
            let span = Span { first: 0, len: tokens, segments: vec![Segment { keys: &k, values: &v }] };
            forward(&q, &[span], &SHAPE, &mut out);
            let (mut by_q, mut by_k, mut by_v) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
            let to = Gradients { q: &mut by_q, k: &mut by_k, v: &mut by_v };
            backward(&q, &k, &v, &[(0, 200), (200, 120)], &SHAPE, &gradient, to);
            [out, by_q, by_k, by_v]
        })
    };
    let one = run(1);
    assert!([2, 3, 8].iter().all(|&threads| run(threads) == one));
}
