//! Rows that together lie near everything.

use super::bounds::{self, Placed};
use super::facility_gains::Gains;
use super::rows::{Groups, check_rows, row_ids, squared_distance};
use crate::error::Result;
use crate::loops;
use crate::sorting;
use crate::stage::{Budget, Nearness, Rows, Selector};
use crate::types::{Context, Matrix, RowId};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Rows that together lie near everything: greedy facility location, each row weighted by the records it stands for.
///
/// It takes, one after the other, the row that lowers `sum_i w_i min_{j chosen} |x_i - x_j|` (Euclidean) the most. The gain
/// is monotone and submodular, so the greedy set reaches at least 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978), and
/// gains computed earlier are upper bounds: a heap of them recomputes only what could win (lazy greedy, Minoux 1978).
/// The first row is the weighted medoid. Equal gains go to the lower row.
///
/// A total ignores the groups: coverage of the rows themselves is what is asked for. With [`Budget::PerCluster`] it runs
/// within each group, which spreads several picks of a group over it. Where earlier rounds have covered points
/// ([`Rows::covered`]), these count as chosen from the start, so that rows far from all of them come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FacilityLocation;

/// An upper bound on a row's gain.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    gain: f64,
    row: usize,
    /// [`Greedy::now`] when it was made; 0 for the roughest.
    made: usize,
    /// Whether it was the gain itself.
    exact: bool,
}

impl Eq for Bound {}

impl Ord for Bound {
    /// The larger gain first, then the lower row.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(Reverse(self.row).cmp(&Reverse(other.row)))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bounds that are brought up to date together at first; twice as many each further time before a row is taken.
const TOGETHER: usize = 64;

/// A greedy choice under way. Rows are numbered by their place in `rows`.
struct Greedy<'a> {
    all: &'a Rows<'a>,
    rows: &'a [usize],
    /// Distance of each row to the nearest chosen.
    nearest: Vec<f64>,
    gains: Gains,
    heap: BinaryHeap<Bound>,
    chosen: Vec<usize>,
}

impl Greedy<'_> {
    /// A number for how many rows are chosen, from 1 on.
    fn now(&self) -> usize {
        self.chosen.len() + 1
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        squared_distance(self.all.points.row(self.rows[a]), self.all.points.row(self.rows[b])).sqrt()
    }

    /// The targets that may gain by the row, ascending, with their distances to it.
    fn distances(&self, row: usize) -> Vec<(u32, f64)> {
        let support = self.gains.support(row);
        loops::map(support.len(), 64, |at| (support[at], self.distance(support[at] as usize, row)))
    }

    /// The gain, summed in the order of the rows: all others gain nothing.
    fn gain(&self, distances: &[(u32, f64)]) -> f64 {
        let term = |&(i, distance): &(u32, f64)| {
            let i = i as usize;
            f64::from(self.all.weight(self.rows[i])) * (self.nearest[i] - distance).max(0.0)
        };
        distances.iter().map(term).fold(0.0, |sum, term| sum + term)
    }

    /// Takes a row.
    fn take(&mut self, row: usize, distances: &[(u32, f64)], context: &Context) -> Result<()> {
        let mut changed = Vec::new();
        for &(i, distance) in distances {
            let near = &mut self.nearest[i as usize];
            if distance < *near {
                changed.push((i, *near, distance));
                *near = distance;
            }
        }
        self.gains.nearer(self.now(), &changed);
        self.chosen.push(row);
        if self.gains.all_changed() { self.refresh_all(context) } else { Ok(()) }
    }

    /// Brings every bound up to date.
    fn refresh_all(&mut self, context: &Context) -> Result<()> {
        let bounds = self.gains.all(context)?;
        let now = self.now();
        let anew = |bound: Bound| Bound { gain: bounds[bound.row].min(bound.gain), made: now, exact: false, ..bound };
        self.heap = std::mem::take(&mut self.heap).into_iter().map(anew).collect();
        Ok(())
    }

    /// Brings `first` up to date or nearer to it, and what follows it in the heap, up to `most` of them, as long as it is not.
    fn refresh(&mut self, first: Bound, most: usize, context: &Context) -> Result<()> {
        let now = self.now();
        let mut next = Some(first);
        let (mut changed, mut scratch, mut done) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(bound) = next {
            if let Some(gain) = self.gains.listed(bound.row) {
                done.push(Bound { gain: gain.min(bound.gain), made: now, exact: false, ..bound });
            } else if self.gains.remembers(bound.made) {
                changed.push(bound);
            } else {
                scratch.push(bound);
            }
            let more = done.len() + changed.len() + scratch.len() < most;
            next = if more && self.heap.peek().is_some_and(|next| next.made < now) { self.heap.pop() } else { None };
        }
        // Either gain is summed in f64.
        let above = 1.0 + self.rows.len() as f64 * 2.0 * f64::EPSILON;
        // One pick at a time: most rows cannot win any more after the first.
        sorting::sort_by(&mut changed, |a, b| a.made.cmp(&b.made));
        for bounds in changed.chunk_by(|a, b| a.made == b.made) {
            let at = bounds[0].made;
            let rows: Vec<usize> = bounds.iter().map(|bound| bound.row).collect();
            for (&bound, taken) in bounds.iter().zip(self.gains.taken(at, &rows, context)?) {
                let gain = ((bound.gain * above - taken) * above).clamp(0.0, bound.gain);
                done.push(Bound { gain, made: at + 1, exact: false, ..bound });
            }
        }
        let rows: Vec<usize> = scratch.iter().map(|bound| bound.row).collect();
        for (bound, gain) in scratch.into_iter().zip(self.gains.scratch(&rows, context)?) {
            done.push(Bound { gain: gain.min(bound.gain), made: now, exact: false, ..bound });
        }
        self.heap.extend(done);
        Ok(())
    }
}

