//! HDBSCAN*: hierarchical density-based clustering with membership probabilities and outlier scores.
//!
//! In the order in which it runs, one file each:
//! `core_distance` -> `spanning_tree` of mutual reachability -> `hierarchy` -> `condense` -> `stability`. docs/hdbscan.md derives each.

mod condense;
mod core_distance;
mod disjoint_sets;
mod hierarchy;
mod kd_tree;
mod spanning_tree;
mod stability;

pub use condense::{CondensedChild, CondensedEdge, CondensedTree};
pub(crate) use disjoint_sets::DisjointSets;

use super::centroid::weighted_centroids;
use super::{all_noise, number_by_first_row};
use crate::error::{Error, Result};
use crate::stage::{Clusterer, Clustering, Rows};
use crate::types::{Context, Control, Matrix};
use core_distance::Space;
use serde::{Deserialize, Serialize};

/// How clusters are chosen from the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterSelectionMethod {
    /// Excess of mass (Campello 2013, eq. 3 and algorithm 3): the disjoint clusters of most total stability.
    #[default]
    Eom,
    /// The leaves of the tree: the finest clusters.
    Leaf,
}

/// Settings of [`Hdbscan`]; names and meanings are those of Python's `hdbscan`, but for how `min_samples` counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdbscanConfig {
    /// Least number of points of a cluster, at least 2; default 5 (the paper: 5 on Natural Instructions, 2 on Dolly and
    /// on the server).
    pub min_cluster_size: usize,
    /// How many points lie within a point's core distance, **the point itself included** (Campello 2013, definition 1;
    /// scikit-learn), at least 1, where all core distances are 0. Default none: `min_cluster_size`. Clamped to the number of points.
    /// Python's `hdbscan` does not count the point: its `min_samples` is this less one.
    pub min_samples: Option<usize>,
    /// How clusters are chosen; default excess of mass.
    pub cluster_selection_method: ClusterSelectionMethod,
    /// Whether the whole data set may be one cluster; default no.
    pub allow_single_cluster: bool,
    /// Clusters that split below this distance are not split, at least 0; default 0 (Malzer and Baum 2020).
    pub cluster_selection_epsilon: f64,
}

impl Default for HdbscanConfig {
    fn default() -> Self {
        Self {
            min_cluster_size: 5,
            min_samples: None,
            cluster_selection_method: ClusterSelectionMethod::Eom,
            allow_single_cluster: false,
            cluster_selection_epsilon: 0.0,
        }
    }
}

impl HdbscanConfig {
    /// The defaults with this least number of points of a cluster.
    pub fn with_min_cluster_size(min_cluster_size: usize) -> Self {
        Self { min_cluster_size, ..Self::default() }
    }

    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if self.min_cluster_size < 2 {
            return Err(Error::parameter("min_cluster_size", "at least 2", self.min_cluster_size));
        }
        if self.min_samples == Some(0) {
            return Err(Error::parameter("min_samples", "at least 1", 0));
        }
        if !(self.cluster_selection_epsilon.is_finite() && self.cluster_selection_epsilon >= 0.0) {
            let got = self.cluster_selection_epsilon;
            return Err(Error::parameter("cluster_selection_epsilon", "a finite number of at least 0", got));
        }
        Ok(())
    }
}

/// Everything that HDBSCAN* finds.
#[derive(Debug, Clone, PartialEq)]
pub struct HdbscanFit {
    /// Labels, membership probabilities, and centroids weighted by them.
    pub clustering: Clustering,
    /// GLOSH outlier score of each row, in [0, 1], higher for outliers (Campello 2015, eq. 8).
    pub outlier_scores: Vec<f32>,
    /// The tree that the clusters were chosen from.
    pub condensed: CondensedTree,
    /// The node of `condensed` that each cluster id stands for.
    pub selected: Vec<u32>,
}

/// HDBSCAN* (Campello, Moulavi and Sander 2013; Campello et al. 2015) on Euclidean distances.
///
/// - Any number of rows and columns is defined: fewer rows than `min_cluster_size` are all noise, identical points are one
///   cluster only with `allow_single_cluster`.
/// - **Ties**: all merges at one distance happen at once, so that the partition never depends on the order of rows
///   (Python's `hdbscan` merges them one by one, in an order that its sort happens to give).
/// - **Duplicates**: a distance of 0 has no density `1 / 0`; it counts as half of the smallest distance above 0, so that
///   probabilities and stabilities stay finite. Without ties and duplicates results equal Python's `hdbscan` with
///   `approx_min_span_tree=False`.
/// - The same bits at any number of threads; the seed is not used.
///
/// Rows are f32, distances f64. Memory is linear in the number of rows, but for up to 2,048 rows, whose distances are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Hdbscan {
    config: HdbscanConfig,
}

impl Hdbscan {
    /// # Errors
    /// [`Error::Parameter`], see [`HdbscanConfig::check`].
    pub fn new(config: HdbscanConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &HdbscanConfig {
        &self.config
    }

    /// Clusters `points` `[n, d]` and keeps everything that was found on the way.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with row and column of a value that is not finite, [`Error::Input`] for more than 2^31 rows,
    /// [`Error::Cancelled`].
    pub fn fit(&self, points: &Matrix, control: &Control) -> Result<HdbscanFit> {
        points.check_finite("points")?;
        let n = points.rows();
        if n > i32::MAX as usize {
            return Err(Error::input("points", format!("at most {} rows", i32::MAX), n));
        }
        if n < 2 {
            return Ok(HdbscanFit {
                clustering: all_noise(points),
                outlier_scores: vec![0.0; n],
                condensed: CondensedTree::trivial(n),
                selected: Vec::new(),
            });
        }
        let config = &self.config;
        let min_samples = config.min_samples.unwrap_or(config.min_cluster_size).min(n);
        let space = Space::new(points, control)?;
        let core = space.core_distances(min_samples, control)?;
        let edges = space.spanning_tree(&core, control)?;
        control.check()?;
        let hierarchy = hierarchy::Hierarchy::from_spanning_tree(n, edges);
        control.check()?;
        let condensed = condense::condense(&hierarchy, config.min_cluster_size);
        let selected = if n < config.min_cluster_size { Vec::new() } else { stability::select(&condensed, config) };
        let members = stability::members(&condensed, &selected, config);
        control.check()?;
        let outlier_scores = stability::outlier_scores(&condensed);

        let (labels, old) = number_by_first_row(&members.cluster, selected.len());
        let centroids = weighted_centroids(points, &labels, &members.probability, old.len())?;
        let selected = old.iter().map(|&at| selected[at as usize]).collect();
        let clustering = Clustering { labels, strength: members.probability, centroids };
        Ok(HdbscanFit { clustering, outlier_scores, condensed, selected })
    }
}

impl Clusterer for Hdbscan {
    /// The number of clusters is found, whatever is wanted, and every row counts alike.
    fn cluster(&self, rows: &Rows<'_>, _wanted: Option<usize>, context: &Context) -> Result<Clustering> {
        Ok(self.fit(rows.points, &context.control)?.clustering)
    }
}

#[cfg(test)]
mod tests;
