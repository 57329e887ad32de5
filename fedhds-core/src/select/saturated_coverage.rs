//! Rows near what is least covered, over all rounds.

use super::coverage_gains::{Curve, Gains, products};
use super::rows::{Groups, check_rows, row_ids};
use crate::error::{Error, Result};
use crate::loops;
use crate::stage::{Budget, Covered, Nearness, Room, Rows, Selector};
use crate::types::{ClientId, Context, Matrix, RowId};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// Rows near what is least covered: greedy maximisation of a coverage that saturates but never ends.
///
/// Target i ([`Rows::targets`], else the rows, each weighing the square root of its weight) is covered
/// `H_i = sum_j n_j s(i, j)` by the records `n_j` of earlier rounds ([`Rows::covered`]) and of this one, and counts
/// `w_i phi(H_i)` with `phi(h) = 1 - 2^-h`: each further record near it is worth half as much. The similarity is
/// `s(a, b) = max(0, (cos(a, b) - t) / (1 - t))`. The gain of a record of row j is then `sum_i w_i 2^-H_i (1 - 2^-s(i, j))`; it is
/// monotone and submodular, so that the greedy choice reaches at least 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978), and
/// gains computed earlier are upper bounds (lazy greedy, Minoux 1978). It never reaches 0: where everything is covered once, what is
/// least covered comes next, and a row may give several records in one round.
///
/// Bounds by f32 products leave few rows to look at in f64; what decides is the exact gain alone. Memory is O((n + m) d) for m targets.
///
/// Equal gains go to the smaller key ([`Rows::keys`]), then to the lower row. A total ignores the groups; with [`Budget::PerCluster`] it runs
/// within each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SaturatedCoverage {
    /// Cosine below which two points say nothing of each other, in [-1, 1); default 0.1.
    pub threshold: f32,
}

impl Default for SaturatedCoverage {
    fn default() -> Self {
        Self { threshold: 0.1 }
    }
}

impl SaturatedCoverage {
    /// # Errors
    /// [`Error::Parameter`] for a threshold outside its range.
    pub fn check(&self) -> Result<()> {
        if (-1.0..1.0).contains(&self.threshold) {
            return Ok(());
        }
        Err(Error::parameter("threshold", "at least -1 and below 1", self.threshold))
    }

    pub(super) fn similarity(&self, a: &[f32], b: &[f32]) -> f64 {
        let dot: f64 = a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        let t = f64::from(self.threshold);
        ((dot - t) / (1.0 - t)).clamp(0.0, 1.0)
    }

    /// `counts[row]` for rows that may give `room`, together `total` where there is so much room.
    fn greedy(&self, all: &Rows<'_>, room: &Room<'_>, total: usize, context: &Context) -> Result<Vec<u32>> {
        self.check()?;
        let rows = units(all.points);
        let own: Vec<f32>;
        let others = all.targets.map(|targets| units(&targets.points));
        let weights = match all.targets {
            Some(targets) => targets.weights.as_slice(),
            None => {
                own = (0..all.len()).map(|row| all.weight(row).sqrt()).collect();
                own.as_slice()
            }
        };
        let targets = others.as_ref().unwrap_or(&rows);
        let curve = Curve::new(self.threshold, rows.cols());
        let left = self.left(all, targets, weights, curve, context)?;
        let gains = Gains::new(&rows, others.as_ref(), curve, &left);
        let open: Vec<usize> = (0..all.len()).filter(|&row| room.of_rows[row] > 0).collect();
        let bounds = if open.len() * 2 > all.len() {
            let bounds = gains.all(context)?;
            open.iter().map(|&row| bounds[row]).collect()
        } else {
            gains.some(&open, context)?
        };
        let key = |row: usize| all.keys.get(row).copied().unwrap_or_default();
        let bound = |(&row, gain): (&usize, f64)| Bound { gain, key: key(row), row, taken: 0, exact: false };
        let mut heap: BinaryHeap<Bound> = open.iter().zip(bounds).map(bound).collect();
        let mut greedy = Greedy { selector: self, targets, left, gains, taken: 0 };
        let mut owners: BTreeMap<ClientId, u32> = room.of_owners.clone();
        let mut counts = vec![0u32; all.len()];
        let (mut together, mut last, mut looked) = (TOGETHER, None, 0);
        while greedy.taken < total
            && let Some(best) = if looked < MOST_LOOKED_AT { heap.pop() } else { best_exact(&mut heap, greedy.taken) }
        {
            context.control.check()?;
            let owner = all.owners.get(best.row).and_then(|owner| owners.get_mut(owner));
            if owner.as_ref().is_some_and(|room| **room == 0) {
                continue; // this owner gives no more
            }
            if best.taken < greedy.taken {
                greedy.refresh(best, &mut heap, together, context)?;
                together = all.len().min(together * 2);
                continue;
            }
            let similar = match last.take() {
                Some((row, similar)) if row == best.row => similar,
                _ => greedy.similar(best.row),
            };
            if !best.exact {
                heap.push(Bound { gain: greedy.gain(&similar), exact: true, ..best });
                last = Some((best.row, similar));
                looked += 1;
                continue;
            }
            looked = 0;
            if let Some(room) = owner {
                *room -= 1;
            }
            counts[best.row] += 1;
            all.took(best.row, best.gain);
            greedy.take(&similar);
            together = TOGETHER;
            if counts[best.row] < room.of_rows[best.row] {
                // What it gains the next time.
                heap.push(Bound { gain: greedy.gain(&similar), taken: greedy.taken, exact: true, ..best });
                last = Some((best.row, similar));
            }
        }
        Ok(counts)
    }

