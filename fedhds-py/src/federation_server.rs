//! The server's half of the selection, on bytes and arrays.

use crate::adapter::Adapter;
use crate::custom_server::aggregator;
use crate::error::OrRaise as _;
use crate::failures::Failures;
use crate::federation::{build_pipeline, context};
use crate::log;
use crate::plain::plain;
use crate::run::heavy_with;
use crate::shared::Shared;
use fedhds_core::protocol::{LocalUpdate, Message, SelectionOrder, Wire as _};
use fedhds_core::server;
use fedhds_core::types::{ClientId, Round, Seed};
use fedhds_core::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Server>()
}

/// A group that was uploaded: client, cluster, records, server cluster (-1 for none), records ordered, and the reason as a dict.
type Group<'py> = (u32, u32, u32, i64, u32, Bound<'py, PyAny>);

/// The server's half of the selection.
#[pyclass(module = "fedhds._native", frozen)]
struct Server {
    inner: Shared<server::Server>,
    failures: Failures,
}

#[pymethods]
impl Server {
    /// `aggregator` is settings in JSON, a wrapped object, or none for the mean.
    #[new]
    #[pyo3(signature = (method, layers, seed, stages, aggregator))]
    fn new(
        method: &str,
        layers: usize,
        seed: u64,
        stages: BTreeMap<String, Py<PyAny>>,
        aggregator: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let failures = Failures::default();
        let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
        let aggregator = self::aggregator(aggregator, &failures).or_raise()?;
        let inner = server::Server::new(pipeline, Seed(seed), aggregator).or_raise()?.explained();
        Ok(Self { inner: Shared::new("server", inner), failures })
    }

    /// Says what it is beside its method and seed, for its state.
    fn identify(&self, names: BTreeMap<String, String>) -> PyResult<()> {
        self.inner.with(|server| names.iter().for_each(|(name, value)| server.identify(name, value)))
    }

