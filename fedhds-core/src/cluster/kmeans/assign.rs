//! The nearest centroid of each row, with bounds on the others that spare most distances (Elkan 2003).
//!
//! A bound says that a row lies no nearer to a centroid than so; when the centroid has moved by m since, by m less (by the way as the
//! crow flies, not by the sum of steps: Newling and Fleuret 2016). While that stays above the row's distance to its own centroid,
//! the distance need not be measured. Where many bounds of a row fail, all its distances come
//! from one product with the centroids, whose rounding is bounded too; what the bounds leave open is measured exactly. So labels
//! are those of exact f64 distances, and among equal distances of the lower cluster id.

use super::points::{BLOCK, Norm, Placed, Points, transpose};
use super::products::{inner, products};
use crate::cluster::distance;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Matrix};
use std::collections::VecDeque;

/// Bytes of bounds that are kept whatever the points weigh; beyond, bounds may weigh as much as the points.
const KEPT: usize = 64 << 20;
/// Most assignments whose centroids are remembered.
const MEMORY: usize = 16;
/// A factor just below 1, past the rounding of an f32 operation.
const BELOW: f32 = 1.0 - 4.0 * f32::EPSILON;

// What is quicker depends on rows and centroids; what comes out does not. In units of one inner product by itself:
/// to bring a row from memory;
const TOUCH: usize = 16;
/// and a row's part in a product of a block with the centroids, beside two fifths for each centroid.
const PRODUCT: usize = 3;

/// Centroids `[k, d]`, also in the unit of bounds.
pub(super) struct Centroids {
    rows: Matrix,
    placed: Placed,
}

impl Centroids {
    pub(super) fn new(rows: Matrix, points: &Points<'_>) -> Self {
        let placed = points.place(rows.iter_rows());
        Self { rows, placed }
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
        let squared = distance::squared(self.rows.row(j), row);
        if squared > 0.0 {
            self.rows.row_mut(j).copy_from_slice(row);
            self.placed.set(j, row, points);
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
    /// How many assignments ago each row's bounds were true of the centroids of their time, less one.
    age: Vec<u8>,
    /// The centroids of earlier assignments, the last one first, as many as `memory`.
    past: VecDeque<Matrix>,
    memory: usize,
    /// By how far each centroid has moved since each of them, rounded up, in the unit of bounds.
    ways: Vec<Vec<f32>>,
}

impl Assignment {
    /// Nothing is known yet.
    pub(super) fn new(points: &Points<'_>, k: usize) -> Self {
        let n = points.len();
        let room = KEPT.max(n * points.cols() * size_of::<f32>()) / size_of::<f32>();
        let others = if n.saturating_mul(k) <= room { vec![0.0; n * k] } else { Vec::new() };
        Self {
            labels: vec![0; n],
            tied: false,
            changed: true,
            own: vec![f32::INFINITY; n],
            // No more memory for centroids than the rows take.
            memory: if others.is_empty() { 0 } else { (n / k).clamp(1, MEMORY) },
            others,
            age: vec![0; n],
            past: VecDeque::new(),
            ways: Vec::new(),
        }
    }

    /// Forgets the bounds, not the labels.
    pub(super) fn forget(&mut self) {
        self.own.fill(f32::INFINITY);
        self.past.clear();
        self.ways.clear();
    }

    /// Labels every row with its nearest centroid.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn assign(&mut self, points: &Points<'_>, centroids: &Centroids, control: &Control) -> Result<()> {
        let k = centroids.len();
        self.measure(points, centroids);
        let found = Found { points, centroids, ways: &self.ways, oldest: (self.memory as u8).saturating_sub(1) };
        let mut results = vec![(false, false); self.labels.len().div_ceil(BLOCK)];
        // No bounds on the others are kept where memory is short.
        let others = self.others.chunks_mut(BLOCK * k).map(Some).chain(std::iter::repeat_with(|| None));
        let rows = self.labels.chunks_mut(BLOCK).zip(self.own.chunks_mut(BLOCK)).zip(self.age.chunks_mut(BLOCK));
        let blocks = rows.zip(others).zip(&mut results).collect();
        loops::try_hand_out(blocks, 1, |block, ((((labels, own), age), others), result)| {
            control.check()?;
            *result = found.block(block, labels.iter_mut().zip(own).zip(age), others);
            Ok(())
        })?;
        self.changed = results.iter().any(|(changed, _)| *changed);
        self.tied = results.iter().any(|(_, tied)| *tied);
        if self.memory > 0 {
            self.past.truncate(self.memory - 1);
            self.past.push_front(centroids.rows().clone());
        }
        Ok(())
    }

    /// Brings `ways` up to date.
    fn measure(&mut self, points: &Points<'_>, centroids: &Centroids) {
        let Some(last) = self.past.front() else { return };
        let stays: Vec<bool> = (0..centroids.len()).map(|j| centroids.row(j) == last.row(j)).collect();
        let way = |at: usize, j: usize| match (stays[j], at) {
            (true, 0) => 0.0,
            (true, _) => self.ways[at - 1][j],
            _ => points.above(distance::squared(centroids.row(j), self.past[at].row(j))),
        };
        self.ways = loops::map(self.past.len(), 1, |at| (0..centroids.len()).map(|j| way(at, j)).collect());
    }
}

/// One assignment.
struct Found<'a> {
    points: &'a Points<'a>,
    centroids: &'a Centroids,
    ways: &'a [Vec<f32>],
    /// The age at which bounds are brought up to date whether they fail or not.
    oldest: u8,
}

