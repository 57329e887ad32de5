//! Panels turned, so that a vector holds neighbouring columns of one row: what the way back multiplies with.

use crate::panels::{Lane, ROWS};

/// Columns of a panel, up to [`ROWS`], turned: for each row its values in these columns, zeros behind them.
pub(crate) fn turn(from: &[Lane], to: &mut [Lane; ROWS]) {
    let mut whole = [[0.0; ROWS]; ROWS];
    let from = match from.first_chunk() {
        Some(from) => from,
        None => {
            whole[..from.len()].copy_from_slice(from);
            &whole
        }
    };
    #[cfg(target_arch = "x86_64")]
    if let Some(avx) = x86::available() {
        return avx.turn(from, to);
    }
    for (row, to) in to.iter_mut().enumerate() {
        *to = std::array::from_fn(|column| from[column][row]);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lane, ROWS};
    use pulp::x86::V3;

    use std::arch::x86_64::__m256;

    pub(super) struct Avx(V3);

    /// This machine's vectors of 8, if it has them.
    #[inline]
    pub(super) fn available() -> Option<Avx> {
        V3::try_new().map(Avx)
    }

    struct Turn<'a> {
        from: &'a [Lane; ROWS],
        to: &'a mut [Lane; ROWS],
        simd: V3,
    }

    impl Avx {
        pub(super) fn turn(&self, from: &[Lane; ROWS], to: &mut [Lane; ROWS]) {
            self.0.vectorize(Turn { from, to, simd: self.0 });
        }
    }

    impl pulp::NullaryFnOnce for Turn<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            for (column, row) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                let part: [[f32; 8]; 8] =
                    std::array::from_fn(|i| std::array::from_fn(|j| self.from[column + i][row + j]));
                let turned = eight(self.simd, part.map(pulp::cast));
                for (to, turned) in self.to[row..row + 8].iter_mut().zip(turned) {
                    let turned: [f32; 8] = pulp::cast(turned);
                    to[column..column + 8].copy_from_slice(&turned);
                }
            }
        }
    }

    /// Eight by eight: pairs, then fours, then halves of the vectors.
    #[inline(always)]
    fn eight(simd: V3, a: [__m256; 8]) -> [__m256; 8] {
        let avx = simd.avx;
        let pair = |i: usize| [avx._mm256_unpacklo_ps(a[i], a[i + 1]), avx._mm256_unpackhi_ps(a[i], a[i + 1])];
        let four = |a: [__m256; 2], b: [__m256; 2]| {
            [
                avx._mm256_shuffle_ps::<0x44>(a[0], b[0]),
                avx._mm256_shuffle_ps::<0xee>(a[0], b[0]),
                avx._mm256_shuffle_ps::<0x44>(a[1], b[1]),
                avx._mm256_shuffle_ps::<0xee>(a[1], b[1]),
            ]
        };
        let (low, high) = (four(pair(0), pair(2)), four(pair(4), pair(6)));
        std::array::from_fn(|i| match i {
            0..4 => avx._mm256_permute2f128_ps::<0x20>(low[i], high[i]),
            _ => avx._mm256_permute2f128_ps::<0x31>(low[i - 4], high[i - 4]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_turned() {
        for columns in [1, 7, 16] {
            let from: Vec<Lane> = (0..columns).map(|c| std::array::from_fn(|r| (r * 16 + c) as f32)).collect();
            let mut to = [[9.0; ROWS]; ROWS];
            turn(&from, &mut to);
            for (row, to) in to.iter().enumerate() {
                let expected = |c: usize| if c < columns { (row * 16 + c) as f32 } else { 0.0 };
                assert!((0..ROWS).all(|c| to[c] == expected(c)), "{columns} {row}: {to:?}");
            }
        }
    }
}
