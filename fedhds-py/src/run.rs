//! Heavy work: the interpreter is released, Ctrl-C stops it, progress and log lines are heard, a forked process has threads.

use crate::error::raised;
use crate::failures::Failures;
use crate::log;
use crate::progress::Noted;
use fedhds_core::types::{Control, Progress};
use fedhds_core::{Error, Result, forked};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a Ctrl-C may go unseen.
const LISTEN: Duration = Duration::from_millis(50);

/// How long the work may take to end after one. What cannot be interrupted sooner (one large decomposition, one step of a large model)
/// ends by itself, and what it gives is dropped.
const GRACE: Duration = Duration::from_millis(500);

/// Does `work` on a thread of its own while the calling thread listens for signals and passes on progress and log lines.
pub fn heavy<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Control) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    heavy_with(py, &Failures::default(), work)
}

/// [`heavy`] for work with stages of the user's own, whose exceptions become the cause of ours.
pub fn heavy_with<T: Send + 'static>(
    py: Python<'_>,
    failures: &Failures,
    work: impl FnOnce(&Control) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let noted = Noted::new();
    let progress = noted.clone().map(|noted| noted as Arc<dyn Progress>);
    let control = Control { progress, ..Control::default() };
    failures.clear();
    let (result, interrupt) = py.detach(|| attend(&control, noted.as_deref(), work));
    let interrupt = interrupt.or(listen(py, noted.as_deref()).err());
    match (interrupt, result) {
        (Some(interrupt), _) => Err(interrupt),
        (None, Ok(value)) => Ok(value),
        (None, Err(error)) => Err(failures.raise(py, &error)),
    }
}

/// What is heard of the work by the thread that called for it.
fn listen(py: Python<'_>, noted: Option<&Noted>) -> PyResult<()> {
    log::pass_on(py)?;
    noted.map_or(Ok(()), |noted| noted.pass_on(py))
}

/// Begins the work and waits for its end, or for a while after an interrupt.
fn attend<T: Send + 'static>(
    control: &Control,
    noted: Option<&Noted>,
    work: impl FnOnce(&Control) -> Result<T> + Send + 'static,
) -> (Result<T>, Option<PyErr>) {
    let (done, finished) = channel::<Result<T>>();
    let own = control.clone();
    let thread = std::thread::Builder::new().name("fedhds".into()).spawn(move || {
        // Nobody takes it where the call has ended.
        let _ = done.send(caught(|| work(&own)));
    });
    if let Err(error) = thread {
        let message = format!("expected a thread of the system for the work, got: {error}");
        return (Err(Error::stage("threads", message)), None);
    }
    let mut interrupt: Option<(PyErr, Instant)> = None;
    loop {
        match finished.recv_timeout(LISTEN) {
            Ok(result) => return (result, interrupt.map(|(error, _)| error)),
            Err(RecvTimeoutError::Disconnected) => return (crashed(), interrupt.map(|(error, _)| error)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let heard = Python::attach(|py| {
            listen(py, noted)?;
            py.check_signals()
        });
        interrupt = match (interrupt, heard) {
            (Some((error, since)), _) if since.elapsed() > GRACE => return (Err(Error::Cancelled), Some(error)),
            (None, Err(error)) => {
                control.cancel.cancel();
                Some((error, Instant::now()))
            }
            (interrupt, _) => interrupt,
        };
    }
}

/// [`heavy`] for work that takes moments, on the calling thread.
pub fn light<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let result = py.detach(|| caught(work));
    log::pass_on(py)?;
    result.map_err(|error| raised(&error))
}

/// Does the work where threads are at hand; a panic is an error of the library's.
fn caught<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| forked::here(work))).unwrap_or_else(|_| Ok(crashed())).and_then(|result| result)
}

fn crashed<T>() -> Result<T> {
    Err(Error::stage("fedhds", "a defect of the library: it panicked; please report it"))
}
