//! The fast Fourier transform of a power of two, for distributions that are added up.

use std::f64::consts::PI;

/// A complex number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Complex {
    pub(super) re: f64,
    pub(super) im: f64,
}

impl Complex {
    fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    /// The n-th power by squaring.
    pub(super) fn power(self, mut n: u64) -> Self {
        let (mut out, mut base) = (Self { re: 1.0, im: 0.0 }, self);
        while n > 0 {
            if n & 1 == 1 {
                out = out.times(base);
            }
            base = base.times(base);
            n >>= 1;
        }
        out
    }

    pub(super) fn product(self, other: Self) -> Self {
        self.times(other)
    }
}

/// The transform in place (Cooley and Tukey 1965); `values` has a power of two of them. The inverse is not divided by their number.
pub(super) fn transform(values: &mut [Complex], inverse: bool) {
    let n = values.len();
    if n < 2 {
        return;
    }
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            values.swap(i, j);
        }
    }
    // Roots by their own angle each: products of roots would lose digits.
    let sign = if inverse { 1.0 } else { -1.0 };
    let roots: Vec<Complex> = (0..n / 2)
        .map(|k| {
            let angle = sign * 2.0 * PI * k as f64 / n as f64;
            Complex { re: angle.cos(), im: angle.sin() }
        })
        .collect();
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (first, second) = block.split_at_mut(half);
            for (k, (a, b)) in first.iter_mut().zip(second).enumerate() {
                let turned = b.times(roots[k * stride]);
                (*a, *b) = (
                    Complex { re: a.re + turned.re, im: a.im + turned.im },
                    Complex { re: a.re - turned.re, im: a.im - turned.im },
                );
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolutions_are_those_of_the_definition_and_back_is_the_same() {
        let n = 16;
        let of = |f: fn(usize) -> f64| (0..n).map(|i| Complex { re: f(i), im: 0.0 }).collect::<Vec<_>>();
        let (x, y) = (of(|i| (i * 7 % 5) as f64), of(|i| (i % 3) as f64 - 1.0));
        let (mut a, mut b) = (x.clone(), y.clone());
        transform(&mut a, false);
        transform(&mut b, false);
        let mut c: Vec<Complex> = a.iter().zip(&b).map(|(a, b)| a.product(*b)).collect();
        transform(&mut c, true);
        for (k, got) in c.iter().enumerate() {
            let expected: f64 = (0..n).map(|i| x[i].re * y[(k + n - i) % n].re).sum();
            assert!((got.re / n as f64 - expected).abs() < 1e-12 && got.im.abs() < 1e-10);
        }
        transform(&mut a, true);
        assert!(a.iter().zip(&x).all(|(a, x)| (a.re / n as f64 - x.re).abs() < 1e-13));
        let i = Complex { re: 0.0, im: 1.0 };
        assert_eq!(i.power(6), Complex { re: -1.0, im: 0.0 });
    }
}
