//! How a matrix lies in memory: panels of rows side by side, column after column, so that a vector holds one column's values of a panel.
//!
//! Forms that are shorter than f32 lie in words of 32 bits, each of one row: so many neighbouring columns of it, the first lowest; of block
//! forms, before these, the row's scale. What is decoded at a time is vectors of words.

use crate::form::{BLOCK, Form};
use crate::vector::wide;
use pulp::{Simd, WithSimd};

/// Rows of a panel.
pub(crate) const ROWS: usize = 16;
/// A column's values of a panel.
pub(crate) type Lane = [f32; ROWS];
/// A word of each row of a panel.
pub(crate) type Words = [u32; ROWS];

/// Columns of a word.
fn columns_of_word(form: Form) -> usize {
    match form {
        Form::F32 => 1,
        Form::F16 | Form::Bf16 => 2,
        Form::Q8_0 => 4,
        Form::Q4_0 | Form::Q4_1 => 8,
    }
}

/// Words of so many columns, whole blocks of them.
pub(crate) fn words(form: Form, columns: usize) -> usize {
    let heads = if form.block() > 1 { columns / BLOCK } else { 0 };
    heads + columns.div_ceil(columns_of_word(form))
}

/// Where a word of eight columns has one: the first four in the lower halves of its bytes, so that these are the bytes of four columns.
const fn eighth(column: usize) -> usize {
    8 * (column % 4) + 4 * (column / 4)
}

/// Writes the words of a row in place `lane` of a panel, `stored` as the file has it.
pub(crate) fn interleave(form: Form, stored: &[u8], lane: usize, panel: &mut [Words]) {
    let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let quarters = |panel: &mut [Words], bytes: &[u8]| {
        for (words, bytes) in panel.iter_mut().zip(bytes.as_chunks().0) {
            words[lane] = u32::from_le_bytes(*bytes);
        }
    };
    // Of its half bytes the file has columns 0 to 15 in the lower, 16 to 31 in the upper ones.
    let eighths = |panel: &mut [Words], bytes: &[u8]| {
        for (word, bytes) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let set = |word: u32, shift: u32, (column, byte): (usize, &u8)| {
                word | u32::from((byte >> shift) & 15) << eighth(column)
            };
            let packed = |shift: u32| bytes.iter().enumerate().fold(0, |word, at| set(word, shift, at));
            panel[word][lane] = packed(0);
            panel[word + BLOCK / 16][lane] = packed(4);
        }
    };
    match form {
        Form::F32 => quarters(panel, stored),
        Form::F16 | Form::Bf16 => {
            for (words, columns) in panel.iter_mut().zip(stored.chunks(4)) {
                words[lane] = columns.chunks(2).rev().fold(0, |word, bytes| word << 16 | u32::from(half(bytes)));
            }
        }
        Form::Q8_0 | Form::Q4_0 | Form::Q4_1 => {
            let blocks = panel.chunks_exact_mut(words(form, BLOCK)).zip(stored.chunks_exact(form.block_bytes()));
            for (panel, block) in blocks {
                let (head, columns) = panel.split_at_mut(1);
                match form {
                    Form::Q4_1 => {
                        head[0][lane] = u32::from(half(&block[2..])) << 16 | u32::from(half(block));
                        eighths(columns, &block[4..]);
                    }
                    Form::Q4_0 => {
                        head[0][lane] = half::f16::from_bits(half(block)).to_f32().to_bits();
                        eighths(columns, &block[2..]);
                    }
                    _ => {
                        head[0][lane] = half::f16::from_bits(half(block)).to_f32().to_bits();
                        quarters(columns, &block[2..]);
                    }
                }
            }
        }
    }
}

/// Writes columns of a panel, whole blocks of them.
pub(crate) fn decode(form: Form, panel: &[Words], out: &mut [Lane]) {
    match form {
        Form::F32 => out.copy_from_slice(bytemuck::cast_slice(panel)),
        Form::F16 => wide(Decode::<F16> { panel, out, form: F16 }),
        Form::Bf16 => wide(Decode::<Bf16> { panel, out, form: Bf16 }),
        Form::Q8_0 => wide(Decode::<Q8_0> { panel, out, form: Q8_0 }),
        Form::Q4_0 => wide(Decode::<Q4_0> { panel, out, form: Q4_0 }),
        Form::Q4_1 => wide(Decode::<Q4_1> { panel, out, form: Q4_1 }),
    }
}

