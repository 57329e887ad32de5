//! Causal attention with grouped queries (Vaswani et al. 2017; Ainslie et al. 2023): `softmax(q k^T / sqrt(dim)) v`, a block of queries at
//! a time, so that scores of a whole sequence with itself are never in memory.

mod backward;
mod forward;
mod step;

pub use backward::{Gradients, backward};
pub use forward::forward;
pub use step::step;

use crate::vector;

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

/// About what attending for these spans takes.
fn multiplications(spans: &[Span<'_>], shape: &Heads) -> usize {
    let known =
        |span: &Span<'_>| span.segments.iter().map(|segment| segment.keys.len()).sum::<usize>() / shape.kv_width();
    spans.iter().map(|span| 2 * span.len * known(span) * shape.width()).sum()
}

#[cfg(test)]
mod tests;
