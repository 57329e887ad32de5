//! k-means against linfa's: no worse in what it minimises, the same groups where they are clear.

use fedhds_core::cluster::{KMeans, KMeansConfig};
use fedhds_core::metrics::adjusted_rand;
use fedhds_core::peers::{LinfaKMeans, LinfaKMeansConfig};
use fedhds_core::stage::Clustering;
use fedhds_core::types::{Context, Matrix, Seed};
use rand::RngExt as _;
use rand_distr::{Distribution, StandardNormal};

/// Rows about `topics` centres that lie `spread` deviations apart in each column, unlike in number.
fn topics(n: usize, d: usize, topics: usize, spread: f32) -> Matrix {
    let mut rng = Seed(11).rng();
    let centres: Vec<f32> =
        (0..topics * d).map(|_| spread * Distribution::<f32>::sample(&StandardNormal, &mut rng)).collect();
    let mut data = Vec::with_capacity(n * d);
    for _ in 0..n {
        let topic = rng.random_range(0..topics).min(rng.random_range(0..topics));
        data.extend((0..d).map(|c| centres[topic * d + c] + Distribution::<f32>::sample(&StandardNormal, &mut rng)));
    }
    Matrix::new(n, d, data).unwrap()
}

/// Rows on a line, denser and denser: no groups at all.
fn line(n: usize) -> Matrix {
    Matrix::new(n, 1, (0..n).map(|i| (i as f32 / n as f32).powi(4)).collect()).unwrap()
}

fn inertia(points: &Matrix, clustering: &Clustering) -> f64 {
    let own = |(row, label): (&[f32], &Option<fedhds_core::types::ClusterId>)| -> f64 {
        let centroid = clustering.centroids.row(label.unwrap().index());
        row.iter().zip(centroid).map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2)).sum()
    };
    points.iter_rows().zip(&clustering.labels).map(own).sum()
}

fn both(points: &Matrix, k: usize, seed: u64) -> [Clustering; 2] {
    let ours = KMeans::new(KMeansConfig::with_clusters(k)).unwrap();
    let linfas = LinfaKMeans::new(LinfaKMeansConfig { n_clusters: k, ..LinfaKMeansConfig::default() }).unwrap();
    let ours = ours.fit(points, None, k, &Context::new(seed)).unwrap().clustering;
    [ours, linfas.fit(points, k, &Context::new(seed)).unwrap()]
}

#[test]
fn inertia_is_no_worse_than_linfas() {
    let cases = [
        ("separated", topics(400, 6, 8, 6.0), 8, 1.001),
        ("overlapping", topics(500, 10, 12, 1.0), 12, 1.001),
        ("more clusters than topics", topics(300, 20, 3, 3.0), 25, 1.001),
        // Nothing is grouped here, and the minima that ten starts meet differ by 2% from seed to seed.
        ("noise", topics(400, 4, 1, 0.0), 9, 1.01),
        ("wide", topics(120, 300, 5, 1.0), 5, 1.001),
        ("a line", line(500), 7, 1.001),
        ("a pair", topics(200, 2, 2, 3.0), 2, 1.001),
    ];
    // One seed says which of many minima was met: means over seeds are compared.
    for (name, points, k, most) in cases {
        let [mut ours, mut linfas] = [0.0; 2];
        for seed in 0..8 {
            let found = both(&points, k, seed).map(|clustering| inertia(&points, &clustering));
            (ours, linfas) = (ours + found[0] / 8.0, linfas + found[1] / 8.0);
        }
        assert!(ours <= most * linfas, "{name}: {ours} against {linfas} in the mean");
    }
}

#[test]
fn clear_groups_are_linfas() {
    for (n, d, k) in [(200, 2, 3), (400, 6, 8), (300, 60, 5)] {
        let points = topics(n, d, k, 12.0);
        let [ours, linfas] = both(&points, k, 5);
        let index = adjusted_rand(&ours.labels, &linfas.labels).unwrap();
        assert!(index >= 0.95, "{n} x {d}, {k} clusters: {index}");
    }
}
