//! Bounds from above on the gains of facility location.
//!
//! A gain is `sum_i w_i max(0, near_i - d(i, j))`; with distances from below ([`Placed`]) the same sum bounds it from above. Three
//! ways lead to it, all by blocks of a fixed size:
//!
//! - *all at once*, for the first gains and whenever one pick has changed what most targets are near to: each product serves two rows;
//! - *what changed*: a bound of before, less a bound from below on what a later pick took from it, one pick after the other as
//!   long as the row might win. Early picks are near to much, but to less and less;
//! - *from scratch*, for a few rows against all targets. Where few targets lie nearer to the row than to what is chosen, they are kept
//!   ([`Lists`]): nothing else will ever count for this row, so that its later bounds and exact gains cost next to nothing.

use super::bounds::{Placed, ROUNDOFF, distance};
use super::facility_first;
use super::facility_terms::{Change, List, Side, both, collect, one};
use super::tiles::{SQUARE, STRIP, SUM, TILE, pairs};
use crate::error::Result;
use crate::loops;
use crate::types::{Context, Control};
use std::collections::VecDeque;
use std::ops::Range;

/// The least weight above 0 in its unit: with it no term, but 0, falls below f32's range.
const LIGHTEST: f32 = 1e-20;

/// Lists of rows, together at most so many entries.
#[derive(Debug, Default)]
struct Lists {
    of: Vec<Option<List>>,
    entries: usize,
}

/// See the head of this file. Rows are numbered among those that may be taken, which are the targets too.
#[derive(Debug)]
pub(super) struct Gains {
    placed: Placed,
    /// In a unit of their own, at most 1, rounded up.
    weights: Vec<f32>,
    /// How near each target is to what is chosen, rounded up; 0 where nothing can come nearer.
    reach: Vec<f32>,
    /// A gain of 1 in the unit of bounds.
    unit: f64,
    changes: VecDeque<Change>,
    lists: Lists,
    /// The longest list that is kept.
    longest: usize,
    /// Room for entries of lists.
    room: usize,
    /// How many targets the last pick changed.
    last: usize,
}

/// Entries of all lists together: 320 MB.
const ENTRIES: usize = 40 << 20;

impl Gains {
    pub(super) fn new(placed: Placed, weights: &[f32], nearest: &[f64]) -> Self {
        let most = weights.iter().copied().fold(0.0f32, f32::max);
        let power = if most > 0.0 { f64::from(most).log2().ceil() } else { 0.0 };
        let up = |&w: &f32| {
            let scaled = (f64::from(w) / power.exp2()) as f32;
            if w > 0.0 { scaled.max(LIGHTEST) } else { 0.0 }
        };
        let n = placed.len();
        let unit = power.exp2() * placed.unit();
        let mut gains = Self {
            weights: weights.iter().map(up).collect(),
            reach: Vec::new(),
            unit,
            changes: VecDeque::new(),
            lists: Lists { of: vec![None; n], entries: 0 },
            longest: (n / 64).max(1024),
            room: ENTRIES,
            last: n,
            placed,
        };
        let reach = |(&near, &w): (&f64, &f32)| if w > 0.0 { gains.placed.above(near) } else { 0.0 };
        gains.reach = nearest.iter().zip(weights).map(reach).collect();
        gains
    }

    /// A sum of the unit of bounds as a bound from above on a gain.
    fn bound(&self, sum: f64) -> f64 {
        sum * (1.0 + SUM) * self.unit
    }

