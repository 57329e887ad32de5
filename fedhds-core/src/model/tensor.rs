//! The tensor types of this crate: the only file that names the tensor library's backend.
//!
//! `Dispatch` chooses the device at run time, so that nothing else carries a type parameter and one binary serves CPU and GPU.

use crate::error::{Error, Result};
use burn::Dispatch;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, Int, TensorData};

/// A tensor of f32 with `D` dimensions on a device chosen at run time.
pub type Tensor<const D: usize> = burn::tensor::Tensor<Dispatch, D>;
/// A tensor of integers.
pub type IntTensor<const D: usize> = burn::tensor::Tensor<Dispatch, D, Int>;
/// A tensor of truth values.
pub type BoolTensor<const D: usize> = burn::tensor::Tensor<Dispatch, D, Bool>;
/// The gradients that a backward pass returns.
pub type Gradients = <Dispatch as AutodiffBackend>::Gradients;

/// Whether a tensor records the operations on it for a backward pass.
pub fn is_autodiff<const D: usize>(tensor: &Tensor<D>) -> bool {
    Dispatch::ad_enabled(&tensor.device())
}

/// `constant` in the mode of `reference`: lifted to autodiff (without a gradient of its own) where `reference` is, plain
/// where it is not. The two modes do not mix in one operation, so everything that a forward pass adds to its hidden
/// states goes through here. Costs an allocation, never a copy.
pub fn like<const D: usize, const E: usize>(constant: Tensor<D>, reference: &Tensor<E>) -> Tensor<D> {
    match (is_autodiff(&constant), is_autodiff(reference)) {
        (false, true) => Tensor::from_inner(constant),
        (true, false) => constant.inner(),
        _ => constant,
    }
}

/// `tensor` without its autodiff record, whatever its mode.
pub fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if is_autodiff(&tensor) { tensor.inner() } else { tensor }
}

/// `tensor` on the autodiff side, whatever its mode; no gradient is asked for.
pub fn lifted<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if is_autodiff(&tensor) { tensor } else { Tensor::from_inner(tensor) }
}

/// The values of a tensor, row-major.
///
/// # Errors
/// [`Error::Device`] when the device cannot be read.
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let device = format!("{:?}", tensor.device());
    let failed = |message: String| Error::Device { device: device.clone(), message };
    let data: TensorData = tensor.try_into_data().map_err(|e| failed(e.to_string()))?;
    data.into_vec::<f32>().map_err(|e| failed(e.to_string()))
}
