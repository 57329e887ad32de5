//! Products of rows in 8 bits with weights in blocks: whole numbers within a block, f32 between blocks.
//!
//! What comes out has the same bits with and without the instructions that this is written for: whole numbers have no rounding, and blocks are
//! added one after another.

use crate::form::{BLOCK, Form};
use crate::matrix::Matrix;
use crate::panels::{Lane, ROWS, Words};
use crate::quantized::{Block, Quantized};
use crate::threads::{self, Shared};

/// Vectors of whole numbers, of a panel's rows or of half of them.
trait Lanes: Copy {
    /// Vectors of a panel.
    const PARTS: usize;
    /// What weights of 8 bits are moved up by.
    const SHIFT: i32;
    /// Whole numbers of 32 bits.
    type I: Copy;
    /// f32.
    type F: Copy;

    /// Part of words.
    unsafe fn load(self, words: &Words, part: usize) -> Self::I;
    unsafe fn splat(self, word: i32) -> Self::I;
    /// The lower half of each byte.
    unsafe fn low(self, words: Self::I) -> Self::I;
    /// The upper half of each byte.
    unsafe fn high(self, words: Self::I) -> Self::I;
    /// Bytes with a sign, moved up by [`SHIFT`](Self::SHIFT).
    unsafe fn moved(self, words: Self::I) -> Self::I;
    /// `sum + a . b` of each word's bytes, a from 0 to 15.
    unsafe fn dot_small(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// `sum + a . b` of each word's bytes, a [`moved`](Self::moved).
    unsafe fn dot(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    unsafe fn to_f32(self, numbers: Self::I) -> Self::F;
    unsafe fn splat_f32(self, value: f32) -> Self::F;
    unsafe fn load_f32(self, lane: &Lane, part: usize) -> Self::F;
    unsafe fn store_f32(self, values: Self::F, lane: &mut Lane, part: usize);
    unsafe fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
}

/// What [`tile`] multiplies: a panel's words with some rows.
struct Tile<'a> {
    form: Form,
    panel: &'a [Words],
    /// Scales and least values of each block of the panel.
    heads: &'a [[Lane; 2]],
    rows: &'a [Block],
    blocks: usize,
}

/// The sums of `M` rows with a part of a panel.
#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize>(lanes: L, tile: &Tile<'_>, part: usize, out: &mut [Lane]) {
    let words = tile.panel.len() / tile.blocks;
    // SAFETY: whoever calls has what `lanes` needs.
    unsafe {
        let mut sums = [lanes.splat_f32(0.0); M];
        for (at, (panel, heads)) in tile.panel.chunks_exact(words).zip(tile.heads).enumerate() {
            let (scale, least) = (lanes.load_f32(&heads[0], part), lanes.load_f32(&heads[1], part));
            let mut weights = [lanes.splat(0); BLOCK / 4];
            if tile.form == Form::Q8_0 {
                for (weights, words) in weights.iter_mut().zip(&panel[1..]) {
                    *weights = lanes.moved(lanes.load(words, part));
                }
            } else {
                for (weights, words) in weights.as_chunks_mut::<2>().0.iter_mut().zip(&panel[1..]) {
                    let words = lanes.load(words, part);
                    *weights = [lanes.low(words), lanes.high(words)];
                }
            }
            let shift = match tile.form {
                Form::Q8_0 => L::SHIFT,
                Form::Q4_0 => 8,
                _ => 0,
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = &tile.rows[row * tile.blocks + at];
                let mut sum = lanes.splat(-shift * x.sum);
                for (&weights, &word) in weights.iter().zip(&x.words) {
                    let x = lanes.splat(word);
                    sum = match tile.form {
                        Form::Q8_0 => lanes.dot(sum, weights, x),
                        _ => lanes.dot_small(sum, weights, x),
                    };
                }
                let scaled = lanes.mul(lanes.to_f32(sum), scale);
                *sums = lanes.mul_add(scaled, lanes.splat_f32(x.scale), *sums);
                if tile.form == Form::Q4_1 {
                    *sums = lanes.mul_add(least, lanes.splat_f32(x.scale * x.sum as f32), *sums);
                }
            }
        }
        for row in 0..M {
            lanes.store_f32(sums[row], &mut out[row], part);
        }
    }
}

