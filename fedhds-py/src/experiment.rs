//! Whole experiments from TOML files.

use crate::error::{OrRaise as _, raised};
use crate::plain::plain;
use crate::run::heavy;
use fedhds_core::Error;
use fedhds_core::experiment::{
    Experiment, ExperimentConfig, FailedRun, GateFinished, LeftOut, Overrides, Reported, run_all,
};
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// Adds the class and the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Experiments>()?;
    module.add_function(wrap_pyfunction!(report, module)?)
}

/// The page, how many runs it is of, and the files that were left out.
type Page = (PathBuf, usize, Vec<String>);

fn page(made: Reported) -> Page {
    (made.page, made.runs, made.left_out.iter().map(LeftOut::to_string).collect())
}

/// Makes the report of all runs in these folders, in the folder `out`.
#[pyfunction]
fn report(py: Python<'_>, runs: Vec<PathBuf>, out: PathBuf) -> PyResult<Page> {
    heavy(py, move |_| fedhds_core::experiment::report(&runs, out)).map(page)
}

/// The results as values and as text, the folder that they are in, and the runs that failed.
type Results<'py> = (Bound<'py, PyAny>, String, PathBuf, Vec<String>);

/// Experiments that are ready to run: configurations, data and models, all checked.
#[pyclass(module = "fedhds._native", frozen)]
struct Experiments {
    inner: Arc<Vec<Experiment>>,
    out: PathBuf,
    /// The folders of all.
    folders: Vec<PathBuf>,
}

#[pymethods]
impl Experiments {
    #[new]
    #[pyo3(signature = (configs, *, data, model, proxy, judge, out, seeds, methods, conditions))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        configs: Vec<PathBuf>,
        data: Option<PathBuf>,
        model: Option<PathBuf>,
        proxy: Option<PathBuf>,
        judge: Option<PathBuf>,
        out: Option<PathBuf>,
        seeds: Vec<u64>,
        methods: Vec<String>,
        conditions: Vec<String>,
    ) -> PyResult<Self> {
        if configs.is_empty() {
            return Err(raised(&Error::input("configs", "at least one experiment", "none")));
        }
        if configs.len() > 1 && out.is_some() {
            let expected = "one experiment, as each needs a folder of its own";
            return Err(raised(&Error::parameter("out", expected, configs.len())));
        }
        let overrides = Overrides { data, model, proxy, judge, out, seeds, methods, conditions };
        let load = |path: &PathBuf| ExperimentConfig::load(path, overrides.clone());
        let configs: Vec<ExperimentConfig> = configs.iter().map(load).collect::<Result<_, _>>().or_raise()?;
        let out = configs.first().map(|config| config.out.clone()).unwrap_or_default();
        let folders = configs.iter().map(|config| config.out.clone()).collect();
        let prepare = |config: &ExperimentConfig, control: &_| Experiment::prepare(config, control);
        let inner = heavy(py, move |control| configs.iter().map(|config| prepare(config, control)).collect())?;
        Ok(Self { inner: Arc::new(inner), out, folders })
    }

    /// Data and models of each experiment in words.
    fn describe(&self) -> Vec<String> {
        self.inner.iter().map(Experiment::describe).collect()
    }

    /// The folder of the results; of several experiments that of the first.
    #[getter]
    fn out(&self) -> PathBuf {
        self.out.clone()
    }

    /// What each will cost, as values and as text, from a short measurement.
    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
        let experiments = self.inner.clone();
        let costs: Vec<_> =
            heavy(py, move |control| experiments.iter().map(|experiment| experiment.cost(control)).collect())?;
        costs.iter().map(|cost| Ok((plain(py, cost)?, cost.to_text()))).collect()
    }

    /// Runs what is not finished of each.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Results<'py>> {
        let experiments = self.inner.clone();
        let finished = heavy(py, move |control| run_all(&experiments, control))?;
        let told = |run: &FailedRun| match self.inner.len() {
            1 => run.to_string(),
            _ => format!("{}: {run}", run.experiment),
        };
        let failed = finished.failed.iter().map(told).collect();
        Ok((plain(py, &finished.results)?, finished.results.to_text(), finished.out, failed))
    }

    /// The report of what is finished of all of them, in the folder `report` of the first.
    fn report(&self, py: Python<'_>) -> PyResult<Page> {
        let (folders, out) = (self.folders.clone(), self.out.join("report"));
        heavy(py, move |_| fedhds_core::experiment::report(&folders, out)).map(page)
    }

    /// The quality gate alone of each: values, text, folder and what failed.
    fn gate_only<'py>(&self, py: Python<'py>) -> PyResult<Vec<Results<'py>>> {
        let experiments = self.inner.clone();
        let looked: Vec<_> =
            heavy(py, move |control| experiments.iter().map(|experiment| experiment.gate_only(control)).collect())?;
        let of = |finished: &GateFinished| {
            let failed = finished.failed.iter().map(FailedRun::to_string).collect();
            Ok((plain(py, &finished.table)?, finished.table.to_text(), finished.out.clone(), failed))
        };
        looked.iter().map(of).collect()
    }

    /// What the gate alone asks of the model at most, of each in words.
    fn describe_gate_only(&self) -> PyResult<Vec<String>> {
        self.inner.iter().map(Experiment::describe_gate_only).collect::<Result<_, _>>().or_raise()
    }
}
