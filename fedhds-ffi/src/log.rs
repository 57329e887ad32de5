//! The library's log lines, for the caller's function.

use crate::callback::{UserData, fedhds_log_fn};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, boundary};
use fedhds_core::log;
use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use tracing::{Event, Level, Metadata, span};

type Call = unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void);

static LISTENER: RwLock<Option<(i32, Call, UserData)>> = RwLock::new(None);

/// Sets who hears log lines of at most this `level` (1 errors to 5 everything), for the whole process; NULL is nobody.
///
/// # Safety
/// `user_data` lives as long as the process or until another listener is set, and bears calls from worker threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_set_log(level: i32, log: fedhds_log_fn, user_data: *mut c_void) -> fedhds_status_t {
    boundary(|| {
        if !(1..=5).contains(&level) {
            let message = format!("level: expected 1 to 5, got {level}");
            return Err(Failure::new(FEDHDS_STATUS_PARAMETER, message));
        }
        let user_data = UserData(user_data);
        *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = log.map(|call| (level, call, user_data));
        // An app in Rust may have a subscriber of its own: then lines go there.
        let _ = tracing::subscriber::set_global_default(Lines);
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    })
}

/// Passes events on as lines; spans are not used by the core.
struct Lines;

fn number(level: &Level) -> i32 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

fn wanted(level: &Level) -> bool {
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
    listener.is_some_and(|(most, ..)| number(level) <= most)
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        wanted(metadata.level())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        span::Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let listener = *LISTENER.read().unwrap_or_else(PoisonError::into_inner);
        let Some((_, call, user_data)) = listener else { return };
        let text = CString::new(log::line(event).replace('\0', "\\0")).unwrap_or_default();
        let target = CString::new(event.metadata().target()).unwrap_or_default();
        // SAFETY: a function of the caller's, called as its type says.
        unsafe { call(number(event.metadata().level()), target.as_ptr(), text.as_ptr(), user_data.0) };
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
