//! The instructions of x86 that multiply bytes: AVX-512's VNNI, and what AVX2 has in its place.

use super::{Lanes, Tile, panel};
use crate::panels::{Lane, ROWS, Words};
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// What this machine has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Have {
    Vnni,
    Avx2,
    Neither,
}

/// Asks the processor once.
pub(super) fn available() -> Have {
    static HAVE: OnceLock<Have> = OnceLock::new();
    *HAVE.get_or_init(|| {
        let vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            true if vnni => Have::Vnni,
            true => Have::Avx2,
            false => Have::Neither,
        }
    })
}

/// # Safety
/// The machine has AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
pub(super) unsafe fn with_vnni(whole: &Tile<'_>, write: impl FnMut(usize, &[Lane])) {
    // SAFETY: the caller's.
    unsafe { panel(Vnni, whole, write) }
}

/// # Safety
/// The machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn with_avx2(whole: &Tile<'_>, write: impl FnMut(usize, &[Lane])) {
    // SAFETY: the caller's.
    unsafe { panel(Avx2, whole, write) }
}

#[derive(Clone, Copy)]
struct Vnni;

// All of it is inlined into `with_vnni`.
impl Lanes for Vnni {
    const PARTS: usize = 1;
    const SHIFT: i32 = 128;
    type I = __m512i;
    type F = __m512;

    #[inline(always)]
    unsafe fn load(self, words: &Words, _: usize) -> __m512i {
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn splat(self, word: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(word) }
    }

    #[inline(always)]
    unsafe fn low(self, words: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(words, _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn high(self, words: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(_mm512_srli_epi32::<4>(words), _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn moved(self, words: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(words, _mm512_set1_epi8(-128)) }
    }

    #[inline(always)]
    unsafe fn dot_small(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn dot(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn to_f32(self, numbers: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(numbers) }
    }

    #[inline(always)]
    unsafe fn splat_f32(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_f32(self, lane: &Lane, _: usize) -> __m512 {
        unsafe { _mm512_loadu_ps(lane.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store_f32(self, values: __m512, lane: &mut Lane, _: usize) {
        unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), values) }
    }

    #[inline(always)]
    unsafe fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

#[derive(Clone, Copy)]
struct Avx2;

/// The first value of a part.
const fn at(part: usize) -> usize {
    assert!(part < 2);
    part * (ROWS / 2)
}

// All of it is inlined into `with_avx2`.
impl Lanes for Avx2 {
    const PARTS: usize = 2;
    const SHIFT: i32 = 0;
    type I = __m256i;
    type F = __m256;

    #[inline(always)]
    unsafe fn load(self, words: &Words, part: usize) -> __m256i {
        unsafe { _mm256_loadu_si256(words[at(part)..].as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn splat(self, word: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(word) }
    }

    #[inline(always)]
    unsafe fn low(self, words: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(words, _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn high(self, words: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(_mm256_srli_epi32::<4>(words), _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    unsafe fn moved(self, words: __m256i) -> __m256i {
        words
    }

    #[inline(always)]
    unsafe fn dot_small(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // Pairs are at most 2 x 15 x 127: 16 bits hold them.
        unsafe {
            let pairs = _mm256_maddubs_epi16(a, b);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn dot(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // One side without its sign, which the other takes over: pairs are at most 2 x 128 x 127.
        unsafe { self.dot_small(sum, _mm256_sign_epi8(a, a), _mm256_sign_epi8(b, a)) }
    }

    #[inline(always)]
    unsafe fn to_f32(self, numbers: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(numbers) }
    }

    #[inline(always)]
    unsafe fn splat_f32(self, value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_f32(self, lane: &Lane, part: usize) -> __m256 {
        unsafe { _mm256_loadu_ps(lane[at(part)..].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store_f32(self, values: __m256, lane: &mut Lane, part: usize) {
        unsafe { _mm256_storeu_ps(lane[at(part)..].as_mut_ptr(), values) }
    }

    #[inline(always)]
    unsafe fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
}
