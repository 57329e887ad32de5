//! Rows near what is least covered, over all rounds.

use super::rows::{Groups, check_rows, row_ids};
use crate::error::{Error, Result};
use crate::loops;
use crate::stage::{Budget, Nearness, Room, Rows, Selector};
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
        let (targets, weights) = match all.targets {
            Some(targets) => (units(&targets.points), targets.weights.as_slice()),
            None => {
                own = (0..all.len()).map(|row| all.weight(row).sqrt()).collect();
                (rows.clone(), own.as_slice())
            }
        };
        // What is left to cover at each target: w_i 2^-H_i.
        let covered = all.covered.map(|covered| (units(&covered.points), covered.mass.as_slice()));
        let mut left = loops::try_map(targets.rows(), 16, |i| {
            context.control.check()?;
            let covered = covered.iter().flat_map(|(points, mass)| points.iter_rows().zip(*mass));
            let h: f64 = covered.map(|(point, &mass)| f64::from(mass) * self.similarity(targets.row(i), point)).sum();
            Ok(f64::from(weights[i]) * (-h).exp2())
        })?;
        let similar = loops::try_map(all.len(), 1, |row| {
            context.control.check()?;
            Ok(targets.iter_rows().map(|target| self.similarity(target, rows.row(row))).collect::<Vec<f64>>())
        })?;
        let gain = |row: usize, left: &[f64]| -> f64 {
            left.iter().zip(&similar[row]).map(|(left, s)| left * (1.0 - (-s).exp2())).sum()
        };
        let bound = |row: usize, taken: usize, left: &[f64]| Bound {
            gain: gain(row, left),
            key: all.keys.get(row).copied().unwrap_or_default(),
            row,
            taken,
        };
        let open = (0..all.len()).filter(|&row| room.of_rows[row] > 0);
        let mut heap: BinaryHeap<Bound> = open.map(|row| bound(row, 0, &left)).collect();
        let mut owners: BTreeMap<ClientId, u32> = room.of_owners.clone();
        let (mut counts, mut taken) = (vec![0u32; all.len()], 0);
        while taken < total
            && let Some(best) = heap.pop()
        {
            let owner = all.owners.get(best.row).and_then(|owner| owners.get_mut(owner));
            if owner.as_ref().is_some_and(|room| **room == 0) {
                continue; // this owner gives no more
            }
            if best.taken < taken {
                context.control.check()?;
                heap.push(bound(best.row, taken, &left));
                continue;
            }
            if let Some(room) = owner {
                *room -= 1;
            }
            counts[best.row] += 1;
            taken += 1;
            all.took(best.row, best.gain);
            left.iter_mut().zip(&similar[best.row]).for_each(|(left, s)| *left *= (-s).exp2());
            if counts[best.row] < room.of_rows[best.row] {
                heap.push(bound(best.row, taken, &left));
            }
        }
        Ok(counts)
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
mod tests {
    use super::*;
    use crate::select::covered_before;
    use crate::select::testing::Told;
    use crate::stage::{Coverage, Covered, Targets, Watch};
    use proptest::prelude::*;

    /// Points on the unit circle at these angles, in degrees.
    fn at(angles: &[f32]) -> Matrix {
        let rows: Vec<[f32; 2]> = angles.iter().map(|a| [a.to_radians().cos(), a.to_radians().sin()]).collect();
        Matrix::from_rows(&rows).unwrap()
    }

    fn allocate(rows: &Rows<'_>, room: &[u32], owners: &[(u32, u32)], total: usize) -> Vec<u32> {
        let owners = owners.iter().map(|&(owner, room)| (ClientId(owner), room)).collect();
        let room = Room::new(room, &owners);
        SaturatedCoverage { threshold: 0.0 }.allocate(rows, &room, total, &Context::new(0)).unwrap().unwrap()
    }

    #[test]
    fn a_row_gives_again_once_all_are_covered_alike() {
        let points = at(&[0.0, 90.0, 180.0]);
        let rows = Rows::new(&points);
        assert_eq!(allocate(&rows, &[9; 3], &[], 2), [1, 1, 0]);
        assert_eq!(allocate(&rows, &[9; 3], &[], 3), [1, 1, 1]);
        assert_eq!(allocate(&rows, &[9; 3], &[], 7), [3, 2, 2]);
        // The square root of the weight decides: a heavier row comes first, and gives more.
        assert_eq!(allocate(&rows.weights(&[1.0, 1.0, 16.0]), &[9; 3], &[], 2), [0, 0, 2]);
        assert_eq!(allocate(&rows.weights(&[1.0, 1.0, 16.0]), &[9; 3], &[], 5), [1, 1, 3]);
    }

    #[test]
    fn rooms_of_rows_and_owners_hold() {
        let points = at(&[0.0, 90.0, 180.0, 270.0]);
        let owners = [0, 0, 1, 1].map(ClientId);
        let rows = Rows::new(&points).owners(&owners);
        assert_eq!(allocate(&rows, &[1, 1, 5, 0], &[], 9), [1, 1, 5, 0], "no more than there is room for");
        assert_eq!(allocate(&rows, &[9; 4], &[(0, 1)], 5), [1, 0, 2, 2]);
        assert_eq!(allocate(&rows, &[9; 4], &[(0, 0), (1, 3)], 5).iter().sum::<u32>(), 3);
    }

