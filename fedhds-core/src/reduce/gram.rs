//! Inner products of centred rows: one matrix that gives distances, neighbours and principal components.
//!
//! For n rows of d columns with n well below d (a client's records: hundreds of rows of 49,152 columns), everything that t-SNE
//! and PCA ask of the features is in the n x n matrix `G = (X - mean)(X - mean)^T`.

use crate::error::{Error, Result};
use crate::loops;
use crate::product::{View, product};
use crate::types::{Control, Matrix};
use std::sync::Arc;

/// Columns over which one f32 product sums, before f64 takes over: few enough that rounding stays below f32's own.
const PANEL: usize = 1024;
/// Rows of one task.
const BLOCK: usize = 64;

/// A symmetric matrix of f64, of which the lower triangle is filled.
pub(super) struct Gram {
    n: usize,
    /// Shared with a decomposition that is left to itself.
    values: Arc<Vec<f64>>,
}

impl Gram {
    /// `G[i][j] = <x_i - mean, x_j - mean>` of finite `features`.
    ///
    /// Tasks are blocks of rows of fixed size, each summed in a fixed order: the same bits at any number of threads.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no memory for `n * n` f64, [`Error::Cancelled`].
    pub(super) fn centred(features: &Matrix, control: &Control) -> Result<Self> {
        Self::around(&column_means(features), features, control)
    }

    /// The same without centring: `<x_i, x_j>`.
    pub(super) fn plain(features: &Matrix, control: &Control) -> Result<Self> {
        Self::around(&vec![0.0; features.cols()], features, control)
    }

    fn around(mean: &[f64], features: &Matrix, control: &Control) -> Result<Self> {
        let (n, d) = (features.rows(), features.cols());
        let mut values = square(n)?;
        for start in (0..d).step_by(PANEL) {
            control.check()?;
            let width = PANEL.min(d - start);
            let panel = centred_columns(features, mean, start, width);
            let panel = View::new(&panel, width, n).transpose();
            loops::try_parts(&mut values, BLOCK * n, 1, |block, values| {
                control.check()?;
                let (first, rows) = (block * BLOCK, values.len() / n);
                let columns = first + rows;
                let mut inner = vec![0.0f32; rows * columns];
                product(&mut inner, panel.rows(first..columns), panel.rows(0..columns).transpose());
                for (values, inner) in values.chunks_exact_mut(n).zip(inner.chunks_exact(columns)) {
                    values.iter_mut().zip(inner).for_each(|(value, &p)| *value += f64::from(p));
                }
                Ok(())
            })?;
        }
        Ok(Self { n, values: Arc::new(values) })
    }

