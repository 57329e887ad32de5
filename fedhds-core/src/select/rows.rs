//! What every selector asks of its rows, and how it sees their groups.

use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::{Clustering, Covered, Rows, Targets};
use crate::types::{Matrix, RowId};

/// Checks what a selector is given; every selector of this module calls it first, and a selector of yours may.
///
/// # Errors
/// [`Error::Input`] when weights, scores, owners, keys, copies or labels are not one per row, when a weight is negative or not finite, when
/// the groups' ids or centroids do not fit, or when covered points have other columns or masses that are not above 0;
/// [`Error::NotFinite`] when a point or centroid is not finite.
pub fn check_rows(rows: &Rows<'_>) -> Result<()> {
    let n = rows.len();
    rows.points.check_finite("rows: points")?;
    if !rows.weights.is_empty() && rows.weights.len() != n {
        return Err(Error::input("rows: weights", format!("none or {n}, one per row"), rows.weights.len()));
    }
    if let Some(at) = rows.weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        let got = format!("{} at row {at}", rows.weights[at]);
        return Err(Error::input("rows: weights", "finite and not negative", got));
    }
    if let Some(scores) = rows.scores
        && scores.rows() != n
    {
        return Err(Error::input("rows: scores", format!("{n} rows"), scores.rows()));
    }
    if !rows.owners.is_empty() && rows.owners.len() != n {
        return Err(Error::input("rows: owners", format!("none or {n}"), rows.owners.len()));
    }
    if !rows.keys.is_empty() && rows.keys.len() != n {
        return Err(Error::input("rows: keys", format!("none or {n}, one per row"), rows.keys.len()));
    }
    if !rows.copies.is_empty() && rows.copies.len() != n {
        return Err(Error::input("rows: copies", format!("none or {n}, one per row"), rows.copies.len()));
    }
    if let Some(targets) = rows.targets {
        check_targets(targets, rows.points.cols())?;
    }
    if u32::try_from(n).is_err() {
        return Err(Error::input("rows: points", format!("at most {} rows", u32::MAX), n));
    }
    if let Some(groups) = rows.groups {
        check_groups(groups, n, rows.points.cols())?;
    }
    if let Some(covered) = rows.covered {
        check_covered(covered, rows.points.cols())?;
    }
    Ok(())
}

fn check_groups(groups: &Clustering, n: usize, cols: usize) -> Result<()> {
    let k = groups.centroids.rows();
    if groups.labels.len() != n || groups.strength.len() != n {
        let got = format!("{} labels and {} strengths", groups.labels.len(), groups.strength.len());
        return Err(Error::input("rows: groups", format!("{n} of each, one per row"), got));
    }
    if let Some(label) = groups.labels.iter().flatten().find(|label| label.index() >= k) {
        return Err(Error::input("rows: groups", format!("cluster ids below {k}"), label));
    }
    if k > 0 && groups.centroids.cols() != cols {
        let expected = format!("{cols} columns, as the points have");
        return Err(Error::input("rows: centroids", expected, groups.centroids.cols()));
    }
    groups.centroids.check_finite("rows: centroids")
}

fn check_covered(covered: &Covered, cols: usize) -> Result<()> {
    let m = covered.points.rows();
    if covered.mass.len() != m {
        return Err(Error::input("covered: mass", format!("{m}, one per point"), covered.mass.len()));
    }
    if let Some(at) = covered.mass.iter().position(|mass| !(mass.is_finite() && *mass > 0.0)) {
        let got = format!("{} at point {at}", covered.mass[at]);
        return Err(Error::input("covered: mass", "finite and above 0", got));
    }
    if m > 0 && covered.points.cols() != cols {
        let expected = format!("{cols} columns, as the points have");
        return Err(Error::input("covered: points", expected, covered.points.cols()));
    }
    covered.points.check_finite("covered: points")
}

