//! What every clusterer keeps to, whatever it calls a group.

use fedhds_core::Error;
use fedhds_core::cluster::hdbscan::ClusterSelectionMethod;
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig, check_clustering};
use fedhds_core::peers::{LinfaKMeans, LinfaKMeansConfig, PetalHdbscan, PetalHdbscanConfig};
use fedhds_core::stage::{Clusterer, Clustering, Rows};
use fedhds_core::types::{Context, Control, Matrix, Seed};
use proptest::prelude::*;

/// Name, clusterer, whether its partition is promised not to depend on the order of rows.
fn all() -> Vec<(&'static str, Box<dyn Clusterer>, bool)> {
    let size_2 = HdbscanConfig::with_min_cluster_size(2);
    let leaf = HdbscanConfig { cluster_selection_method: ClusterSelectionMethod::Leaf, ..size_2.clone() };
    let single = HdbscanConfig { allow_single_cluster: true, ..HdbscanConfig::default() };
    let four = LinfaKMeansConfig { n_clusters: 4, ..LinfaKMeansConfig::default() };
    let two = PetalHdbscanConfig { min_cluster_size: 2, min_samples: Some(1) };
    vec![
        ("hdbscan 5", Box::new(Hdbscan::new(HdbscanConfig::default()).unwrap()), true),
        ("hdbscan 2", Box::new(Hdbscan::new(size_2).unwrap()), true),
        ("hdbscan leaf", Box::new(Hdbscan::new(leaf).unwrap()), true),
        ("hdbscan single", Box::new(Hdbscan::new(single).unwrap()), true),
        ("kmeans 1", Box::new(KMeans::new(KMeansConfig::with_clusters(1)).unwrap()), true),
        ("kmeans 4", Box::new(KMeans::new(KMeansConfig::with_clusters(4)).unwrap()), false),
        ("linfa kmeans 4", Box::new(LinfaKMeans::new(four).unwrap()), false),
        ("petal hdbscan 5", Box::new(PetalHdbscan::new(PetalHdbscanConfig::default()).unwrap()), true),
        ("petal hdbscan 2", Box::new(PetalHdbscan::new(two).unwrap()), false),
    ]
}

/// Up to 40 rows of 1 to 4 small values, many of them equal.
fn any_points() -> impl Strategy<Value = Matrix> {
    (0usize..40, 1usize..5).prop_flat_map(|(n, d)| {
        proptest::collection::vec(-3i8..4, n * d)
            .prop_map(move |data| Matrix::new(n, d, data.into_iter().map(f32::from).collect()).unwrap())
    })
}

fn first_rows_ascend(clustering: &Clustering) -> bool {
    let mut next = 0;
    clustering.labels.iter().flatten().all(|id| {
        let known = id.index() <= next;
        next = next.max(id.index() + 1);
        known
    })
}

/// Which pairs of rows share a group, rows numbered as in the original.
fn pairs(clustering: &Clustering, order: &[usize]) -> Vec<bool> {
    let n = order.len();
    let mut label = vec![None; n];
    order.iter().zip(&clustering.labels).for_each(|(&row, id)| label[row] = *id);
    (0..n * n).map(|at| label[at / n].is_some() && label[at / n] == label[at % n]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn labels_probabilities_and_centroids_fit(points in any_points(), seed: u64) {
        for (name, clusterer, any_order) in all() {
            let clustering = clusterer.cluster(&Rows::new(&points), None, &Context::new(seed)).unwrap();
            check_clustering(name, &clustering, points.rows(), points.cols()).unwrap();
            prop_assert!(first_rows_ascend(&clustering), "{}", name);
            let again = clusterer.cluster(&Rows::new(&points), None, &Context::new(seed)).unwrap();
            prop_assert_eq!(&clustering, &again, "{}: the same seed gives the same bits", name);
            if any_order {
                let order: Vec<usize> = (0..points.rows()).rev().collect();
                let reversed = {
                    let points = points.take_rows(&order).unwrap();
                    clusterer.cluster(&Rows::new(&points), None, &Context::new(seed)).unwrap()
                };
                let same: Vec<usize> = (0..points.rows()).collect();
                prop_assert_eq!(pairs(&clustering, &same), pairs(&reversed, &order), "{}", name);
            }
        }
    }
}

#[test]
fn few_and_identical_rows_are_defined() {
    for n in 0..=5 {
        for identical in [false, true] {
            let data = (0..n * 2).map(|i| if identical { 2.5 } else { (i * i) as f32 }).collect();
            let points = Matrix::new(n, 2, data).unwrap();
            for (name, clusterer, _) in all() {
                let clustering = clusterer.cluster(&Rows::new(&points), None, &Context::new(3)).unwrap();
                check_clustering(name, &clustering, n, 2).unwrap();
                assert!(!identical || clustering.centroids.rows() <= 1, "{name}");
            }
        }
    }
}

#[test]
fn clear_groups_are_found() {
    use rand::RngExt as _;
    let mut rng = Seed(1).rng();
    let rows: Vec<[f32; 2]> = (0..80)
        .map(|i| [20.0 * (i % 2) as f32 + rng.random::<f32>(), 20.0 * (i / 2 % 2) as f32 + rng.random::<f32>()])
        .collect();
    let points = Matrix::from_rows(&rows).unwrap();
    let with_four = ["hdbscan 5", "kmeans 4", "linfa kmeans 4", "petal hdbscan 5"];
    for (name, clusterer, _) in all().into_iter().filter(|case| with_four.contains(&case.0)) {
        let clustering = clusterer.cluster(&Rows::new(&points), None, &Context::new(1)).unwrap();
        for (i, a) in clustering.labels.iter().enumerate() {
            for (j, b) in clustering.labels.iter().enumerate().take(i) {
                if a.is_some() && b.is_some() {
                    assert_eq!(a == b, i % 4 == j % 4, "{name}: rows {i} and {j}");
                }
            }
        }
        assert!(clustering.labels.iter().flatten().count() > 60, "{name}");
    }
}

#[test]
fn rows_that_are_not_finite_are_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut points = Matrix::zeros(8, 3);
        points.row_mut(6)[2] = bad;
        for (name, clusterer, _) in all() {
            match clusterer.cluster(&Rows::new(&points), None, &Context::new(1)) {
                Err(Error::NotFinite { row: 6, column: 2, .. }) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn cancelling_stops_them() {
    let points = Matrix::new(30, 1, (0..30).map(|i| i as f32).collect()).unwrap();
    let control = Control::default();
    control.cancel.cancel();
    for (name, clusterer, _) in all() {
        let context = Context { control: control.clone(), ..Context::new(1) };
        assert!(matches!(clusterer.cluster(&Rows::new(&points), None, &context), Err(Error::Cancelled)), "{name}");
    }
}
