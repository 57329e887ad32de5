//! Bytes that the library made: messages, states, adapters, texts.

use crate::handle::{self, Handle};
use crate::pointer::{Out, fill, slice};
use crate::status::{Outcome, boundary, fedhds_status_t};
use std::sync::Arc;

/// Bytes that never change. Freed with `fedhds_bytes_free`.
pub struct fedhds_bytes_t {
    _private: [u8; 0],
}

impl Handle for fedhds_bytes_t {
    /// The bytes and a NUL after them.
    type Object = Arc<[u8]>;
    const NAME: &'static str = "fedhds_bytes_t";
}

/// New bytes.
pub(crate) fn bytes(mut values: Vec<u8>) -> *mut fedhds_bytes_t {
    values.push(0);
    handle::new(values.into())
}

/// The bytes that a function of the caller's gave, which is over with them; none for NULL.
pub(crate) fn taken(given: *mut fedhds_bytes_t) -> Outcome<Vec<u8>> {
    if given.is_null() {
        return Ok(Vec::new());
    }
    let bytes = handle::take(given)?;
    Ok(bytes[..bytes.len() - 1].to_vec())
}

/// Bytes of the caller's, copied: what functions of the caller's give to the library. `values` stays the caller's; NULL is fine where
/// `length` is 0.
///
/// # Safety
/// `values` is readable for `length` bytes; `bytes` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_bytes_new(
    values: *const u8,
    length: usize,
    bytes: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, values) = unsafe { (Out::new(bytes, "bytes")?, slice(values, length, "values")?) };
        out.set(self::bytes(values.to_vec()));
        Ok(())
    })
}

/// Where the bytes are and how many; the pointer is valid until the handle is freed. A NUL that does not count follows them, so that a
/// text is a C string.
///
/// # Safety
/// `data` and `length` are valid for a write each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_bytes_view(
    bytes: *const fedhds_bytes_t,
    data: *mut *const u8,
    length: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (data, length) = unsafe { (Out::new(data, "data")?, Out::new(length, "length")?) };
        let bytes = handle::copy(bytes)?;
        data.set(bytes.as_ptr());
        length.set(bytes.len() - 1);
        Ok(())
    })
}

/// Copies the bytes into a buffer of `capacity` bytes and writes their number. A buffer of NULL asks for the number alone.
///
/// # Safety
/// `buffer` is NULL or valid for writes of `capacity` bytes; `length` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_bytes_copy(
    bytes: *const fedhds_bytes_t,
    buffer: *mut u8,
    capacity: usize,
    length: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let bytes = handle::copy(bytes)?;
        // SAFETY: the caller's promise.
        unsafe { fill(&bytes[..bytes.len() - 1], buffer, capacity, length) }
    })
}

/// Frees the bytes; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_bytes_free(bytes: *mut fedhds_bytes_t) -> fedhds_status_t {
    boundary(|| handle::free(bytes))
}
