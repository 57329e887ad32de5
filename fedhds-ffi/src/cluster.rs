//! Clusterers, and what they find.

use crate::control::{context, control, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::matrix::{copied, fedhds_matrix_t, fedhds_matrix_view_t, matrix};
use crate::pointer::{Out, fill};
use crate::settings::{flag, init, settings, unknown};
use crate::status::boundary;
use crate::status::fedhds_status_t;
use fedhds_core::cluster::hdbscan::ClusterSelectionMethod;
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use fedhds_core::stage::Clustering;
use std::sync::Arc;

/// Settings of `fedhds_hdbscan`, filled by `fedhds_hdbscan_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_hdbscan_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Least number of points of a cluster, at least 2; default 5.
    pub min_cluster_size: usize,
    /// Points within a core distance, the point itself included; 0 (the default) is `min_cluster_size`.
    pub min_samples: usize,
    /// How clusters are chosen: 0 eom, the most stable ones (the default), 1 leaf, the leaves of the hierarchy.
    pub cluster_selection_method: i32,
    /// 1: all points may be one cluster; default 0.
    pub allow_single_cluster: u8,
    /// Clusters that split below this distance stay whole; default 0.
    pub cluster_selection_epsilon: f64,
}

/// Settings of `fedhds_kmeans`, filled by `fedhds_kmeans_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_kmeans_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Clusters that are wanted, at least 1; default 8.
    pub n_clusters: usize,
    /// Starts from different initial centroids, at least 1, of which the best is kept; default 10.
    pub n_init: usize,
    /// Most iterations of a start, at least 1; default 300.
    pub max_iter: u64,
    /// A start ends when the centroids' squared moves sum to at most this times the mean variance of the columns, at least 0; default 1e-4.
    pub tol: f64,
}

impl Default for fedhds_hdbscan_config_t {
    fn default() -> Self {
        let own = HdbscanConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            min_cluster_size: own.min_cluster_size,
            min_samples: own.min_samples.unwrap_or(0),
            cluster_selection_method: match own.cluster_selection_method {
                ClusterSelectionMethod::Eom => 0,
                ClusterSelectionMethod::Leaf => 1,
            },
            allow_single_cluster: own.allow_single_cluster.into(),
            cluster_selection_epsilon: own.cluster_selection_epsilon,
        }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_hdbscan_config_init(
    config: *mut fedhds_hdbscan_config_t,
    size: usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_hdbscan_config_t::default()) })
}

impl Default for fedhds_kmeans_config_t {
    fn default() -> Self {
        let own = KMeansConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            n_clusters: own.n_clusters,
            n_init: own.n_init,
            max_iter: own.max_iter,
            tol: own.tol,
        }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_kmeans_config_init(
    config: *mut fedhds_kmeans_config_t,
    size: usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_kmeans_config_t::default()) })
}

/// Groups of rows. Freed with `fedhds_clustering_free`.
pub struct fedhds_clustering_t {
    _private: [u8; 0],
}

impl Handle for fedhds_clustering_t {
    type Object = Arc<Clustering>;
    const NAME: &'static str = "fedhds_clustering_t";
}

/// HDBSCAN* (Campello 2013, 2015): finds the number of clusters, and noise.
///
/// # Safety
/// `points` and its values, and `config`, are readable; `clustering` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_hdbscan(
    points: *const fedhds_matrix_view_t,
    config: *const fedhds_hdbscan_config_t,
    watch: *const fedhds_control_t,
    clustering: *mut *mut fedhds_clustering_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, given, points) = unsafe {
            (
                Out::new(clustering, "clustering")?,
                settings(config, Default::default(), "config")?,
                copied(points, "points")?,
            )
        };
        let hdbscan = Hdbscan::new(HdbscanConfig {
            min_cluster_size: given.min_cluster_size,
            min_samples: (given.min_samples > 0).then_some(given.min_samples),
            cluster_selection_method: match given.cluster_selection_method {
                0 => ClusterSelectionMethod::Eom,
                1 => ClusterSelectionMethod::Leaf,
                other => return Err(unknown("cluster_selection_method", "0 or 1", other)),
            },
            allow_single_cluster: flag(given.allow_single_cluster, "allow_single_cluster")?,
            cluster_selection_epsilon: given.cluster_selection_epsilon,
        })?;
        let found = hdbscan.fit(&points, &control(watch)?)?;
        out.set(handle::new(Arc::new(found.clustering)));
        Ok(())
    })
}

/// k-means (greedy k-means++ starts, the best of several).
///
/// # Safety
/// `points` and its values, and `config`, are readable; `clustering` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_kmeans(
    points: *const fedhds_matrix_view_t,
    config: *const fedhds_kmeans_config_t,
    seed: u64,
    control: *const fedhds_control_t,
    clustering: *mut *mut fedhds_clustering_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, given, points) = unsafe {
            (
                Out::new(clustering, "clustering")?,
                settings(config, Default::default(), "config")?,
                copied(points, "points")?,
            )
        };
        points.check_finite("points")?;
        let kmeans = KMeans::new(KMeansConfig {
            n_clusters: given.n_clusters,
            n_init: given.n_init,
            max_iter: given.max_iter,
            tol: given.tol,
            ..KMeansConfig::default()
        })?;
        let found = kmeans.fit(&points, None, given.n_clusters, &context(seed, control)?)?.clustering;
        out.set(handle::new(Arc::new(found)));
        Ok(())
    })
}

/// The cluster of each row, -1 for noise, into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_clustering_labels(
    clustering: *const fedhds_clustering_t,
    labels: *mut i32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let clustering = handle::copy(clustering)?;
        let all: Vec<i32> = clustering.labels.iter().map(|l| l.map_or(-1, |id| id.index() as i32)).collect();
        // SAFETY: the caller's promise.
        unsafe { fill(&all, labels, capacity, count) }
    })
}

/// The membership probability of each row, in [0, 1], 0 for noise, into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `probabilities` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_clustering_probabilities(
    clustering: *const fedhds_clustering_t,
    probabilities: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let clustering = handle::copy(clustering)?;
        // SAFETY: the caller's promise.
        unsafe { fill(&clustering.strength, probabilities, capacity, count) }
    })
}

/// The centroids, one row for each cluster, as a matrix of its own.
///
/// # Safety
/// `centroids` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_clustering_centroids(
    clustering: *const fedhds_clustering_t,
    centroids: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(centroids, "centroids") }?;
        out.set(matrix(handle::copy(clustering)?.centroids.clone()));
        Ok(())
    })
}

/// Frees the clustering; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_clustering_free(clustering: *mut fedhds_clustering_t) -> fedhds_status_t {
    boundary(|| handle::free(clustering))
}
