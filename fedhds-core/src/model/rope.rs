//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864): the tables of a batch, from the frequencies of [`RopeConfig`](super::RopeConfig).

use super::device::Device;
use super::tensor::{Tensor, like};
use crate::error::Result;

/// Cosines and sines of a batch's positions, written out for every head: a product of two full rows is much faster than one
/// that is broadcast over a middle dimension.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[b or 1, t * heads * head_dim]`.
    cos: Tensor<2>,
    /// As `cos`, for the rotated half; the sign of the first half is folded in.
    sin: Tensor<2>,
}

impl RopeTable {
    /// The table of `positions` (`[b * t]`, row after row) for `heads` heads. One row serves all where they agree.
    ///
    /// # Errors
    /// [`crate::Error::Input`] when `positions` are not `rows` equal rows.
    pub fn new(positions: &[usize], rows: usize, heads: usize, frequencies: &[f32], device: &Device) -> Result<Self> {
        let width = positions.len().checked_div(rows).unwrap_or(0);
        let shared = width > 0 && positions.chunks_exact(width).all(|row| row == &positions[..width]);
        let (rows, positions) = if shared { (1, &positions[..width]) } else { (rows, positions) };
        let half = frequencies.len();
        let mut cos = Vec::with_capacity(positions.len() * heads * half * 2);
        let mut sin = Vec::with_capacity(cos.capacity());
        let (mut one_cos, mut one_sin) = (vec![0.0; half * 2], vec![0.0; half * 2]);
        for &position in positions {
            for (i, frequency) in frequencies.iter().enumerate() {
                let (s, c) = (position as f32 * frequency).sin_cos();
                (one_cos[i], one_cos[half + i]) = (c, c);
                (one_sin[i], one_sin[half + i]) = (-s, s);
            }
            for _ in 0..heads {
                cos.extend_from_slice(&one_cos);
                sin.extend_from_slice(&one_sin);
            }
        }
        let shape = [rows, width * heads * half * 2];
        Ok(Self { cos: device.tensor(cos, shape)?, sin: device.tensor(sin, shape)? })
    }

    /// Rotates the heads `x` (`[b, t, heads, head_dim]`), pairing element i with element i + head_dim / 2.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, t, heads, dim] = x.dims();
        let flat = [b, t * heads * dim];
        let half = dim / 2;
        let swapped = Tensor::cat(vec![x.clone().narrow(3, half, half), x.clone().narrow(3, 0, half)], 3);
        let cos = like(self.cos.clone(), &x);
        let sin = like(self.sin.clone(), &x);
        (x.reshape(flat) * cos + swapped.reshape(flat) * sin).reshape([b, t, heads, dim])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::RopeConfig;
    use crate::model::tensor::to_vec;

    #[test]
    fn rotation_keeps_lengths_and_depends_on_distance_only() {
        let device = Device::cpu();
        let frequencies = RopeConfig::default().frequencies(4);
        let dot = |p: usize, q: usize| {
            let table = RopeTable::new(&[p, q], 1, 1, &frequencies, &device).unwrap();
            let x = device.tensor(vec![1.0, 2.0, 3.0, 4.0, 0.5, -1.0, 2.0, 1.0], [1, 2, 1, 4]).unwrap();
            let y = to_vec(table.apply(x)).unwrap();
            let norm: f32 = y[..4].iter().map(|v| v * v).sum();
            assert!((norm - 30.0).abs() < 1e-4, "{norm}");
            y[..4].iter().zip(&y[4..]).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((dot(3, 7) - dot(10, 14)).abs() < 1e-4);
        assert!((dot(3, 7) - dot(3, 8)).abs() > 1e-3);
    }
}
