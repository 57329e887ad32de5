//! Rows that together lie near everything.

use super::candidates::{Groups, check_candidates, row_ids, squared_distance};
use crate::error::Result;
use crate::stage::{Budget, Candidates, Selector};
use crate::types::{Context, Matrix, RowId};
use rayon::prelude::*;
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
/// within each group, which spreads several picks of a group over it.
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

/// `count` of the rows (all where there are fewer), in the order taken. O(n^2 d) for the first, less for each further one;
/// memory O(n).
fn greedy(points: &Matrix, weights: &[f32], rows: &[usize], count: usize, context: &Context) -> Result<Vec<usize>> {
    if count >= rows.len() {
        return Ok(rows.to_vec());
    }
    let distance = |a: usize, b: usize| squared_distance(points.row(a), points.row(b)).sqrt();
    // Before anything is chosen every row lies this far from "the nearest chosen": farther than any two rows lie apart,
    // so that the first gain ranks rows by their weighted sum of distances.
    let far = 2.0 * rows.iter().map(|&row| distance(row, rows[0])).fold(0.0, f64::max);
    let mut nearest = vec![far; rows.len()];
    let gain = |row: usize, nearest: &[f64]| -> f64 {
        rows.iter().zip(nearest).map(|(&i, &near)| f64::from(weights[i]) * (near - distance(i, row)).max(0.0)).sum()
    };
    let first: Result<Vec<Bound>> = rows
        .par_iter()
        .map(|&row| {
            context.control.check()?;
            Ok(Bound { gain: gain(row, &nearest), row, chosen: 0 })
        })
        .collect();
    let mut heap = BinaryHeap::from(first?);
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
        chosen.push(bound.row);
    }
    Ok(chosen)
}

impl Selector for FacilityLocation {
    fn select(&self, candidates: &Candidates<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_candidates(candidates)?;
        let (points, weights) = (candidates.points, candidates.weights);
        let chosen = match budget {
            Budget::Total(total) => {
                let rows: Vec<usize> = (0..points.rows()).collect();
                greedy(points, weights, &rows, total, context)?
            }
            Budget::PerCluster(count) => {
                let mut chosen = Vec::new();
                for rows in Groups::of(candidates).clusters {
                    chosen.extend(greedy(points, weights, &rows, count, context)?);
                }
                chosen
            }
        };
        Ok(row_ids(chosen))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pick(points: &Matrix, weights: &[f32], total: usize) -> Vec<RowId> {
        let candidates = Candidates { points, weights, clustering: None, owners: &[] };
        FacilityLocation.select(&candidates, Budget::Total(total), &Context::new(0)).unwrap()
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
        }
    }
}
