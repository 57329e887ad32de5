//! Fewer columns: t-SNE, PCA, kernel PCA, shared random projection.
//!
//! - [`Tsne`]: the paper's fusion of all layers into two dimensions (eq. 7).
//! - [`SharedProjection`]: one frame for all clients, from a seed that they share.
//! - [`Pca`], [`KernelPca`]: the ablation's alternatives.
//! - [`layer_norm_per_layer`]: what comes before it, so that no layer outweighs the others.
//! - [`Layers`]: which layers of a feature vector count.
//! - [`Identity`]: the features as they are.
//! - [`check_reduced`]: what a pipeline asks of any reducer's result, the user's own included.

mod eigen;
mod gram;
mod kernel_pca;
mod layer_norm;
mod layers;
mod pca;
mod projection;
mod range;
pub mod tsne;

pub use kernel_pca::{Kernel, KernelPca, KernelPcaConfig};
pub use layer_norm::layer_norm_per_layer;
pub use layers::Layers;
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
    use crate::types::{Control, Seed, stops_at_any_look};
    use rand::RngExt as _;

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
    fn every_part_of_a_reducer_stops() {
        let mut rng = Seed(4).rng();
        let mut rows =
            |n: usize, d: usize| Matrix::new(n, d, (0..n * d).map(|_| rng.random::<f32>()).collect()).unwrap();
        let (wide, tall) = (rows(300, 500), rows(500, 30));
        let check = |what: &str, least: usize, reducer: &dyn Reducer, features: &Matrix| {
            stops_at_any_look(what, least, |control| {
                reducer.reduce(features, &Context { control: control.clone(), ..Context::new(1) })
            });
        };
        let tsne = |angle: f64| Tsne::new(TsneConfig { max_iter: 4, angle, ..TsneConfig::default() }).unwrap();
        // A look for each block of rows of each step.
        check("t-SNE by a tree", 300 + 4 * 2 * 3, &tsne(0.5), &wide);
        check("exact t-SNE", 500 + 4 * 2 * 4, &tsne(0.0), &tall);
        for k in [2, 200] {
            let pca = Pca::new(PcaConfig { n_components: k, ..PcaConfig::default() }).unwrap();
            check("PCA of rows", 5, &pca, &wide);
            check("PCA of columns", 30, &pca, &tall);
        }
        for kernel in [Kernel::Linear, Kernel::Rbf, Kernel::Poly, Kernel::Cosine] {
            let config = KernelPcaConfig { kernel, ..KernelPcaConfig::default() };
            check("kernel PCA", 2 * 300, &KernelPca::new(config).unwrap(), &wide);
        }
        let config = SharedProjectionConfig { n_components: 8, ..SharedProjectionConfig::default() };
        // Made anew each time, as a projection keeps its matrix.
        stops_at_any_look("projection", 500 + 5, |control| {
            let projection = SharedProjection::new(config.clone()).unwrap();
            projection.reduce(&wide, &Context { control: control.clone(), ..Context::new(1) })
        });
        // By steps, where few of many eigenvectors are wanted.
        let gram = gram::Gram::plain(&rows(400, 20), &Control::default()).unwrap();
        let eigenvectors =
            |k, control: &Control| eigen::largest(&gram, k, eigen::Accuracy::Rough, control).map(|found| found.values);
        stops_at_any_look("eigenvectors", 2, |control| eigenvectors(3, control));
        // All at once by a thread of its own: how often is looked while it works depends on how long that takes.
        for look in 1..=2 {
            let stopped = Control::default();
            stopped.cancel.cancel_at(look);
            assert!(matches!(eigenvectors(100, &stopped), Err(Error::Cancelled)), "look {look}");
        }
    }

    #[test]
    fn identity_changes_nothing_and_refuses_nan() {
        let m = Matrix::new(2, 1, vec![1.0, 2.0]).unwrap();
        assert_eq!(Identity.reduce(&m, &Context::new(1)).unwrap(), m);
        let bad = Matrix::new(2, 1, vec![1.0, f32::NAN]).unwrap();
        assert!(Identity.reduce(&bad, &Context::new(1)).is_err());
    }
}
