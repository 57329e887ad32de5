//! Rows of a table by token id.

use super::batch::Batch;
use super::device::Device;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// The rows of `table` (`[n, hidden]`) of these ids, `[ids, hidden]`.
///
/// # Errors
/// [`Error::Input`] for an id outside of the table.
pub(crate) fn rows_of(table: &Tensor<2>, ids: &[u32], device: &Device) -> Result<Tensor<2>> {
    let [n, _] = table.dims();
    if let Some(id) = ids.iter().find(|id| **id as usize >= n) {
        return Err(Error::input("token", format!("an id below {n}"), id));
    }
    let indices = device.int_tensor(ids.iter().map(|&id| id as i32).collect(), [ids.len()])?;
    Ok(table.clone().select(0, indices))
}

/// The rows of `table` (`[n, hidden]`) for each of a batch's `ids` (`[b * t]`), as `[b, t, hidden]`.
pub(crate) fn look_up(
    table: &Tensor<2>,
    ids: impl Iterator<Item = usize>,
    batch: &Batch,
    device: &Device,
) -> Result<Tensor<3>> {
    let [_, hidden] = table.dims();
    let indices = device.int_tensor(ids.map(|id| id as i32).collect(), [batch.rows() * batch.width()])?;
    Ok(table.clone().select(0, indices).reshape([batch.rows(), batch.width(), hidden]))
}
