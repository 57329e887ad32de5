//! Heavy work: the interpreter is released, Ctrl-C stops it, progress is heard.

use crate::error::raised;
use crate::progress::Noted;
use fedhds_core::types::{Control, Progress};
use fedhds_core::{Error, Result};
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a Ctrl-C may go unseen.
const LISTEN: Duration = Duration::from_millis(50);

/// The first exception that a stage of the user's own raised: the cause of the error that follows from it.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Option<PyErr>>>);

impl Failures {
    /// Keeps the first.
    pub fn keep(&self, error: PyErr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
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
    failures.take();
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
        (None, Err(error)) => {
            let raised = raised(&error);
            raised.set_cause(py, failures.take());
            Err(raised)
        }
    }
}
