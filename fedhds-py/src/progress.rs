//! Progress of heavy work, heard by a Python object.
//!
//! Worker threads only note what happened; the thread that called Python passes it on while it waits, so that the listener never runs
//! on a foreign thread and never slows the work.

use fedhds_core::types::Progress;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Who listens, for all calls of the process: an object with `begin(stage, total)`, `advance(stage, units)` and `end(stage)`.
static LISTENER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Adds the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_listener, module)?)
}

/// Sets who listens, and returns who did before.
#[pyfunction]
fn set_listener(listener: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    std::mem::replace(&mut *LISTENER.lock().unwrap_or_else(PoisonError::into_inner), listener)
}

enum Event {
    Begin(String, Option<u64>),
    Advance(String, u64),
    End(String),
}

/// What happened and was not passed on yet.
#[derive(Default)]
pub struct Noted(Mutex<Vec<Event>>);

impl Noted {
    /// A note pad, where anyone listens.
    pub fn new() -> Option<Arc<Self>> {
        LISTENER.lock().unwrap_or_else(PoisonError::into_inner).is_some().then(Arc::default)
    }

    fn add(&self, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Event::Advance(stage, units), Some(Event::Advance(last, sum))) = (&event, events.last_mut())
            && stage == last
        {
            *sum += units;
            return;
        }
        events.push(event);
    }

    /// Tells the listener; one that fails is reported as Python reports exceptions that nobody can catch. A Ctrl-C that comes while
    /// the listener runs is no failure of its own: it is passed on.
    pub fn pass_on(&self, py: Python<'_>) -> PyResult<()> {
        let events = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if events.is_empty() {
            return Ok(());
        }
        let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|l| l.clone_ref(py));
        let Some(listener) = listener else { return Ok(()) };
        for event in events {
            let told = match event {
                Event::Begin(stage, total) => listener.call_method1(py, "begin", (stage, total)),
                Event::Advance(stage, units) => listener.call_method1(py, "advance", (stage, units)),
                Event::End(stage) => listener.call_method1(py, "end", (stage,)),
            };
            match told {
                Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
                Err(interrupt) => return Err(interrupt),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

impl Progress for Noted {
    fn begin(&self, stage: &str, total: Option<u64>) {
        self.add(Event::Begin(stage.to_owned(), total));
    }

    fn advance(&self, stage: &str, units: u64) {
        self.add(Event::Advance(stage.to_owned(), units));
    }

    fn end(&self, stage: &str) {
        self.add(Event::End(stage.to_owned()));
    }
}
