//! What stages of the user's own raised.

use crate::error::raised;
use fedhds_core::Error;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many exceptions are kept for the error that may follow.
const KEPT: usize = 64;

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
        let mut kept = self.lock();
        if !raised.is_instance_of::<PyException>(py) {
            kept.interrupt.get_or_insert(raised);
            return Error::Cancelled;
        }
        if kept.raised.len() == KEPT {
            kept.raised.pop_front();
        }
        let message = raised.to_string();
        kept.raised.push_back((message.clone(), raised));
        Error::stage(name, message)
    }

    /// Forgets those of an earlier call.
    pub fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// The exception that an error ends the work with.
    pub fn raise(&self, py: Python<'_>, error: &Error) -> PyErr {
        let mut kept = self.lock();
        if let (Error::Cancelled, Some(interrupt)) = (error, kept.interrupt.take()) {
            return interrupt;
        }
        let text = error.to_string();
        let at = kept.raised.iter().position(|(message, _)| text.contains(message.as_str()));
        let cause = at.and_then(|at| kept.raised.remove(at)).map(|(_, raised)| raised);
        let raised = raised(error);
        raised.set_cause(py, cause);
        raised
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