/// Of each block of a panel, the factor and the summand of its values.
pub(crate) fn heads(form: Form, panel: &[Words]) -> Vec<[Lane; 2]> {
    let mut heads = vec![[[0.0; ROWS]; 2]; panel.len() / words(form, form.block())];
    match form {
        Form::F32 | Form::F16 | Form::Bf16 => {}
        Form::Q8_0 => wide(Heads { panel, heads: &mut heads, form: Q8_0 }),
        Form::Q4_0 => wide(Heads { panel, heads: &mut heads, form: Q4_0 }),
        Form::Q4_1 => wide(Heads { panel, heads: &mut heads, form: Q4_1 }),
    }
    heads
}

struct Heads<'a, F> {
    panel: &'a [Words],
    heads: &'a mut [[Lane; 2]],
    form: F,
}

impl<F: Words32> WithSimd for Heads<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { panel, heads, form } = self;
        for (block, heads) in panel.chunks_exact(F::HEAD + F::WORDS).zip(heads) {
            for part in 0..ROWS / S::U32_LANES {
                let [scale, least] = form.head(simd, S::as_simd_u32s(&block[0]).0[part]);
                S::as_mut_simd_f32s(&mut heads[0]).0[part] = scale;
                S::as_mut_simd_f32s(&mut heads[1]).0[part] = least;
            }
        }
    }
}

/// How a form's words become values.
trait Words32: Copy {
    /// Words before a block's columns, if there are blocks.
    const HEAD: usize;
    /// Words of a block's columns.
    const WORDS: usize;
    /// Columns of a word.
    const COLUMNS: usize;

    /// What the columns of a block are made with: a factor and a summand. Where there are no blocks it is not looked at.
    #[inline(always)]
    fn head<S: Simd>(self, simd: S, _word: S::u32s) -> [S::f32s; 2] {
        [simd.splat_f32s(0.0); 2]
    }

    /// The value of a word's column.
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, head: [S::f32s; 2]) -> S::f32s;
}

struct Decode<'a, F> {
    panel: &'a [Words],
    out: &'a mut [Lane],
    form: F,
}

impl<F: Words32> WithSimd for Decode<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { panel, out, form } = self;
        let blocks = panel.chunks_exact(F::HEAD + F::WORDS).zip(out.chunks_mut(F::WORDS * F::COLUMNS));
        for (block, out) in blocks {
            let (heads, words) = block.split_at(F::HEAD);
            for part in 0..ROWS / S::U32_LANES {
                let head = form.head(simd, S::as_simd_u32s(heads.first().unwrap_or(&words[0])).0[part]);
                for (word, out) in words.iter().zip(out.chunks_mut(F::COLUMNS)) {
                    let word = S::as_simd_u32s(word).0[part];
                    for (column, out) in out.iter_mut().enumerate() {
                        S::as_mut_simd_f32s(out).0[part] = form.value(simd, word, column, head);
                    }
                }
            }
        }
    }
}

/// The lowest bits of `word >> shift`.
#[inline(always)]
fn bits<S: Simd>(simd: S, word: S::u32s, shift: usize, mask: u32) -> S::u32s {
    let shifted = simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(shift as u32));
    simd.and_u32s(shifted, simd.splat_u32s(mask))
}

/// Small whole numbers less `shift` as f32: set into the last bits of 2^23, which is then taken off.
#[inline(always)]
fn whole<S: Simd>(simd: S, number: S::u32s, shift: f32) -> S::f32s {
    const POWER: f32 = 8_388_608.0;
    let set = simd.or_u32s(number, simd.splat_u32s(POWER.to_bits()));
    simd.sub_f32s(simd.transmute_f32s_u32s(set), simd.splat_f32s(POWER + shift))
}

