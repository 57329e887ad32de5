//! Frozen weights in the form that a file has them, and their values as f32.

use crate::threads;
use half::f16;
use half::slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _};
use std::borrow::Cow;
use std::ops::Range;

/// How values are stored. The block forms are llama.cpp's (`ggml-quants.c`): 32 values of a row share their scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// 4 bytes a value.
    F32,
    /// IEEE half precision, 2 bytes a value.
    F16,
    /// The upper half of an f32, 2 bytes a value.
    Bf16,
    /// A scale (f16) and 32 bytes: `d * q`, q from -128 to 127.
    Q8_0,
    /// A scale (f16) and 32 half bytes: `d * (q - 8)`.
    Q4_0,
    /// A scale and a smallest value (f16) and 32 half bytes: `d * q + m`.
    Q4_1,
}

/// Values of a block.
const BLOCK: usize = 32;

impl Form {
    /// Values that are stored together; a row is whole blocks.
    pub fn block(self) -> usize {
        match self {
            Form::F32 | Form::F16 | Form::Bf16 => 1,
            Form::Q8_0 | Form::Q4_0 | Form::Q4_1 => BLOCK,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Form::F32 => 4,
            Form::F16 | Form::Bf16 => 2,
            Form::Q8_0 => 34,
            Form::Q4_0 => 18,
            Form::Q4_1 => 20,
        }
    }

    /// Bytes of a row of so many values; none where they are no whole blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        columns.is_multiple_of(self.block()).then(|| columns / self.block() * self.block_bytes())
    }

    fn decode(self, stored: &[u8], out: &mut [f32]) {
        // A vector of bytes promises no alignment, though every allocator gives it.
        fn halves(stored: &[u8]) -> Cow<'_, [u16]> {
            let copied = || stored.as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect();
            bytemuck::try_cast_slice(stored).map_or_else(|_| Cow::Owned(copied()), Cow::Borrowed)
        }
        match self {
            Form::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(stored),
            Form::F16 => halves(stored).reinterpret_cast::<f16>().convert_to_f32_slice(out),
            Form::Bf16 => {
                for (out, &bits) in out.iter_mut().zip(&*halves(stored)) {
                    *out = f32::from_bits(u32::from(bits) << 16);
                }
            }
            Form::Q8_0 => blocks::<34>(stored, out, |block, out| {
                let scale = half(block, 0);
                for (out, &q) in out.iter_mut().zip(&block[2..]) {
                    *out = scale * f32::from(q as i8);
                }
            }),
            Form::Q4_0 => blocks::<18>(stored, out, |block, out| {
                let scale = half(block, 0);
                let (low, high) = out.split_at_mut(BLOCK / 2);
                for ((low, high), &q) in low.iter_mut().zip(high).zip(&block[2..]) {
                    *low = scale * f32::from((q & 15) as i8 - 8);
                    *high = scale * f32::from((q >> 4) as i8 - 8);
                }
            }),
            Form::Q4_1 => blocks::<20>(stored, out, |block, out| {
                let (scale, least) = (half(block, 0), half(block, 2));
                let (low, high) = out.split_at_mut(BLOCK / 2);
                for ((low, high), &q) in low.iter_mut().zip(high).zip(&block[4..]) {
                    *low = f32::from(q & 15) * scale + least;
                    *high = f32::from(q >> 4) * scale + least;
                }
            }),
        }
    }
}

/// The f16 at a place of a block, in line: the crate `half` asks at each call what the processor can do, which took longer than the 32 values
/// behind it.
#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let (sign, rest) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // Exponents of f16 begin 112 later than those of f32.
    let finite = f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23);
    let value = if rest < 0x7c00 { finite.to_bits() } else { 0x7f80_0000 | (rest & 0x3ff) << 13 };
    f32::from_bits(sign | value)
}

fn blocks<const N: usize>(stored: &[u8], out: &mut [f32], decode: impl Fn(&[u8; N], &mut [f32; BLOCK])) {
    crate::vector::wide(
        #[inline(always)]
        || {
            for (block, out) in stored.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
                decode(block, out);
            }
        },
    );
}

/// A frozen matrix, row after row.
#[derive(Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    form: Form,
    values: Values,
}

#[derive(Clone, PartialEq)]
enum Values {
    Plain(Vec<f32>),
    Stored(Vec<u8>),
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} x {}, {:?})", self.rows, self.columns, self.form)
    }
}