    /// A matrix whose entry (i, j), `j <= i`, is `entry(i, j)`.
    pub(super) fn from_fn(n: usize, control: &Control, entry: impl Fn(usize, usize) -> f64 + Sync) -> Result<Self> {
        let mut values = square(n)?;
        loops::try_parts(&mut values, n, 16, |i, row| {
            control.check()?;
            row[..=i].iter_mut().enumerate().for_each(|(j, value)| *value = entry(i, j));
            Ok(())
        })?;
        Ok(Self { n, values: Arc::new(values) })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// The entry of two rows, in either order.
    pub(super) fn get(&self, i: usize, j: usize) -> f64 {
        let (i, j) = if i >= j { (i, j) } else { (j, i) };
        self.values[i * self.n + j]
    }

    /// Squared distance of two rows, never below 0.
    pub(super) fn distance(&self, i: usize, j: usize) -> f64 {
        (self.get(i, i) + self.get(j, j) - 2.0 * self.get(i, j)).max(0.0)
    }

    /// Sum of the diagonal.
    pub(super) fn trace(&self) -> f64 {
        (0..self.n).map(|i| self.get(i, i)).sum()
    }

    /// Subtracts the mean of each row and of each column, and adds the mean of all: the kernel of centred rows.
    pub(super) fn centre(&mut self, control: &Control) -> Result<()> {
        let n = self.n;
        let means = loops::try_map(n, 16, |i| {
            control.check()?;
            Ok((0..n).map(|j| self.get(i, j)).sum::<f64>() / n as f64)
        })?;
        let mean = means.iter().sum::<f64>() / n.max(1) as f64;
        for (i, row) in Arc::make_mut(&mut self.values).chunks_exact_mut(n.max(1)).enumerate() {
            control.check()?;
            row[..=i].iter_mut().zip(&means).for_each(|(value, other)| *value += mean - means[i] - other);
        }
        Ok(())
    }

    /// The values `[n, n]`, of which the lower triangle alone is to be read.
    pub(super) fn lower(&self) -> Arc<Vec<f64>> {
        self.values.clone()
    }
}

/// `n * n` zeros, or an error in place of an abort.
fn square(n: usize) -> Result<Vec<f64>> {
    let refuse =
        || Error::input("features", "few enough rows for a matrix of rows x rows in memory", format!("{n} rows"));
    let mut values = Vec::new();
    let len = n.checked_mul(n).ok_or_else(refuse)?;
    values.try_reserve_exact(len).map_err(|_| refuse())?;
    values.resize(len, 0.0);
    Ok(values)
}

/// The mean of each column, in f64.
pub(super) fn column_means(features: &Matrix) -> Vec<f64> {
    let mut means = vec![0.0f64; features.cols()];
    loops::parts(&mut means, PANEL, 1, |panel, means| {
        let start = panel * PANEL;
        for row in features.iter_rows() {
            means.iter_mut().zip(&row[start..]).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        means.iter_mut().for_each(|mean| *mean /= features.rows() as f64);
    });
    means
}

/// Columns `start..start + width` of the centred features, one after the other: `[width, n]`.
///
/// So the products of blocks of rows with all rows read them as they stand; row after row they would be packed anew for
/// every block.
pub(super) fn centred_columns(features: &Matrix, mean: &[f64], start: usize, width: usize) -> Vec<f32> {
    /// Columns of one task: a cache line of each row.
    const STRIP: usize = 16;
    let n = features.rows();
    let mut columns = vec![0.0f32; n * width];
    loops::parts(&mut columns, STRIP * n, 1, |strip, out| {
        let first = start + strip * STRIP;
        let mean = &mean[first..first + out.len() / n];
        for (i, row) in features.iter_rows().enumerate() {
            for (j, (&x, mean)) in row[first..].iter().zip(mean).enumerate() {
                out[j * n + i] = (f64::from(x) - mean) as f32;
            }
        }
    });
    columns
}

/// Columns `start..start + width` of the centred features, `[n, width]`.
pub(super) fn centred_panel(features: &Matrix, mean: &[f64], start: usize, width: usize) -> Vec<f32> {
    let mut panel = vec![0.0f32; features.rows() * width];
    loops::parts(&mut panel, width, 16, |i, out| {
        let row = &features.row(i)[start..start + width];
        for ((out, &x), mean) in out.iter_mut().zip(row).zip(&mean[start..]) {
            *out = (f64::from(x) - mean) as f32;
        }
    });
    panel
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand::RngExt as _;

    #[test]
    fn equals_its_definition() {
        let mut rng = Seed(1).rng();
        let (n, d) = (130, 2100);
        // An offset that dwarfs the differences, as hidden states have.
        let data = (0..n * d).map(|i| 50.0 * (i % 7) as f32 + rng.random::<f32>()).collect();
        let x = Matrix::new(n, d, data).unwrap();
        let gram = Gram::centred(&x, &Control::default()).unwrap();
        let exact = |i: usize, j: usize| -> f64 {
            x.row(i).iter().zip(x.row(j)).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
        };
        for (i, j) in [(0, 1), (129, 3), (64, 63), (7, 7)] {
            let (got, exact) = (gram.distance(i, j), exact(i, j));
            assert!((got - exact).abs() <= 1e-5 * (1.0 + exact), "{got} {exact}");
        }
        let row: f64 = (0..n).map(|j| gram.get(5, j)).sum();
        assert!(row.abs() < 1e-5 * gram.get(5, 5) * n as f64);
    }

    #[test]
    fn centring_a_linear_kernel_is_centring_rows() {
        let x = Matrix::new(4, 2, vec![1.0, 2.0, 5.0, 0.0, -3.0, 1.0, 2.0, 2.0]).unwrap();
        let inner = |i: usize, j: usize| x.row(i).iter().zip(x.row(j)).map(|(a, b)| f64::from(a * b)).sum();
        let mut kernel = Gram::from_fn(4, &Control::default(), inner).unwrap();
        kernel.centre(&Control::default()).unwrap();
        let gram = Gram::centred(&x, &Control::default()).unwrap();
        for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
            assert!((kernel.get(i, j) - gram.get(i, j)).abs() < 1e-5);
        }
    }

    #[test]
    fn no_rows_and_too_many() {
        assert_eq!(Gram::centred(&Matrix::zeros(0, 3), &Control::default()).unwrap().len(), 0);
        assert!(square(usize::MAX).is_err());
        assert!(square(1 << 31).is_err());
    }
}
