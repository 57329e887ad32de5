//! What every selector keeps to, whatever it picks by.

use fedhds_core::Error;
use fedhds_core::method::check_selection;
use fedhds_core::select::{FacilityLocation, NearestCentroid, Random, RandomMember, Stratified};
use fedhds_core::stage::{Budget, Clustering, Rows, Selector};
use fedhds_core::types::{CancelToken, ClientId, ClusterId, Context, Control, Matrix, RowId};
use proptest::prelude::*;

fn all() -> Vec<(&'static str, Box<dyn Selector>)> {
    vec![
        ("nearest_centroid", Box::new(NearestCentroid)),
        ("random_member", Box::new(RandomMember)),
        ("facility_location", Box::new(FacilityLocation)),
        ("random", Box::new(Random)),
        ("stratified", Box::new(Stratified)),
    ]
}

/// Points, weights, labels and owners that belong together.
#[derive(Debug, Clone)]
struct Pool {
    points: Matrix,
    weights: Vec<f32>,
    clustering: Option<Clustering>,
    owners: Vec<ClientId>,
}

impl Pool {
    fn rows(&self) -> Rows<'_> {
        let Pool { points, weights, clustering, owners } = self;
        Rows::new(points).weights(weights).groups(clustering.as_ref()).owners(owners)
    }
}

/// Up to 40 rows of small integers, many of them equal; up to 5 clusters and noise; up to 4 owners.
fn any_pool() -> impl Strategy<Value = Pool> {
    let row = (-3i8..4, -3i8..4, 1u8..30, 0usize..6, 0u32..4);
    (proptest::collection::vec(row, 0..40), any::<bool>(), any::<bool>()).prop_map(|(rows, grouped, owned)| {
        let points: Vec<[f32; 2]> = rows.iter().map(|r| [f32::from(r.0), f32::from(r.1)]).collect();
        let points = if rows.is_empty() { Matrix::zeros(0, 2) } else { Matrix::from_rows(&points).unwrap() };
        let mut numbers = std::collections::BTreeMap::new();
        let labels: Vec<Option<ClusterId>> = (rows.iter())
            .map(|r| {
                let next = numbers.len() as u32;
                (r.3 < 5).then(|| ClusterId(*numbers.entry(r.3).or_insert(next)))
            })
            .collect();
        let clustering = Clustering {
            strength: labels.iter().map(|l| if l.is_some() { 1.0 } else { 0.0 }).collect(),
            labels,
            centroids: Matrix::zeros(numbers.len(), 2),
        };
        Pool {
            points,
            weights: rows.iter().map(|r| f32::from(r.2)).collect(),
            clustering: grouped.then_some(clustering),
            owners: if owned { rows.iter().map(|r| ClientId(r.4)).collect() } else { Vec::new() },
        }
    })
}

