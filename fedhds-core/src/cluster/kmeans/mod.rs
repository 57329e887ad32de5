//! k-means: a fixed number of groups, without noise.
//!
//! In the order in which it runs, one file each: `points` measures, `seeding` chooses the rows that a start begins from, `lloyd`
//! iterates, and `assign` finds each row's nearest centroid on the way.

mod assign;
mod lloyd;
mod points;
mod products;
mod seeding;

use super::centroid::weighted_centroids;
use super::{distinct_rows, number_by_first_row};
use crate::error::{Error, Result};
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{Context, Matrix};
use lloyd::Fitted;
use points::Points;
use serde::{Deserialize, Serialize};

/// Settings of [`KMeans`]; names and meanings are scikit-learn's, but for `weighted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KMeansConfig {
    /// Number of clusters, at least 1; default 8. Fewer are made where fewer rows are distinct.
    pub n_clusters: usize,
    /// Rows that there are at least for each cluster, on average, from 1 (default: no limit): of n rows at most
    /// `n / min_rows_per_cluster` clusters are made, at least one.
    pub min_rows_per_cluster: usize,
    /// Starts from different initial centroids, at least 1; default 10. The one with the least inertia is kept.
    pub n_init: usize,
    /// Most iterations of one start, at least 1; default 300.
    pub max_iter: u64,
    /// A start ends when the centroids' squared moves sum to at most this times the mean variance of the columns, at least 0;
    /// default 1e-4. 0 iterates until no label changes.
    pub tol: f64,
    /// Whether a row counts as often as the records that it stands for. Default no: on the server each topic that a client holds
    /// counts once, so that large groups do not take the centroids of rare ones.
    pub weighted: bool,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self { n_clusters: 8, min_rows_per_cluster: 1, n_init: 10, max_iter: 300, tol: 1e-4, weighted: false }
    }
}

impl KMeansConfig {
    /// The defaults with this number of clusters.
    pub fn with_clusters(n_clusters: usize) -> Self {
        Self { n_clusters, ..Self::default() }
    }

    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if self.n_clusters == 0 {
            return Err(Error::parameter("n_clusters", "at least 1", self.n_clusters));
        }
        if self.min_rows_per_cluster == 0 {
            return Err(Error::parameter("min_rows_per_cluster", "at least 1", self.min_rows_per_cluster));
        }
        if self.n_init == 0 {
            return Err(Error::parameter("n_init", "at least 1", self.n_init));
        }
        if self.max_iter == 0 {
            return Err(Error::parameter("max_iter", "at least 1", self.max_iter));
        }
        if !(self.tol.is_finite() && self.tol >= 0.0) {
            return Err(Error::parameter("tol", "a finite number of at least 0", self.tol));
        }
        Ok(())
    }
}

/// What k-means found.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansFit {
    /// Labels and the means of the clusters; every membership probability is 1.
    pub clustering: Clustering,
    /// `sum_i w_i |x_i - c(i)|^2` of the start that was kept.
    pub inertia: f64,
    /// Iterations of that start; 0 where there are no rows.
    pub n_iter: u64,
}

/// k-means (Lloyd 1982): minimises the inertia `sum_i w_i |x_i - c(i)|^2` over centroids `c`, each the weighted mean of its rows.
///
/// - Starts are greedy k-means++ (Arthur and Vassilvitskii 2007), as in scikit-learn; bounds spare most distances (Elkan 2003).
/// - Every row belongs to a cluster with membership probability 1; there is no noise and no empty cluster; the number of clusters is clamped to
///   the number of distinct rows, so 0 rows give 0 clusters.
/// - A row that is equally near to several centroids belongs to that of the lowest id.
/// - The same seed gives the same bits at any number of threads. What decides are exact distances in f64 over f32 rows and
///   centroids; f32 products, whose rounding differs between processors, only rule out what is surely further.
///
/// Memory beside the points: a centred copy of them, and up to as much again (at least 64 MiB) for bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    config: KMeansConfig,
}

