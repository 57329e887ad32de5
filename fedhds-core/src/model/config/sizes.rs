//! Ranges that every family's numbers have, so that no product of two of them overflows and none asks for memory that no file fills.

use crate::error::{Error, Result};

/// Most layers of a model; published ones have up to some 130.
pub(super) const MOST_LAYERS: usize = 16_384;
/// Largest other size.
const LARGEST: usize = i32::MAX as usize;

/// Checks sizes by name: each at least 1, and no larger than any model's.
///
/// # Errors
/// [`Error::Parameter`] with the first out of range.
pub(super) fn check_sizes(sizes: &[(&str, usize)]) -> Result<()> {
    for &(name, value) in sizes {
        if value == 0 {
            return Err(Error::parameter(name, "at least 1", 0));
        }
        if value > LARGEST {
            return Err(Error::parameter(name, format!("at most {LARGEST}"), value));
        }
    }
    Ok(())
}

/// Checks a number of layers.
///
/// # Errors
/// As [`check_sizes`].
pub(super) fn check_layers(name: &str, layers: usize) -> Result<()> {
    match layers {
        0 => Err(Error::parameter(name, "at least 1", 0)),
        1..=MOST_LAYERS => Ok(()),
        _ => Err(Error::parameter(name, format!("at most {MOST_LAYERS}"), layers)),
    }
}

/// Checks what is added below a root, or a standard deviation: finite in the precision that computes with it, and not negative.
///
/// # Errors
/// [`Error::Parameter`] otherwise.
pub(super) fn check_small(name: &str, value: f64) -> Result<()> {
    // The comparison is written so that NaN fails it.
    if value >= 0.0 && (value as f32).is_finite() {
        return Ok(());
    }
    Err(Error::parameter(name, "a finite number, at least 0", value))
}
