//! Reducers and clusterers on the caller's matrices.
//!
//! Settings are structures that begin with their own size, filled by their `_init` function: a program that was compiled against an older
//! header goes on working when fields are added at the end.

use crate::control::{context, control, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::matrix::{copied, fedhds_matrix_t, fedhds_matrix_view_t, matrix};
use crate::pointer::{Out, fill, value};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::cluster::hdbscan::ClusterSelectionMethod;
use fedhds_core::cluster::{Hdbscan, HdbscanConfig, KMeans, KMeansConfig};
use fedhds_core::reduce::layer_norm_per_layer;
use fedhds_core::reduce::{
    Kernel, KernelPca, KernelPcaConfig, Pca, PcaConfig, PerplexityLimit, SharedProjection, SharedProjectionConfig,
    Tsne, TsneConfig,
};
use fedhds_core::stage::{Clusterer as _, Clustering, Reducer};
use fedhds_core::types::Seed;
use std::sync::Arc;

/// Settings of `fedhds_tsne`, filled by `fedhds_tsne_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_tsne_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Effective number of neighbours, at least 1; default 30.
    pub perplexity: f64,
    /// 1: clamp perplexity to n - 1, as the paper does, instead of (n - 1) / 3; default 0.
    pub perplexity_limit_rows: u8,
    /// Columns that come out, 1 or 2 (3 where theta is 0); default 2.
    pub n_components: usize,
    /// Steps in all; default 1000.
    pub n_iter: usize,
    /// Step size; 0 (the default) is n over the exaggeration.
    pub learning_rate: f64,
    /// Factor on the attraction in the first steps, at least 1; default 12.
    pub early_exaggeration: f64,
    /// How many steps are exaggerated; default 250.
    pub early_exaggeration_iter: usize,
    /// Accuracy of the repulsion in [0, 1], 0 is exact; default 0.5.
    pub theta: f64,
}

/// Settings of `fedhds_kernel_pca`, filled by `fedhds_kernel_pca_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_kernel_pca_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Columns that come out; default 2.
    pub n_components: usize,
    /// 0 linear, 1 rbf (the default), 2 poly, 3 cosine.
    pub kernel: i32,
    /// Of rbf and poly, above 0; 0 (the default) is 1 / columns.
    pub gamma: f64,
    /// Of poly, 1 to 16; default 3.
    pub degree: u32,
    /// Of poly; default 1.
    pub coef0: f64,
}

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
    /// 1: take the leaves of the hierarchy instead of the most stable clusters; default 0.
    pub leaf: u8,
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
    /// Runs, of which the best is kept; default 10.
    pub n_init: usize,
    /// Most iterations of a run; default 300.
    pub max_iter: u64,
}

/// The sizes that a settings structure may say it has.
const SIZES: std::ops::RangeInclusive<usize> = size_of::<usize>()..=4096;

/// Whole fields only: a cut through a pointer would leave half of it.
fn check_size<T>(size: usize, name: &str) -> Outcome {
    if SIZES.contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(());
    }
    let message =
        format!("`{name}`: expected the size of its structure, {} to {}, got {size}", SIZES.start(), SIZES.end());
    Err(Failure::new(FEDHDS_STATUS_PARAMETER, message))
}

/// Fills the caller's structure of `size` bytes with the defaults: as much of them as it has, and its own size in front.
///
/// # Safety
/// A pointer that is not NULL is valid for writes of `size` bytes.
pub(crate) unsafe fn init<T: Copy>(pointer: *mut T, size: usize, mut own: T) -> Outcome {
    check_size::<T>(size, "config")?;
    // SAFETY: every settings structure begins with its size.
    unsafe { (&raw mut own).cast::<usize>().write(size) };
    // SAFETY: only looked at; what is written follows below.
    let _ = unsafe { Out::new(pointer, "config") }?;
    // SAFETY: no more than either has; `own` is on this stack.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const own).cast::<u8>(), pointer.cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(())
}

