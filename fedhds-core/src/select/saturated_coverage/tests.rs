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

#[test]
fn more_near_ties_than_are_looked_at_still_give_what_was_asked() {
    let n = MOST_LOOKED_AT + 100;
    // All in one place, and all so near that f32 does not tell them apart.
    for off in [0.0f32, 1e-6] {
        let data = (0..n * 2).map(|at| 1.0 + off * (at % 7) as f32).collect();
        let points = Matrix::new(n, 2, data).unwrap();
        let rows = Rows::new(&points);
        let (room, none) = (vec![1; n], BTreeMap::new());
        let allocate = || {
            let room = Room::new(&room, &none);
            SaturatedCoverage::default().allocate(&rows, &room, 3, &Context::new(0)).unwrap().unwrap()
        };
        let counts = allocate();
        assert_eq!(counts.iter().sum::<u32>(), 3);
        assert_eq!(allocate(), counts);
        assert!(counts.iter().all(|&count| count <= 1));
    }
}
