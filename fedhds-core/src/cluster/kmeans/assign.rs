//! The nearest centroid of each row, with bounds on the others that spare most distances (Elkan 2003).
//!
//! A bound says that a row lies no nearer to a centroid; when the centroid moves by m, it falls by m. While it stays above the
//! row's distance to its own centroid, the distance need not be measured. Where many bounds of a row fail, all its distances come
//! from one product with the centroids, whose rounding is bounded too; what the bounds leave open is measured exactly. So labels
//! are those of exact f64 distances, and among equal distances of the lower cluster id.

use super::points::{BLOCK, Placed, Points, inner, products};
use crate::types::Matrix;
use rayon::prelude::*;

/// Bytes of bounds that are kept whatever the points weigh; beyond, bounds may weigh as much as the points.
const KEPT: usize = 64 << 20;
/// A factor just below 1, past the rounding of an f32 operation.
const BELOW: f32 = 1.0 - 4.0 * f32::EPSILON;

/// Centroids `[k, d]`, also in the unit of bounds.
pub(super) struct Centroids {
    rows: Matrix,
    placed: Placed,
    /// By how far each has moved since the last assignment, rounded up, in the unit of bounds.
    moves: Vec<f32>,
}

impl Centroids {
    pub(super) fn new(rows: Matrix, points: &Points<'_>) -> Self {
        let placed = points.place(&rows);
        Self { moves: vec![0.0; rows.rows()], rows, placed }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.rows()
    }

    pub(super) fn row(&self, j: usize) -> &[f32] {
        self.rows.row(j)
    }

    pub(super) fn rows(&self) -> &Matrix {
        &self.rows
    }

    /// Moves centroid `j`; returns the square of the way.
    pub(super) fn set(&mut self, j: usize, row: &[f32], points: &Points<'_>) -> f64 {
        let squared = crate::cluster::distance::squared(self.rows.row(j), row);
        if squared > 0.0 {
            self.rows.row_mut(j).copy_from_slice(row);
            self.placed.set(j, row, points);
            self.moves[j] = (self.moves[j] + points.above(squared)) / BELOW;
        }
        squared
    }
}

/// The label of each row, and what is known of its distances.
pub(super) struct Assignment {
    pub labels: Vec<u32>,
    /// Whether any row is equally near to another centroid.
    pub tied: bool,
    /// Whether any label changed in the last assignment.
    pub changed: bool,
    /// At least the distance of each row to its own centroid; infinite before it was measured.
    own: Vec<f32>,
    /// `[n, k]`: at most the distance of each row to each other centroid, infinite for its own. Empty where they would take too
    /// much memory: then every assignment begins from products.
    others: Vec<f32>,
}

/// One row of one task.
struct Row<'a> {
    i: usize,
    label: &'a mut u32,
    own: &'a mut f32,
}

impl Assignment {
    /// Nothing is known yet.
    pub(super) fn new(points: &Points<'_>, k: usize) -> Self {
        let n = points.len();
        let room = KEPT.max(n * points.cols() * size_of::<f32>()) / size_of::<f32>();
        let others = if n.saturating_mul(k) <= room { vec![0.0; n * k] } else { Vec::new() };
        Self { labels: vec![0; n], tied: false, changed: true, own: vec![f32::INFINITY; n], others }
    }

    /// Forgets the bounds, not the labels.
    pub(super) fn forget(&mut self) {
        self.own.fill(f32::INFINITY);
    }

    /// Labels every row with its nearest centroid.
    pub(super) fn assign(&mut self, points: &Points<'_>, centroids: &mut Centroids) {
        let k = centroids.len();
        let ((labels, own), others) = ((&mut self.labels, &mut self.own), &mut self.others);
        let moves = &centroids.moves[..];
        let blocks = labels.par_chunks_mut(BLOCK).zip(own.par_chunks_mut(BLOCK)).enumerate();
        let results: Vec<(bool, bool)> = if others.is_empty() {
            blocks.map(|(block, (labels, own))| one_block(points, centroids, block, labels, own, None)).collect()
        } else {
            blocks
                .zip(others.par_chunks_mut(BLOCK * k))
                .map(|((block, (labels, own)), others)| {
                    one_block(points, centroids, block, labels, own, Some((others, moves)))
                })
                .collect()
        };
        self.changed = results.iter().any(|(changed, _)| *changed);
        self.tied = results.iter().any(|(_, tied)| *tied);
        centroids.moves.fill(0.0);
    }
}

