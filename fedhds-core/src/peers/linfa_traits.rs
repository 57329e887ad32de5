//! Our t-SNE, PCA, k-means and HDBSCAN\* behind linfa's traits.
//!
//! [`Params`] holds settings that are not checked yet, [`Valid`] those that are, as linfa's own pairs do
//! ([`ParamGuard`](linfa::ParamGuard)): only checked ones run, and running unchecked ones checks them first. Arrays are f32 of
//! any layout, `[n, d]`.
//!
//! ```
//! use fedhds_core::cluster::KMeansConfig;
//! use fedhds_core::peers::linfa_traits::Params;
//! use linfa::DatasetBase;
//! use linfa::traits::{Fit, Predict};
//!
//! # fn main() -> Result<(), fedhds_core::peers::linfa_traits::FitError> {
//! let rows = ndarray::array![[0.0f32, 0.1], [9.0, 9.1], [0.1, 0.0]];
//! let model = Params::new(KMeansConfig::with_clusters(2)).seed(7).fit(&DatasetBase::from(rows))?;
//! let labels: ndarray::Array1<usize> = model.predict(&ndarray::array![[8.0f32, 8.0], [1.0, 1.0]]);
//! assert_eq!(labels.to_vec(), [1, 0]);
//! # Ok(())
//! # }
//! ```

use super::matrix;
use crate::cluster::{Hdbscan, HdbscanConfig, HdbscanFit, KMeans, KMeansConfig, nearest_centroid};
use crate::error::{Error, Result};
use crate::reduce::{FittedPca, Pca, PcaConfig, Tsne, TsneConfig};
use crate::stage::{Clustering, Reducer};
use crate::types::{Context, Control, Matrix, Seed};
use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::{Fit, PredictInplace, Transformer};
use ndarray::{Array1, Array2, ArrayBase, Data, Ix2};

/// What stopped a fit: [`Fit`] asks for an error that linfa's own converts into.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// This crate's.
    #[error(transparent)]
    Own(#[from] Error),
    /// linfa's.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// Settings that have a range; see [`Params`].
pub trait Settings {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    fn check(&self) -> Result<()>;
}

macro_rules! settings {
    ($($config:ty),*) => {
        $(impl Settings for $config {
            fn check(&self) -> Result<()> {
                <$config>::check(self)
            }
        })*
    };
}
settings!(TsneConfig, PcaConfig, KMeansConfig, HdbscanConfig);

/// Settings and a seed that are not checked yet.
#[derive(Debug, Clone)]
pub struct Params<C>(Valid<C>);

/// Settings within their ranges, and a seed.
#[derive(Debug, Clone)]
pub struct Valid<C> {
    config: C,
    context: Context,
}

impl<C: Settings> Params<C> {
    /// These settings with seed 0.
    pub fn new(config: C) -> Self {
        Self(Valid { config, context: Context::new(0) })
    }

    /// The seed of every draw.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Seed>) -> Self {
        self.0.context.seed = seed.into();
        self
    }
}

impl<C: Settings> ParamGuard for Params<C> {
    type Checked = Valid<C>;
    type Error = Error;

