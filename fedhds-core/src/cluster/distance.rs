//! The one distance that every clusterer measures with.

/// Squared Euclidean distance of two f32 rows, in f64.
///
/// Its bits depend on the two rows alone, not on their order nor on where they lie, so that equal distances compare equal
/// in every code path; and a coordinate that moves nearer never makes it larger, so that the same function bounds
/// distances to boxes.
pub(super) fn squared(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest = a4.remainder().iter().zip(b4.remainder());
    let rest: f64 = rest.map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
    for (x, y) in a4.zip(b4) {
        for lane in 0..4 {
            let difference = f64::from(x[lane]) - f64::from(y[lane]);
            lanes[lane] += difference * difference;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::squared;

    #[test]
    fn equals_its_definition_and_is_symmetric() {
        let a: Vec<f32> = (0..11).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..11).map(|i| (i * i) as f32 * 0.5).collect();
        let expected: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
        assert_eq!(squared(&a, &b), expected);
        assert_eq!(squared(&a, &b), squared(&b, &a));
        assert_eq!(squared(&[3.0, 4.0], &[0.0, 0.0]), 25.0);
        assert_eq!(squared(&[], &[]), 0.0);
        assert!(squared(&[f32::MAX; 8], &[f32::MIN; 8]).is_finite());
    }
}