/// Numbers in half precision, in the lower 16 bits.
#[inline(always)]
fn halves<S: Simd>(simd: S, number: S::u32s) -> S::f32s {
    let sign = simd.wrapping_dyn_shl_u32s(simd.and_u32s(number, simd.splat_u32s(0x8000)), simd.splat_u32s(16));
    let rest = simd.and_u32s(number, simd.splat_u32s(0x7fff));
    // Exponents of f16 begin 112 later than those of f32.
    let moved = simd.wrapping_dyn_shl_u32s(rest, simd.splat_u32s(13));
    let power = simd.splat_f32s(f32::from_bits((127 + 112) << 23));
    let finite = simd.mul_f32s(simd.transmute_f32s_u32s(moved), power);
    let endless = simd.or_u32s(moved, simd.splat_u32s(0x7f80_0000));
    let is_endless = simd.greater_than_u32s(rest, simd.splat_u32s(0x7bff));
    let value = simd.select_u32s(is_endless, endless, simd.transmute_u32s_f32s(finite));
    simd.transmute_f32s_u32s(simd.or_u32s(sign, value))
}

#[derive(Clone, Copy)]
struct F16;
#[derive(Clone, Copy)]
struct Bf16;
#[derive(Clone, Copy)]
struct Q8_0;
#[derive(Clone, Copy)]
struct Q4_0;
#[derive(Clone, Copy)]
struct Q4_1;

impl Words32 for F16 {
    const HEAD: usize = 0;
    const WORDS: usize = 1;
    const COLUMNS: usize = 2;

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, _: [S::f32s; 2]) -> S::f32s {
        halves(simd, bits(simd, word, 16 * column, 0xffff))
    }
}

impl Words32 for Bf16 {
    const HEAD: usize = 0;
    const WORDS: usize = 1;
    const COLUMNS: usize = 2;

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, _: [S::f32s; 2]) -> S::f32s {
        let shifted = simd.wrapping_dyn_shl_u32s(word, simd.splat_u32s(16 * (1 - column as u32)));
        simd.transmute_f32s_u32s(simd.and_u32s(shifted, simd.splat_u32s(0xffff_0000)))
    }
}

impl Words32 for Q8_0 {
    const HEAD: usize = 1;
    const WORDS: usize = BLOCK / 4;
    const COLUMNS: usize = 4;

    #[inline(always)]
    fn head<S: Simd>(self, simd: S, word: S::u32s) -> [S::f32s; 2] {
        [simd.transmute_f32s_u32s(word), simd.splat_f32s(0.0)]
    }

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, head: [S::f32s; 2]) -> S::f32s {
        // From -128 to 127, as 0 to 255.
        let number = simd.xor_u32s(bits(simd, word, 8 * column, 0xff), simd.splat_u32s(0x80));
        simd.mul_f32s(head[0], whole(simd, number, 128.0))
    }
}

impl Words32 for Q4_0 {
    const HEAD: usize = 1;
    const WORDS: usize = BLOCK / 8;
    const COLUMNS: usize = 8;

    #[inline(always)]
    fn head<S: Simd>(self, simd: S, word: S::u32s) -> [S::f32s; 2] {
        [simd.transmute_f32s_u32s(word), simd.splat_f32s(0.0)]
    }

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, head: [S::f32s; 2]) -> S::f32s {
        simd.mul_f32s(head[0], whole(simd, bits(simd, word, eighth(column), 15), 8.0))
    }
}

impl Words32 for Q4_1 {
    const HEAD: usize = 1;
    const WORDS: usize = BLOCK / 8;
    const COLUMNS: usize = 8;

    #[inline(always)]
    fn head<S: Simd>(self, simd: S, word: S::u32s) -> [S::f32s; 2] {
        // No closure: what it calls would not be compiled for the vectors.
        [halves(simd, bits(simd, word, 0, 0xffff)), halves(simd, bits(simd, word, 16, 0xffff))]
    }

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, word: S::u32s, column: usize, head: [S::f32s; 2]) -> S::f32s {
        let scaled = simd.mul_f32s(head[0], whole(simd, bits(simd, word, eighth(column), 15), 0.0));
        simd.add_f32s(scaled, head[1])
    }
}
