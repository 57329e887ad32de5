//! Principal component analysis (the ablation's first alternative to t-SNE).

mod basis;
mod fitted;

pub(super) use basis::{scores_by_iteration, scores_from_columns, scores_from_rows};
pub use fitted::FittedPca;

use super::eigen::Accuracy;
use super::gram::{Gram, column_means};
use super::range::InRange;
use crate::error::{Error, Result};
use crate::protocol::MAX_DIMS;
use crate::stage::Reducer;
use crate::types::{Context, Control, Matrix};
use basis::{Basis, basis_from_columns, basis_from_rows};
use serde::{Deserialize, Serialize};

/// Settings of [`Pca`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PcaConfig {
    /// Columns that come out, at least 1; default 2. Where the features have lower rank, the last are 0.
    pub n_components: usize,
    /// Whether columns are scaled to variance 1; default no. A direction in which the rows do not differ by more than rounding has no
    /// variance to scale: its column is 0, as those beyond the rank are.
    pub whiten: bool,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self { n_components: 2, whiten: false }
    }
}

impl PcaConfig {
    /// # Errors
    /// [`Error::Parameter`] for the first value outside its range.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_DIMS).contains(&self.n_components) {
            return Err(Error::parameter("n_components", format!("1 to {MAX_DIMS}"), self.n_components));
        }
        Ok(())
    }
}

/// PCA of one client's features: `[n, d] -> [n, n_components]`, the centred rows in the basis of most variance.
///
/// Exact, from the Gram matrix of the rows where `n <= d`, else from that of the columns. Signs are scikit-learn's: the
/// component's entry of largest magnitude is positive. The seed is not used.
///
/// [`Pca::fit`] keeps the basis, which then takes rows that were not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pca {
    config: PcaConfig,
}

impl Pca {
    /// # Errors
    /// [`Error::Parameter`], see [`PcaConfig::check`].
    pub fn new(config: PcaConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &PcaConfig {
        &self.config
    }

    /// The basis of the rows of `features`, `[n, d]`.
    ///
    /// # Errors
    /// [`Error::Input`] without rows or where there is no memory for the matrix of products, [`Error::NotFinite`],
    /// [`Error::Cancelled`].
    pub fn fit(&self, features: &Matrix, control: &Control) -> Result<FittedPca> {
        Ok(self.fit_transform(features, control)?.0)
    }

    /// The basis, and the rows in it, `[n, n_components]`: the bits of [`Reducer::reduce`]. [`FittedPca::transform`] of the same
    /// rows gives the same to rounding.
    ///
    /// # Errors
    /// As [`Pca::fit`].
    pub fn fit_transform(&self, features: &Matrix, control: &Control) -> Result<(FittedPca, Matrix)> {
        let (n, d, k) = (features.rows(), features.cols(), self.config.n_components);
        if n == 0 {
            return Err(Error::input("features", "at least 1 row", n));
        }
        let basis = self.basis(features, true, control)?;
        let scores = self.coordinates(&basis, n)?;
        let most = k.min(n).min(d);
        let mut variance: Vec<f64> = basis.scores.iter().map(|column| variance(column)).collect();
        variance.resize(most, 0.0);
        // The eigenvalues of a matrix that was rounded may add up to more than its trace.
        let total = variance.iter().sum::<f64>().max(basis.total / divisor(n));
        let share = |v: &f64| if total > 0.0 { v / total } else { 0.0 };
        let components = Matrix::new(most, d, basis.directions)?;
        components.check_finite("principal components")?;
        let fitted = FittedPca {
            components,
            explained_variance_ratio: variance.iter().map(share).collect(),
            explained_variance: variance,
            mean: column_means(features),
            whiten: self.config.whiten,
            n_components: k,
        };
        Ok((fitted, scores))
    }

    fn basis(&self, features: &Matrix, keep: bool, control: &Control) -> Result<Basis> {
        features.check_finite("features")?;
        let k = self.config.n_components;
        let whiten = self.config.whiten;
        let InRange { features, factor } = InRange::differences(features);
        let features = &*features;
        let mut basis = if features.rows() <= features.cols() {
            let gram = Gram::centred(features, control)?;
            basis_from_rows(features, &gram, k, keep || whiten, Accuracy::Full, control)?
        } else {
            basis_from_columns(features, k, keep || whiten, Accuracy::Full, control)?
        };
        if whiten {
            basis.drop_rounding(features);
        }
        basis.unscale(factor);
        Ok(basis)
    }

    /// The scores, whitened where that is asked for, `[n, n_components]`.
    fn coordinates(&self, basis: &Basis, n: usize) -> Result<Matrix> {
        let mut out = Matrix::zeros(n, self.config.n_components);
        for (j, column) in basis.scores.iter().enumerate() {
            let scale = fitted::scale(variance(column), self.config.whiten);
            column.iter().enumerate().for_each(|(i, x)| out.row_mut(i)[j] = (x * scale) as f32);
        }
        out.check_finite("principal components")?;
        Ok(out)
    }
}

/// Degrees of freedom of a variance of `n` rows; 1 for a single row, whose variance is 0.
fn divisor(n: usize) -> f64 {
    (n.max(2) - 1) as f64
}

/// The variance of a column of mean 0.
fn variance(column: &[f64]) -> f64 {
    column.iter().map(|x| x * x).sum::<f64>() / divisor(column.len())
}

impl Reducer for Pca {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        self.coordinates(&self.basis(features, false, &context.control)?, features.rows())
    }
}

#[cfg(test)]
mod tests;
