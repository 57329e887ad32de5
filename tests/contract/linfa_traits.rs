//! Our stages behind linfa's traits give what they give without them.

use fedhds_core::Error;
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, HdbscanFit, KMeans, KMeansConfig};
use fedhds_core::peers::linfa_traits::{FitError, KMeansModel, Params};
use fedhds_core::reduce::{Pca, PcaConfig, Tsne, TsneConfig};
use fedhds_core::stage::Reducer;
use fedhds_core::types::{Context, Control, Matrix, Seed};
use linfa::traits::{Fit, Predict, Transformer};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2, ShapeBuilder};
use rand_distr::{Distribution, StandardNormal};

/// Three groups, and the same as an array whose columns lie one after the other.
fn groups() -> (Matrix, Array2<f32>) {
    let mut rng = Seed(4).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let data: Vec<f32> = (0..60 * 4).map(|at| 20.0 * (at / 4 % 3) as f32 + normal()).collect();
    let matrix = Matrix::new(60, 4, data).unwrap();
    let array = Array2::from_shape_fn((60, 4).f(), |(i, j)| matrix.row(i)[j]);
    (matrix, array)
}

fn config(n_clusters: usize, weighted: bool) -> KMeansConfig {
    KMeansConfig { weighted, ..KMeansConfig::with_clusters(n_clusters) }
}

#[test]
fn k_means_fits_and_predicts() {
    let (matrix, array) = groups();
    let model = Params::new(config(3, false)).seed(9).fit(&DatasetBase::from(array.clone())).unwrap();
    let own = KMeans::new(config(3, false)).unwrap().fit(&matrix, None, 3, &Context::new(9)).unwrap().clustering;
    assert_eq!(model.clustering, own);
    let labels: Array1<usize> = model.predict(&array);
    assert!(labels.iter().zip(&own.labels).all(|(label, own)| *label == own.unwrap().index()));
    let dataset = model.predict(DatasetBase::from(array));
    assert_eq!(dataset.targets(), &labels);
}

#[test]
fn weights_of_a_dataset_count_where_the_settings_say_so() {
    let rows = ndarray::array![[0.0f32], [4.0]];
    let dataset = DatasetBase::from(rows).with_weights(ndarray::array![3.0, 1.0]);
    let centroid = |weighted| {
        let model: KMeansModel = Params::new(config(1, weighted)).fit(&dataset).unwrap();
        model.clustering.centroids.as_slice()[0]
    };
    assert_eq!([centroid(false), centroid(true)], [2.0, 1.0]);
}

#[test]
fn hdbscan_fits_and_transforms() {
    let (matrix, array) = groups();
    let own = Hdbscan::new(HdbscanConfig::default()).unwrap().fit(&matrix, &Control::default()).unwrap();
    let params = Params::new(HdbscanConfig::default());
    let fit: HdbscanFit = params.fit(&DatasetBase::from(array.clone())).unwrap();
    assert_eq!(fit, own);
    let labels: fedhds_core::Result<Array1<Option<usize>>> = params.transform(&array);
    let own: Vec<_> = own.clustering.labels.iter().map(|label| label.map(|id| id.index())).collect();
    assert_eq!(labels.unwrap().to_vec(), own);
    assert!(own.iter().flatten().max() == Some(&2));
}

#[test]
fn reducers_transform_arrays_and_datasets() {
    let (matrix, array) = groups();
    let tsne = TsneConfig::default();
    let pca = PcaConfig { n_components: 3, whiten: false };
    let targets: Array1<usize> = (0..60).collect();
    let dataset = || DatasetBase::new(array.clone(), targets.clone()).with_weights(Array1::ones(60));
    let check = |own: Matrix, array: Array2<f32>, dataset: DatasetBase<Array2<f32>, Array1<usize>>| {
        assert_eq!(array.as_slice().unwrap(), own.as_slice());
        assert_eq!(array.ncols(), own.cols());
        assert_eq!(dataset.records(), &array);
        assert_eq!(dataset.targets(), &targets);
        assert_eq!(dataset.weights().unwrap(), [1.0; 60]);
    };
    let own = Tsne::new(tsne.clone()).unwrap().reduce(&matrix, &Context::new(2)).unwrap();
    let params = Params::new(tsne).seed(2);
    check(own, params.transform(array.clone()).unwrap(), params.transform(dataset()).unwrap());
    let own = Pca::new(pca.clone()).unwrap().reduce(&matrix, &Context::new(0)).unwrap();
    let params = Params::new(pca);
    check(own, params.transform(array.clone()).unwrap(), params.transform(dataset()).unwrap());
}

fn own(error: FitError) -> Error {
    match error {
        FitError::Own(error) => error,
        FitError::Linfa(error) => panic!("{error}"),
    }
}

#[test]
fn a_fitted_pca_takes_rows_that_come_later() {
    let (matrix, array) = groups();
    let config = PcaConfig { n_components: 2, whiten: true };
    let fitted = Params::new(config.clone()).fit(&DatasetBase::from(array.clone())).unwrap();
    let own = Pca::new(config).unwrap().fit(&matrix, &Control::default()).unwrap();
    // The method of the same name is our own, of our matrix.
    let more = Transformer::transform(&fitted, array.slice_move(ndarray::s![5..9, ..])).unwrap();
    let rows = matrix.take_rows(&[5, 6, 7, 8]).unwrap();
    assert_eq!(more.as_slice().unwrap(), own.transform(&rows, &Control::default()).unwrap().as_slice());
    assert!(Transformer::transform(&fitted, Array2::<f32>::zeros((1, 3))).is_err());
}

#[test]
fn settings_are_checked_before_anything_runs() {
    let (_, array) = groups();
    let dataset = DatasetBase::from(array.clone());
    let named =
        |error: Error, name: &str| assert!(matches!(&error, Error::Parameter { name: n, .. } if n == name), "{error}");
    named(Params::new(config(0, false)).check().unwrap_err(), "n_clusters");
    named(own(Params::new(config(0, false)).fit(&dataset).unwrap_err()), "n_clusters");
    let hdbscan = Params::new(HdbscanConfig::with_min_cluster_size(1));
    named(own(hdbscan.fit(&dataset).unwrap_err()), "min_cluster_size");
    named(hdbscan.transform(&array).unwrap_err(), "min_cluster_size");
    let pca = Params::new(PcaConfig { n_components: 0, whiten: false });
    named(pca.transform(array.clone()).unwrap_err(), "n_components");
    named(pca.transform(dataset).unwrap_err(), "n_components");
    let tsne = Params::new(TsneConfig { angle: 2.0, ..TsneConfig::default() });
    named(tsne.check_ref().unwrap_err(), "angle");
    let bad = ndarray::array![[0.0f32, 1.0], [f32::NAN, 1.0]];
    let error = own(Params::new(config(2, false)).fit(&DatasetBase::from(bad)).unwrap_err());
    assert!(matches!(error, Error::NotFinite { row: 1, column: 0, .. }), "{error}");
}
