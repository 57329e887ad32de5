//! Principal component analysis (the ablation's first alternative to t-SNE).

use super::eigen::{self, Accuracy};
use super::gram::{self, Gram};
use super::product::{View, product};
use crate::error::{Error, Result};
use crate::protocol::MAX_DIMS;
use crate::stage::Reducer;
use crate::types::{Context, Control, Matrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings of [`Pca`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PcaConfig {
    /// Columns that come out, at least 1; default 2. Where the features have lower rank, the last are 0.
    pub n_components: usize,
    /// Whether columns are scaled to variance 1; default no.
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
}

impl Reducer for Pca {
    fn reduce(&self, features: &Matrix, context: &Context) -> Result<Matrix> {
        features.check_finite("features")?;
        let k = self.config.n_components;
        let scores = if features.rows() <= features.cols() {
            let gram = Gram::centred(features, &context.control)?;
            scores_from_rows(features, &gram, k, Accuracy::Full, &context.control)?
        } else {
            scores_from_columns(features, k, Accuracy::Full, &context.control)?
        };
        let n = features.rows();
        let mut out = Matrix::zeros(n, k);
        for (j, column) in scores.iter().enumerate() {
            let variance = column.iter().map(|x| x * x).sum::<f64>() / (n.max(2) - 1) as f64;
            let scale = if self.config.whiten && variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
            column.iter().enumerate().for_each(|(i, x)| out.row_mut(i)[j] = (x * scale) as f32);
        }
        out.check_finite("principal components")?;
        Ok(out)
    }
}

/// Eigenvalues below this share of the largest are rounding.
const RANK: f64 = 1e-12;

/// The first `k` columns of scores, or fewer where the rank is lower: `u_j sqrt(lambda_j)` of the rows' Gram matrix.
pub(super) fn scores_from_rows(
    features: &Matrix,
    gram: &Gram,
    k: usize,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Vec<Vec<f64>>> {
    let n = gram.len();
    let eigen = eigen::largest(gram, k.min(n), accuracy, control)?;
    let rank = eigen.values.iter().take_while(|&&value| value > RANK * eigen.values[0]).count();
    let mut scores: Vec<Vec<f64>> =
        (0..rank).map(|j| (0..n).map(|i| eigen.vectors[(i, j)] * eigen.values[j].sqrt()).collect()).collect();
    for (score, sign) in scores.iter_mut().zip(signs(features, &eigen.vectors, rank)) {
        score.iter_mut().for_each(|x| *x *= sign);
    }
    Ok(scores)
}

/// Per component `X^T u`: the sign of its entry of largest magnitude.
fn signs(features: &Matrix, vectors: &faer::Mat<f64>, k: usize) -> Vec<f64> {
    const PANEL: usize = 1024;
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let mut extreme = vec![0.0f32; k];
    if k == 0 {
        return Vec::new();
    }
    let directions: Vec<f32> = (0..k).flat_map(|j| (0..n).map(move |i| vectors[(i, j)] as f32)).collect();
    let directions = View::new(&directions, k, n);
    let mut loadings = vec![0.0f32; k * PANEL.min(d)];
    for start in (0..d).step_by(PANEL) {
        let width = PANEL.min(d - start);
        let panel = gram::centred_panel(features, &mean, start, width);
        let panel = View::new(&panel, n, width);
        let loadings = &mut loadings[..k * width];
        product(loadings, directions, panel);
        for (extreme, loadings) in extreme.iter_mut().zip(loadings.chunks_exact(width)) {
            for &value in loadings.iter() {
                if value.abs() > extreme.abs() {
                    *extreme = value;
                }
            }
        }
    }
    extreme.into_iter().map(|value| if value < 0.0 { -1.0 } else { 1.0 }).collect()
}

/// The same from the columns' Gram matrix, for more rows than columns.
pub(super) fn scores_from_columns(
    features: &Matrix,
    k: usize,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Vec<Vec<f64>>> {
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let centred = if d == 0 { Vec::new() } else { gram::centred_panel(features, &mean, 0, d) };
    let covariance = column_gram(&centred, n, d, control)?;
    let eigen = eigen::largest(&covariance, k.min(d), accuracy, control)?;
    let rank = eigen.values.iter().take_while(|&&value| value > RANK * eigen.values[0]).count();
    let columns = (0..rank).map(|j| {
        let mut extreme = 0.0f64;
        for i in 0..d {
            let value = eigen.vectors[(i, j)];
            // Equal to rounding: the first wins.
            if value.abs() > extreme.abs() * (1.0 + 1e-9) {
                extreme = value;
            }
        }
        let sign = if extreme < 0.0 { -1.0 } else { 1.0 };
        let direction: Vec<f64> = (0..d).map(|i| sign * eigen.vectors[(i, j)]).collect();
        let score = |row: &[f32]| row.iter().zip(&direction).map(|(&x, v)| f64::from(x) * v).sum();
        (0..n).into_par_iter().with_min_len(256).map(|i| score(&centred[i * d..(i + 1) * d])).collect()
    });
    Ok(columns.collect())
}

/// The same without any matrix of products, for many rows of many columns; eigenvalues to 1e-6 of the largest.
pub(super) fn scores_by_iteration(features: &Matrix, k: usize, control: &Control) -> Result<Vec<Vec<f64>>> {
    const STRIP: usize = 256;
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let apply = |basis: &[f64], width: usize| {
        // X^T B, strip of columns after strip, then X of it, row after row.
        let mut loadings = vec![0.0f64; d * width];
        loadings.par_chunks_mut(STRIP * width).enumerate().for_each(|(strip, loadings)| {
            let start = strip * STRIP;
            let columns = start..start + loadings.len() / width;
            for (row, weights) in features.iter_rows().zip(basis.chunks_exact(width)) {
                let centred = row[columns.clone()].iter().zip(&mean[columns.clone()]);
                for (loading, (&x, mean)) in loadings.chunks_exact_mut(width).zip(centred) {
                    let x = f64::from(x) - mean;
                    loading.iter_mut().zip(weights).for_each(|(loading, w)| *loading += x * w);
                }
            }
        });
        let mut image = vec![0.0f64; n * width];
        image.par_chunks_mut(width).enumerate().with_min_len(16).for_each(|(i, image)| {
            for ((&x, mean), loading) in features.row(i).iter().zip(&mean).zip(loadings.chunks_exact(width)) {
                let x = f64::from(x) - mean;
                image.iter_mut().zip(loading).for_each(|(image, l)| *image += x * l);
            }
        });
        image
    };
    let eigen = eigen::subspace(n, k, 1e-6, apply, control)?;
    let rank = eigen.values.iter().take_while(|&&value| value > RANK * eigen.values[0]).count();
    let signs = signs(features, &eigen.vectors, rank);
    let column =
        |(j, sign): (usize, f64)| (0..n).map(|i| sign * eigen.vectors[(i, j)] * eigen.values[j].sqrt()).collect();
    Ok(signs.into_iter().enumerate().map(column).collect())
}

/// Rows over which one f32 product of the columns' matrix sums.
const DEPTH: usize = 1024;

/// `X^T X` of centred `[n, d]` rows, `n > d`.
fn column_gram(centred: &[f32], n: usize, d: usize, control: &Control) -> Result<Gram> {
    const BLOCK: usize = 64;
    let mut sums = vec![0.0f64; d * d];
    for start in (0..n).step_by(DEPTH) {
        control.check()?;
        let depth = DEPTH.min(n - start);
        let slab = View::new(&centred[start * d..(start + depth) * d], depth, d);
        sums.par_chunks_mut((BLOCK * d).max(1)).enumerate().for_each(|(block, sums)| {
            let (first, rows) = (block * BLOCK, sums.len() / d);
            let mut part = vec![0.0f32; rows * d];
            product(&mut part, slab.columns(first..first + rows).transpose(), slab);
            sums.iter_mut().zip(&part).for_each(|(sum, &p)| *sum += f64::from(p));
        });
    }
    Gram::from_fn(d, |i, j| sums[i * d + j])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand_distr::{Distribution, StandardNormal};

    fn pca(n_components: usize) -> Pca {
        Pca::new(PcaConfig { n_components, whiten: false }).unwrap()
    }

    /// Rows spread by 5, 2 and .1 along three fixed directions.
    fn ellipsoid(n: usize, d: usize) -> Matrix {
        let mut rng = Seed(2).rng();
        let mut data = Vec::new();
        for _ in 0..n {
            let t: [f32; 3] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
            data.extend((0..d).map(|c| {
                let along = |k: usize| if c % 3 == k { 1.0 } else { 0.0 };
                3.0 + 5.0 * t[0] * along(0) + 2.0 * t[1] * along(1) + 0.1 * t[2] * along(2)
            }));
        }
        Matrix::new(n, d, data).unwrap()
    }

    #[test]
    fn both_ways_agree_and_keep_distances() {
        let x = ellipsoid(40, 45);
        let gram = Gram::centred(&x, &Control::default()).unwrap();
        let rows = scores_from_rows(&x, &gram, 3, Accuracy::Full, &Control::default()).unwrap();
        let columns = scores_from_columns(&x, 3, Accuracy::Full, &Control::default()).unwrap();
        for (a, b) in rows.iter().flatten().zip(columns.iter().flatten()) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
        let iterated = scores_by_iteration(&x, 3, &Control::default()).unwrap();
        for (a, b) in rows.iter().flatten().zip(iterated.iter().flatten()) {
            assert!((a - b).abs() < 1e-2, "{a} {b}");
        }
        let y = pca(3).reduce(&x, &Context::new(1)).unwrap();
        let d = |m: &Matrix, i, j| m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        for i in 1..40 {
            assert!((d(&x, i, 0) - d(&y, i, 0)).abs() < 1e-3);
        }
    }

    #[test]
    fn most_variance_first() {
        let y = pca(3).reduce(&ellipsoid(300, 9), &Context::new(1)).unwrap();
        let variance = |j: usize| y.iter_rows().map(|row| row[j] * row[j]).sum::<f32>() / 299.0;
        assert!((variance(0) / 75.0 - 1.0).abs() < 0.3 && (variance(1) / 12.0 - 1.0).abs() < 0.3);
        assert!(variance(2) < 0.1);
        let whitened = Pca::new(PcaConfig { n_components: 2, whiten: true }).unwrap();
        let y = whitened.reduce(&ellipsoid(300, 9), &Context::new(1)).unwrap();
        assert!((y.iter_rows().map(|row| row[1] * row[1]).sum::<f32>() / 299.0 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn lower_rank_gives_zero_columns() {
        for (n, d) in [(0, 3), (1, 3), (2, 3), (3, 1), (5, 0)] {
            let data = (0..n * d).map(|i| (i * i) as f32).collect();
            let y = pca(4).reduce(&Matrix::new(n, d, data).unwrap(), &Context::new(1)).unwrap();
            assert_eq!((y.rows(), y.cols()), (n, 4));
            assert!(y.iter_rows().all(|row| row[3] == 0.0));
        }
        let same = Matrix::new(4, 2, [1.5, -2.0].repeat(4)).unwrap();
        assert_eq!(pca(2).reduce(&same, &Context::new(1)).unwrap(), Matrix::zeros(4, 2));
    }

    #[test]
    fn bad_values_are_errors() {
        assert!(Pca::new(PcaConfig { n_components: 0, whiten: false }).is_err());
        assert!(pca(1).reduce(&Matrix::new(1, 1, vec![f32::NAN]).unwrap(), &Context::new(1)).is_err());
    }
}
