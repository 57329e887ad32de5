//! Arrays in and out.

use crate::error::OrRaise as _;
use fedhds_core::types::Matrix;
use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray2, PyUntypedArrayMethods as _};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

/// A copy of a float32 array of two dimensions; any strides.
pub fn matrix(array: &PyReadonlyArray2<'_, f32>) -> PyResult<Matrix> {
    let [rows, cols] = [array.shape()[0], array.shape()[1]];
    let mut data = Vec::new();
    data.try_reserve_exact(array.len()).map_err(|e| PyMemoryError::new_err(format!("{rows} x {cols} values: {e}")))?;
    match array.as_slice() {
        // A slice is also given for columns that lie one after another.
        Ok(slice) if array.is_c_contiguous() => data.extend_from_slice(slice),
        _ => data.extend(array.as_array().iter().copied()),
    }
    Matrix::new(rows, cols, data).or_raise()
}

/// A matrix as an array of shape [rows, columns]; its memory moves over.
pub fn array<'py>(py: Python<'py>, matrix: Matrix) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let shape = [matrix.rows(), matrix.cols()];
    PyArray1::from_vec(py, matrix.into_vec()).reshape(shape)
}
