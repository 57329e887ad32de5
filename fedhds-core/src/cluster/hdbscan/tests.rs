//! What HDBSCAN* finds, what it promises, what its definition says, and what petal-clustering finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::cluster::check_clustering;
use crate::types::{ClusterId, Seed};
use petal_clustering::Fit as _;
use proptest::prelude::*;
use rand_distr::{Distribution as _, StandardNormal};

fn fit(points: &Matrix, config: HdbscanConfig) -> HdbscanFit {
    let fit = Hdbscan::new(config).unwrap().fit(points, &Control::default()).unwrap();
    check_clustering("hdbscan", &fit.clustering, points.rows(), points.cols()).unwrap();
    assert!(fit.outlier_scores.iter().all(|score| (0.0..=1.0).contains(score)));
    fit
}

fn sized(min_cluster_size: usize) -> HdbscanConfig {
    HdbscanConfig::with_min_cluster_size(min_cluster_size)
}

/// `k` Gaussian blobs of `per` rows each, 20 apart, and `noise` rows anywhere.
fn blobs(k: usize, per: usize, noise: usize, d: usize, seed: u64) -> Matrix {
    let mut rng = Seed(seed).rng();
    let mut data = Vec::new();
    for i in 0..k * per {
        for axis in 0..d {
            let centre = if axis == 0 { 20.0 * (i % k) as f32 } else { 0.0 };
            let normal: f32 = StandardNormal.sample(&mut rng);
            data.push(centre + normal);
        }
    }
    for _ in 0..noise * d {
        data.push(rng.random_range(-60.0..120.0));
    }
    Matrix::new(k * per + noise, d, data).unwrap()
}

/// Groups as sorted sets of rows, and noise: what does not depend on numbering.
fn partition(labels: &[Option<ClusterId>]) -> Vec<Vec<usize>> {
    let clusters = labels.iter().flatten().map(|id| id.index() + 1).max().unwrap_or(0);
    let mut groups = vec![Vec::new(); clusters];
    for (row, label) in labels.iter().enumerate() {
        if let Some(id) = label {
            groups[id.index()].push(row);
        }
    }
    groups.sort();
    groups
}

/// HDBSCAN* as it is defined, with all pairs and recursion: the oracle where distances tie.
struct Definition {
    reach: Vec<Vec<f64>>,
    /// Distinct reachability distances, longest first.
    levels: Vec<f64>,
    min_cluster_size: usize,
}

impl Definition {
    fn new(points: &Matrix, min_cluster_size: usize, min_samples: usize) -> Self {
        let n = points.rows();
        let d = |i: usize, j: usize| crate::cluster::distance::squared(points.row(i), points.row(j)).sqrt();
        let core = |i: usize| {
            let mut others: Vec<f64> = (0..n).filter(|&j| j != i).map(|j| d(i, j)).collect();
            others.sort_by(f64::total_cmp);
            if min_samples == 1 { 0.0 } else { others[min_samples.min(n) - 2] }
        };
        let core: Vec<f64> = (0..n).map(core).collect();
        let reach: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| d(i, j).max(core[i]).max(core[j])).collect()).collect();
        let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (i, j)));
        let mut levels: Vec<f64> = pairs.map(|(i, j)| reach[i][j]).collect();
        levels.sort_by(|a, b| b.total_cmp(a));
        levels.dedup();
        Self { reach, levels, min_cluster_size }
    }

    fn lambda(&self, level: f64) -> f64 {
        let least = self.levels.iter().rev().find(|&&level| level > 0.0);
        if level > 0.0 { 1.0 / level } else { least.map_or(1.0, |least| 2.0 / least) }
    }

    /// Connected rows at distances below `level`.
    fn components(&self, rows: &[usize], level: f64) -> Vec<Vec<usize>> {
        let mut left = rows.to_vec();
        let mut components = Vec::new();
        while let Some(first) = left.pop() {
            let mut component = vec![first];
            let mut at = 0;
            while at < component.len() {
                let (near, far) = left.iter().partition(|&&row| self.reach[component[at]][row] < level);
                component.extend::<Vec<usize>>(near);
                left = far;
                at += 1;
            }
            components.push(component);
        }
        components
    }

    /// The most stable choice of clusters among `rows`, born at `birth`, and its stability.
    fn choose(&self, mut rows: Vec<usize>, birth: f64, is_root: bool) -> (f64, Vec<Vec<usize>>) {
        let all = rows.clone();
        let mut stability = 0.0;
        for &level in &self.levels {
            let lambda = self.lambda(level);
            let (large, small): (Vec<_>, Vec<_>) =
                self.components(&rows, level).into_iter().partition(|c| c.len() >= self.min_cluster_size);
            stability += (lambda - birth) * small.iter().map(Vec::len).sum::<usize>() as f64;
            match large.len() {
                0 => break,
                1 => rows = large.concat(),
                _ => {
                    stability += (lambda - birth) * large.concat().len() as f64;
                    let (sums, chosen): (Vec<f64>, Vec<_>) =
                        large.into_iter().map(|c| self.choose(c, lambda, false)).unzip();
                    let below: f64 = sums.iter().sum();
                    return if is_root || below > stability * (1.0 + 1e-10) {
                        (below, chosen.concat())
                    } else {
                        (stability, vec![all])
                    };
                }
            }
        }
        (stability, if is_root { Vec::new() } else { vec![all] })
    }

    fn partition(&self) -> Vec<Vec<usize>> {
        let (_, mut groups) = self.choose((0..self.reach.len()).collect(), 0.0, true);
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups.sort();
        groups
    }
}

