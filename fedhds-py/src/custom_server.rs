//! Own stages of the server that keep something between rounds: aggregator and memory.

use crate::adapter::Adapter;
use crate::array::{array, matrix};
use crate::custom::Custom;
use crate::error::OrRaise as _;
use crate::failures::Failures;
use crate::setting::parameter;
use fedhds_core::aggregate::AggregatorConfig;
use fedhds_core::stage::{Aggregated, AggregationReport, Aggregator, ClientUpdate, Covered, Memory, TrainedGroup};
use fedhds_core::types::{self, Factors, Matrix, Round};
use fedhds_core::{Result, parse};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The aggregator of settings in JSON, or of a wrapped object of the user's.
pub fn aggregator(given: Option<&Bound<'_, PyAny>>, failures: &Failures) -> Result<Box<dyn Aggregator>> {
    let Some(given) = given else { return AggregatorConfig::default().build() };
    match given.extract::<String>() {
        Ok(json) => parse::from_json::<AggregatorConfig>("aggregator", &json)?.build(),
        Err(_) => Ok(Box::new(Custom::new("aggregator", given.clone().unbind(), failures))),
    }
}

impl Aggregator for Custom {
    fn begin(&mut self, global: &types::Adapter, round: Round) -> Result<()> {
        self.call(None, |object| object.call_method1("begin", (Adapter::from(global.clone()), round.0)).map(|_| ()))
    }

    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.call(None, |object| {
            let given = (update.client.0, Adapter::from(update.adapter.clone()), update.records, update.loss);
            object.call_method1("add", given).map(|_| ())
        })
    }

    fn finish(&mut self) -> Result<Aggregated> {
        self.call(None, |object| {
            let (adapter, report) = object.call_method0("finish")?.extract::<(Option<Adapter>, Option<String>)>()?;
            let mut aggregated = Aggregated::new(adapter.map(|adapter| (*adapter.inner).clone()));
            if let Some(report) = report {
                aggregated.report = serde_json::from_str::<AggregationReport>(&report)
                    .map_err(|e| PyValueError::new_err(format!("report: expected what `finish` may report: {e}")))?;
            }
            Ok(aggregated)
        })
    }

    fn trains(&self, round: Round) -> Factors {
        let told = self.call(None, |object| {
            let factors = object.call_method1("trains", (round.0,))?;
            parameter("trains", &factors).or_raise()
        });
        told.unwrap_or_default()
    }

    fn takes_ranks(&self) -> bool {
        self.call(None, |object| object.call_method0("takes_ranks")?.extract()).unwrap_or_default()
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.call(None, |object| object.call_method0("state")?.extract())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        self.call(None, |object| object.call_method1("resume", (PyBytes::new(object.py(), state),)).map(|_| ()))
    }

    fn memory(&self, clients: usize, values: usize) -> u64 {
        self.call(None, |object| object.call_method1("memory", (clients, values))?.extract()).unwrap_or_default()
    }
}

/// A memory of the user's, and what it said last of what it covers, and of its bound.
pub struct CustomMemory {
    custom: Custom,
    covered: Covered,
    bound: usize,
}

impl CustomMemory {
    /// A memory before its first round.
    pub fn new(custom: Custom) -> Result<Self> {
        let mut memory = Self { custom, covered: Covered::default(), bound: 0 };
        memory.ask()?;
        Ok(memory)
    }

    /// Asks what is covered; it is looked at by reference.
    fn ask(&mut self) -> Result<()> {
        let (points, mass) = self.custom.call(None, |object| {
            let (points, mass) =
                object.call_method0("covered")?.extract::<(PyReadonlyArray2<'_, f32>, PyReadonlyArray1<'_, f32>)>()?;
            Ok((matrix(&points)?, mass.as_array().to_vec()))
        })?;
        self.covered = Covered { points, mass };
        self.bound = self.custom.call(None, |object| object.call_method0("bound")?.extract())?;
        Ok(())
    }
}

impl Memory for CustomMemory {
    fn begin(&mut self, round: Round) -> Result<()> {
        self.custom.call(None, |object| object.call_method1("begin", (round.0,)).map(|_| ()))?;
        self.ask()
    }

    fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()> {
        self.custom.call(None, |object| {
            let clients: Vec<(u32, u32, usize)> =
                trained.iter().map(|group| (group.client.0, group.cluster.0, group.records)).collect();
            let columns = trained.first().map_or(0, |group| group.centroid.len());
            let values = trained.iter().flat_map(|group| group.centroid).copied().collect();
            let centroids =
                Matrix::new(trained.len(), columns, values).map_err(|e| PyValueError::new_err(e.to_string()))?;
            object.call_method1("commit", (clients, array(object.py(), centroids)?)).map(|_| ())
        })?;
        self.ask()
    }

    fn covered(&self) -> &Covered {
        &self.covered
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.custom.call(None, |object| object.call_method0("state")?.extract())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        self.custom
            .call(None, |object| object.call_method1("resume", (PyBytes::new(object.py(), state),)).map(|_| ()))?;
        self.ask()
    }

    fn bound(&self) -> usize {
        self.bound
    }
}
