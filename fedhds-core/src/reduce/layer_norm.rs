//! Each layer's share of a feature vector brought to the same scale.

use crate::error::{Error, Result};
use crate::types::Matrix;

/// Added to the variance, as PyTorch's LayerNorm does.
const EPSILON: f64 = 1e-5;

/// Normalises each layer's part of each row to mean 0 and variance 1.
///
/// `features` is `[n, layers * h]`, layer after layer; so is the result. Hidden states grow with depth in most models,
/// so that without this the last layers alone decide distances between concatenated vectors. A constant part becomes 0.
///
/// # Errors
/// [`Error::Parameter`] for 0 layers, [`Error::Input`] when the columns are not a multiple of `layers`,
/// [`Error::NotFinite`] for a value that is not finite.
pub fn layer_norm_per_layer(features: &Matrix, layers: usize) -> Result<Matrix> {
    if layers == 0 {
        return Err(Error::parameter("layers", "at least 1", layers));
    }
    if !features.cols().is_multiple_of(layers) {
        return Err(Error::input("features", format!("a multiple of {layers} layers as columns"), features.cols()));
    }
    features.check_finite("features")?;
    let width = features.cols() / layers;
    let mut out = features.clone();
    if width == 0 {
        return Ok(out);
    }
    for part in out.as_mut_slice().chunks_exact_mut(width) {
        let mean = part.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
        let variance = part.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        part.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_to_the_same_scale() {
        let features = Matrix::new(1, 6, vec![1.0, 2.0, 3.0, 100.0, 200.0, 300.0]).unwrap();
        let out = layer_norm_per_layer(&features, 2).unwrap();
        for (a, b) in out.row(0)[..3].iter().zip(&out.row(0)[3..]) {
            assert!((a - b).abs() < 1e-4);
        }
        assert!((out.row(0)[2] - 1.5f32.sqrt()).abs() < 1e-4);
    }

    #[test]
    fn edges() {
        assert!(layer_norm_per_layer(&Matrix::zeros(1, 5), 2).unwrap_err().to_string().contains("multiple of 2"));
        assert!(layer_norm_per_layer(&Matrix::zeros(1, 5), 0).is_err());
        assert_eq!(layer_norm_per_layer(&Matrix::zeros(2, 4), 2).unwrap(), Matrix::zeros(2, 4));
        assert_eq!(layer_norm_per_layer(&Matrix::zeros(2, 0), 2).unwrap(), Matrix::zeros(2, 0));
        let bad = Matrix::new(1, 2, vec![1.0, f32::NAN]).unwrap();
        assert!(layer_norm_per_layer(&bad, 1).is_err());
    }
}