    #[pyo3(signature = (round, clients, adapter))]
    fn begin_round<'py>(
        &self,
        py: Python<'py>,
        round: u32,
        clients: Vec<u32>,
        adapter: Option<Adapter>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let clients: Vec<ClientId> = clients.into_iter().map(ClientId).collect();
        let shared = self.inner.clone();
        let start = heavy_with(py, &self.failures, move |_| {
            shared.hold()?.begin_round(Round(round), &clients, adapter.as_ref().map(|a| a.inner.as_ref()))?.encode()
        })?;
        Ok(PyBytes::new(py, &start))
    }

    /// Takes in a message of a client, and says which it was.
    fn receive(&self, py: Python<'_>, client: u32, message: &[u8]) -> PyResult<String> {
        let message = message.to_vec();
        let shared = self.inner.clone();
        let kind = heavy_with(py, &self.failures, move |_| shared.hold()?.receive(ClientId(client), &message))?;
        Ok(kind.to_string())
    }

    /// Takes in an adapter that a client trained on so many records.
    #[pyo3(signature = (client, adapter, records, loss))]
    fn receive_update(
        &self,
        py: Python<'_>,
        client: u32,
        adapter: PyRef<'_, Adapter>,
        records: u32,
        loss: Option<f32>,
    ) -> PyResult<()> {
        let adapter = adapter.inner.clone();
        let shared = self.inner.clone();
        heavy_with(py, &self.failures, move |_| {
            let mut server = shared.hold()?;
            let round = server.round().unwrap_or(Round(0));
            let mut update = LocalUpdate::new(ClientId(client), round, records, (*adapter).clone());
            update.loss = loss;
            server.receive_message(ClientId(client), Message::LocalUpdate(update)).map(|_| ())
        })
    }

    /// The most records that a client may train on in this round.
    fn most(&self, client: u32) -> PyResult<usize> {
        self.inner.with(|server| server.most_records(ClientId(client)))
    }

    /// Notes that a client is left out of the round.
    fn leave_out(&self, py: Python<'_>, client: u32, reason: &str) -> PyResult<()> {
        // A reason of the caller's stays in its own words: there is no other place to name than the transport.
        self.inner.with(|server| server.leave_out(ClientId(client), Error::stage("transport", reason)))?;
        log::pass_on(py)
    }

    /// An order for each client that sent a summary.
    fn select<'py>(&self, py: Python<'py>, seed: u64) -> PyResult<BTreeMap<u32, Bound<'py, PyBytes>>> {
        let shared = self.inner.clone();
        let orders = heavy_with(py, &self.failures, move |control| {
            let mut server = shared.hold()?;
            let round = server.round().unwrap_or(Round(0));
            let orders = server.select(&context(seed, round, "server", 0, "select", control))?;
            encoded(orders)
        })?;
        Ok(orders.into_iter().map(|(client, order)| (client, PyBytes::new(py, &order))).collect())
    }

    /// The orders of this round again; none before the selection.
    fn orders<'py>(&self, py: Python<'py>) -> PyResult<BTreeMap<u32, Bound<'py, PyBytes>>> {
        let orders = self.inner.with(|server| server.orders().and_then(encoded))?.or_raise()?;
        Ok(orders.into_iter().map(|(client, order)| (client, PyBytes::new(py, &order))).collect())
    }

    /// Every group of the round and what became of it.
    fn selection<'py>(&self, py: Python<'py>) -> PyResult<Vec<Group<'py>>> {
        let groups = self.inner.with(|server| server.selection().map(|s| s.groups.clone()).unwrap_or_default())?;
        let group = |g: &server::SelectedGroup| {
            let server_cluster = g.server_cluster.map_or(-1, |id| id.index() as i64);
            Ok((g.client.0, g.cluster.0, g.size, server_cluster, g.records, plain(py, &g.reason)?))
        };
        groups.iter().map(group).collect()
    }

    /// Ends the round: the joined adapter, none where nobody trained, and the report.
    fn finish_round<'py>(&self, py: Python<'py>) -> PyResult<(Option<Adapter>, Bound<'py, PyAny>)> {
        let shared = self.inner.clone();
        let finished = heavy_with(py, &self.failures, move |_| shared.hold()?.finish_round())?;
        Ok((finished.adapter.map(Adapter::from), plain(py, &finished.report)?))
    }

    /// Ends the round without aggregation, where another library joined the adapters of these clients: the report.
    fn end_round<'py>(&self, py: Python<'py>, trained: BTreeMap<u32, u32>) -> PyResult<Bound<'py, PyAny>> {
        let trained = trained.into_iter().map(|(client, records)| (ClientId(client), records)).collect();
        let shared = self.inner.clone();
        let report = heavy_with(py, &self.failures, move |_| shared.hold()?.end_round(&trained))?;
        plain(py, &report)
    }

    /// Leaves the round as if it had not selected anyone.
    fn abandon_round(&self) -> PyResult<()> {
        self.inner.with(server::Server::abandon_round)
    }

    /// State between messages.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let shared = self.inner.clone();
        let state = heavy_with(py, &self.failures, move |_| shared.hold()?.state()?.to_bytes())?;
        Ok(PyBytes::new(py, &state))
    }

    #[pyo3(signature = (state, adapter))]
    fn resume(&self, py: Python<'_>, state: &[u8], adapter: Option<Adapter>) -> PyResult<()> {
        let state = server::ServerState::from_bytes(state).or_raise()?;
        let shared = self.inner.clone();
        heavy_with(py, &self.failures, move |_| {
            shared.hold()?.resume(state, adapter.as_ref().map(|a| a.inner.as_ref()))
        })
    }
}

fn encoded(orders: BTreeMap<ClientId, SelectionOrder>) -> Result<Vec<(u32, Vec<u8>)>> {
    orders.into_iter().map(|(client, order)| Ok((client.0, order.encode()?))).collect()
}
