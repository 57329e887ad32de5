//! LoRA training on a client.

use crate::adapter::adapter;
use crate::buffer::{bytes, fedhds_bytes_t};
use crate::client::{call_context, fedhds_client_t};
use crate::config::{fedhds_train_config_t, train_params, trained_factors};
use crate::control::{context, fedhds_control_t};
use crate::global::fedhds_adapter_t;
use crate::handle::{self, Handle};
use crate::model::{all, fedhds_model_t, renderer};
use crate::pointer::{Out, fill, slice};
use crate::records::fedhds_records_t;
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::protocol::{SelectionOrder, Wire as _};
use fedhds_core::stage::{Trained, Trainer as _};
use fedhds_core::train::LoraTrainer;
use fedhds_core::types::{Round, RowId, Seed};
use std::ffi::c_char;
use std::sync::Arc;

/// What a training gave. Freed with `fedhds_trained_free`.
pub struct fedhds_trained_t {
    _private: [u8; 0],
}

impl Handle for fedhds_trained_t {
    type Object = Arc<Trained>;
    const NAME: &'static str = "fedhds_trained_t";
}

/// The seed that the core's simulation gives to the training of a client in a round, from the experiment's seed.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_train_seed(seed: u64, round: u32, client: u32) -> u64 {
    call_context(seed, Round(round), "client", client, "train", &Default::default()).seed.0
}

/// The seed that the core's simulation gives to the first adapter, from the experiment's seed.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_init_seed(seed: u64) -> u64 {
    Seed(seed).before_rounds("init").0
}

/// A fresh adapter of a model: A drawn by the seed, B zero.
///
/// # Safety
/// `config` is readable; `fresh` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_init_adapter(
    model: *const fedhds_model_t,
    config: *const fedhds_train_config_t,
    seed: u64,
    fresh: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, (settings, train)) = unsafe { (Out::new(fresh, "fresh")?, train_params(config)?) };
        let model = handle::copy(model)?;
        // SAFETY: NULL is the default template; an adapter does not depend on it.
        let (renderer, _) = unsafe { renderer(&model, std::ptr::null()) }?;
        let trainer = LoraTrainer::new(model, renderer, settings, train)?;
        out.set(adapter(trainer.init(&context(seed, std::ptr::null())?)?));
        Ok(())
    })
}

/// The adapter that a client trains from: the global one, at the client's rank where that is smaller (`fedhds_client_set_rank`).
///
/// # Safety
/// `start` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_start_from(
    client: *const fedhds_client_t,
    global: *const fedhds_adapter_t,
    start: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(start, "start") }?;
        let global = handle::copy(global)?;
        out.set(adapter(handle::read(client, |machine| Ok(machine.client.start_from(&global)?))?));
        Ok(())
    })
}

/// Trains an adapter on records; their order and dropout come from the seed.
///
/// # Safety
/// `prompt` is NULL or ends with NUL; `config` is readable; `trained` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_model_train(
    model: *const fedhds_model_t,
    start: *const fedhds_adapter_t,
    records: *const fedhds_records_t,
    prompt: *const c_char,
    config: *const fedhds_train_config_t,
    seed: u64,
    watch: *const fedhds_control_t,
    trained: *mut *mut fedhds_trained_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, (settings, train)) = unsafe { (Out::new(trained, "trained")?, train_params(config)?) };
        // SAFETY: the caller's promise.
        let factors = unsafe { trained_factors(config) }?;
        let (model, start, records) = (handle::copy(model)?, handle::copy(start)?, all(records)?);
        // SAFETY: the caller's promise.
        let (renderer, _) = unsafe { renderer(&model, prompt) }?;
        let trainer = LoraTrainer::new(model, renderer, settings, train)?;
        let context = context(seed, watch)?.training(factors);
        out.set(handle::new(Arc::new(trainer.train(&start, &records, &context)?)));
        Ok(())
    })
}

/// The adapter after training.
///
/// # Safety
/// `after` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_trained_adapter(
    trained: *const fedhds_trained_t,
    after: *mut *mut fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(after, "after") }?;
        out.set(adapter(handle::copy(trained)?.adapter.clone()));
        Ok(())
    })
}

/// The mean loss of each optimiser step, in nats, into a buffer of `capacity` numbers; NULL asks for their number alone.
///
/// # Safety
/// `losses` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_trained_losses(
    trained: *const fedhds_trained_t,
    losses: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let trained = handle::copy(trained)?;
        // SAFETY: the caller's promise.
        unsafe { fill(&trained.losses, losses, capacity, count) }
    })
}

/// What a training of the caller's own gave: the adapter after it, the mean loss of each optimiser step in nats (`count` of them, 0 where
/// none was measured), steps that were `skipped` since loss or gradient was not finite, and `tokens` that went through the model.
/// `adapter` and `losses` stay the caller's.
///
/// # Safety
/// `losses` is readable for `count` numbers; `trained` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_trained_new(
    adapter: *const fedhds_adapter_t,
    losses: *const f32,
    count: usize,
    skipped: usize,
    tokens: u64,
    trained: *mut *mut fedhds_trained_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, losses) = unsafe { (Out::new(trained, "trained")?, slice(losses, count, "losses")?) };
        let adapter = (*handle::copy(adapter)?).clone();
        out.set(handle::new(Arc::new(Trained { adapter, losses: losses.to_vec(), skipped, tokens })));
        Ok(())
    })
}

/// The client's message of what training on these rows of the order gave, for `fedhds_server_receive`: those that `fedhds_client_choose`
/// answered, or fewer.
///
/// # Safety
/// `order` is readable for `length` bytes, `rows` for `count` numbers; `update` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_update(
    client: *const fedhds_client_t,
    order: *const u8,
    length: usize,
    rows: *const u32,
    count: usize,
    trained: *const fedhds_trained_t,
    update: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, order, rows) =
            unsafe { (Out::new(update, "update")?, slice(order, length, "order")?, slice(rows, count, "rows")?) };
        let order = SelectionOrder::decode(order)?;
        let rows: Vec<RowId> = rows.iter().copied().map(RowId).collect();
        let trained = (*handle::copy(trained)?).clone();
        let message = handle::read(client, |m| Ok(m.client.update(&order, &rows, trained)?.encode()?))?;
        out.set(bytes(message));
        Ok(())
    })
}

/// Frees what a training gave; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_trained_free(trained: *mut fedhds_trained_t) -> fedhds_status_t {
    boundary(|| handle::free(trained))
}