/// Settings of this version, from a structure that begins with its size: fields that a shorter, older one does not have are `own`'s.
///
/// # Safety
/// A pointer that is not NULL points to a structure of the size that it begins with.
pub(crate) unsafe fn settings<T: Copy>(pointer: *const T, mut own: T, name: &str) -> Outcome<T> {
    // SAFETY: every settings structure begins with its size.
    let size = unsafe { value(pointer.cast::<usize>(), name) }?;
    check_size::<T>(size, name)?;
    // SAFETY: no more than either has; `own` is on this stack.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut own).cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(own)
}

/// A field that is 0 or 1. Any byte may stand in memory of the caller's, and a `bool` of Rust's must not be read from it.
pub(crate) fn flag(byte: u8, name: &str) -> Outcome<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::new(FEDHDS_STATUS_PARAMETER, format!("`{name}`: expected 0 or 1, got {other}"))),
    }
}

fn above_zero(value: f64) -> Option<f64> {
    (value != 0.0).then_some(value)
}

impl Default for fedhds_tsne_config_t {
    fn default() -> Self {
        let own = TsneConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            perplexity: own.perplexity,
            perplexity_limit_rows: (own.perplexity_limit == PerplexityLimit::Rows).into(),
            n_components: own.n_components,
            n_iter: own.n_iter,
            learning_rate: own.learning_rate.unwrap_or(0.0),
            early_exaggeration: own.early_exaggeration,
            early_exaggeration_iter: own.early_exaggeration_iter,
            theta: own.theta,
        }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_tsne_config_init(config: *mut fedhds_tsne_config_t, size: usize) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_tsne_config_t::default()) })
}

impl Default for fedhds_kernel_pca_config_t {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            n_components: KernelPcaConfig::default().n_components,
            kernel: 1,
            gamma: 0.0,
            degree: 3,
            coef0: 1.0,
        }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_kernel_pca_config_init(
    config: *mut fedhds_kernel_pca_config_t,
    size: usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_kernel_pca_config_t::default()) })
}

impl Default for fedhds_hdbscan_config_t {
    fn default() -> Self {
        let own = HdbscanConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            min_cluster_size: own.min_cluster_size,
            min_samples: own.min_samples.unwrap_or(0),
            leaf: (own.cluster_selection_method == ClusterSelectionMethod::Leaf).into(),
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
            n_init: own.n_runs,
            max_iter: own.max_n_iterations,
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

/// # Safety
/// As [`copied`] and [`Out::new`].
unsafe fn reduce(
    reducer: &dyn Reducer,
    features: *const fedhds_matrix_view_t,
    seed: u64,
    watch: *const fedhds_control_t,
    out: *mut *mut fedhds_matrix_t,
) -> Outcome {
    // SAFETY: the caller's promise.
    let (out, features) = unsafe { (Out::new(out, "reduced")?, copied(features, "features")?) };
    features.check_finite("features")?;
    out.set(matrix(reducer.reduce(&features, &context(seed, watch)?)?));
    Ok(())
}

/// Layer-norm of each layer's part of every row: `layers` equal parts to mean 0 and variance 1, as the presets in a shared frame do before
/// anything else.
///
/// # Safety
/// `features` and its values are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_layer_norm(
    features: *const fedhds_matrix_view_t,
    layers: usize,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, features) = unsafe { (Out::new(reduced, "reduced")?, copied(features, "features")?) };
        features.check_finite("features")?;
        out.set(matrix(layer_norm_per_layer(&features, layers)?));
        Ok(())
    })
}

