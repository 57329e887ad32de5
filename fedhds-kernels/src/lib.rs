//! Arithmetic of language models on the CPU: products with frozen weights in the form that a file has them, low-rank updates,
//! normalisation, rotary attention, gated activation and cross entropy, each forward and backward.
//!
//! Matrices are slices, row after row. Functions panic where sizes do not fit each other: `fedhds-core` checks what comes from outside before
//! it calls them. A result does not depend on the number of
//! threads: what one number is summed from, and in what order, is fixed by the sizes alone. Between machines of different vector width
//! the last bits differ.

pub mod attention;
pub mod cross_entropy;
mod form;
mod inputs;
pub mod integer;
pub mod low_rank;
mod matrix;
pub mod norm;
mod panels;
pub mod product;
mod quantized;
pub mod rope;
pub mod scratch;
mod strided;
pub mod swiglu;
mod threads;
mod tile;
mod turn;
mod vector;

pub use form::Form;
pub use inputs::{Activations, Inputs};
pub use matrix::Matrix;
pub use quantized::Quantized;
