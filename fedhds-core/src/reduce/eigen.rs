//! The largest eigenvalues of a symmetric matrix.

use super::gram::Gram;
use crate::error::{Error, Result};
use crate::loops;
use crate::spectrum::spectrum;
use crate::types::{Control, Seed};
use faer::Mat;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// More vectors than asked for, in the subspace iteration.
const EXTRA: usize = 10;
/// Most steps of the subspace iteration.
const STEPS: usize = 300;

/// How well eigenvectors must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accuracy {
    /// As a result.
    Full,
    /// As a place to start from: any rotation towards the right ones will do.
    Rough,
}

impl Accuracy {
    /// Size up to which the whole decomposition is made.
    fn whole(self) -> usize {
        match self {
            Self::Full => 2048,
            Self::Rough => 256,
        }
    }

    /// Change of every eigenvalue, relative to the largest, at which the iteration ends.
    fn tolerance(self) -> f64 {
        match self {
            Self::Full => 1e-10,
            Self::Rough => 1e-5,
        }
    }
}

/// Eigenvalues, largest first, none below 0, and unit eigenvectors `[n, k]` in columns.
pub(super) struct Eigen {
    pub(super) values: Vec<f64>,
    pub(super) vectors: Mat<f64>,
}

/// The `k` largest eigenvalues, `k <= n`, of a positive semidefinite matrix.
///
/// Small ones by faer's decomposition, large ones by subspace iteration with Rayleigh-Ritz steps from a fixed start
/// (Halko, Martinsson and Tropp 2011), until eigenvalues settle.
pub(super) fn largest(matrix: &Gram, k: usize, accuracy: Accuracy, control: &Control) -> Result<Eigen> {
    let n = matrix.len();
    if n <= accuracy.whole() || 4 * (k + EXTRA) >= n {
        let (values, vectors) = spectrum(matrix.lower(), n, control)?;
        let values = (0..k).map(|j| values[n - 1 - j].max(0.0)).collect();
        return Ok(Eigen { values, vectors: Mat::from_fn(n, k, |i, j| vectors[(i, n - 1 - j)]) });
    }
    subspace(n, k, accuracy.tolerance(), |basis, width| times(matrix, basis, width, control), control)
}

/// The `k` largest eigenvalues, `k + 10 <= n`, of the positive semidefinite map `apply`: `[n, width] -> [n, width]`, row after
/// row, until they change by less than `tolerance` of the largest in one step.
pub(super) fn subspace(
    n: usize,
    k: usize,
    tolerance: f64,
    apply: impl Fn(&[f64], usize) -> Result<Vec<f64>>,
    control: &Control,
) -> Result<Eigen> {
    let width = k + EXTRA;
    let mut rng = Seed(0).derive("subspace", n as u64).rng();
    let mut basis: Vec<f64> = (0..n * width).map(|_| StandardNormal.sample(&mut rng)).collect();
    orthonormalise(&mut basis, n, width, control)?;
    let mut last = vec![f64::INFINITY; k];
    let mut image = apply(&basis, width)?;
    for step in 0..STEPS {
        control.check()?;
        // Rayleigh-Ritz: rotate the basis so that its small matrix becomes diagonal.
        let small = loops::try_map(width * width, width, |at| {
            control.check()?;
            let (a, b) = (at / width, at % width);
            Ok((0..n).map(|i| basis[i * width + a] * image[i * width + b]).sum())
        })?;
        let (values, rotation) = spectrum(Arc::new(small), width, control)?;
        let values: Vec<f64> = values.into_iter().rev().collect();
        let settled =
            values[..k].iter().zip(&last).all(|(now, last)| (now - last).abs() <= tolerance * values[0].abs());
        if settled || step + 1 == STEPS {
            let vectors = loops::try_map(n * k, k, |at| {
                control.check()?;
                let (i, j) = (at / k, at % k);
                Ok((0..width).map(|a| basis[i * width + a] * rotation[(a, width - 1 - j)]).sum::<f64>())
            })?;
            let vectors = Mat::from_fn(n, k, |i, j| vectors[i * k + j]);
            return Ok(Eigen { values: values[..k].iter().map(|v| v.max(0.0)).collect(), vectors });
        }
        last.copy_from_slice(&values[..k]);
        basis = image;
        orthonormalise(&mut basis, n, width, control)?;
        image = apply(&basis, width)?;
    }
    Err(Error::stage("eigen", "no step was made"))
}

