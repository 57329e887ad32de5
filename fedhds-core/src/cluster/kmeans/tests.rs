//! What k-means finds and promises, against its definition and against a Lloyd's without bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::assign::{Assignment, Centroids};
use super::points::{Norm, Points, transpose};
use super::products::{inner, products};
use super::*;
use crate::cluster::{check_clustering, distance, nearest_centroid};
use crate::types::{ClusterId, Control, Seed};
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

fn three_blobs(per: usize) -> Matrix {
    let mut rng = Seed(5).rng();
    let mut data = Vec::new();
    for i in 0..3 * per {
        let centre = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)][i % 3];
        data.push(centre.0 + rng.random::<f32>());
        data.push(centre.1 + rng.random::<f32>());
    }
    Matrix::new(3 * per, 2, data).unwrap()
}

/// `n` rows of `d` columns about `topics` centres, far from the origin.
fn topics(n: usize, d: usize, topics: usize, seed: u64) -> Matrix {
    let mut rng = Seed(seed).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let centres: Vec<f32> = (0..topics * d).map(|_| 100.0 + 2.0 * normal()).collect();
    let data = (0..n * d).map(|at| centres[(at / d % topics) * d + at % d] + normal()).collect();
    Matrix::new(n, d, data).unwrap()
}

fn kmeans(k: usize) -> KMeans {
    KMeans::new(KMeansConfig::with_clusters(k)).unwrap()
}

fn fit(k: usize, points: &Matrix, weights: Option<&[f32]>) -> Result<Clustering> {
    kmeans(8).fit(points, weights, k, &Context::new(1)).map(|fit| fit.clustering)
}

fn inertia(points: &Matrix, clustering: &Clustering) -> f64 {
    let own = |(row, label): (&[f32], &Option<ClusterId>)| {
        distance::squared(row, clustering.centroids.row(label.unwrap().index()))
    };
    points.iter_rows().zip(&clustering.labels).map(own).sum()
}

#[test]
fn blobs_are_found_and_centroids_are_means() {
    let points = three_blobs(40);
    for clustering in [fit(3, &points, None).unwrap(), fit(3, &points, Some(&[2.0; 120])).unwrap()] {
        check_clustering("kmeans", &clustering, 120, 2).unwrap();
        for (row, label) in clustering.labels.iter().enumerate() {
            assert_eq!(label.unwrap().index(), row % 3);
        }
        let mean: f32 = (0..40).map(|i| points.row(3 * i)[0]).sum::<f32>() / 40.0;
        assert!((clustering.centroids.row(0)[0] - mean).abs() < 1e-5);
    }
}

#[test]
fn few_rows_duplicates_and_no_rows() {
    for (rows, k) in [(vec![], 0), (vec![[1.0f32, 1.0]; 1], 1), (vec![[1.0, 1.0]; 6], 1)] {
        let mut points = Matrix::from_rows(&rows).unwrap();
        if rows.is_empty() {
            points = Matrix::zeros(0, 2);
        }
        for clustering in [fit(4, &points, None).unwrap(), fit(4, &points, Some(&vec![1.0; rows.len()])).unwrap()] {
            assert_eq!(clustering.centroids.rows(), k);
            check_clustering("kmeans", &clustering, rows.len(), 2).unwrap();
        }
    }
    let points = Matrix::new(5, 1, vec![0.0, -0.0, 3.0, 3.0, 9.0]).unwrap();
    let clustering = fit(5, &points, None).unwrap();
    let ids = [0, 0, 1, 1, 2].map(|id| Some(ClusterId(id)));
    assert_eq!(clustering.labels, ids, "as many clusters as distinct rows, numbered by first row");
    assert!(fit(2, &Matrix::zeros(3, 0), None).is_err());
    assert_eq!(fit(2, &Matrix::zeros(0, 0), None).unwrap().labels, []);
}

#[test]
fn weights_pull_centroids_and_zero_weights_do_not() {
    let points = Matrix::new(5, 1, vec![0.0, 1.0, 100.0, 101.0, 130.0]).unwrap();
    let weights = [3.0, 1.0, 1.0, 1.0, 0.0];
    let clustering = fit(2, &points, Some(&weights)).unwrap();
    assert_eq!(clustering.centroids.as_slice(), [0.25, 100.5]);
    assert_eq!(clustering.labels[4], Some(ClusterId(1)));
    let message = |weights: &[f32]| fit(2, &points, Some(weights)).unwrap_err().to_string();
    assert!(message(&[0.0; 5]).contains("at least one above 0"));
    assert!(message(&[1.0; 4]).contains("5 entries"));
    assert!(message(&[1.0, 1.0, f32::NAN, 1.0, 1.0]).contains("weight of row 2"));
    assert!(message(&[1.0, -1.0, 1.0, 1.0, 1.0]).contains("weight of row 1"));
}

