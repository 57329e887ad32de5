//! Whole experiments from a TOML file.

use crate::error::OrRaise as _;
use crate::run::heavy;
use fedhds_core::Error;
use fedhds_core::experiment::{Experiment, ExperimentConfig, Overrides};
use pyo3::prelude::*;
use std::path::PathBuf;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(simulate, module)?)
}

/// Runs an experiment, or only states its cost. The table (or the cost) as JSON and as text, and the folder of the results.
#[pyfunction]
#[pyo3(signature = (config, data, model, proxy, out, seeds, methods, dry_run))]
#[allow(clippy::too_many_arguments)]
fn simulate(
    py: Python<'_>,
    config: PathBuf,
    data: Option<PathBuf>,
    model: Option<PathBuf>,
    proxy: Option<PathBuf>,
    out: Option<PathBuf>,
    seeds: Vec<u64>,
    methods: Vec<String>,
    dry_run: bool,
) -> PyResult<(String, String, PathBuf)> {
    let overrides = Overrides { data, model, proxy, out, seeds, methods };
    let config = ExperimentConfig::load(&config, overrides).or_raise()?;
    let json = |value: serde_json::Result<String>| value.map_err(|e| Error::config("(document)", e.to_string()));
    heavy(py, move |control| {
        let experiment = Experiment::prepare(&config, control)?;
        if dry_run {
            let cost = experiment.cost(control)?;
            return Ok((json(serde_json::to_string(&cost))?, cost.to_text(), config.out.clone()));
        }
        let finished = experiment.run(control)?;
        Ok((json(serde_json::to_string(&finished.table))?, finished.table.to_text(), finished.out))
    })
}
