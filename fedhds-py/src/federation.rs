//! Methods, and the client's half of the selection on bytes and arrays.

use crate::adapter::Adapter;
use crate::array::matrix;
use crate::custom::Custom;
use crate::custom_pipeline::replace;
use crate::error::OrRaise as _;
use crate::failures::Failures;
use crate::run::heavy_with;
use crate::setting::Setting as _;
use crate::shared::Shared;
use fedhds_core::client::{self, Pair, Pins};
use fedhds_core::method::{AllowedMethods, MethodConfig, Pipeline, Preset};
use fedhds_core::protocol::{ClientSummary, RoundStart, SelectionOrder, Wire as _};
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
    module.add_function(wrap_pyfunction!(allowed_methods, module)?)?;
    module.add_function(wrap_pyfunction!(check_allowed, module)?)?;
    module.add_function(wrap_pyfunction!(client_seed, module)?)?;
    module.add_function(wrap_pyfunction!(presets, module)?)
}

/// The context of a call, as the core's simulation derives it.
pub fn context(seed: u64, round: Round, who: &str, number: u32, call: &str, control: &Control) -> Context {
    Context { control: control.clone(), ..Context::new(Seed(seed).of_call(round, who, number, call)) }
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

/// Limits of the methods that a client runs, all of them, from JSON of those that are not the default.
#[pyfunction]
fn allowed_methods(json: &str) -> PyResult<String> {
    let allowed: AllowedMethods = parse::from_json("allowed", json).or_raise()?;
    parse::to_json("allowed", &allowed).or_raise()
}

/// Whether a client with these limits runs a method of a server's.
#[pyfunction]
fn check_allowed(allowed: &str, method: &str) -> PyResult<()> {
    let allowed: AllowedMethods = parse::from_json("allowed", allowed).or_raise()?;
    MethodConfig::from_text(method).and_then(|method| allowed.check(&method)).or_raise()
}

/// The rows of the record whose response, and of the one whose prompt it is put under.
type RowPair = (u32, u32);

fn rows_of(pairs: &[Pair]) -> Vec<RowPair> {
    pairs.iter().map(|pair| (pair.response.0, pair.prompt.0)).collect()
}

/// A client's half of the selection.
#[pyclass(module = "fedhds._native", frozen)]
struct Client {
    id: u32,
    inner: Shared<client::Client>,
    failures: Failures,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (id, method, layers, stages, secret, least_group, max_records))]
    fn new(
        id: u32,
        method: &str,
        layers: usize,
        stages: BTreeMap<String, Py<PyAny>>,
        secret: Option<[u8; 32]>,
        least_group: usize,
        max_records: Option<usize>,
    ) -> PyResult<Self> {
        let failures = Failures::default();
        let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
        let mut inner = client::Client::new(ClientId(id), &pipeline);
        if let Some(key) = secret {
            inner.set_secret(Secret::from_bytes(key));
        }
        inner.set_least_group(least_group);
        if let Some(records) = max_records {
            inner.set_max_records(records);
        }
        Ok(Self { id, inner: Shared::new("client", inner), failures })
    }

    /// Says what it is beside its method, for its state.
    fn identify(&self, names: BTreeMap<String, String>) -> PyResult<()> {
        self.inner.with(|client| names.iter().for_each(|(name, value)| client.identify(name, value)))
    }

    #[getter]
    fn id(&self) -> u32 {
        self.id
    }

    /// The round's start, the features, and what else is known of the records, to the summary.
    #[pyo3(signature = (start, features, scores, copies, alike, prompts, tokens, seed))]
    #[allow(clippy::too_many_arguments)]
    fn summarize<'py>(
        &self,
        py: Python<'py>,
        start: &[u8],
        features: PyReadonlyArray2<'py, f32>,
        scores: Option<(Vec<String>, PyReadonlyArray2<'py, f32>)>,
        copies: Option<Vec<u32>>,
        alike: Option<Vec<u32>>,
        prompts: Option<PyReadonlyArray2<'py, f32>>,
        tokens: Option<Vec<u32>>,
        seed: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let start = RoundStart::decode(start).or_raise()?;
        let features = matrix(&features)?;
        let scores = match scores {
            None => None,
            Some((names, values)) => Some(Scores::new(names, matrix(&values)?).or_raise()?),
        };
        let (copies, alike) = (copies.unwrap_or_default(), alike.unwrap_or_default());
        let tokens = tokens.unwrap_or_default();
        let prompts = prompts.map(|prompts| matrix(&prompts)).transpose()?;
        let shared = self.inner.clone();
        let bytes = heavy_with(py, &self.failures, move |control| {
            let mut client = shared.hold()?;
            let context = context(seed, start.round, "client", client.id().0, "summarize", control);
            let rows =
                Rows::new(&features).scores(scores.as_ref()).copies(&copies).prompts(prompts.as_ref()).tokens(&tokens);
            let rows = rows.alike(&alike);
            client.summarize(&start, rows, &context)?.encode()
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The pairs of a response and a prompt whose losses answer the server's question: rows of records.
    fn pilot(&self, py: Python<'_>, start: &[u8]) -> PyResult<Vec<RowPair>> {
        let start = RoundStart::decode(start).or_raise()?;
        let shared = self.inner.clone();
        heavy_with(py, &self.failures, move |_| Ok(rows_of(&shared.hold()?.pilot(&start)?)))
    }

    /// The summary with the answer to the server's question.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        summary: &[u8],
        start: &[u8],
        losses: Vec<f32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let start = RoundStart::decode(start).or_raise()?;
        let mut summary = ClientSummary::decode(summary).or_raise()?;
        let shared = self.inner.clone();
        let bytes = heavy_with(py, &self.failures, move |_| {
            shared.hold()?.answer(&mut summary, &start, &losses)?;
            summary.encode()
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The order, to the rows of the records to train on; where the order's gate is open, `losses` gives those of pairs.
    #[pyo3(signature = (order, seed, losses))]
    fn choose<'py>(
        &self,
        py: Python<'py>,
        order: &[u8],
        seed: u64,
        losses: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let order = SelectionOrder::decode(order).or_raise()?;
        let shared = self.inner.clone();
        let judge = losses.map(|object| Custom::new("losses", object, &self.failures));
        let rows = heavy_with(py, &self.failures, move |control| {
            let mut client = shared.hold()?;
            let context = context(seed, order.round, "client", client.id().0, "choose", control);
            let Some(judge) = judge else { return client.choose(&order, &context) };
            let asked = context.clone();
            client.choose_scored(&order, &context, &mut |pairs| {
                judge.call(Some(&asked), |losses| losses.call1((rows_of(pairs),))?.extract())
            })
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
        let (shared, adapter) = (self.inner.clone(), adapter.inner.clone());
        let bytes = heavy_with(py, &self.failures, move |_| {
            let trained = Trained { adapter: (*adapter).clone(), losses, skipped, tokens };
            shared.hold()?.update(&order, &rows, trained)?.encode()
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Which factors of the adapter the round trains: `both`, `a` or `b`.
    #[getter]
    fn factors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.with(|client| client.factors())?.show(py)
    }

    /// Agrees to adapters of at most this rank.
    fn set_rank(&self, rank: usize) -> PyResult<()> {
        self.inner.with(|client| client.set_rank(rank))?.or_raise()
    }

    /// The adapter that it trains from: the global one, at its own rank.
    fn start_from(&self, py: Python<'_>, adapter: PyRef<'_, Adapter>) -> PyResult<Adapter> {
        let (shared, adapter) = (self.inner.clone(), adapter.inner.clone());
        Ok(heavy_with(py, &self.failures, move |_| shared.hold()?.start_from(&adapter))?.into())
    }

    /// Remembers rows that it has trained on.
    fn mark_trained(&self, rows: Vec<u32>) -> PyResult<()> {
        self.inner.with(|client| client.mark_trained(rows.into_iter().map(RowId)))
    }

    /// The rows that are marked as trained on, ascending.
    fn trained(&self) -> PyResult<Vec<u32>> {
        self.inner.with(|client| client.trained().map(|row| row.0).collect())
    }

    /// The rows that did not pass an open gate, ascending.
    fn refused(&self) -> PyResult<Vec<u32>> {
        self.inner.with(|client| client.refused().map(|row| row.0).collect())
    }

    /// Groups of the last summary: the cluster of each row, -1 for noise; none before the first.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<i64>>>> {
        let labels: Option<Vec<i64>> = self.inner.with(|client| {
            let labels = client.state()?.clustering.labels.iter();
            Some(labels.map(|label| label.map_or(-1, |id| id.index() as i64)).collect())
        })?;
        Ok(labels.map(|labels| PyArray1::from_vec(py, labels)))
    }

    /// The experiment's seed, as a server said it: the first one holds.
    fn pin_seed(&self, seed: u64) -> PyResult<()> {
        self.inner.with(|client| client.pin_seed(Seed(seed)))?.or_raise()
    }

    /// What it was told at first contact.
    fn pins<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.with(|client| client.pins())?.to_bytes().or_raise()?))
    }

    /// Gives it what it was told at first contact, earlier.
    fn pin(&self, pins: &[u8]) -> PyResult<()> {
        let pins = Pins::from_bytes(pins).or_raise()?;
        self.inner.with(|client| client.pin(pins))?.or_raise()
    }

    /// Forgets what it was told at first contact, and which round it answered last.
    fn unpin(&self) -> PyResult<()> {
        self.inner.with(client::Client::unpin)
    }

    /// What it remembers, its secret among it.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.with(|client| client.saved().to_bytes())?.or_raise()?))
    }

    /// Goes on from a state, with the rows that were marked in it or without.
    fn resume(&self, state: &[u8], trained: bool) -> PyResult<()> {
        let mut saved = client::SavedClient::from_bytes(state).or_raise()?;
        if !trained {
            saved.trained.clear();
        }
        self.inner.with(|client| client.restore(saved))?.or_raise()
    }
}
