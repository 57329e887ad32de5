//! Matrices: views of the caller's memory going in, handles coming out.

use crate::handle::{self, Handle};
use crate::pointer::{Out, check_length, fill, slice, value};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_INPUT};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::types::Matrix;
use std::sync::Arc;

/// The most rows of a view: the most records that a client may hold.
const MAX_ROWS: usize = fedhds_core::protocol::MAX_RECORDS;
/// The most columns of a view: 64 layers of 65,536.
const MAX_COLS: usize = 1 << 22;

/// Rows of float32 in memory of the caller's, which the library reads during the call and does not keep.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_matrix_view_t {
    /// The first value; may be NULL where there are no values.
    pub data: *const f32,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Values from one row's beginning to the next's, at least `cols`; 0 means `cols`.
    pub row_stride: usize,
}

/// Rows of float32 that the library made and that never change. Freed with `fedhds_matrix_free`.
pub struct fedhds_matrix_t {
    _private: [u8; 0],
}

impl Handle for fedhds_matrix_t {
    type Object = Arc<Matrix>;
    const NAME: &'static str = "fedhds_matrix_t";
}

pub(crate) fn matrix(values: Matrix) -> *mut fedhds_matrix_t {
    handle::new(Arc::new(values))
}

/// The caller's matrix, copied.
///
/// # Safety
/// A view that is not NULL is readable, and its values are.
pub(crate) unsafe fn copied(view: *const fedhds_matrix_view_t, name: &str) -> Outcome<Matrix> {
    // SAFETY: the caller's promise.
    let view = unsafe { value(view, name) }?;
    let stride = if view.row_stride == 0 { view.cols } else { view.row_stride };
    if stride < view.cols {
        let message = format!("{name}: expected a row_stride of at least {} columns, got {stride}", view.cols);
        return Err(Failure::new(FEDHDS_STATUS_INPUT, message));
    }
    if view.rows > MAX_ROWS || view.cols > MAX_COLS {
        let message = format!(
            "{name}: expected at most {MAX_ROWS} rows of {MAX_COLS} columns, got {} of {}",
            view.rows, view.cols
        );
        return Err(Failure::new(FEDHDS_STATUS_INPUT, message));
    }
    if view.rows == 0 || view.cols == 0 {
        return Ok(Matrix::zeros(view.rows, view.cols));
    }
    let reach = (view.rows - 1).checked_mul(stride).and_then(|n| n.checked_add(view.cols)).unwrap_or(usize::MAX);
    check_length::<f32>(reach, name)?;
    // SAFETY: from the first row's beginning to the last row's end, by the caller's promise.
    let values = unsafe { slice(view.data, reach, name) }?;
    let data = if stride == view.cols {
        values.to_vec()
    } else {
        values.chunks(stride).flat_map(|row| &row[..view.cols]).copied().collect()
    };
    Ok(Matrix::new(view.rows, view.cols, data)?)
}

/// A view of the library's matrix; it is valid until the handle is freed.
///
/// # Safety
/// `view` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_matrix_view(
    matrix: *const fedhds_matrix_t,
    view: *mut fedhds_matrix_view_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let view = unsafe { Out::new(view, "view") }?;
        let matrix = handle::copy(matrix)?;
        let (rows, cols) = (matrix.rows(), matrix.cols());
        view.set(fedhds_matrix_view_t { data: matrix.as_slice().as_ptr(), rows, cols, row_stride: cols });
        Ok(())
    })
}

/// Copies the values, row after row, into a buffer of `capacity` values and writes their number. A buffer of NULL asks for the number alone.
///
/// # Safety
/// `buffer` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_matrix_copy(
    matrix: *const fedhds_matrix_t,
    buffer: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let matrix = handle::copy(matrix)?;
        // SAFETY: the caller's promise.
        unsafe { fill(matrix.as_slice(), buffer, capacity, count) }
    })
}

/// Frees the matrix; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_matrix_free(matrix: *mut fedhds_matrix_t) -> fedhds_status_t {
    boundary(|| handle::free(matrix))
}
