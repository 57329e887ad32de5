//! Rows and their scores, as callbacks see them and as callers hand them over.

use crate::matrix::{copied, fedhds_matrix_view_t};
use crate::pointer::{slice, text, value};
use crate::status::Outcome;
use fedhds_core::stage::Rows;
use fedhds_core::types::{Matrix, Scores};
use std::ffi::{CString, c_char};
use std::ptr::null;

/// Named numbers of rows: losses, ranks, lengths.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_scores_t {
    /// `values.cols` distinct names, each ending with NUL; the owner of the structure owns them.
    pub names: *const *const c_char,
    /// One row for each record or group, one column for each name. A value may be NaN where there is nothing to say; it is never infinite.
    pub values: fedhds_matrix_view_t,
}

/// What a clusterer or selector of the caller's looks at: records on a client, uploaded groups on the server. All of it is the
/// library's and valid during the call. Later versions add fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_rows_t {
    /// `[n, d]`; no columns where no features were looked at.
    pub points: fedhds_matrix_view_t,
    /// How many records each row stands for, n values; NULL where every row is one record.
    pub weights: *const f32,
    /// The cluster of each row, -1 for none, n values; NULL where nothing was clustered before.
    pub labels: *const i32,
    /// The client that sent each row, n values; NULL where there is one owner.
    pub owners: *const u32,
    /// Scores of each row: of a record, or the mean over a group's records; NULL where there are none.
    pub scores: *const fedhds_scores_t,
    /// Points that earlier rounds have covered, `[m, d]`; no rows where there is no memory, or nothing is covered yet.
    pub covered: fedhds_matrix_view_t,
    /// Records that were trained on at each covered point, m values; NULL where there are none.
    pub covered_mass: *const f32,
}

pub(crate) fn view(matrix: &Matrix) -> fedhds_matrix_view_t {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    fedhds_matrix_view_t { data: matrix.as_slice().as_ptr(), rows, cols, row_stride: cols }
}

fn pointer<T>(values: &[T]) -> *const T {
    if values.is_empty() { null() } else { values.as_ptr() }
}

/// Names as C reads them, with the pointers to them.
pub(crate) struct Names {
    _texts: Vec<CString>,
    pub pointers: Vec<*const c_char>,
}

impl Names {
    pub fn of(scores: &Scores) -> Self {
        let text = |name: &String| CString::new(name.replace('\0', " ")).unwrap_or_default();
        let texts: Vec<CString> = scores.names().iter().map(text).collect();
        let pointers = texts.iter().map(|text| text.as_ptr()).collect();
        Self { _texts: texts, pointers }
    }
}

/// Calls a function of the caller's with these rows.
pub(crate) fn with_rows<T>(rows: &Rows<'_>, call: impl FnOnce(*const fedhds_rows_t) -> T) -> T {
    let labels: Vec<i32> = rows.groups.map_or_else(Vec::new, |groups| {
        groups.labels.iter().map(|label| label.map_or(-1, |id| id.index() as i32)).collect()
    });
    let owners: Vec<u32> = rows.owners.iter().map(|owner| owner.0).collect();
    let names = rows.scores.map(Names::of);
    let scores = match (rows.scores, &names) {
        (Some(scores), Some(names)) => {
            Some(fedhds_scores_t { names: names.pointers.as_ptr(), values: view(scores.values()) })
        }
        _ => None,
    };
    let nothing = fedhds_matrix_view_t { data: null(), rows: 0, cols: 0, row_stride: 0 };
    let given = fedhds_rows_t {
        points: view(rows.points),
        weights: pointer(rows.weights),
        labels: pointer(&labels),
        owners: pointer(&owners),
        scores: scores.as_ref().map_or(null(), std::ptr::from_ref),
        covered: rows.covered.map_or(nothing, |covered| view(&covered.points)),
        covered_mass: rows.covered.map_or(null(), |covered| pointer(&covered.mass)),
    };
    call(&given)
}

/// The caller's scores, copied; none for NULL.
///
/// # Safety
/// Scores that are not NULL are readable, and their names and values are.
pub(crate) unsafe fn scores(scores: *const fedhds_scores_t) -> Outcome<Option<Scores>> {
    if scores.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let (given, values) = unsafe { (value(scores, "scores")?, copied(&raw const (*scores).values, "scores: values")?) };
    // SAFETY: as many names as columns, by the caller's promise.
    let names = unsafe { slice(given.names, values.cols(), "scores: names") }?;
    // SAFETY: each ends with NUL, by the caller's promise.
    let names: Vec<&str> = names.iter().map(|&name| unsafe { text(name, "scores: names") }).collect::<Outcome<_>>()?;
    Ok(Some(Scores::new(names, values)?))
}
