//! Groups of rows, and their centroids.
//!
//! - [`Hdbscan`]: the paper's clustering on both levels, with membership probabilities, outlier scores and noise.
//! - [`KMeans`]: a fixed number of groups without noise.
//! - [`EachRow`]: every row by itself.
//! - [`nearest_centroid`]: the centroid that k-means gives a row to.
//! - [`centroid`]: the mean of each group, weighted by membership probabilities (step 3 of the method).
//! - [`check_clustering`]: what a pipeline asks of any clusterer's result, the user's own included.
//!
//! Every clusterer numbers its groups densely in the order of their first row.

pub mod centroid;
mod distance;
mod each_row;
pub mod hdbscan;
pub mod kmeans;
mod small_groups;

pub use each_row::EachRow;
pub(crate) use hdbscan::DisjointSets;
pub use hdbscan::{Hdbscan, HdbscanConfig, HdbscanFit};
pub use kmeans::{KMeans, KMeansConfig, KMeansFit};
pub(crate) use small_groups::merge_small;

use crate::error::{Error, Result};
use crate::stage::Clustering;
use crate::types::{ClusterId, Matrix};
use std::collections::HashSet;

/// The clustering that a user's labels mean: one for each row, negative for noise; membership probabilities are 1, and 0 for noise, where
/// none are given. Ids must be dense, which the pipeline checks.
///
/// # Errors
/// [`Error::Stage`] with `stage` for a label that is not below the number of rows, and for membership probabilities that
/// cannot be used.
pub fn clustering_of_labels(
    stage: &str,
    points: &Matrix,
    labels: &[i64],
    strength: Option<Vec<f32>>,
) -> Result<Clustering> {
    let rows = points.rows();
    let id = |&label: &i64| match usize::try_from(label) {
        Ok(label) if label >= rows => {
            Err(Error::stage(stage, format!("expected labels below the number of rows, {rows}, got {label}")))
        }
        Ok(label) => Ok(Some(ClusterId(label as u32))),
        Err(_) => Ok(None),
    };
    let labels = labels.iter().map(id).collect::<Result<Vec<_>>>()?;
    let strength = strength.unwrap_or_else(|| labels.iter().map(|l| f32::from(u8::from(l.is_some()))).collect());
    let clusters = labels.iter().flatten().map(|label| label.index() + 1).max().unwrap_or(0);
    let centroids = centroid::weighted_centroids(points, &labels, &strength, clusters)
        .map_err(|error| Error::stage(stage, error.to_string()))?;
    Ok(Clustering { labels, strength, centroids })
}

/// Checks what a clusterer returned for `rows` rows of `cols` columns.
///
/// # Errors
/// [`Error::Stage`] with `stage` as its name when the number of labels or membership probabilities is not `rows`, a
/// probability is outside [0, 1] or NaN, a noise row has one other than 0, the ids are not dense (an id at or above
/// `centroids.rows()`, or one that no row has), `centroids` has not `cols` columns, or a centroid is not finite.
pub fn check_clustering(stage: &str, clustering: &Clustering, rows: usize, cols: usize) -> Result<()> {
    let fail = |message: String| Err(Error::stage(stage, message));
    let clusters = clustering.centroids.rows();
    if clustering.labels.len() != rows {
        return fail(format!("expected {rows} labels, got {}", clustering.labels.len()));
    }
    if clustering.strength.len() != rows {
        return fail(format!("expected {rows} membership probabilities, got {}", clustering.strength.len()));
    }
    if clusters > 0 && clustering.centroids.cols() != cols {
        return fail(format!("expected centroids of {cols} columns, got {}", clustering.centroids.cols()));
    }
    let mut seen = vec![false; clusters];
    for (row, (label, &strength)) in clustering.labels.iter().zip(&clustering.strength).enumerate() {
        if !(0.0..=1.0).contains(&strength) {
            return fail(format!("expected membership probabilities in [0, 1], got {strength} at row {row}"));
        }
        match label {
            None if strength != 0.0 => {
                return fail(format!("expected membership probability 0 for noise, got {strength} at row {row}"));
            }
            None => {}
            Some(id) => match seen.get_mut(id.index()) {
                Some(seen) => *seen = true,
                None => return fail(format!("expected cluster ids below {clusters}, got {id} at row {row}")),
            },
        }
    }
    if let Some(missing) = seen.iter().position(|seen| !seen) {
        return fail(format!("expected dense cluster ids, but no row has id {missing} of {clusters}"));
    }
    clustering.centroids.check_finite("centroids").map_err(|error| Error::stage(stage, error.to_string()))
}

/// The row of `centroids` `[k, d]` that lies nearest to a row of `d` values, the first of equally near ones; 0 where there are none.
/// Distances are exact to f64.
pub fn nearest_centroid(row: &[f32], centroids: &Matrix) -> usize {
    let mut best = (0, f64::INFINITY);
    for (j, centroid) in centroids.iter_rows().enumerate() {
        let squared = distance::squared(row, centroid);
        if squared < best.1 {
            best = (j, squared);
        }
    }
    best.0
}

