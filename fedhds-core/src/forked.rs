//! Parallel work in a process that was forked.
//!
//! A fork copies the calling thread alone: the threads of rayon's pool stay with the parent, and whoever waits for them in the child
//! waits for ever. The bindings hand each call over to [`here`], which gives it threads of its own where the process is another one than
//! the one that the pool was made in (Python's `multiprocessing`, data loaders, `fork` in C).

use crate::error::{Error, Result};
#[cfg(unix)]
use std::sync::atomic::{AtomicU32, Ordering};

/// Room for a stage's frames; the main thread's size on most systems.
const STACK: usize = 8 << 20;

/// The process that the shared threads belong to; 0 before anybody asked.
#[cfg(unix)]
static HOME: AtomicU32 = AtomicU32::new(0);

/// Whether this process was forked from the one that asked first.
#[cfg(unix)]
pub fn is_child() -> bool {
    let own = std::process::id();
    HOME.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed).is_err_and(|home| home != own)
}

/// Nobody forks here.
#[cfg(not(unix))]
pub fn is_child() -> bool {
    false
}

/// Does `work`: as it stands, or in a forked process on threads that end with it.
///
/// # Errors
/// [`Error::Stage`] where a forked process gets no threads of the system.
pub fn here<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    let (mut work, mut result) = (Some(work), None);
    let mut once = || result = work.take().map(|work| work());
    // Called through a pointer, so that a call's work is compiled once.
    let once: &mut (dyn FnMut() + Send) = &mut once;
    if is_child() {
        on_own_threads(once)?;
    } else {
        once();
    }
    result.ok_or_else(no_result)
}

#[cold]
fn no_result() -> Error {
    Error::stage("threads", "expected the work's result, got none")
}

/// Does `work` on as many threads as the shared pool has, made for it.
#[cold]
#[inline(never)]
fn on_own_threads(work: &mut (dyn FnMut() + Send)) -> Result<()> {
    let threads = rayon::current_num_threads();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
    let pool = pool.map_err(|error| {
        Error::stage("threads", format!("expected {threads} threads for a process that was forked, got {error}"))
    })?;
    pool.install(work);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::loops;

    #[test]
    fn own_threads_do_the_same() {
        let squares = || loops::map(1000, 3, |i| i * i);
        let threads = rayon::current_num_threads();
        let mut seen = None;
        on_own_threads(&mut || seen = Some((rayon::current_num_threads(), squares()))).unwrap();
        assert_eq!(seen, Some((threads, squares())));
        // Within each other, as where a stage of the caller's calls the library again.
        let mut inner = None;
        on_own_threads(&mut || on_own_threads(&mut || inner = Some(squares())).unwrap()).unwrap();
        assert_eq!(inner, Some(squares()));
    }

    #[test]
    fn the_process_that_asked_first_is_at_home() {
        assert!(!is_child());
        assert_eq!(here(|| 7).unwrap(), 7);
    }
}
