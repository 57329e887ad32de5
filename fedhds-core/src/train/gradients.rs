//! The size of all gradients together: what clipping needs, and what tells a step that must not be taken.

use crate::error::{Error, Result};
use crate::model::tensor::{Tensor, plain, to_vec};

/// The Euclidean norm over all values of all tensors; not finite when any value is not, or the squares overflow.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub fn global_norm(flat: impl IntoIterator<Item = Tensor<1>>) -> Result<f64> {
    // One number for each tensor stays on the device, and one transfer brings them all.
    let squares: Vec<Tensor<1>> = flat
        .into_iter()
        .map(|tensor| {
            let tensor = plain(tensor);
            (tensor.clone() * tensor).sum_dim(0)
        })
        .collect();
    if squares.is_empty() {
        return Ok(0.0);
    }
    Ok(to_vec(Tensor::cat(squares, 0))?.into_iter().map(f64::from).sum::<f64>().sqrt())
}

/// The factor that brings gradients of this norm down to `max_norm`, as `torch.nn.utils.clip_grad_norm_` does:
/// `min(1, max_norm / (norm + 1e-6))`.
///
/// # Errors
/// [`Error::Parameter`] when `max_norm` is not above 0.
pub fn clip_factor(norm: f64, max_norm: f64) -> Result<f64> {
    if !max_norm.is_finite() || max_norm <= 0.0 {
        return Err(Error::parameter("max_grad_norm", "a finite value above 0", max_norm));
    }
    Ok((max_norm / (norm + 1e-6)).min(1.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::Device;

    fn flat(values: &[f32]) -> Tensor<1> {
        Device::cpu().tensor(values.to_vec(), [values.len()]).unwrap()
    }

    #[test]
    fn norms_add_up() {
        assert_eq!(global_norm([flat(&[3.0]), flat(&[0.0, 4.0])]).unwrap(), 5.0);
        assert_eq!(global_norm([]).unwrap(), 0.0);
        assert!(global_norm([flat(&[1.0]), flat(&[f32::NAN, 1.0])]).unwrap().is_nan());
        assert!(global_norm([flat(&[f32::NEG_INFINITY])]).unwrap().is_infinite());
    }

    #[test]
    fn small_gradients_are_not_scaled() {
        assert_eq!(clip_factor(0.5, 1.0).unwrap(), 1.0);
        assert!((clip_factor(4.0, 1.0).unwrap() - 0.25).abs() < 1e-6);
        assert!(clip_factor(4.0, 0.0).is_err());
    }
}
