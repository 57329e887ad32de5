//! The innermost loop of every product: some packed rows by two panels, with all sums in registers.
//!
//! A sum goes over its terms one after another, each a fused multiplication and addition. So it has the same bits at any vector width, whatever rows
//! and panels are beside it, and however the work is cut.

use crate::panels::{Lane, ROWS};
use crate::scratch;
use crate::threads::{self, Shared};
use crate::vector::wide;
use pulp::{Simd, WithSimd};

/// Rows of a tile at most: what fills the registers.
const MOST: usize = 12;

/// Rows of a group: those whose sums with two vectors fit into the registers of this machine.
fn group() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            if S::F32_LANES == ROWS { MOST } else { MOST / 2 }
        }
    }
    wide(Width)
}

/// Rows of one side of a product, packed for it: groups of rows, each column after column.
#[derive(Debug)]
pub struct Packed {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    group: usize,
}

impl Packed {
    /// Packs `x`, `[rows, columns]`.
    pub fn new(x: &[f32], rows: usize, columns: usize) -> Self {
        assert!(x.len() == rows * columns);
        let group = group();
        let mut values = scratch::take(x.len());
        threads::parts(&mut values, group * columns, |i, to| {
            let from = &x[i * group * columns..][..to.len()];
            wide(
                #[inline(always)]
                || match to.len() / columns {
                    12 => pack::<12>(from, columns, to),
                    11 => pack::<11>(from, columns, to),
                    10 => pack::<10>(from, columns, to),
                    9 => pack::<9>(from, columns, to),
                    8 => pack::<8>(from, columns, to),
                    7 => pack::<7>(from, columns, to),
                    6 => pack::<6>(from, columns, to),
                    5 => pack::<5>(from, columns, to),
                    4 => pack::<4>(from, columns, to),
                    3 => pack::<3>(from, columns, to),
                    2 => pack::<2>(from, columns, to),
                    _ => pack::<1>(from, columns, to),
                },
            );
        });
        Self { values, rows, columns, group }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Gives the buffer back.
    pub fn give(self) {
        scratch::give(self.values);
    }
}

#[inline(always)]
fn pack<const M: usize>(from: &[f32], columns: usize, to: &mut [f32]) {
    let rows: [&[f32]; M] = std::array::from_fn(|row| &from[row * columns..(row + 1) * columns]);
    for (column, to) in to.as_chunks_mut::<M>().0.iter_mut().enumerate() {
        for (to, row) in to.iter_mut().zip(&rows) {
            *to = row[column];
        }
    }
}

/// What two panels give with all rows: `out[row, first + i] = (+=) sum over columns of x[row, column] * panel[column][i]`.
pub(crate) struct Tiles<'a> {
    pub x: &'a Packed,
    /// The first of the columns; the panels have as many as are meant.
    pub from: usize,
    pub panels: [&'a [Lane]; 2],
    pub out: Shared,
    /// Values from a row of `out` to the next.
    pub step: usize,
    pub first: usize,
    /// Columns of `out` that are meant: up to those of the panels.
    pub count: usize,
    /// Whether the sums go on from what is there.
    pub add: bool,
}

impl Tiles<'_> {
    /// Computes them.
    ///
    /// # Safety
    /// No other thread touches these columns of `out`.
    pub(crate) unsafe fn run(self) {
        wide(self);
    }

    #[inline(always)]
    fn group<S: Simd, const M: usize, const V: usize>(&self, simd: S, row: usize) {
        let start = row * self.x.columns + self.from * M;
        let x = self.x.values[start..start + self.panels[0].len() * M].as_chunks::<M>().0;
        let mut sums = [[[0.0f32; ROWS]; 2]; M];
        if self.add {
            for (i, sums) in sums.iter_mut().enumerate() {
                sums.as_flattened_mut()[..self.count].copy_from_slice(self.row(row + i));
            }
        }
        if S::F32_LANES == ROWS {
            both::<S, M, V>(simd, x, self.panels, &mut sums);
        } else {
            one::<S, M, V>(simd, x, self.panels[0], 0, &mut sums);
            if self.count > ROWS {
                one::<S, M, V>(simd, x, self.panels[1], 1, &mut sums);
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            self.row(row + i).copy_from_slice(&sums.as_flattened()[..self.count]);
        }
    }

    /// Of a row of `out`, the columns that are meant.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    fn row(&self, row: usize) -> &mut [f32] {
        // SAFETY: the caller of `run` answers for these columns; no two of these rows live at the same time.
        unsafe { self.out.slice(row * self.step + self.first, self.count) }
    }