/// `matrix * basis`, row by row.
fn times(matrix: &Gram, basis: &[f64], width: usize, control: &Control) -> Result<Vec<f64>> {
    let mut out = vec![0.0; basis.len()];
    loops::try_parts(&mut out, width, 8, |i, out| {
        control.check()?;
        for (j, row) in basis.chunks_exact(width).enumerate() {
            let g = matrix.get(i, j);
            out.iter_mut().zip(row).for_each(|(out, &b)| *out += g * b);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Gram-Schmidt on the columns, twice for orthogonality; a column that depends on those before it becomes zero.
fn orthonormalise(basis: &mut [f64], n: usize, width: usize, control: &Control) -> Result<()> {
    let dot =
        |basis: &[f64], a: usize, b: usize| (0..n).map(|i| basis[i * width + a] * basis[i * width + b]).sum::<f64>();
    for column in 0..width {
        let before = dot(basis, column, column).sqrt();
        for _ in 0..2 {
            for earlier in 0..column {
                control.check()?;
                let share = dot(basis, earlier, column);
                (0..n).for_each(|i| basis[i * width + column] -= share * basis[i * width + earlier]);
            }
        }
        let norm = dot(basis, column, column).sqrt();
        let scale = if norm > 1e-12 * before { 1.0 / norm } else { 0.0 };
        (0..n).for_each(|i| basis[i * width + column] *= scale);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// The positive definite matrix min(i, j) + 1, of known eigenvalues.
    fn brownian(n: usize) -> (Gram, impl Fn(usize) -> f64) {
        let gram = Gram::from_fn(n, &Control::default(), |i, j| i.min(j) as f64 + 1.0).unwrap();
        let value = move |k: usize| {
            let angle = (2 * k + 1) as f64 * std::f64::consts::PI / (2.0 * (2 * n + 1) as f64);
            1.0 / (4.0 * angle.sin().powi(2))
        };
        (gram, value)
    }

    #[test]
    fn known_eigenvalues_both_ways() {
        for (n, accuracy) in [1, 5, 120].into_iter().zip([Accuracy::Full; 3]).chain([(300, Accuracy::Rough)]) {
            let (gram, value) = brownian(n);
            let k = n.min(4);
            let eigen = largest(&gram, k, accuracy, &Control::default()).unwrap();
            for j in 0..k {
                assert!(
                    (eigen.values[j] - value(j)).abs() < 100.0 * accuracy.tolerance() * value(0),
                    "n {n}, {j}: {} {}",
                    eigen.values[j],
                    value(j)
                );
                let v = eigen.vectors.col(j);
                let norm: f64 = (0..n).map(|i| v[i] * v[i]).sum();
                assert!((norm - 1.0).abs() < 1e-9);
                let image: f64 = (0..n).map(|i| gram.get(0, i) * v[i]).sum();
                assert!((image - eigen.values[j] * v[0]).abs() < 1e-2 * eigen.values[0]);
            }
        }
    }

    #[test]
    fn low_rank_is_no_trouble() {
        let gram = Gram::from_fn(300, &Control::default(), |i, j| ((i % 2) * (j % 2)) as f64).unwrap();
        let eigen = largest(&gram, 3, Accuracy::Rough, &Control::default()).unwrap();
        assert!((eigen.values[0] - 150.0).abs() < 1e-6);
        assert!(eigen.values[1] < 1e-6 && eigen.values[2] < 1e-6, "{:?}", eigen.values);
        let none = Gram::from_fn(300, &Control::default(), |_, _| 0.0).unwrap();
        let zero = largest(&none, 2, Accuracy::Rough, &Control::default()).unwrap();
        assert_eq!(zero.values, [0.0, 0.0]);
    }
}
