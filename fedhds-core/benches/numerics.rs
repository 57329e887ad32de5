//! t-SNE, PCA, HDBSCAN and k-means at a few sizes, on Gaussian topics.
//!
//! `cargo bench -p fedhds-core --no-default-features --bench numerics`, with `RAYON_NUM_THREADS=1` to compare with others'
//! CPU seconds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use fedhds_core::reduce::{Pca, PcaConfig, SharedProjection, SharedProjectionConfig, Tsne, TsneConfig};
use fedhds_core::stage::Reducer;
use fedhds_core::types::{Context, Control, Matrix, Seed};
use rand_distr::{Distribution, StandardNormal};
use std::time::Duration;

/// Ten Gaussian topics; row i is of topic i % 10.
fn topics(n: usize, d: usize) -> Matrix {
    let mut rng = Seed(1).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let centres: Vec<f32> = (0..10 * d).map(|_| 3.0 * normal()).collect();
    let data = (0..n * d).map(|at| centres[(at / d % 10) * d + at % d] + normal()).collect();
    Matrix::new(n, d, data).unwrap()
}

fn reducers(criterion: &mut Criterion) {
    let context = Context::new(1);
    let mut group = criterion.benchmark_group("tsne");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    let tsne = Tsne::new(TsneConfig::default()).unwrap();
    for (n, d) in [(100, 384), (1000, 384), (200, 49_152), (1000, 49_152)] {
        let x = topics(n, d);
        group.bench_function(BenchmarkId::from_parameter(format!("{n}x{d}")), |b| {
            b.iter(|| tsne.reduce(&x, &context).unwrap());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("linear");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    let x = topics(1000, 49_152);
    let pca = Pca::new(PcaConfig { n_components: 50, whiten: false }).unwrap();
    group.bench_function("pca 50 of 1000x49152", |b| b.iter(|| pca.reduce(&x, &context).unwrap()));
    let projection = SharedProjection::new(SharedProjectionConfig::default()).unwrap();
    group.bench_function("projection to 128 of 1000x49152", |b| b.iter(|| projection.reduce(&x, &context).unwrap()));
    group.finish();
}

fn clusterers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cluster");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    let hdbscan = Hdbscan::new(HdbscanConfig::default()).unwrap();
    for n in [1_000, 10_000, 100_000] {
        let x = topics(n, 2);
        group.bench_function(BenchmarkId::new("hdbscan", n), |b| {
            b.iter(|| hdbscan.fit(&x, &Control::default()).unwrap());
        });
    }
    group.finish();

    // One start: scikit-learn's `KMeans(k, n_init=1)` on f32 rows is the measure.
    let mut group = criterion.benchmark_group("kmeans");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    let kmeans = KMeans::new(KMeansConfig { n_init: 1, ..KMeansConfig::default() }).unwrap();
    for n in [1_000, 20_000] {
        let x = topics(n, 384);
        for k in [20, 200] {
            group.bench_function(BenchmarkId::new(format!("{n}x384"), k), |b| {
                b.iter(|| kmeans.fit(&x, None, k, &Context::new(1)).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, reducers, clusterers);
criterion_main!(benches);
