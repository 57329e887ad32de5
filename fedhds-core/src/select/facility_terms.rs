//! The terms of facility location's gains over a tile of targets, in loops that compile to vectors.

use super::bounds::{LANES, distance, larger, smaller};

/// What one pick changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// When it was made: what bounds of then lack.
    pub at: usize,
    pub rows: Vec<f32>,
    pub high: Vec<f32>,
    pub weights: Vec<f32>,
    /// How near each target was, rounded down.
    pub old: Vec<f32>,
    /// By how much it is nearer now, rounded down.
    pub less: Vec<f32>,
}

/// The targets that still count for a row, each with its distance from below.
pub(super) type List = Vec<(u32, f32)>;

/// Targets of a tile.
pub(super) struct Side<'a> {
    pub low: &'a [f32],
    pub reach: &'a [f32],
    pub weights: &'a [f32],
}

/// What row `i` of `a` gains at the targets `b`, and each of these, in `across`, at the target `i`.
pub(super) fn both(products: &[f32], a: &Side<'_>, i: usize, b: &Side<'_>, across: &mut [f32]) -> f64 {
    let (low, reach, weight) = (a.low[i], a.reach[i], a.weights[i]);
    let term = |product: f32, other_low: f32, other_reach: f32, other_weight: f32| {
        let d = distance(other_low, low, product);
        (other_weight * larger(other_reach - d, 0.0), weight * larger(reach - d, 0.0))
    };
    let across = &mut across[..products.len()];
    let ((p, p_rest), (l, l_rest)) = (products.as_chunks::<LANES>(), b.low.as_chunks::<LANES>());
    let ((r, r_rest), (w, w_rest)) = (b.reach.as_chunks::<LANES>(), b.weights.as_chunks::<LANES>());
    let (x, x_rest) = across.as_chunks_mut::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (((p, l), (r, w)), x) in p.iter().zip(l).zip(r.iter().zip(w)).zip(x) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let (here, there) = term(p[lane], l[lane], r[lane], w[lane]);
            *sum += here;
            x[lane] += there;
        }
    }
    for (lane, x) in x_rest.iter_mut().enumerate() {
        let (here, there) = term(p_rest[lane], l_rest[lane], r_rest[lane], w_rest[lane]);
        lanes[lane] += here;
        *x += there;
    }
    lanes.into_iter().map(f64::from).sum()
}

/// What a row gains at these targets; its products with them become its distances from below.
pub(super) fn one(products: &mut [f32], low: f32, targets: &Side<'_>) -> f64 {
    let (l, l_rest) = targets.low.as_chunks::<LANES>();
    let ((r, r_rest), (w, w_rest)) = (targets.reach.as_chunks::<LANES>(), targets.weights.as_chunks::<LANES>());
    let (p, p_rest) = products.as_chunks_mut::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for ((p, l), (r, w)) in p.iter_mut().zip(l).zip(r.iter().zip(w)) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            p[lane] = distance(l[lane], low, p[lane]);
            *sum += w[lane] * larger(r[lane] - p[lane], 0.0);
        }
    }
    for (lane, p) in p_rest.iter_mut().enumerate() {
        *p = distance(l_rest[lane], low, *p);
        lanes[lane] += w_rest[lane] * larger(r_rest[lane] - *p, 0.0);
    }
    lanes.into_iter().map(f64::from).sum()
}

/// Appends the targets, numbered from `start`, that lie within reach.
pub(super) fn collect(distances: &[f32], start: usize, reach: &[f32], list: &mut List) {
    let each = |at: usize, list: &mut List| {
        if reach[at] > distances[at] {
            list.push(((start + at) as u32, distances[at]));
        }
    };
    let ((d, d_rest), (r, _)) = (distances.as_chunks::<LANES>(), reach.as_chunks::<LANES>());
    for (part, (d, r)) in d.iter().zip(r).enumerate() {
        // Most parts hold none, which vectors tell at once.
        let mut near = [0.0f32; 4];
        for (d, r) in d.as_chunks::<4>().0.iter().zip(r.as_chunks::<4>().0) {
            for (lane, near) in near.iter_mut().enumerate() {
                *near = larger(*near, r[lane] - d[lane]);
            }
        }
        if near.iter().sum::<f32>() > 0.0 {
            (part * LANES..(part + 1) * LANES).for_each(|at| each(at, list));
        }
    }
    (distances.len() - d_rest.len()..distances.len()).for_each(|at| each(at, list));
}

impl Change {
    /// What this pick took, at the targets from `start` on, from a row with these products.
    pub(super) fn taken(&self, products: &[f32], high: f32, start: usize) -> f64 {
        let range = start..start + products.len();
        let (p, p_rest) = products.as_chunks::<LANES>();
        let (h, h_rest) = self.high[range.clone()].as_chunks::<LANES>();
        let (w, w_rest) = self.weights[range.clone()].as_chunks::<LANES>();
        let (o, o_rest) = self.old[range.clone()].as_chunks::<LANES>();
        let (l, l_rest) = self.less[range].as_chunks::<LANES>();
        let term = |product: f32, other: f32, weight: f32, old: f32, less: f32| {
            weight * larger(smaller(less, old - distance(other, high, product)), 0.0)
        };
        let mut lanes = [0.0f32; LANES];
        for (((p, h), (w, o)), l) in p.iter().zip(h).zip(w.iter().zip(o)).zip(l) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += term(p[lane], h[lane], w[lane], o[lane], l[lane]);
            }
        }
        for (lane, &p) in p_rest.iter().enumerate() {
            lanes[lane] += term(p, h_rest[lane], w_rest[lane], o_rest[lane], l_rest[lane]);
        }
        lanes.into_iter().map(f64::from).sum()
    }
}
