//! The core's log lines, for Python's `logging`.
//!
//! Whichever thread has something to say only notes it; a thread that called Python passes it on while it waits, or when its call ends.
//! So no thread of the core ever waits for the interpreter, and a handler may call fedhds.

use fedhds_core::log;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, span};

/// The logger.
const NAME: &str = "fedhds";

/// Most lines that wait; beyond, the oldest is dropped.
const WAITING: usize = 4096;

/// Lines with their levels in Python, in the order in which they came.
static LINES: Mutex<VecDeque<(u8, String)>> = Mutex::new(VecDeque::new());

fn lines() -> MutexGuard<'static, VecDeque<(u8, String)>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the core's lines are noted.
pub fn register() {
    // Only one that is there already stands in the way, which then hears them.
    let _ = tracing::subscriber::set_global_default(Notes);
}

/// Hands what was noted to the logger, each line at its level. Handlers that fail are `logging`'s affair; a Ctrl-C in one is passed on.
pub fn pass_on(py: Python<'_>) -> PyResult<()> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let waiting = std::mem::take(&mut *lines());
    if waiting.is_empty() {
        return Ok(());
    }
    let logger = LOGGER
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("logging")?.call_method1("getLogger", (NAME,))?.unbind()))?;
    for (level, line) in waiting {
        logger.call_method1(py, "log", (level, line))?;
    }
    Ok(())
}

struct Notes;

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG | Level::TRACE => 10,
    }
}

impl tracing::Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates' lines are for those who work on them.
        *metadata.level() <= Level::DEBUG && metadata.target().starts_with(NAME)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        span::Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut lines = lines();
        if lines.len() == WAITING {
            lines.pop_front();
        }
        lines.push_back((number(event.metadata().level()), log::line(event)));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
