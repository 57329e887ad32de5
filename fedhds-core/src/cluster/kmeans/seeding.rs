//! k-means++: starting centroids that are rows, far from one another (Arthur and Vassilvitskii 2007).
//!
//! Greedy, as in scikit-learn: of `2 + ln k` rows drawn by weight times squared distance, the one that lowers the inertia most
//! becomes the next centroid.

use super::points::{BLOCK, Placed, Points, products};
use crate::error::Result;
use crate::types::{Control, Rng, Seed};
use rand::RngExt as _;
use rayon::prelude::*;

/// Starts that advance side by side, so that one pass over the rows serves the candidates of all: they share its product.
const TOGETHER: usize = 10;

/// The rows that each of `count` starts begins from, `k` distinct ones a start; start `i` draws from `seed`'s part `i`.
///
/// `k` is at most the number of distinct rows of positive weight.
pub(super) fn starts(
    points: &Points<'_>,
    k: usize,
    count: usize,
    seed: Seed,
    mut each: impl FnMut(Vec<usize>) -> Result<()>,
    control: &Control,
) -> Result<()> {
    for first in (0..count).step_by(TOGETHER) {
        let numbers = first..count.min(first + TOGETHER);
        let mut starts: Vec<Start> = Vec::new();
        for number in numbers {
            control.check()?;
            starts.push(Start::new(points, seed.derive("kmeans start", number as u64).rng()));
        }
        let trials = 2 + (k as f64).ln() as usize;
        for _ in 1..k {
            control.check()?;
            let drawn: Vec<usize> = starts
                .iter_mut()
                .flat_map(|start| (0..trials).map(|_| start.draw(points)).collect::<Vec<_>>())
                .collect();
            let found = compare(points, &starts, &drawn, trials);
            starts.par_iter_mut().enumerate().for_each(|(at, start)| {
                start.advance(points, &drawn[at * trials..][..trials], &found, at * trials);
            });
        }
        starts.into_iter().try_for_each(|start| each(start.chosen))?;
    }
    Ok(())
}

/// One start under way.
struct Start {
    rng: Rng,
    chosen: Vec<usize>,
    /// Squared distance of each row to the nearest chosen one.
    nearest: Vec<f64>,
    /// By block, the sum of weight times `nearest`.
    mass: Vec<f64>,
    /// What a row must exceed to lie nearer to a candidate; see [`Start::bar`].
    bars: Vec<f32>,
}

/// What one block of rows says of the candidates.
struct Found {
    /// By candidate: by how much it lowers the block's inertia.
    gain: Vec<f64>,
    /// By candidate, where its rows begin in `nearer`; one entry more.
    from: Vec<usize>,
    /// Rows that lie nearer to a candidate than to any chosen row, with their squared distance to it.
    nearer: Vec<(usize, f64)>,
}

fn blocks(n: usize) -> impl IndexedParallelIterator<Item = std::ops::Range<usize>> {
    (0..n.div_ceil(BLOCK)).into_par_iter().map(move |block| block * BLOCK..n.min((block + 1) * BLOCK))
}

impl Start {
    /// The first row, drawn by weight.
    fn new(points: &Points<'_>, mut rng: Rng) -> Self {
        let n = points.len();
        let weight: Vec<f64> = blocks(n).map(|rows| rows.map(|i| points.weight(i)).sum()).collect();
        let first = draw(&weight, |i| points.weight(i), n, &mut rng);
        let nearest: Vec<f64> =
            (0..n).into_par_iter().with_min_len(64).map(|i| points.squared(i, points.row(first))).collect();
        let bars = (0..n).into_par_iter().with_min_len(BLOCK).map(|i| Self::bar(points, i, nearest[i])).collect();
        let mut start = Self { rng, chosen: vec![first], nearest, mass: Vec::new(), bars };
        start.mass = (0..n.div_ceil(BLOCK)).map(|block| start.mass(points, block)).collect();
        start
    }

    fn mass(&self, points: &Points<'_>, block: usize) -> f64 {
        let rows = block * BLOCK..points.len().min((block + 1) * BLOCK);
        rows.map(|i| points.weight(i) * self.nearest[i]).sum()
    }

    /// A row drawn by weight times squared distance to the nearest chosen one.
    fn draw(&mut self, points: &Points<'_>) -> usize {
        let nearest = &self.nearest;
        draw(&self.mass, |i| points.weight(i) * nearest[i], points.len(), &mut self.rng)
    }

