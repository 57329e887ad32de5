//! Reducers and clusterers on arrays. Settings come as JSON, which the core checks as it checks a configuration.

use crate::array::{array, matrix};
use crate::error::OrRaise as _;
use crate::run::heavy;
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use fedhds_core::method::ReducerConfig;
use fedhds_core::reduce::{FittedPca, Pca, PcaConfig, SharedProjection, SharedProjectionConfig};
use fedhds_core::stage::{Clustering, Reducer as _};
use fedhds_core::types::{Context, Control, Seed};
use fedhds_core::{Result, parse};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(reduce, module)?)?;
    module.add_function(wrap_pyfunction!(pca_fit, module)?)?;
    module.add_function(wrap_pyfunction!(pca_transform, module)?)?;
    module.add_function(wrap_pyfunction!(project, module)?)?;
    module.add_function(wrap_pyfunction!(hdbscan, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans, module)?)
}

/// Settings from JSON; what is wrong with them names the setting.
pub fn settings<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    parse::from_json("settings", json)
}

fn context(seed: u64, control: &Control) -> Context {
    Context { control: control.clone(), ..Context::new(seed) }
}

type Labels<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray2<f32>>);

/// Labels with -1 for noise, membership probabilities, centroids.
fn labels(py: Python<'_>, clustering: Clustering) -> PyResult<Labels<'_>> {
    let labels = clustering.labels.iter().map(|label| label.map_or(-1, |id| id.index() as i64)).collect();
    Ok((PyArray1::from_vec(py, labels), PyArray1::from_vec(py, clustering.strength), array(py, clustering.centroids)?))
}

/// `[n, d]` to `[n, k]` by a reducer's settings.
#[pyfunction]
fn reduce<'py>(
    py: Python<'py>,
    json: &str,
    features: PyReadonlyArray2<'py, f32>,
    seed: u64,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let config: ReducerConfig = settings(json).or_raise()?;
    let reducer = config.build().or_raise()?;
    let features = matrix(&features)?;
    let reduced = heavy(py, move |control| match reducer {
        None => Ok(features),
        Some(reducer) => reducer.reduce(&features, &context(seed, control)),
    })?;
    array(py, reduced)
}

/// The rows by their principal components, the components, explained variances, their ratios, and the mean.
type Principal<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
);

/// `[n, d]` to `[n, k]` by PCA, and what was found.
#[pyfunction]
fn pca_fit<'py>(py: Python<'py>, json: &str, features: PyReadonlyArray2<'py, f32>) -> PyResult<Principal<'py>> {
    let config: PcaConfig = settings(json).or_raise()?;
    let pca = Pca::new(config).or_raise()?;
    let features = matrix(&features)?;
    let (fitted, reduced) = heavy(py, move |control| pca.fit_transform(&features, control))?;
    Ok((
        array(py, reduced)?,
        array(py, fitted.components)?,
        PyArray1::from_vec(py, fitted.explained_variance),
        PyArray1::from_vec(py, fitted.explained_variance_ratio),
        PyArray1::from_vec(py, fitted.mean),
    ))
}

/// Rows `[m, d]` to `[m, k]` by what `pca_fit` found.
#[pyfunction]
fn pca_transform<'py>(
    py: Python<'py>,
    components: PyReadonlyArray2<'py, f32>,
    explained_variance: PyReadonlyArray1<'py, f64>,
    mean: PyReadonlyArray1<'py, f64>,
    whiten: bool,
    n_components: usize,
    features: PyReadonlyArray2<'py, f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let fitted = FittedPca {
        components: matrix(&components)?,
        explained_variance: explained_variance.as_array().to_vec(),
        // Not asked for by what follows.
        explained_variance_ratio: Vec::new(),
        mean: mean.as_array().to_vec(),
        whiten,
        n_components,
    };
    let features = matrix(&features)?;
    let reduced = heavy(py, move |control| fitted.transform(&features, control))?;
    array(py, reduced)
}

/// `[n, d]` to `[n, k]` by the projection that all clients of one seed share.
#[pyfunction]
fn project<'py>(
    py: Python<'py>,
    features: PyReadonlyArray2<'py, f32>,
    n_components: usize,
    seed: u64,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let projection = SharedProjection::new(SharedProjectionConfig { n_components, seed: Seed(seed) }).or_raise()?;
    let features = matrix(&features)?;
    let reduced = heavy(py, move |control| projection.reduce(&features, &context(seed, control)))?;
    array(py, reduced)
}

/// Labels, membership probabilities, centroids and outlier scores.
#[pyfunction]
fn hdbscan<'py>(
    py: Python<'py>,
    json: &str,
    points: PyReadonlyArray2<'py, f32>,
) -> PyResult<(Labels<'py>, Bound<'py, PyArray1<f32>>)> {
    let config: HdbscanConfig = settings(json).or_raise()?;
    let hdbscan = Hdbscan::new(config).or_raise()?;
    let points = matrix(&points)?;
    let fit = heavy(py, move |control| hdbscan.fit(&points, control))?;
    Ok((labels(py, fit.clustering)?, PyArray1::from_vec(py, fit.outlier_scores)))
}

/// Labels, membership probabilities and centres.
#[pyfunction]
fn kmeans<'py>(
    py: Python<'py>,
    json: &str,
    points: PyReadonlyArray2<'py, f32>,
    seed: u64,
) -> PyResult<(Labels<'py>, f64, u64)> {
    let config: KMeansConfig = settings(json).or_raise()?;
    let kmeans = KMeans::new(config.clone()).or_raise()?;
    let points = matrix(&points)?;
    let fit = heavy(py, move |control| kmeans.fit(&points, None, config.n_clusters, &context(seed, control)))?;
    Ok((labels(py, fit.clustering)?, fit.inertia, fit.n_iter))
}