    /// What is left to cover at each target: `w_i 2^-H_i`.
    fn left(
        &self,
        all: &Rows<'_>,
        targets: &Matrix,
        weights: &[f32],
        curve: Curve,
        context: &Context,
    ) -> Result<Vec<f64>> {
        /// Targets of a task, and covered points of a product.
        const SIDES: (usize, usize) = (16, 1024);
        let none = Covered::default();
        let covered = all.covered.unwrap_or(&none);
        let points = units(&covered.points);
        let blocks = loops::try_map(targets.rows().div_ceil(SIDES.0), 1, |block| {
            let range = block * SIDES.0..targets.rows().min((block + 1) * SIDES.0);
            let mut h = vec![0.0f64; range.len()];
            let mut out = vec![0.0f32; SIDES.0 * SIDES.1];
            for start in (0..points.rows()).step_by(SIDES.1) {
                context.control.check()?;
                let columns = start..points.rows().min(start + SIDES.1);
                let out = &mut out[..range.len() * columns.len()];
                products(out, targets, range.clone(), &points, columns.clone());
                for ((i, h), products) in range.clone().zip(&mut h).zip(out.chunks_exact(columns.len())) {
                    // Points that are not similar add nothing.
                    for (j, _) in columns.clone().zip(products).filter(|(_, product)| curve.similar(**product)) {
                        *h += f64::from(covered.mass[j]) * self.similarity(targets.row(i), points.row(j));
                    }
                }
            }
            Ok(range.zip(h).map(|(i, h)| f64::from(weights[i]) * (-h).exp2()).collect::<Vec<f64>>())
        })?;
        Ok(blocks.concat())
    }
}

/// Bounds that are brought up to date together at first; twice as many each further time before a record is taken.
const TOGETHER: usize = 64;

/// The most rows whose gain is looked at in f64 before a record is taken. More lie as near to each other only where somebody puts them
/// there: then the best of these is taken, which is the best of all but for the rounding of bounds, and the cost stays that of the bounds.
const MOST_LOOKED_AT: usize = 1024;

/// Takes out the best of the rows whose gain was looked at since the last record was taken.
fn best_exact(heap: &mut BinaryHeap<Bound>, taken: usize) -> Option<Bound> {
    let mut bounds = std::mem::take(heap).into_vec();
    let exact = bounds.iter().enumerate().filter(|(_, bound)| bound.exact && bound.taken == taken);
    let best = exact.max_by(|a, b| a.1.cmp(b.1)).map(|(at, _)| at);
    let best = best.map(|at| bounds.swap_remove(at));
    *heap = bounds.into();
    best
}

