//! Features in a range that f32 products keep: their squares neither overflow nor vanish.

use crate::loops;
use crate::types::Matrix;
use std::borrow::Cow;

/// Magnitudes whose squares, and sums of them, f32 holds with all their digits.
const LEAST: f64 = 1.0 / (1u64 << 40) as f64;
const MOST: f64 = (1u64 << 56) as f64;

/// Features by a power of two, and where what counts is their differences moved, so that products of them can be formed.
pub(super) struct InRange<'a> {
    pub(super) features: Cow<'a, Matrix>,
    /// What they were multiplied by; 1 where they are as they came.
    pub(super) factor: f64,
}

impl<'a> InRange<'a> {
    /// For what is centred later: features whose differences are in range stay as they are, to the bit.
    pub(super) fn differences(features: &'a Matrix) -> Self {
        let Some(first) = features.iter_rows().next() else {
            return Self { features: Cow::Borrowed(features), factor: 1.0 };
        };
        let largest = largest(features, |row| {
            row.iter().zip(first).fold(0.0, |most: f64, (&x, &o)| most.max((f64::from(x) - f64::from(o)).abs()))
        });
        let factor = factor(largest);
        let move_to = |(at, &x): (usize, &f32)| ((f64::from(x) - f64::from(first[at % first.len()])) * factor) as f32;
        Self::by(features, factor, |values| values.iter().enumerate().map(move_to).collect())
    }

    /// For what is not centred.
    pub(super) fn values(features: &'a Matrix) -> Self {
        let factor = factor(largest(features, magnitude));
        Self::by(features, factor, |values| values.iter().map(|&x| (f64::from(x) * factor) as f32).collect())
    }

    fn by(features: &'a Matrix, factor: f64, scaled: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        let own = (factor != 1.0).then(|| Matrix::new(features.rows(), features.cols(), scaled(features.as_slice())));
        match own {
            Some(Ok(own)) => Self { features: Cow::Owned(own), factor },
            _ => Self { features: Cow::Borrowed(features), factor: 1.0 },
        }
    }
}

/// Each row by a power of two of its own, for what looks at directions alone; as they came where all are in range.
pub(super) fn directions(features: &Matrix) -> Cow<'_, Matrix> {
    if features.iter_rows().all(|row| factor(magnitude(row)) == 1.0) {
        return Cow::Borrowed(features);
    }
    let mut own = features.clone();
    for i in 0..own.rows() {
        let factor = factor(magnitude(features.row(i)));
        own.row_mut(i).iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
    Cow::Owned(own)
}

fn magnitude(row: &[f32]) -> f64 {
    row.iter().fold(0.0, |most: f64, &x| most.max(f64::from(x).abs()))
}

fn largest(features: &Matrix, of: impl Fn(&[f32]) -> f64 + Sync) -> f64 {
    loops::map(features.rows(), 16, |i| of(features.row(i))).into_iter().fold(0.0, f64::max)
}

/// What brings a largest magnitude near 1; 1 for one in range, and for 0.
fn factor(largest: f64) -> f64 {
    if largest == 0.0 || (LEAST..=MOST).contains(&largest) { 1.0 } else { (-largest.log2().floor()).exp2() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_range_stays_and_the_rest_comes_back() {
        let plain = Matrix::new(3, 2, vec![1.0, -2.0, 3e8, 0.5, 1e-6, 0.0]).unwrap();
        assert!(matches!(InRange::differences(&plain).features, Cow::Borrowed(_)));
        for scale in [1e-44f32, 1e-30, 1e20, 1e37] {
            let far = Matrix::new(3, 2, vec![scale, 5.0, -scale, 5.0, 0.0, 5.0]).unwrap();
            let scaled = InRange::differences(&far);
            for (x, s) in far.iter_rows().zip(scaled.features.iter_rows()) {
                let back = f64::from(s[0]) / scaled.factor + f64::from(far.row(0)[0]);
                assert!((back - f64::from(x[0])).abs() <= 1e-6 * f64::from(scale) && s[1] == 0.0, "{back} {}", x[0]);
                assert!(s[0].abs() <= 2.0);
            }
            let column = Matrix::new(2, 1, vec![scale, -scale]).unwrap();
            let scaled = InRange::values(&column);
            assert!((1.0..2.0).contains(&scaled.features.row(0)[0]), "{scale}");
            assert_eq!(f64::from(scaled.features.row(1)[0]) / scaled.factor, -f64::from(scale));
        }
        assert!(matches!(InRange::values(&Matrix::zeros(0, 3)).features, Cow::Borrowed(_)));
        assert_eq!(InRange::differences(&Matrix::zeros(2, 0)).factor, 1.0);
    }
}