#[test]
fn repeated_rows_equal_weights() {
    let points = three_blobs(10);
    let twice: Vec<usize> = (0..30).flat_map(|i| std::iter::repeat_n(i, 1 + i % 3)).collect();
    let weights: Vec<f32> = (0..30).map(|i| (1 + i % 3) as f32).collect();
    let repeated = fit(3, &points.take_rows(&twice).unwrap(), None).unwrap();
    let weighted = fit(3, &points, Some(&weights)).unwrap();
    for (a, b) in repeated.centroids.as_slice().iter().zip(weighted.centroids.as_slice()) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn an_empty_cluster_takes_the_costliest_row() {
    let rows = Matrix::new(4, 1, vec![0.0, 1.0, 2.0, 50.0]).unwrap();
    let points = Points::new(&rows, None, &Control::default()).unwrap();
    let start = Matrix::new(3, 1, vec![0.0, 1000.0, -1000.0]).unwrap();
    let mut centroids = Centroids::new(start, &points);
    let mut assignment = Assignment::new(&points, 3);
    lloyd::assign_without_empty(&points, &mut centroids, &mut assignment, &Control::default()).unwrap();
    assert_eq!(centroids.row(1), [50.0]);
    assert_eq!(centroids.row(2), [2.0]);
    assert_eq!(assignment.labels, [0, 0, 2, 1]);
}

#[test]
fn a_large_row_that_leaves_takes_its_rounding_along() {
    let rows = Matrix::new(8, 1, vec![f32::MAX, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
    let points = Points::new(&rows, None, &Control::default()).unwrap();
    let mut centroids = Centroids::new(Matrix::zeros(2, 1), &points);
    let mut means = lloyd::Means::new(&points, 2);
    means.move_to(&points, &[0, 0, 0, 0, 0, 0, 0, 1], &mut centroids, &Control::default()).unwrap();
    assert_eq!(centroids.row(1), [7.0]);
    means.move_to(&points, &[1, 0, 0, 0, 0, 0, 0, 0], &mut centroids, &Control::default()).unwrap();
    assert_eq!((centroids.row(0), centroids.row(1)), (&[4.0][..], &[f32::MAX][..]));
}

#[test]
fn bad_values_are_errors() {
    let message = |config: KMeansConfig| KMeans::new(config).unwrap_err().to_string();
    assert!(message(KMeansConfig { n_clusters: 0, ..Default::default() }).contains("n_clusters"));
    assert!(message(KMeansConfig { n_init: 0, ..Default::default() }).contains("n_init"));
    assert!(message(KMeansConfig { max_iter: 0, ..Default::default() }).contains("max_iter"));
    for tol in [-1e-9, f64::NAN, f64::INFINITY] {
        assert!(message(KMeansConfig { tol, ..Default::default() }).contains("tol"));
    }
    let points = Matrix::new(2, 1, vec![0.0, f32::NAN]).unwrap();
    let error = fit(1, &points, None).unwrap_err().to_string();
    assert!(error.contains("row 1, column 0"), "{error}");
    let error = fit(0, &Matrix::zeros(2, 1), None).unwrap_err().to_string();
    assert!(error.contains("n_clusters: expected at least 1, got 0"), "{error}");
}

#[test]
fn extreme_values_stay_finite() {
    let points = Matrix::new(3, 1, vec![f32::MAX, f32::MIN, 0.0]).unwrap();
    for k in 1..=3 {
        let clustering = fit(k, &points, None).unwrap();
        check_clustering("kmeans", &clustering, 3, 1).unwrap();
        assert_eq!(clustering.centroids.rows(), k);
    }
    // The bounds see nothing of the small rows beside the large one.
    let points = Matrix::new(6, 1, vec![1e-44, 2e-44, 1.0, 1.5, f32::MAX, 9e-20]).unwrap();
    let clustering = fit(4, &points, Some(&[f32::MAX, 1e-44, 1.0, 1.0, 1.0, 1.0])).unwrap();
    check_clustering("kmeans", &clustering, 6, 1).unwrap();
    let clustering = fit(6, &points, None).unwrap();
    assert_eq!(clustering.centroids.as_slice(), points.as_slice());
    let tiny = Matrix::new(4, 1, vec![0.0, 1e-45, 1.4e-44, 1.5e-44]).unwrap();
    let clustering = fit(2, &tiny, None).unwrap();
    assert_eq!(clustering.labels, [0, 0, 1, 1].map(|id| Some(ClusterId(id))));
}

#[test]
fn products_equal_their_definition() {
    for d in [1, 15, 16, 1023, 1024, 1025, 3000] {
        let (a, b) = (topics(3, d, 1, 1), topics(37, d, 1, 2));
        let (mut strip, mut out) = (vec![0.0; 37 * d], vec![0.0; 3 * 37]);
        transpose(b.as_slice(), d, &mut strip);
        products(&mut out, a.as_slice(), &strip, d);
        for (i, x) in a.iter_rows().enumerate() {
            for (j, y) in b.iter_rows().enumerate() {
                let exact: f64 = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                for got in [out[i * 37 + j], inner(x, y)] {
                    assert!((f64::from(got) - exact).abs() < 1e-5 * exact, "{d} columns: {got} {exact}");
                }
            }
        }
    }
}

/// Rows of any scale, also beside rows of quite another scale.
fn any_rows() -> impl Strategy<Value = Matrix> {
    let value = prop_oneof![
        4 => (-3i8..4).prop_map(f32::from),
        2 => -1.0f32..1.0,
        1 => any::<f32>().prop_filter("finite", |x| x.is_finite()),
    ];
    (1usize..40, 1usize..40).prop_flat_map(move |(n, d)| {
        proptest::collection::vec(value.clone(), n * d).prop_map(move |data| Matrix::new(n, d, data).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn bounds_hold(rows in any_rows(), seed: u64) {
        let points = Points::new(&rows, None, &Control::default()).unwrap();
        let mut order: Vec<usize> = (0..rows.rows()).collect();
        rand::seq::SliceRandom::shuffle(&mut order[..], &mut Seed(seed).rng());
        order.truncate(7);
        let centroids = rows.take_rows(&order).unwrap();
        let placed = points.place(centroids.iter_rows());
        let mut by_centroid = vec![0.0; rows.rows() * order.len()];
        products(&mut by_centroid, &placed.values, points.strip(0..rows.rows()), rows.cols());
        for (j, products) in by_centroid.chunks_exact(rows.rows()).enumerate() {
            for (i, &product) in products.iter().enumerate() {
                let (x, y) = (points.norm(i), placed.norms[j]);
                let low = Norm::low(x, y, product);
                let squared = points.squared(i, centroids.row(j));
                prop_assert!(low <= points.above(squared), "{} {}", low, points.above(squared));
                prop_assert!(points.high(x, y, low) >= points.below(squared));
                prop_assert!(points.below(squared) <= points.above(squared));
                prop_assert!((points.square(points.above(squared)) - squared).abs() <= 1e-5 * squared || points.below(squared) < 1e-30);
            }
        }
    }

    #[test]
    fn labels_are_those_of_exact_distances(rows in any_rows(), k in 1usize..9, seed: u64) {
        let mut rng = Seed(seed).rng();
        let k = k.min(rows.rows());
        let points = Points::new(&rows, None, &Control::default()).unwrap();
        let start = rows.take_rows(&(0..k).collect::<Vec<_>>()).unwrap();
        let mut centroids = Centroids::new(start, &points);
        let mut assignment = Assignment::new(&points, k);
        for step in 0..24 {
            assignment.assign(&points, &centroids, &Control::default()).unwrap();
            let ties = |row: &[f32]| {
                let all: Vec<f64> = centroids.rows().iter_rows().map(|c| distance::squared(row, c)).collect();
                let least = all.iter().copied().fold(f64::INFINITY, f64::min);
                all.into_iter().filter(|squared| *squared == least).count() > 1
            };
            for (row, &label) in rows.iter_rows().zip(&assignment.labels) {
                prop_assert_eq!(label as usize, nearest_centroid(row, centroids.rows()), "step {}", step);
            }
            prop_assert_eq!(assignment.tied, rows.iter_rows().any(ties));
            // Some centroids move a little, some far, most not at all.
            for _ in 0..k / 2 {
                let (j, i) = (rng.random_range(0..k), rng.random_range(0..rows.rows()));
                let near: Vec<f32> =
                    centroids.row(j).iter().zip(rows.row(i)).map(|(c, x)| c + (x * 0.01 - c * 0.01)).collect();
                let moved = if step % 2 == 0 { &near[..] } else { rows.row(i) };
                centroids.set(j, moved, &points);
            }
        }
    }

    #[test]
    fn every_row_is_in_the_nearest_cluster(points in any_rows(), k in 1usize..9, seed: u64) {
        let exact = KMeans::new(KMeansConfig { n_init: 2, tol: 0.0, ..KMeansConfig::default() }).unwrap();
        let clustering = exact.fit(&points, None, k, &Context::new(seed)).unwrap().clustering;
        check_clustering("kmeans", &clustering, points.rows(), points.cols()).unwrap();
        for (i, row) in points.iter_rows().enumerate() {
            let label = clustering.labels[i].unwrap().index();
            prop_assert_eq!(label, nearest_centroid(row, &clustering.centroids), "row {}: ties go to the lower id", i);
        }
    }
}

/// Lloyd's iterations as they are written down: from the same rows, to the same labels.
#[test]
fn bounds_change_nothing() {
    for (n, d, k, spread) in [(600, 20, 12, 6), (900, 5, 40, 3), (300, 1500, 6, 2), (700, 3, 2, 1)] {
        let rows = topics(n, d, spread, 4);
        let points = Points::new(&rows, None, &Control::default()).unwrap();
        let control = Control::default();
        let mut started = Vec::new();
        let keep = |start: Vec<usize>| {
            started.push(start);
            Ok(())
        };
        seeding::starts(&points, k, 2, Seed(3), keep, &control).unwrap();
        for start in started {
            let start = rows.take_rows(&start).unwrap();
            let fitted = lloyd::lloyd(&points, start.clone(), 0.0, 300, &control).unwrap();
            let mut centroids = start;
            let mut labels: Vec<usize> = Vec::new();
            loop {
                let new: Vec<usize> = rows.iter_rows().map(|row| nearest_centroid(row, &centroids)).collect();
                if new == labels {
                    break;
                }
                labels = new;
                let ids: Vec<_> = labels.iter().map(|&label| Some(ClusterId(label as u32))).collect();
                centroids = weighted_centroids(&rows, &ids, &vec![1.0; n], k).unwrap();
            }
            let fitted: Vec<usize> = fitted.labels.iter().map(|&label| label as usize).collect();
            assert_eq!(fitted, labels, "{n} x {d}, {k} clusters");
        }
    }
}

#[test]
fn starts_are_distinct_rows_far_apart() {
    let rows = topics(500, 60, 10, 6);
    let points = Points::new(&rows, None, &Control::default()).unwrap();
    let mut starts = Vec::new();
    let keep = |start: Vec<usize>| {
        starts.push(start);
        Ok(())
    };
    seeding::starts(&points, 10, 12, Seed(3), keep, &Control::default()).unwrap();
    assert_eq!(starts.len(), 12);
    assert!(starts.windows(2).any(|pair| pair[0] != pair[1]));
    let topics_of =
        |start: &Vec<usize>| start.iter().map(|row| row % 10).collect::<std::collections::BTreeSet<_>>().len();
    assert!(starts.iter().all(|start| start.iter().collect::<std::collections::BTreeSet<_>>().len() == 10));
    // Ten rows at random meet six or seven topics.
    let met: usize = starts.iter().map(topics_of).sum();
    assert!(met >= 110, "{met} topics of 120");
}

#[test]
fn more_starts_and_iterations_are_no_worse() {
    let points = topics(400, 6, 25, 8);
    let of = |n_init, max_iter| {
        let config = KMeansConfig { n_init, max_iter, ..KMeansConfig::with_clusters(25) };
        let clustering = KMeans::new(config).unwrap().fit(&points, None, 25, &Context::new(2)).unwrap().clustering;
        inertia(&points, &clustering)
    };
    // The first start of ten is the one start.
    assert!(of(10, 300) <= of(1, 300));
    assert!(of(1, 300) <= of(1, 1));
    assert!(of(1, 1) > of(10, 300));
}
