//! What every reducer keeps to, whatever it keeps of the features.

use fedhds_core::Error;
use fedhds_core::peers::{LinfaTsne, LinfaTsneConfig};
use fedhds_core::reduce::{
    Identity, Kernel, KernelPca, KernelPcaConfig, Pca, PcaConfig, SharedProjection, SharedProjectionConfig, Tsne,
    TsneConfig, check_reduced,
};
use fedhds_core::stage::Reducer;
use fedhds_core::types::{Context, Control, Matrix, Seed};
use proptest::prelude::*;

/// Name, reducer, columns that come out for d columns in.
type Case = (&'static str, Box<dyn Reducer>, fn(usize) -> usize);

fn all() -> Vec<Case> {
    let kernel =
        |kernel| KernelPca::new(KernelPcaConfig { n_components: 3, kernel, ..KernelPcaConfig::default() }).unwrap();
    let tsne = |n_components| Tsne::new(TsneConfig { max_iter: 60, n_components, ..TsneConfig::default() }).unwrap();
    let linfa = LinfaTsneConfig { max_iter: 60, ..LinfaTsneConfig::default() };
    let projection = SharedProjectionConfig { n_components: 5, seed: Seed(1) };
    vec![
        ("identity", Box::new(Identity), |d| d),
        ("pca", Box::new(Pca::new(PcaConfig { n_components: 3, whiten: false }).unwrap()), |_| 3),
        ("whitened pca", Box::new(Pca::new(PcaConfig { n_components: 3, whiten: true }).unwrap()), |_| 3),
        ("linear kernel", Box::new(kernel(Kernel::Linear)), |_| 3),
        ("rbf kernel", Box::new(kernel(Kernel::Rbf)), |_| 3),
        ("poly kernel", Box::new(kernel(Kernel::Poly)), |_| 3),
        ("cosine kernel", Box::new(kernel(Kernel::Cosine)), |_| 3),
        ("shared projection", Box::new(SharedProjection::new(projection).unwrap()), |_| 5),
        ("tsne", Box::new(tsne(2)), |_| 2),
        ("tsne to 3", Box::new(tsne(3)), |_| 3),
        ("linfa tsne", Box::new(LinfaTsne::new(linfa).unwrap()), |_| 2),
    ]
}

/// Up to 30 rows of 1 to 6 small values, many of them equal.
fn any_features() -> impl Strategy<Value = Matrix> {
    (0usize..30, 1usize..7).prop_flat_map(|(n, d)| {
        proptest::collection::vec(-3i8..4, n * d)
            .prop_map(move |data| Matrix::new(n, d, data.into_iter().map(f32::from).collect()).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn one_finite_row_out_for_each_row_in(features in any_features(), seed: u64) {
        for (name, reducer, columns) in all() {
            let reduced = reducer.reduce(&features, &Context::new(seed)).unwrap();
            check_reduced(name, &reduced, features.rows()).unwrap();
            prop_assert_eq!(reduced.cols(), columns(features.cols()), "{}", name);
            let again = reducer.reduce(&features, &Context::new(seed)).unwrap();
            prop_assert_eq!(reduced, again, "{}: the same seed gives the same bits", name);
        }
    }

    #[test]
    fn a_basis_that_is_kept_is_one(features in any_features(), n_components in 1usize..9, whiten: bool) {
        let (pca, control) = (Pca::new(PcaConfig { n_components, whiten }).unwrap(), Control::default());
        let Ok((fitted, scores)) = pca.fit_transform(&features, &control) else {
            prop_assert_eq!(features.rows(), 0);
            return Ok(());
        };
        let most = n_components.min(features.rows()).min(features.cols());
        prop_assert_eq!((fitted.components.rows(), fitted.components.cols()), (most, features.cols()));
        for (a, b) in (0..most).flat_map(|a| (0..=a).map(move |b| (a, b))) {
            let product: f32 =
                fitted.components.row(a).iter().zip(fitted.components.row(b)).map(|(a, b)| a * b).sum();
            let beyond = a == b && fitted.explained_variance[a] == 0.0;
            prop_assert!(beyond || (product - if a == b { 1.0 } else { 0.0 }).abs() < 1e-4, "{} {}: {}", a, b, product);
        }
        prop_assert!(fitted.explained_variance.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-9)));
        prop_assert!(fitted.explained_variance_ratio.iter().sum::<f64>() <= 1.0 + 1e-9);
        if !whiten {
            let again = fitted.transform(&features, &control).unwrap();
            let largest = scores.as_slice().iter().fold(0.0f32, |m, v| m.max(v.abs()));
            // What is below f32's rounding of the products is nothing: the square root of it is 3e-4.
            for (own, placed) in scores.as_slice().iter().zip(again.as_slice()) {
                prop_assert!((own - placed).abs() <= 1e-3 * largest, "{} {}", own, placed);
            }
        }
    }
}

#[test]
fn few_and_identical_rows_are_defined() {
    for n in 0..=5 {
        for identical in [false, true] {
            let data = (0..n * 4).map(|i| if identical { 2.5 } else { (i * i) as f32 }).collect();
            let features = Matrix::new(n, 4, data).unwrap();
            for (name, reducer, columns) in all() {
                let reduced = reducer.reduce(&features, &Context::new(3)).unwrap();
                check_reduced(name, &reduced, n).unwrap();
                assert_eq!(reduced.cols(), columns(4), "{name}");
                if identical {
                    assert!(
                        reduced.iter_rows().all(|row| row == reduced.row(0)),
                        "{name}: identical rows stay identical"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_that_are_not_finite_are_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut features = Matrix::zeros(8, 3);
        features.row_mut(6)[2] = bad;
        for (name, reducer, _) in all() {
            match reducer.reduce(&features, &Context::new(1)) {
                Err(Error::NotFinite { row: 6, column: 2, .. }) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn distances_of_scale_do_not_break_them() {
    for scale in [1e-18f32, 1e-6, 1e6, 1e15] {
        let data = (0..20 * 6).map(|i| scale * ((i * 37 % 101) as f32 - 50.0)).collect();
        let features = Matrix::new(20, 6, data).unwrap();
        for (name, reducer, _) in all() {
            match reducer.reduce(&features, &Context::new(1)) {
                Ok(reduced) => check_reduced(name, &reduced, 20).unwrap(),
                // A power of large values may leave f32's range: an error says so.
                Err(error) => assert!(name == "poly kernel" && scale > 1.0, "{name}, {scale}: {error}"),
            }
        }
        let (pca, control) = (Pca::new(PcaConfig { n_components: 3, whiten: true }).unwrap(), Control::default());
        let (fitted, scores) = pca.fit_transform(&features, &control).unwrap();
        let again = fitted.transform(&features, &control).unwrap();
        assert!(scores.as_slice().iter().zip(again.as_slice()).all(|(a, b)| (a - b).abs() < 1e-3), "{scale}");
    }
}
