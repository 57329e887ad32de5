//! The centroid of each group: what a client uploads (step 3 of the method).

use crate::error::{Error, Result};
use crate::types::{ClusterId, Matrix};

/// Centroid `j` is `c_j = sum_i w_i x_i / sum_i w_i` over the rows `i` of group `j`; the method's weight `w_i` is the
/// membership probability.
///
/// `points` is `[n, d]`; `labels` and `weights` have `n` entries, weights are at least 0; the result is
/// `[clusters, d]`, summed in f64 in the order of rows. A group whose weights are all 0 gets its plain mean, a group
/// without rows zeros. Where rows stand for several records, pass probability times records.
///
/// # Errors
/// [`Error::Input`] when lengths differ, a label is not below `clusters`, or a weight is negative or not finite.
pub fn weighted_centroids(
    points: &Matrix,
    labels: &[Option<ClusterId>],
    weights: &[f32],
    clusters: usize,
) -> Result<Matrix> {
    let (rows, cols) = (points.rows(), points.cols());
    if labels.len() != rows {
        return Err(Error::input("labels", format!("{rows} entries, one per row"), labels.len()));
    }
    if weights.len() != rows {
        return Err(Error::input("weights", format!("{rows} entries, one per row"), weights.len()));
    }
    let mut total = vec![0.0f64; clusters];
    for (row, (label, &weight)) in labels.iter().zip(weights).enumerate() {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::input(&format!("weight of row {row}"), "a finite value of at least 0", weight));
        }
        if let Some(id) = label {
            *total.get_mut(id.index()).ok_or_else(|| {
                Error::input(&format!("label of row {row}"), format!("an id below {clusters}"), id)
            })? += f64::from(weight);
        }
    }
    let mut sums = vec![0.0f64; clusters * cols];
    let mut summed = vec![0.0f64; clusters];
    for (point, (label, &weight)) in points.iter_rows().zip(labels.iter().zip(weights)) {
        let Some(id) = label else { continue };
        let id = id.index();
        let w = if total[id] > 0.0 { f64::from(weight) } else { 1.0 };
        summed[id] += w;
        for (sum, &x) in sums[id * cols..(id + 1) * cols].iter_mut().zip(point) {
            *sum += w * f64::from(x);
        }
    }
    let data = (0..clusters * cols).map(|at| {
        let w = summed[at / cols];
        if w > 0.0 { (sums[at] / w) as f32 } else { 0.0 }
    });
    Matrix::new(clusters, cols, data.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn weight_pulls_the_centroid() {
        let points = Matrix::from_rows(&[[0.0, 0.0], [4.0, 8.0], [100.0, 100.0], [1.0, 1.0]]).unwrap();
        let labels = [Some(ClusterId(1)), Some(ClusterId(1)), None, Some(ClusterId(0))];
        let centroids = weighted_centroids(&points, &labels, &[1.0, 0.25, 0.0, 0.0], 2).unwrap();
        assert_eq!(centroids.row(1), [0.8, 1.6]);
        assert_eq!(centroids.row(0), [1.0, 1.0], "weights that are all zero give the plain mean");
    }

    #[test]
    fn misfits_are_errors() {
        let points = Matrix::zeros(2, 1);
        let label = Some(ClusterId(0));
        assert!(weighted_centroids(&points, &[label], &[1.0, 1.0], 1).is_err());
        assert!(weighted_centroids(&points, &[label; 2], &[1.0], 1).is_err());
        assert!(weighted_centroids(&points, &[label; 2], &[1.0, -1.0], 1).is_err());
        assert!(weighted_centroids(&points, &[label, Some(ClusterId(1))], &[1.0; 2], 1).is_err());
        assert_eq!(weighted_centroids(&Matrix::zeros(0, 0), &[], &[], 0).unwrap().rows(), 0);
    }
}
