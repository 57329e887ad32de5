//! PCA and kernel PCA as scikit-learn's, t-SNE no worse than openTSNE's, HDBSCAN as Python's `hdbscan`.

use fedhds_core::cluster::hdbscan::{ClusterSelectionMethod, Hdbscan, HdbscanConfig};
use fedhds_core::reduce::tsne::{Affinities, Tsne, TsneConfig, kl_divergence};
use fedhds_core::reduce::{Kernel, KernelPca, KernelPcaConfig, Pca, PcaConfig};
use fedhds_core::stage::Reducer;
use fedhds_core::types::{Context, Control, Matrix};
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

/// The tensors of the fixture.
struct Fixture(Vec<u8>);

impl Fixture {
    fn open() -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/numerics/numerics.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).is_ok()
    }

    /// Any tensor as a matrix; a vector is one row.
    fn matrix(&self, name: &str) -> Matrix {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            Dtype::I64 => view.data().as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
            other => panic!("{name}: {other:?}"),
        };
        let (rows, cols) = match *view.shape() {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => panic!("{name}: {:?}", view.shape()),
        };
        Matrix::new(rows, cols, data).unwrap()
    }
}

/// Largest difference, relative to the largest expected value.
fn difference(got: &Matrix, expected: &Matrix) -> f32 {
    assert_eq!((got.rows(), got.cols()), (expected.rows(), expected.cols()));
    let largest = expected.as_slice().iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = got.as_slice().iter().zip(expected.as_slice());
    pairs.fold(0f32, |m, (g, e)| m.max((g - e).abs())) / largest
}

#[test]
fn pca_is_scikit_learns_signs_included() {
    let fixture = Fixture::open();
    for case in ["pca_wide", "pca_tall"] {
        for (whiten, name) in [(false, "scores"), (true, "whitened")] {
            let pca = Pca::new(PcaConfig { n_components: 5, whiten }).unwrap();
            let got = pca.reduce(&fixture.matrix(&format!("{case}.x")), &Context::new(1)).unwrap();
            let off = difference(&got, &fixture.matrix(&format!("{case}.{name}")));
            assert!(off < 1e-4, "{case} {name}: {off}");
        }
    }
}

/// scikit-learn's components and variances follow from its scores: `X^T s_j / |s_j|^2` and `|s_j|^2 / (n - 1)`.
#[test]
fn fitted_pca_is_scikit_learns() {
    let fixture = Fixture::open();
    for case in ["pca_wide", "pca_tall"] {
        let x = fixture.matrix(&format!("{case}.x"));
        let theirs = fixture.matrix(&format!("{case}.scores"));
        let (n, d) = (x.rows(), x.cols());
        let mean: Vec<f64> =
            (0..d).map(|c| x.iter_rows().map(|row| f64::from(row[c])).sum::<f64>() / n as f64).collect();
        let squared = |row: &[f32]| row.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m).powi(2)).sum::<f64>();
        let total: f64 = x.iter_rows().map(squared).sum();
        for (whiten, name) in [(false, "scores"), (true, "whitened")] {
            let pca = Pca::new(PcaConfig { n_components: 5, whiten }).unwrap();
            let fitted = pca.fit(&x, &Control::default()).unwrap();
            let got = fitted.transform(&x, &Control::default()).unwrap();
            let off = difference(&got, &fixture.matrix(&format!("{case}.{name}")));
            assert!(off < 1e-4, "{case} {name}: {off}");
            assert!(fitted.mean.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-9));
            for j in 0..5 {
                let score = |i: usize| f64::from(theirs.row(i)[j]);
                let length: f64 = (0..n).map(|i| score(i).powi(2)).sum();
                let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-4;
                assert!(close(fitted.explained_variance[j], length / (n - 1) as f64), "{case}: variance {j}");
                assert!(close(fitted.explained_variance_ratio[j], length / total), "{case}: ratio {j}");
                for (c, mean) in mean.iter().enumerate() {
                    let along: f64 = (0..n).map(|i| (f64::from(x.row(i)[c]) - mean) * score(i)).sum();
                    let off = (f64::from(fitted.components.row(j)[c]) - along / length).abs();
                    assert!(off < 1e-4, "{case}: component {j}, column {c}: {off}");
                }
            }
        }
    }
}

#[test]
fn kernel_pca_is_scikit_learns_signs_included() {
    let fixture = Fixture::open();
    let x = fixture.matrix("kernel_pca.x");
    let base = |kernel| KernelPcaConfig { n_components: 4, kernel, ..KernelPcaConfig::default() };
    for (name, config) in [
        ("linear", base(Kernel::Linear)),
        ("rbf", base(Kernel::Rbf)),
        ("rbf_gamma", KernelPcaConfig { gamma: Some(0.05), ..base(Kernel::Rbf) }),
        ("poly", base(Kernel::Poly)),
        ("poly_2", KernelPcaConfig { degree: 2, gamma: Some(0.3), coef0: 0.5, ..base(Kernel::Poly) }),
        ("cosine", base(Kernel::Cosine)),
    ] {
        let got = KernelPca::new(config).unwrap();
        let got = got.reduce(&x, &Context::new(1)).unwrap();
        let off = difference(&got, &fixture.matrix(&format!("kernel_pca.{name}")));
        assert!(off < 1e-4, "{name}: {off}");
    }
}

