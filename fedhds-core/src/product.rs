//! Products of f32 matrices, on one thread: whoever wants more splits the rows of the result into blocks of a fixed size, so
//! that bits do not depend on the number of threads.
//!
//! Straight from `gemm`, beside faer's decompositions: what faer adds for small matrices would be a tenth of the library of an
//! edge app (docs/decisions/0007-size.md).

use std::ops::Range;

/// A matrix inside a slice; entry (i, j) stands at `i * row_step + j * column_step`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// Starts at entry (0, 0) and holds every other.
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> View<'a> {
    /// `rows * columns` values, row after row.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { values: &values[..rows * columns], rows, columns, row_step: columns, column_step: 1 }
    }

    /// These rows alone.
    pub(crate) fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows);
        let start = if range.is_empty() { 0 } else { range.start * self.row_step };
        Self { values: self.values.get(start..).unwrap_or(&[]), rows: range.len(), ..self }
    }

    /// These columns alone.
    pub(crate) fn columns(self, range: Range<usize>) -> Self {
        self.transpose().rows(range).transpose()
    }

    pub(crate) fn transpose(self) -> Self {
        let Self { values, rows, columns, row_step, column_step } = self;
        Self { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }

    /// Whether every entry lies in the slice.
    fn holds(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step < self.values.len()
    }
}

/// Writes `left * right`, `[m, k] x [k, n] -> [m, n]`, row after row.
pub(crate) fn product(out: &mut [f32], left: View<'_>, right: View<'_>) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert!(k == right.rows && m * n == out.len() && left.holds() && right.holds());
    if m == 0 || n == 0 || k == 0 {
        out.fill(0.0);
        return;
    }
    // SAFETY: `out` holds `m * n` values, written at `i * n + j`; both views hold their entries, as was just asked, and they
    // are borrowed, so that `out` overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use proptest::prelude::*;

    fn entry(view: &View<'_>, i: usize, j: usize) -> f32 {
        view.values[i * view.row_step + j * view.column_step]
    }

    fn check(left: View<'_>, right: View<'_>) {
        let mut out = vec![f32::NAN; left.rows * right.columns];
        product(&mut out, left, right);
        for i in 0..left.rows {
            for j in 0..right.columns {
                let exact: f64 =
                    (0..left.columns).map(|c| f64::from(entry(&left, i, c)) * f64::from(entry(&right, c, j))).sum();
                let got = f64::from(out[i * right.columns + j]);
                assert!((got - exact).abs() < 1e-4 * (1.0 + exact.abs()), "({i}, {j}): {got} {exact}");
            }
        }
    }

    proptest! {
        #[test]
        fn equals_its_definition(m in 0usize..40, k in 0usize..40, n in 0usize..40, seed: u64) {
            let mut rng = Seed(seed).rng();
            let mut values = |count: usize| (0..count).map(|_| rng.random::<f32>() - 0.5).collect::<Vec<_>>();
            let (a, b, c) = (values(m * k), values(k * n), values(n * k));
            check(View::new(&a, m, k), View::new(&b, k, n));
            check(View::new(&a, m, k), View::new(&c, n, k).transpose());
            check(View::new(&a, m, k).transpose(), View::new(&a, m, k));
            check(View::new(&a, m, k).rows(m / 3..m), View::new(&b, k, n).columns(n / 2..n));
            check(View::new(&a, m, k).columns(k / 2..k), View::new(&c, n, k).columns(k / 2..k).transpose());
        }
    }

    #[test]
    fn views_at_the_end_are_empty() {
        let view = View::new(&[1.0, 2.0], 1, 2);
        check(view.rows(1..1), view.transpose());
        check(view.columns(2..2), view.columns(2..2).transpose());
    }
}