/// The sums of all rows with a panel, handed to `write` with the number of the first of them.
#[inline(always)]
unsafe fn panel<L: Lanes>(lanes: L, whole: &Tile<'_>, mut write: impl FnMut(usize, &[Lane])) {
    let mut out = [[0.0; ROWS]; 16];
    let rows = whole.rows.len() / whole.blocks;
    let mut first = 0;
    while first < rows {
        let left = rows - first;
        let count = [16, 8, 4, 2].into_iter().find(|count| *count <= left).unwrap_or(1);
        let part_of = Tile { rows: &whole.rows[first * whole.blocks..(first + count) * whole.blocks], ..*whole };
        for part in 0..L::PARTS {
            // SAFETY: whoever calls has what `lanes` needs.
            unsafe {
                match count {
                    16 => tile::<L, 16>(lanes, &part_of, part, &mut out),
                    8 => tile::<L, 8>(lanes, &part_of, part, &mut out),
                    4 => tile::<L, 4>(lanes, &part_of, part, &mut out),
                    2 => tile::<L, 2>(lanes, &part_of, part, &mut out),
                    _ => tile::<L, 1>(lanes, &part_of, part, &mut out),
                }
            }
        }
        write(first, &out[..count]);
        first += count;
    }
}

/// Any machine.
#[derive(Clone, Copy)]
struct Portable;

impl Lanes for Portable {
    const PARTS: usize = 1;
    const SHIFT: i32 = 0;
    type I = [i32; ROWS];
    type F = Lane;

    #[inline(always)]
    unsafe fn load(self, words: &Words, _: usize) -> [i32; ROWS] {
        words.map(|word| word as i32)
    }

    #[inline(always)]
    unsafe fn splat(self, word: i32) -> [i32; ROWS] {
        [word; ROWS]
    }

    #[inline(always)]
    unsafe fn low(self, words: [i32; ROWS]) -> [i32; ROWS] {
        words.map(|word| word & 0x0f0f_0f0f)
    }

    #[inline(always)]
    unsafe fn high(self, words: [i32; ROWS]) -> [i32; ROWS] {
        words.map(|word| (word >> 4) & 0x0f0f_0f0f)
    }

    #[inline(always)]
    unsafe fn moved(self, words: [i32; ROWS]) -> [i32; ROWS] {
        words
    }

