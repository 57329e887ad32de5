//! The two state machines of the selection, on bytes and arrays.

use crate::adapter::Adapter;
use crate::array::matrix;
use crate::custom::{Custom, replace};
use crate::error::{OrRaise as _, raised};
use crate::run::{Failures, heavy_with};
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::client;
use fedhds_core::method::{MethodConfig, Pipeline, Preset};
use fedhds_core::protocol::{ClientSummary, LocalUpdate, RoundStart, SelectionOrder, Wire as _};
use fedhds_core::server;
use fedhds_core::stage::Aggregator;
use fedhds_core::types::{ClientId, Context, Control, Round, RowId, Seed};
use fedhds_core::{Error, Result, parse};
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;

/// Adds classes and functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Client>()?;
    module.add_class::<Server>()?;
    module.add_function(wrap_pyfunction!(method, module)?)?;
    module.add_function(wrap_pyfunction!(client_seed, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)
}

fn context(seed: u64, round: Round, who: &str, number: u32, call: &str, control: &Control) -> Context {
    Context { seed: Seed(seed).of_call(round, who, number, call), control: control.clone() }
}

/// The seed that the core's simulation gives to a call (`train`, ...) of a client in a round; without a round, to that call
/// before the first (`init`).
#[pyfunction]
#[pyo3(signature = (seed, call, round, client))]
fn client_seed(seed: u64, call: &str, round: Option<u32>, client: u32) -> u64 {
    match round {
        None => Seed(seed).before_rounds(call).0,
        Some(round) => Seed(seed).of_call(Round(round), "client", client, call).0,
    }
}

/// The stages of a method, some of them the user's own.
pub fn build_pipeline(
    method: &str,
    layers: usize,
    stages: BTreeMap<String, Py<PyAny>>,
    failures: &Failures,
) -> Result<Pipeline> {
    let mut pipeline = MethodConfig::from_text(method)?.pipeline(layers)?;
    replace(&mut pipeline, stages, failures)?;
    Ok(pipeline)
}

/// Names of the presets.
#[pyfunction]
fn presets() -> Vec<&'static str> {
    Preset::ALL.iter().map(|preset| preset.name()).collect()
}

/// A method with all its settings as JSON, from a preset's name or what differs from one.
#[pyfunction]
fn method(json: &str) -> PyResult<String> {
    MethodConfig::from_text(json).and_then(|method| parse::to_json("method", &method)).or_raise()
}

/// A client's half of the selection.
#[pyclass(module = "fedhds._native")]
struct Client {
    inner: client::Client,
    failures: Failures,
}

#[pymethods]
impl Client {
    #[new]
    fn new(id: u32, method: &str, layers: usize, stages: BTreeMap<String, Py<PyAny>>) -> PyResult<Self> {
        let failures = Failures::default();
        let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
        Ok(Self { inner: client::Client::new(ClientId(id), &pipeline), failures })
    }

    #[getter]
    fn id(&self) -> u32 {
        self.inner.id().0
    }

    /// The round's start and the features, to the summary.
    fn summarize<'py>(
        &mut self,
        py: Python<'py>,
        start: &[u8],
        features: PyReadonlyArray2<'py, f32>,
        seed: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let start = RoundStart::decode(start).or_raise()?;
        let features = matrix(&features)?;
        let client = &mut self.inner;
        let bytes = heavy_with(py, &self.failures, move |control| {
            let context = context(seed, start.round, "client", client.id().0, "summarize", control);
            client.summarize(&start, &features, &context)?.encode()
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The order, to the rows of the records to train on.
    fn choose<'py>(&self, py: Python<'py>, order: &[u8], seed: u64) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let order = SelectionOrder::decode(order).or_raise()?;
        let client = &self.inner;
        let rows = heavy_with(py, &self.failures, move |control| {
            let context = context(seed, order.round, "client", client.id().0, "choose", control);
            client.choose(&order, &context)
        })?;
        Ok(PyArray1::from_vec(py, rows.iter().map(|row| i64::from(row.0)).collect()))
    }

    /// Remembers rows that it has trained on.
    fn mark_trained(&mut self, rows: Vec<u32>) {
        self.inner.mark_trained(rows.into_iter().map(RowId));
    }

    /// Groups of the last summary: the cluster of each row, -1 for noise; none before the first.
    fn groups<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<i64>>> {
        let state = self.inner.state()?;
        let labels = state.clustering.labels.iter().map(|label| label.map_or(-1, |id| id.index() as i64));
        Some(PyArray1::from_vec(py, labels.collect()))
    }

    /// What it remembers, as JSON.
    fn state(&self) -> PyResult<String> {
        let trained: Vec<RowId> = self.inner.trained().collect();
        serde_json::to_string(&(self.inner.state(), trained))
            .map_err(|e| raised(&Error::input("client state", "one that can be written", e)))
    }

