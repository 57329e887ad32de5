//! Attention of queries to what their sequences hold.

use super::{Heads, Span, multiplications};
use crate::panels::{Lane, ROWS};
use crate::threads::{self, Shared};
use crate::tile::{Packed, Tiles};
use crate::turn::turn;

/// Positions of a block: their queries meet the keys up to the last of them together.
const POSITIONS: usize = 48;

/// Attends for every span. A token gets the same bits whatever its sequence is cut into, and whatever is beside it: every sum goes over one
/// position after another, and what a token does not see adds 0.
///
/// # Shapes
/// - q, out: `[tokens, heads * dim]`; rows that no span has stay as they are
pub fn forward(q: &[f32], spans: &[Span<'_>], shape: &Heads, out: &mut [f32]) {
    let (width, dim) = (shape.width(), shape.dim);
    assert!(q.len() == out.len() && shape.heads.is_multiple_of(shape.kv_heads));
    let out = Shared::new(out);
    let group = shape.heads / shape.kv_heads;
    threads::each(spans.len() * shape.kv_heads, multiplications(spans, shape), |task| {
        let (span, kv_head) = (&spans[task / shape.kv_heads], task % shape.kv_heads);
        let known = Known::new(span, shape, kv_head);
        assert!(span.len <= known.count && (span.first + span.len) * width <= q.len());
        let start = known.count - span.len;
        for first in (start..known.count).step_by(POSITIONS) {
            let end = (first + POSITIONS).min(known.count);
            let rows = (end - first) * group;
            // The queries of these positions, head by head.
            let place = |row: usize| {
                let (head, position) = (kv_head * group + row / (end - first), first + row % (end - first));
                (span.first + position - start) * width + head * dim
            };
            let mut queries = vec![0.0; rows * dim];
            for (row, query) in queries.chunks_exact_mut(dim).enumerate() {
                let from = &q[place(row)..][..dim];
                query.iter_mut().zip(from).for_each(|(query, q)| *query = q * shape.scale());
            }
            let mut scores = vec![0.0; rows * end];
            multiply(&Packed::new(&queries, rows, dim), &known.keys, dim, &mut scores, end);
            for (row, scores) in scores.chunks_exact_mut(end).enumerate() {
                shape.softmax(scores, first + row % (end - first));
            }
            multiply(&Packed::new(&scores, rows, end), &known.values, known.count, &mut queries, dim);
            for (row, mixed) in queries.chunks_exact(dim).enumerate() {
                // SAFETY: these heads' columns of this span's rows are this task's.
                unsafe { out.slice(place(row), dim) }.copy_from_slice(mixed);
            }
        }
    });
}

/// Keys and values of a head, all that a span's sequence holds.
struct Known {
    count: usize,
    /// Panels of positions, a lane for each of the head's numbers.
    keys: Vec<Lane>,
    /// Panels of the head's numbers, a lane for each position.
    values: Vec<Lane>,
}

impl Known {
    fn new(span: &Span<'_>, shape: &Heads, kv_head: usize) -> Self {
        let (kv, dim) = (shape.kv_width(), shape.dim);
        let columns = kv_head * dim..(kv_head + 1) * dim;
        let rows = span.segments.iter().flat_map(|s| s.keys.chunks_exact(kv).zip(s.values.chunks_exact(kv)));
        let count: usize = span.segments.iter().map(|segment| segment.keys.len() / kv).sum();
        let blocks = dim.div_ceil(ROWS);
        let mut values = vec![[0.0; ROWS]; blocks * count];
        let mut keys = vec![[0.0; ROWS]; count.div_ceil(ROWS) * dim];
        let mut some = vec![[0.0; ROWS]; blocks * ROWS];
        for (position, (key, value)) in rows.enumerate() {
            let lanes = |row: &[f32], lane: usize, to: &mut Lane| {
                let from = &row[columns.clone()][lane * ROWS..dim.min((lane + 1) * ROWS)];
                to[..from.len()].copy_from_slice(from);
            };
            for block in 0..blocks {
                lanes(value, block, &mut values[block * count + position]);
                lanes(key, block, &mut some[block * ROWS + position % ROWS]);
            }
            if position % ROWS == ROWS - 1 || position + 1 == count {
                let panel = &mut keys[position / ROWS * dim..][..dim];
                let mut turned = [[0.0; ROWS]; ROWS];
                for (some, panel) in some.chunks_exact(ROWS).zip(panel.chunks_mut(ROWS)) {
                    turn(&some[..=position % ROWS], &mut turned);
                    panel.copy_from_slice(&turned[..panel.len()]);
                }
            }
        }
        Self { count, keys, values }
    }
}

/// `out = x w^T`, the first `n` rows of w in panels of so many lanes, of which the first are meant.
fn multiply(x: &Packed, panels: &[Lane], lanes: usize, out: &mut [f32], n: usize) {
    let shared = Shared::new(out);
    let panel = |at: usize| &panels[at * lanes..][..x.columns()];
    for first in (0..n).step_by(2 * ROWS) {
        let count = (n - first).min(2 * ROWS);
        let left = panel(first / ROWS);
        let right = if count > ROWS { panel(first / ROWS + 1) } else { left };
        let tiles = Tiles { x, from: 0, panels: [left, right], out: shared, step: n, first, count, add: false };
        // SAFETY: `out` is this thread's.
        unsafe { tiles.run() };
    }
}
