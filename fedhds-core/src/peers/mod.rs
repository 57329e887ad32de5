//! The named crates as stages, and our stages behind linfa's traits (feature `peers`, off by default).
//!
//! - [`LinfaKMeans`], [`LinfaTsne`], [`PetalHdbscan`]: other implementations of a clusterer and a reducer, to compare with or to
//!   prefer. They pass the contract suites of the built-in stages; what they lack is on each type.
//! - [`linfa_traits`]: t-SNE, PCA, k-means and HDBSCAN\* of this crate, to drop into pipelines of linfa.
//!
//! No preset uses them: docs/decisions/0002-own-tsne-and-hdbscan.md says why.

mod kmeans;
pub mod linfa_traits;
mod petal;
mod tsne;

pub use kmeans::{LinfaKMeans, LinfaKMeansConfig};
pub use petal::{PetalHdbscan, PetalHdbscanConfig};
pub use tsne::{LinfaTsne, LinfaTsneConfig};

use crate::error::{Error, Result};
use crate::types::{Matrix, Rng};
use ndarray::{Array2, ArrayBase, Data, Ix2};
use rand::Rng as _;

/// The project's generator behind the trait of the rand version that linfa takes.
#[derive(Clone)]
struct LinfaRng(Rng);

impl rand_core_06::RngCore for LinfaRng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

/// The values in f64, row after row.
fn wide(points: &Matrix) -> Vec<f64> {
    points.as_slice().iter().map(|&x| f64::from(x)).collect()
}

fn array(stage: &str, rows: usize, cols: usize, values: Vec<f64>) -> Result<Array2<f64>> {
    Array2::from_shape_vec((rows, cols), values).map_err(|error| Error::stage(stage, error.to_string()))
}

/// An array of any layout as a matrix.
fn matrix<D: Data<Elem = f32>>(array: &ArrayBase<D, Ix2>) -> Result<Matrix> {
    Matrix::new(array.nrows(), array.ncols(), array.iter().copied().collect())
}
