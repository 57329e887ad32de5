#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::reduce::{Kernel, KernelPca, KernelPcaConfig};
use crate::types::Seed;
use rand_distr::{Distribution, StandardNormal};

fn pca(n_components: usize) -> Pca {
    Pca::new(PcaConfig { n_components, whiten: false }).unwrap()
}

/// Rows spread by 5, 2 and .1 along three fixed directions.
fn ellipsoid(n: usize, d: usize) -> Matrix {
    let mut rng = Seed(2).rng();
    let mut data = Vec::new();
    for _ in 0..n {
        let t: [f32; 3] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
        data.extend((0..d).map(|c| {
            let along = |k: usize| if c % 3 == k { 1.0 } else { 0.0 };
            3.0 + 5.0 * t[0] * along(0) + 2.0 * t[1] * along(1) + 0.1 * t[2] * along(2)
        }));
    }
    Matrix::new(n, d, data).unwrap()
}

#[test]
fn both_ways_agree_and_keep_distances() {
    let x = ellipsoid(40, 45);
    let gram = Gram::centred(&x, &Control::default()).unwrap();
    let rows = scores_from_rows(&x, &gram, 3, Accuracy::Full, &Control::default()).unwrap();
    let columns = scores_from_columns(&x, 3, Accuracy::Full, &Control::default()).unwrap();
    for (a, b) in rows.iter().flatten().zip(columns.iter().flatten()) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    let iterated = scores_by_iteration(&x, 3, &Control::default()).unwrap();
    for (a, b) in rows.iter().flatten().zip(iterated.iter().flatten()) {
        assert!((a - b).abs() < 1e-2, "{a} {b}");
    }
    let y = pca(3).reduce(&x, &Context::new(1)).unwrap();
    let d = |m: &Matrix, i, j| m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    for i in 1..40 {
        assert!((d(&x, i, 0) - d(&y, i, 0)).abs() < 1e-3);
    }
}

#[test]
fn most_variance_first() {
    let y = pca(3).reduce(&ellipsoid(300, 9), &Context::new(1)).unwrap();
    let variance = |j: usize| y.iter_rows().map(|row| row[j] * row[j]).sum::<f32>() / 299.0;
    assert!((variance(0) / 75.0 - 1.0).abs() < 0.3 && (variance(1) / 12.0 - 1.0).abs() < 0.3);
    assert!(variance(2) < 0.1);
    let whitened = Pca::new(PcaConfig { n_components: 2, whiten: true }).unwrap();
    let y = whitened.reduce(&ellipsoid(300, 9), &Context::new(1)).unwrap();
    assert!((y.iter_rows().map(|row| row[1] * row[1]).sum::<f32>() / 299.0 - 1.0).abs() < 1e-3);
}

#[test]
fn lower_rank_gives_zero_columns() {
    for (n, d) in [(0, 3), (1, 3), (2, 3), (3, 1), (5, 0)] {
        let data = (0..n * d).map(|i| (i * i) as f32).collect();
        let y = pca(4).reduce(&Matrix::new(n, d, data).unwrap(), &Context::new(1)).unwrap();
        assert_eq!((y.rows(), y.cols()), (n, 4));
        assert!(y.iter_rows().all(|row| row[3] == 0.0));
    }
    let same = Matrix::new(4, 2, [1.5, -2.0].repeat(4)).unwrap();
    assert_eq!(pca(2).reduce(&same, &Context::new(1)).unwrap(), Matrix::zeros(4, 2));
}

#[test]
fn bad_values_are_errors() {
    assert!(Pca::new(PcaConfig { n_components: 0, whiten: false }).is_err());
    assert!(pca(1).reduce(&Matrix::new(1, 1, vec![f32::NAN]).unwrap(), &Context::new(1)).is_err());
}

fn fit(n_components: usize, whiten: bool, x: &Matrix) -> (FittedPca, Matrix) {
    Pca::new(PcaConfig { n_components, whiten }).unwrap().fit_transform(x, &Control::default()).unwrap()
}

/// `[n, d]` of independent noise around 7, columns ever narrower.
fn noise(n: usize, d: usize, seed: u64) -> Matrix {
    let mut rng = Seed(seed).rng();
    let data = (0..n * d).map(|i| {
        let t: f32 = StandardNormal.sample(&mut rng);
        7.0 + t * (3.0 - 2.8 * (i % d) as f32 / d as f32)
    });
    Matrix::new(n, d, data.collect()).unwrap()
}

