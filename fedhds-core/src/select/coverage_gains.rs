//! Bounds from above on the gains of saturated coverage.
//!
//! A gain is `sum_i left_i (1 - 2^-s(i, j))`. The f32 product of two rows of length 1 is off by at most `(d + 8)` roundoffs; with
//! the cosine that much larger, and `1 - e^-x` by its series up to `x^7`, which ends above it, the same sum bounds the gain from
//! above. All rows at once share each product where they are the targets too.

use super::bounds::{LANES, ROUNDOFF, larger, smaller};
use super::tiles::{SQUARE, STRIP, SUM, TILE, pairs};
use crate::error::Result;
use crate::loops;
use crate::product::{View, product};
use crate::types::{Context, Matrix};
use std::ops::Range;

/// The least that is left at a target, in parts of the most, so that no term but 0 falls below f32's range.
const LEAST: f32 = 1e-20;

/// From the product of two rows to a bound on `1 - 2^-s`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    slope: f32,
    offset: f32,
    most: f32,
}

impl Curve {
    /// For rows of so many columns.
    pub(super) fn new(threshold: f32, columns: usize) -> Self {
        let threshold = f64::from(threshold);
        let slope = std::f64::consts::LN_2 / (1.0 - threshold);
        let error = (columns + 8) as f64 * ROUNDOFF * 1.02;
        Self {
            slope: slope as f32,
            // Eight roundoffs of the slope for what f32 makes of the line.
            offset: ((error + 8.0 * ROUNDOFF - threshold) * slope) as f32,
            most: (std::f64::consts::LN_2 * (1.0 + 4.0 * ROUNDOFF)) as f32,
        }
    }

    /// `s ln 2`, from above; 0 only where the similarity is 0.
    #[inline(always)]
    fn similarity(self, product: f32) -> f32 {
        smaller(larger(product * self.slope + self.offset, 0.0), self.most)
    }

    /// Whether the similarity may be above 0.
    #[inline(always)]
    pub(super) fn similar(self, product: f32) -> bool {
        self.similarity(product) > 0.0
    }

    #[inline(always)]
    fn term(self, product: f32) -> f32 {
        let x = self.similarity(product);
        let series = 1.0 / 720.0 - x * (1.0 / 5040.0);
        let series = 1.0 / 120.0 - x * series;
        let series = 1.0 / 24.0 - x * series;
        let series = 1.0 / 6.0 - x * series;
        let series = 0.5 - x * series;
        x * (1.0 - x * series)
    }
}

/// Inner products of some rows of one matrix with some of another: `[left, right]`.
pub(super) fn products(out: &mut [f32], left: &Matrix, rows: Range<usize>, right: &Matrix, columns: Range<usize>) {
    let view = |matrix: &'_ Matrix| (matrix.rows(), matrix.cols());
    let ((m, d), (n, _)) = (view(left), view(right));
    let (left, right) = (View::new(left.as_slice(), m, d), View::new(right.as_slice(), n, d));
    product(out, left.rows(rows), right.rows(columns).transpose());
}

/// See the head of this file.
pub(super) struct Gains<'a> {
    pub rows: &'a Matrix,
    /// None where they are the rows.
    pub others: Option<&'a Matrix>,
    pub curve: Curve,
    /// What is left at each target in parts of the most, rounded up.
    left: Vec<f32>,
    most: f64,
}

impl<'a> Gains<'a> {
    pub(super) fn new(rows: &'a Matrix, others: Option<&'a Matrix>, curve: Curve, left: &[f64]) -> Self {
        let mut gains = Self { rows, others, curve, left: Vec::new(), most: 0.0 };
        gains.set(left);
        gains
    }

    /// Takes over what is left.
    pub(super) fn set(&mut self, left: &[f64]) {
        self.most = left.iter().copied().fold(0.0, f64::max);
        let most = if self.most > 0.0 { self.most } else { 1.0 };
        let up = |&left: &f64| {
            if left > 0.0 { ((left / most * (1.0 + 2.0 * ROUNDOFF)) as f32).max(LEAST) } else { 0.0 }
        };
        self.left.clear();
        self.left.extend(left.iter().map(up));
    }

