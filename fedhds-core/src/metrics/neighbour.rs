//! How often a point's nearest neighbour is of its own kind.

use crate::error::{Error, Result};
use crate::types::Matrix;
use std::collections::BTreeMap;

/// The F1 score, macro-averaged over the labels, of guessing each row's label from its nearest other row, in [0, 1]; of equally near rows
/// the first counts. It needs no clustering, so that feature spaces compare by it. Time is quadratic in the rows.
///
/// `points`: `[n, d]`; `labels`: `[n]`.
///
/// # Errors
/// [`Error::Input`] unless there are two rows or more and one label for each; [`Error::NotFinite`].
pub fn neighbour_f1<L: Ord>(points: &Matrix, labels: &[L]) -> Result<f64> {
    if labels.len() != points.rows() {
        return Err(Error::input("labels", format!("{}, one for each row", points.rows()), labels.len()));
    }
    if points.rows() < 2 {
        return Err(Error::input("points", "at least 2 rows", points.rows()));
    }
    points.check_finite("points")?;
    // By label: rows of it, rows guessed to be of it, and right guesses.
    let mut counts: BTreeMap<&L, [f64; 3]> = BTreeMap::new();
    for (row, (point, label)) in points.iter_rows().zip(labels).enumerate() {
        let distance = |other: &[f32]| point.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let others = points.iter_rows().zip(labels).enumerate().filter(|(other, _)| *other != row);
        let nearest = others.map(|(_, (other, label))| (distance(other), label)).min_by(|a, b| a.0.total_cmp(&b.0));
        counts.entry(label).or_default()[0] += 1.0;
        if let Some((_, guessed)) = nearest {
            let count = counts.entry(guessed).or_default();
            count[1] += 1.0;
            count[2] += f64::from(u8::from(guessed == label));
        }
    }
    let scores = counts.values().map(|[held, guessed, right]| 2.0 * right / (held + guessed));
    Ok(scores.sum::<f64>() / counts.len() as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_where_neighbours_agree_and_falls_with_each_that_does_not() {
        let points = Matrix::from_rows(&[[0.0_f32], [0.1], [5.0], [5.1], [9.0]]).unwrap();
        assert_eq!(neighbour_f1(&points, &["a", "a", "b", "b", "b"]).unwrap(), 1.0);
        // Guesses: a, a, b, b and, for the c at 9, b. F1 of a is 1, of b 2*2/(2+3), of c 0.
        let found = neighbour_f1(&points, &["a", "a", "b", "b", "c"]).unwrap();
        assert!((found - (1.0 + 0.8) / 3.0).abs() < 1e-12, "{found}");
        assert_eq!(neighbour_f1(&points.take_rows(&[0, 2]).unwrap(), &["a", "b"]).unwrap(), 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        let points = Matrix::from_rows(&[[0.0_f32], [f32::NAN]]).unwrap();
        let error = |points: &Matrix, labels: &[&str]| neighbour_f1(points, labels).unwrap_err().to_string();
        assert!(error(&points, &["a"]).contains("one for each row"));
        assert!(error(&points, &["a", "b"]).contains("finite"));
        assert!(error(&Matrix::zeros(1, 1), &["a"]).contains("at least 2"));
    }
}
