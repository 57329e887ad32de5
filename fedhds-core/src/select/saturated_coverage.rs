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
        let (mut together, mut last) = (TOGETHER, None);
        while greedy.taken < total
            && let Some(best) = heap.pop()
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
                continue;
            }
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
mod tests {
    use super::*;
    use crate::select::covered_before;
    use crate::select::testing::Told;
    use crate::stage::{Coverage, Targets, Watch};
    use crate::types::Seed;
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

    /// Greedy by the exact gain, all of them computed anew for every record: the order, and what each gained.
    fn by_definition(selector: SaturatedCoverage, all: &Rows<'_>, room: &Room<'_>, total: usize) -> Vec<(usize, f64)> {
        let rows = units(all.points);
        let (targets, weights) = match all.targets {
            Some(targets) => (units(&targets.points), targets.weights.clone()),
            None => (rows.clone(), (0..all.len()).map(|row| all.weight(row).sqrt()).collect()),
        };
        let none = Covered::default();
        let covered = all.covered.unwrap_or(&none);
        let points = units(&covered.points);
        let h = |target: &[f32]| -> f64 {
            let near = points.iter_rows().zip(&covered.mass);
            near.map(|(point, &mass)| f64::from(mass) * selector.similarity(target, point)).sum()
        };
        let mut left: Vec<f64> =
            targets.iter_rows().zip(&weights).map(|(target, &w)| f64::from(w) * (-h(target)).exp2()).collect();
        let (mut counts, mut owners) = (vec![0; all.len()], room.of_owners.clone());
        let mut said = Vec::new();
        while said.len() < total {
            let may = |row: &usize| {
                counts[*row] < room.of_rows[*row]
                    && all.owners.get(*row).and_then(|owner| owners.get(owner)).is_none_or(|room| *room > 0)
            };
            let gain = |row: usize| -> f64 {
                let s = targets.iter_rows().map(|target| selector.similarity(target, rows.row(row)));
                left.iter().zip(s).map(|(left, s)| left * (1.0 - (-s).exp2())).sum::<f64>() + 0.0
            };
            let key = |row: usize| (all.keys.get(row).copied().unwrap_or_default(), row);
            let better = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1).then(key(b.0).cmp(&key(a.0)));
            let Some((row, gain)) = (0..all.len()).filter(may).map(|row| (row, gain(row))).max_by(better) else {
                break;
            };
            for (left, target) in left.iter_mut().zip(targets.iter_rows()) {
                *left *= (-selector.similarity(target, rows.row(row))).exp2();
            }
            counts[row] += 1;
            if let Some(room) = all.owners.get(row).and_then(|owner| owners.get_mut(owner)) {
                *room -= 1;
            }
            said.push((row, gain));
        }
        said
    }

    fn said(selector: SaturatedCoverage, all: &Rows<'_>, room: &Room<'_>, total: usize) -> Vec<(usize, f64)> {
        let told = Told::default();
        selector.allocate(&all.watch(&told as &dyn Watch), room, total, &Context::new(0)).unwrap();
        told.take()
    }

    /// Points around a few centres; every third has a twin, perhaps longer.
    fn around(n: usize, d: usize, spread: f32, seed: u64) -> Matrix {
        let mut rng = Seed(seed).rng();
        let centres: Vec<f32> = (0..5 * d).map(|_| rng.random::<f32>() - 0.5).collect();
        let mut rows: Vec<Vec<f32>> = Vec::new();
        for i in 0..n {
            let centre = (rng.random::<u32>() % 5) as usize;
            let row = (0..d).map(|j| centres[centre * d + j] + spread * (rng.random::<f32>() - 0.5)).collect();
            let twin = |rng: &mut crate::types::Rng| rows[(rng.random::<u32>() as usize) % i].clone();
            let row = if i % 3 == 2 { twin(&mut rng).into_iter().map(|x| x * 3.0).collect() } else { row };
            rows.push(row);
        }
        Matrix::from_rows(&rows).unwrap()
    }

    #[test]
    fn blocks_change_nothing() {
        let points = around(1300, 3, 0.8, 5);
        let weights: Vec<f32> = (0..1300).map(|i| (i % 7) as f32 / 3.0).collect();
        let (rows, none) = (Rows::new(&points).weights(&weights), BTreeMap::new());
        let (few, many) = (vec![2; 1300], (0..1300).map(|i| u32::from(i % 3 == 0)).collect::<Vec<u32>>());
        for room in [Room::new(&few, &none), Room::new(&many, &none)] {
            let selector = SaturatedCoverage::default();
            assert_eq!(said(selector, &rows, &room, 12), by_definition(selector, &rows, &room, 12));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bounds_change_no_bit(
            n in 1usize..40, d in 1usize..9, spread in prop::sample::select(vec![0.0f32, 1e-6, 1e-3, 0.3, 2.0]),
            threshold in prop::sample::select(vec![-1.0f32, -0.5, 0.0, 0.1, 0.9, 0.9999]),
            weighing in prop::sample::select(vec![0.0f32, 1e-30, 1.0, 1e30]),
            covers in 0usize..4, aims in 0usize..20, owned: bool, seed: u64,
        ) {
            let points = around(n, d, spread, seed);
            let mut rng = Seed(seed).derive("weights", 0).rng();
            let mut weights = |n: usize| -> Vec<f32> {
                (0..n).map(|_| if rng.random::<f32>() < 0.3 { weighing } else { rng.random::<f32>() }).collect()
            };
            let of_rows = weights(n);
            let covered = Covered { points: around(covers, d, spread, seed + 1), mass: vec![1.5; covers] };
            let targets = Targets { points: around(aims, d, spread, seed + 2), weights: weights(aims) };
            let owners: Vec<ClientId> = (0..n).map(|i| ClientId(i as u32 % 3)).collect();
            let keys: Vec<u64> = (0..n).map(|i| (i as u64 * 7) % 5).collect();
            let mut rows = Rows::new(&points).weights(&of_rows).covered(&covered).keys(&keys);
            let mut of_owners = BTreeMap::new();
            if owned {
                rows = rows.owners(&owners);
                of_owners = BTreeMap::from([(ClientId(0), 2), (ClientId(1), n as u32)]);
            }
            if aims > 2 {
                rows = rows.targets(&targets);
            }
            let room: Vec<u32> = (0..n).map(|i| (i % 4) as u32).collect();
            let (selector, room) = (SaturatedCoverage { threshold }, Room::new(&room, &of_owners));
            prop_assert_eq!(said(selector, &rows, &room, n), by_definition(selector, &rows, &room, n));
        }

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
