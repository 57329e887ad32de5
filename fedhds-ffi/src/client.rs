//! A client's half of the selection: bytes in, bytes out.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::control::{control, fedhds_control_t};
use crate::handle::{self, Handle};
use crate::method::{fedhds_method_t, pipeline};
use crate::pointer::{Out, fill, slice, value};
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::client::{Client, SavedClient};
use fedhds_core::protocol::{Kind, SelectionOrder, Wire as _};
use fedhds_core::types::{ClientId, Context, Control, Factors, Round, RowId, Secret, Seed};

/// A client. Its state survives in `fedhds_client_state`. Freed with `fedhds_client_free`.
pub struct fedhds_client_t {
    _private: [u8; 0],
}

impl Handle for fedhds_client_t {
    type Object = Machine;
    const NAME: &'static str = "fedhds_client_t";
}

/// What is behind a client's handle.
pub(crate) struct Machine {
    pub client: Client,
    pub seed: u64,
}

/// The context of a call, with the seed that the core's simulation derives for it.
pub(crate) fn call_context(seed: u64, round: Round, who: &str, number: u32, call: &str, control: &Control) -> Context {
    Context { control: control.clone(), ..Context::new(Seed(seed).of_call(round, who, number, call)) }
}

/// What a message is: 1 round start, 2 client summary, 3 selection order, 4 global adapter, 5 local update.
///
/// # Safety
/// `message` is readable for `length` bytes; `kind` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_message_kind(message: *const u8, length: usize, kind: *mut i32) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, message) = unsafe { (Out::new(kind, "kind")?, slice(message, length, "message")?) };
        out.set(i32::from(Kind::of(message)?.byte()));
        Ok(())
    })
}

/// A client of this number. `layers` is the number of equal parts of a feature vector, one for each layer of the model, 1 for one vector; `seed`
/// is the experiment's.
///
/// # Safety
/// `client` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_new(
    number: u32,
    method: *const fedhds_method_t,
    layers: usize,
    seed: u64,
    client: *mut *mut fedhds_client_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(client, "client") }?;
        let mut client = Client::new(ClientId(number), &pipeline(method, layers)?);
        client.identify("client", number);
        client.identify("seed", seed);
        out.set(handle::new(Machine { client, seed }));
        Ok(())
    })
}

/// The rows of the records to train on, ascending, into a buffer of `capacity` numbers; NULL asks for their number alone. No rows: the client
/// does not train in this round.
///
/// # Safety
/// `order` is readable for `length` bytes; `rows` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_choose(
    client: *const fedhds_client_t,
    order: *const u8,
    length: usize,
    watch: *const fedhds_control_t,
    rows: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let order = SelectionOrder::decode(unsafe { slice(order, length, "order") }?)?;
        let control = control(watch)?;
        let chosen: Vec<u32> = handle::read(client, |machine| {
            let number = machine.client.id().0;
            let context = call_context(machine.seed, order.round, "client", number, "choose", &control);
            Ok(machine.client.choose(&order, &context)?.into_iter().map(|row| row.0).collect())
        })?;
        // SAFETY: the caller's promise.
        unsafe { fill(&chosen, rows, capacity, count) }
    })
}

/// Remembers rows that it has trained on: most methods prefer others in later rounds.
///
/// # Safety
/// `rows` is readable for `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_mark_trained(
    client: *mut fedhds_client_t,
    rows: *const u32,
    count: usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let rows = unsafe { slice(rows, count, "rows") }?;
        handle::write(client, |machine| {
            machine.client.mark_trained(rows.iter().copied().map(RowId));
            Ok(())
        })
    })
}

/// The group of each record after `fedhds_client_summarize`, -1 for none, into a buffer of `capacity` numbers; NULL asks for their number
/// alone. It stays on the client.
///
/// # Safety
/// `labels` is NULL or valid for writes of `capacity` numbers; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_groups(
    client: *const fedhds_client_t,
    labels: *mut i32,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let groups: Vec<i32> = handle::read(client, |machine| {
            let labels = machine.client.state().map(|state| state.clustering.labels.as_slice()).unwrap_or_default();
            Ok(labels.iter().map(|l| l.map_or(-1, |id| id.index() as i32)).collect())
        })?;
        // SAFETY: the caller's promise.
        unsafe { fill(&groups, labels, capacity, count) }
    })
}

