//! The basis of most variance, from whichever matrix of products is smaller.

use crate::error::Result;
use crate::loops;
use crate::product::{View, product};
use crate::reduce::eigen::{self, Accuracy, Eigen};
use crate::reduce::gram::{self, Gram};
use crate::types::{Control, Matrix};

/// Eigenvalues below this share of the largest are rounding.
const RANK: f64 = 1e-12;

/// The first components of `[n, d]` rows, most variance first, as many as the rank allows.
pub(super) struct Basis {
    /// The rows' coordinates, a component after the other, `n` each.
    pub(super) scores: Vec<Vec<f64>>,
    /// `[min(k, n, d), d]`, a unit vector along each component, orthogonal to the others; 0 beyond the rank. Empty where they
    /// were not asked for.
    pub(super) directions: Vec<f32>,
    /// Sum of all squared centred values: `n - 1` times the variance of all columns.
    pub(super) total: f64,
}

/// Directions of no more variance than this share of the most are rounding, where they are to be made as wide as the others: f32 values,
/// and directions of them, are off by 6e-8 of their size, its square by 4e-15; between the two lies what no f32 features tell.
const WIDENED: f64 = 1e-11;

impl Basis {
    /// Drops the directions in which the centred rows do not differ by more than rounding: those of values of this size, and of what was
    /// computed of them. What is left is as it was.
    pub(super) fn drop_rounding(&mut self, features: &Matrix) {
        let (n, d) = (features.rows(), features.cols());
        if n == 0 || d == 0 {
            return;
        }
        let mean = gram::column_means(features);
        // The eigenvalues are those of f32 products, which are too rough to tell: the rows themselves do.
        let spread = |direction: &[f32]| -> f64 {
            let squares = loops::map(n, 64, |i| {
                let centred: Vec<f64> =
                    features.row(i).iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean).collect();
                inner(&centred, direction).powi(2)
            });
            squares.iter().sum()
        };
        let spreads: Vec<f64> = self.directions.chunks_exact(d).take(self.scores.len()).map(spread).collect();
        let largest = features.as_slice().iter().fold(0.0f64, |most, &x| most.max(f64::from(x).abs()));
        // The largest eigenvalue of `[n, d]` roundings (Marchenko and Pastur 1967).
        let rounding = (largest / f64::from(1u32 << 24)).powi(2) * ((n as f64).sqrt() + (d as f64).sqrt()).powi(2);
        let least = spreads.iter().fold(0.0, |most: f64, &s| most.max(s)) * WIDENED;
        let rank = spreads.iter().take_while(|&&spread| spread > least.max(rounding)).count();
        self.scores.truncate(rank);
        self.directions[rank * d..].fill(0.0);
    }

    /// What it is of features that were not multiplied by `factor`.
    pub(super) fn unscale(&mut self, factor: f64) {
        if factor != 1.0 {
            self.scores.iter_mut().flatten().for_each(|x| *x /= factor);
            self.total /= factor.powi(2);
        }
    }
}

