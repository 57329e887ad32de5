//! HDBSCAN* of petal-clustering.

use super::kmeans::dense;
use super::wide;
use crate::cluster::{HdbscanConfig, clustering_of_labels};
use crate::error::{Error, Result};
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{Context, Matrix};
use petal_clustering::{Fit, HDbscan};
use petal_neighbors::distance::Euclidean;
use serde::{Deserialize, Serialize};

/// Settings of [`PetalHdbscan`]; names are those of [`HdbscanConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PetalHdbscanConfig {
    /// Least number of points of a cluster, at least 2; default 5.
    pub min_cluster_size: usize,
    /// How many points lie within a point's core distance, the point itself included, at least 1. Default none:
    /// `min_cluster_size`. Clamped to the number of points.
    pub min_samples: Option<usize>,
}

impl Default for PetalHdbscanConfig {
    fn default() -> Self {
        let HdbscanConfig { min_cluster_size, min_samples, .. } = HdbscanConfig::default();
        Self { min_cluster_size, min_samples }
    }
}

impl PetalHdbscanConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        let Self { min_cluster_size, min_samples } = *self;
        HdbscanConfig { min_cluster_size, min_samples, ..HdbscanConfig::default() }.check()
    }
}

/// HDBSCAN* of petal-clustering 0.14, by excess of mass.
///
/// Beside [`Hdbscan`](crate::cluster::Hdbscan): the same groups where no distances are 0, but no membership probabilities. Every member
/// has 1, so that centroids are plain means and not those of the method (step 3); distances between all pairs, so time
/// grows with the square of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct PetalHdbscan {
    config: PetalHdbscanConfig,
}

impl PetalHdbscan {
    /// # Errors
    /// [`Error::Parameter`], see [`PetalHdbscanConfig::check`].
    pub fn new(config: PetalHdbscanConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// Groups `points` `[n, d]`.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a point (petal would not end), [`Error::Stage`] for points that petal cannot take,
    /// [`Error::Cancelled`] before it begins: petal cannot be stopped.
    pub fn fit(&self, points: &Matrix, context: &Context) -> Result<Clustering> {
        points.check_finite("points")?;
        context.control.check()?;
        let (n, d) = (points.rows(), points.cols());
        let config = &self.config;
        let mut groups = vec![-1; n];
        // petal panics on fewer points than a cluster has, and divides by the distance of identical ones.
        let distinct = (1..n).any(|i| points.row(i) != points.row(0));
        if n >= config.min_cluster_size && distinct {
            let input = ndarray_017::Array2::from_shape_vec((n, d), wide(points))
                .map_err(|error| Error::stage("petal", error.to_string()))?;
            let mut petal = HDbscan {
                alpha: 1.0,
                min_samples: config.min_samples.unwrap_or(config.min_cluster_size).min(n),
                min_cluster_size: config.min_cluster_size,
                metric: Euclidean::default(),
                boruvka: false,
            };
            let (clusters, _, _) = petal.fit(&input, None);
            for (group, rows) in clusters {
                rows.into_iter().for_each(|row| groups[row] = group as i64);
            }
        }
        clustering_of_labels("petal", points, &dense(&groups), None)
    }
}

impl Clusterer for PetalHdbscan {
    fn cluster(&self, rows: &Rows<'_>, _wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        self.fit(rows.points, context)
    }
}
