//! What products with several matrices read: rows packed once for all of them.

use crate::form::Form;
use crate::integer;
use crate::matrix::Matrix;
use crate::product::{self, Packed};
use crate::quantized::Quantized;

/// How rows go into a product with frozen weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// As they are.
    #[default]
    F32,
    /// In 8 bits with a scale for each 32 numbers, where the weights are in such blocks too; elsewhere as they are.
    Int8,
}

impl Activations {
    /// Whether rows are rounded for weights of this form.
    pub fn rounds(self, form: Form) -> bool {
        self == Activations::Int8 && form.block() > 1
    }
}

/// Rows that meet some matrices.
#[derive(Debug)]
pub struct Inputs {
    packed: Option<Packed>,
    quantized: Option<Quantized>,
    activations: Activations,
    rows: usize,
}

impl Inputs {
    /// Rows `[rows, columns]` for products with these matrices, which have so many columns.
    pub fn new(x: &[f32], rows: usize, activations: Activations, matrices: &[&Matrix]) -> Self {
        let columns = matrices.first().map_or(0, |matrix| matrix.columns());
        let any = |rounded: bool| matrices.iter().any(|matrix| activations.rounds(matrix.form()) == rounded);
        Self {
            packed: any(false).then(|| Packed::new(x, rows, columns)),
            quantized: any(true).then(|| Quantized::new(x, rows, columns)),
            activations,
            rows,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `out = x w^T`, of a matrix that these rows were made for: [`product::forward`] or [`integer::forward`].
    pub fn forward(&self, w: &Matrix, out: &mut [f32]) {
        let rounds = self.activations.rounds(w.form());
        match (rounds, &self.packed, &self.quantized) {
            (true, _, Some(quantized)) => integer::forward(quantized, w, out),
            (false, Some(packed), _) => product::forward(packed, w, out),
            _ => assert!(w.rows() == 0, "rows that were made for matrices of other forms"),
        }
    }

    /// Gives the buffers back.
    pub fn give(self) {
        self.packed.into_iter().for_each(Packed::give);
    }
}
