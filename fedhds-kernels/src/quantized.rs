//! Rows in 8 bits: blocks of 32 numbers share a scale, as the block forms of weights do (llama.cpp's Q8_0).

use crate::form::BLOCK;
use crate::threads;

/// 32 numbers of a row: `scale * q`, q from -127 to 127.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Block {
    /// Four q in each, the first in the lowest byte.
    pub words: [i32; BLOCK / 4],
    /// Not a number where one of the 32 is none, or is infinite.
    pub scale: f32,
    /// The sum of the q.
    pub sum: i32,
}

/// Rows of one side of a product in 8 bits.
#[derive(Debug)]
pub struct Quantized {
    pub(crate) blocks: Vec<Block>,
    rows: usize,
    columns: usize,
}

impl Quantized {
    /// Rounds `x`, `[rows, columns]`, columns a multiple of 32.
    pub fn new(x: &[f32], rows: usize, columns: usize) -> Self {
        assert!(x.len() == rows * columns && columns.is_multiple_of(BLOCK));
        let mut blocks = vec![Block::default(); x.len() / BLOCK];
        let size = threads::LIGHT / BLOCK;
        threads::parts(&mut blocks, size, |i, blocks| {
            let x = x[i * size * BLOCK..].as_chunks::<BLOCK>().0;
            crate::vector::wide(
                #[inline(always)]
                || blocks.iter_mut().zip(x).for_each(|(block, x)| *block = rounded(x)),
            );
        });
        Self { blocks, rows, columns }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

#[inline(always)]
fn rounded(x: &[f32; BLOCK]) -> Block {
    let (mut most, mut wrong) = ([0.0f32; 16], [0.0f32; 16]);
    for x in x.as_chunks::<16>().0 {
        for i in 0..16 {
            most[i] = if x[i].abs() > most[i] { x[i].abs() } else { most[i] };
            // 0 of every number; what is not finite stays so.
            wrong[i] += x[i] * 0.0;
        }
    }
    let most = most.iter().fold(0.0f32, |most, &x| if x > most { x } else { most });
    let factor = if most > 0.0 { 127.0 / most } else { 0.0 };
    let mut q = [0i32; BLOCK];
    for (q, x) in q.iter_mut().zip(x) {
        // Rounded by the last bits of a large number: ties go to even.
        let shifted = x * factor + 12_582_912.0;
        *q = (shifted.to_bits() as i32).wrapping_sub(12_582_912.0f32.to_bits() as i32).clamp(-127, 127);
    }
    let mut words = [0i32; BLOCK / 4];
    for (word, q) in words.iter_mut().zip(q.as_chunks::<4>().0) {
        *word = (q[0] & 255) | (q[1] & 255) << 8 | (q[2] & 255) << 16 | q[3] << 24;
    }
    Block { words, scale: most / 127.0 + wrong.iter().sum::<f32>(), sum: q.iter().sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let x: Vec<f32> =
            (0..192).map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0 * if i < 96 { 1.0 } else { 1e-6 }).collect();
        let quantized = Quantized::new(&x, 2, 96);
        assert_eq!((quantized.rows(), quantized.columns()), (2, 96));
        for (block, x) in quantized.blocks.iter().zip(x.chunks(32)) {
            let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            assert!((block.scale - most / 127.0).abs() <= 1e-7 * most);
            let q: Vec<i32> =
                block.words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| i32::from(byte as i8)).collect();
            assert_eq!(q.iter().sum::<i32>(), block.sum);
            assert!(q.iter().zip(x).all(|(q, x)| (*q as f32 * block.scale - x).abs() <= 0.501 * block.scale));
        }
        assert_eq!(Quantized::new(&[0.0; 32], 1, 32).blocks[0], Block::default());
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 32];
            x[7] = wrong;
            assert!(Quantized::new(&x, 1, 32).blocks[0].scale.is_nan());
        }
    }
}
