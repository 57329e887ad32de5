//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), pairing element i of a head with element i + dim / 2.

use crate::threads;
use crate::vector::wide;

/// Cosines and sines of some tokens' positions.
#[derive(Debug, Clone)]
pub struct Rotation {
    half: usize,
    /// For each token the cosines, then the sines, `[tokens, 2 * half]`.
    table: Vec<f32>,
}

impl Rotation {
    /// Of these positions, with the frequencies of the first half of a head.
    pub fn new(positions: impl IntoIterator<Item = usize>, frequencies: &[f32]) -> Self {
        let mut table = Vec::new();
        for position in positions {
            let angles = frequencies.iter().map(|frequency| (position as f32 * frequency).sin_cos());
            let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.unzip();
            table.extend(cosines);
            table.extend(sines);
        }
        Self { half: frequencies.len(), table }
    }

    /// Rotates every head of every token.
    ///
    /// # Shapes
    /// - x: `[tokens, heads * 2 * half]`
    pub fn apply(&self, x: &mut [f32], heads: usize) {
        self.turn(x, heads, 1.0);
    }

    /// Carries a gradient back through [`apply`](Self::apply): the rotation the other way.
    pub fn undo(&self, x: &mut [f32], heads: usize) {
        self.turn(x, heads, -1.0);
    }

    fn turn(&self, x: &mut [f32], heads: usize, sign: f32) {
        let (half, dim) = (self.half, 2 * self.half);
        let width = heads * dim;
        assert!(width > 0 && x.len() * dim == self.table.len() * width);
        let rows = threads::light_rows(width);
        threads::parts(x, rows * width, |i, x| {
            for (x, table) in x.chunks_exact_mut(width).zip(self.table[i * rows * dim..].chunks_exact(dim)) {
                let (cosines, sines) = table.split_at(half);
                for head in x.chunks_exact_mut(dim) {
                    let (first, second) = head.split_at_mut(half);
                    wide(
                        #[inline(always)]
                        || {
                            for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                                let (x, y, sin) = (*a, *b, sign * sin);
                                *a = x * cos - y * sin;
                                *b = y * cos + x * sin;
                            }
                        },
                    );
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_undone() {
        let rotation = Rotation::new([0, 3, 1000], &[1.0, 0.01, 0.3]);
        let x: Vec<f32> = (0..3 * 12).map(|i| i as f32 - 9.0).collect();
        let mut turned = x.clone();
        rotation.apply(&mut turned, 2);
        assert_eq!(turned[..12], x[..12]);
        let (sin, cos) = 3f32.sin_cos();
        assert!((turned[12] - (x[12] * cos - x[15] * sin)).abs() < 1e-5);
        assert!((turned[15] - (x[15] * cos + x[12] * sin)).abs() < 1e-5);
        rotation.undo(&mut turned, 2);
        assert!(x.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}
