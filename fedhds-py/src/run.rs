//! Heavy work: the interpreter is released, Ctrl-C stops it, progress is heard.

use crate::error::raised;
use crate::progress::Noted;
use fedhds_core::types::{Control, Progress};
use fedhds_core::{Error, Result};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a Ctrl-C may go unseen.
const LISTEN: Duration = Duration::from_millis(50);

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

    fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// The exception that an error ends the work with.
    fn raise(&self, py: Python<'_>, error: &Error) -> PyErr {
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

/// Does `work` on a thread of its own while the calling thread listens for signals and passes progress on.
pub fn heavy<T: Send>(py: Python<'_>, work: impl FnOnce(&Control) -> Result<T> + Send) -> PyResult<T> {
    heavy_with(py, &Failures::default(), work)
}

/// [`heavy`] for work with stages of the user's own, whose exceptions become the cause of ours.
pub fn heavy_with<T: Send>(
    py: Python<'_>,
    failures: &Failures,
    work: impl FnOnce(&Control) -> Result<T> + Send,
) -> PyResult<T> {
    let noted = Noted::new();
    let progress = noted.clone().map(|noted| noted as Arc<dyn Progress>);
    let control = Control { progress, ..Control::default() };
    failures.clear();
    let (result, interrupt) = py.detach(|| {
        std::thread::scope(|scope| {
            let (done, finished) = channel::<()>();
            let control = &control;
            let worker = scope.spawn(move || {
                let result = work(control);
                drop(done);
                result
            });
            let mut interrupt = None;
            while finished.recv_timeout(LISTEN) == Err(RecvTimeoutError::Timeout) {
                let heard = Python::attach(|py| {
                    noted.iter().try_for_each(|noted| noted.pass_on(py))?;
                    py.check_signals()
                });
                if let (None, Err(error)) = (&interrupt, heard) {
                    control.cancel.cancel();
                    interrupt = Some(error);
                }
            }
            let crashed = |_| Err(Error::stage("fedhds", "a defect of the library: it panicked; please report it"));
            (worker.join().unwrap_or_else(crashed), interrupt)
        })
    });
    let interrupt = interrupt.or(noted.iter().try_for_each(|noted| noted.pass_on(py)).err());
    match (interrupt, result) {
        (Some(interrupt), _) => Err(interrupt),
        (None, Ok(value)) => Ok(value),
        (None, Err(error)) => Err(failures.raise(py, &error)),
    }
}
