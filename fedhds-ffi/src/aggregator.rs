//! Aggregators: the core's by their settings, and the caller's own.

use crate::adapter::adapter as handle_of;
use crate::buffer::{fedhds_bytes_t, taken};
use crate::callback::UserData;
use crate::custom::{null_function, returned};
use crate::global::fedhds_adapter_t;
use crate::handle;
use crate::memory::{of_stage, resume_from, state_of};
use crate::method::fedhds_method_t;
use crate::pointer::{Out, text};
use crate::server::{fedhds_server_t, made};
use crate::settings::settings;
use crate::status::{boundary, fedhds_status_t};
use fedhds_core::aggregate::AggregatorConfig;
use fedhds_core::stage::{Aggregated, Aggregator, ClientUpdate};
use fedhds_core::types::{Adapter, Round};
use fedhds_core::{Error, Result, parse};
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

/// One client's result of a round, for an aggregator of the caller's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_client_update_t {
    /// Who trained; updates come in the order of clients.
    pub client: u32,
    /// Records trained on: the weight in the mean.
    pub records: usize,
    /// Mean loss over the optimiser steps, in nats; NaN where none was measured.
    pub loss: f32,
    /// The adapter after training: names, shapes and settings of the global one, every value finite. The function owns the handle and
    /// frees it, now or later.
    pub adapter: *mut fedhds_adapter_t,
}

/// How a server makes the clients' adapters one, as functions of the caller's. Each returns 0, or anything else for a failure. Begin with
/// `fedhds_aggregator_t mine = {sizeof mine}`: what is not set is NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_aggregator_t {
    /// The size of this structure.
    pub struct_size: usize,
    /// A round begins from this global adapter; what an earlier one began and never finished is forgotten. The function owns the handle and
    /// frees it, now or later. Not NULL.
    pub begin: Option<unsafe extern "C" fn(global: *mut fedhds_adapter_t, round: u32, user_data: *mut c_void) -> i32>,
    /// Takes in one update; after a failure everything is as if it had not come, and its client is left out. `update` is the library's and
    /// valid during the call, but for the adapter in it. Not NULL.
    pub add: Option<unsafe extern "C" fn(update: *const fedhds_client_update_t, user_data: *mut c_void) -> i32>,
    /// The joined adapter, a handle that the library takes over and frees; leave NULL there to keep the global one. `report` may be given bytes
    /// of `fedhds_bytes_new`, which the library takes over too: JSON with any of `weights` (shares by client), `limited` (reasons by client),
    /// `measures` (numbers by name), `discarded` (why the result is not taken). Not NULL.
    pub finish: Option<
        unsafe extern "C" fn(
            adapter: *mut *mut fedhds_adapter_t,
            report: *mut *mut fedhds_bytes_t,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// What it keeps between rounds, for `fedhds_server_state`: bytes of `fedhds_bytes_new`, which the library takes over and frees. NULL
    /// keeps nothing.
    pub state: Option<unsafe extern "C" fn(state: *mut *mut fedhds_bytes_t, user_data: *mut c_void) -> i32>,
    /// Goes on from what `state` gave, which is the library's and valid during the call. NULL refuses every state that is not empty.
    pub resume: Option<unsafe extern "C" fn(state: *const u8, length: usize, user_data: *mut c_void) -> i32>,
    /// The most bytes that it holds at once, for so many clients in a round and values in an adapter. NULL says 0.
    pub memory: Option<unsafe extern "C" fn(clients: usize, values: usize, user_data: *mut c_void) -> u64>,
}

const STAGE: &str = "aggregator";

struct Custom {
    calls: fedhds_aggregator_t,
    user_data: UserData,
}