    /// Bounds for every row while nothing is chosen and nothing was covered, far quicker than by all distances, less tight; none where
    /// rows have too many columns for that.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn first(&self, control: &Control) -> Result<Option<Vec<f64>>> {
        let far = self.reach.iter().copied().fold(0.0f32, f32::max);
        if self.placed.columns() * 4 > self.placed.len() || far == 0.0 {
            return Ok(None);
        }
        let sums = facility_first::first(&self.placed, &self.weights, far, control)?;
        Ok(Some(sums.into_iter().map(|sum| self.bound(sum)).collect()))
    }

    fn side(&self, range: Range<usize>) -> Side<'_> {
        Side { low: &self.placed.low[range.clone()], reach: &self.reach[range.clone()], weights: &self.weights[range] }
    }

    /// Bounds for every row.
    pub(super) fn all(&self, context: &Context) -> Result<Vec<f64>> {
        let products = |out: &mut [f32], rows: Range<usize>, columns: Range<usize>| {
            let (left, right) = (self.placed.rows(rows.clone()), self.placed.rows(columns.clone()));
            self.placed.products(out, left, rows.len(), right, columns.len());
        };
        let all = self.side(0..self.placed.len());
        let both = |products: &[f32], row: usize, columns: Range<usize>, across: &mut [f32]| {
            both(products, &all, row, &self.side(columns), across)
        };
        let sums = pairs(self.placed.len(), &products, &both, context)?;
        Ok(sums.into_iter().map(|sum| self.bound(sum)).collect())
    }

    /// Bounds for these rows from scratch, whose lists are kept where they are short and there is room.
    pub(super) fn scratch(&mut self, rows: &[usize], context: &Context) -> Result<Vec<f64>> {
        let mut bounds = Vec::with_capacity(rows.len());
        for rows in rows.chunks(SQUARE) {
            bounds.extend(self.scratch_block(rows, context)?);
        }
        Ok(bounds)
    }

    fn scratch_block(&mut self, rows: &[usize], context: &Context) -> Result<Vec<f64>> {
        let n = self.placed.len();
        let left = self.placed.gather(rows.iter().copied());
        let strips = loops::try_map(n.div_ceil(STRIP), 1, |strip| {
            let mut found: Vec<(f64, List)> = vec![(0.0, Vec::new()); rows.len()];
            let mut out = vec![0.0f32; rows.len() * TILE];
            let end = n.min((strip + 1) * STRIP);
            for start in (strip * STRIP..end).step_by(TILE) {
                context.control.check()?;
                let range = start..end.min(start + TILE);
                let out = &mut out[..rows.len() * range.len()];
                self.placed.products(out, &left, rows.len(), self.placed.rows(range.clone()), range.len());
                let targets = self.side(range.clone());
                for ((products, &row), (sum, list)) in out.chunks_exact_mut(range.len()).zip(rows).zip(&mut found) {
                    *sum += one(products, self.placed.low[row], &targets);
                    if list.len() <= self.longest {
                        collect(products, start, targets.reach, list);
                    }
                }
            }
            Ok(found)
        })?;
        let mut bounds = Vec::with_capacity(rows.len());
        for (at, &row) in rows.iter().enumerate() {
            bounds.push(self.bound(strips.iter().map(|strip| strip[at].0).sum()));
            let entries: usize = strips.iter().map(|strip| strip[at].1.len()).sum();
            if entries <= self.longest && self.lists.entries + entries <= self.room {
                self.lists.entries += entries;
                self.lists.of[row] = Some(strips.iter().flat_map(|strip| &strip[at].1).copied().collect());
            }
        }
        Ok(bounds)
    }

    /// A bound by the row's list, if it has one.
    pub(super) fn listed(&mut self, row: usize) -> Option<f64> {
        let list = self.lists.of[row].as_mut()?;
        let before = list.len();
        list.retain(|&(i, distance)| self.reach[i as usize] > distance);
        self.lists.entries -= before - list.len();
        if list.len() * 2 < list.capacity() {
            list.shrink_to_fit();
        }
        let term = |&(i, distance): &(u32, f32)| {
            f64::from(self.weights[i as usize]) * f64::from(self.reach[i as usize] - distance)
        };
        let sum = list.iter().map(term).sum();
        Some(self.bound(sum))
    }

    /// The targets that may lie nearer to the row than to what is chosen, ascending.
    pub(super) fn support(&self, row: usize) -> Vec<u32> {
        if let Some(list) = &self.lists.of[row] {
            return list.iter().filter(|(i, distance)| self.reach[*i as usize] > *distance).map(|(i, _)| *i).collect();
        }
        let n = self.placed.len();
        let left = self.placed.rows(row..row + 1);
        let strips = loops::map(n.div_ceil(STRIP), 1, |strip| {
            let range = strip * STRIP..n.min((strip + 1) * STRIP);
            let mut out = vec![0.0; range.len()];
            self.placed.products(&mut out, left, 1, self.placed.rows(range.clone()), range.len());
            let mut near = Vec::new();
            for (i, product) in range.zip(out) {
                if self.reach[i] > distance(self.placed.low[i], self.placed.low[row], product) {
                    near.push(i as u32);
                }
            }
            near
        });
        strips.concat()
    }

    /// Tells that these targets lie nearer now: each with its old and its new distance. Bounds made at `at` lack this.
    pub(super) fn nearer(&mut self, at: usize, changed: &[(u32, f64, f64)]) {
        let live = |&&(i, ..): &&(u32, f64, f64)| self.reach[i as usize] > 0.0;
        let changed: Vec<(usize, f64, f64)> =
            changed.iter().filter(live).map(|&(i, old, new)| (i as usize, old, new)).collect();
        self.last = changed.len();
        let each = || changed.iter().map(|&(i, ..)| i);
        if self.few(changed.len()) {
            self.changes.push_back(Change {
                at,
                rows: self.placed.gather(each()),
                high: each().map(|i| self.placed.high[i]).collect(),
                // Those that were rounded up count for nothing here.
                weights: each().map(|i| if self.weights[i] > LIGHTEST { self.weights[i] } else { 0.0 }).collect(),
                old: changed.iter().map(|&(_, old, _)| self.placed.below(old)).collect(),
                // The exact terms are rounded to f64, which matters where a target is nearer by next to nothing.
                less: (changed.iter())
                    .map(|&(_, old, new)| {
                        let less = (old - new - old * 1e-14) / self.placed.unit();
                        ((less * (1.0 - 8.0 * ROUNDOFF)) as f32).max(0.0)
                    })
                    .collect(),
            });
        } else {
            self.changes.clear();
        }
        while self.changes.iter().map(|change| change.less.len()).sum::<usize>() > self.placed.len() {
            self.changes.pop_front();
        }
        for &(i, _, new) in &changed {
            self.reach[i] = self.placed.above(new);
        }
    }

    /// Whether so many changed targets are fewer than is worth to remember.
    fn few(&self, targets: usize) -> bool {
        targets * 2 <= self.placed.len()
    }

    /// Whether the last pick changed so much that bounds for every row are best made anew.
    pub(super) fn all_changed(&self) -> bool {
        !self.few(self.last)
    }

    /// Whether a bound made at `at` is better brought up to date by what changed than from scratch.
    pub(super) fn remembers(&self, at: usize) -> bool {
        // A list pays soon once it is short: the last pick's would have been this long.
        self.last > self.longest && self.changes.front().is_some_and(|first| first.at <= at)
    }

    /// What the pick that bounds made at `at` lack took off the gains of these rows at least; none where it is forgotten.
    pub(super) fn taken(&self, at: usize, rows: &[usize], context: &Context) -> Result<Vec<f64>> {
        let Some(change) = self.changes.iter().find(|change| change.at == at) else {
            return Ok(vec![0.0; rows.len()]);
        };
        let blocks = loops::try_map(rows.len().div_ceil(SQUARE), 1, |block| {
            let rows = &rows[block * SQUARE..rows.len().min((block + 1) * SQUARE)];
            let mut sums = vec![0.0f64; rows.len()];
            let mut out = vec![0.0f32; rows.len() * TILE];
            let left = self.placed.gather(rows.iter().copied());
            let columns = left.len() / rows.len();
            for start in (0..change.less.len()).step_by(TILE) {
                context.control.check()?;
                let range = start..change.less.len().min(start + TILE);
                let out = &mut out[..rows.len() * range.len()];
                let right = &change.rows[range.start * columns..range.end * columns];
                self.placed.products(out, &left, rows.len(), right, range.len());
                for ((products, &row), sum) in out.chunks_exact(range.len()).zip(rows).zip(&mut sums) {
                    *sum += change.taken(products, self.placed.high[row], range.start);
                }
            }
            Ok(sums)
        })?;
        let margin = |sum: f64| sum * (1.0 - SUM) * self.unit;
        Ok(blocks.into_iter().flatten().map(margin).collect())
    }
}
