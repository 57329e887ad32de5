//! A client's part in the quality gate: pairs of a response and a prompt out, losses in.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::callback::{UserData, fedhds_losses_fn};
use crate::client::{call_context, fedhds_client_t};
use crate::control::{control, fedhds_control_t};
use crate::custom::{null_function, returned};
use crate::handle;
use crate::pair::fedhds_pair_t;
use crate::pointer::{Out, fill, slice};
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::Result;
use fedhds_core::client::Pair;
use fedhds_core::protocol::{ClientSummary, OrderTokens, RoundStart, Section as _, SelectionOrder, Wire as _};
use fedhds_core::types::RowId;
use std::ffi::c_void;

fn pair(pair: &Pair) -> fedhds_pair_t {
    fedhds_pair_t { response: pair.response.0, prompt: pair.prompt.0 }
}

/// What the server's gate asks of this client after its summary: the pairs whose losses `fedhds_client_answer` takes, into a buffer of
/// `capacity` pairs; NULL asks for their number alone. None where the server does not ask, or knows the answer, and where the client's
/// records are of too few topics to tell. A client may decline by sending its summary as it is.
///
/// # Safety
/// `start` is readable for `length` bytes; `pairs` is NULL or valid for writes of `capacity` pairs; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_pilot(
    client: *const fedhds_client_t,
    start: *const u8,
    length: usize,
    pairs: *mut fedhds_pair_t,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let start = RoundStart::decode(unsafe { slice(start, length, "start") }?)?;
        let asked: Vec<fedhds_pair_t> =
            handle::read(client, |machine| Ok(machine.client.pilot(&start)?.iter().map(pair).collect()))?;
        // SAFETY: the caller's promise.
        unsafe { fill(&asked, pairs, capacity, count) }
    })
}

/// The summary with the answer to the gate's question, a histogram of what the losses say: it goes to the server in the summary's place. `losses` are those of
/// `fedhds_client_pilot`'s pairs, in their order, NaN where there is none. With no pairs the answer is that this client abstains; where
/// the server does not ask, the summary stays as it is.
///
/// # Safety
/// `start`, `summary` and `losses` are readable for so many bytes and numbers; `answered` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_answer(
    client: *const fedhds_client_t,
    start: *const u8,
    start_length: usize,
    summary: *const u8,
    summary_length: usize,
    losses: *const f32,
    count: usize,
    answered: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, start, summary, losses) = unsafe {
            (
                Out::new(answered, "answered")?,
                slice(start, start_length, "start")?,
                slice(summary, summary_length, "summary")?,
                slice(losses, count, "losses")?,
            )
        };
        let (start, mut summary) = (RoundStart::decode(start)?, ClientSummary::decode(summary)?);
        let message = handle::read(client, |machine| {
            machine.client.answer(&mut summary, &start, losses)?;
            Ok(summary.encode()?)
        })?;
        out.set(bytes(message));
        Ok(())
    })
}

/// `fedhds_client_choose`, leaving out bad records where the order says that the gate is open; else `losses` is not called. What did not pass is
/// remembered, also in `fedhds_client_state`, and not asked for again.
///
/// `losses` is called with the candidates, and again for those that take the place of what did not pass. Where it fails, the call does, and
/// nothing is remembered. A buffer of NULL asks for the most rows there may be, and a buffer that has no room for so many is too small: then
/// `losses` is not called. As many as the order asks for always suffice; for an order in tokens as many as there are records do.
///
/// # Safety
/// `order` is readable for `length` bytes; `user_data` bears what `losses` does with it; `rows` is NULL or valid for writes of `capacity`
/// numbers; `chosen` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_choose_scored(
    client: *mut fedhds_client_t,
    order: *const u8,
    length: usize,
    losses: fedhds_losses_fn,
    user_data: *mut c_void,
    watch: *const fedhds_control_t,
    rows: *mut u32,
    capacity: usize,
    chosen: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let order = SelectionOrder::decode(unsafe { slice(order, length, "order") }?)?;
        let call = losses.ok_or_else(null_function)?;
        let control = control(watch)?;
        let user_data = UserData(user_data);
        let mut losses = |pairs: &[Pair]| -> Result<Vec<f32>> {
            control.check()?;
            let given: Vec<fedhds_pair_t> = pairs.iter().map(pair).collect();
            let mut values = vec![f32::NAN; given.len()];
            // SAFETY: a function of the caller's, called as its type says.
            let code = unsafe { call(given.as_ptr(), given.len(), values.as_mut_ptr(), user_data.0) };
            returned("losses", code).map(|()| values)
        };
        // SAFETY: only looked at, so that no work is done for nothing.
        let _ = unsafe { Out::new(chosen, "chosen") }?;
        let picked = handle::write(client, |machine| {
            let number = machine.client.id().0;
            let context = call_context(machine.seed, order.round, "client", number, "choose", &control);
            // Records that are shorter than those that did not pass may be more of them.
            let all = machine.client.state().map_or(0, |state| state.clustering.labels.len() as u32);
            let in_tokens = order.sections.bytes(OrderTokens::NUMBER).is_some();
            let enough = if in_tokens { all as usize } else { order.records() };
            if rows.is_null() || capacity < enough {
                // With a closed gate there are no fewer.
                let most = match in_tokens {
                    true => (0..all).map(RowId).collect(),
                    false => machine.client.choose(&order, &context)?,
                };
                if rows.is_null() || capacity < most.len() {
                    return Ok(most);
                }
            }
            Ok(machine.client.choose_scored(&order, &context, &mut losses)?)
        })?;
        let picked: Vec<u32> = picked.into_iter().map(|row| row.0).collect();
        // SAFETY: the caller's promise.
        unsafe { fill(&picked, rows, capacity, chosen) }
    })
}
