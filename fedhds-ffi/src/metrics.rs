//! Rouge-L.

use crate::pointer::{Out, slice, text};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_INPUT, FEDHDS_STATUS_PARAMETER};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::metrics::{RougeFlavor, rouge_l_best};
use std::ffi::c_char;

/// Precision, recall and F1 of Rouge-L, each in [0, 1].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_rouge_t {
    /// Of the prediction's words, the share that the reference has.
    pub precision: f64,
    /// Of the reference's words, the share that the prediction has.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// The flavour of a number: 0 package `rouge` 1.0.1 (the paper's), 1 `rouge_score`, 2 the same with its stemmer.
pub(crate) fn flavor(number: i32) -> Outcome<RougeFlavor> {
    match number {
        0 => Ok(RougeFlavor::Rouge),
        1 => Ok(RougeFlavor::RougeScore),
        2 => Ok(RougeFlavor::RougeScoreStemmed),
        other => Err(Failure::new(FEDHDS_STATUS_PARAMETER, format!("flavor: expected 0, 1 or 2, got {other}"))),
    }
}

/// Rouge-L of a text against the reference that fits best by F1. `flavor` is 0 for package `rouge` 1.0.1 (the paper's), 1 for `rouge_score`, 2
/// for the same with its stemmer.
///
/// # Safety
/// `prediction` and the `count` texts at `references` end with NUL; `rouge` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_rouge_l(
    prediction: *const c_char,
    references: *const *const c_char,
    count: usize,
    flavor: i32,
    rouge: *mut fedhds_rouge_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let rouge = unsafe { Out::new(rouge, "rouge") }?;
        // SAFETY: the caller's promise.
        let (prediction, references) =
            unsafe { (text(prediction, "prediction")?, slice(references, count, "references")?) };
        if references.is_empty() {
            return Err(Failure::new(FEDHDS_STATUS_INPUT, "references: expected at least one, got none"));
        }
        // SAFETY: the caller's promise.
        let references = references
            .iter()
            .map(|&r| unsafe { text(r, "references") }.map(String::from))
            .collect::<Outcome<Vec<_>>>()?;
        let score = rouge_l_best(self::flavor(flavor)?, prediction, &references);
        rouge.set(fedhds_rouge_t { precision: score.precision, recall: score.recall, f1: score.f1 });
        Ok(())
    })
}
