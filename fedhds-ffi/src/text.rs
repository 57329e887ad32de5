//! Features of texts, for which no model is needed.

use crate::control::{context, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::matrix::{fedhds_matrix_t, matrix};
use crate::pointer::{Out, fill, text, text_or_none};
use crate::records::fedhds_records_t;
use crate::settings::{init, settings};
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::features::{TextFeatures, TextFeaturesConfig};
use fedhds_core::stage::FeatureExtractor as _;
use fedhds_core::types::Seed;
use std::ffi::c_char;

/// What makes features of texts: a hash of the runs of letters in them, straight into the coordinates that all clients share. It never
/// changes. Freed with `fedhds_text_features_free`.
pub struct fedhds_text_features_t {
    _private: [u8; 0],
}

impl Handle for fedhds_text_features_t {
    type Object = TextFeatures;
    const NAME: &'static str = "fedhds_text_features_t";
}

/// Settings of `fedhds_text_features_new`, filled by `fedhds_text_features_config_init`. Clients of one federation have them alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_text_features_config_t {
    /// The size of this structure, as `_init` set it.
    pub struct_size: usize,
    /// Columns, 4 to 4096; default 128, which is also the default of a method's `client.shared_dims`: the two must be equal.
    pub dims: usize,
    /// The seed of the hash; default 241010926, which never changes.
    pub seed: u64,
}

impl Default for fedhds_text_features_config_t {
    fn default() -> Self {
        let own = TextFeaturesConfig::default();
        Self { struct_size: size_of::<Self>(), dims: own.dims, seed: own.seed.0 }
    }
}

/// Fills in the defaults. `size` is `sizeof *config`: a program that was compiled against an older header has a shorter structure.
///
/// # Safety
/// `config` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_text_features_config_init(
    config: *mut fedhds_text_features_config_t,
    size: usize,
) -> fedhds_status_t {
    // SAFETY: the caller's promise.
    boundary(|| unsafe { init(config, size, fedhds_text_features_config_t::default()) })
}

/// What makes features of texts.
///
/// # Safety
/// `config` is readable; `features` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_text_features_new(
    config: *const fedhds_text_features_config_t,
    features: *mut *mut fedhds_text_features_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, given) =
            unsafe { (Out::new(features, "features")?, settings(config, Default::default(), "config")?) };
        let made = TextFeatures::new(TextFeaturesConfig { dims: given.dims, seed: Seed(given.seed) })?;
        out.set(handle::new(made));
        Ok(())
    })
}

/// The row of one record, into a buffer of `capacity` values; NULL asks for their number alone, which is `dims`. It has length 1, or is all 0
/// where there is no word. It depends on nothing but the texts and the settings, to the last bit.
///
/// `input` and `response` may be NULL: with both NULL it is the row of a prompt, of which `fedhds_summarize_options_t` takes a matrix.
///
/// # Safety
/// The texts that are not NULL end with NUL; `row` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_text_features_row(
    features: *const fedhds_text_features_t,
    instruction: *const c_char,
    input: *const c_char,
    response: *const c_char,
    row: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (instruction, input, response) = unsafe {
            (
                text(instruction, "instruction")?,
                text_or_none(input, "input")?.unwrap_or_default(),
                text_or_none(response, "response")?.unwrap_or_default(),
            )
        };
        let values = handle::read(features, |features| {
            let mut values = vec![0.0; features.hasher().dims()];
            features.hasher().row(instruction, &[input, response], &mut values)?;
            Ok(values)
        })?;
        // SAFETY: the caller's promise.
        unsafe { fill(&values, row, capacity, count) }
    })
}

/// The rows of records, `[records, dims]`: of instruction, input and first response.
///
/// # Safety
/// `matrix` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_text_features_of_records(
    features: *const fedhds_text_features_t,
    records: *const fedhds_records_t,
    watch: *const fedhds_control_t,
    matrix: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(matrix, "matrix") }?;
        let features = handle::copy(features)?;
        let context = context(0, watch)?;
        let rows = handle::read(records, |records| Ok(features.extract(&records.list, None, &context)?))?;
        out.set(self::matrix(rows));
        Ok(())
    })
}

/// The rows of the records' instructions alone, `[records, dims]`: what `prompts` of `fedhds_summarize_options_t` takes.
///
/// # Safety
/// `matrix` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_text_features_of_prompts(
    features: *const fedhds_text_features_t,
    records: *const fedhds_records_t,
    watch: *const fedhds_control_t,
    matrix: *mut *mut fedhds_matrix_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(matrix, "matrix") }?;
        let features = handle::copy(features)?;
        let context = context(0, watch)?;
        let rows = handle::read(records, |records| Ok(features.prompts(&records.list, &context.control)?))?;
        out.set(self::matrix(rows));
        Ok(())
    })
}

/// Frees it; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_text_features_free(features: *mut fedhds_text_features_t) -> fedhds_status_t {
    boundary(|| handle::free(features))
}