    fn check_ref(&self) -> Result<&Valid<C>> {
        self.0.config.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<Valid<C>> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// What [`KMeans`] found, to be asked for the nearest centroid of other rows.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansModel {
    /// Labels and centroids.
    pub clustering: Clustering,
}

/// Dataset weights count where the settings are `weighted`.
impl<D: Data<Elem = f32>, T> Fit<ArrayBase<D, Ix2>, T, FitError> for Valid<KMeansConfig> {
    type Object = KMeansModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<KMeansModel, FitError> {
        let kmeans = KMeans::new(self.config.clone())?;
        let weights = if self.config.weighted { dataset.weights() } else { None };
        let points = matrix(dataset.records())?;
        Ok(KMeansModel { clustering: kmeans.fit(&points, weights, self.config.n_clusters, &self.context)?.clustering })
    }
}

impl<D: Data<Elem = f32>> PredictInplace<ArrayBase<D, Ix2>, Array1<usize>> for KMeansModel {
    /// The nearest centroid of each row, the first of equally near ones. As linfa's own models do, it panics when columns or
    /// lengths do not fit.
    fn predict_inplace<'a>(&'a self, rows: &'a ArrayBase<D, Ix2>, labels: &mut Array1<usize>) {
        let centroids = &self.clustering.centroids;
        assert_eq!(rows.nrows(), labels.len(), "expected a label for each row");
        assert_eq!(rows.ncols(), centroids.cols(), "expected rows of as many columns as the centroids have");
        for (row, label) in rows.rows().into_iter().zip(labels) {
            *label = nearest_centroid(&row.to_vec(), centroids);
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<usize> {
        Array1::zeros(rows.nrows())
    }
}

/// All that HDBSCAN\* found. It places the rows that it saw, and predicts none.
impl<D: Data<Elem = f32>, T> Fit<ArrayBase<D, Ix2>, T, FitError> for Valid<HdbscanConfig> {
    type Object = HdbscanFit;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<HdbscanFit, FitError> {
        Ok(Hdbscan::new(self.config.clone())?.fit(&matrix(dataset.records())?, &self.context.control)?)
    }
}

/// The cluster of each row, none for noise, as linfa's DBSCAN gives it.
impl<D: Data<Elem = f32>> Transformer<&ArrayBase<D, Ix2>, Result<Array1<Option<usize>>>> for Valid<HdbscanConfig> {
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<Option<usize>>> {
        let fit = Hdbscan::new(self.config.clone())?.fit(&matrix(rows)?, &self.context.control)?;
        Ok(fit.clustering.labels.into_iter().map(|label| label.map(|id| id.index())).collect())
    }
}

/// The basis of the rows, for rows that come later.
impl<D: Data<Elem = f32>, T> Fit<ArrayBase<D, Ix2>, T, FitError> for Valid<PcaConfig> {
    type Object = FittedPca;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<FittedPca, FitError> {
        Ok(Pca::new(self.config.clone())?.fit(&matrix(dataset.records())?, &self.context.control)?)
    }
}

impl<D: Data<Elem = f32>> Transformer<ArrayBase<D, Ix2>, Result<Array2<f32>>> for FittedPca {
    fn transform(&self, rows: ArrayBase<D, Ix2>) -> Result<Array2<f32>> {
        array_of(FittedPca::transform(self, &matrix(&rows)?, &Control::default())?)
    }
}

/// Makes the stage of checked settings.
trait Reduction {
    fn stage(&self) -> Result<impl Reducer>;
}

impl Reduction for TsneConfig {
    fn stage(&self) -> Result<impl Reducer> {
        Tsne::new(self.clone())
    }
}

impl Reduction for PcaConfig {
    fn stage(&self) -> Result<impl Reducer> {
        Pca::new(self.clone())
    }
}

fn reduce<C: Reduction, D: Data<Elem = f32>>(valid: &Valid<C>, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f32>> {
    array_of(valid.config.stage()?.reduce(&matrix(rows)?, &valid.context)?)
}

fn array_of(reduced: Matrix) -> Result<Array2<f32>> {
    Array2::from_shape_vec((reduced.rows(), reduced.cols()), reduced.into_vec())
        .map_err(|error| Error::stage("reducer", error.to_string()))
}

/// `[n, d] -> [n, n_components]`, and datasets, whose targets and weights stay.
macro_rules! transformer {
    ($($config:ty),*) => {
        $(
            impl<D: Data<Elem = f32>> Transformer<ArrayBase<D, Ix2>, Result<Array2<f32>>> for Valid<$config> {
                fn transform(&self, rows: ArrayBase<D, Ix2>) -> Result<Array2<f32>> {
                    reduce(self, &rows)
                }
            }

            impl<D: Data<Elem = f32>> Transformer<ArrayBase<D, Ix2>, Result<Array2<f32>>> for Params<$config> {
                fn transform(&self, rows: ArrayBase<D, Ix2>) -> Result<Array2<f32>> {
                    self.check_ref()?.transform(rows)
                }
            }

            impl<D: Data<Elem = f32>, T> Transformer<DatasetBase<ArrayBase<D, Ix2>, T>, Result<DatasetBase<Array2<f32>, T>>>
                for Valid<$config>
            {
                fn transform(&self, dataset: DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<DatasetBase<Array2<f32>, T>> {
                    let DatasetBase { records, targets, weights, .. } = dataset;
                    Ok(DatasetBase::new(reduce(self, &records)?, targets).with_weights(weights))
                }
            }

            impl<D: Data<Elem = f32>, T> Transformer<DatasetBase<ArrayBase<D, Ix2>, T>, Result<DatasetBase<Array2<f32>, T>>>
                for Params<$config>
            {
                fn transform(&self, dataset: DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<DatasetBase<Array2<f32>, T>> {
                    self.check_ref()?.transform(dataset)
                }
            }
        )*
    };
}
transformer!(TsneConfig, PcaConfig);

impl<D: Data<Elem = f32>> Transformer<&ArrayBase<D, Ix2>, Result<Array1<Option<usize>>>> for Params<HdbscanConfig> {
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<Option<usize>>> {
        self.check_ref()?.transform(rows)
    }
}
