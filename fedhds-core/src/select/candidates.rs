//! What every selector asks of its candidates, and how it sees their groups.

use crate::error::{Error, Result};
use crate::stage::Candidates;
use crate::types::{Matrix, RowId};

/// Checks what a selector is given; every selector of this module calls it first, and a selector of yours may.
///
/// # Errors
/// [`Error::Input`] when weights, owners or labels are not one per row, when a weight is negative or not finite, or when
/// the clustering's ids or centroids do not fit; [`Error::NotFinite`] when a point or centroid is not finite.
pub fn check_candidates(candidates: &Candidates<'_>) -> Result<()> {
    let n = candidates.points.rows();
    candidates.points.check_finite("candidates: points")?;
    if candidates.weights.len() != n {
        return Err(Error::input("candidates: weights", format!("{n}, one per row"), candidates.weights.len()));
    }
    if let Some(at) = candidates.weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        let got = format!("{} at row {at}", candidates.weights[at]);
        return Err(Error::input("candidates: weights", "finite and not negative", got));
    }
    if !candidates.owners.is_empty() && candidates.owners.len() != n {
        return Err(Error::input("candidates: owners", format!("none or {n}"), candidates.owners.len()));
    }
    if u32::try_from(n).is_err() {
        return Err(Error::input("candidates: points", format!("at most {} rows", u32::MAX), n));
    }
    if let Some(clustering) = candidates.clustering {
        let k = clustering.centroids.rows();
        if clustering.labels.len() != n || clustering.strength.len() != n {
            let got = format!("{} labels and {} strengths", clustering.labels.len(), clustering.strength.len());
            return Err(Error::input("candidates: clustering", format!("{n} of each, one per row"), got));
        }
        if let Some(label) = clustering.labels.iter().flatten().find(|label| label.index() >= k) {
            return Err(Error::input("candidates: clustering", format!("cluster ids below {k}"), label));
        }
        if k > 0 && clustering.centroids.cols() != candidates.points.cols() {
            let expected = format!("{} columns, as the points have", candidates.points.cols());
            return Err(Error::input("candidates: centroids", expected, clustering.centroids.cols()));
        }
        clustering.centroids.check_finite("candidates: centroids")?;
    }
    Ok(())
}

/// The rows of each cluster and the rows that belong to none.
pub(super) struct Groups {
    /// Rows by cluster, ascending; clusters without rows stay empty.
    pub clusters: Vec<Vec<usize>>,
    /// Noise, ascending.
    pub noise: Vec<usize>,
}

impl Groups {
    /// The groups of the clustering; one group of all rows where there is none.
    pub fn of(candidates: &Candidates<'_>) -> Self {
        let Some(clustering) = candidates.clustering else {
            return Self { clusters: vec![(0..candidates.points.rows()).collect()], noise: Vec::new() };
        };
        let mut clusters = vec![Vec::new(); clustering.centroids.rows()];
        let mut noise = Vec::new();
        for (row, label) in clustering.labels.iter().enumerate() {
            match label {
                Some(id) => clusters[id.index()].push(row),
                None => noise.push(row),
            }
        }
        Self { clusters, noise }
    }
}

/// The centre of each cluster: the mean of its rows by (weight x membership strength), so that on the server a group of
/// forty records counts forty times one of a single record (eq. 9), and on a client, where every weight is 1, it is the
/// clustering's own centroid (eq. 10). Rows that all weigh nothing count alike.
pub(super) fn weighted_centres(candidates: &Candidates<'_>, clusters: &[Vec<usize>]) -> Matrix {
    let points = candidates.points;
    let mut centres = Matrix::zeros(clusters.len(), points.cols());
    for (j, rows) in clusters.iter().enumerate() {
        let strength = |row: usize| candidates.clustering.map_or(1.0, |c| f64::from(c.strength[row]));
        let weigh = |row: usize| f64::from(candidates.weights[row]) * strength(row).max(0.0);
        let total: f64 = rows.iter().map(|&row| weigh(row)).sum();
        let mut sum = vec![0.0f64; points.cols()];
        for &row in rows {
            let w = if total > 0.0 { weigh(row) / total } else { 1.0 / rows.len() as f64 };
            for (s, &x) in sum.iter_mut().zip(points.row(row)) {
                *s += w * f64::from(x);
            }
        }
        for (c, s) in centres.row_mut(j).iter_mut().zip(sum) {
            *c = s as f32;
        }
    }
    centres
}

/// Squared Euclidean distance, summed in f64 in the order of the columns.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| {
            let d = f64::from(x) - f64::from(y);
            d * d
        })
        .sum()
}

/// Row numbers as a selector returns them: ascending.
pub(super) fn row_ids(mut rows: Vec<usize>) -> Vec<RowId> {
    rows.sort_unstable();
    rows.into_iter().map(|row| RowId(row as u32)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::stage::Clustering;
    use crate::types::{ClientId, ClusterId};

    #[test]
    fn what_does_not_fit_is_named() {
        let points = Matrix::new(2, 1, vec![0.0, 1.0]).unwrap();
        let clustering = Clustering {
            labels: vec![Some(ClusterId(1)), None],
            strength: vec![1.0, 0.0],
            centroids: Matrix::zeros(1, 1),
        };
        let ok = Candidates { points: &points, weights: &[1.0, 1.0], clustering: None, owners: &[] };
        check_candidates(&ok).unwrap();
        let cases = [
            ("weights", Candidates { weights: &[1.0], ..ok }),
            ("at row 1", Candidates { weights: &[1.0, f32::NAN], ..ok }),
            ("not negative", Candidates { weights: &[-1.0, 1.0], ..ok }),
            ("owners", Candidates { owners: &[ClientId(0)], ..ok }),
            ("cluster ids below 1, got 1", Candidates { clustering: Some(&clustering), ..ok }),
        ];
        for (word, candidates) in cases {
            let error = check_candidates(&candidates).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let bad = Matrix::new(1, 1, vec![f32::NAN]).unwrap();
        let candidates = Candidates { points: &bad, weights: &[1.0], clustering: None, owners: &[] };
        assert!(matches!(check_candidates(&candidates), Err(Error::NotFinite { row: 0, column: 0, .. })));
    }

    #[test]
    fn a_heavier_group_pulls_the_centre() {
        let points = Matrix::new(2, 1, vec![0.0, 4.0]).unwrap();
        let candidates = Candidates { points: &points, weights: &[1.0, 3.0], clustering: None, owners: &[] };
        assert_eq!(weighted_centres(&candidates, &[vec![0, 1]]).row(0), [3.0]);
        let weightless = Candidates { weights: &[0.0, 0.0], ..candidates };
        assert_eq!(weighted_centres(&weightless, &[vec![0, 1]]).row(0), [2.0]);
    }
}