impl KMeans {
    /// # Errors
    /// [`Error::Parameter`], see [`KMeansConfig::check`].
    pub fn new(config: KMeansConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &KMeansConfig {
        &self.config
    }

    /// Groups `points` `[n, d]` into `n_clusters` clusters, at least 1, whatever the settings say; row `i` counts `weights[i]`
    /// times, at least 0, or once where there are none.
    ///
    /// Rows of weight 0 are labelled but move nothing; every cluster has a row of positive weight.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with row and column of a value that is not finite, [`Error::Input`] for rows without columns, more than
    /// 2^31 rows, and weights of another length, negative, not finite or all zero, [`Error::Parameter`] for no clusters,
    /// [`Error::Cancelled`].
    pub fn fit(
        &self,
        points: &Matrix,
        weights: Option<&[f32]>,
        n_clusters: usize,
        context: &Context,
    ) -> Result<KMeansFit> {
        let (n, d) = (points.rows(), points.cols());
        points.check_finite("points")?;
        context.control.check()?;
        if n_clusters == 0 {
            return Err(Error::parameter("n_clusters", "at least 1", 0));
        }
        if n > 0 && d == 0 {
            return Err(Error::input("points", "at least one column", 0));
        }
        if n > i32::MAX as usize {
            return Err(Error::input("points", format!("at most {} rows", i32::MAX), n));
        }
        if let Some(weights) = weights {
            check_weights(weights, n)?;
        }
        let mut best: Option<Fitted> = None;
        let k = distinct_rows(points, weights, n_clusters);
        if k > 0 {
            let measured = Points::new(points, weights, &context.control)?;
            let tolerance = self.config.tol * measured.variance();
            let start = |rows: Vec<usize>| {
                let fitted = lloyd::lloyd(
                    &measured,
                    points.take_rows(&rows)?,
                    tolerance,
                    self.config.max_iter,
                    &context.control,
                )?;
                if best.as_ref().is_none_or(|best| fitted.inertia < best.inertia) {
                    best = Some(fitted);
                }
                Ok(())
            };
            seeding::starts(&measured, k, self.config.n_init, context.seed, start, &context.control)?;
        }
        let best = best.unwrap_or_default();
        let groups: Vec<_> = best.labels.iter().map(|&label| Some(label)).collect();
        let (labels, old) = number_by_first_row(&groups, best.clusters);
        let ones;
        let weights = match weights {
            Some(weights) => weights,
            None => {
                ones = vec![1.0; n];
                &ones
            }
        };
        let centroids = weighted_centroids(points, &labels, weights, old.len())?;
        let clustering = Clustering { labels, strength: vec![1.0; n], centroids };
        Ok(KMeansFit { clustering, inertia: best.inertia, n_iter: best.n_iter })
    }
}

impl Clusterer for KMeans {
    /// As many clusters as are wanted, else `n_clusters`, or fewer by `min_rows_per_cluster`; rows count by their weights where the settings
    /// say so.
    fn cluster(&self, rows: &Rows<'_>, wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        let weights = (self.config.weighted && !rows.weights.is_empty()).then_some(rows.weights);
        let own = || self.config.n_clusters.min((rows.len() / self.config.min_rows_per_cluster).max(1));
        Ok(self.fit(rows.points, weights, wanted.unwrap_or_else(own), context)?.clustering)
    }
}

fn check_weights(weights: &[f32], rows: usize) -> Result<()> {
    if weights.len() != rows {
        return Err(Error::input("weights", format!("{rows} entries, one per row"), weights.len()));
    }
    if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(Error::input(&format!("weight of row {row}"), "a finite value of at least 0", weights[row]));
    }
    if rows > 0 && weights.iter().all(|&w| w == 0.0) {
        return Err(Error::input("weights", "at least one above 0", "zeros"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