/// The first `k` columns of scores, or fewer where the rank is lower: `u_j sqrt(lambda_j)` of the rows' Gram matrix.
pub(in crate::reduce) fn scores_from_rows(
    features: &Matrix,
    gram: &Gram,
    k: usize,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Vec<Vec<f64>>> {
    Ok(basis_from_rows(features, gram, k, false, accuracy, control)?.scores)
}

/// The same with the directions, where they are to be kept: the values `X^T u_j` in f32, made orthonormal in f64.
pub(super) fn basis_from_rows(
    features: &Matrix,
    gram: &Gram,
    k: usize,
    keep: bool,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Basis> {
    let (n, d) = (gram.len(), features.cols());
    let eigen = eigen::largest(gram, k.min(n), accuracy, control)?;
    let rank = rank(&eigen);
    let mut scores: Vec<Vec<f64>> =
        (0..rank).map(|j| (0..n).map(|i| eigen.vectors[(i, j)] * eigen.values[j].sqrt()).collect()).collect();
    let mut directions = vec![0.0; if keep { k.min(n) * d } else { 0 }];
    let signs = signs(features, &eigen.vectors, rank, &mut directions, control)?;
    for (score, sign) in scores.iter_mut().zip(&signs) {
        score.iter_mut().for_each(|x| *x *= sign);
    }
    if !directions.is_empty() {
        for (direction, &sign) in directions.chunks_exact_mut(d).zip(&signs) {
            direction.iter_mut().for_each(|x| *x *= sign as f32);
        }
        orthonormalise(&mut directions[..rank * d], d, control)?;
    }
    Ok(Basis { scores, directions, total: gram.trace() })
}

/// How many eigenvalues are more than rounding.
fn rank(eigen: &Eigen) -> usize {
    eigen.values.iter().take_while(|&&value| value > RANK * eigen.values[0]).count()
}

/// Makes each of the vectors of `d` values a unit vector, orthogonal to those before it; one of zeros stays so.
fn orthonormalise(vectors: &mut [f32], d: usize, control: &Control) -> Result<()> {
    const STRIP: usize = 1024;
    for at in (0..vectors.len()).step_by(d) {
        control.check()?;
        let (before, rest) = vectors.split_at_mut(at);
        let mut own: Vec<f64> = rest[..d].iter().map(|&x| f64::from(x)).collect();
        to_unit(&mut own);
        // Once more where little is left: what is left may then be rounding along the others (Parlett 1980, "twice is enough").
        for _ in 0..3 {
            let shares = loops::map(before.len() / d, 4, |j| inner(&own, &before[j * d..(j + 1) * d]));
            loops::parts(&mut own, STRIP, 1, |strip, own| {
                for (share, earlier) in shares.iter().zip(before.chunks_exact(d)) {
                    own.iter_mut().zip(&earlier[strip * STRIP..]).for_each(|(x, &e)| *x -= share * f64::from(e));
                }
            });
            if to_unit(&mut own) > 0.5 {
                break;
            }
        }
        rest[..d].iter_mut().zip(&own).for_each(|(to, &x)| *to = x as f32);
    }
    Ok(())
}

/// Scales to length 1, unless the length is 0; the length before.
fn to_unit(vector: &mut [f64]) -> f64 {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    length
}

/// The inner product, in eight sums, which a processor adds side by side.
pub(super) fn inner(a: &[f64], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f64; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|lane| sums[lane] += a[lane] * f64::from(b[lane]));
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, &b)| a * f64::from(b)).sum::<f64>()
}

/// Per component `X^T u`: the sign of its entry of largest magnitude. The `k` vectors themselves go into `directions`, unless
/// that is empty.
fn signs(
    features: &Matrix,
    vectors: &faer::Mat<f64>,
    k: usize,
    directions: &mut [f32],
    control: &Control,
) -> Result<Vec<f64>> {
    const PANEL: usize = 1024;
    /// Vectors of one product.
    const TOGETHER: usize = 256;
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let mut extreme = vec![0.0f32; k];
    if k == 0 {
        return Ok(Vec::new());
    }
    let vectors: Vec<f32> = (0..k).flat_map(|j| (0..n).map(move |i| vectors[(i, j)] as f32)).collect();
    let vectors = View::new(&vectors, k, n);
    let mut loadings = vec![0.0f32; k * PANEL.min(d)];
    for start in (0..d).step_by(PANEL) {
        let width = PANEL.min(d - start);
        let panel = gram::centred_panel(features, &mean, start, width);
        let panel = View::new(&panel, n, width);
        let loadings = &mut loadings[..k * width];
        for (at, loadings) in loadings.chunks_mut(TOGETHER * width).enumerate() {
            control.check()?;
            let rows = at * TOGETHER..k.min((at + 1) * TOGETHER);
            product(loadings, vectors.rows(rows), panel);
        }
        for (extreme, loadings) in extreme.iter_mut().zip(loadings.chunks_exact(width)) {
            for &value in loadings.iter() {
                if value.abs() > extreme.abs() {
                    *extreme = value;
                }
            }
        }
        for (direction, loadings) in directions.chunks_exact_mut(d).zip(loadings.chunks_exact(width)) {
            direction[start..start + width].copy_from_slice(loadings);
        }
    }
    Ok(extreme.into_iter().map(|value| if value < 0.0 { -1.0 } else { 1.0 }).collect())
}

