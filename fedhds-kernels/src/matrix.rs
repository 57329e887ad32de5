//! Frozen weights in the form that a file has them, and their values as f32.

use crate::form::Form;
use crate::panels::{self, Lane, ROWS, Words};
use crate::threads;
use std::ops::Range;

/// A frozen matrix.
#[derive(Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    form: Form,
    /// Panels one after another; the rows that the last lacks are zeros.
    words: Vec<Words>,
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} x {}, {:?})", self.rows, self.columns, self.form)
    }
}

impl Matrix {
    /// A matrix of f32, row after row; none where `values` are not `rows * columns`.
    pub fn new(rows: usize, columns: usize, values: &[f32]) -> Option<Self> {
        // The words of a form are little endian, numbers in memory as the machine has them.
        let bytes: Vec<u8>;
        let stored = if cfg!(target_endian = "little") {
            bytemuck::cast_slice(values)
        } else {
            bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            &bytes
        };
        Self::stored(rows, columns, Form::F32, stored)
    }

    /// A matrix as it is stored, little endian, row after row; none where `bytes` are not those of `rows * columns` values.
    pub fn stored(rows: usize, columns: usize, form: Form, bytes: &[u8]) -> Option<Self> {
        let row = form.row_bytes(columns)?;
        if row.checked_mul(rows) != Some(bytes.len()) {
            return None;
        }
        let count = panels::words(form, columns);
        let mut words = vec![[0; ROWS]; rows.div_ceil(ROWS) * count];
        threads::parts(&mut words, count, |panel, to| {
            let rows = bytes[panel * ROWS * row..].chunks_exact(row).take(ROWS);
            rows.enumerate().for_each(|(lane, row)| panels::interleave(form, row, lane, to));
        });
        Some(Self { rows, columns, form, words })
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
        size_of_val(&self.words[..])
    }

    /// A panel as it lies.
    fn panel(&self, number: usize) -> &[Words] {
        let count = panels::words(self.form, self.columns);
        &self.words[number * count..(number + 1) * count]
    }

    /// Some columns of a panel, beginning with a block's first: as they lie there, or written to `room`.
    pub(crate) fn lanes<'a>(&'a self, panel: usize, columns: Range<usize>, room: &'a mut [Lane]) -> &'a [Lane] {
        let words_of = |columns: usize| panels::words(self.form, columns);
        let words = &self.panel(panel)[words_of(columns.start)..words_of(columns.end)];
        if self.form == Form::F32 {
            return bytemuck::cast_slice(words);
        }
        let room = &mut room[..columns.len()];
        panels::decode(self.form, words, room);
        room
    }

    /// A panel of a block form as it lies, and the scales and least values of its blocks.
    pub(crate) fn blocks(&self, panel: usize) -> (&[Words], Vec<[Lane; 2]>) {
        let panel = self.panel(panel);
        (panel, panels::heads(self.form, panel))
    }

    /// Writes the values of these rows, `[range.len(), columns]`.
    pub fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        assert!(range.end <= self.rows && out.len() == range.len() * self.columns);
        let mut room = vec![[0.0; ROWS]; self.columns];
        let mut lanes: &[Lane] = &[];
        for (row, out) in range.clone().zip(out.chunks_exact_mut(self.columns.max(1))) {
            if row == range.start || row.is_multiple_of(ROWS) {
                lanes = self.lanes(row / ROWS, 0..self.columns, &mut room);
            }
            out.iter_mut().zip(lanes).for_each(|(to, lane)| *to = lane[row % ROWS]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn every_form_is_read() {
        let half = |value: f32| f16::from_f32(value).to_le_bytes();
        let decoded = |form: Form, rows: usize, columns: usize, bytes: Vec<u8>| {
            let matrix = Matrix::stored(rows, columns, form, &bytes).unwrap();
            assert_eq!((matrix.rows(), matrix.columns(), matrix.form()), (rows, columns, form));
            let mut all = vec![f32::NAN; rows * columns];
            matrix.decode(0..rows, &mut all);
            let mut last = vec![f32::NAN; columns];
            matrix.decode(rows - 1..rows, &mut last);
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

        // More rows than a panel has, and more blocks than one.
        let (rows, columns) = (37, 96);
        let scale = |row: usize, block: usize| 0.5 + row as f32 + block as f32 / 4.0;
        let block = |at: usize| (at / 3, at % 3);
        let all_blocks = |of: &dyn Fn(usize, usize) -> Vec<u8>| {
            (0..rows * 3).flat_map(|at| of(block(at).0, block(at).1)).collect::<Vec<u8>>()
        };
        let check = |got: &[f32], expected: &dyn Fn(usize, usize, usize) -> f32| {
            for (at, got) in got.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                assert_eq!(*got, expected(row, column / 32, column % 32), "{row} {column}");
            }
        };
        let byte = |row: usize, block: usize, i: usize| (i * 9 + row * 5 + block * 3) as u8;
        let q8 =
            all_blocks(&|row, b| [half(scale(row, b)).to_vec(), (0..32).map(|i| byte(row, b, i)).collect()].concat());
        let of_q8 = |row: usize, b: usize, i: usize| scale(row, b) * f32::from(byte(row, b, i) as i8);
        check(&decoded(Form::Q8_0, rows, columns, q8), &of_q8);
        let nibbles = |row: usize, b: usize| (0..16).map(|i| byte(row, b, i)).collect::<Vec<u8>>();
        let nibble = |row: usize, b: usize, i: usize| {
            let byte = byte(row, b, i % 16);
            f32::from(if i < 16 { byte & 15 } else { byte >> 4 })
        };
        let q4 = all_blocks(&|row, b| [half(scale(row, b)).to_vec(), nibbles(row, b)].concat());
        let of_q4 = |row: usize, b: usize, i: usize| scale(row, b) * (nibble(row, b, i) - 8.0);
        check(&decoded(Form::Q4_0, rows, columns, q4), &of_q4);
        let heads = |row: usize, b: usize| [half(scale(row, b)), half(-(b as f32))].concat();
        let q4 = all_blocks(&|row, b| [heads(row, b), nibbles(row, b)].concat());
        let of_q4 = |row: usize, b: usize, i: usize| nibble(row, b, i) * scale(row, b) - b as f32;
        check(&decoded(Form::Q4_1, rows, columns, q4), &of_q4);
    }

    #[test]
    fn halves_are_read_as_they_are() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let matrix = Matrix::stored(32, 2048, Form::F16, &all).unwrap();
        let mut values = vec![0.0; 1 << 16];
        matrix.decode(0..32, &mut values);
        for (bits, got) in (0..=u16::MAX).zip(values) {
            let exact = f16::from_bits(bits).to_f32();
            assert!(got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan(), "{bits:x}: {got} {exact}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_none() {
        assert!(Matrix::new(2, 3, &[0.0; 5]).is_none() && Matrix::new(usize::MAX, 2, &[]).is_none());
        assert!(Matrix::stored(1, 33, Form::Q8_0, &[0; 34]).is_none());
        assert!(Matrix::stored(1, 32, Form::Q8_0, &[0; 33]).is_none());
        assert!(Matrix::stored(usize::MAX, 32, Form::Q8_0, &[0; 34]).is_none());
        assert_eq!(Matrix::stored(0, 32, Form::Q4_1, &[]).unwrap().bytes(), 0);
        assert_eq!(Matrix::new(3, 0, &[]).unwrap().bytes(), 0);
    }
}
