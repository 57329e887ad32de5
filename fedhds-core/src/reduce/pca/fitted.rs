//! PCA that has seen its rows.

use super::basis::inner;
use crate::error::{Error, Result};
use crate::loops;
use crate::types::{Control, Matrix};
use serde::{Deserialize, Serialize};

/// What [`Pca::fit`](super::Pca::fit) found of `[n, d]` rows; the fields are scikit-learn's attributes of these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedPca {
    /// `[k, d]`, `k` the least of `n_components`, `n` and `d`: the directions of most variance, most first, each of length 1
    /// and orthogonal to the others; its entry of largest magnitude is positive. 0 beyond the rank of the rows.
    pub components: Matrix,
    /// Variance of the rows along each component (over `n - 1`), `[k]`, at least 0.
    pub explained_variance: Vec<f64>,
    /// Its share of the variance of all columns, `[k]`, in [0, 1]; the sum is at most 1.
    pub explained_variance_ratio: Vec<f64>,
    /// Mean of each column, `[d]`.
    pub mean: Vec<f64>,
    /// Whether [`Self::transform`] scales columns to a variance of 1 over the fitted rows.
    pub whiten: bool,
    /// Columns that [`Self::transform`] gives, at least `k`; those beyond the components are 0.
    pub n_components: usize,
}

/// What a column of this variance is multiplied by.
pub(super) fn scale(variance: f64, whiten: bool) -> f64 {
    if whiten && variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 }
}

impl FittedPca {
    /// Rows in the basis: `[m, d] -> [m, n_components]`, `(x - mean) . component`, each row by itself, summed in f64.
    ///
    /// # Errors
    /// [`Error::Input`] for rows of another number of columns, and for fields whose shapes do not fit together;
    /// [`Error::NotFinite`], [`Error::Cancelled`].
    pub fn transform(&self, features: &Matrix, control: &Control) -> Result<Matrix> {
        /// Rows of one task, over which a panel of the components is read once.
        const ROWS: usize = 16;
        const PANEL: usize = 1024;
        self.check()?;
        let (n, d, k) = (features.rows(), self.mean.len(), self.n_components);
        if features.cols() != d {
            return Err(Error::input("features", format!("{d} columns, as PCA was fitted on"), features.cols()));
        }
        features.check_finite("features")?;
        let scales: Vec<f64> = self.explained_variance.iter().map(|&v| scale(v, self.whiten)).collect();
        let mut out = Matrix::zeros(n, k);
        loops::try_parts(out.as_mut_slice(), ROWS * k, 1, |block, out| {
            let first = block * ROWS;
            let rows = first..first + out.len() / k;
            let mut sums = vec![0.0f64; out.len()];
            for start in (0..d).step_by(PANEL) {
                control.check()?;
                let columns = start..(start + PANEL).min(d);
                let centred: Vec<Vec<f64>> = rows
                    .clone()
                    .map(|i| {
                        let row = features.row(i)[columns.clone()].iter().zip(&self.mean[columns.clone()]);
                        row.map(|(&x, mean)| f64::from(x) - mean).collect()
                    })
                    .collect();
                for (j, component) in self.components.iter_rows().enumerate() {
                    for (row, sums) in centred.iter().zip(sums.chunks_exact_mut(k)) {
                        sums[j] += inner(row, &component[columns.clone()]);
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut(k).zip(sums.chunks_exact(k)) {
                out.iter_mut().zip(sums).zip(&scales).for_each(|((out, sum), scale)| *out = (sum * scale) as f32);
            }
            Ok::<_, Error>(())
        })?;
        out.check_finite("principal components")?;
        Ok(out)
    }

    /// The fields are public: they may have come from elsewhere.
    fn check(&self) -> Result<()> {
        let (k, d) = (self.components.rows(), self.components.cols());
        if self.mean.len() != d {
            return Err(Error::input(
                "mean",
                format!("{d} values, one for each column of `components`"),
                self.mean.len(),
            ));
        }
        if self.explained_variance.len() != k {
            let got = self.explained_variance.len();
            return Err(Error::input("explained_variance", format!("{k} values, one for each component"), got));
        }
        if self.n_components < k {
            return Err(Error::parameter("n_components", format!("at least the {k} components"), self.n_components));
        }
        Ok(())
    }
}
