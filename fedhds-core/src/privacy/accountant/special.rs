//! Functions that an accountant needs, in logarithms where their values leave the range of f64.

use libm::{erfc, lgamma};
use std::f64::consts::{PI, SQRT_2};

/// `ln(e^a + e^b)`.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY { large } else { large + (small - large).exp().ln_1p() }
}

/// `ln(e^a - e^b)` for `a >= b`; minus infinity where they are equal.
pub(super) fn log_sub(a: f64, b: f64) -> f64 {
    match (a, b) {
        (a, b) if b == f64::NEG_INFINITY => a,
        (a, b) if a <= b => f64::NEG_INFINITY,
        (a, b) => a + (-(b - a).exp_m1()).ln(),
    }
}

/// `ln C(n, k)` for whole numbers.
pub(super) fn log_choose(n: f64, k: f64) -> f64 {
    lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0)
}

/// `ln erfc(x)`, also where erfc is below the smallest f64.
pub(super) fn log_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return erfc(x).ln();
    }
    // erfc(x) = exp(-x^2) / (x sqrt(pi)) * (1 - 1/(2 x^2) + 3/(4 x^4) - 15/(8 x^6) + ..): the next term is below 1e-9 here, of the sum.
    let s = 1.0 / (2.0 * x * x);
    let series = -s * (1.0 - 3.0 * s * (1.0 - 5.0 * s * (1.0 - 7.0 * s)));
    -x * x - (x * PI.sqrt()).ln() + series.ln_1p()
}

/// The standard normal distribution function.
pub(super) fn normal(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

/// `ln` of it.
pub(super) fn log_normal(x: f64) -> f64 {
    log_erfc(-x / SQRT_2) - std::f64::consts::LN_2
}

/// The mass of the standard normal between two points, `a <= b`, exact in its relative size in both tails.
pub(super) fn normal_between(a: f64, b: f64) -> f64 {
    if a > 0.0 {
        return (0.5 * (erfc(a / SQRT_2) - erfc(b / SQRT_2))).max(0.0);
    }
    (normal(b) - normal(a)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_tables() {
        // Abramowitz and Stegun, and mpmath.
        for (x, expected) in [(-1.0, 0.158_655_253_931_457_05), (0.0, 0.5), (2.0, 0.977_249_868_051_820_8)] {
            assert!((normal(x) - expected).abs() < 1e-15, "{x}");
        }
        for (x, expected) in [
            (1.0, -1.849_605_509_933_248_2),
            (19.99, -403.168_944_452_249_8),
            (20.0, -403.569_343_334_104_23),
            (100.0, -10_005.177_585_122_664),
        ] {
            assert!((log_erfc(x) / expected - 1.0).abs() < 1e-12, "{x}: {}", log_erfc(x));
        }
        assert!((log_erfc(20.0 - 1e-12) - log_erfc(20.0)).abs() < 1e-9, "both sides meet");
        assert!((log_choose(10.0, 3.0) - 120f64.ln()).abs() < 1e-12);
        assert!((log_add(1.0, 2.0) - (1f64.exp() + 2f64.exp()).ln()).abs() < 1e-15);
        assert!((log_sub(2.0, 1.0) - (2f64.exp() - 1f64.exp()).ln()).abs() < 1e-14);
        assert_eq!((log_sub(1.0, 1.0), log_add(f64::NEG_INFINITY, 3.0)), (f64::NEG_INFINITY, 3.0));
        assert!((normal_between(8.0, 9.0) - 6.219_831_985_865_5e-16).abs() < 1e-24);
        assert!((normal_between(-1.0, 1.0) - 0.682_689_492_137_085_9).abs() < 1e-15);
    }
}
