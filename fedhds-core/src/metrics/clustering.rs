//! How well groups fit each other, and how well they fit their points.
//!
//! Labels are any ordered type; noise, as `None`, counts as one group of its own: filter it out where that is not meant.
//! Values equal scikit-learn's.

use crate::error::{Error, Result};
use crate::types::Matrix;
use std::collections::BTreeMap;

/// Dense numbers in place of labels, and how many there are.
fn dense<L: Ord>(labels: &[L]) -> (Vec<usize>, usize) {
    let mut numbers: BTreeMap<&L, usize> = labels.iter().map(|label| (label, 0)).collect();
    for (number, slot) in numbers.values_mut().enumerate() {
        *slot = number;
    }
    (labels.iter().map(|label| numbers.get(label).copied().unwrap_or_default()).collect(), numbers.len())
}

/// How often each pair of labels occurs, with both groupings' own counts.
struct Table {
    pairs: Vec<f64>,
    of_a: Vec<f64>,
    of_b: Vec<f64>,
    n: f64,
}

fn table<A: Ord, B: Ord>(a: &[A], b: &[B]) -> Result<Table> {
    if a.len() != b.len() {
        return Err(Error::input("labels", format!("{}, as many as the others", a.len()), b.len()));
    }
    let ((a, groups_a), (b, groups_b)) = (dense(a), dense(b));
    let mut pairs = BTreeMap::<(usize, usize), f64>::new();
    let (mut of_a, mut of_b) = (vec![0.0; groups_a], vec![0.0; groups_b]);
    for (&a, &b) in a.iter().zip(&b) {
        *pairs.entry((a, b)).or_default() += 1.0;
        of_a.get_mut(a).into_iter().chain(of_b.get_mut(b)).for_each(|count| *count += 1.0);
    }
    Ok(Table { pairs: pairs.into_values().collect(), of_a, of_b, n: a.len() as f64 })
}

/// The adjusted Rand index of two groupings: 1 where they are the same, about 0 where they agree by chance only.
///
/// Hubert and Arabie, "Comparing partitions" (1985), equation 5.
///
/// # Errors
/// [`Error::Input`] where the lengths differ.
pub fn adjusted_rand<A: Ord, B: Ord>(a: &[A], b: &[B]) -> Result<f64> {
    let table = table(a, b)?;
    let choose_2 = |counts: &[f64]| counts.iter().map(|n| n * (n - 1.0) / 2.0).sum::<f64>();
    let (both, in_a, in_b) = (choose_2(&table.pairs), choose_2(&table.of_a), choose_2(&table.of_b));
    if both == in_a && both == in_b {
        return Ok(1.0);
    }
    let by_chance = in_a * in_b / (table.n * (table.n - 1.0) / 2.0);
    Ok((both - by_chance) / ((in_a + in_b) / 2.0 - by_chance))
}

/// The mutual information of two groupings over the mean of their entropies, in [0, 1]; 1 where both have one group or
/// none.
///
/// # Errors
/// [`Error::Input`] where the lengths differ.
pub fn normalized_mutual_information<A: Ord, B: Ord>(a: &[A], b: &[B]) -> Result<f64> {
    let table = table(a, b)?;
    if table.of_a.len() <= 1 && table.of_b.len() <= 1 {
        return Ok(1.0);
    }
    let entropy = |counts: &[f64]| -counts.iter().map(|c| c / table.n * (c / table.n).ln()).sum::<f64>();
    let (in_a, in_b) = (entropy(&table.of_a), entropy(&table.of_b));
    let information = in_a + in_b - entropy(&table.pairs);
    Ok((information / ((in_a + in_b) / 2.0)).clamp(0.0, 1.0))
}

/// Points with dense labels, checked: as many as rows, from 2 to n - 1 groups, finite.
fn grouped<L: Ord>(points: &Matrix, labels: &[L]) -> Result<(Vec<usize>, usize)> {
    if labels.len() != points.rows() {
        return Err(Error::input("labels", format!("{}, one for each row", points.rows()), labels.len()));
    }
    points.check_finite("points")?;
    let (labels, groups) = dense(labels);
    if groups < 2 || groups >= points.rows() {
        return Err(Error::input("labels", format!("from 2 to {} groups", points.rows().saturating_sub(1)), groups));
    }
    Ok((labels, groups))
}

fn squared_distance(a: &[f64], b: impl Iterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|v| f64::from(*v)).collect()
}

/// The mean silhouette coefficient, in [-1, 1]: Rousseeuw (1987). Time and work are quadratic in the rows.
///
/// # Errors
/// [`Error::Input`] unless there are from 2 to n - 1 groups and one label for each row; [`Error::NotFinite`].
pub fn silhouette<L: Ord>(points: &Matrix, labels: &[L]) -> Result<f64> {
    let (labels, groups) = grouped(points, labels)?;
    let mut counts = vec![0.0_f64; groups];
    labels.iter().for_each(|&label| counts.get_mut(label).into_iter().for_each(|count| *count += 1.0));
    let mut sum = 0.0;
    for (i, &own) in labels.iter().enumerate() {
        let from = wide(points.row(i));
        let mut distances = vec![0.0; groups];
        for (row, &label) in points.iter_rows().zip(&labels) {
            let distance = squared_distance(&from, row.iter().map(|v| f64::from(*v))).sqrt();
            distances.get_mut(label).into_iter().for_each(|sum| *sum += distance);
        }
        let (mut inside, mut outside, mut alone) = (0.0, f64::INFINITY, false);
        for (label, (distance, count)) in distances.iter().zip(&counts).enumerate() {
            if label == own {
                alone = *count == 1.0;
                inside = distance / (count - 1.0);
            } else {
                outside = outside.min(distance / count);
            }
        }
        let largest = inside.max(outside);
        if !alone && largest > 0.0 {
            sum += (outside - inside) / largest;
        }
    }
    Ok(sum / labels.len() as f64)
}

