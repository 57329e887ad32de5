use super::*;
use crate::select::testing::Told;
use crate::stage::{Covered, Watch};
use crate::types::Seed;
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

/// Greedy by the exact gain, all of them computed anew for every pick: the order, and what each gained.
fn by_definition(all: &Rows<'_>, total: usize) -> Vec<(usize, f64)> {
    let (points, n) = (all.points, all.len());
    let distance = |a: usize, b: usize| squared_distance(points.row(a), points.row(b)).sqrt();
    let far = 2.0 * (0..n).map(|row| distance(row, 0)).fold(0.0, f64::max);
    let mut nearest: Vec<f64> = (0..n).map(|row| covered_distance(all, row).unwrap_or(far)).collect();
    let mut said: Vec<(usize, f64)> = Vec::new();
    while said.len() < total {
        let gain = |row: usize| -> f64 {
            (0..n).map(|i| f64::from(all.weight(i)) * (nearest[i] - distance(i, row)).max(0.0)).sum()
        };
        let open = (0..n).filter(|row| said.iter().all(|(chosen, _)| chosen != row));
        let best = open.map(|row| (row, gain(row))).reduce(|a, b| if b.1.total_cmp(&a.1).is_gt() { b } else { a });
        let (row, gain) = best.unwrap();
        nearest.iter_mut().enumerate().for_each(|(i, near)| *near = near.min(distance(i, row)));
        said.push((row, gain));
    }
    said
}

fn said(rows: &Rows<'_>, total: usize) -> Vec<(usize, f64)> {
    let told = Told::default();
    FacilityLocation.select(&rows.watch(&told as &dyn Watch), Budget::Total(total), &Context::new(0)).unwrap();
    told.take()
}

/// Points around a few centres; every third has a twin, and all lie far from 0 where `offset` is large.
fn around(n: usize, d: usize, spread: f32, offset: f32, scale: f32, seed: u64) -> Matrix {
    let mut rng = Seed(seed).rng();
    let centres: Vec<f32> = (0..5 * d).map(|_| rng.random::<f32>() - 0.5).collect();
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for i in 0..n {
        let centre = (rng.random::<u32>() % 5) as usize;
        let row = (0..d).map(|j| (centres[centre * d + j] + spread * (rng.random::<f32>() - 0.5) + offset) * scale);
        let row: Vec<f32> = row.collect();
        rows.push(if i % 3 == 2 { rows[(rng.random::<u32>() as usize) % i].clone() } else { row });
    }
    Matrix::from_rows(&rows).unwrap()
}

#[test]
fn blocks_and_lists_change_nothing() {
    let points = around(1300, 3, 0.4, 0.0, 1.0, 5);
    let weights: Vec<f32> = (0..1300).map(|i| (i % 7) as f32 / 3.0).collect();
    let rows = Rows::new(&points).weights(&weights);
    assert_eq!(said(&rows, 12), by_definition(&rows, 12));
    let covered = Covered { points: around(40, 3, 0.4, 0.0, 1.0, 6), mass: vec![1.0; 40] };
    let rows = rows.covered(&covered);
    assert_eq!(said(&rows, 12), by_definition(&rows, 12));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bounds_change_no_bit(
        n in 2usize..60, d in 1usize..9, spread in prop::sample::select(vec![0.0f32, 1e-6, 1e-3, 0.3, 2.0]),
        offset in prop::sample::select(vec![0.0f32, 1.0, 1e4]), scale in prop::sample::select(vec![1e-30f32, 1.0, 1e30]),
        weighing in prop::sample::select(vec![0.0f32, 1e-30, 1.0, 1e30]), covers in 0usize..4, seed: u64,
    ) {
        let points = around(n, d, spread, offset, scale, seed);
        let mut rng = Seed(seed).derive("weights", 0).rng();
        let weights: Vec<f32> =
            (0..n).map(|_| if rng.random::<f32>() < 0.3 { weighing } else { rng.random::<f32>() }).collect();
        let covered = Covered { points: around(covers, d, spread, offset, scale, seed + 1), mass: vec![1.0; covers] };
        let rows = Rows::new(&points).weights(&weights).covered(&covered);
        let total = n - 1;
        prop_assert_eq!(said(&rows, total), by_definition(&rows, total));
    }

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