/// Number of distinct rows of positive weight, counted up to `most`.
pub(crate) fn distinct_rows(points: &Matrix, weights: Option<&[f32]>, most: usize) -> usize {
    let mut rows: HashSet<Vec<u32>> = HashSet::new();
    for (i, row) in points.iter_rows().enumerate() {
        if rows.len() == most {
            break;
        }
        if weights.is_none_or(|weights| weights[i] > 0.0) {
            // -0 + 0 is 0: the two are one value.
            rows.insert(row.iter().map(|x| (x + 0.0).to_bits()).collect());
        }
    }
    rows.len()
}

/// How many of these rows are distinct records, counted up to `most`: of rows with one number in `alike`, where there are any, the first
/// counts; and equal ones count once.
pub(crate) fn distinct_records(features: &Matrix, alike: &[u32], rows: &[usize], most: usize) -> Result<usize> {
    let mut seen = HashSet::new();
    let mut first = |row: &&usize| alike.get(**row).is_none_or(|copy| seen.insert(*copy));
    let rows: Vec<usize> = rows.iter().filter(|row| first(row)).copied().collect();
    Ok(distinct_rows(&features.take_rows(&rows)?, None, most))
}

/// Renumbers arbitrary group numbers densely in the order of first rows; returns the labels and the old number of each id.
fn number_by_first_row(groups: &[Option<u32>], count: usize) -> (Vec<Option<ClusterId>>, Vec<u32>) {
    let mut number = vec![None; count];
    let mut old = Vec::new();
    let labels = groups
        .iter()
        .map(|group| {
            let group = (*group)?;
            Some(*number[group as usize].get_or_insert_with(|| {
                old.push(group);
                ClusterId(old.len() as u32 - 1)
            }))
        })
        .collect();
    (labels, old)
}

/// A clustering in which every row is noise.
fn all_noise(points: &Matrix) -> Clustering {
    Clustering {
        labels: vec![None; points.rows()],
        strength: vec![0.0; points.rows()],
        centroids: Matrix::zeros(0, points.cols()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{Context, Control, Seed, stops_at_any_look};
    use rand::RngExt as _;

    fn good() -> Clustering {
        Clustering {
            labels: vec![Some(ClusterId(0)), None, Some(ClusterId(1))],
            strength: vec![1.0, 0.0, 0.5],
            centroids: Matrix::new(2, 1, vec![0.0, 1.0]).unwrap(),
        }
    }

    #[test]
    fn each_broken_promise_is_named() {
        check_clustering("mine", &good(), 3, 1).unwrap();
        let message = |change: &dyn Fn(&mut Clustering)| {
            let mut clustering = good();
            change(&mut clustering);
            check_clustering("mine", &clustering, 3, 1).unwrap_err().to_string()
        };
        assert!(message(&|c| c.labels.truncate(2)).contains("stage `mine`: expected 3 labels, got 2"));
        assert!(message(&|c| c.strength[0] = f32::NAN).contains("row 0"));
        assert!(message(&|c| c.strength[1] = 0.5).contains("noise"));
        assert!(message(&|c| c.labels[0] = Some(ClusterId(2))).contains("below 2, got 2"));
        assert!(message(&|c| c.labels[0] = None).contains("expected membership probability 0"));
        assert!(message(&|c| c.labels[0] = Some(ClusterId(1))).contains("no row has id 0"));
        assert!(message(&|c| c.centroids = Matrix::zeros(2, 3)).contains("columns"));
        assert!(message(&|c| c.centroids.as_mut_slice()[1] = f32::INFINITY).contains("row 1"));
    }

    #[test]
    fn every_part_of_a_clusterer_stops() {
        let mut rng = Seed(4).rng();
        let mut rows =
            |n: usize, d: usize| Matrix::new(n, d, (0..n * d).map(|_| rng.random::<f32>()).collect()).unwrap();
        let (many, low, wide) = (rows(2050, 16), rows(900, 3), rows(300, 20));
        let context = |control: &Control| Context { control: control.clone(), ..Context::new(1) };
        let kmeans = KMeans::new(KMeansConfig { n_init: 2, max_iter: 5, ..KMeansConfig::default() }).unwrap();
        // A look for each block of rows, of the draws, and of each assignment.
        stops_at_any_look("k-means", 2050 / 256 * (40 + 5), |control| kmeans.fit(&many, None, 40, &context(control)));
        let hdbscan = Hdbscan::new(HdbscanConfig::default()).unwrap();
        for (points, least) in [(&many, 2 * 2049), (&low, 3 * 900), (&wide, 3 * 299)] {
            stops_at_any_look("HDBSCAN", least, |control| hdbscan.fit(points, control));
        }
    }

    #[test]
    fn numbers_follow_first_rows() {
        let (labels, old) = number_by_first_row(&[None, Some(2), Some(0), Some(2)], 3);
        assert_eq!(labels, [None, Some(ClusterId(0)), Some(ClusterId(1)), Some(ClusterId(0))]);
        assert_eq!(old, [2, 0]);
    }
}
