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
    let n = products.len();
    let (lows, reaches, weights, across) = (&b.low[..n], &b.reach[..n], &b.weights[..n], &mut across[..n]);
    let mut lanes = [0.0f32; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let at = start + lane;
            let d = distance(lows[at], low, products[at]);
            *sum += weights[at] * larger(reaches[at] - d, 0.0);
            across[at] += weight * larger(reach - d, 0.0);
        }
    }
    for at in whole..n {
        let d = distance(lows[at], low, products[at]);
        lanes[at - whole] += weights[at] * larger(reaches[at] - d, 0.0);
        across[at] += weight * larger(reach - d, 0.0);
    }
    lanes.into_iter().map(f64::from).sum()
}

/// What a row gains at these targets; its products with them become its distances from below.
pub(super) fn one(products: &mut [f32], low: f32, targets: &Side<'_>) -> f64 {
    let n = products.len();
    let (lows, reaches, weights) = (&targets.low[..n], &targets.reach[..n], &targets.weights[..n]);
    let mut lanes = [0.0f32; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let at = start + lane;
            products[at] = distance(lows[at], low, products[at]);
            *sum += weights[at] * larger(reaches[at] - products[at], 0.0);
        }
    }
    for at in whole..n {
        products[at] = distance(lows[at], low, products[at]);
        lanes[at - whole] += weights[at] * larger(reaches[at] - products[at], 0.0);
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
    let whole = distances.len() - distances.len() % LANES;
    let parts = distances.chunks_exact(LANES).zip(reach.chunks_exact(LANES));
    for (part, (distances, reach)) in parts.enumerate() {
        // Most parts hold none, which vectors tell at once.
        let near = distances.iter().zip(reach).fold(0.0f32, |near, (d, reach)| larger(near, reach - d));
        if near > 0.0 {
            (part * LANES..(part + 1) * LANES).for_each(|at| each(at, list));
        }
    }
    (whole..distances.len()).for_each(|at| each(at, list));
}

impl Change {
    /// What this pick took, at the targets from `start` on, from a row with these products.
    pub(super) fn taken(&self, products: &[f32], high: f32, start: usize) -> f64 {
        let range = start..start + products.len();
        let n = products.len();
        let (highs, weights) = (&self.high[range.clone()], &self.weights[range.clone()]);
        let (olds, less) = (&self.old[range.clone()], &self.less[range]);
        let mut lanes = [0.0f32; LANES];
        let whole = n - n % LANES;
        for start in (0..whole).step_by(LANES) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                let at = start + lane;
                let d = distance(highs[at], high, products[at]);
                *sum += weights[at] * larger(smaller(less[at], olds[at] - d), 0.0);
            }
        }
        for at in whole..n {
            let d = distance(highs[at], high, products[at]);
            lanes[at - whole] += weights[at] * larger(smaller(less[at], olds[at] - d), 0.0);
        }
        lanes.into_iter().map(f64::from).sum()
    }
}