    /// `b` of row i: it lies nearer to a candidate c only where `2 <x_i, c> + p_i p_c - |c|^2 >= b`; see [`Points::low`], of which
    /// this is the square. Rounded down.
    fn bar(points: &Points<'_>, i: usize, nearest: f64) -> f32 {
        let norm = points.placed().norm(i);
        let shift = f64::from(norm.shift) + points.longest_shift();
        let square = f64::from(norm.square) - (f64::from(points.above(nearest)) + shift).powi(2);
        (square - square.abs() * 1e-6) as f32
    }

    /// Takes the candidate that gains most; the first of equals.
    fn advance(&mut self, points: &Points<'_>, drawn: &[usize], found: &[Found], first: usize) {
        let gain = |trial: usize| found.iter().map(|block| block.gain[first + trial]).sum::<f64>();
        let mut best = (0, gain(0));
        for trial in 1..drawn.len() {
            let gain = gain(trial);
            if gain > best.1 {
                best = (trial, gain);
            }
        }
        let winner = first + best.0;
        self.chosen.push(drawn[best.0]);
        for (block, found) in found.iter().enumerate() {
            let nearer = &found.nearer[found.from[winner]..found.from[winner + 1]];
            for &(i, squared) in nearer {
                self.nearest[i] = squared;
                self.bars[i] = Self::bar(points, i, squared);
            }
            if !nearer.is_empty() {
                self.mass[block] = self.mass(points, block);
            }
        }
    }
}

/// What each candidate would gain, block by block; `trials` candidates of each start in turn.
fn compare(points: &Points<'_>, starts: &[Start], drawn: &[usize], trials: usize) -> Vec<Found> {
    let candidates: Placed = points.placed().take(drawn);
    let one_block = |rows: std::ops::Range<usize>| {
        let count = rows.len();
        let mut inner = vec![0.0f32; drawn.len() * count];
        let block = points.placed().slice(rows.start, rows.end);
        products(&mut inner, candidates.slice(0, candidates.len()), block, points.cols());
        let mut found = Found { gain: Vec::with_capacity(drawn.len()), from: vec![0], nearer: Vec::new() };
        let factors: Vec<f32> = rows.clone().map(|i| points.placed().norm(i).product).collect();
        for (at, inner) in inner.chunks_exact(count).enumerate() {
            let start = &starts[at / trials];
            let norm = candidates.norm(at);
            let other = points.row(drawn[at]);
            let mut gain = 0.0;
            let bars = &start.bars[rows.clone()];
            const LANES: usize = 16;
            for first in (0..count).step_by(LANES) {
                let lanes = first..count.min(first + LANES);
                let may_be =
                    |((&p, &factor), &bar): ((&f32, &f32), &f32)| 2.0 * p + factor * norm.product - norm.square >= bar;
                let of = |lanes: std::ops::Range<usize>| {
                    inner[lanes.clone()].iter().zip(&factors[lanes.clone()]).zip(&bars[lanes])
                };
                // Without a branch for each row: most chunks hold none.
                if !of(lanes.clone()).fold(false, |any, row| any | may_be(row)) {
                    continue;
                }
                for (lane, row) in of(lanes.clone()).enumerate() {
                    let i = rows.start + first + lane;
                    if !may_be(row) {
                        continue;
                    }
                    let squared = points.squared(i, other);
                    if squared < start.nearest[i] {
                        gain += points.weight(i) * (start.nearest[i] - squared);
                        found.nearer.push((i, squared));
                    }
                }
            }
            found.gain.push(gain);
            found.from.push(found.nearer.len());
        }
        found
    };
    blocks(points.len()).map(one_block).collect()
}

/// A row in proportion to `mass`, given also in sums over blocks; the last of positive mass where rounding leaves a rest.
fn draw(blocks: &[f64], mass: impl Fn(usize) -> f64, rows: usize, rng: &mut Rng) -> usize {
    let mut left = rng.random::<f64>() * blocks.iter().sum::<f64>();
    let mut last = 0;
    for (block, _) in blocks.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        last = block;
        if left < blocks[block] {
            break;
        }
        left -= blocks[block];
    }
    let mut row = 0;
    for i in (last * BLOCK..rows.min((last + 1) * BLOCK)).filter(|&i| mass(i) > 0.0) {
        row = i;
        left -= mass(i);
        if left < 0.0 {
            break;
        }
    }
    row
}
