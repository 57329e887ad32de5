//! Versions, and the number of threads.

use crate::pointer::Out;
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, boundary};
use std::ffi::c_char;

/// The version of the ABI that this library has; a header is good for libraries of its own number.
pub const FEDHDS_ABI_VERSION: u32 = 2;

/// The version of the library, for example `0.1.0`. Never NULL, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the ABI: compare it with `FEDHDS_ABI_VERSION` of the header.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_abi_version() -> u32 {
    FEDHDS_ABI_VERSION
}

/// Whether models, features, training and evaluation are in this build; selection always is.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_has_models() -> bool {
    cfg!(feature = "model")
}

/// Sets the number of worker threads of the process, from 1. It can be set once, before the first heavy call; results do not depend on it.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_set_threads(threads: usize) -> fedhds_status_t {
    boundary(|| {
        let fail = |message: String| Failure::new(FEDHDS_STATUS_PARAMETER, message);
        if !(1..=4096).contains(&threads) {
            return Err(fail(format!("threads: expected 1 to 4096, got {threads}")));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| fail(format!("threads: expected to be set once, before the first heavy call: {e}")))
    })
}

/// The number of worker threads of the process.
///
/// # Safety
/// `threads` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_threads(threads: *mut usize) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        unsafe { Out::new(threads, "threads") }?.set(rayon::current_num_threads());
        Ok(())
    })
}
