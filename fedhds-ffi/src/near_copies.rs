//! Records of a client that say the same.

use crate::handle::{self, Handle};
use crate::pointer::{Out, fill, text, text_or_none};
use crate::records::fedhds_records_t;
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::features::{NearCopies, NearCopiesConfig};
use fedhds_core::parse;
use std::ffi::c_char;

/// Finds near copies in records that come one by one: copies that differ in blanks, case, punctuation or template wording. It keeps a few
/// hashes of each record, and no text. Freed with `fedhds_near_copies_free`.
pub struct fedhds_near_copies_t {
    _private: [u8; 0],
}

impl Handle for fedhds_near_copies_t {
    type Object = NearCopies;
    const NAME: &'static str = "fedhds_near_copies_t";
}

/// No records yet. `options` is NULL or JSON such as `{"extra_words": 6, "template_words": ["please", "task"]}`: how many words a template may
/// add to an instruction, and the words that say nothing at the ends of an instruction or an input.
///
/// # Safety
/// `options` is NULL or ends with NUL; `copies` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_near_copies_new(
    options: *const c_char,
    copies: *mut *mut fedhds_near_copies_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, options) = unsafe { (Out::new(copies, "copies")?, text_or_none(options, "options")?) };
        let config: NearCopiesConfig = match options {
            None => NearCopiesConfig::default(),
            Some(json) => parse::from_json("options", json)?,
        };
        out.set(handle::new(NearCopies::new(config)?));
        Ok(())
    })
}

/// Takes in a record; `input` may be NULL, `response` is the one that training uses.
///
/// # Safety
/// The texts that are not NULL end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_near_copies_add(
    copies: *mut fedhds_near_copies_t,
    instruction: *const c_char,
    input: *const c_char,
    response: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (instruction, input, response) = unsafe {
            (
                text(instruction, "instruction")?,
                text_or_none(input, "input")?.unwrap_or_default(),
                text(response, "response")?,
            )
        };
        handle::write(copies, |copies| {
            copies.add(instruction, input, response);
            Ok(())
        })
    })
}

/// Takes in records, in their order, each with its first response.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_near_copies_add_records(
    copies: *mut fedhds_near_copies_t,
    records: *const fedhds_records_t,
) -> fedhds_status_t {
    boundary(|| {
        handle::write(copies, |copies| {
            handle::read(records, |records| {
                records.list.iter().for_each(|r| copies.add(&r.instruction, &r.input, r.response()));
                Ok(())
            })
        })
    })
}

/// A number for each record that came, in their order, into a buffer of `capacity` numbers; NULL asks for their number alone. Near copies have
/// the same one; numbers are dense, in the order of the first of each. It is what `copies` of `fedhds_summarize_options_t` takes.
///
/// # Safety
/// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_near_copies_labels(
    copies: *const fedhds_near_copies_t,
    labels: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let groups: Vec<u32> = handle::read(copies, |copies| {
            // No more than a client may hold, so that each fits.
            Ok(copies.groups()?.into_iter().map(|group| group as u32).collect())
        })?;
        // SAFETY: the caller's promise.
        unsafe { fill(&groups, labels, capacity, count) }
    })
}

/// Frees it; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_near_copies_free(copies: *mut fedhds_near_copies_t) -> fedhds_status_t {
    boundary(|| handle::free(copies))
}
