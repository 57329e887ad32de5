//! Loops over single rows, compiled for each vector width and chosen at run time.

use pulp::{Arch, Simd, WithSimd};

/// Runs `op` with the widest vectors of this machine.
#[inline(always)]
pub(crate) fn wide<Op: WithSimd>(op: Op) -> Op::Output {
    thread_local!(static ARCH: Arch = Arch::new());
    ARCH.with(|arch| arch.dispatch(op))
}

/// The dot products of `row` with so many others.
struct Dots<'a, const N: usize> {
    row: &'a [f32],
    others: [&'a [f32]; N],
}

impl<const N: usize> WithSimd for Dots<'_, N> {
    type Output = [f32; N];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; N] {
        let (row, row_tail) = S::as_simd_f32s(self.row);
        let others = self.others.map(|other| S::as_simd_f32s(&other[..self.row.len()]));
        // Two sums each: a sum waits for itself.
        let zero = simd.splat_f32s(0.0);
        let (mut even, mut odd) = ([zero; N], [zero; N]);
        let pairs = row.len() / 2;
        for pair in 0..pairs {
            let (a, b) = (row[2 * pair], row[2 * pair + 1]);
            for i in 0..N {
                even[i] = simd.mul_add_f32s(a, others[i].0[2 * pair], even[i]);
                odd[i] = simd.mul_add_f32s(b, others[i].0[2 * pair + 1], odd[i]);
            }
        }
        let mut dots = [0.0; N];
        for i in 0..N {
            if row.len() % 2 == 1 {
                even[i] = simd.mul_add_f32s(row[row.len() - 1], others[i].0[row.len() - 1], even[i]);
            }
            let tail: f32 = row_tail.iter().zip(others[i].1).map(|(a, b)| a * b).sum();
            dots[i] = simd.reduce_sum_f32s(simd.add_f32s(even[i], odd[i])) + tail;
        }
        dots
    }
}

/// The dot product of two rows of one length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    wide(Dots { row: a, others: [b] })[0]
}

/// Writes the dot products of `row` with each of `count` rows of `others`, `[count, row.len()]`, to `out[i * step]`.
pub(crate) fn dots(row: &[f32], others: &[f32], count: usize, out: &mut [f32], step: usize) {
    wide(ManyDots { row, others, count, out, step });
}

struct ManyDots<'a> {
    row: &'a [f32],
    others: &'a [f32],
    count: usize,
    out: &'a mut [f32],
    step: usize,
}

impl WithSimd for ManyDots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, others, count, out, step } = self;
        let width = row.len();
        let other = |i: usize| &others[i * width..(i + 1) * width];
        let mut i = 0;
        while i + 4 <= count {
            let found = Dots { row, others: [other(i), other(i + 1), other(i + 2), other(i + 3)] }.with_simd(simd);
            found.iter().enumerate().for_each(|(j, &dot)| out[(i + j) * step] = dot);
            i += 4;
        }
        while i < count {
            out[i * step] = Dots { row, others: [other(i)] }.with_simd(simd)[0];
            i += 1;
        }
    }
}

/// `out += sum over j of factors[j] * rows[j]`, rows `[factors.len(), out.len()]`.
pub(crate) fn add_scaled(out: &mut [f32], factors: &[f32], rows: &[f32]) {
    wide(AddScaled { out, factors, rows });
}

struct AddScaled<'a> {
    out: &'a mut [f32],
    factors: &'a [f32],
    rows: &'a [f32],
}

impl AddScaled<'_> {
    #[inline(always)]
    fn rows<S: Simd, const N: usize>(simd: S, out: &mut [f32], factors: [f32; N], rows: &[f32]) {
        let width = out.len();
        let rows: [_; N] = std::array::from_fn(|j| S::as_simd_f32s(&rows[j * width..(j + 1) * width]));
        let wide = factors.map(|factor| simd.splat_f32s(factor));
        let (body, tail) = S::as_mut_simd_f32s(out);
        for (at, value) in body.iter_mut().enumerate() {
            for j in 0..N {
                *value = simd.mul_add_f32s(wide[j], rows[j].0[at], *value);
            }
        }
        for (at, value) in tail.iter_mut().enumerate() {
            for j in 0..N {
                *value += factors[j] * rows[j].1[at];
            }
        }
    }
}

impl WithSimd for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, factors, rows } = self;
        let width = out.len();
        let (eights, rest) = factors.as_chunks::<8>();
        for (i, &factors) in eights.iter().enumerate() {
            Self::rows(simd, out, factors, &rows[i * 8 * width..]);
        }
        let rows = &rows[eights.len() * 8 * width..];
        for (j, &factor) in rest.iter().enumerate() {
            Self::rows(simd, out, [factor], &rows[j * width..]);
        }
    }
}

/// Sums and maxima go through so many places side by side.
const LANES: usize = 16;

/// The largest value; negative infinity of none.
pub(crate) fn largest(row: &[f32]) -> f32 {
    wide(
        #[inline(always)]
        || {
            let (body, tail) = row.as_chunks::<LANES>();
            let mut most = [f32::NEG_INFINITY; LANES];
            for values in body {
                for (most, &value) in most.iter_mut().zip(values) {
                    *most = if value > *most { value } else { *most };
                }
            }
            most.iter().chain(tail).fold(f32::NEG_INFINITY, |most, &value| if value > most { value } else { most })
        },
    )
}