impl Matrix {
    /// A matrix of f32; none where `values` are not `rows * columns`.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Option<Self> {
        let fits = rows.checked_mul(columns) == Some(values.len());
        fits.then_some(Self { rows, columns, form: Form::F32, values: Values::Plain(values) })
    }

    /// A matrix as it is stored, little endian; none where `bytes` are not those of `rows * columns` values.
    pub fn stored(rows: usize, columns: usize, form: Form, bytes: Vec<u8>) -> Option<Self> {
        let fits = form.row_bytes(columns)?.checked_mul(rows) == Some(bytes.len());
        if form == Form::F32 {
            let values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            return fits.then(|| values.collect()).and_then(|values| Self::new(rows, columns, values));
        }
        fits.then_some(Self { rows, columns, form, values: Values::Stored(bytes) })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How the values are stored.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Plain(values) => values.len() * 4,
            Values::Stored(bytes) => bytes.len(),
        }
    }

    /// The values of these rows, `[range.len(), columns]`: as they lie there, or written to `scratch`.
    pub fn plain<'a>(&'a self, range: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        match &self.values {
            Values::Plain(values) => &values[range.start * self.columns..range.end * self.columns],
            Values::Stored(_) => {
                // No value is read that `decode` did not write.
                scratch.resize(range.len() * self.columns, 0.0);
                self.decode(range, scratch);
                scratch
            }
        }
    }

    /// Writes the values of these rows, `[range.len(), columns]`.
    pub fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        assert!(range.end <= self.rows && out.len() == range.len() * self.columns);
        match &self.values {
            Values::Plain(values) => out.copy_from_slice(&values[range.start * self.columns..range.end * self.columns]),
            Values::Stored(bytes) => {
                let row = self.columns / self.form.block() * self.form.block_bytes();
                let rows = threads::light_rows(self.columns);
                threads::parts(out, rows * self.columns, |i, out| {
                    let first = range.start + i * rows;
                    let count = out.len() / self.columns.max(1);
                    self.form.decode(&bytes[first * row..(first + count) * row], out);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn every_form_is_read() {
        let half = |value: f32| f16::from_f32(value).to_le_bytes();
        let decoded = |form: Form, rows: usize, columns: usize, bytes: Vec<u8>| {
            let matrix = Matrix::stored(rows, columns, form, bytes).unwrap();
            assert_eq!((matrix.rows(), matrix.columns(), matrix.form()), (rows, columns, form));
            let mut all = vec![f32::NAN; rows * columns];
            matrix.decode(0..rows, &mut all);
            let mut scratch = Vec::new();
            let last = matrix.plain(rows - 1..rows, &mut scratch);
            assert_eq!(last, &all[(rows - 1) * columns..]);
            all
        };
        let values = [1.0f32, -2.5, 0.0, 65504.0];
        let bytes = |of: &dyn Fn(f32) -> Vec<u8>| values.iter().flat_map(|&v| of(v)).collect::<Vec<u8>>();
        assert_eq!(decoded(Form::F32, 2, 2, bytes(&|v| v.to_le_bytes().to_vec())), values);
        assert_eq!(decoded(Form::F16, 2, 2, bytes(&|v| half(v).to_vec())), values);
        let short = [1.0f32, -2.5, 0.0, 1024.0];
        let stored = short.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(decoded(Form::Bf16, 2, 2, stored), short);

        let q8: Vec<u8> = (0..2)
            .flat_map(|row| [half(0.5 + row as f32).to_vec(), (0..32).map(|i| (i * 9) as u8).collect()].concat())
            .collect();
        let expected = |row: usize, i: usize| (0.5 + row as f32) * f32::from((i * 9) as u8 as i8);
        let all = decoded(Form::Q8_0, 2, 32, q8);
        assert!((0..64).all(|at| all[at] == expected(at / 32, at % 32)));

        let nibbles: Vec<u8> = (0..16).map(|i| (i | (15 - i) << 4) as u8).collect();
        let all = decoded(Form::Q4_0, 1, 32, [half(0.25).to_vec(), nibbles.clone()].concat());
        assert!((0..16).all(|i| all[i] == 0.25 * (i as f32 - 8.0) && all[16 + i] == 0.25 * (7.0 - i as f32)));
        let all = decoded(Form::Q4_1, 1, 32, [half(0.25).to_vec(), half(-1.0).to_vec(), nibbles].concat());
        assert!((0..16).all(|i| all[i] == 0.25 * i as f32 - 1.0 && all[16 + i] == 0.25 * (15.0 - i as f32) - 1.0));
    }

    #[test]
    fn halves_are_read_as_they_are() {
        for bits in 0..=u16::MAX {
            let (got, exact) = (half(&bits.to_le_bytes(), 0), f16::from_bits(bits).to_f32());
            assert!(got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan(), "{bits:x}: {got} {exact}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_none() {
        assert!(Matrix::new(2, 3, vec![0.0; 5]).is_none() && Matrix::new(usize::MAX, 2, Vec::new()).is_none());
        assert!(Matrix::stored(1, 33, Form::Q8_0, vec![0; 34]).is_none());
        assert!(Matrix::stored(1, 32, Form::Q8_0, vec![0; 33]).is_none());
        assert!(Matrix::stored(usize::MAX, 32, Form::Q8_0, vec![0; 34]).is_none());
        assert_eq!(Matrix::stored(0, 32, Form::Q4_1, Vec::new()).unwrap().bytes(), 0);
    }
}