fn any_budget() -> impl Strategy<Value = Budget> {
    prop_oneof![(0usize..50).prop_map(Budget::Total), (0usize..6).prop_map(Budget::PerCluster)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_count_is_exact_and_rows_are_distinct(pool in any_pool(), budget in any_budget(), seed in any::<u64>()) {
        for (name, selector) in all() {
            let rows = selector.select(&pool.rows(), budget, &Context::new(seed)).unwrap();
            check_selection(name, &pool.rows(), budget, &rows).unwrap();
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_rows(pool in any_pool(), budget in any_budget(), seed in any::<u64>()) {
        for (name, selector) in all() {
            let pick = || selector.select(&pool.rows(), budget, &Context::new(seed)).unwrap();
            prop_assert_eq!(pick(), pick(), "{}", name);
        }
    }

    #[test]
    fn no_larger_total_gives_fewer_rows_of_a_cluster(pool in any_pool(), total in 0usize..40, seed in any::<u64>()) {
        // Holds for all that spread a total over clusters by quota or take rows one by one.
        let Some(clustering) = &pool.clustering else { return Ok(()) };
        for (name, selector) in all().into_iter().take(2) {
            let sizes = |total| {
                let rows = selector.select(&pool.rows(), Budget::Total(total), &Context::new(seed)).unwrap();
                let mut sizes = vec![0usize; clustering.centroids.rows()];
                rows.iter().filter_map(|r| clustering.labels[r.index()]).for_each(|c| sizes[c.index()] += 1);
                sizes
            };
            let covered = |sizes: &[usize]| sizes.iter().filter(|&&s| s > 0).count();
            prop_assert!(covered(&sizes(total + 1)) >= covered(&sizes(total)), "{}", name);
            if total >= clustering.centroids.rows() {
                prop_assert!(sizes(total).iter().all(|&s| s > 0), "{}: every cluster is covered first", name);
            }
        }
    }
}

fn line(n: usize) -> Pool {
    Pool {
        points: Matrix::new(n, 1, (0..n).map(|v| v as f32).collect()).unwrap(),
        weights: vec![1.0; n],
        clustering: None,
        owners: Vec::new(),
    }
}

#[test]
fn few_rows_are_defined() {
    for n in 0..6 {
        let pool = line(n);
        for (name, selector) in all() {
            for budget in
                [0, 1, 3, usize::MAX].map(Budget::Total).into_iter().chain([0, 1, usize::MAX].map(Budget::PerCluster))
            {
                let rows = selector.select(&pool.rows(), budget, &Context::new(1)).unwrap();
                check_selection(name, &pool.rows(), budget, &rows).unwrap();
            }
        }
    }
}

#[test]
fn rows_without_columns_are_rows() {
    let pool = Pool { points: Matrix::zeros(8, 0), ..line(8) };
    for (name, selector) in all() {
        let rows = selector.select(&pool.rows(), Budget::Total(3), &Context::new(1)).unwrap();
        assert_eq!(rows.len(), 3, "{name}");
    }
}

#[test]
fn an_empty_cluster_gives_nothing() {
    let clustering = Clustering { labels: vec![None; 4], strength: vec![0.0; 4], centroids: Matrix::zeros(0, 1) };
    let pool = Pool { clustering: Some(clustering), ..line(4) };
    for (name, selector) in all() {
        let rows = selector.select(&pool.rows(), Budget::PerCluster(1), &Context::new(1)).unwrap();
        assert!(rows.is_empty(), "{name}: all noise");
        let rows = selector.select(&pool.rows(), Budget::Total(2), &Context::new(1)).unwrap();
        assert_eq!(rows.len(), 2, "{name}: a total is met even by noise");
    }
}

#[test]
fn bad_rows_are_errors() {
    let good = line(4);
    let cases: Vec<(&str, Pool)> = vec![
        ("row 2", Pool { points: Matrix::new(4, 1, vec![0.0, 1.0, f32::NAN, 2.0]).unwrap(), ..good.clone() }),
        ("weights", Pool { weights: vec![1.0; 3], ..good.clone() }),
        ("weights", Pool { weights: vec![1.0, f32::INFINITY, 1.0, 1.0], ..good.clone() }),
        ("owners", Pool { owners: vec![ClientId(0); 5], ..good.clone() }),
        (
            "cluster ids below 1",
            Pool {
                clustering: Some(Clustering {
                    labels: vec![Some(ClusterId(1)); 4],
                    strength: vec![1.0; 4],
                    centroids: Matrix::zeros(1, 1),
                }),
                ..good
            },
        ),
    ];
    for (word, pool) in cases {
        for (name, selector) in all() {
            for budget in [Budget::Total(2), Budget::PerCluster(1)] {
                let error = selector.select(&pool.rows(), budget, &Context::new(1)).unwrap_err();
                assert!(matches!(error, Error::Input { .. } | Error::NotFinite { .. }), "{name}: {error}");
                assert!(error.to_string().contains(word), "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_selector_stops_when_asked() {
    let cancel = CancelToken::default();
    cancel.cancel();
    let context = Context { control: Control { cancel, progress: None }, ..Context::new(1) };
    let error = FacilityLocation.select(&line(50).rows(), Budget::Total(5), &context).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
}

#[test]
fn any_number_of_threads_gives_the_same_rows() {
    let pool = Pool {
        points: Matrix::new(300, 4, (0..1200).map(|v| ((v * 7919) as f32).sin()).collect()).unwrap(),
        weights: (0..300).map(|v| 1.0 + (v % 17) as f32).collect(),
        clustering: None,
        owners: (0..300).map(|v| ClientId(v % 7)).collect(),
    };
    for (name, selector) in all() {
        let with = |threads: usize| -> Vec<RowId> {
            let pool_of_threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool_of_threads.install(|| selector.select(&pool.rows(), Budget::Total(40), &Context::new(5))).unwrap()
        };
        assert_eq!(with(1), with(4), "{name}");
    }
}
