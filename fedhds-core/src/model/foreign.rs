//! What other people's code does with other people's files.
//!
//! Parsers of tokenizers and templates were written for files of good will: one that was made to harm can make them panic, and
//! their messages repeat what the file says. Here a panic becomes an error, and a message has an end.

use crate::error::{Error, Result};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Characters of a foreign message that are passed on.
const MESSAGE: usize = 400;

/// Runs foreign code on what a file says; its errors and its panics are errors about `what` in `path`.
///
/// What no guard can catch (a stack that overflows, memory that is not there) must be ruled out by a check of the input before.
pub(super) fn guarded<T, E: Display>(
    path: &Path,
    what: &str,
    expected: &str,
    run: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    // What is behind the closure is not used again after a panic: the error ends the load, the record or the render.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::model(path, what, format!("{expected}: {}", shortened(&error.to_string())))),
        Err(panic) => Err(Error::model(path, what, format!("{expected}: its code failed: {}", panic_text(&*panic)))),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    shortened(text.unwrap_or("a panic without a message"))
}

/// A message with an end, in one line's length of a few.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_told_with_an_end() {
        let told = |run: fn() -> std::result::Result<(), String>| {
            guarded(Path::new("folder"), "tokenizer", "expected one", run).unwrap_err().to_string()
        };
        assert!(guarded(Path::new("x"), "w", "e", || Ok::<_, String>(3)).is_ok_and(|n| n == 3));
        let error = told(|| Err("é".repeat(100_000)));
        assert!(error.contains("folder") && error.ends_with("..."), "{error}");
        assert!(error.chars().count() < MESSAGE + 100);
        let error = told(|| panic!("cut within {}", "a character"));
        assert!(error.contains("cut within a character"), "{error}");
    }
}