/// The bar of the project: a divergence no more than 2% above openTSNE's, both measured on the same exact affinities.
#[test]
fn tsne_is_no_worse_than_opentsne() {
    let fixture = Fixture::open();
    for (case, perplexity) in [("tsne_300", 30.0), ("tsne_1000", 30.0), ("tsne_concentrated", 26.0)] {
        let x = fixture.matrix(&format!("{case}.x"));
        let affinities = Affinities::from_features(&x, perplexity, &Control::default()).unwrap();
        let theirs = fixture.matrix(&format!("{case}.p"));
        let largest = theirs.as_slice().iter().copied().fold(0.0, f32::max);
        for i in 0..theirs.rows() {
            let mut row = vec![0.0f32; x.rows()];
            affinities.row(i).for_each(|(j, p)| row[j] = p as f32);
            for (j, (&ours, &theirs)) in row.iter().zip(theirs.row(i)).enumerate() {
                assert!((ours - theirs).abs() < 1e-3 * largest, "{case}: p of {i}, {j}: {ours} {theirs}");
            }
        }
        let tsne = Tsne::new(TsneConfig { perplexity, ..TsneConfig::default() }).unwrap();
        assert_eq!(tsne.config().effective_perplexity(x.rows()), perplexity);
        let ours = kl_divergence(&affinities, &tsne.reduce(&x, &Context::new(1)).unwrap()).unwrap();
        let theirs = kl_divergence(&affinities, &fixture.matrix(&format!("{case}.embedding"))).unwrap();
        println!("{case}: ours {ours:.4}, openTSNE {theirs:.4}");
        assert!(ours <= 1.02 * theirs, "{case}: ours {ours}, openTSNE {theirs}");
    }
}

#[test]
fn hdbscan_is_pythons() {
    let fixture = Fixture::open();
    // Python's min_samples does not count the point itself, and is min_cluster_size where it is not given.
    let base = HdbscanConfig { min_samples: Some(6), ..HdbscanConfig::default() };
    let leaf = ClusterSelectionMethod::Leaf;
    let single = HdbscanConfig { allow_single_cluster: true, ..base.clone() };
    let settings = [
        ("default", base.clone()),
        ("size_2", HdbscanConfig { min_cluster_size: 2, min_samples: Some(3), ..base.clone() }),
        ("size_10_samples_3", HdbscanConfig { min_cluster_size: 10, min_samples: Some(4), ..base.clone() }),
        ("samples_1", HdbscanConfig { min_samples: Some(2), ..base.clone() }),
        ("size_2_samples_1", HdbscanConfig { min_cluster_size: 2, min_samples: Some(2), ..base.clone() }),
        ("leaf", HdbscanConfig { cluster_selection_method: leaf, ..base.clone() }),
        ("single", single.clone()),
        ("single_epsilon", HdbscanConfig { cluster_selection_epsilon: 0.6, ..single }),
        ("epsilon", HdbscanConfig { cluster_selection_epsilon: 0.8, ..base.clone() }),
        (
            "leaf_epsilon",
            HdbscanConfig {
                cluster_selection_method: leaf,
                cluster_selection_epsilon: 0.8,
                min_cluster_size: 3,
                min_samples: Some(4),
                ..base
            },
        ),
    ];
    let mut compared = std::collections::BTreeSet::new();
    for case in ["hdbscan_blobs", "hdbscan_many", "hdbscan_spirals", "hdbscan_wide", "hdbscan_one"] {
        for (name, config) in &settings {
            // Some settings tie on every draw of some data: make.py says so and leaves them out.
            if !fixture.has(&format!("{case}.{name}.x")) {
                continue;
            }
            compared.insert(*name);
            let x = fixture.matrix(&format!("{case}.{name}.x"));
            let fit = Hdbscan::new(config.clone()).unwrap().fit(&x, &Control::default()).unwrap();
            // Python numbers clusters by their place in the tree; ours are by first row.
            let mut number = std::collections::BTreeMap::new();
            let labels = fixture.matrix(&format!("{case}.{name}.labels"));
            for (row, &theirs) in labels.row(0).iter().enumerate() {
                let ours = fit.clustering.labels[row].map_or(-1, |id| id.index() as i64);
                let expected = if theirs < 0.0 {
                    -1
                } else {
                    let next = number.len() as i64;
                    *number.entry(theirs as i64).or_insert(next)
                };
                assert_eq!(ours, expected, "{case}, {name}: label of row {row}");
            }
            let close = |what: &str, ours: &[f32]| {
                let theirs = fixture.matrix(&format!("{case}.{name}.{what}"));
                for (row, (a, b)) in ours.iter().zip(theirs.row(0)).enumerate() {
                    assert!((a - b).abs() < 1e-5, "{case}, {name}: {what} of row {row}: {a} {b}");
                }
            };
            close("probabilities", &fit.clustering.strength);
            close("outlier_scores", &fit.outlier_scores);
        }
    }
    assert_eq!(compared.len(), settings.len(), "every setting is compared on some data");
}