    #[inline(always)]
    fn groups<S: Simd, const V: usize>(&self, simd: S) {
        for row in (0..self.x.rows).step_by(self.x.group) {
            match (self.x.rows - row).min(self.x.group) {
                12 => self.group::<S, 12, V>(simd, row),
                11 => self.group::<S, 11, V>(simd, row),
                10 => self.group::<S, 10, V>(simd, row),
                9 => self.group::<S, 9, V>(simd, row),
                8 => self.group::<S, 8, V>(simd, row),
                7 => self.group::<S, 7, V>(simd, row),
                6 => self.group::<S, 6, V>(simd, row),
                5 => self.group::<S, 5, V>(simd, row),
                4 => self.group::<S, 4, V>(simd, row),
                3 => self.group::<S, 3, V>(simd, row),
                2 => self.group::<S, 2, V>(simd, row),
                _ => self.group::<S, 1, V>(simd, row),
            }
        }
    }
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.groups::<S, 1>(simd),
            8 => self.groups::<S, 2>(simd),
            4 => self.groups::<S, 4>(simd),
            2 => self.groups::<S, 8>(simd),
            _ => self.groups::<S, 16>(simd),
        }
    }
}

/// The vectors of a lane.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(lane: &Lane) -> [S::f32s; V] {
    let vectors = S::as_simd_f32s(lane).0;
    std::array::from_fn(|v| vectors[v])
}

#[inline(always)]
fn both<S: Simd, const M: usize, const V: usize>(
    simd: S,
    x: &[[f32; M]],
    panels: [&[Lane]; 2],
    sums: &mut [[Lane; 2]; M],
) {
    let mut wide: [[[S::f32s; V]; 2]; M] =
        std::array::from_fn(|i| std::array::from_fn(|p| vectors::<S, V>(&sums[i][p])));
    for ((x, left), right) in x.iter().zip(panels[0]).zip(panels[1]) {
        let (left, right) = (vectors::<S, V>(left), vectors::<S, V>(right));
        for i in 0..M {
            let x = simd.splat_f32s(x[i]);
            for v in 0..V {
                wide[i][0][v] = simd.mul_add_f32s(x, left[v], wide[i][0][v]);
                wide[i][1][v] = simd.mul_add_f32s(x, right[v], wide[i][1][v]);
            }
        }
    }
    for i in 0..M {
        for p in 0..2 {
            S::as_mut_simd_f32s(&mut sums[i][p]).0.copy_from_slice(&wide[i][p]);
        }
    }
}

#[inline(always)]
fn one<S: Simd, const M: usize, const V: usize>(
    simd: S,
    x: &[[f32; M]],
    panel: &[Lane],
    place: usize,
    sums: &mut [[Lane; 2]; M],
) {
    let mut wide: [[S::f32s; V]; M] = std::array::from_fn(|i| vectors::<S, V>(&sums[i][place]));
    for (x, lane) in x.iter().zip(panel) {
        let lane = vectors::<S, V>(lane);
        for i in 0..M {
            let x = simd.splat_f32s(x[i]);
            for v in 0..V {
                wide[i][v] = simd.mul_add_f32s(x, lane[v], wide[i][v]);
            }
        }
    }
    for i in 0..M {
        S::as_mut_simd_f32s(&mut sums[i][place]).0.copy_from_slice(&wide[i]);
    }
}
