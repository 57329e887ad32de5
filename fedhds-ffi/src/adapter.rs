//! LoRA adapters: PEFT's folders, bytes, messages, values, means.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::global::fedhds_adapter_t;
use crate::handle;
use crate::pointer::{Out, fill, slice, text, text_or_none};
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_INPUT, FEDHDS_STATUS_NOT_FINITE};
use crate::status::{Failure, boundary};
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::parse;
use fedhds_core::protocol::{GlobalAdapter, Wire as _};
use fedhds_core::stage::{Aggregator as _, ClientUpdate};
use fedhds_core::train::{adapter_file, read_adapter, write_adapter};
use fedhds_core::types::{Adapter, AdapterConfig, ClientId, Round};
use std::ffi::c_char;
use std::sync::Arc;

pub(crate) fn adapter(values: Adapter) -> *mut fedhds_adapter_t {
    handle::new(Arc::new(values))
}

/// Reads PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`.
///
/// # Safety
/// `folder` ends with NUL; `adapter` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_load(
    folder: *const c_char,
    adapter: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, folder) = unsafe { (Out::new(adapter, "adapter")?, text(folder, "folder")?) };
        out.set(self::adapter(read_adapter(folder)?));
        Ok(())
    })
}

/// Writes PEFT's folder, in float32. `base_model` is the name that PEFT shall find the base model by, or NULL.
///
/// # Safety
/// The texts that are not NULL end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_save(
    adapter: *const fedhds_adapter_t,
    folder: *const c_char,
    base_model: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (folder, base) = unsafe { (text(folder, "folder")?, text_or_none(base_model, "base_model")?) };
        Ok(write_adapter(folder, &*handle::copy(adapter)?, base)?)
    })
}

/// The tensors as a safetensors file under PEFT's names, and the settings as JSON.
///
/// # Safety
/// `tensors` and `config` are valid for a write each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_to_bytes(
    adapter: *const fedhds_adapter_t,
    tensors: *mut *mut fedhds_bytes_t,
    config: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (tensors, config) = unsafe { (Out::new(tensors, "tensors")?, Out::new(config, "config")?) };
        let adapter = handle::copy(adapter)?;
        let made = adapter_file::to_bytes(&adapter)?;
        let json = parse::to_json("adapter", &adapter.config)?;
        tensors.set(bytes(made));
        config.set(bytes(json.into_bytes()));
        Ok(())
    })
}

/// The adapter of `fedhds_adapter_to_bytes`; `config` is its JSON as text.
///
/// # Safety
/// `tensors` is readable for `length` bytes; `config` ends with NUL; `adapter` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_from_bytes(
    tensors: *const u8,
    length: usize,
    config: *const c_char,
    adapter: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, tensors, config) =
            unsafe { (Out::new(adapter, "adapter")?, slice(tensors, length, "tensors")?, text(config, "config")?) };
        let config: AdapterConfig = parse::from_json("adapter", config)?;
        out.set(self::adapter(adapter_file::from_bytes(tensors, &config)?));
        Ok(())
    })
}

/// The message that tells clients what a round starts from.
///
/// # Safety
/// `message` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_encode(
    adapter: *const fedhds_adapter_t,
    round: u32,
    message: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(message, "message") }?;
        let adapter = (*handle::copy(adapter)?).clone();
        out.set(bytes(GlobalAdapter::new(Round(round), adapter).encode()?));
        Ok(())
    })
}

/// The adapter of `fedhds_adapter_encode`, and its round.
///
/// # Safety
/// `message` is readable for `length` bytes; `adapter` and `round` are valid for a write each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_decode(
    message: *const u8,
    length: usize,
    adapter: *mut *mut fedhds_adapter_t,
    round: *mut u32,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, number, message) =
            unsafe { (Out::new(adapter, "adapter")?, Out::new(round, "round")?, slice(message, length, "message")?) };
        let global = GlobalAdapter::decode(message)?;
        out.set(self::adapter(global.adapter));
        number.set(global.round.0);
        Ok(())
    })
}

/// Whether two adapters have the same settings and the same values, bit for bit.
///
/// # Safety
/// `equal` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_equal(
    adapter: *const fedhds_adapter_t,
    other: *const fedhds_adapter_t,
    equal: *mut bool,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(equal, "equal") }?;
        out.set(handle::copy(adapter)? == handle::copy(other)?);
        Ok(())
    })
}

/// The mean of adapters, weighted by the records that each was trained on (eq. 12), summed in this order.
///
/// # Safety
/// `adapters` and `records` are readable for `count` values; `mean` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_mean(
    adapters: *const *const fedhds_adapter_t,
    records: *const usize,
    count: usize,
    mean: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, adapters, records) = unsafe {
            (Out::new(mean, "mean")?, slice(adapters, count, "adapters")?, slice(records, count, "records")?)
        };
        let mut sum = WeightedMean::new();
        for (number, (&one, &records)) in adapters.iter().zip(records).enumerate() {
            let adapter = (*handle::copy(one)?).clone();
            if number == 0 {
                sum.begin(&adapter, Round(0))?;
            }
            sum.add(&ClientUpdate::new(ClientId(number as u32), adapter, records))?;
        }
        if adapters.is_empty() {
            return Err(Failure::new(FEDHDS_STATUS_INPUT, "`adapters`: expected at least one, got none"));
        }
        match sum.finish()?.adapter {
            Some(joined) => out.set(adapter(joined)),
            None => {
                return Err(Failure::new(
                    FEDHDS_STATUS_INPUT,
                    "`records`: expected at least one that is above 0, got none",
                ));
            }
        }
        Ok(())
    })
}

/// The adapter's values, tensor after tensor in the order of their names, row after row, into a buffer of `capacity` values; NULL asks
/// for their number alone.
///
/// # Safety
/// `values` is NULL or valid for writes of `capacity` values; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_values(
    adapter: *const fedhds_adapter_t,
    values: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let adapter = handle::copy(adapter)?;
        let all: Vec<f32> = adapter.tensors.values().flat_map(|tensor| &tensor.data).copied().collect();
        // SAFETY: the caller's promise.
        unsafe { fill(&all, values, capacity, count) }
    })
}

/// An adapter of the settings, names and shapes of `like` with these values, in the order of `fedhds_adapter_values`. `values` stays the
/// caller's.
///
/// # Safety
/// `values` is readable for `count` values; `adapter` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_adapter_with_values(
    like: *const fedhds_adapter_t,
    values: *const f32,
    count: usize,
    adapter: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, mut rest) = unsafe { (Out::new(adapter, "adapter")?, slice(values, count, "values")?) };
        let mut made = (*handle::copy(like)?).clone();
        if made.parameters() != count {
            let message = format!("`values`: expected {}, got {count}", made.parameters());
            return Err(Failure::new(FEDHDS_STATUS_INPUT, message));
        }
        if let Some(at) = rest.iter().position(|value| !value.is_finite()) {
            let message = format!("`values`: expected finite values, got {} at {at}", rest[at]);
            return Err(Failure::new(FEDHDS_STATUS_NOT_FINITE, message));
        }
        for tensor in made.tensors.values_mut() {
            let (own, others) = rest.split_at(tensor.data.len());
            tensor.data.copy_from_slice(own);
            rest = others;
        }
        out.set(self::adapter(made));
        Ok(())
    })
}

/// Frees the adapter; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_adapter_free(adapter: *mut fedhds_adapter_t) -> fedhds_status_t {
    boundary(|| handle::free(adapter))
}