    /// Goes on from a state.
    fn resume(&mut self, state: &str) -> PyResult<()> {
        let (state, trained): (Option<client::ClientState>, Vec<RowId>) = serde_json::from_str(state)
            .map_err(|e| raised(&Error::protocol("client state", "what `state()` gave", e)))?;
        if let Some(state) = state {
            self.inner.resume(state).or_raise()?;
        }
        self.inner.mark_trained(trained);
        Ok(())
    }
}

/// A group that was uploaded: client, cluster, records, server cluster (-1 for none), records ordered.
type Group = (u32, u32, u32, i64, u32);

/// The server's half of the selection.
#[pyclass(module = "fedhds._native")]
struct Server {
    inner: server::Server,
    failures: Failures,
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (method, layers, seed, stages, aggregator))]
    fn new(
        method: &str,
        layers: usize,
        seed: u64,
        stages: BTreeMap<String, Py<PyAny>>,
        aggregator: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let failures = Failures::default();
        let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
        let aggregator: Box<dyn Aggregator> = match aggregator {
            None => Box::new(WeightedMean::new()),
            Some(object) => Box::new(Custom::new("aggregator", object, &failures)),
        };
        let inner = server::Server::new(pipeline, Seed(seed), aggregator).or_raise()?;
        Ok(Self { inner, failures })
    }

    fn begin_round<'py>(&mut self, py: Python<'py>, round: u32, clients: Vec<u32>) -> PyResult<Bound<'py, PyBytes>> {
        let clients: Vec<ClientId> = clients.into_iter().map(ClientId).collect();
        let start = self.inner.begin_round(Round(round), &clients).and_then(|start| start.encode()).or_raise()?;
        Ok(PyBytes::new(py, &start))
    }

    fn receive(&mut self, summary: &[u8]) -> PyResult<()> {
        ClientSummary::decode(summary).and_then(|summary| self.inner.receive(summary)).or_raise()
    }

    /// An order for each client that sent a summary.
    fn select<'py>(&mut self, py: Python<'py>, seed: u64) -> PyResult<BTreeMap<u32, Bound<'py, PyBytes>>> {
        let server = &mut self.inner;
        let orders = heavy_with(py, &self.failures, move |control| {
            let round = server.state()?.round.unwrap_or(Round(0));
            let orders = server.select(&context(seed, round, "server", 0, "select", control))?;
            orders.into_iter().map(|(client, order)| Ok((client.0, order.encode()?))).collect::<Result<Vec<_>>>()
        })?;
        Ok(orders.into_iter().map(|(client, order)| (client, PyBytes::new(py, &order))).collect())
    }

    /// Every group of the round and what became of it.
    fn selection(&self) -> Vec<Group> {
        let groups = self.inner.selection().map(|selection| selection.groups.as_slice()).unwrap_or_default();
        let group = |g: &server::SelectedGroup| {
            (g.client.0, g.cluster.0, g.size, g.server_cluster.map_or(-1, |id| id.index() as i64), g.records)
        };
        groups.iter().map(group).collect()
    }

    /// Takes in an adapter that a client trained on so many records.
    fn receive_update(
        &mut self,
        py: Python<'_>,
        client: u32,
        adapter: PyRef<'_, Adapter>,
        records: u32,
    ) -> PyResult<()> {
        let adapter = adapter.inner.clone();
        let server = &mut self.inner;
        heavy_with(py, &self.failures, move |_| {
            let round = server.round().unwrap_or(Round(0));
            server.receive_update(LocalUpdate {
                client: ClientId(client),
                round,
                records,
                adapter: (*adapter).clone(),
                losses: Vec::new(),
                skipped: 0,
                tokens: 0,
            })
        })
    }

    /// Ends the round: the joined adapter, none where nobody trained.
    fn finish_round(&mut self, py: Python<'_>) -> PyResult<Option<Adapter>> {
        let server = &mut self.inner;
        let adapter = heavy_with(py, &self.failures, move |_| server.finish_round())?;
        Ok(adapter.map(Adapter::from))
    }

    /// Ends the round without aggregation, where another library averages the adapters.
    fn end_round(&mut self) -> PyResult<()> {
        self.inner.abandon_round().or_raise()
    }

    /// State between messages, as JSON.
    fn state(&self) -> PyResult<String> {
        let state = self.inner.state().or_raise()?;
        serde_json::to_string(&state).map_err(|e| raised(&Error::input("server state", "one that can be written", e)))
    }

    fn resume(&mut self, state: &str) -> PyResult<()> {
        let state = serde_json::from_str(state)
            .map_err(|e| raised(&Error::protocol("server state", "what `state()` gave", e)))?;
        self.inner.resume(state).or_raise()
    }
}
