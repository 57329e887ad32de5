//! Bytes that the library made: messages, states, adapters, texts.

use crate::handle::{self, Handle};
use crate::pointer::{Out, fill};
use crate::status::{boundary, fedhds_status_t};
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