/// Labels a block of rows; returns whether a label changed, and whether two centroids are equally near to a row.
fn one_block(
    points: &Points<'_>,
    centroids: &Centroids,
    block: usize,
    labels: &mut [u32],
    own: &mut [f32],
    bounds: Option<(&mut [f32], &[f32])>,
) -> (bool, bool) {
    let (k, d) = (centroids.len(), points.cols());
    let first = block * BLOCK;
    let rows = labels.iter_mut().zip(own).enumerate();
    let rows = rows.map(|(at, (label, own))| Row { i: first + at, label, own });
    let (mut changed, mut tied) = (false, false);
    let mut all: Vec<Row<'_>> = Vec::new();
    let mut scratch = Vec::new();
    let others = match bounds {
        None => {
            all.extend(rows);
            None
        }
        Some((others, moves)) => {
            // A product gives a distance in a third of the time of `inner`, but all k of them.
            let few = k / 4;
            for (mut row, others) in rows.zip(others.chunks_exact_mut(k)) {
                if row.own.is_infinite() {
                    all.push(row);
                    continue;
                }
                match one_row(points, centroids, &mut row, others, moves, few, &mut scratch) {
                    None => all.push(row),
                    Some((new, tie)) => {
                        changed |= new;
                        tied |= tie;
                    }
                }
            }
            Some(others)
        }
    };
    if all.is_empty() {
        return (changed, tied);
    }
    let mut distances = vec![0.0f32; all.len() * k];
    let centres = centroids.placed.slice(0, k);
    if all.len() == labels_in(points, first) {
        products(&mut distances, points.placed().slice(first, first + all.len()), centres, d);
    } else {
        let gathered = points.placed().gather(all.iter().map(|row| row.i));
        products(&mut distances, &gathered, centres, d);
    }
    let mut others = others;
    for (row, low) in all.into_iter().zip(distances.chunks_exact_mut(k)) {
        points.low(row.i, &centroids.placed, low);
        let (label, tie) = nearest(points, centroids, &row, low);
        changed |= label.0 != *row.label;
        tied |= tie;
        (*row.label, *row.own) = label;
        if let Some(others) = others.as_deref_mut() {
            let kept = &mut others[(row.i - first) * k..][..k];
            kept.copy_from_slice(low);
            kept[label.0 as usize] = f32::INFINITY;
        }
    }
    (changed, tied)
}

/// Rows of the block that begins at `first`.
fn labels_in(points: &Points<'_>, first: usize) -> usize {
    BLOCK.min(points.len() - first)
}

/// The nearest of all centroids, given bounds from below on the distances to each, with a bound from above on its distance; and
/// whether another is equally near.
fn nearest(points: &Points<'_>, centroids: &Centroids, row: &Row<'_>, low: &mut [f32]) -> ((u32, f32), bool) {
    let least = low.iter().fold(f32::INFINITY, |least, &low| least.min(low));
    let at = low.iter().position(|&low| low == least).unwrap_or(0);
    let high = points.high(row.i, &centroids.placed, at, least);
    if low.iter().filter(|low| **low <= high).count() == 1 {
        return ((at as u32, high), false);
    }
    let mut best = (0, f64::INFINITY);
    let mut tie = false;
    for j in 0..low.len() {
        if low[j] > high {
            continue;
        }
        let squared = points.squared(row.i, centroids.row(j));
        low[j] = low[j].max(points.below(squared));
        if squared < best.1 {
            (best, tie) = ((j as u32, squared), false);
        } else if squared == best.1 {
            tie = true;
        }
    }
    ((best.0, points.above(best.1)), tie)
}

/// Brings one row up to date by its bounds; none where more than `few` fail. Whether the label changed, and whether another
/// centroid is equally near.
fn one_row(
    points: &Points<'_>,
    centroids: &Centroids,
    row: &mut Row<'_>,
    others: &mut [f32],
    moves: &[f32],
    few: usize,
    open: &mut Vec<u32>,
) -> Option<(bool, bool)> {
    *row.own = (*row.own + moves[*row.label as usize]) / BELOW;
    let fails = |own: f32, other: f32| u32::from(other <= own);
    let mut count = 0;
    for (other, &moved) in others.iter_mut().zip(moves) {
        *other = (*other - moved) * BELOW;
        count += fails(*row.own, *other);
    }
    if count == 0 {
        return Some((false, false));
    }
    let mut best = (*row.label, points.squared(row.i, centroids.row(*row.label as usize)));
    *row.own = points.above(best.1);
    open.clear();
    open.extend((0..others.len() as u32).filter(|&j| others[j as usize] <= *row.own));
    if open.len() > few {
        return None;
    }
    let mut tie = false;
    for &j in &*open {
        let other = &mut others[j as usize];
        let product = inner(points.placed().row(row.i), centroids.placed.row(j as usize));
        *other = other.max(points.low_of(row.i, &centroids.placed, j as usize, product));
        if *other > *row.own {
            continue;
        }
        let squared = points.squared(row.i, centroids.row(j as usize));
        *other = points.below(squared);
        if squared == best.1 {
            tie = true;
        }
        if squared < best.1 || (squared == best.1 && j < best.0) {
            tie = squared == best.1;
            others[best.0 as usize] = points.below(best.1);
            others[j as usize] = f32::INFINITY;
            best = (j, squared);
            *row.own = points.above(squared);
        }
    }
    let changed = best.0 != *row.label;
    *row.label = best.0;
    Some((changed, tie))
}
