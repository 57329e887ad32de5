//! A dense matrix of f32, row after row.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A dense row-major matrix `[rows, cols]` of f32.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

impl Matrix {
    /// A matrix over `data`, row after row.
    ///
    /// # Errors
    /// [`Error::Input`] when `data.len() != rows * cols`.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::input("matrix", format!("{rows} x {cols} values"), format!("{} values", data.len())));
        }
        Ok(Self { rows, cols, data })
    }

    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// A matrix from rows of equal length.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first row whose length differs from the first row's.
    pub fn from_rows<R: AsRef<[f32]>>(rows: &[R]) -> Result<Self> {
        let cols = rows.first().map_or(0, |r| r.as_ref().len());
        let mut data = Vec::with_capacity(rows.len() * cols);
        for (i, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            if row.len() != cols {
                return Err(Error::input(&format!("row {i}"), format!("{cols} values"), row.len()));
            }
            data.extend_from_slice(row);
        }
        Ok(Self { rows: rows.len(), cols, data })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`. Panics when `i >= rows`, as slices do.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Row `i`, to write. Panics when `i >= rows`, as slices do.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// The rows in order; a matrix without columns yields empty rows.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        (0..self.rows).map(|i| self.row(i))
    }

    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// All values, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values, taken out.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }

    /// The rows of these numbers, in this order.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first number that is not a row.
    pub fn take_rows(&self, rows: &[usize]) -> Result<Self> {
        let mut data = Vec::with_capacity(rows.len() * self.cols);
        for &i in rows {
            if i >= self.rows {
                return Err(Error::input("row number", format!("below {}", self.rows), i));
            }
            data.extend_from_slice(self.row(i));
        }
        Ok(Self { rows: rows.len(), cols: self.cols, data })
    }

    /// The matrices on top of each other.
    ///
    /// # Errors
    /// [`Error::Input`] when their numbers of columns differ.
    pub fn stack<'a>(parts: impl IntoIterator<Item = &'a Matrix>) -> Result<Self> {
        let mut out = Matrix::default();
        for (i, part) in parts.into_iter().enumerate() {
            if i == 0 {
                out.cols = part.cols;
            } else if part.cols != out.cols {
                return Err(Error::input(&format!("matrix {i}"), format!("{} columns", out.cols), part.cols));
            }
            out.rows += part.rows;
            out.data.extend_from_slice(&part.data);
        }
        Ok(out)
    }

    /// Checks that every value is finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row and column that is not; `what` names the matrix.
    pub fn check_finite(&self, what: &str) -> Result<()> {
        match self.data.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::NotFinite {
                what: what.into(),
                row: at / self.cols,
                column: at % self.cols,
                value: self.data[at],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_is_checked() {
        assert!(Matrix::new(2, 3, vec![0.0; 5]).is_err());
        assert!(Matrix::new(usize::MAX, 2, vec![]).is_err());
        let m = Matrix::new(2, 2, vec![1.0, 2.0, 3.0, f32::NAN]).unwrap();
        assert_eq!(m.row(1)[0], 3.0);
        let error = m.check_finite("points").unwrap_err().to_string();
        assert!(error.contains("row 1, column 1"), "{error}");
    }

    #[test]
    fn empty_matrices_have_rows() {
        assert_eq!(Matrix::zeros(3, 0).iter_rows().count(), 3);
        assert_eq!(Matrix::zeros(0, 3).iter_rows().count(), 0);
    }
}