/// One row of one task.
struct Row<'a> {
    i: usize,
    label: &'a mut u32,
    own: &'a mut f32,
    age: &'a mut u8,
}

/// Room that the rows of a task share.
struct Scratch {
    placed: Vec<f32>,
    open: Vec<u32>,
}

impl Found<'_> {
    /// Labels a block of rows; returns whether a label changed, and whether two centroids are equally near to a row.
    fn block<'r>(
        &self,
        block: usize,
        rows: impl Iterator<Item = ((&'r mut u32, &'r mut f32), &'r mut u8)>,
        mut others: Option<&mut [f32]>,
    ) -> (bool, bool) {
        let (k, first) = (self.centroids.len(), block * BLOCK);
        let mut rows: Vec<Row<'_>> =
            (first..).zip(rows).map(|(i, ((label, own), age))| Row { i, label, own, age }).collect();
        let count = rows.len();
        let (mut changed, mut tied) = (false, false);
        if let Some(others) = &mut others {
            let failed: Vec<u32> =
                rows.iter_mut().zip(others.chunks_exact_mut(k)).map(|(row, others)| self.lower(row, others)).collect();
            let (pairs, touched) =
                failed.iter().fold((0, 0), |(pairs, rows), &f| (pairs + f as usize, rows + usize::from(f > 0)));
            if touched * TOUCH + pairs < count * (PRODUCT + k * 2 / 5) {
                let mut scratch = Scratch { placed: vec![0.0; self.points.cols()], open: Vec::new() };
                let mut failed = failed.into_iter();
                let mut others = others.chunks_exact_mut(k);
                rows.retain_mut(|row| {
                    let (Some(failed), Some(others)) = (failed.next(), others.next()) else { return false };
                    if failed == 0 {
                        return false;
                    }
                    let Some((new, tie)) = self.by_bounds(row, others, &mut scratch) else { return true };
                    changed |= new;
                    tied |= tie;
                    false
                });
            }
        }
        if rows.is_empty() {
            return (changed, tied);
        }
        let (mut products, at) = self.products(first, count, &rows);
        for (row, at) in rows.into_iter().zip(at) {
            let low = &mut products[at * k..(at + 1) * k];
            let (label, own, tie) = self.by_products(&row, low);
            changed |= label != *row.label;
            tied |= tie;
            (*row.label, *row.own, *row.age) = (label, own, 0);
            if let Some(others) = &mut others {
                let others = &mut others[(row.i - first) * k..][..k];
                others.copy_from_slice(low);
                others[label as usize] = f32::INFINITY;
            }
        }
        (changed, tied)
    }

    /// How many bounds of a row fail; brings them up to date where any does.
    fn lower(&self, row: &mut Row<'_>, others: &mut [f32]) -> u32 {
        if row.own.is_infinite() {
            return others.len() as u32;
        }
        let ways = &self.ways[usize::from(*row.age)];
        let own = (*row.own + ways[*row.label as usize]) / BELOW;
        let low = |(other, way): (&f32, &f32)| (other - way) * BELOW;
        let failed = others.iter().zip(ways).map(|pair| u32::from(low(pair) <= own)).sum();
        if failed == 0 && *row.age < self.oldest {
            *row.age += 1;
            return 0;
        }
        (*row.own, *row.age) = (own, 0);
        others.iter_mut().zip(ways).for_each(|(other, way)| *other = low((other, way)));
        failed
    }

    /// Products of rows of a block with every centroid, row after row, and which of them are those of `rows`.
    fn products(&self, first: usize, count: usize, rows: &[Row<'_>]) -> (Vec<f32>, Vec<usize>) {
        let (k, d) = (self.centroids.len(), self.points.cols());
        // Few rows are brought together; the products of most of a block come with those of the rest.
        let few = 4 * rows.len() < count;
        let columns = if few { rows.len() } else { count };
        let mut by_centroid = vec![0.0f32; k * columns];
        if few {
            let (mut placed, mut strip) = (vec![0.0; columns * d], vec![0.0; columns * d]);
            for (row, placed) in rows.iter().zip(placed.chunks_exact_mut(d)) {
                self.points.place_row(self.points.row(row.i), placed);
            }
            transpose(&placed, d, &mut strip);
            products(&mut by_centroid, &self.centroids.placed.values, &strip, d);
        } else {
            let strip = self.points.strip(first..first + count);
            products(&mut by_centroid, &self.centroids.placed.values, strip, d);
        }
        let mut by_row = vec![0.0f32; columns * k];
        transpose(&by_centroid, columns, &mut by_row);
        (by_row, if few { (0..columns).collect() } else { rows.iter().map(|row| row.i - first).collect() })
    }

    /// The nearest centroid of a row from its products with all, which become bounds from below; a bound from above on its distance;
    /// and whether another is equally near.
    fn by_products(&self, row: &Row<'_>, low: &mut [f32]) -> (u32, f32, bool) {
        let norms = &self.centroids.placed.norms;
        let x = self.points.norm(row.i);
        low.iter_mut().zip(norms).for_each(|(low, &y)| *low = Norm::low(x, y, *low));
        let least = low.iter().fold(f32::INFINITY, |least, &low| least.min(low));
        let at = low.iter().position(|&low| low == least).unwrap_or(0);
        let high = self.points.high(x, norms[at], least);
        if low.iter().filter(|low| **low <= high).count() == 1 {
            return (at as u32, high, false);
        }
        let (mut best, mut tie) = ((0, f64::INFINITY), false);
        for (j, low) in low.iter_mut().enumerate().filter(|(_, low)| **low <= high) {
            let squared = self.points.squared(row.i, self.centroids.row(j));
            *low = low.max(self.points.below(squared));
            if squared < best.1 {
                (best, tie) = ((j as u32, squared), false);
            } else if squared == best.1 {
                tie = true;
            }
        }
        (best.0, self.points.above(best.1), tie)
    }

    /// Labels a row of which bounds fail; none where many do. Whether the label changed, and whether another centroid is equally
    /// near.
    fn by_bounds(&self, row: &mut Row<'_>, others: &mut [f32], scratch: &mut Scratch) -> Option<(bool, bool)> {
        let Self { points, centroids, .. } = self;
        let label = *row.label as usize;
        let x = points.norm(row.i);
        points.place_row(points.row(row.i), &mut scratch.placed);
        let low = |j: usize| Norm::low(x, centroids.placed.norms[j], inner(&scratch.placed, centroids.placed.row(j)));
        *row.own = row.own.min(points.high(x, centroids.placed.norms[label], low(label)));
        scratch.open.clear();
        scratch.open.extend((0..others.len() as u32).filter(|&j| others[j as usize] <= *row.own));
        if scratch.open.len() > PRODUCT + others.len() * 2 / 5 {
            return None;
        }
        let (mut best, mut tie) = ((*row.label, None), false);
        for &j in &scratch.open {
            let other = &mut others[j as usize];
            *other = other.max(low(j as usize));
            if *other > *row.own {
                continue;
            }
            let least = match best.1 {
                Some(least) => least,
                None => {
                    let own = points.squared(row.i, centroids.row(label));
                    *row.own = points.above(own);
                    best.1 = Some(own);
                    own
                }
            };
            let squared = points.squared(row.i, centroids.row(j as usize));
            *other = points.below(squared);
            if squared < least || (squared == least && j < best.0) {
                tie = squared == least;
                others[best.0 as usize] = points.below(least);
                others[j as usize] = f32::INFINITY;
                best = (j, Some(squared));
                *row.own = points.above(squared);
            } else {
                tie |= squared == least;
            }
        }
        *row.label = best.0;
        Some((best.0 as usize != label, tie))
    }
}