/// [`scores_from_rows`] from the columns' Gram matrix, for more rows than columns.
pub(in crate::reduce) fn scores_from_columns(
    features: &Matrix,
    k: usize,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Vec<Vec<f64>>> {
    Ok(basis_from_columns(features, k, false, accuracy, control)?.scores)
}

/// The same with the directions, where they are to be kept.
pub(super) fn basis_from_columns(
    features: &Matrix,
    k: usize,
    keep: bool,
    accuracy: Accuracy,
    control: &Control,
) -> Result<Basis> {
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let centred = if d == 0 { Vec::new() } else { gram::centred_panel(features, &mean, 0, d) };
    let covariance = column_gram(&centred, n, d, control)?;
    let eigen = eigen::largest(&covariance, k.min(d), accuracy, control)?;
    let mut directions = vec![0.0; if keep { k.min(d) * d } else { 0 }];
    let mut scores = Vec::new();
    for j in 0..rank(&eigen) {
        control.check()?;
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
        scores.push(loops::map(n, 256, |i| score(&centred[i * d..(i + 1) * d])));
        if keep {
            directions[j * d..(j + 1) * d].iter_mut().zip(&direction).for_each(|(to, &v)| *to = v as f32);
        }
    }
    Ok(Basis { scores, directions, total: covariance.trace() })
}

/// [`scores_from_rows`] without any matrix of products, for many rows of many columns; eigenvalues to 1e-6 of the largest.
pub(in crate::reduce) fn scores_by_iteration(features: &Matrix, k: usize, control: &Control) -> Result<Vec<Vec<f64>>> {
    const STRIP: usize = 256;
    let (n, d) = (features.rows(), features.cols());
    let mean = gram::column_means(features);
    let apply = |basis: &[f64], width: usize| {
        // X^T B, strip of columns after strip, then X of it, row after row.
        let mut loadings = vec![0.0f64; d * width];
        loops::try_parts(&mut loadings, STRIP * width, 1, |strip, loadings| {
            control.check()?;
            let start = strip * STRIP;
            let columns = start..start + loadings.len() / width;
            for (row, weights) in features.iter_rows().zip(basis.chunks_exact(width)) {
                let centred = row[columns.clone()].iter().zip(&mean[columns.clone()]);
                for (loading, (&x, mean)) in loadings.chunks_exact_mut(width).zip(centred) {
                    let x = f64::from(x) - mean;
                    loading.iter_mut().zip(weights).for_each(|(loading, w)| *loading += x * w);
                }
            }
            Ok(())
        })?;
        let mut image = vec![0.0f64; n * width];
        loops::try_parts(&mut image, width, 16, |i, image| {
            control.check()?;
            for ((&x, mean), loading) in features.row(i).iter().zip(&mean).zip(loadings.chunks_exact(width)) {
                let x = f64::from(x) - mean;
                image.iter_mut().zip(loading).for_each(|(image, l)| *image += x * l);
            }
            Ok(())
        })?;
        Ok(image)
    };
    let eigen = eigen::subspace(n, k, 1e-6, apply, control)?;
    let signs = signs(features, &eigen.vectors, rank(&eigen), &mut [], control)?;
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
        loops::try_parts(&mut sums, BLOCK * d, 1, |block, sums| {
            control.check()?;
            let (first, rows) = (block * BLOCK, sums.len() / d);
            let mut part = vec![0.0f32; rows * d];
            product(&mut part, slab.columns(first..first + rows).transpose(), slab);
            sums.iter_mut().zip(&part).for_each(|(sum, &p)| *sum += f64::from(p));
            Ok(())
        })?;
    }
    Gram::from_fn(d, control, |i, j| sums[i * d + j])
}
