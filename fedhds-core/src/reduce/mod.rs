//! Fewer columns: t-SNE, PCA, kernel PCA, shared random projection.
//!
//! - [`Tsne`]: the paper's fusion of all layers into two dimensions (eq. 7).
//! - [`SharedProjection`]: one frame for all clients, from a seed that they share.
//! - [`Pca`], [`KernelPca`]: the ablation's alternatives.
//! - [`layer_norm_per_layer`]: what comes before it, so that no layer outweighs the others.
//! - [`Identity`]: the features as they are.
//! - [`check_reduced`]: what a pipeline asks of any reducer's result, the user's own included.

mod eigen;
mod gram;
mod kernel_pca;
mod layer_norm;
mod pca;
mod projection;
mod range;
pub mod tsne;

pub use kernel_pca::{Kernel, KernelPca, KernelPcaConfig};
pub use layer_norm::layer_norm_per_layer;
pub use pca::{FittedPca, Pca, PcaConfig};
pub use projection::{SharedProjection, SharedProjectionConfig};
pub use tsne::{PerplexityLimit, Tsne, TsneConfig, kl_divergence};

use crate::error::{Error, Result};
use crate::stage::Reducer;
use crate::types::{Context, Matrix};

/// The features as they are: `[n, d] -> [n, d]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity;

impl Reducer for Identity {
    fn reduce(&self, features: &Matrix, _context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        Ok(features.clone())
    }
}

/// Checks what a reducer returned for `rows` rows.
///
/// # Errors
/// [`Error::Stage`] with `stage` as its name when the number of rows differs, rows came without columns, or a value is
/// not finite.
pub fn check_reduced(stage: &str, reduced: &Matrix, rows: usize) -> Result<()> {
    if reduced.rows() != rows {
        return Err(Error::stage(stage, format!("expected {rows} rows, one for each row in, got {}", reduced.rows())));
    }
    if rows > 0 && reduced.cols() == 0 {
        return Err(Error::stage(stage, "expected at least 1 column, got 0"));
    }
    reduced.check_finite("reduced features").map_err(|error| Error::stage(stage, error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_promise_is_named() {
        check_reduced("mine", &Matrix::zeros(3, 2), 3).unwrap();
        check_reduced("mine", &Matrix::zeros(0, 0), 0).unwrap();
        let message = |m: &Matrix| check_reduced("mine", m, 3).unwrap_err().to_string();
        assert!(message(&Matrix::zeros(2, 2)).contains("stage `mine`: expected 3 rows"));
        assert!(message(&Matrix::zeros(3, 0)).contains("at least 1 column"));
        assert!(message(&Matrix::new(3, 1, vec![0.0, f32::NAN, 0.0]).unwrap()).contains("row 1"));
    }

    #[test]
    fn identity_changes_nothing_and_refuses_nan() {
        let m = Matrix::new(2, 1, vec![1.0, 2.0]).unwrap();
        assert_eq!(Identity.reduce(&m, &Context::new(1)).unwrap(), m);
        let bad = Matrix::new(2, 1, vec![1.0, f32::NAN]).unwrap();
        assert!(Identity.reduce(&bad, &Context::new(1)).is_err());
    }
}
