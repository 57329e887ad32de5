//! Settings that callers hand over: structures that begin with their own size, and flags of one byte.
//!
//! The `_init` function of a structure fills it: a program that was compiled against an older header goes on working when fields
//! are added at the end.

use crate::pointer::{Out, value};
use crate::status::fedhds_status_t::FEDHDS_STATUS_PARAMETER;
use crate::status::{Failure, Outcome};

/// The sizes that a settings structure may say it has.
const SIZES: std::ops::RangeInclusive<usize> = size_of::<usize>()..=4096;

/// Whole fields only: a cut through a pointer would leave half of it.
fn check_size<T>(size: usize, name: &str) -> Outcome {
    if SIZES.contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(());
    }
    let message =
        format!("{name}: expected the size of its structure, {} to {}, got {size}", SIZES.start(), SIZES.end());
    Err(Failure::new(FEDHDS_STATUS_PARAMETER, message))
}

/// Fills the caller's structure of `size` bytes with the defaults: as much of them as it has, and its own size in front.
///
/// # Safety
/// A pointer that is not NULL is valid for writes of `size` bytes.
pub(crate) unsafe fn init<T: Copy>(pointer: *mut T, size: usize, mut own: T) -> Outcome {
    check_size::<T>(size, "config")?;
    // SAFETY: every settings structure begins with its size.
    unsafe { (&raw mut own).cast::<usize>().write(size) };
    // SAFETY: only looked at; what is written follows below.
    let _ = unsafe { Out::new(pointer, "config") }?;
    // SAFETY: no more than either has; `own` is on this stack.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const own).cast::<u8>(), pointer.cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(())
}

/// Settings of this version, from a structure that begins with its size: fields that a shorter, older one does not have are `own`'s.
///
/// # Safety
/// A pointer that is not NULL points to a structure of the size that it begins with.
pub(crate) unsafe fn settings<T: Copy>(pointer: *const T, mut own: T, name: &str) -> Outcome<T> {
    // SAFETY: every settings structure begins with its size.
    let size = unsafe { value(pointer.cast::<usize>(), name) }?;
    check_size::<T>(size, name)?;
    // SAFETY: no more than either has; `own` is on this stack.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut own).cast::<u8>(), size.min(size_of::<T>()));
    }
    Ok(own)
}

/// A field or parameter that is 0 or 1. Any byte may stand in memory of the caller's, and a `bool` of Rust's must not be read from it.
pub(crate) fn flag(byte: u8, name: &str) -> Outcome<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::new(FEDHDS_STATUS_PARAMETER, format!("{name}: expected 0 or 1, got {other}"))),
    }
}

/// A number that stands for no choice.
pub(crate) fn unknown(name: &str, expected: &str, got: i32) -> Failure {
    Failure::new(FEDHDS_STATUS_PARAMETER, format!("`{name}`: expected {expected}, got {got}"))
}