    #[inline(always)]
    unsafe fn dot_small(self, sum: [i32; ROWS], a: [i32; ROWS], b: [i32; ROWS]) -> [i32; ROWS] {
        // SAFETY: nothing is needed.
        unsafe { self.dot(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn dot(self, mut sum: [i32; ROWS], a: [i32; ROWS], b: [i32; ROWS]) -> [i32; ROWS] {
        for shift in [24, 16, 8, 0] {
            for lane in 0..ROWS {
                sum[lane] += ((a[lane] << shift) >> 24) * ((b[lane] << shift) >> 24);
            }
        }
        sum
    }

    #[inline(always)]
    unsafe fn to_f32(self, numbers: [i32; ROWS]) -> Lane {
        numbers.map(|number| number as f32)
    }

    #[inline(always)]
    unsafe fn splat_f32(self, value: f32) -> Lane {
        [value; ROWS]
    }

    #[inline(always)]
    unsafe fn load_f32(self, lane: &Lane, _: usize) -> Lane {
        *lane
    }

    #[inline(always)]
    unsafe fn store_f32(self, values: Lane, lane: &mut Lane, _: usize) {
        *lane = values;
    }

    #[inline(always)]
    unsafe fn mul(self, a: Lane, b: Lane) -> Lane {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Lane, b: Lane, c: Lane) -> Lane {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

/// Writes the sums of all rows with a panel, by the best instructions of this machine.
fn best(whole: &Tile<'_>, write: impl FnMut(usize, &[Lane])) {
    #[cfg(target_arch = "x86_64")]
    match x86::available() {
        // SAFETY: this machine has them.
        x86::Have::Vnni => return unsafe { x86::with_vnni(whole, write) },
        // SAFETY: this machine has them.
        x86::Have::Avx2 => return unsafe { x86::with_avx2(whole, write) },
        x86::Have::Neither => {}
    }
    // SAFETY: nothing is needed.
    unsafe { panel(Portable, whole, write) }
}

/// `out = x w^T` with rows in 8 bits, of a matrix in blocks.
///
/// # Shapes
/// - x: `[m, columns]`
/// - w: `[rows, columns]`, its form one of blocks
/// - out: `[m, rows]`
pub fn forward(x: &Quantized, w: &Matrix, out: &mut [f32]) {
    let (m, n, k) = (x.rows(), w.rows(), w.columns());
    assert!(x.columns() == k && out.len() == m * n && w.form().block() == BLOCK);
    if k == 0 || m == 0 {
        return out.fill(0.0);
    }
    let shared = Shared::new(out);
    threads::each(n.div_ceil(ROWS), m * n * k / 2, |number| {
        let (first, blocks) = (number * ROWS, k / BLOCK);
        let count = (n - first).min(ROWS);
        let (panel, heads) = w.blocks(number);
        let tile = Tile { form: w.form(), panel, heads: &heads, rows: &x.blocks, blocks };
        best(&tile, |row, lanes| {
            for (i, lane) in lanes.iter().enumerate() {
                // SAFETY: these columns are this thread's.
                unsafe { shared.slice((row + i) * n + first, count) }.copy_from_slice(&lane[..count]);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn matrix(form: Form, rows: usize, columns: usize) -> Matrix {
        let block = |at: usize| {
            let half = |value: f32| f16::from_f32(value).to_le_bytes();
            let mut bytes = half(0.01 + (at % 7) as f32 / 100.0).to_vec();
            if form == Form::Q4_1 {
                bytes.extend(half((at % 5) as f32 / 50.0 - 0.05));
            }
            let items = form.block_bytes() - bytes.len();
            bytes.extend((0..items).map(|i| (i * 37 + at * 11 + i * i) as u8));
            bytes
        };
        let bytes: Vec<u8> = (0..rows * columns / 32).flat_map(block).collect();
        Matrix::stored(rows, columns, form, &bytes).unwrap()
    }

    #[test]
    fn products_are_those_of_the_rounded_rows_at_any_instructions() {
        for form in [Form::Q8_0, Form::Q4_0, Form::Q4_1] {
            for (m, n, k) in [(1, 5, 32), (7, 16, 64), (31, 37, 320), (64, 256, 320)] {
                let x: Vec<f32> = (0..m * k).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect();
                let (x, w) = (Quantized::new(&x, m, k), matrix(form, n, k));
                let mut plain = vec![0.0; n * k];
                w.decode(0..n, &mut plain);
                let run = |threads: usize| {
                    let mut out = vec![f32::NAN; m * n];
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| forward(&x, &w, &mut out));
                    out
                };
                let out = run(1);
                let number = |row: usize, c: usize| {
                    let block = &x.blocks[row * k / 32 + c / 32];
                    f64::from(block.words[c % 32 / 4].to_le_bytes()[c % 4] as i8) * f64::from(block.scale)
                };
                for (at, got) in out.iter().enumerate() {
                    let (row, j) = (at / n, at % n);
                    let exact: f64 = (0..k).map(|c| number(row, c) * f64::from(plain[j * k + c])).sum();
                    assert!((f64::from(*got) - exact).abs() < 1e-3, "{form:?} {m} {n} {k}: {got} {exact}");
                }
                assert!(run(3) == out);
                for panel_number in 0..n.div_ceil(16) {
                    let (words, heads) = w.blocks(panel_number);
                    let tile = Tile { form, panel: words, heads: &heads, rows: &x.blocks, blocks: k / 32 };
                    let count = (n - panel_number * 16).min(16);
                    let check = |row: usize, lanes: &[Lane]| {
                        for (i, lane) in lanes.iter().enumerate() {
                            let expected = &out[(row + i) * n + panel_number * 16..][..count];
                            assert_eq!(&lane[..count], expected, "{form:?}");
                        }
                    };
                    // SAFETY: nothing is needed.
                    unsafe { panel(Portable, &tile, check) };
                    #[cfg(target_arch = "x86_64")]
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: this machine has them.
                        unsafe { x86::with_avx2(&tile, check) };
                    }
                }
            }
        }
    }
}
