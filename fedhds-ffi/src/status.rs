//! What a call returns, and the message of the last failure.

use fedhds_core::{Error, forked};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call returns. Everything but `FEDHDS_STATUS_OK` leaves the out-parameters as they were, and
/// `fedhds_last_error_message` says what was expected and what came.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fedhds_status_t {
    /// Done.
    FEDHDS_STATUS_OK = 0,
    /// A pointer that must not be NULL is NULL.
    FEDHDS_STATUS_NULL_POINTER = 1,
    /// A handle that is of another type, was freed, or never was one.
    FEDHDS_STATUS_INVALID_HANDLE = 2,
    /// A handle that another thread is using: a stateful object serves one call at a time.
    FEDHDS_STATUS_BUSY = 3,
    /// A parameter outside its documented range, text that is not UTF-8, an unknown enum value.
    FEDHDS_STATUS_PARAMETER = 4,
    /// An input whose shape, length or content does not fit.
    FEDHDS_STATUS_INPUT = 5,
    /// A value that is NaN or infinite.
    FEDHDS_STATUS_NOT_FINITE = 6,
    /// The caller's buffer is too small; the needed length was written.
    FEDHDS_STATUS_BUFFER_TOO_SMALL = 7,
    /// A record or line of a data set that cannot be used.
    FEDHDS_STATUS_DATA = 8,
    /// A method or configuration that cannot be run.
    FEDHDS_STATUS_CONFIG = 9,
    /// A model file or folder that cannot be loaded.
    FEDHDS_STATUS_MODEL = 10,
    /// An adapter that does not fit the model or another adapter.
    FEDHDS_STATUS_ADAPTER = 11,
    /// A message that cannot be read, or that comes at the wrong time.
    FEDHDS_STATUS_PROTOCOL = 12,
    /// A stage, possibly the caller's own, that failed or returned something unusable.
    FEDHDS_STATUS_STAGE = 13,
    /// A device that is not there, or is not compiled in ("no GPU").
    FEDHDS_STATUS_DEVICE = 14,
    /// A checkpoint of another run, or a damaged one.
    FEDHDS_STATUS_CHECKPOINT = 15,
    /// A file that could not be read or written.
    FEDHDS_STATUS_IO = 16,
    /// The work was cancelled through its control.
    FEDHDS_STATUS_CANCELLED = 17,
    /// A defect of the library: it panicked, and the panic was stopped at the boundary.
    FEDHDS_STATUS_PANIC = 18,
}

/// Why a call fails.
pub(crate) struct Failure {
    pub status: fedhds_status_t,
    pub message: String,
}

impl Failure {
    pub fn new(status: fedhds_status_t, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<Error> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: Error) -> Self {
        use fedhds_status_t::*;
        let status = match &error {
            Error::Parameter { .. } => FEDHDS_STATUS_PARAMETER,
            Error::Input { .. } => FEDHDS_STATUS_INPUT,
            Error::NotFinite { .. } => FEDHDS_STATUS_NOT_FINITE,
            Error::Data { .. } => FEDHDS_STATUS_DATA,
            Error::Config { .. } => FEDHDS_STATUS_CONFIG,
            Error::Model { .. } => FEDHDS_STATUS_MODEL,
            Error::Adapter { .. } => FEDHDS_STATUS_ADAPTER,
            Error::Protocol { .. } => FEDHDS_STATUS_PROTOCOL,
            Error::Device { .. } => FEDHDS_STATUS_DEVICE,
            Error::Checkpoint { .. } => FEDHDS_STATUS_CHECKPOINT,
            Error::Io { .. } => FEDHDS_STATUS_IO,
            Error::Cancelled => FEDHDS_STATUS_CANCELLED,
            _ => FEDHDS_STATUS_STAGE,
        };
        Self::new(status, error.to_string())
    }
}

/// The result of the inside of a call.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The inside of a call, which another thread may do while the caller's waits.
struct Inside<F>(F);

// SAFETY: the call's pointers are used by one thread at a time, and the calling thread is in the call until that one has ended.
unsafe impl<F> Send for Inside<F> {}

impl<F: FnOnce() -> Outcome> Inside<F> {
    fn run(self) -> Outcome {
        (self.0)()
    }
}

/// Runs the inside of a call: no panic leaves it, a failure leaves its message. In a process that was forked it has threads of its own.
pub(crate) fn boundary(work: impl FnOnce() -> Outcome) -> fedhds_status_t {
    let work = Inside(work);
    match catch_unwind(AssertUnwindSafe(|| forked::here(move || work.run()))) {
        Ok(Ok(Ok(()))) => fedhds_status_t::FEDHDS_STATUS_OK,
        Ok(Ok(Err(failure))) => failed(failure),
        Ok(Err(error)) => failed(error.into()),
        Err(panic) => panicked(panic.as_ref()),
    }
}

// Not inlined, as what follows here: more than a hundred functions would have it otherwise.
#[cold]
#[inline(never)]
fn failed(failure: Failure) -> fedhds_status_t {
    let message = CString::new(failure.message.replace('\0', "\\0")).unwrap_or_default();
    // While the thread ends its storage may be gone; then nobody reads the message either.
    let _ = LAST.try_with(|last| last.replace(message));
    failure.status
}

#[cold]
#[inline(never)]
fn panicked(panic: &(dyn Any + Send)) -> fedhds_status_t {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let message = format!("a defect of fedhds, please report it: {text}");
    failed(Failure::new(fedhds_status_t::FEDHDS_STATUS_PANIC, message))
}

/// The message of the last call of this thread that failed; empty where none did. It is valid until the next failing call of this
/// thread, and never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_last_error_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The name of a status, for example `FEDHDS_STATUS_OK`; `unknown` for a number that is none. Never NULL, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_status_name(status: i32) -> *const c_char {
    const NAMES: [&CStr; 19] = [
        c"FEDHDS_STATUS_OK",
        c"FEDHDS_STATUS_NULL_POINTER",
        c"FEDHDS_STATUS_INVALID_HANDLE",
        c"FEDHDS_STATUS_BUSY",
        c"FEDHDS_STATUS_PARAMETER",
        c"FEDHDS_STATUS_INPUT",
        c"FEDHDS_STATUS_NOT_FINITE",
        c"FEDHDS_STATUS_BUFFER_TOO_SMALL",
        c"FEDHDS_STATUS_DATA",
        c"FEDHDS_STATUS_CONFIG",
        c"FEDHDS_STATUS_MODEL",
        c"FEDHDS_STATUS_ADAPTER",
        c"FEDHDS_STATUS_PROTOCOL",
        c"FEDHDS_STATUS_STAGE",
        c"FEDHDS_STATUS_DEVICE",
        c"FEDHDS_STATUS_CHECKPOINT",
        c"FEDHDS_STATUS_IO",
        c"FEDHDS_STATUS_CANCELLED",
        c"FEDHDS_STATUS_PANIC",
    ];
    usize::try_from(status).ok().and_then(|at| NAMES.get(at)).unwrap_or(&c"unknown").as_ptr()
}
