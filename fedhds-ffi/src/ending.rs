//! How a round of the server ends, and who is left out of it.

use crate::buffer::{bytes, fedhds_bytes_t};
use crate::handle;
use crate::pointer::{Out, slice, text};
use crate::server::fedhds_server_t;
use crate::status::fedhds_status_t::{self, FEDHDS_STATUS_INPUT};
use crate::status::{Failure, Outcome, boundary};
use fedhds_core::Error;
use fedhds_core::server::RoundReport;
use fedhds_core::types::ClientId;
use std::collections::BTreeMap;
use std::ffi::c_char;
#[cfg(feature = "model")]
use {crate::adapter::adapter as handle_of, crate::global::fedhds_adapter_t};

fn json(report: &RoundReport) -> Outcome<Vec<u8>> {
    Ok(serde_json::to_vec(report).map_err(|e| Error::input("report", "one that can be written", e))?)
}

/// Notes that a client is left out of the round, for a reason that the app's transport knows: it failed, or went away. The round's report says
/// so. Clients that stay silent need not be noted.
///
/// # Safety
/// `reason` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_leave_out(
    server: *mut fedhds_server_t,
    client: u32,
    reason: *const c_char,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let reason = unsafe { text(reason, "reason") }?;
        handle::write(server, |m| {
            m.server.leave_out(ClientId(client), Error::stage("transport", reason));
            Ok(())
        })
    })
}

/// Ends the round: the joined adapter, NULL where nobody trained or what was joined is not taken (`discarded` in the report says why): then
/// the adapter stays as it was.
///
/// `report` is JSON: `left_out` (reasons by client), `trained` (records by client), `aggregation` with `weights`, `limited`, `measures` and
/// `discarded`. After a failure of the aggregator the round may be finished again or left by `fedhds_server_abandon_round`.
///
/// # Safety
/// `adapter` and `report` are valid for a write each.
#[cfg(feature = "model")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_finish_round(
    server: *mut fedhds_server_t,
    adapter: *mut *mut fedhds_adapter_t,
    report: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (joined, out) = unsafe { (Out::new(adapter, "adapter")?, Out::new(report, "report")?) };
        let finished = handle::write(server, |m| Ok(m.server.finish_round()?))?;
        let report = json(&finished.report)?;
        joined.set(finished.adapter.map_or(std::ptr::null_mut(), handle_of));
        out.set(bytes(report));
        Ok(())
    })
}

/// Ends a round whose adapters the app joined itself: `clients[i]` trained on `records[i]` records, for the clients whose update the app
/// accepted. The method's memory learns of them. `report` is JSON as of `fedhds_server_finish_round`.
///
/// # Safety
/// `clients` and `records` are readable for `count` numbers; `report` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_end_round(
    server: *mut fedhds_server_t,
    clients: *const u32,
    records: *const u32,
    count: usize,
    report: *mut *mut fedhds_bytes_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, clients, records) = unsafe {
            (Out::new(report, "report")?, slice(clients, count, "clients")?, slice(records, count, "records")?)
        };
        let mut trained = BTreeMap::new();
        for (&client, &records) in clients.iter().zip(records) {
            if trained.insert(ClientId(client), records).is_some() {
                let message = format!("`clients`: expected distinct clients, got {client} twice");
                return Err(Failure::new(FEDHDS_STATUS_INPUT, message));
            }
        }
        let report = handle::write(server, |m| Ok(m.server.end_round(&trained)?))?;
        out.set(bytes(json(&report)?));
        Ok(())
    })
}

/// Leaves the round as if it had not selected anyone; what came in is dropped. Between rounds it does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn fedhds_server_abandon_round(server: *mut fedhds_server_t) -> fedhds_status_t {
    boundary(|| {
        handle::write(server, |m| {
            m.server.abandon_round();
            Ok(())
        })
    })
}