/// petal merges ties at once too, and counts the point itself as well.
fn petal(points: &Matrix, min_cluster_size: usize, min_samples: usize) -> (Vec<Vec<usize>>, Vec<f64>) {
    let data = points.as_slice().iter().map(|&x| f64::from(x)).collect();
    let input = ndarray_017::Array2::from_shape_vec((points.rows(), points.cols()), data).unwrap();
    let mut petal = petal_clustering::HDbscan {
        alpha: 1.0,
        min_samples,
        min_cluster_size,
        metric: petal_neighbors::distance::Euclidean::default(),
        boruvka: false,
    };
    let (clusters, _, scores) = petal.fit(&input, None);
    let mut groups: Vec<Vec<usize>> = clusters.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort();
    (groups, scores)
}

#[test]
fn blobs_are_found_and_outliers_are_noise() {
    for (n, d) in [(40, 2), (40, 50), (200, 3)] {
        let mut points = blobs(3, n, 1, d, 3);
        points.row_mut(3 * n).fill(1000.0);
        let fit = fit(&points, sized(5));
        assert_eq!(fit.clustering.centroids.rows(), 3, "n {n}, d {d}");
        assert_eq!(fit.clustering.labels[3 * n], None);
        assert_eq!(fit.selected.len(), 3);
        let best = fit.outlier_scores.iter().copied().fold(0.0, f32::max);
        assert_eq!(fit.outlier_scores[3 * n], best, "the outlier has the highest score");
        for (row, label) in fit.clustering.labels.iter().enumerate() {
            if let Some(id) = label {
                assert_eq!(id.index(), fit.clustering.labels[row % 3].map_or(row % 3, ClusterId::index));
            }
        }
        // The centre of a blob belongs to it more strongly than its rim.
        let (mut near, mut far) = ((f32::MAX, 0.0), (0.0f32, 0.0));
        for row in (0..3 * n).step_by(3).filter(|&row| fit.clustering.labels[row].is_some()) {
            let radius = points.row(row).iter().map(|x| x * x).sum::<f32>();
            let strength = fit.clustering.strength[row];
            if radius < near.0 {
                near = (radius, strength);
            }
            if radius > far.0 {
                far = (radius, strength);
            }
        }
        assert!(near.1 > far.1, "{near:?} {far:?}");
    }
}

#[test]
fn petal_finds_the_same() {
    for (seed, points) in [
        (1, blobs(4, 60, 60, 2, 1)),
        (2, blobs(3, 150, 100, 2, 2)),
        (3, blobs(2, 50, 0, 7, 3)),
        (4, blobs(5, 40, 300, 3, 4)),
    ] {
        for (min_cluster_size, min_samples) in [(2, 1), (2, 2), (2, 3), (5, 5), (5, 6), (5, 3), (10, 20)] {
            let mut config = sized(min_cluster_size);
            config.min_samples = Some(min_samples);
            let ours = fit(&points, config);
            let (groups, scores) = petal(&points, min_cluster_size, min_samples);
            let case = format!("data {seed}, size {min_cluster_size}, samples {min_samples}");
            assert_eq!(partition(&ours.clustering.labels), groups, "{case}");
            for (a, b) in ours.outlier_scores.iter().zip(scores) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "{case}: {a} {b}");
            }
        }
    }
}

#[test]
fn few_rows_are_defined() {
    for n in 0..=5 {
        for (min_cluster_size, allow_single_cluster) in [(2, false), (2, true), (5, false), (5, true)] {
            for identical in [false, true] {
                let data = (0..n).flat_map(|i| if identical { [1.0, 2.0] } else { [(i * i) as f32, 0.0] }).collect();
                let points = Matrix::new(n, 2, data).unwrap();
                let mut config = sized(min_cluster_size);
                config.allow_single_cluster = allow_single_cluster;
                let fit = fit(&points, config);
                let clusters = fit.clustering.centroids.rows();
                if n < min_cluster_size || (identical && !allow_single_cluster) {
                    assert_eq!(clusters, 0);
                } else if identical {
                    assert_eq!(clusters, 1);
                    assert_eq!(fit.clustering.strength, vec![1.0; n]);
                    assert_eq!(fit.clustering.centroids.row(0), [1.0, 2.0]);
                }
            }
        }
    }
}

