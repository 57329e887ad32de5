//! A client's summary: what the app knows of its records goes in, what the server learns comes out.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::client::{call_context, fedhds_client_t};
use crate::control::{control, fedhds_control_t};
use crate::handle;
use crate::matrix::{copied, fedhds_matrix_view_t};
use crate::pointer::{Out, slice};
use crate::rows::{self, fedhds_scores_t};
use crate::settings::settings;
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::protocol::{RoundStart, Wire as _};
use fedhds_core::stage::Rows;
use fedhds_core::types::Matrix;
use std::ptr::null;

/// What an app knows of its records beside their features. Begin with `fedhds_summarize_options_t mine = {sizeof mine}`: what is not set is 0
/// or NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_summarize_options_t {
    /// The size of this structure.
    pub struct_size: usize,
    /// How many records there are, where there are no features: for methods that look at none.
    pub records: usize,
    /// Numbers of the records, row i of record i, or NULL: a scorer of the app's own is the app calling its own function before. The client's
    /// clusterer and selector see them; the mean over each group goes up where the method has `client.share_scores`.
    pub scores: *const fedhds_scores_t,
    /// Which near copy each record is of, one number for each, as of `fedhds_near_copies_labels`; NULL where nothing is known. A method with
    /// `client.near_copies = "collapse"` counts records of one number once, and one of them may train.
    pub copies: *const u32,
    /// Features of the records' prompts alone, row i of record i, as of `fedhds_text_features_of_prompts`, which tell topics apart where the gate
    /// puts responses under other prompts; NULL takes the features.
    pub prompts: *const fedhds_matrix_view_t,
    /// Tokens of each record, one number for each: prompt, response and end of sequence, from 1; NULL where they are not known. A method whose
    /// budget is in tokens (`count = { budget = { tokens = N } }`) needs them.
    pub tokens: *const u32,
}

const NOTHING: fedhds_summarize_options_t = fedhds_summarize_options_t {
    struct_size: size_of::<fedhds_summarize_options_t>(),
    records: 0,
    scores: null(),
    copies: null(),
    prompts: null(),
    tokens: null(),
};

/// # Safety
/// As [`fedhds_client_summarize_with`], but for the options, which are not NULL.
unsafe fn summarize(
    client: *mut fedhds_client_t,
    start: *const u8,
    length: usize,
    features: *const fedhds_matrix_view_t,
    options: &fedhds_summarize_options_t,
    watch: *const fedhds_control_t,
    summary: *mut *mut fedhds_bytes_t,
) -> Outcome {
    // SAFETY: the caller's promise.
    let (out, start) = unsafe { (Out::new(summary, "summary")?, slice(start, length, "start")?) };
    let start = RoundStart::decode(start)?;
    let features = if features.is_null() {
        Matrix::zeros(options.records, 0)
    } else {
        // SAFETY: the caller's promise.
        unsafe { copied(features, "features") }?
    };
    // SAFETY: the caller's promise.
    let scores = unsafe { rows::scores(options.scores) }?;
    let copies = match options.copies.is_null() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { slice(options.copies, features.rows(), "copies") }?,
    };
    let tokens = match options.tokens.is_null() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { slice(options.tokens, features.rows(), "tokens") }?,
    };
    let prompts = match options.prompts.is_null() {
        true => None,
        // SAFETY: the caller's promise.
        false => Some(unsafe { copied(options.prompts, "prompts") }?),
    };
    if let Some(prompts) = &prompts {
        prompts.check_finite("prompts")?;
    }
    let control = control(watch)?;
    let message = handle::write(client, |machine| {
        let number = machine.client.id().0;
        let context = call_context(machine.seed, start.round, "client", number, "summarize", &control);
        let records =
            Rows::new(&features).scores(scores.as_ref()).copies(copies).prompts(prompts.as_ref()).tokens(tokens);
        Ok(machine.client.summarize(&start, records, &context)?.encode()?)
    })?;
    out.set(bytes(message));
    Ok(())
}

/// Groups the records and reports the groups, in answer to the server's round start. `features` has row i for record i; NULL is for methods
/// that look at none, with the number of `records`. `scores` are as in `fedhds_summarize_options_t`, or NULL.
///
/// # Safety
/// `start` is readable for `length` bytes; `features` and its values are where it is not NULL, and so are `scores`, its names and values;
/// `summary` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_summarize(
    client: *mut fedhds_client_t,
    start: *const u8,
    length: usize,
    features: *const fedhds_matrix_view_t,
    records: usize,
    scores: *const fedhds_scores_t,
    watch: *const fedhds_control_t,
    summary: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    let options = fedhds_summarize_options_t { records, scores, ..NOTHING };
    // SAFETY: the caller's promise.
    boundary(|| unsafe { summarize(client, start, length, features, &options, watch, summary) })
}

/// `fedhds_client_summarize` with what else the app knows of its records: near copies, features of the prompts, and tokens. `options` is read during the
/// call; NULL is for nothing beside the features. Where the method groups once and the server knows the groups, the message is a digest.
///
/// # Safety
/// `start` is readable for `length` bytes; `features` and its values are where it is not NULL; `options` is NULL or points to a structure of the
/// size that it begins with, and what is not NULL in it is readable, `copies` and `tokens` for as many numbers as there are records; `summary` is
/// valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_summarize_with(
    client: *mut fedhds_client_t,
    start: *const u8,
    length: usize,
    features: *const fedhds_matrix_view_t,
    options: *const fedhds_summarize_options_t,
    watch: *const fedhds_control_t,
    summary: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        let options = match options.is_null() {
            true => NOTHING,
            // SAFETY: the caller's promise.
            false => unsafe { settings(options, NOTHING, "options") }?,
        };
        // SAFETY: the caller's promise.
        unsafe { summarize(client, start, length, features, &options, watch, summary) }
    })
}
