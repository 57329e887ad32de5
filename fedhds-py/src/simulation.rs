//! A federation in one process, over the core's stages and one's own.

use crate::adapter::Adapter;
use crate::custom::Custom;
use crate::custom_server::aggregator;
use crate::error::{OrRaise as _, raised};
use crate::failures::Failures;
use crate::federation::build_pipeline;
use crate::judge::ResponseLoss;
use crate::model::{Evaluator, Features, Trainer};
use crate::plain::plain;
use crate::records::Records;
use crate::run::heavy_with;
use crate::scores::Scores;
use crate::settings::SimulationSettings;
use crate::text::TextFeatures;
use fedhds_core::dataset::ClientData;
use fedhds_core::simulate::{RunIdentity, Simulation, TestSet, content_hash};
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

/// A simulation as `fedhds._simulation.Run` describes it; the stages are this module's classes or wrapped objects.
#[derive(FromPyObject)]
struct Run {
    /// The method's settings.
    method: String,
    /// Equal parts of a feature vector.
    layers: usize,
    /// What replaces the method's stages, by their names.
    stages: BTreeMap<String, Py<PyAny>>,
    /// The records of each client.
    clients: Vec<Records>,
    trainer: Py<PyAny>,
    extractor: Option<Py<PyAny>>,
    scorer: Option<Py<PyAny>>,
    judge: Option<Py<PyAny>>,
    /// Tokens of each client's records, where the method's budget counts them.
    tokens: Option<Vec<Vec<u32>>>,
    aggregator: Option<Py<PyAny>>,
    evaluator: Option<Py<PyAny>>,
    /// The records of the evaluation.
    test: Option<Records>,
    /// For how many of them text is generated.
    generate: Option<usize>,
    settings: SimulationSettings,
    seed: u64,
    checkpoint: Option<PathBuf>,
    /// What tells this run from others in its checkpoint.
    names: BTreeMap<String, String>,
    clients_at_once: usize,
}

impl Run {
    /// What the checkpoint's run must be.
    fn identity(&self, clients: &[ClientData]) -> RunIdentity {
        let mut identity = RunIdentity::default();
        self.names.iter().for_each(|(name, value)| identity.set(name, value));
        let all: Vec<_> = clients.iter().flat_map(|c| c.records.iter().cloned()).collect();
        let sizes: Vec<String> = clients.iter().map(|c| c.records.len().to_string()).collect();
        identity.set("client sizes", sizes.join(","));
        identity.set("client records", format!("{:02x?}", content_hash(&all)));
        if let Some(test) = &self.test {
            identity.set("test records", format!("{:02x?} {:?}", content_hash(&test.0), self.generate));
        }
        identity.set("seed", self.seed);
        identity.set("method", &self.method);
        identity.set("layers", self.layers);
        let settings = serde_json::to_value(&self.settings.inner).unwrap_or_default();
        identity.set_json("settings", &settings);
        identity
    }
}

/// The tokens of records, by what a record is.
fn counted(clients: &[ClientData], tokens: Vec<Vec<u32>>) -> Result<BTreeMap<[u8; 32], u32>, Error> {
    let mut by_content = BTreeMap::new();
    for (client, tokens) in clients.iter().zip(tokens) {
        if tokens.len() != client.records.len() {
            let expected = format!("{} numbers, one for each record of client {}", client.records.len(), client.client);
            return Err(Error::input("tokens", expected, tokens.len()));
        }
        let hashes = client.records.iter().map(|record| content_hash(std::slice::from_ref(record)));
        by_content.extend(hashes.zip(tokens));
    }
    Ok(by_content)
}

/// Runs the rounds that are not done yet: the adapter, the rounds, the last scores.
#[pyfunction]
fn run_simulation<'py>(py: Python<'py>, run: &Bound<'py, PyAny>) -> PyResult<(Adapter, Bound<'py, PyAny>, Scores)> {
    // What is wrong with a field is the cause; that it is one of `Run` tells nobody anything.
    let mut run: Run = run.extract().map_err(|error: PyErr| error.cause(py).unwrap_or(error))?;
    let failures = Failures::default();
    let stages = std::mem::take(&mut run.stages);
    let pipeline = build_pipeline(&run.method, run.layers, stages, &failures).or_raise()?;
    let client = |(number, records): (usize, Records)| ClientData {
        client: ClientId(number as u32),
        name: format!("client-{number}"),
        records: records.0,
    };
    let clients: Vec<ClientData> = std::mem::take(&mut run.clients).into_iter().enumerate().map(client).collect();
    let tokens = run.tokens.take().map(|tokens| counted(&clients, tokens)).transpose().or_raise()?;
    let checkpoint = run.checkpoint.take().map(|path| (path, run.identity(&clients)));
    let trainer: Arc<dyn stage::Trainer> = match run.trainer.bind(py).cast::<Trainer>() {
        Ok(own) => own.get().inner.clone(),
        Err(_) => Arc::new(Custom::new("trainer", run.trainer, &failures)),
    };
    let aggregator = aggregator(run.aggregator.as_ref().map(|given| given.bind(py)), &failures).or_raise()?;
    let mut simulation = Simulation::new(pipeline, Arc::new(clients), trainer, aggregator)
        .settings(run.settings.inner)
        .seed(Seed(run.seed))
        .clients_at_once(run.clients_at_once);
    if let Some(object) = run.extractor {
        let extractor: Arc<dyn stage::FeatureExtractor> =
            match (object.bind(py).cast::<Features>(), object.bind(py).cast::<TextFeatures>()) {
                (Ok(own), _) => own.get().inner.clone(),
                (_, Ok(own)) => own.get().inner.clone(),
                _ => Arc::new(Custom::new("extractor", object, &failures)),
            };
        simulation = simulation.extractor(extractor);
    }
    if let Some(object) = run.scorer {
        simulation = simulation.scorer(Arc::new(Custom::new("scorer", object, &failures)));
    }
    if let Some(object) = run.judge {
        let judge: Arc<dyn stage::Scorer> = match object.bind(py).cast::<ResponseLoss>() {
            Ok(own) => own.get().inner.clone(),
            Err(_) => Arc::new(Custom::new("judge", object, &failures)),
        };
        simulation = simulation.judge(judge);
    }
    if let Some(tokens) = tokens {
        simulation = simulation.count_tokens(Arc::new(move |record| {
            match tokens.get(&content_hash(std::slice::from_ref(record))) {
                Some(tokens) => Ok(*tokens as usize),
                None => Err(Error::input("tokens", "those of every record", format!("none of `{}`", record.id))),
            }
        }));
    }
    if let Some(object) = run.evaluator {
        let Some(Records(test)) = run.test else {
            return Err(raised(&Error::input("test", "records, which the evaluator is for", "none")));
        };
        let evaluator: Arc<dyn stage::Evaluator> = match object.bind(py).cast::<Evaluator>() {
            Ok(own) => own.get().inner.clone(),
            Err(_) => Arc::new(Custom::new("evaluator", object, &failures)),
        };
        simulation = simulation.evaluate(evaluator, Arc::new(TestSet::new(test, run.generate)));
    }
    if let Some((path, identity)) = checkpoint {
        simulation = simulation.checkpoint(path, identity);
    }
    let outcome = heavy_with(py, &failures, move |control| simulation.control(control.clone()).run())?;
    Ok((outcome.adapter.into(), plain(py, &outcome.rounds)?, Scores(outcome.scores)))
}