impl Aggregator for Custom {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        let Some(call) = self.calls.begin else { return Ok(()) };
        // SAFETY: a function of the caller's, called as its type says.
        returned(STAGE, unsafe { call(handle_of(global.clone()), round.0, self.user_data.0) })
    }

    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let Some(call) = self.calls.add else { return Ok(()) };
        let given = fedhds_client_update_t {
            client: update.client.0,
            records: update.records,
            loss: update.loss.unwrap_or(f32::NAN),
            adapter: handle_of(update.adapter.clone()),
        };
        // SAFETY: a function of the caller's, called as its type says.
        returned(STAGE, unsafe { call(&given, self.user_data.0) })
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some(call) = self.calls.finish else { return Ok(Aggregated::default()) };
        let (mut adapter, mut report) = (null_mut(), null_mut());
        // SAFETY: a function of the caller's, called as its type says.
        let code = unsafe { call(&mut adapter, &mut report, self.user_data.0) };
        // Taken over in any case, so that a failure after it leaks nothing.
        let report = taken(report).map_err(of_stage(STAGE));
        let adapter = if adapter.is_null() {
            Ok(None)
        } else {
            handle::take(adapter).map(|adapter| Some((*adapter).clone())).map_err(of_stage(STAGE))
        };
        returned(STAGE, code)?;
        let (mut aggregated, report) = (Aggregated::new(adapter?), report?);
        if !report.is_empty() {
            let wrong = |e: String| Error::stage(STAGE, format!("report: expected JSON as the header says, got {e}"));
            aggregated.report = serde_json::from_slice(&report).map_err(|e| wrong(e.to_string()))?;
        }
        Ok(aggregated)
    }

    fn state(&self) -> Result<Vec<u8>> {
        state_of(STAGE, self.calls.state, self.user_data)
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        resume_from(STAGE, self.calls.resume, self.user_data, state)
    }

    fn memory(&self, clients: usize, values: usize) -> u64 {
        // SAFETY: a function of the caller's, called as its type says.
        self.calls.memory.map_or(0, |call| unsafe { call(clients, values, self.user_data.0) })
    }
}

/// A server that joins adapters by one of the library's aggregators: JSON with its `kind`, `weighted_mean`, `fedavgm`,
/// `fedadam`, `flexlora`, `ffa_lora`, `rolora`, `fedsvd`, or a robust one: `norm_bound`, `centred_clipping`,
/// `coordinate_median`, `trimmed_mean`, `multi_krum`, `geometric_median`, `nnm`; and what differs from that kind's settings, as
/// `{"kind": "fedadam", "learning_rate": 0.01}`. The rest is as for `fedhds_server_new`.
///
/// # Safety
/// `aggregator` ends with NUL; `server` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_new_with_aggregator(
    method: *const fedhds_method_t,
    layers: usize,
    seed: u64,
    aggregator: *const c_char,
    server: *mut *mut fedhds_server_t,
) -> fedhds_status_t {
    boundary(|| {
        // SAFETY: the caller's promise.
        let (out, json) = unsafe { (Out::new(server, "server")?, text(aggregator, "aggregator")?) };
        let config: AggregatorConfig = parse::from_json("aggregator", json)?;
        out.set(made(method, layers, seed, config.build()?, &parse::to_json("aggregator", &config)?)?);
        Ok(())
    })
}

/// A server that joins adapters by functions of the caller's. `aggregator` is read during the call. The rest is as for `fedhds_server_new`.
///
/// # Safety
/// `aggregator` points to a structure of the size that it begins with; `user_data` lives as long as the server; `server` is valid for a
/// write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fedhds_server_new_with_own_aggregator(
    method: *const fedhds_method_t,
    layers: usize,
    seed: u64,
    aggregator: *const fedhds_aggregator_t,
    user_data: *mut c_void,
    server: *mut *mut fedhds_server_t,
) -> fedhds_status_t {
    boundary(|| {
        let none = fedhds_aggregator_t {
            struct_size: 0,
            begin: None,
            add: None,
            finish: None,
            state: None,
            resume: None,
            memory: None,
        };
        // SAFETY: the caller's promise.
        let (out, calls) = unsafe { (Out::new(server, "server")?, settings(aggregator, none, "aggregator")?) };
        if calls.begin.is_none() || calls.add.is_none() || calls.finish.is_none() {
            return Err(null_function());
        }
        out.set(made(
            method,
            layers,
            seed,
            Box::new(Custom { calls, user_data: UserData(user_data) }),
            "the caller's own",
        )?);
        Ok(())
    })
}