/// Group centres `[k]` with their numbers of rows, in f64.
fn centres(points: &Matrix, labels: &[usize], groups: usize) -> Vec<(Vec<f64>, f64)> {
    let mut centres = vec![(vec![0.0; points.cols()], 0.0); groups];
    for (row, &label) in points.iter_rows().zip(labels) {
        if let Some((centre, count)) = centres.get_mut(label) {
            centre.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
            *count += 1.0;
        }
    }
    for (centre, count) in &mut centres {
        centre.iter_mut().for_each(|sum| *sum /= *count);
    }
    centres
}

/// The Calinski-Harabasz index: dispersion between groups over that within, higher is better. 1 where rows within groups
/// are equal.
///
/// # Errors
/// As [`silhouette`].
pub fn calinski_harabasz<L: Ord>(points: &Matrix, labels: &[L]) -> Result<f64> {
    let (labels, groups) = grouped(points, labels)?;
    let all = centres(points, &vec![0; labels.len()], 1);
    let centres = centres(points, &labels, groups);
    let middle = all.first().map(|(centre, _)| centre.clone()).unwrap_or_default();
    let between: f64 = centres.iter().map(|(c, n)| n * squared_distance(c, middle.iter().copied())).sum();
    let within: f64 = points
        .iter_rows()
        .zip(&labels)
        .filter_map(|(row, &label)| {
            centres.get(label).map(|(centre, _)| squared_distance(centre, row.iter().map(|v| f64::from(*v))))
        })
        .sum();
    if within == 0.0 {
        return Ok(1.0);
    }
    Ok(between * (labels.len() - groups) as f64 / (within * (groups - 1) as f64))
}

/// The Davies-Bouldin index: mean over groups of the worst ratio of widths to distance of centres, lower is better.
///
/// # Errors
/// As [`silhouette`].
pub fn davies_bouldin<L: Ord>(points: &Matrix, labels: &[L]) -> Result<f64> {
    let (labels, groups) = grouped(points, labels)?;
    let centres = centres(points, &labels, groups);
    let mut widths = vec![0.0; groups];
    for (row, &label) in points.iter_rows().zip(&labels) {
        if let (Some((centre, count)), Some(width)) = (centres.get(label), widths.get_mut(label)) {
            *width += squared_distance(centre, row.iter().map(|v| f64::from(*v))).sqrt() / count;
        }
    }
    if widths.iter().all(|width| *width == 0.0) {
        return Ok(0.0);
    }
    let mut sum = 0.0;
    for (i, ((a, _), width_a)) in centres.iter().zip(&widths).enumerate() {
        let mut worst = 0.0_f64;
        for (j, ((b, _), width_b)) in centres.iter().zip(&widths).enumerate() {
            let distance = squared_distance(a, b.iter().copied()).sqrt();
            if i != j && distance > 0.0 {
                worst = worst.max((width_a + width_b) / distance);
            }
        }
        sum += worst;
    }
    Ok(sum / groups as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        points: Vec<Vec<f32>>,
        truth: Vec<usize>,
        found: Vec<usize>,
        adjusted_rand: f64,
        normalized_mutual_information: f64,
        silhouette: f64,
        calinski_harabasz: f64,
        davies_bouldin: f64,
    }

    #[test]
    fn values_equal_scikit_learns() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../tests/fixtures/clustering/measures.json")).unwrap();
        assert!(cases.len() > 4);
        for case in cases {
            let points = Matrix::from_rows(&case.points).unwrap();
            let near = |got: Result<f64>, expected: f64| {
                let got = got.unwrap();
                assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{got} {expected}");
            };
            near(adjusted_rand(&case.truth, &case.found), case.adjusted_rand);
            near(normalized_mutual_information(&case.truth, &case.found), case.normalized_mutual_information);
            near(silhouette(&points, &case.found), case.silhouette);
            near(calinski_harabasz(&points, &case.found), case.calinski_harabasz);
            near(davies_bouldin(&points, &case.found), case.davies_bouldin);
        }
    }

    #[test]
    fn edge_cases() {
        assert_eq!(adjusted_rand(&[1, 1, 2, 2], &["b", "b", "a", "a"]).unwrap(), 1.0);
        assert_eq!(adjusted_rand::<u8, u8>(&[], &[]).unwrap(), 1.0);
        assert_eq!(adjusted_rand(&[1, 1], &[1, 2]).unwrap(), 0.0);
        assert_eq!(normalized_mutual_information(&[1, 1], &[2, 2]).unwrap(), 1.0);
        assert_eq!(normalized_mutual_information(&[1, 1], &[1, 2]).unwrap(), 0.0);
        assert!(adjusted_rand(&[1], &[1, 2]).is_err());
        let points = Matrix::from_rows(&[[0.0], [1.0], [2.0]]).unwrap();
        for labels in [vec![0, 0, 0], vec![0, 1, 2], vec![0, 1]] {
            assert!(silhouette(&points, &labels).is_err());
        }
        let nan = Matrix::from_rows(&[[0.0], [f32::NAN], [2.0]]).unwrap();
        assert!(silhouette(&nan, &[0, 0, 1]).is_err());
        let same = Matrix::zeros(4, 2);
        assert_eq!(silhouette(&same, &[0, 0, 1, 1]).unwrap(), 0.0);
        assert_eq!(calinski_harabasz(&same, &[0, 0, 1, 1]).unwrap(), 1.0);
        assert_eq!(davies_bouldin(&same, &[0, 0, 1, 1]).unwrap(), 0.0);
    }
}
