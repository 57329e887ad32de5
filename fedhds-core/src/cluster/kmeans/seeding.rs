//! k-means++: starting centroids that are rows, far from one another (Arthur and Vassilvitskii 2007).
//!
//! Greedy, as in scikit-learn: of `2 + ln k` rows drawn by weight times squared distance, the one that lowers the inertia most
//! becomes the next centroid.

use super::points::{BLOCK, Norm, Points, blocks};
use super::products::products;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Rng, Seed};
use rand::RngExt as _;
use std::ops::Range;

/// Starts that advance side by side, so that one pass over the rows serves the candidates of all: they share its product.
const TOGETHER: usize = 10;

/// What sums of as many f64 as there are rows may be off.
const SUMS: f64 = 1e-6;

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
            starts.push(Start::new(points, seed.derive("kmeans start", number as u64).rng(), control)?);
        }
        let trials = 2 + (k as f64).ln() as usize;
        for _ in 1..k {
            control.check()?;
            let drawn: Vec<usize> = starts
                .iter_mut()
                .flat_map(|start| (0..trials).map(|_| start.draw(points)).collect::<Vec<_>>())
                .collect();
            let found = compare(points, &starts, &drawn, trials, control)?;
            loops::try_hand_out(starts.iter_mut().collect(), 1, |at, start| {
                start.advance(points, &drawn[at * trials..][..trials], &found, at * trials, control)
            })?;
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

/// What one block of rows says of one candidate.
struct Found {
    /// Bounds on how much it lowers the block's inertia.
    gain: [f64; 2],
    /// Rows that may lie nearer to it than to any chosen row.
    rows: Vec<usize>,
}

/// Block by block, the rows that lie nearer to a candidate than to any chosen row, with their squared distance to it.
type Nearer = Vec<Vec<(usize, f64)>>;

impl Start {
    /// The first row, drawn by weight.
    fn new(points: &Points<'_>, mut rng: Rng, control: &Control) -> Result<Self> {
        let n = points.len();
        let weight = blocks(n, control, |rows| rows.map(|i| points.weight(i)).sum::<f64>())?;
        let first = draw(&weight, |i| points.weight(i), n, &mut rng);
        let nearest = loops::try_map(n, 64, |i| {
            control.check()?;
            Ok(points.squared(i, points.row(first)))
        })?;
        let bars = loops::map(n, BLOCK, |i| Self::bar(points, i, nearest[i]));
        let mut start = Self { rng, chosen: vec![first], nearest, mass: Vec::new(), bars };
        start.mass = (0..n.div_ceil(BLOCK)).map(|block| start.mass(points, block)).collect();
        Ok(start)
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

    /// `b` of row i: it lies nearer to a candidate c only where `2 <x_i, c> + p_i p_c - |c|^2 >= b`, which is [`Norm::low`] squared.
    /// Rounded down.
    fn bar(points: &Points<'_>, i: usize, nearest: f64) -> f32 {
        let norm = points.norm(i);
        let shift = f64::from(norm.shift) + points.longest_shift();
        let square = f64::from(norm.square) - (f64::from(points.above(nearest)) + shift).powi(2);
        (square - square.abs() * 1e-6) as f32
    }

    /// By how much a candidate lowers the inertia, exact to f64, and the rows that lie nearer to it with their squared distances,
    /// block by block.
    fn gain(
        &self,
        points: &Points<'_>,
        candidate: usize,
        blocks: &[Vec<Found>],
        at: usize,
        control: &Control,
    ) -> Result<(f64, Nearer)> {
        let one_block = |found: &Vec<Found>| {
            let squared = |&i: &usize| (i, points.squared(i, points.row(candidate)));
            found[at].rows.iter().map(squared).filter(|&(i, squared)| squared < self.nearest[i]).collect()
        };
        let nearer: Nearer = loops::try_map(blocks.len(), 1, |block| {
            control.check()?;
            Ok(one_block(&blocks[block]))
        })?;
        let of_row = |&(i, squared): &(usize, f64)| points.weight(i) * (self.nearest[i] - squared);
        Ok((nearer.iter().map(|rows| rows.iter().map(of_row).sum::<f64>()).sum(), nearer))
    }

    /// Takes the candidate that gains most; the first of equals.
    fn advance(
        &mut self,
        points: &Points<'_>,
        drawn: &[usize],
        blocks: &[Vec<Found>],
        first: usize,
        control: &Control,
    ) -> Result<()> {
        let bound = |trial: usize, side: usize| blocks.iter().map(|found| found[first + trial].gain[side]).sum::<f64>();
        let surely = (0..drawn.len()).map(|trial| bound(trial, 0)).fold(0.0, f64::max);
        let mut best: Option<(f64, usize, Nearer)> = None;
        // Bounds decide nearly always, so that exact distances are measured for one candidate alone.
        for trial in (0..drawn.len()).filter(|&trial| bound(trial, 1) >= surely * (1.0 - SUMS)) {
            let (gain, nearer) = self.gain(points, drawn[trial], blocks, first + trial, control)?;
            if best.as_ref().is_none_or(|(most, ..)| gain > *most) {
                best = Some((gain, trial, nearer));
            }
        }
        let Some((_, trial, nearer)) = best else { return Ok(()) };
        self.chosen.push(drawn[trial]);
        for (block, nearer) in nearer.iter().enumerate().filter(|(_, nearer)| !nearer.is_empty()) {
            for &(i, squared) in nearer {
                self.nearest[i] = squared;
                self.bars[i] = Self::bar(points, i, squared);
            }
            self.mass[block] = self.mass(points, block);
        }
        Ok(())
    }
}

/// What each candidate would gain, block by block; `trials` candidates of each start in turn.
fn compare(
    points: &Points<'_>,
    starts: &[Start],
    drawn: &[usize],
    trials: usize,
    control: &Control,
) -> Result<Vec<Vec<Found>>> {
    let candidates = points.place(drawn.iter().map(|&i| points.row(i)));
    let one_block = |rows: Range<usize>| {
        let count = rows.len();
        let mut inner = vec![0.0f32; drawn.len() * count];
        products(&mut inner, &candidates.values, points.strip(rows.clone()), points.cols());
        let factors: Vec<f32> = rows.clone().map(|i| points.norm(i).product).collect();
        let one_candidate = |(at, inner): (usize, &[f32])| {
            let start = &starts[at / trials];
            let norm = candidates.norms[at];
            let mut found = Found { gain: [0.0; 2], rows: Vec::new() };
            may_exceed(inner, &factors, &start.bars[rows.clone()], norm, |lane| {
                let i = rows.start + lane;
                let x = points.norm(i);
                let low = Norm::low(x, norm, inner[lane]);
                for (gain, distance) in found.gain.iter_mut().zip([points.high(x, norm, low), low]) {
                    *gain += points.weight(i) * (start.nearest[i] - points.square(distance)).max(0.0);
                }
                found.rows.push(i);
            });
            found
        };
        inner.chunks_exact(count).enumerate().map(one_candidate).collect()
    };
    blocks(points.len(), control, one_block)
}

/// Calls for each row that may lie nearer to a candidate than its bar says; see [`Start::bar`].
fn may_exceed(inner: &[f32], factors: &[f32], bars: &[f32], norm: Norm, mut call: impl FnMut(usize)) {
    const LANES: usize = 16;
    let exceeds = |((&p, &factor), &bar): ((&f32, &f32), &f32)| 2.0 * p + factor * norm.product - norm.square >= bar;
    for first in (0..inner.len()).step_by(LANES) {
        let lanes = first..inner.len().min(first + LANES);
        let rows = || inner[lanes.clone()].iter().zip(&factors[lanes.clone()]).zip(&bars[lanes.clone()]);
        // Without a branch for each row: most chunks hold none.
        if rows().fold(false, |any, row| any | exceeds(row)) {
            lanes.clone().zip(rows()).filter(|(_, row)| exceeds(*row)).for_each(|(lane, _)| call(lane));
        }
    }
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
