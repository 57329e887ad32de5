//! The caller's functions, with what they are called with.
//!
//! Every callback has a `user_data` of its own. Callbacks may be called from worker threads, several at once; the caller sees to it that
//! what `user_data` points to bears that, and lives as long as the object that holds the callback.

use crate::matrix::fedhds_matrix_view_t;
use crate::pair::fedhds_pair_t;
use crate::rows::fedhds_rows_t;
use std::ffi::{c_char, c_void};

/// Hears of progress. `event` is 0 for the beginning of a stage (`units` are expected, 0 where that is not known), 1 for `units` more done, 2
/// for its end. `stage` is valid during the call.
pub type fedhds_progress_fn =
    Option<unsafe extern "C" fn(stage: *const c_char, event: i32, units: u64, user_data: *mut c_void)>;

/// Hears of a log line. `level` is 1 error, 2 warning, 3 info, 4 debug, 5 trace; `target` and `message` are valid during the call.
pub type fedhds_log_fn =
    Option<unsafe extern "C" fn(level: i32, target: *const c_char, message: *const c_char, user_data: *mut c_void)>;

/// A reducer: fills `reduced`, `features.rows` times `columns` values, row after row. 0 is success, anything else a failure.
pub type fedhds_reduce_fn = Option<
    unsafe extern "C" fn(
        features: fedhds_matrix_view_t,
        seed: u64,
        columns: usize,
        reduced: *mut f32,
        user_data: *mut c_void,
    ) -> i32,
>;

/// A clusterer: fills `labels`, one for each row, with cluster numbers that are dense from 0, or -1 for noise. `wanted` is how many groups
/// the method needs, 0 where it does not know; a clusterer that finds the number by itself ignores it. What `rows` points to is the
/// library's and valid during the call. 0 is success.
pub type fedhds_cluster_fn = Option<
    unsafe extern "C" fn(
        rows: *const fedhds_rows_t,
        wanted: usize,
        seed: u64,
        labels: *mut i32,
        user_data: *mut c_void,
    ) -> i32,
>;

/// A selector: fills `chosen` with `count` distinct row numbers, in any order. `per_cluster` is 0 where `count` is over all rows; else so many
/// are wanted of each cluster (all of a smaller one, no noise), and `count` is their sum. What `rows` points to is the library's and
/// valid during the call. 0 is success.
pub type fedhds_select_fn = Option<
    unsafe extern "C" fn(
        rows: *const fedhds_rows_t,
        seed: u64,
        count: usize,
        per_cluster: usize,
        chosen: *mut u32,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Losses of responses under prompts: fills `losses`, one for each of `count` pairs, in nats, mean over the response's tokens; what it leaves NaN
/// has none. `pairs` is the library's and valid during the call. The same few prompts come again and again: whoever keeps what a model made
/// of a prompt makes it once. 0 is success.
pub type fedhds_losses_fn = Option<
    unsafe extern "C" fn(pairs: *const fedhds_pair_t, count: usize, losses: *mut f32, user_data: *mut c_void) -> i32,
>;

/// A pointer of the caller's that goes back to the caller's functions.
#[derive(Clone, Copy)]
pub(crate) struct UserData(pub *mut c_void);

// SAFETY: the library never follows it; that the callback bears other threads is the caller's documented promise.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}
