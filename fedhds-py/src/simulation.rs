//! A federation in one process, over the core's stages and one's own.

use crate::adapter::Adapter;
use crate::custom::Custom;
use crate::error::{OrRaise as _, raised};
use crate::federation::build_pipeline;
use crate::model::{Evaluator, Features, Score, Trainer, score};
use crate::records::{Parts, records};
use crate::run::{Failures, heavy_with};
use crate::stages::settings;
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::dataset::ClientData;
use fedhds_core::simulate::{Identity, Simulation, SimulationSettings, TestSet, content_hash};
use fedhds_core::types::{ClientId, Seed};
use fedhds_core::{Error, stage};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Adds the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(run_simulation, module)?)
}

/// Runs the rounds that are not done yet: the adapter, the rounds as JSON, the last scores.
///
/// `stages` replaces the method's; `trainer`, `extractor` and `evaluator` are this module's classes or wrapped objects; `test` are the
/// records of the evaluation and how many of them text is generated for; `checkpoint` is a file and what tells this run from others.
#[pyfunction]
#[pyo3(signature = (method, layers, stages, clients, trainer, extractor, aggregator, evaluator, test, json, seed, checkpoint, clients_at_once))]
#[allow(clippy::too_many_arguments)]
fn run_simulation(
    py: Python<'_>,
    method: &str,
    layers: usize,
    stages: BTreeMap<String, Py<PyAny>>,
    clients: Vec<Vec<Parts>>,
    trainer: Py<PyAny>,
    extractor: Option<Py<PyAny>>,
    aggregator: Option<Py<PyAny>>,
    evaluator: Option<Py<PyAny>>,
    test: Option<(Vec<Parts>, Option<usize>)>,
    json: &str,
    seed: u64,
    checkpoint: Option<(PathBuf, BTreeMap<String, String>)>,
    clients_at_once: usize,
) -> PyResult<(Adapter, String, Vec<Score>)> {
    let failures = Failures::default();
    let settings: SimulationSettings = settings(json).or_raise()?;
    let pipeline = build_pipeline(method, layers, stages, &failures).or_raise()?;
    let client = |(number, parts): (usize, Vec<Parts>)| ClientData {
        client: ClientId(number as u32),
        name: format!("client-{number}"),
        records: records(parts),
    };
    let clients: Vec<ClientData> = clients.into_iter().enumerate().map(client).collect();
    let trainer: Arc<dyn stage::Trainer> = match trainer.bind(py).cast::<Trainer>() {
        Ok(own) => own.get().inner.clone(),
        Err(_) => Arc::new(Custom::new("trainer", trainer, &failures)),
    };
    let aggregator: Box<dyn stage::Aggregator> = match aggregator {
        None => Box::new(WeightedMean::new()),
        Some(object) => Box::new(Custom::new("aggregator", object, &failures)),
    };
    let mut identity = Identity::default();
    if let Some((_, parts)) = &checkpoint {
        parts.iter().for_each(|(name, value)| identity.set(name, value));
        let all: Vec<_> = clients.iter().flat_map(|c| c.records.iter().cloned()).collect();
        let sizes: Vec<String> = clients.iter().map(|c| c.records.len().to_string()).collect();
        identity.set("client sizes", sizes.join(","));
        identity.set("client records", format!("{:02x?}", content_hash(&all)));
        identity.set("seed", seed);
        identity.set("method", method);
        identity.set("layers", layers);
        identity.set("settings", json);
    }
    let mut simulation = Simulation::new(pipeline, Arc::new(clients), trainer, aggregator)
        .settings(settings)
        .seed(Seed(seed))
        .clients_at_once(clients_at_once);
    if let Some(object) = extractor {
        let extractor: Arc<dyn stage::FeatureExtractor> = match object.bind(py).cast::<Features>() {
            Ok(own) => own.get().inner.clone(),
            Err(_) => Arc::new(Custom::new("extractor", object, &failures)),
        };
        simulation = simulation.extractor(extractor);
    }
    if let Some(object) = evaluator {
        let Some((parts, generate)) = test else {
            return Err(raised(&Error::input("test", "records, which the evaluator is for", "none")));
        };
        let evaluator: Arc<dyn stage::Evaluator> = match object.bind(py).cast::<Evaluator>() {
            Ok(own) => own.get().inner.clone(),
            Err(_) => Arc::new(Custom::new("evaluator", object, &failures)),
        };
        let test = records(parts);
        if checkpoint.is_some() {
            identity.set("test records", format!("{:02x?} {generate:?}", content_hash(&test)));
        }
        simulation = simulation.evaluate(evaluator, Arc::new(TestSet::new(test, generate)));
    }
    if let Some((path, _)) = checkpoint {
        simulation = simulation.checkpoint(path, identity);
    }
    let outcome = heavy_with(py, &failures, move |control| simulation.control(control.clone()).run())?;
    let rounds = serde_json::to_string(&outcome.rounds).map_err(|e| raised(&Error::config("rounds", e.to_string())))?;
    Ok((outcome.adapter.into(), rounds, outcome.scores.into_iter().map(score).collect()))
}
