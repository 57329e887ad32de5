//! Methods, and the client's half of the selection on bytes and arrays.

use crate::adapter::Adapter;
use crate::array::matrix;
use crate::custom_pipeline::replace;
use crate::error::OrRaise as _;
use crate::run::{Failures, heavy_with};
use fedhds_core::client;
use fedhds_core::method::{MethodConfig, Pipeline, Preset};
use fedhds_core::protocol::{RoundStart, SelectionOrder, Wire as _};
use fedhds_core::stage::{Rows, Trained};
use fedhds_core::types::{ClientId, Context, Control, Round, RowId, Scores, Secret, Seed};
use fedhds_core::{Result, parse};
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;

/// Adds classes and functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Client>()?;
    module.add_function(wrap_pyfunction!(method, module)?)?;
    module.add_function(wrap_pyfunction!(client_seed, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)
}

/// The context of a call, as the core's simulation derives it.
pub fn context(seed: u64, round: Round, who: &str, number: u32, call: &str, control: &Control) -> Context {
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
    #[pyo3(signature = (id, method, layers, stages, secret))]
    fn new(
        id: u32,
        method: &str,
        layers: usize,
        stages: BTreeMap<String, Py<PyAny>>,
        secret: Option<[u8; 32]>,
    ) -> PyResult<Self> {
        let failures = Failures::default();
        let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
        let mut inner = client::Client::new(ClientId(id), &pipeline);
        if let Some(key) = secret {
            inner.set_secret(Secret::from_bytes(key));
        }
        Ok(Self { inner, failures })
    }

    #[getter]
    fn id(&self) -> u32 {
        self.inner.id().0
    }

    /// The round's start, the features and scores by name, to the summary.
    #[pyo3(signature = (start, features, scores, seed))]
    fn summarize<'py>(
        &mut self,
        py: Python<'py>,
        start: &[u8],
        features: PyReadonlyArray2<'py, f32>,
        scores: Option<(Vec<String>, PyReadonlyArray2<'py, f32>)>,
        seed: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let start = RoundStart::decode(start).or_raise()?;
        let features = matrix(&features)?;
        let scores = match scores {
            None => None,
            Some((names, values)) => Some(Scores::new(names, matrix(&values)?).or_raise()?),
        };
        let client = &mut self.inner;
        let bytes = heavy_with(py, &self.failures, move |control| {
            let context = context(seed, start.round, "client", client.id().0, "summarize", control);
            client.summarize(&start, Rows::new(&features).scores(scores.as_ref()), &context)?.encode()
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

    /// The message of what training on rows of an order gave.
    #[allow(clippy::too_many_arguments)]
    fn update<'py>(
        &self,
        py: Python<'py>,
        order: &[u8],
        rows: Vec<u32>,
        adapter: PyRef<'_, Adapter>,
        losses: Vec<f32>,
        skipped: usize,
        tokens: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let order = SelectionOrder::decode(order).or_raise()?;
        let rows: Vec<RowId> = rows.into_iter().map(RowId).collect();
        let (client, adapter) = (&self.inner, adapter.inner.clone());
        let bytes = heavy_with(py, &self.failures, move |_| {
            client.update(&order, &rows, Trained { adapter: (*adapter).clone(), losses, skipped, tokens })?.encode()
        })?;
        Ok(PyBytes::new(py, &bytes))
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

    /// What it remembers, its secret among it.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.saved().to_bytes().or_raise()?))
    }

    /// Goes on from a state, with the rows that were marked in it or without.
    fn resume(&mut self, state: &[u8], trained: bool) -> PyResult<()> {
        let mut saved = client::SavedClient::from_bytes(state).or_raise()?;
        if !trained {
            saved.trained.clear();
        }
        self.inner.restore(saved).or_raise()
    }
}
