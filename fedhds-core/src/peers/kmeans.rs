//! k-means of linfa-clustering.

use super::{LinfaRng, array, wide};
use crate::cluster::{KMeansConfig, clustering_of_labels, distinct_rows};
use crate::error::{Error, Result};
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{Context, Matrix};
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use serde::{Deserialize, Serialize};

/// Settings of [`LinfaKMeans`]; names are those of [`KMeansConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinfaKMeansConfig {
    /// Number of clusters, at least 1; default 8. Fewer are made where fewer rows are distinct, and where linfa leaves one empty.
    pub n_clusters: usize,
    /// Starts, at least 1; default 10.
    pub n_init: usize,
    /// Most iterations of one start, at least 1; default 300.
    pub max_iter: u64,
    /// A start ends when the distance of the matrices of centroids before and after an iteration falls below this, above 0;
    /// default 1e-4, in units of the points.
    pub tol: f64,
}

impl Default for LinfaKMeansConfig {
    fn default() -> Self {
        let KMeansConfig { n_clusters, n_init, max_iter, tol, .. } = KMeansConfig::default();
        Self { n_clusters, n_init, max_iter, tol }
    }
}

impl LinfaKMeansConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        let Self { n_clusters, n_init, max_iter, tol } = *self;
        KMeansConfig { n_clusters, n_init, max_iter, tol, ..KMeansConfig::default() }.check()?;
        if tol == 0.0 {
            return Err(Error::parameter("tol", "a finite number above 0", tol));
        }
        Ok(())
    }
}

/// k-means of linfa-clustering 0.8 (f64, k-means++ with one trial).
///
/// Beside [`KMeans`](crate::cluster::KMeans): ten to a hundred times slower, no weights, a tolerance in units of the points. Its
/// centroids trail the means, because the previous centroid counts as one more point (Pakhira 2009); those of the result are
/// the means of its labels, so that a row may lie nearer to another.
#[derive(Debug, Clone, PartialEq)]
pub struct LinfaKMeans {
    config: LinfaKMeansConfig,
}

impl LinfaKMeans {
    /// # Errors
    /// [`Error::Parameter`], see [`LinfaKMeansConfig::check`].
    pub fn new(config: LinfaKMeansConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// Groups `points` `[n, d]` into `n_clusters` clusters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a point, [`Error::Input`] for rows without columns, [`Error::Stage`] for what linfa refuses,
    /// [`Error::Cancelled`] before it begins: linfa cannot be stopped.
    pub fn fit(&self, points: &Matrix, n_clusters: usize, context: &Context) -> Result<Clustering> {
        points.check_finite("points")?;
        context.control.check()?;
        let (n, d) = (points.rows(), points.cols());
        if n > 0 && d == 0 {
            return Err(Error::input("points", "at least one column", 0));
        }
        let k = distinct_rows(points, None, n_clusters);
        if k == 0 {
            return clustering_of_labels("linfa k-means", points, &[], None);
        }
        let records = array("linfa k-means", n, d, wide(points))?;
        let model = linfa_clustering::KMeans::params_with_rng(k, LinfaRng(context.seed.rng()))
            .n_runs(self.config.n_init)
            .tolerance(self.config.tol)
            .max_n_iterations(self.config.max_iter)
            .fit(&DatasetBase::from(records.view()))
            .map_err(|error| Error::stage("linfa k-means", error.to_string()))?;
        let groups: Vec<i64> = model.predict(&records).into_iter().map(|label| label as i64).collect();
        clustering_of_labels("linfa k-means", points, &dense(&groups), None)
    }
}

impl Clusterer for LinfaKMeans {
    /// As many clusters as are wanted, else `n_clusters`; every row counts alike.
    fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        self.fit(rows.points, wanted.unwrap_or(self.config.n_clusters), context)
    }
}

/// Groups numbered densely in the order of their first row; negative ones stay.
pub(super) fn dense(groups: &[i64]) -> Vec<i64> {
    let mut number = std::collections::HashMap::new();
    let label = |&group: &i64| {
        let next = number.len() as i64;
        if group < 0 { group } else { *number.entry(group).or_insert(next) }
    };
    groups.iter().map(label).collect()
}