fn difference(a: &Matrix, b: &Matrix) -> f32 {
    assert_eq!((a.rows(), a.cols()), (b.rows(), b.cols()));
    let largest = b.as_slice().iter().fold(0.0f32, |m, x| m.max(x.abs()));
    a.as_slice().iter().zip(b.as_slice()).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn the_basis_places_its_own_rows_where_the_scores_are() {
    for (n, d) in [(20, 50), (50, 20), (25, 25), (90, 2500), (300, 6)] {
        let x = noise(n, d, 1);
        let k = 6.min(d);
        for whiten in [false, true] {
            let (fitted, scores) = fit(k, whiten, &x);
            let reducer = Pca::new(PcaConfig { n_components: k, whiten }).unwrap();
            assert_eq!(reducer.reduce(&x, &Context::new(1)).unwrap(), scores, "the bits of the reducer");
            assert_eq!(reducer.fit(&x, &Control::default()).unwrap(), fitted);
            let again = fitted.transform(&x, &Control::default()).unwrap();
            assert!(difference(&again, &scores) < 1e-5, "{n} x {d}: {}", difference(&again, &scores));
            for i in [0, n / 2, n - 1] {
                let alone = fitted.transform(&x.take_rows(&[i]).unwrap(), &Control::default()).unwrap();
                assert_eq!(alone.row(0), again.row(i), "a row is placed by itself");
            }
        }
    }
}

#[test]
fn components_are_orthonormal_and_explain_what_they_say() {
    for (n, d) in [(20, 50), (50, 20), (90, 2500)] {
        let x = noise(n, d, 2);
        let all = n.min(d);
        let (fitted, scores) = fit(all, false, &x);
        let product = |a: usize, b: usize| {
            let pairs = fitted.components.row(a).iter().zip(fitted.components.row(b));
            pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        // Centring takes one dimension where there are fewer rows than columns.
        let rank = if n <= d { n - 1 } else { d };
        for (a, b) in (0..rank).flat_map(|a| (0..=a).map(move |b| (a, b))) {
            let expected = if a == b { 1.0 } else { 0.0 };
            assert!((product(a, b) - expected).abs() < 1e-5, "{n} x {d}: {a} {b} {}", product(a, b));
        }
        for (j, (&variance, ratio)) in
            fitted.explained_variance.iter().zip(&fitted.explained_variance_ratio).enumerate()
        {
            let own: f64 = scores.iter_rows().map(|row| f64::from(row[j]).powi(2)).sum::<f64>() / (n - 1) as f64;
            assert!((own - variance).abs() < 1e-5 * fitted.explained_variance[0], "{own} {variance}");
            assert!((0.0..=1.0).contains(ratio) && (j == 0 || variance <= fitted.explained_variance[j - 1]));
        }
        let sum: f64 = fitted.explained_variance_ratio.iter().sum();
        assert!(sum <= 1.0 + 1e-12 && sum > 1.0 - 1e-5, "all components explain all: {sum}");
        let few: f64 = fit(3, false, &x).0.explained_variance_ratio.iter().sum();
        assert!(few < 0.9 * sum, "{few}");
        // mean + scores x components is the row again.
        for i in [0, n - 1] {
            for c in [0, d - 1] {
                let from = |j: usize| f64::from(scores.row(i)[j]) * f64::from(fitted.components.row(j)[c]);
                let back = fitted.mean[c] + (0..all).map(from).sum::<f64>();
                assert!((back - f64::from(x.row(i)[c])).abs() < 1e-4, "{back} {}", x.row(i)[c]);
            }
        }
    }
}

#[test]
fn new_rows_fall_where_rows_like_them_do() {
    let x = ellipsoid(400, 30);
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..400).partition(|i| i % 2 == 0);
    let (fitted, _) = fit(2, true, &x.take_rows(&first).unwrap());
    let new = fitted.transform(&x.take_rows(&rest).unwrap(), &Control::default()).unwrap();
    for j in 0..2 {
        let variance = new.iter_rows().map(|row| row[j] * row[j]).sum::<f32>() / 200.0;
        assert!((variance - 1.0).abs() < 0.3, "{variance}");
    }
    // The directions are those that the rows were spread along.
    for (j, component) in fitted.components.iter_rows().enumerate() {
        let along: f32 = component.iter().skip(j).step_by(3).map(|v| v * v).sum();
        assert!(along > 0.99 && component.iter().skip(j).step_by(3).all(|&v| v > 0.0), "{component:?}");
    }
}

#[test]
fn what_the_rank_does_not_give_is_zero() {
    for (n, d) in [(1, 3), (2, 3), (3, 1), (5, 0), (1, 1)] {
        let data = (0..n * d).map(|i| (i * i) as f32).collect();
        let x = Matrix::new(n, d, data).unwrap();
        let (fitted, scores) = fit(4, true, &x);
        let most = n.min(d);
        assert_eq!((fitted.components.rows(), fitted.components.cols(), fitted.mean.len()), (most, d, d));
        assert_eq!((fitted.explained_variance.len(), fitted.explained_variance_ratio.len()), (most, most));
        // Centring takes the last dimension where there are no more rows than columns.
        if n <= d {
            assert!(fitted.components.row(n - 1).iter().all(|&v| v == 0.0) && fitted.explained_variance[n - 1] == 0.0);
        }
        let again = fitted.transform(&x, &Control::default()).unwrap();
        assert_eq!((again.rows(), again.cols()), (n, 4));
        assert!(again.as_slice().iter().zip(scores.as_slice()).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let same = Matrix::new(4, 2, [1.5, -2.0].repeat(4)).unwrap();
    let (fitted, scores) = fit(2, false, &same);
    assert_eq!((fitted.mean.as_slice(), scores), ([1.5, -2.0].as_slice(), Matrix::zeros(4, 2)));
    assert_eq!(fitted.explained_variance_ratio, [0.0, 0.0]);
    // Two directions, twelve rows, a hundred columns: the rest is rounding, and the basis stays one.
    let rows: Vec<Vec<f32>> = (0..12)
        .map(|i| (0..100).map(|c| 3.0 + (i * (c % 7)) as f32 * 0.37 + (i % 3 * (c % 5)) as f32 * 0.71).collect())
        .collect();
    let x = Matrix::from_rows(&rows).unwrap();
    let (fitted, scores) = fit(8, false, &x);
    assert!(fitted.explained_variance[2] < 1e-6 * fitted.explained_variance[0], "{:?}", fitted.explained_variance);
    let again = fitted.transform(&x, &Control::default()).unwrap();
    let largest = scores.as_slice().iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (placed, own) in again.iter_rows().zip(scores.iter_rows()) {
        assert!(placed[..2].iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-5 * largest), "{placed:?} {own:?}");
        assert!(placed[2..].iter().chain(&own[2..]).all(|v| v.abs() < 1e-3 * largest), "{placed:?} {own:?}");
    }
    for (a, b) in (0..8).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let pairs = fitted.components.row(a).iter().zip(fitted.components.row(b));
        assert!(pairs.map(|(a, b)| a * b).sum::<f32>().abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn the_unit_of_the_features_changes_nothing_else() {
    for (n, d) in [(30, 40), (40, 7)] {
        let x = noise(n, d, 4);
        let (plain, scores) = fit(3, false, &x);
        for power in [-120, -100, -60, 60, 100, 120] {
            let factor = 2f32.powi(power);
            let scaled = Matrix::new(n, d, x.as_slice().iter().map(|v| v * factor).collect()).unwrap();
            let (fitted, placed) = fit(3, false, &scaled);
            let back = |m: &Matrix| Matrix::new(n, 3, m.as_slice().iter().map(|v| v / factor).collect()).unwrap();
            assert!(difference(&back(&placed), &scores) < 1e-5, "{power}");
            let again = fitted.transform(&scaled, &Control::default()).unwrap();
            assert!(difference(&back(&again), &scores) < 1e-5, "{power}");
            for (a, b) in fitted.explained_variance_ratio.iter().zip(&plain.explained_variance_ratio) {
                assert!((a - b).abs() < 1e-6, "{power}");
            }
            let tsne =
                crate::reduce::Tsne::new(crate::reduce::TsneConfig { max_iter: 5, ..Default::default() }).unwrap();
            let placed = tsne.reduce(&scaled, &Context::new(1)).unwrap();
            assert!(placed.as_slice().iter().any(|v| v.abs() > 1e-6), "{power}");
            for kernel in [Kernel::Linear, Kernel::Cosine] {
                let config = KernelPcaConfig { n_components: 2, kernel, ..Default::default() };
                let kernel_pca = KernelPca::new(config).unwrap();
                let (own, far) = (
                    kernel_pca.reduce(&x, &Context::new(1)).unwrap(),
                    kernel_pca.reduce(&scaled, &Context::new(1)).unwrap(),
                );
                let by = if kernel == Kernel::Linear { factor } else { 1.0 };
                let back = Matrix::new(n, 2, far.as_slice().iter().map(|v| v / by).collect()).unwrap();
                assert!(difference(&back, &own) < 1e-4, "{power} {kernel:?}");
            }
        }
    }
}

#[test]
fn whitening_leaves_out_what_differs_by_rounding_alone() {
    for (n, d) in [(50, 10), (20, 50), (12, 300), (4, 3000), (300, 5)] {
        for offset in [0.0, 100.0] {
            let mut rng = Seed(5).rng();
            let along: Vec<f32> = (0..2 * d).map(|_| StandardNormal.sample(&mut rng)).collect();
            let rows: Vec<Vec<f32>> = (0..n)
                .map(|_| {
                    let t: [f32; 2] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
                    (0..d).map(|c| offset + t[0] * along[c] + t[1] * along[d + c]).collect()
                })
                .collect();
            let x = Matrix::from_rows(&rows).unwrap();
            let (fitted, scores) = fit(3, true, &x);
            assert_eq!(fitted.explained_variance[2], 0.0, "{n} x {d} at {offset}");
            let again = fitted.transform(&x, &Control::default()).unwrap();
            for placed in [&scores, &again] {
                assert!(placed.iter_rows().all(|row| row[2] == 0.0), "{n} x {d} at {offset}");
                let variance = placed.iter_rows().map(|row| f64::from(row[1]).powi(2)).sum::<f64>() / (n - 1) as f64;
                assert!((variance - 1.0).abs() < 1e-2, "{variance}");
            }
        }
    }
    // A direction a thousand times narrower is one all the same.
    let mut narrow = noise(60, 4, 6);
    (0..60).for_each(|i| narrow.row_mut(i)[3] = 7.0 + (narrow.row(i)[3] - 7.0) * 1e-3);
    let (_, scores) = fit(4, true, &narrow);
    let variance = scores.iter_rows().map(|row| f64::from(row[3]).powi(2)).sum::<f64>() / 59.0;
    assert!((variance - 1.0).abs() < 1e-2, "{variance}");
}

#[test]
fn a_fit_of_no_use_is_an_error() {
    let control = Control::default();
    assert!(pca(1).fit(&Matrix::zeros(0, 3), &control).unwrap_err().to_string().contains("at least 1 row"));
    let nan = Matrix::new(1, 2, vec![0.0, f32::NAN]).unwrap();
    assert!(pca(1).fit(&nan, &control).unwrap_err().to_string().contains("row 0, column 1"));
    let (fitted, _) = fit(2, false, &noise(9, 4, 3));
    assert_eq!(fitted.transform(&Matrix::zeros(0, 4), &control).unwrap(), Matrix::zeros(0, 2));
    let message = |fitted: &FittedPca, x: &Matrix| fitted.transform(x, &control).unwrap_err().to_string();
    assert!(message(&fitted, &Matrix::zeros(2, 3)).contains("4 columns"));
    assert!(message(&fitted, &Matrix::new(1, 4, vec![f32::INFINITY; 4]).unwrap()).contains("row 0, column 0"));
    let short = FittedPca { mean: vec![0.0; 3], ..fitted.clone() };
    assert!(message(&short, &Matrix::zeros(2, 4)).contains("mean"));
    let short = FittedPca { explained_variance: vec![1.0], ..fitted.clone() };
    assert!(message(&short, &Matrix::zeros(2, 4)).contains("explained_variance"));
    let few = FittedPca { n_components: 1, ..fitted.clone() };
    assert!(message(&few, &Matrix::zeros(2, 4)).contains("n_components"));
    let cancelled = Control::default();
    cancelled.cancel.cancel();
    assert!(matches!(fitted.transform(&Matrix::zeros(2, 4), &cancelled), Err(Error::Cancelled)));
}
