//! Whole experiments from a TOML file.

use crate::error::OrRaise as _;
use crate::plain::plain;
use crate::run::heavy;
use fedhds_core::experiment::{Experiment, ExperimentConfig, Overrides};
use fedhds_core::types::Control;
use pyo3::prelude::*;
use std::path::PathBuf;

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(simulate, module)?)
}

/// Runs an experiment, or only states its cost. The table (or the cost) as values and as text, and the folder of the results.
#[pyfunction]
#[pyo3(signature = (config, *, data, model, proxy, out, seeds, methods, dry_run))]
#[allow(clippy::too_many_arguments)]
fn simulate<'py>(
    py: Python<'py>,
    config: PathBuf,
    data: Option<PathBuf>,
    model: Option<PathBuf>,
    proxy: Option<PathBuf>,
    out: Option<PathBuf>,
    seeds: Vec<u64>,
    methods: Vec<String>,
    dry_run: bool,
) -> PyResult<(Bound<'py, PyAny>, String, PathBuf)> {
    let overrides = Overrides { data, model, proxy, out, seeds, methods };
    let config = ExperimentConfig::load(&config, overrides).or_raise()?;
    let prepared = move |control: &Control| Experiment::prepare(&config, control).map(|e| (e, config.out.clone()));
    if dry_run {
        let (cost, out) = heavy(py, move |control| {
            let (experiment, out) = prepared(control)?;
            Ok((experiment.cost(control)?, out))
        })?;
        return Ok((plain(py, &cost)?, cost.to_text(), out));
    }
    let finished = heavy(py, move |control| prepared(control)?.0.run(control)?.whole())?;
    Ok((plain(py, &finished.results)?, finished.results.to_text(), finished.out))
}
