//! The boundary around work on one client's data: a panic in it becomes an error, and ends nothing else.

use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the work, which may call stages of the user's. `stage` is whose work it is.
///
/// What the work was changing may be half changed after a panic: the caller drops it, or says of it what holds.
///
/// # Errors
/// The work's own; [`Error::Stage`] where it panicked.
pub(crate) fn caught<T>(stage: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(stage, panic.as_ref())))
}

#[cold]
#[inline(never)]
fn panicked(stage: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into());
    Error::stage(stage, format!("it panicked: {text}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_an_error_stays_one() {
        assert_eq!(caught("mine", || Ok(3)).unwrap(), 3);
        assert!(matches!(caught::<()>("mine", || Err(Error::Cancelled)), Err(Error::Cancelled)));
        let says = |work: &dyn Fn()| {
            let work = || {
                work();
                Ok(())
            };
            caught("mine", work).unwrap_err().to_string()
        };
        assert_eq!(says(&|| panic!("row {}", 7)), "stage `mine`: it panicked: row 7");
        assert_eq!(says(&|| panic!("plain")), "stage `mine`: it panicked: plain");
        assert_eq!(says(&|| std::panic::panic_any(7)), "stage `mine`: it panicked: without a message");
    }
}