#[test]
fn two_pairs_of_duplicates_are_two_clusters() {
    let points = Matrix::new(5, 1, vec![0.0, 7.0, 0.0, 7.0, 3.0]).unwrap();
    let fit = fit(&points, HdbscanConfig { min_samples: Some(1), ..sized(2) });
    assert_eq!(partition(&fit.clustering.labels), [vec![0, 2, 4], vec![1, 3]]);
    assert_eq!(fit.clustering.labels[0], Some(ClusterId(0)));
    // Distance 0 counts as 1.5, half of the least distance above it: row 4, at 3, is half as strong.
    assert_eq!(fit.clustering.strength, [1.0, 1.0, 1.0, 1.0, 0.5]);
    assert_eq!(fit.clustering.centroids.as_slice(), [0.6, 7.0]);
}

#[test]
fn no_columns_are_identical_points() {
    assert_eq!(fit(&Matrix::zeros(6, 0), sized(2)).clustering.centroids.rows(), 0);
}

#[test]
fn bad_values_are_errors() {
    let error = |config| Hdbscan::new(config).unwrap_err().to_string();
    assert!(error(sized(1)).contains("min_cluster_size"));
    assert!(error(HdbscanConfig { min_samples: Some(0), ..sized(2) }).contains("min_samples"));
    assert!(error(HdbscanConfig { cluster_selection_epsilon: f64::NAN, ..sized(2) }).contains("epsilon"));
    let points = Matrix::new(2, 2, vec![0.0, 1.0, f32::INFINITY, 2.0]).unwrap();
    let error = Hdbscan::new(sized(2)).unwrap().fit(&points, &Control::default()).unwrap_err().to_string();
    assert!(error.contains("row 1, column 0"), "{error}");
    let unknown: std::result::Result<HdbscanConfig, _> = serde_json::from_str(r#"{"min_cluster": 3}"#);
    assert!(unknown.is_err());
}

#[test]
fn a_single_cluster_where_it_is_allowed() {
    let points = blobs(1, 80, 0, 2, 9);
    assert!(fit(&points, HdbscanConfig { allow_single_cluster: true, ..sized(5) }).clustering.centroids.rows() >= 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// Few distinct coordinates: many ties and duplicates.
    #[test]
    fn equals_its_definition(
        cells in prop::collection::vec((0u8..9, 0u8..9), 5..50),
        min_cluster_size in 2usize..6,
        min_samples in 1usize..7,
        width in prop::sample::select(vec![1.0f32, 0.3, 1.37]),
    ) {
        let rows: Vec<[f32; 2]> = cells.iter().map(|&(x, y)| [f32::from(x) * width, f32::from(y)]).collect();
        let points = Matrix::from_rows(&rows).unwrap();
        let config = HdbscanConfig { min_samples: Some(min_samples), ..sized(min_cluster_size) };
        let definition = Definition::new(&points, min_cluster_size, min_samples);
        prop_assert_eq!(partition(&fit(&points, config).clustering.labels), definition.partition());
    }

    /// The same data in any order.
    #[test]
    fn order_of_rows_does_not_matter(
        cells in prop::collection::vec((0u8..9, 0u8..9), 2..90),
        min_cluster_size in 2usize..6,
        min_samples in 1usize..7,
        leaf: bool,
        single: bool,
        shuffle: u64,
    ) {
        let rows: Vec<[f32; 2]> = cells.iter().map(|&(x, y)| [f32::from(x) * 0.3, f32::from(y)]).collect();
        let points = Matrix::from_rows(&rows).unwrap();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut rng = Seed(shuffle).rng();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let config = HdbscanConfig {
            min_samples: Some(min_samples),
            cluster_selection_method: if leaf { ClusterSelectionMethod::Leaf } else { ClusterSelectionMethod::Eom },
            allow_single_cluster: single,
            ..sized(min_cluster_size)
        };
        let one = fit(&points, config.clone());
        let other = fit(&points.take_rows(&order).unwrap(), config);
        let back: Vec<Vec<usize>> = {
            let mut groups = partition(&other.clustering.labels);
            groups.iter_mut().for_each(|group| {
                group.iter_mut().for_each(|row| *row = order[*row]);
                group.sort_unstable();
            });
            groups.sort();
            groups
        };
        prop_assert_eq!(partition(&one.clustering.labels), back);
        for (place, &row) in order.iter().enumerate() {
            prop_assert_eq!(one.clustering.strength[row], other.clustering.strength[place]);
            prop_assert_eq!(one.outlier_scores[row], other.outlier_scores[place]);
        }
    }
}