    #[test]
    fn what_is_covered_comes_last_and_targets_pull() {
        let points = at(&[0.0, 90.0, 180.0]);
        let covered = Covered { points: at(&[0.0, 180.0]), mass: vec![2.0, 1.0] };
        let rows = Rows::new(&points).covered(&covered);
        assert_eq!(allocate(&rows, &[9; 3], &[], 1), [0, 1, 0]);
        assert_eq!(allocate(&rows, &[9; 3], &[], 3), [0, 2, 1]);
        // A topic that no client of this round has a group of pulls the nearest one.
        let targets = Targets { points: at(&[70.0, 200.0]), weights: vec![1.0, 3.0] };
        assert_eq!(allocate(&Rows::new(&points).targets(&targets), &[9; 3], &[], 1), [0, 0, 1]);
    }

    #[test]
    fn equal_gains_go_to_the_smaller_key() {
        let points = at(&[10.0, 10.0, 10.0]);
        assert_eq!(allocate(&Rows::new(&points).keys(&[5, 2, 9]), &[1; 3], &[], 2), [1, 1, 0]);
        assert_eq!(allocate(&Rows::new(&points), &[1; 3], &[], 2), [1, 1, 0]);
        let nowhere = Matrix::zeros(3, 2);
        assert_eq!(allocate(&Rows::new(&nowhere).keys(&[5, 2, 9]), &[1; 3], &[], 1), [0, 1, 0]);
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for threshold in [1.0, -1.5, f32::NAN] {
            let error = SaturatedCoverage { threshold }.check().unwrap_err().to_string();
            assert!(error.starts_with("threshold: "), "{error}");
        }
    }

    proptest! {
        /// The definition, without laziness.
        #[test]
        fn lazy_is_greedy(
            angles in prop::collection::vec(0u16..360, 1..12),
            weights in prop::collection::vec(1u8..9, 12),
            mass in 0u8..4,
            total in 0usize..20,
            threshold in -0.5f32..0.5,
        ) {
            let points = at(&angles.iter().map(|&a| f32::from(a)).collect::<Vec<_>>());
            let weights: Vec<f32> = weights[..angles.len()].iter().map(|&w| f32::from(w)).collect();
            let covered = Covered { points: at(&[45.0]), mass: vec![f32::from(mass) + 0.5] };
            let rows = Rows::new(&points).weights(&weights).covered(&covered);
            let selector = SaturatedCoverage { threshold };
            let room = vec![3; angles.len()];
            let none = BTreeMap::new();
            let told = Told::default();
            let asked = rows.watch(&told as &dyn Watch);
            let got = selector.allocate(&asked, &Room::new(&room, &none), total, &Context::new(0)).unwrap().unwrap();
            let s = |a: &[f32], b: &[f32]| selector.similarity(a, b);
            let mut h: Vec<f64> =
                points.iter_rows().map(|p| f64::from(covered.mass[0]) * s(p, covered.points.row(0))).collect();
            let value = |h: &[f64]| -> f64 {
                h.iter().zip(&weights).map(|(h, w)| f64::from(w.sqrt()) * (1.0 - (-h).exp2())).sum()
            };
            let every: Vec<usize> = (0..angles.len()).collect();
            for (h, covered) in h.iter().zip(covered_before(selector.nearness().unwrap(), &rows, &every)) {
                prop_assert!(matches!(covered, Coverage::Records(said) if (said - h).abs() < 1e-4 * (1.0 + h)));
            }
            // The order that it says, one record after the other.
            let said = told.take();
            prop_assert_eq!(said.len(), total.min(3 * angles.len()));
            let mut taken = h.clone();
            for (j, gain) in said {
                let with: Vec<f64> =
                    taken.iter().enumerate().map(|(i, h)| h + s(points.row(i), points.row(j))).collect();
                prop_assert!((value(&with) - value(&taken) - gain).abs() < 1e-5, "{} of row {}", gain, j);
                taken = with;
            }
            let mut counts = vec![0u32; angles.len()];
            for _ in 0..total {
                let with = |j: usize| -> Vec<f64> {
                    h.iter().enumerate().map(|(i, h)| h + s(points.row(i), points.row(j))).collect()
                };
                let open: Vec<usize> = (0..angles.len()).filter(|&j| counts[j] < 3).collect();
                let Some(best) = open.iter().map(|&j| value(&with(j))).max_by(f64::total_cmp) else { break };
                // Where rounding decides between equals, what was chosen must be one of them.
                let j = open.iter().copied().find(|&j| counts[j] < got[j] && value(&with(j)) >= best - 1e-9);
                prop_assert!(j.is_some(), "{:?} against {:?}", counts, got);
                let j = j.unwrap();
                h = with(j);
                counts[j] += 1;
            }
            prop_assert_eq!(counts, got);
        }
    }
}
