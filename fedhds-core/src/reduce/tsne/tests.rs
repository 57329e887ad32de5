//! What t-SNE keeps of its input, and what it promises at the edges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::types::Seed;

fn tsne(change: impl Fn(&mut TsneConfig)) -> Tsne {
    let mut config = TsneConfig::default();
    change(&mut config);
    Tsne::new(config).unwrap()
}

/// `k` Gaussian topics of `per` rows each in `d` dimensions; row i is of topic i % k.
fn topics(k: usize, per: usize, d: usize, spread: f32) -> Matrix {
    let mut rng = Seed(11).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let centres: Vec<Vec<f32>> = (0..k).map(|_| (0..d).map(|_| normal()).collect()).collect();
    let data = (0..k * per).flat_map(|i| centres[i % k].iter().map(|c| c + spread * normal()).collect::<Vec<_>>());
    Matrix::new(k * per, d, data.collect()).unwrap()
}

/// Share of rows whose nearest other row is of the same topic.
fn one_nn_accuracy(y: &Matrix, k: usize) -> f64 {
    let n = y.rows();
    let nearest = |i: usize| {
        let d = |j: usize| y.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        (0..n).filter(|&j| j != i).min_by(|&a, &b| d(a).total_cmp(&d(b))).unwrap()
    };
    (0..n).filter(|&i| nearest(i) % k == i % k).count() as f64 / n as f64
}

#[test]
fn topics_stay_apart() {
    for (per, d, components) in [(30, 50, 2), (12, 3000, 2), (15, 20, 3), (30, 20, 1)] {
        let x = topics(5, per, d, 0.5);
        let y = tsne(|c| (c.n_components, c.max_iter) = (components, 500)).reduce(&x, &Context::new(1)).unwrap();
        assert_eq!((y.rows(), y.cols()), (5 * per, components));
        let (before, after) = (one_nn_accuracy(&x, 5), one_nn_accuracy(&y, 5));
        assert!(after >= before - 0.02, "{per} {d} {components}: {before} -> {after}");
    }
}

#[test]
fn the_divergence_falls_and_exact_is_no_better_than_barnes_hut() {
    let x = topics(4, 36, 20, 0.8);
    let p = Affinities::from_features(&x, 30.0, &Control::default()).unwrap();
    let kl = |max_iter: usize, angle: f64| {
        let y = tsne(|c| (c.max_iter, c.angle) = (max_iter, angle)).reduce(&x, &Context::new(1)).unwrap();
        kl_divergence(&p, &y).unwrap()
    };
    let (early, late, exact) = (kl(1, 0.5), kl(600, 0.5), kl(600, 0.0));
    assert!(late < 0.5 * early, "{early} {late}");
    assert!((late / exact - 1.0).abs() < 0.03, "{late} {exact}");
}

#[test]
fn few_rows_are_defined() {
    for limit in [PerplexityLimit::Third, PerplexityLimit::Rows] {
        let reduce =
            |x: &Matrix| tsne(|c| (c.perplexity_limit, c.max_iter) = (limit, 300)).reduce(x, &Context::new(1)).unwrap();
        for n in 0..6 {
            let x = Matrix::new(n, 3, (0..3 * n).map(|i| (i * i) as f32).collect()).unwrap();
            let y = reduce(&x);
            assert_eq!((y.rows(), y.cols()), (n, 2));
            assert_eq!(reduce(&Matrix::zeros(n, 3)), Matrix::zeros(n, 2), "identical rows lie at 0");
        }
        let two = reduce(&Matrix::new(2, 1, vec![3.0, 7.0]).unwrap());
        assert!((two.row(0)[0] + 1.0).abs() < 1e-6 && (two.row(1)[0] - 1.0).abs() < 1e-6, "{two:?}");
    }
}

#[test]
fn duplicates_lie_together() {
    let mut x = topics(3, 20, 30, 0.6);
    for i in 0..10 {
        let row = x.row(i).to_vec();
        x.row_mut(50 + i).copy_from_slice(&row);
    }
    let y = tsne(|c| c.max_iter = 400).reduce(&x, &Context::new(1)).unwrap();
    let d = |i: usize, j: usize| y.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let mut all: Vec<f32> = (0..60).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| d(i, j)).collect();
    all.sort_by(f32::total_cmp);
    let tenth = all[all.len() / 10];
    assert!((0..10).all(|i| d(i, 50 + i) < tenth));
}

#[test]
fn rows_on_a_line_leave_it() {
    let x = Matrix::new(60, 1, (0..60).map(|i| (i % 30) as f32).collect()).unwrap();
    let y = tsne(|c| c.max_iter = 400).reduce(&x, &Context::new(1)).unwrap();
    let second = y.iter_rows().map(|row| row[1].abs()).fold(0.0, f32::max);
    assert!(second > 0.1, "noise at the start lets points use the second dimension");
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let x = topics(3, 60, 10, 0.5);
    let reduce = |seed: u64| tsne(|c| c.max_iter = 20).reduce(&x, &Context::new(seed)).unwrap();
    assert_eq!(reduce(1), reduce(1));
    assert_ne!(reduce(1), reduce(2));
}

#[test]
fn perplexity_is_clamped() {
    let third = TsneConfig::default();
    assert_eq!(third.effective_perplexity(1000), 30.0);
    assert_eq!(third.effective_perplexity(31), 10.0);
    assert_eq!(third.effective_perplexity(2), 1.0);
    let paper = TsneConfig { perplexity_limit: PerplexityLimit::Rows, ..third };
    assert_eq!(paper.effective_perplexity(31), 30.0);
    assert_eq!(paper.effective_perplexity(20), 19.0);
}

#[test]
fn bad_values_are_errors() {
    let check = |change: &dyn Fn(&mut TsneConfig)| {
        let mut config = TsneConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    assert!(check(&|c| c.perplexity = 0.5).contains("perplexity"));
    assert!(check(&|c| c.n_components = 4).contains("n_components"));
    assert!(check(&|c| c.max_iter = 0).contains("max_iter"));
    assert!(check(&|c| c.learning_rate = Some(-1.0)).contains("learning_rate"));
    assert!(check(&|c| c.early_exaggeration = 0.0).contains("early_exaggeration"));
    for old in ["n_iter = 300", "theta = 0.5"] {
        let unknown = toml::from_str::<TsneConfig>(old).unwrap_err().to_string();
        assert!(unknown.contains("unknown field") && unknown.contains("max_iter"), "{unknown}");
    }
    assert!(check(&|c| c.angle = f64::NAN).contains("angle"));
    let x = Matrix::new(2, 2, vec![0.0, 0.0, f32::NAN, 0.0]).unwrap();
    let error = tsne(|_| {}).reduce(&x, &Context::new(1)).unwrap_err().to_string();
    assert!(error.contains("row 1, column 0"), "{error}");
    assert!(serde_json::from_str::<TsneConfig>(r#"{"perplexty": 3}"#).is_err());
}

#[test]
fn cancelling_stops() {
    let context = Context::new(1);
    context.control.cancel.cancel();
    assert!(matches!(tsne(|_| {}).reduce(&topics(2, 5, 3, 0.5), &context), Err(Error::Cancelled)));
}
