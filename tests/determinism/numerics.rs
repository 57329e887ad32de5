//! Reduction and clustering: the same bits in pools of 1, 2 and 4 threads.

use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use fedhds_core::reduce::{
    KernelPca, KernelPcaConfig, Pca, PcaConfig, SharedProjection, SharedProjectionConfig, Tsne, TsneConfig,
};
use fedhds_core::stage::{Clusterer, Reducer, Rows};
use fedhds_core::types::{Context, Control, Matrix, Seed};
use rand_distr::{Distribution, StandardNormal};

/// Gaussian topics; row i is of topic i % 5.
fn topics(n: usize, d: usize) -> Matrix {
    let mut rng = Seed(9).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let centres: Vec<f32> = (0..5 * d).map(|_| 2.0 * normal()).collect();
    let data = (0..n * d).map(|at| centres[(at / d % 5) * d + at % d] + normal()).collect();
    Matrix::new(n, d, data).unwrap()
}

fn in_every_pool<T: PartialEq + std::fmt::Debug + Send>(what: &str, run: impl Fn() -> T + Sync) {
    let results: Vec<T> = [1, 2, 4]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&run))
        .into();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{what} depends on the number of threads");
}

fn bits(matrix: &Matrix) -> Vec<u32> {
    matrix.as_slice().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn reducers_keep_their_bits() {
    let wide = topics(150, 2500);
    let tall = topics(600, 30);
    let tsne = Tsne::new(TsneConfig { max_iter: 30, ..TsneConfig::default() }).unwrap();
    let pca = Pca::new(PcaConfig { n_components: 6, whiten: false }).unwrap();
    let kernel = KernelPca::new(KernelPcaConfig::default()).unwrap();
    let projection = SharedProjectionConfig { n_components: 16, seed: Seed(2) };
    for (shape, x) in [("wide", &wide), ("tall", &tall)] {
        let reducers: [(&str, &dyn Reducer); 3] = [("t-SNE", &tsne), ("PCA", &pca), ("kernel PCA", &kernel)];
        for (name, reducer) in reducers {
            in_every_pool(&format!("{name}, {shape}"), || bits(&reducer.reduce(x, &Context::new(7)).unwrap()));
        }
        in_every_pool(&format!("PCA that is kept, {shape}"), || {
            let (fitted, scores) = pca.fit_transform(x, &Control::default()).unwrap();
            let placed = fitted.transform(x, &Control::default()).unwrap();
            (bits(&scores), bits(&placed), bits(&fitted.components), fitted)
        });
        // Made anew in each pool: the matrix itself is part of the promise.
        in_every_pool(&format!("projection, {shape}"), || {
            let projection = SharedProjection::new(projection.clone()).unwrap();
            bits(&projection.reduce(x, &Context::new(7)).unwrap())
        });
    }
}

#[test]
fn clusterers_keep_their_bits() {
    // In few dimensions by the tree, in many by pairs.
    for (n, d) in [(3000, 2), (600, 3), (300, 40), (2100, 14)] {
        let mut x = topics(n, d);
        // Ties and duplicates: where several answers are as good, the same one is given.
        x.as_mut_slice().iter_mut().take(n * d / 2).for_each(|v| *v = v.round());
        let hdbscan = Hdbscan::new(HdbscanConfig::default()).unwrap();
        in_every_pool(&format!("HDBSCAN, {n} x {d}"), || {
            let fit = hdbscan.fit(&x, &Control::default()).unwrap();
            (bits(&fit.clustering.centroids), fit)
        });
        let kmeans = KMeans::new(KMeansConfig { n_clusters: 7, n_init: 2, ..KMeansConfig::default() }).unwrap();
        in_every_pool(&format!("k-means, {n} x {d}"), || {
            let clustering = kmeans.cluster(&Rows::new(&x), None, &Context::new(7)).unwrap();
            (bits(&clustering.centroids), clustering)
        });
        let weights: Vec<f32> = (0..n).map(|i| (1 + i % 4) as f32).collect();
        in_every_pool(&format!("weighted k-means, {n} x {d}"), || {
            let clustering = kmeans.fit(&x, Some(&weights), 7, &Context::new(7)).unwrap().clustering;
            (bits(&clustering.centroids), clustering)
        });
    }
}
