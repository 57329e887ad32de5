//! How a call is watched and stopped.

use crate::callback::{UserData, fedhds_progress_fn};
use crate::handle::{self, Handle};
use crate::pointer::Out;
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::types::{Context, Control, Progress};
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// Watches and stops calls that are given it; NULL in its place neither watches nor stops. Any thread may cancel while another works.
/// Freed with `fedhds_control_free`.
pub struct fedhds_control_t {
    _private: [u8; 0],
}

impl Handle for fedhds_control_t {
    type Object = Control;
    const NAME: &'static str = "fedhds_control_t";
}

/// The control behind a handle that may be NULL.
pub(crate) fn control(handle: *const fedhds_control_t) -> Outcome<Control> {
    Ok(handle::copy_or_none(handle)?.unwrap_or_default())
}

/// A context with this seed.
pub(crate) fn context(seed: u64, handle: *const fedhds_control_t) -> Outcome<Context> {
    Ok(Context { control: control(handle)?, ..Context::new(seed) })
}

/// A control that reports nowhere and was not cancelled.
///
/// # Safety
/// `control` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_control_new(control: *mut *mut fedhds_control_t) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        unsafe { Out::new(control, "control") }?.set(handle::new(Control::default()));
        Ok(())
    })
}

struct Told {
    call: unsafe extern "C" fn(*const std::ffi::c_char, i32, u64, *mut c_void),
    user_data: UserData,
}

impl Told {
    fn tell(&self, stage: &str, event: i32, units: u64) {
        let stage = CString::new(stage).unwrap_or_default();
        // SAFETY: a function of the caller's, called as its type says.
        unsafe { (self.call)(stage.as_ptr(), event, units, self.user_data.0) };
    }
}

impl Progress for Told {
    fn begin(&self, stage: &str, total: Option<u64>) {
        self.tell(stage, 0, total.unwrap_or(0));
    }

    fn advance(&self, stage: &str, units: u64) {
        self.tell(stage, 1, units);
    }

    fn end(&self, stage: &str) {
        self.tell(stage, 2, 0);
    }
}

/// Sets who hears of progress, in calls that begin afterwards; NULL is nobody.
///
/// # Safety
/// `user_data` lives as long as the control and bears calls from worker threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_control_set_progress(
    control: *mut fedhds_control_t,
    progress: fedhds_progress_fn,
    user_data: *mut c_void,
) -> fedhds_status_t {
    boundary(|| {
        let user_data = UserData(user_data);
        let heard = progress.map(|call| Arc::new(Told { call, user_data }) as Arc<dyn Progress>);
        handle::write(control, |control| {
            control.progress = heard;
            Ok(())
        })
    })
}

/// Asks the calls that were given this control to stop; they end with `FEDHDS_STATUS_CANCELLED` at their next check.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_control_cancel(control: *const fedhds_control_t) -> fedhds_status_t {
    boundary(|| {
        handle::read(control, |control| {
            control.cancel.cancel();
            Ok(())
        })
    })
}

/// Frees the control; NULL is fine. Calls that were given it go on.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_control_free(control: *mut fedhds_control_t) -> fedhds_status_t {
    boundary(|| handle::free(control))
}
