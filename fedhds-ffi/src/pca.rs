//! Principal components: of one matrix, or kept for the rows that come later.

use crate::control::{context, control, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::matrix::{copied, fedhds_matrix_t, fedhds_matrix_view_t, matrix};
use crate::pointer::{Out, fill};
use crate::settings::flag;
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::reduce::{FittedPca, Pca, PcaConfig};
use fedhds_core::stage::Reducer as _;
use std::sync::Arc;

/// Principal components that were found of some rows and take others. They never change. Freed with `fedhds_pca_free`.
pub struct fedhds_pca_t {
    _private: [u8; 0],
}

impl Handle for fedhds_pca_t {
    type Object = Arc<FittedPca>;
    const NAME: &'static str = "fedhds_pca_t";
}

fn with(n_components: usize, whiten: u8) -> Outcome<Pca> {
    Ok(Pca::new(PcaConfig { n_components, whiten: flag(whiten, "whiten")? })?)
}

/// Principal components: `[n, d]` to `[n, n_components]`, each scaled to unit variance where `whiten` is 1.
///
/// # Safety
/// `features` and its values are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca(
    features: *const fedhds_matrix_view_t,
    n_components: usize,
    whiten: u8,
    control: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        let pca = with(n_components, whiten)?;
        // SAFETY: the caller's promise.
        let (out, features) = unsafe { (Out::new(reduced, "reduced")?, copied(features, "features")?) };
        out.set(matrix(pca.reduce(&features, &context(0, control)?)?));
        Ok(())
    })
}

/// Finds the principal components of `[n, d]` rows, n at least 1. `fedhds_pca_transform` of the same rows gives what `fedhds_pca` does, to rounding.
///
/// # Safety
/// `features` and its values are readable; `pca` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_fit(
    features: *const fedhds_matrix_view_t,
    n_components: usize,
    whiten: u8,
    watch: *const fedhds_control_t,
    pca: *mut *mut fedhds_pca_t,
) -> fedhds_status_t {
    boundary(|| {
        let settings = with(n_components, whiten)?;
        // SAFETY: the caller's promise.
        let (out, features) = unsafe { (Out::new(pca, "pca")?, copied(features, "features")?) };
        out.set(handle::new(Arc::new(settings.fit(&features, &control(watch)?)?)));
        Ok(())
    })
}

/// Rows by these components: `[m, d]` to `[m, n_components]`, each row by itself.
///
/// # Safety
/// `features` and its values are readable; `reduced` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_transform(
    pca: *const fedhds_pca_t,
    features: *const fedhds_matrix_view_t,
    watch: *const fedhds_control_t,
    reduced: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, features) = unsafe { (Out::new(reduced, "reduced")?, copied(features, "features")?) };
        out.set(matrix(handle::copy(pca)?.transform(&features, &control(watch)?)?));
        Ok(())
    })
}

/// The components as a matrix of its own, `[k, d]` with k the least of `n_components`, n and d: the directions of most variance, each of length 1
/// and orthogonal to the others, 0 beyond the rank of the rows.
///
/// # Safety
/// `components` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_components(
    pca: *const fedhds_pca_t,
    components: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(components, "components") }?;
        out.set(matrix(handle::copy(pca)?.components.clone()));
        Ok(())
    })
}

/// The variance of the rows along each component (over n - 1), into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `variances` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_explained_variance(
    pca: *const fedhds_pca_t,
    variances: *mut f64,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { fill(&handle::copy(pca)?.explained_variance, variances, capacity, count) })
}

/// The share of each component in the variance of all columns, in [0, 1], into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `ratios` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_explained_variance_ratio(
    pca: *const fedhds_pca_t,
    ratios: *mut f64,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { fill(&handle::copy(pca)?.explained_variance_ratio, ratios, capacity, count) })
}

/// The mean of each column of the rows, into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `means` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_pca_mean(
    pca: *const fedhds_pca_t,
    means: *mut f64,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { fill(&handle::copy(pca)?.mean, means, capacity, count) })
}

/// Frees the components; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_pca_free(pca: *mut fedhds_pca_t) -> fedhds_status_t {
    boundary(|| handle::free(pca))
}