/// `count` of the rows (all where there are fewer), in the order taken. At most O(n d (n + covered)) for each, far less but for the
/// first few; memory O(n d).
fn greedy(all: &Rows<'_>, rows: &[usize], count: usize, context: &Context) -> Result<Vec<usize>> {
    let points = all.points;
    if count >= rows.len() {
        return Ok(rows.to_vec());
    }
    let distance = |a: usize, b: usize| squared_distance(points.row(a), points.row(b)).sqrt();
    // Before anything is chosen every row lies this far from "the nearest chosen": farther than any two rows lie apart,
    // so that the first gain ranks rows by their weighted sum of distances.
    let far = 2.0 * rows.iter().map(|&row| distance(row, rows[0])).fold(0.0, f64::max);
    let covered = all.covered.map(|covered| &covered.points).filter(|points| points.rows() > 0);
    let nearest = match covered {
        Some(points) => covered_distances(all, rows, points, context)?,
        None => vec![far; rows.len()],
    };
    let weights: Vec<f32> = rows.iter().map(|&row| all.weight(row)).collect();
    let placed = Placed::new(rows.len(), points.cols(), |at| points.row(rows[at]));
    let gains = Gains::new(placed, &weights, &nearest);
    let rough = if covered.is_none() { gains.first(&context.control)? } else { None };
    let made = usize::from(rough.is_none());
    let first = rough.map_or_else(|| gains.all(context), Ok)?;
    let bound = |(row, gain): (usize, f64)| Bound { gain, row, made, exact: false };
    let heap = first.into_iter().enumerate().map(bound).collect();
    let mut greedy = Greedy { all, rows, nearest, gains, heap, chosen: Vec::with_capacity(count) };
    let (mut together, mut last) = (TOGETHER, None);
    while greedy.chosen.len() < count
        && let Some(bound) = greedy.heap.pop()
    {
        context.control.check()?;
        if bound.made == 0 && together * 8 > rows.len() {
            // So many could be the first: then all of them at once.
            greedy.heap.push(bound);
            greedy.refresh_all(context)?;
        } else if bound.made < greedy.now() {
            greedy.refresh(bound, together, context)?;
            together = rows.len().min(together * 2);
        } else if bound.exact {
            let distances = match last.take() {
                Some((row, distances)) if row == bound.row => distances,
                _ => greedy.distances(bound.row),
            };
            all.took(rows[bound.row], bound.gain);
            greedy.take(bound.row, &distances, context)?;
            together = TOGETHER;
        } else {
            let distances = greedy.distances(bound.row);
            greedy.heap.push(Bound { gain: greedy.gain(&distances), exact: true, ..bound });
            last = Some((bound.row, distances));
        }
    }
    Ok(greedy.chosen.into_iter().map(|row| rows[row]).collect())
}

/// Distance of a row to the nearest covered point; none where nothing is covered.
pub(super) fn covered_distance(all: &Rows<'_>, row: usize) -> Option<f64> {
    let points = &all.covered?.points;
    let distances = points.iter_rows().map(|point| squared_distance(all.points.row(row), point));
    distances.min_by(f64::total_cmp).map(f64::sqrt)
}

/// [`covered_distance`] of each of these rows: exact for the covered points alone that could be the nearest.
fn covered_distances(all: &Rows<'_>, rows: &[usize], covered: &Matrix, context: &Context) -> Result<Vec<f64>> {
    /// Rows of one task.
    const BLOCK: usize = 16;
    let (n, m) = (rows.len(), covered.rows());
    let row = |at: usize| if at < m { covered.row(at) } else { all.points.row(rows[at - m]) };
    let placed = Placed::new(m + n, all.points.cols(), row);
    let blocks = loops::try_map(n.div_ceil(BLOCK), 1, |block| {
        context.control.check()?;
        let block = m + block * BLOCK..(m + n).min(m + (block + 1) * BLOCK);
        let mut out = vec![0.0; block.len() * m];
        placed.products(&mut out, placed.rows(block.clone()), block.len(), placed.rows(0..m), m);
        let nearest = block.zip(out.chunks_exact_mut(m)).map(|(at, products)| {
            let mut first = 0;
            for point in 0..m {
                products[point] = bounds::distance(placed.low[point], placed.low[at], products[point]);
                first = if products[point] < products[first] { point } else { first };
            }
            let mut best = squared_distance(row(at), covered.row(first));
            let mut within = placed.above(best.sqrt());
            for (point, &low) in products.iter().enumerate() {
                let squared = if low < within { squared_distance(row(at), covered.row(point)) } else { f64::INFINITY };
                if squared < best {
                    best = squared;
                    within = placed.above(best.sqrt());
                }
            }
            best.sqrt()
        });
        Ok(nearest.collect::<Vec<f64>>())
    })?;
    Ok(blocks.concat())
}

impl Selector for FacilityLocation {
    fn select(&self, all: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let chosen = match budget {
            Budget::Total(total) => {
                let rows: Vec<usize> = (0..all.len()).collect();
                greedy(all, &rows, total, context)?
            }
            Budget::PerCluster(count) => {
                let mut chosen = Vec::new();
                for rows in Groups::of(all).clusters {
                    chosen.extend(greedy(all, &rows, count, context)?);
                }
                chosen
            }
        };
        Ok(row_ids(chosen))
    }

    fn uses_groups(&self) -> bool {
        false
    }

    fn uses_covered(&self) -> bool {
        true
    }

    fn nearness(&self) -> Option<Nearness> {
        Some(Nearness::Distance)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
