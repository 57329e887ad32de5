//! The ranges of settings, in the same words wherever they are checked.

use crate::error::{Error, Result};
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// # Errors
/// [`Error::Parameter`] for a count below `least`.
pub(crate) fn at_least(name: &str, value: usize, least: usize) -> Result<()> {
    if value >= least { Ok(()) } else { wrong(name, format!("a whole number of at least {least}"), value) }
}

/// # Errors
/// [`Error::Parameter`] for a count outside of `range`.
pub(crate) fn within(name: &str, value: usize, range: RangeInclusive<usize>) -> Result<()> {
    let expected = || format!("a whole number from {} to {}", range.start(), range.end());
    if range.contains(&value) { Ok(()) } else { wrong(name, expected(), value) }
}

/// # Errors
/// [`Error::Parameter`] for 0, negative numbers, infinity and NaN.
pub(crate) fn above_zero<T: Into<f64> + Debug + Copy>(name: &str, value: T) -> Result<()> {
    real(name, value, |x| x > 0.0, "a number above 0")
}

/// # Errors
/// [`Error::Parameter`] for negative numbers, infinity and NaN.
pub(crate) fn not_negative<T: Into<f64> + Debug + Copy>(name: &str, value: T) -> Result<()> {
    real(name, value, |x| x >= 0.0, "a number of at least 0")
}

/// # Errors
/// [`Error::Parameter`] for numbers outside of [0, 1), and NaN.
pub(crate) fn below_one<T: Into<f64> + Debug + Copy>(name: &str, value: T) -> Result<()> {
    real(name, value, |x| (0.0..1.0).contains(&x), "a number in [0, 1)")
}

/// # Errors
/// [`Error::Parameter`] for numbers outside of (0, 1], and NaN.
pub(crate) fn share<T: Into<f64> + Debug + Copy>(name: &str, value: T) -> Result<()> {
    real(name, value, |x| x > 0.0 && x <= 1.0, "a number in (0, 1]")
}

/// # Errors
/// [`Error::Parameter`] for numbers outside of [0, 1], and NaN.
pub(crate) fn part<T: Into<f64> + Debug + Copy>(name: &str, value: T) -> Result<()> {
    real(name, value, |x| (0.0..=1.0).contains(&x), "a number in [0, 1]")
}

fn real<T: Into<f64> + Debug + Copy>(name: &str, value: T, fits: impl Fn(f64) -> bool, expected: &str) -> Result<()> {
    let number: f64 = value.into();
    match (number.is_finite() && fits(number), number.is_nan()) {
        (true, _) => Ok(()),
        // As TOML, Python and C write it.
        (false, true) => wrong(name, expected, "nan"),
        (false, false) => wrong(name, expected, format!("{value:?}")),
    }
}

fn wrong(name: &str, expected: impl Into<String>, got: impl ToString) -> Result<()> {
    Err(Error::parameter(name, expected, got))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn says(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_value_and_what_was_expected_are_named() {
        assert_eq!(says(at_least("n", 0, 1)), "n: expected a whole number of at least 1, got 0");
        assert_eq!(says(within("n", 5, 1..=4)), "n: expected a whole number from 1 to 4, got 5");
        assert_eq!(says(within("n", 0, 1..=4)), "n: expected a whole number from 1 to 4, got 0");
        assert_eq!(says(above_zero("x", f64::NAN)), "x: expected a number above 0, got nan");
        assert_eq!(says(above_zero("x", f64::INFINITY)), "x: expected a number above 0, got inf");
        assert_eq!(says(above_zero("x", 0.0)), "x: expected a number above 0, got 0.0");
        assert_eq!(says(not_negative("x", -0.1)), "x: expected a number of at least 0, got -0.1");
        assert_eq!(says(below_one("x", 1.0f32)), "x: expected a number in [0, 1), got 1.0");
        assert_eq!(says(part("x", 1.5)), "x: expected a number in [0, 1], got 1.5");
        assert_eq!(says(share("x", 0.0)), "x: expected a number in (0, 1], got 0.0");
        assert_eq!(says(above_zero("x", -1e300)), "x: expected a number above 0, got -1e300");
        // A number of f32 is shown as it was written, not as the nearest of f64.
        assert_eq!(says(above_zero("x", -0.05f32)), "x: expected a number above 0, got -0.05");
    }

    #[test]
    fn the_ends_of_a_range_belong_to_it_as_it_says() {
        let fit = [at_least("n", 1, 1), within("n", 1, 1..=4), within("n", 4, 1..=4), at_least("n", usize::MAX, 1)];
        assert!(fit.iter().all(Result::is_ok));
        let fit = [part("x", 0.0), part("x", 1.0)];
        assert!(fit.iter().all(Result::is_ok));
        let fit = [above_zero("x", f64::MIN_POSITIVE), not_negative("x", 0.0), below_one("x", 0.0), share("x", 1.0)];
        assert!(fit.iter().all(Result::is_ok));
        let out = [above_zero("x", -0.0), below_one("x", f64::NAN), share("x", f64::NAN), not_negative("x", f64::NAN)];
        assert!(out.iter().all(Result::is_err));
    }
}