/// A greedy choice under way.
struct Greedy<'a> {
    selector: &'a SaturatedCoverage,
    targets: &'a Matrix,
    /// What is left to cover at each target.
    left: Vec<f64>,
    gains: Gains<'a>,
    /// Records taken.
    taken: usize,
}

impl Greedy<'_> {
    /// The targets that the row may be similar to, ascending, with their similarities.
    fn similar(&self, row: usize) -> Vec<(u32, f64)> {
        let (support, row_of) = (self.gains.support(row), self.gains.rows.row(row));
        let similarity = |i: u32| self.selector.similarity(self.targets.row(i as usize), row_of);
        loops::map(support.len(), 64, |at| (support[at], similarity(support[at])))
    }

    /// The gain, summed in the order of the targets: all others gain nothing.
    fn gain(&self, similar: &[(u32, f64)]) -> f64 {
        similar.iter().fold(0.0, |sum, &(i, s)| sum + self.left[i as usize] * (1.0 - (-s).exp2()))
    }

    /// Takes a record of a row.
    fn take(&mut self, similar: &[(u32, f64)]) {
        similar.iter().for_each(|&(i, s)| self.left[i as usize] *= (-s).exp2());
        self.gains.set(&self.left);
        self.taken += 1;
    }

    /// Brings `first` up to date, and what follows it in the heap, up to `most` of them, as long as it is not.
    fn refresh(&self, first: Bound, heap: &mut BinaryHeap<Bound>, most: usize, context: &Context) -> Result<()> {
        let mut bounds = vec![first];
        while bounds.len() < most
            && heap.peek().is_some_and(|next| next.taken < self.taken)
            && let Some(next) = heap.pop()
        {
            bounds.push(next);
        }
        let rows: Vec<usize> = bounds.iter().map(|bound| bound.row).collect();
        let gains = self.gains.some(&rows, context)?;
        let anew = |(bound, gain): (Bound, f64)| Bound {
            gain: gain.min(bound.gain),
            taken: self.taken,
            exact: false,
            ..bound
        };
        heap.extend(bounds.into_iter().zip(gains).map(anew));
        Ok(())
    }
}

/// The rows scaled to length 1; a row of zeros stays.
pub(super) fn units(points: &Matrix) -> Matrix {
    let mut points = points.clone();
    for i in 0..points.rows() {
        let row = points.row_mut(i);
        let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
        }
    }
    points
}

/// An upper bound on a row's gain, made when `taken` records had been taken.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    gain: f64,
    key: u64,
    row: usize,
    taken: usize,
    /// Whether it was the gain itself.
    exact: bool,
}

impl Eq for Bound {}

impl Ord for Bound {
    /// The larger gain first, then the smaller key, then the lower row.
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |bound: &Self| Reverse((bound.key, bound.row));
        self.gain.total_cmp(&other.gain).then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Selector for SaturatedCoverage {
    fn select(&self, all: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let none = BTreeMap::new();
        let mut chosen = Vec::new();
        let (parts, count) = match budget {
            Budget::Total(total) => (vec![(0..all.len()).collect::<Vec<usize>>()], total),
            Budget::PerCluster(count) => (Groups::of(all).clusters, count),
        };
        for part in parts {
            let mut open = vec![0; all.len()];
            part.iter().for_each(|&row| open[row] = 1);
            let counts = self.greedy(all, &Room::new(&open, &none), count, context)?;
            chosen.extend((0..all.len()).filter(|&row| counts[row] > 0));
        }
        Ok(row_ids(chosen))
    }

    fn uses_groups(&self) -> bool {
        false
    }

    fn uses_covered(&self) -> bool {
        true
    }

    fn allocate(&self, all: &Rows<'_>, room: &Room<'_>, total: usize, context: &Context) -> Result<Option<Vec<u32>>> {
        check_rows(all)?;
        if room.of_rows.len() != all.len() {
            return Err(Error::input("room: of_rows", format!("{}, one per row", all.len()), room.of_rows.len()));
        }
        self.greedy(all, room, total, context).map(Some)
    }

    fn nearness(&self) -> Option<Nearness> {
        Some(Nearness::Similarity { threshold: self.threshold })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