    fn targets(&self) -> &'a Matrix {
        self.others.unwrap_or(self.rows)
    }

    fn bound(&self, sum: f64) -> f64 {
        sum * (1.0 + SUM) * self.most
    }

    /// Bounds for every row.
    pub(super) fn all(&self, context: &Context) -> Result<Vec<f64>> {
        if self.others.is_some() {
            return self.some(&(0..self.rows.rows()).collect::<Vec<usize>>(), context);
        }
        let products = |out: &mut [f32], rows: Range<usize>, columns: Range<usize>| {
            products(out, self.rows, rows, self.rows, columns);
        };
        let both = |products: &[f32], row: usize, columns: Range<usize>, across: &mut [f32]| {
            self.both(products, self.left[row], &self.left[columns], across)
        };
        let sums = pairs(self.rows.rows(), &products, &both, context)?;
        Ok(sums.into_iter().map(|sum| self.bound(sum)).collect())
    }

    /// Bounds for these rows.
    pub(super) fn some(&self, rows: &[usize], context: &Context) -> Result<Vec<f64>> {
        let mut bounds = Vec::with_capacity(rows.len());
        let (targets, d) = (self.targets(), self.rows.cols());
        for rows in rows.chunks(SQUARE) {
            let left: Vec<f32> = rows.iter().flat_map(|&row| self.rows.row(row)).copied().collect();
            let left = View::new(&left, rows.len(), d);
            let right = View::new(targets.as_slice(), targets.rows(), d);
            let strips = loops::try_map(targets.rows().div_ceil(STRIP), 1, |strip| {
                let mut sums = vec![0.0f64; rows.len()];
                let mut out = vec![0.0f32; rows.len() * TILE];
                let end = targets.rows().min((strip + 1) * STRIP);
                for start in (strip * STRIP..end).step_by(TILE) {
                    context.control.check()?;
                    let range = start..end.min(start + TILE);
                    let out = &mut out[..rows.len() * range.len()];
                    product(out, left, right.rows(range.clone()).transpose());
                    for (products, sum) in out.chunks_exact(range.len()).zip(&mut sums) {
                        *sum += self.one(products, &self.left[range.clone()]);
                    }
                }
                Ok(sums)
            })?;
            bounds.extend((0..rows.len()).map(|at| self.bound(strips.iter().map(|strip| strip[at]).sum())));
        }
        Ok(bounds)
    }

    /// The targets to which the row may be similar, ascending.
    pub(super) fn support(&self, row: usize) -> Vec<u32> {
        let targets = self.targets();
        let strips = loops::map(targets.rows().div_ceil(STRIP), 1, |strip| {
            let range = strip * STRIP..targets.rows().min((strip + 1) * STRIP);
            let mut out = vec![0.0; range.len()];
            products(&mut out, self.rows, row..row + 1, targets, range.clone());
            let near = range.zip(out).filter(|(_, product)| self.curve.similar(*product));
            near.map(|(i, _)| i as u32).collect::<Vec<u32>>()
        });
        strips.concat()
    }

    /// What a row with these products gains at targets where so much is left; and each of these, in `across`, where `own` is left.
    fn both(&self, products: &[f32], own: f32, left: &[f32], across: &mut [f32]) -> f64 {
        let across = &mut across[..products.len()];
        let ((p, p_rest), (l, l_rest)) = (products.as_chunks::<LANES>(), left.as_chunks::<LANES>());
        let (x, x_rest) = across.as_chunks_mut::<LANES>();
        let mut lanes = [0.0f32; LANES];
        for ((p, l), x) in p.iter().zip(l).zip(x) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                let term = self.curve.term(p[lane]);
                *sum += l[lane] * term;
                x[lane] += own * term;
            }
        }
        for (lane, x) in x_rest.iter_mut().enumerate() {
            let term = self.curve.term(p_rest[lane]);
            lanes[lane] += l_rest[lane] * term;
            *x += own * term;
        }
        lanes.into_iter().map(f64::from).sum()
    }

    /// What a row with these products gains at targets where so much is left.
    fn one(&self, products: &[f32], left: &[f32]) -> f64 {
        let ((p, p_rest), (l, l_rest)) = (products.as_chunks::<LANES>(), left.as_chunks::<LANES>());
        let mut lanes = [0.0f32; LANES];
        for (p, l) in p.iter().zip(l) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += l[lane] * self.curve.term(p[lane]);
            }
        }
        for (lane, (&p, l)) in p_rest.iter().zip(l_rest).enumerate() {
            lanes[lane] += l * self.curve.term(p);
        }
        lanes.into_iter().map(f64::from).sum()
    }
}
