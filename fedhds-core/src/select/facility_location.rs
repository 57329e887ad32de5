//! Rows that together lie near everything.

use super::rows::{Groups, check_rows, row_ids, squared_distance};
use crate::error::Result;
use crate::loops;
use crate::stage::{Budget, Nearness, Rows, Selector};
use crate::types::{Context, RowId};
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

/// An upper bound on a row's gain, made when `chosen` rows had been taken.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    gain: f64,
    row: usize,
    chosen: usize,
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

/// `count` of the rows (all where there are fewer), in the order taken. O(n (n + covered) d) for the first, less for each further
/// one; memory O(n).
fn greedy(all: &Rows<'_>, rows: &[usize], count: usize, context: &Context) -> Result<Vec<usize>> {
    let points = all.points;
    if count >= rows.len() {
        return Ok(rows.to_vec());
    }
    let distance = |a: usize, b: usize| squared_distance(points.row(a), points.row(b)).sqrt();
    // Before anything is chosen every row lies this far from "the nearest chosen": farther than any two rows lie apart,
    // so that the first gain ranks rows by their weighted sum of distances.
    let far = 2.0 * rows.iter().map(|&row| distance(row, rows[0])).fold(0.0, f64::max);
    let start = |&row: &usize| covered_distance(all, row).unwrap_or(far);
    let mut nearest = loops::map(rows.len(), 64, |at| start(&rows[at]));
    let gain = |row: usize, nearest: &[f64]| -> f64 {
        rows.iter().zip(nearest).map(|(&i, &near)| f64::from(all.weight(i)) * (near - distance(i, row)).max(0.0)).sum()
    };
    let first = loops::try_map(rows.len(), 1, |at| {
        context.control.check()?;
        Ok(gain(rows[at], &nearest))
    })?;
    let bound = |(&row, gain): (&usize, f64)| Bound { gain, row, chosen: 0 };
    let mut heap: BinaryHeap<Bound> = rows.iter().zip(first).map(bound).collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count
        && let Some(bound) = heap.pop()
    {
        if bound.chosen < chosen.len() {
            context.control.check()?;
            heap.push(Bound { gain: gain(bound.row, &nearest), chosen: chosen.len(), ..bound });
            continue;
        }
        for (&i, near) in rows.iter().zip(&mut nearest) {
            *near = near.min(distance(i, bound.row));
        }
        all.took(bound.row, bound.gain);
        chosen.push(bound.row);
    }
    Ok(chosen)
}