fn check_targets(targets: &Targets, cols: usize) -> Result<()> {
    let m = targets.points.rows();
    if targets.weights.len() != m {
        return Err(Error::input("targets: weights", format!("{m}, one per point"), targets.weights.len()));
    }
    if let Some(at) = targets.weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        let got = format!("{} at point {at}", targets.weights[at]);
        return Err(Error::input("targets: weights", "finite and not negative", got));
    }
    if m > 0 && targets.points.cols() != cols {
        let expected = format!("{cols} columns, as the points have");
        return Err(Error::input("targets: points", expected, targets.points.cols()));
    }
    targets.points.check_finite("targets: points")
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
    pub fn of(rows: &Rows<'_>) -> Self {
        let Some(clustering) = rows.groups else {
            return Self { clusters: vec![(0..rows.len()).collect()], noise: Vec::new() };
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
pub(super) fn weighted_centres(all: &Rows<'_>, clusters: &[Vec<usize>]) -> Matrix {
    let points = all.points;
    let mut centres = Matrix::zeros(clusters.len(), points.cols());
    for (j, rows) in clusters.iter().enumerate() {
        let strength = |row: usize| all.groups.map_or(1.0, |c| f64::from(c.strength[row]));
        let weigh = |row: usize| f64::from(all.weight(row)) * strength(row).max(0.0);
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
    sorting::sort(&mut rows);
    rows.into_iter().map(|row| RowId(row as u32)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::stage::Clustering;
    use crate::types::{ClientId, ClusterId, Scores};

    #[test]
    fn what_does_not_fit_is_named() {
        let points = Matrix::new(2, 1, vec![0.0, 1.0]).unwrap();
        let clustering = Clustering {
            labels: vec![Some(ClusterId(1)), None],
            strength: vec![1.0, 0.0],
            centroids: Matrix::zeros(1, 1),
        };
        let ok = Rows::new(&points);
        check_rows(&ok.weights(&[1.0, 1.0])).unwrap();
        let scores = Scores::new(["loss"], Matrix::zeros(3, 1)).unwrap();
        let covered = |cols, mass: &[f32]| Covered { points: Matrix::zeros(1, cols), mass: mass.to_vec() };
        let (narrow, light, short) = (covered(0, &[1.0]), covered(1, &[0.0]), covered(1, &[]));
        let cases = [
            ("weights", ok.weights(&[1.0])),
            ("at row 1", ok.weights(&[1.0, f32::NAN])),
            ("not negative", ok.weights(&[-1.0, 1.0])),
            ("owners", ok.owners(&[ClientId(0)])),
            ("keys", ok.keys(&[1, 2, 3])),
            ("copies", ok.copies(&[1])),
            ("scores: expected 2 rows, got 3", ok.scores(&scores)),
            ("cluster ids below 1, got 1", ok.groups(&clustering)),
            ("1 columns", ok.covered(&narrow)),
            ("above 0, got 0 at point 0", ok.covered(&light)),
            ("expected 1, one per point", ok.covered(&short)),
        ];
        for (word, rows) in cases {
            let error = check_rows(&rows).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let bad = Matrix::new(1, 1, vec![f32::NAN]).unwrap();
        assert!(matches!(check_rows(&Rows::new(&bad)), Err(Error::NotFinite { row: 0, column: 0, .. })));
    }

    #[test]
    fn a_heavier_group_pulls_the_centre() {
        let points = Matrix::new(2, 1, vec![0.0, 4.0]).unwrap();
        let rows = Rows::new(&points);
        assert_eq!(weighted_centres(&rows.weights(&[1.0, 3.0]), &[vec![0, 1]]).row(0), [3.0]);
        assert_eq!(weighted_centres(&rows.weights(&[0.0, 0.0]), &[vec![0, 1]]).row(0), [2.0]);
        assert_eq!(weighted_centres(&rows, &[vec![0, 1]]).row(0), [2.0]);
    }
}
