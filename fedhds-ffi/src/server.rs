//! The server's half of the selection: bytes in, bytes out.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::client::call_context;
use crate::control::{control, fedhds_control_t};
use crate::global::fedhds_adapter_t;
use crate::handle::{self, Handle};
use crate::method::{fedhds_method_t, pipeline};
use crate::pointer::{Out, fill, slice};
use crate::status::{Outcome, boundary, fedhds_status_t};
use fedhds_core::Error;
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::protocol::Wire as _;
use fedhds_core::server::{Server, ServerState};
use fedhds_core::stage::Aggregator;
use fedhds_core::types::{ClientId, Round, Seed};

/// The server. Its state between a round's beginning and the first update survives in `fedhds_server_state`. Freed with `fedhds_server_free`.
pub struct fedhds_server_t {
    _private: [u8; 0],
}

impl Handle for fedhds_server_t {
    type Object = Machine;
    const NAME: &'static str = "fedhds_server_t";
}

/// What is behind a server's handle.
pub(crate) struct Machine {
    pub server: Server,
    seed: u64,
}

/// A group that a client reported, and what became of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_group_t {
    /// Whose it is.
    pub client: u32,
    /// The client's number for it.
    pub cluster: u32,
    /// Records in it.
    pub records: u32,
    /// The server's cluster of it; -1 for none.
    pub server_cluster: i32,
    /// Records that were ordered of it.
    pub ordered: u32,
}

/// A server with this aggregator, of which a saved state is known by `named`, behind a new handle.
pub(crate) fn made(
    method: *const fedhds_method_t,
    layers: usize,
    seed: u64,
    aggregator: Box<dyn Aggregator>,
    named: &str,
) -> Outcome<*mut fedhds_server_t> {
    let mut server = Server::new(pipeline(method, layers)?, Seed(seed), aggregator)?;
    server.identify("aggregator", named);
    Ok(handle::new(Machine { server, seed }))
}

/// A server. `layers` and `seed` are those of its clients; adapters are joined by their mean, weighted by records (eq. 12).
///
/// # Safety
/// `server` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_new(
    method: *const fedhds_method_t,
    layers: usize,
    seed: u64,
    server: *mut *mut fedhds_server_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(server, "server") }?;
        out.set(made(method, layers, seed, Box::new(WeightedMean::new()), "mean")?);
        Ok(())
    })
}

/// Begins a round with these clients; the message goes to each of them.
///
/// `global` is the adapter that they train: updates must have its names, shapes and settings. With NULL the round selects and takes no
/// updates: the app joins adapters itself, and `fedhds_server_end_round` ends the round. A build of selection alone has no adapters.
///
/// # Safety
/// `clients` is readable for `count` numbers; `start` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_begin_round(
    server: *mut fedhds_server_t,
    round: u32,
    clients: *const u32,
    count: usize,
    global: *const fedhds_adapter_t,
    start: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, clients) = unsafe { (Out::new(start, "start")?, slice(clients, count, "clients")?) };
        let clients: Vec<ClientId> = clients.iter().copied().map(ClientId).collect();
        let global = handle::copy_or_none(global)?;
        let message = handle::write(server, |m| {
            Ok(m.server.begin_round(Round(round), &clients, global.as_deref())?.encode()?)
        })?;
        out.set(bytes(message));
        Ok(())
    })
}

/// Takes in a message that client `from` sent: its summary before the selection, its update after it. `from` is who the transport says
/// it is; a client that speaks for another is refused.
///
/// After a failure the message is as if it had not come, and the round goes on without it: log the message of the failure, which names the client,
/// and go on with the others. The round's report repeats it.
///
/// # Safety
/// `message` is readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_receive(
    server: *mut fedhds_server_t,
    from: u32,
    message: *const u8,
    length: usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let message = unsafe { slice(message, length, "message") }?;
        handle::write(server, |m| {
            m.server.receive(ClientId(from), message)?;
            Ok(())
        })
    })
}

/// Selects from what came. Clients that stay silent are left out.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_server_select(
    server: *mut fedhds_server_t,
    watch: *const fedhds_control_t,
) -> fedhds_status_t {
    boundary(|| {
        let control = control(watch)?;
        handle::write(server, |m| {
            let round = m.server.round().unwrap_or(Round(0));
            m.server.select(&call_context(m.seed, round, "server", 0, "select", &control))?;
            Ok(())
        })
    })
}

/// The order for a client that sent a summary, and how many records it asks for: 0 is no training in this round.
///
/// # Safety
/// `order` and `records` are valid for a write each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_order(
    server: *const fedhds_server_t,
    client: u32,
    order: *mut *mut fedhds_bytes_t,
    records: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, count) = unsafe { (Out::new(order, "order")?, Out::new(records, "records")?) };
        let (message, records) = handle::read(server, |m| {
            let orders = m.server.orders()?;
            let order = orders.get(&ClientId(client)).ok_or_else(|| {
                Error::protocol("client", "one that sent a summary before the selection", client.to_string())
            })?;
            Ok((order.encode()?, order.records()))
        })?;
        out.set(bytes(message));
        count.set(records);
        Ok(())
    })
}

/// Every group of the round, after `fedhds_server_select`, into a buffer of `capacity` groups; NULL asks for their number alone.
///
/// # Safety
/// `groups` is NULL or valid for writes of `capacity` groups; `count` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_selection(
    server: *const fedhds_server_t,
    groups: *mut fedhds_group_t,
    capacity: usize,
    count: *mut usize,
) -> fedhds_status_t {
    boundary(|| {
        let all: Vec<fedhds_group_t> = handle::read(server, |m| {
            let groups = m.server.selection().map(|selection| selection.groups.as_slice()).unwrap_or_default();
            let group = |g: &fedhds_core::server::SelectedGroup| fedhds_group_t {
                client: g.client.0,
                cluster: g.cluster.0,
                records: g.size,
                server_cluster: g.server_cluster.map_or(-1, |id| id.index() as i32),
                ordered: g.records,
            };
            Ok(groups.iter().map(group).collect())
        })?;
        // SAFETY: the caller's promise.
        unsafe { fill(&all, groups, capacity, count) }
    })
}

/// What the server knows, to go on in another process: the round, what the aggregator and the memory keep between rounds. Not once an update
/// of the round came in.
///
/// # Safety
/// `state` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_state(
    server: *const fedhds_server_t,
    state: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(state, "state") }?;
        let kept = handle::read(server, |m| Ok(m.server.state()?.to_bytes()?))?;
        out.set(bytes(kept));
        Ok(())
    })
}

/// Goes on from `fedhds_server_state` of a server with the same method, layers and seed; another's is refused, and the message names what
/// differs. In the middle of a round that began with a global adapter, `global` is that adapter; else it may be NULL, and one that is given
/// must be like those of earlier rounds.
///
/// # Safety
/// `state` is readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_resume(
    server: *mut fedhds_server_t,
    state: *const u8,
    length: usize,
    global: *const fedhds_adapter_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let state = ServerState::from_bytes(unsafe { slice(state, length, "state") }?)?;
        let global = handle::copy_or_none(global)?;
        handle::write(server, |m| Ok(m.server.resume(state, global.as_deref())?))
    })
}

/// Frees the server; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_server_free(server: *mut fedhds_server_t) -> fedhds_status_t {
    boundary(|| handle::free(server))
}
