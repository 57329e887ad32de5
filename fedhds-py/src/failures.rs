//! What stages of the user's own raised.

use crate::error::raised;
use fedhds_core::Error;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many exceptions are kept for the error that may follow.
const KEPT: usize = 64;

/// How much of a message is repeated in any case.
const REPEATED: usize = 40;

/// The part of a message that an error which repeats it surely has.
fn beginning(message: &str) -> &str {
    let line = message.split(char::is_control).next().unwrap_or(message);
    line.char_indices().nth(REPEATED).map_or(line, |(end, _)| &line[..end])
}

/// What stages of the user's own raised, with their text: the cause of an error that repeats it. A client whose stage failed is left out
/// of a round, so that not every exception ends the work.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    raised: VecDeque<(String, PyErr)>,
    /// A Ctrl-C or exit that a stage raised: no failure of one client, but the end of the work.
    interrupt: Option<PyErr>,
}

impl Failures {
    /// Keeps an exception, of many the last ones, and gives the error that stage `name` then has.
    pub fn keep(&self, py: Python<'_>, name: &str, raised: PyErr) -> Error {
        if !raised.is_instance_of::<PyException>(py) {
            let later = {
                let mut kept = self.lock();
                if kept.interrupt.is_none() { kept.interrupt.replace(raised) } else { Some(raised) }
            };
            drop(later);
            return Error::Cancelled;
        }
        let message = raised.to_string();
        let oldest = {
            let mut kept = self.lock();
            kept.raised.push_back((message.clone(), raised));
            if kept.raised.len() > KEPT { kept.raised.pop_front() } else { None }
        };
        drop(oldest);
        Error::stage(name, message)
    }

    /// Forgets those of an earlier call.
    pub fn clear(&self) {
        let earlier = std::mem::take(&mut *self.lock());
        drop(earlier);
    }

    /// The exception that an error ends the work with.
    pub fn raise(&self, py: Python<'_>, error: &Error) -> PyErr {
        let interrupt = self.lock().interrupt.take();
        if let (Error::Cancelled, Some(interrupt)) = (error, interrupt) {
            return interrupt;
        }
        let text = error.to_string();
        let cause = {
            let mut kept = self.lock();
            let whole = kept.raised.iter().position(|(message, _)| text.contains(message.as_str()));
            // The core cuts what is long and keeps it on one line.
            let at = whole.or_else(|| kept.raised.iter().position(|(message, _)| text.contains(beginning(message))));
            at.and_then(|at| kept.raised.remove(at)).map(|(_, raised)| raised)
        };
        let raised = raised(error);
        raised.set_cause(py, cause);
        raised
    }

    /// Held for moments, and never while Python is called or an exception let go of: either may pass the interpreter on to a thread that waits here.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