/// Replaces each value by e^(value - shift); returns their sum.
pub(crate) fn exponentials(row: &mut [f32], shift: f32) -> f32 {
    wide(Exponentials { row: &mut *row, shift });
    wide(
        #[inline(always)]
        || {
            let (body, tail) = row.as_chunks::<LANES>();
            let mut sums = [0.0f32; LANES];
            for values in body {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += *value;
                }
            }
            sums.iter().chain(tail).sum()
        },
    )
}

struct Exponentials<'a> {
    row: &'a mut [f32],
    shift: f32,
}

impl WithSimd for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let shift = simd.splat_f32s(self.shift);
        let (body, tail) = S::as_mut_simd_f32s(self.row);
        for value in body {
            *value = exp(simd, simd.sub_f32s(*value, shift));
        }
        if !tail.is_empty() {
            let value = simd.partial_load_f32s(tail);
            simd.partial_store_f32s(tail, exp(simd, simd.sub_f32s(value, shift)));
        }
    }
}

/// Multiplies each value.
pub(crate) fn scale(row: &mut [f32], factor: f32) {
    wide(
        #[inline(always)]
        || row.iter_mut().for_each(|value| *value *= factor),
    );
}

/// e^x, within 2 units in the last place of f32 from -87 to 88; 0 below, and infinity above.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Cody and Waite: x = n ln 2 + r with |r| <= ln 2 / 2, then a polynomial (Cephes' expf).
    let clamped = simd.max_f32s(simd.min_f32s(x, simd.splat_f32s(88.0)), simd.splat_f32s(-87.3));
    // Whole numbers stand in the last bits of this sum.
    let magic = simd.splat_f32s(12_582_912.0);
    let whole = simd.mul_add_f32s(clamped, simd.splat_f32s(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(whole, magic);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-0.693_359_4), clamped);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(2.121_944_4e-4), r);
    let mut p = simd.splat_f32s(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_f32s(p, r, simd.splat_f32s(coefficient));
    }
    let value = simd.add_f32s(simd.mul_add_f32s(simd.mul_f32s(p, r), r, r), simd.splat_f32s(1.0));
    // 2^n: its bits are those of n in the exponent's place.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(whole), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    let scaled = simd.mul_f32s(value, simd.transmute_f32s_u32s(power));
    let below = simd.less_than_f32s(x, simd.splat_f32s(-87.3));
    let above = simd.greater_than_f32s(x, simd.splat_f32s(88.0));
    let known = simd.equal_f32s(x, x);
    let scaled = simd.select_f32s(below, simd.splat_f32s(0.0), scaled);
    let scaled = simd.select_f32s(above, simd.splat_f32s(f32::INFINITY), scaled);
    simd.select_f32s(known, scaled, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near() {
        let mut values: Vec<f32> = (0..13_500).map(|i| -87.0 + i as f32 * 0.013).filter(|x| *x < 88.0).collect();
        let exact: Vec<f64> = values.iter().map(|&x| f64::from(x).exp()).collect();
        let sum = exponentials(&mut values.clone(), 88.0);
        exponentials(&mut values, 0.0);
        for (got, exact) in values.iter().zip(&exact) {
            assert!((f64::from(*got) - exact).abs() < 3e-7 * exact, "{got} {exact}");
        }
        assert!((f64::from(sum) / (exact.iter().sum::<f64>() * (-88f64).exp()) - 1.0).abs() < 1e-5);
        // Whole vectors and single values alike.
        for count in [1, 40] {
            let of = |x: f32, shift: f32| {
                let mut row = vec![x; count];
                exponentials(&mut row, shift);
                assert!(row.iter().all(|value| value.to_bits() == row[0].to_bits()));
                row[0]
            };
            assert_eq!((of(3.0, 3.0), of(-1e30, 0.0), of(f32::NEG_INFINITY, 0.0)), (1.0, 0.0, 0.0));
            assert!(of(f32::INFINITY, 0.0) == f32::INFINITY && of(f32::NAN, 0.0).is_nan());
        }
    }

    #[test]
    fn rows_of_any_length_are_summed_whole() {
        for width in 0..70 {
            let values: Vec<f32> = (0..11 * width).map(|i| ((i * 7 % 13) as f32 - 6.0) / 8.0).collect();
            let (row, others) = values.split_at(width);
            let mut found = vec![f32::NAN; 20];
            dots(row, others, 10, &mut found, 2);
            let exact = |i: usize| row.iter().zip(&others[i * width..]).map(|(a, b)| a * b).sum::<f32>();
            assert!((0..10).all(|i| (found[2 * i] - exact(i)).abs() < 1e-4), "{width}");
            assert_eq!(dot(row, &others[..width]), found[0]);
            let factors: Vec<f32> = (0..10).map(|i| i as f32 - 4.0).collect();
            let mut sum = row.to_vec();
            add_scaled(&mut sum, &factors, others);
            for at in 0..width {
                let exact = row[at] + (0..10).map(|i| factors[i] * others[i * width + at]).sum::<f32>();
                assert!((sum[at] - exact).abs() < 1e-4, "{width}");
            }
        }
    }
}
