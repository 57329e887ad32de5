//! Reducers: layer norm, t-SNE, kernel PCA, the shared projection. PCA has a file of its own.

use crate::control::{context, fedhds_control_t};
use crate::matrix::{copied, fedhds_matrix_t, fedhds_matrix_view_t, matrix};
use crate::pointer::Out;
use crate::settings::{init, settings, unknown};
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::reduce::layer_norm_per_layer;
use fedhds_core::reduce::{
    Kernel, KernelPca, KernelPcaConfig, PerplexityLimit, SharedProjection, SharedProjectionConfig, Tsne, TsneConfig,
};
use fedhds_core::stage::Reducer;
use fedhds_core::types::Seed;

/// Settings of `fedhds_tsne`, filled by `fedhds_tsne_config_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_tsne_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Effective number of neighbours, at least 1; default 30.
    pub perplexity: f64,
    /// What perplexity is clamped to: 0 third, (n - 1) / 3 (the default), 1 rows, n - 1 as in the paper.
    pub perplexity_limit: i32,
    /// Columns that come out, 1 to 3; default 2.
    pub n_components: usize,
    /// Steps in all; default 1000.
    pub max_iter: usize,
    /// Step size; 0 (the default) is n over the exaggeration.
    pub learning_rate: f64,
    /// Factor on the attraction in the first steps, at least 1; default 12.
    pub early_exaggeration: f64,
    /// How many steps are exaggerated; default 250.
    pub early_exaggeration_iter: usize,
    /// Accuracy of the repulsion in [0, 1], 0 is exact; default 0.5.
    pub angle: f64,
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

fn above_zero(value: f64) -> Option<f64> {
    (value != 0.0).then_some(value)
}

impl Default for fedhds_tsne_config_t {
    fn default() -> Self {
        let own = TsneConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            perplexity: own.perplexity,
            perplexity_limit: match own.perplexity_limit {
                PerplexityLimit::Third => 0,
                PerplexityLimit::Rows => 1,
            },
            n_components: own.n_components,
            max_iter: own.max_iter,
            learning_rate: own.learning_rate.unwrap_or(0.0),
            early_exaggeration: own.early_exaggeration,
            early_exaggeration_iter: own.early_exaggeration_iter,
            angle: own.angle,
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
        let own = KernelPcaConfig::default();
        Self {
            struct_size: size_of::<Self>(),
            n_components: own.n_components,
            kernel: match own.kernel {
                Kernel::Linear => 0,
                Kernel::Rbf => 1,
                Kernel::Poly => 2,
                Kernel::Cosine => 3,
            },
            gamma: own.gamma.unwrap_or(0.0),
            degree: own.degree,
            coef0: own.coef0,
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
            perplexity_limit: match given.perplexity_limit {
                0 => PerplexityLimit::Third,
                1 => PerplexityLimit::Rows,
                other => return Err(unknown("perplexity_limit", "0 or 1", other)),
            },
            n_components: given.n_components,
            max_iter: given.max_iter,
            learning_rate: above_zero(given.learning_rate),
            early_exaggeration: given.early_exaggeration,
            early_exaggeration_iter: given.early_exaggeration_iter,
            angle: given.angle,
        })?;
        // SAFETY: the caller's promise.
        unsafe { reduce(&tsne, features, seed, control, reduced) }
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
        let kernel = match given.kernel {
            0 => Kernel::Linear,
            1 => Kernel::Rbf,
            2 => Kernel::Poly,
            3 => Kernel::Cosine,
            other => return Err(unknown("kernel", "0 to 3", other)),
        };
        let reducer = KernelPca::new(KernelPcaConfig {
            n_components: given.n_components,
            kernel,
            gamma: above_zero(given.gamma),
            degree: given.degree,
            coef0: given.coef0,
        })?;
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