/// Barnes-Hut t-SNE (van der Maaten 2014), the method's fusion step (eq. 7): `[n, d]` to `[n, n_components]`. The same seed gives the same
/// bits at any number of threads.
///
/// # Safety
/// `features` and its values, and `config`, are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_tsne(
    features: *const fedhds_matrix_view_t,
    config: *const fedhds_tsne_config_t,
    seed: u64,
    control: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let given = unsafe { settings(config, Default::default(), "config") }?;
        let tsne = Tsne::new(TsneConfig {
            perplexity: given.perplexity,
            perplexity_limit: if flag(given.perplexity_limit_rows, "perplexity_limit_rows")? {
                PerplexityLimit::Rows
            } else {
                PerplexityLimit::Third
            },
            n_components: given.n_components,
            n_iter: given.n_iter,
            learning_rate: above_zero(given.learning_rate),
            early_exaggeration: given.early_exaggeration,
            early_exaggeration_iter: given.early_exaggeration_iter,
            theta: given.theta,
        })?;
        // SAFETY: the caller's promise.
        unsafe { reduce(&tsne, features, seed, control, reduced) }
    })
}

/// Principal components: `[n, d]` to `[n, n_components]`, each scaled to unit variance where `whiten`.
///
/// # Safety
/// `features` and its values are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca(
    features: *const fedhds_matrix_view_t,
    n_components: usize,
    whiten: bool,
    control: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        let pca = Pca::new(PcaConfig { n_components, whiten })?;
        // SAFETY: the caller's promise.
        unsafe { reduce(&pca, features, 0, control, reduced) }
    })
}

/// Kernel PCA: `[n, d]` to `[n, n_components]`.
///
/// # Safety
/// `features` and its values, and `config`, are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_kernel_pca(
    features: *const fedhds_matrix_view_t,
    config: *const fedhds_kernel_pca_config_t,
    control: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let given = unsafe { settings(config, Default::default(), "config") }?;
        let gamma = above_zero(given.gamma);
        let kernel = match given.kernel {
            0 => Kernel::Linear,
            1 => Kernel::Rbf { gamma },
            2 => Kernel::Poly { degree: given.degree, gamma, coef0: given.coef0 },
            3 => Kernel::Cosine,
            other => {
                let message = format!("`kernel`: expected 0 to 3, got {other}");
                return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
            }
        };
        let reducer = KernelPca::new(KernelPcaConfig { n_components: given.n_components, kernel })?;
        // SAFETY: the caller's promise.
        unsafe { reduce(&reducer, features, 0, control, reduced) }
    })
}

/// The random projection that all clients of one seed share: `[n, d]` to `[n, n_components]`.
///
/// # Safety
/// `features` and its values are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_shared_projection(
    features: *const fedhds_matrix_view_t,
    n_components: usize,
    seed: u64,
    control: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        let projection = SharedProjection::new(SharedProjectionConfig { n_components, seed: Seed(seed) })?;
        // SAFETY: the caller's promise.
        unsafe { reduce(&projection, features, seed, control, reduced) }
    })
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
            cluster_selection_method: if flag(given.leaf, "leaf")? {
                ClusterSelectionMethod::Leaf
            } else {
                ClusterSelectionMethod::Eom
            },
            allow_single_cluster: flag(given.allow_single_cluster, "allow_single_cluster")?,
            cluster_selection_epsilon: given.cluster_selection_epsilon,
        })?;
        let found = hdbscan.fit(&points, &control(watch)?)?;
        out.set(handle::new(Arc::new(found.clustering)));
        Ok(())
    })
}

/// k-means (k-means++ starts, the best of several runs).
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
            n_runs: given.n_init,
            max_n_iterations: given.max_iter,
            ..KMeansConfig::default()
        })?;
        out.set(handle::new(Arc::new(kmeans.cluster(&points, &context(seed, control)?)?)));
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

/// The membership strength of each row, in [0, 1], into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `strengths` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_clustering_strengths(
    clustering: *const fedhds_clustering_t,
    strengths: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let clustering = handle::copy(clustering)?;
        // SAFETY: the caller's promise.
        unsafe { fill(&clustering.strength, strengths, capacity, count) }
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