/// Gives the client the 32 bytes that its upload stage's secret is made of, for tests: what is drawn from a known secret protects nobody.
/// Without it the operating system gives one at the first draw.
///
/// # Safety
/// `secret` is readable for 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_set_secret(client: *mut fedhds_client_t, secret: *const u8) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let key = unsafe { value(secret.cast::<[u8; 32]>(), "secret") }?;
        handle::write(client, |machine| {
            machine.client.set_secret(Secret::from_bytes(key));
            Ok(())
        })
    })
}

/// Agrees to show groups of at least so many distinct records, whatever the method asks for: where the method's `client.min_group_size` is
/// smaller, this client answers without groups, and so does not train. It is the app's to say in each process: it is not in the client's
/// state. 1 at first.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_client_set_least_group(client: *mut fedhds_client_t, records: usize) -> fedhds_status_t {
    boundary(|| {
        handle::write(client, |machine| {
            machine.client.set_least_group(records);
            Ok(())
        })
    })
}

/// Agrees to train on at most so many records a round: an order that comes to more is refused with `FEDHDS_STATUS_PROTOCOL`. It is the app's
/// to say in each process: it is not in the client's state. No limit at first.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_client_set_max_records(client: *mut fedhds_client_t, records: usize) -> fedhds_status_t {
    boundary(|| {
        handle::write(client, |machine| {
            machine.client.set_max_records(records);
            Ok(())
        })
    })
}

/// Agrees to train adapters of at most this rank, 1 to 16,384; the server's aggregator must take ranks, as `flexlora` does. The global adapter at
/// that rank is `fedhds_client_start_from`. It is the app's to say in each process: it is not in the client's state. Any rank at first.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_client_set_rank(client: *mut fedhds_client_t, rank: usize) -> fedhds_status_t {
    boundary(|| handle::write(client, |machine| Ok(machine.client.set_rank(rank)?)))
}

/// Which factors of the adapter the round trains, as its start said: 0 both, 1 A alone, 2 B alone. The other factor must stay as it is, to the
/// bit: `factors` of `fedhds_train_config_t` sees to it.
///
/// # Safety
/// `factors` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_factors(client: *const fedhds_client_t, factors: *mut i32) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(factors, "factors") }?;
        let trained = handle::read(client, |machine| Ok(machine.client.factors()))?;
        out.set(match trained {
            Factors::Both => 0,
            Factors::A => 1,
            Factors::B => 2,
        });
        Ok(())
    })
}

/// Forgets what the client was told at first contact (what keys of records come from, what the quality gate asks) and which round it answered
/// last: for another federation, or a server that begins again. Until then another value, another question or order for an answered round, and
/// an earlier round are refused with `FEDHDS_STATUS_PROTOCOL`; the same question or order gets the same answer again. Both are in
/// `fedhds_client_state`.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_client_unpin(client: *mut fedhds_client_t) -> fedhds_status_t {
    boundary(|| {
        handle::write(client, |machine| {
            machine.client.unpin();
            Ok(())
        })
    })
}

/// What the client remembers, to go on in another process; with the secret of its upload stage, and how often it drew, so that no draw
/// comes twice. It belongs on the client's disk alone.
///
/// # Safety
/// `state` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_state(
    client: *const fedhds_client_t,
    state: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(state, "state") }?;
        let kept = handle::read(client, |machine| Ok(machine.client.saved().to_bytes()?))?;
        out.set(bytes(kept));
        Ok(())
    })
}

/// Goes on from `fedhds_client_state` of a client with the same number, method, layers and seed; another's is refused, and the message names what
/// differs.
///
/// # Safety
/// `state` is readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_client_resume(
    client: *mut fedhds_client_t,
    state: *const u8,
    length: usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let saved = SavedClient::from_bytes(unsafe { slice(state, length, "state") }?)?;
        handle::write(client, |machine| {
            machine.client.restore(saved)?;
            Ok(())
        })
    })
}

/// Frees the client; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_client_free(client: *mut fedhds_client_t) -> fedhds_status_t {
    boundary(|| handle::free(client))
}
