//! Conditions that make a clean federation like a real one, and the truth about it.

use crate::error::OrRaise as _;
use crate::plain::plain;
use crate::records::Records;
use crate::run::heavy;
use crate::settings::Condition;
use fedhds_core::dataset::{ClientData, Dataset, conditions};
use fedhds_core::parse;
use fedhds_core::types::{ClientId, Seed};
use pyo3::prelude::*;

/// Adds functions and class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Truth>()?;
    module.add_function(wrap_pyfunction!(named_condition, module)?)?;
    module.add_function(wrap_pyfunction!(thin, module)?)?;
    module.add_function(wrap_pyfunction!(apply, module)?)
}

/// The truth about the records of a federation.
#[pyclass(module = "fedhds._native", frozen)]
pub struct Truth {
    inner: conditions::Truth,
}

#[pymethods]
impl Truth {
    /// The truth of [`Self::as_dict`] as JSON.
    #[staticmethod]
    fn of(json: &str) -> PyResult<Self> {
        Ok(Self { inner: parse::from_json("truth", json).or_raise()? })
    }

    /// Everything, as dicts and lists.
    fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.inner)
    }

    fn is_bad(&self, id: &str) -> bool {
        self.inner.is_bad(id)
    }

    fn distinct(&self, ids: Vec<String>) -> usize {
        self.inner.distinct(ids)
    }

    fn tasks(&self, ids: Vec<String>) -> usize {
        self.inner.tasks(ids)
    }

    fn purity(&self, ids: Vec<String>) -> f64 {
        self.inner.purity(ids)
    }
}

/// The condition of a name; none for an unknown one.
#[pyfunction]
fn named_condition(name: &str) -> Option<Condition> {
    conditions::Condition::named(name).map(|inner| Condition { inner })
}

/// What comes before the partition: the records that are left, and what was reached.
#[pyfunction]
fn thin<'py>(
    py: Python<'py>,
    condition: &Condition,
    records: Records,
    all: Option<usize>,
    seed: u64,
) -> PyResult<(Records, Bound<'py, PyAny>)> {
    let mut pool = Dataset::new("records", records.0).or_raise()?;
    let condition = condition.inner.clone();
    let (pool, reached) = heavy(py, move |_| {
        let reached = condition.thin(&mut pool, all, Seed(seed))?;
        Ok((pool, reached))
    })?;
    Ok((Records(pool.records), plain(py, &reached)?))
}

/// What comes after the partition: the clients' records, and the truth about them.
#[pyfunction]
fn apply(
    py: Python<'_>,
    condition: &Condition,
    clients: Vec<Records>,
    pool: Records,
    seed: u64,
) -> PyResult<(Vec<Records>, Truth)> {
    let pool = Dataset::new("records", pool.0).or_raise()?;
    let client = |(number, records): (usize, Records)| ClientData {
        client: ClientId(number as u32),
        name: format!("client-{number}"),
        records: records.0,
    };
    let mut clients: Vec<ClientData> = clients.into_iter().enumerate().map(client).collect();
    let condition = condition.inner.clone();
    let (clients, inner) = heavy(py, move |_| {
        let truth = condition.apply(&mut clients, &pool, Seed(seed))?;
        Ok((clients, truth))
    })?;
    Ok((clients.into_iter().map(|client| Records(client.records)).collect(), Truth { inner }))
}
