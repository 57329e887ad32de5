//! Heavy work: the interpreter is released, and Ctrl-C stops it.

use crate::error::raised;
use fedhds_core::types::Control;
use fedhds_core::{Error, Result};
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long a Ctrl-C may go unseen.
const LISTEN: Duration = Duration::from_millis(50);

/// Does `work` on a thread of its own while the calling thread listens for signals.
pub fn heavy<T: Send>(py: Python<'_>, work: impl FnOnce(&Control) -> Result<T> + Send) -> PyResult<T> {
    let control = Control::default();
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
                if interrupt.is_none()
                    && let Err(error) = Python::attach(|py| py.check_signals())
                {
                    control.cancel.cancel();
                    interrupt = Some(error);
                }
            }
            let crashed = |_| Err(Error::stage("fedhds", "a defect of the library: it panicked; please report it"));
            (worker.join().unwrap_or_else(crashed), interrupt)
        })
    });
    match interrupt {
        Some(error) => Err(error),
        None => result.map_err(|error| raised(&error)),
    }
}
