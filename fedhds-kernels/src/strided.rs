//! Products of strided matrices, by the crate gemm: what attention's way back is made of.

use gemm::Parallelism;

/// A strided matrix of which the product reads.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) start: *const f32,
    pub(crate) row: isize,
    pub(crate) column: isize,
}

impl View {
    /// Rows that lie `row` values apart.
    pub(crate) fn rows(values: &[f32], row: usize) -> Self {
        Self { start: values.as_ptr(), row: row as isize, column: 1 }
    }

    /// The same, columns for rows.
    pub(crate) fn turned(values: &[f32], row: usize) -> Self {
        Self { start: values.as_ptr(), row: 1, column: row as isize }
    }
}

/// `[m, k] x [k, n]`, written to (or added to) rows that lie `row` values apart.
///
/// # Safety
/// All three are within their allocations for these sizes, and `out` overlaps neither of the others nor what another thread touches.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn multiply(
    [m, k, n]: [usize; 3],
    out: *mut f32,
    row: isize,
    add: bool,
    left: View,
    right: View,
    factor: f32,
) {
    // SAFETY: the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row,
            add,
            left.start,
            left.column,
            left.row,
            right.start,
            right.column,
            right.row,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