/// Distance of a row to the nearest covered point; none where nothing is covered.
pub(super) fn covered_distance(all: &Rows<'_>, row: usize) -> Option<f64> {
    let points = &all.covered?.points;
    let distances = points.iter_rows().map(|point| squared_distance(all.points.row(row), point));
    distances.min_by(f64::total_cmp).map(f64::sqrt)
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
mod tests {
    use super::*;
    use crate::select::testing::Told;
    use crate::stage::{Covered, Watch};
    use crate::types::Matrix;
    use proptest::prelude::*;

    fn pick(points: &Matrix, weights: &[f32], total: usize) -> Vec<RowId> {
        FacilityLocation.select(&Rows::new(points).weights(weights), Budget::Total(total), &Context::new(0)).unwrap()
    }

    /// The definition, without laziness: the row that leaves the smallest weighted sum of distances.
    fn plain_greedy(points: &Matrix, weights: &[f32], total: usize) -> Vec<RowId> {
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < total.min(points.rows()) {
            let cost = |candidate: usize| -> f64 {
                (0..points.rows())
                    .map(|i| {
                        let near = chosen.iter().chain([&candidate]);
                        let d = near.map(|&j| squared_distance(points.row(i), points.row(j)).sqrt());
                        f64::from(weights[i]) * d.fold(f64::INFINITY, f64::min)
                    })
                    .sum()
            };
            let best = (0..points.rows())
                .filter(|row| !chosen.contains(row))
                .min_by(|&a, &b| cost(a).total_cmp(&cost(b)).then(a.cmp(&b)))
                .unwrap();
            chosen.push(best);
        }
        row_ids(chosen)
    }

    #[test]
    fn the_first_is_the_medoid_and_weights_move_it() {
        let points = Matrix::new(5, 1, vec![0.0, 1.0, 2.0, 3.0, 10.0]).unwrap();
        assert_eq!(pick(&points, &[1.0; 5], 1), [RowId(2)]);
        assert_eq!(pick(&points, &[1.0, 1.0, 1.0, 1.0, 100.0], 1), [RowId(4)]);
        assert_eq!(pick(&points, &[1.0; 5], 2), [RowId(2), RowId(4)]);
    }

    #[test]
    fn duplicates_do_not_shorten_the_answer() {
        let points = Matrix::new(6, 1, vec![1.0; 6]).unwrap();
        assert_eq!(pick(&points, &[1.0; 6], 3), [RowId(0), RowId(1), RowId(2)]);
        assert_eq!(pick(&points, &[0.0; 6], 2), [RowId(0), RowId(1)]);
        assert!(pick(&Matrix::zeros(0, 3), &[], 4).is_empty());
        assert_eq!(pick(&points, &[1.0; 6], 60).len(), 6);
    }

    #[test]
    fn what_is_covered_comes_last() {
        let points = Matrix::new(6, 1, vec![0.0, 1.0, 2.0, 50.0, 51.0, 100.0]).unwrap();
        let covered = Covered { points: Matrix::new(2, 1, vec![1.0, 100.0]).unwrap(), mass: vec![1.0, 3.0] };
        let rows = Rows::new(&points).covered(&covered);
        let pick = |total| FacilityLocation.select(&rows, Budget::Total(total), &Context::new(0)).unwrap();
        // Of the rows that nothing covers, then those at distance 1, the lower row first.
        assert_eq!(pick(1), [RowId(3)]);
        assert_eq!(pick(2), [RowId(0), RowId(3)]);
        assert_eq!(pick(6).len(), 6);
        let nothing = Covered { points: Matrix::zeros(0, 0), mass: Vec::new() };
        let rows = Rows::new(&points).covered(&nothing);
        let first = FacilityLocation.select(&rows, Budget::Total(1), &Context::new(0)).unwrap();
        assert_eq!(first, FacilityLocation.select(&Rows::new(&points), Budget::Total(1), &Context::new(0)).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn laziness_changes_nothing(
            // Integers, so that no rounding decides between the two ways of summing; the weights keep ties rare.
            values in proptest::collection::vec((-50i16..50, 1u8..100), 1..25), total in 1usize..12,
        ) {
            let points = Matrix::new(values.len(), 1, values.iter().map(|v| f32::from(v.0)).collect()).unwrap();
            let weights: Vec<f32> = values.iter().map(|v| f32::from(v.1)).collect();
            prop_assert_eq!(pick(&points, &weights, total), plain_greedy(&points, &weights, total));
            // The order that it says: each takes so much off the weighted sum of distances, from the second on.
            let told = Told::default();
            let rows = Rows::new(&points).weights(&weights).watch(&told as &dyn Watch);
            FacilityLocation.select(&rows, Budget::Total(total), &Context::new(0)).unwrap();
            let said = told.take();
            prop_assert_eq!(said.len(), if total < values.len() { total } else { 0 });
            let cost = |chosen: &[(usize, f64)]| -> f64 {
                let distance = |at: i16, row: usize| f64::from((f32::from(at) - points.row(row)[0]).abs());
                let nearest = |at| chosen.iter().map(|(row, _)| distance(at, *row)).fold(f64::INFINITY, f64::min);
                values.iter().map(|&(at, weight)| f64::from(weight) * nearest(at)).sum()
            };
            for at in 1..said.len() {
                prop_assert!((cost(&said[..at]) - cost(&said[..=at]) - said[at].1).abs() < 1e-6, "{:?}", said);
            }
        }
    }
}
