//! Pointers of the caller's, checked before they are followed.

use crate::status::fedhds_status_t::{
    FEDHDS_STATUS_BUFFER_TOO_SMALL, FEDHDS_STATUS_NULL_POINTER, FEDHDS_STATUS_PARAMETER,
};
use crate::status::{Failure, Outcome};
use std::ffi::{CStr, c_char, c_void};

#[cold]
#[inline(never)]
pub(crate) fn null(name: &str) -> Failure {
    Failure::new(FEDHDS_STATUS_NULL_POINTER, format!("{name}: expected a pointer, got NULL"))
}

/// A place that the result goes to: checked before the work, written after it.
pub(crate) struct Out<'a, T> {
    place: &'a mut std::mem::MaybeUninit<T>,
}

impl<T> Out<'_, T> {
    /// # Safety
    /// A pointer that is not NULL is valid for one write of a `T`.
    pub unsafe fn new(pointer: *mut T, name: &str) -> Outcome<Self> {
        if pointer.is_null() {
            return Err(null(name));
        }
        aligned(pointer, name)?;
        // SAFETY: not NULL, aligned, and valid for a write by the caller's promise.
        Ok(Self { place: unsafe { &mut *pointer.cast() } })
    }

    /// Writes the result.
    pub fn set(self, value: T) {
        self.place.write(value);
    }
}

fn aligned<T>(pointer: *const T, name: &str) -> Outcome {
    if pointer.is_aligned() {
        return Ok(());
    }
    Err(misaligned(name, align_of::<T>(), pointer.cast()))
}

#[cold]
#[inline(never)]
fn misaligned(name: &str, to: usize, pointer: *const c_void) -> Failure {
    let message = format!("{name}: expected a pointer aligned to {to} bytes, got {pointer:p}");
    Failure::new(FEDHDS_STATUS_PARAMETER, message)
}

/// `length` values; NULL is fine where there are none.
///
/// # Safety
/// A pointer that is not NULL is valid for reads of `length` values for `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, length: usize, name: &str) -> Outcome<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(name));
    }
    aligned(pointer, name)?;
    check_length::<T>(length, name)?;
    // SAFETY: not NULL, aligned, of a length that an object can have, and readable by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

pub(crate) fn check_length<T>(length: usize, name: &str) -> Outcome {
    if length.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
        return Ok(());
    }
    Err(too_long(name, length))
}

#[cold]
#[inline(never)]
fn too_long(name: &str, length: usize) -> Failure {
    Failure::new(FEDHDS_STATUS_PARAMETER, format!("{name}: expected a length that memory can hold, got {length}"))
}

/// One value behind a pointer, copied.
///
/// # Safety
/// A pointer that is not NULL is valid for reads of one `T`.
pub(crate) unsafe fn value<T: Copy>(pointer: *const T, name: &str) -> Outcome<T> {
    // SAFETY: one value, by the caller's promise.
    unsafe { slice(pointer, 1, name) }.map(|values| values[0])
}

/// A text that ends with NUL.
///
/// # Safety
/// A pointer that is not NULL points to bytes that end with NUL, for `'a`.
#[inline(never)]
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Outcome<&'a str> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: ends with NUL by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map_err(|e| Failure::new(FEDHDS_STATUS_PARAMETER, format!("{name}: expected UTF-8: {e}")))
}

/// A text that may be left out.
///
/// # Safety
/// As [`text`].
#[inline(never)]
pub(crate) unsafe fn text_or_none<'a>(pointer: *const c_char, name: &str) -> Outcome<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name) }.map(Some)
}

/// Values into the caller's buffer of `capacity` values, their number into `count`. A buffer of NULL asks for the number alone; one that is
/// too small is left as it is, and the number is written.
///
/// # Safety
/// `buffer`, where it is not NULL, is valid for writes of `capacity` values; `count` for one write where it is not NULL.
pub(crate) unsafe fn fill<T: Copy>(values: &[T], buffer: *mut T, capacity: usize, count: *mut usize) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe { Out::new(count, "count") }?.set(values.len());
    if buffer.is_null() {
        return Ok(());
    }
    aligned(buffer, "buffer")?;
    if capacity < values.len() {
        return Err(too_small(values.len(), capacity));
    }
    // SAFETY: room for the values by the check, writable by the caller's promise; memory of ours and memory of the caller's do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), buffer, values.len()) };
    Ok(())
}

#[cold]
#[inline(never)]
fn too_small(needed: usize, capacity: usize) -> Failure {
    let message = format!("buffer: expected room for {needed}, got {capacity}");
    Failure::new(FEDHDS_STATUS_BUFFER_TOO_SMALL, message)
}
