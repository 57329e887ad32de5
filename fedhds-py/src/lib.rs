//! The native part of the Python package `fedhds`: a thin layer over `fedhds-core`.
//!
//! Python sees numbers, text, bytes, arrays, records and settings; checks of shapes that a person should understand are in the
//! package's own modules, everything else is the core's. Heavy calls release the interpreter and stop on Ctrl-C.

mod adapter;
mod array;
mod conditions;
mod custom;
mod custom_pipeline;
mod custom_server;
mod custom_stages;
mod custom_upload;
mod error;
mod experiment;
mod failures;
mod federation;
mod federation_server;
mod info;
mod judge;
mod log;
mod metrics;
mod model;
mod numerics;
mod plain;
mod progress;
mod records;
mod run;
mod scan;
mod scores;
mod setting;
mod settings;
mod shared;
mod simulation;
mod text;

use pyo3::prelude::*;

/// The native module of `fedhds`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    // The process that imports is the one whose threads are shared; what is forked from it has its own.
    fedhds_core::forked::is_child();
    log::register();
    error::register(module)?;
    settings::register(module)?;
    numerics::register(module)?;
    federation::register(module)?;
    federation_server::register(module)?;
    metrics::register(module)?;
    experiment::register(module)?;
    records::register(module)?;
    adapter::register(module)?;
    model::register(module)?;
    text::register(module)?;
    scan::register(module)?;
    judge::register(module)?;
    conditions::register(module)?;
    simulation::register(module)?;
    progress::register(module)?;
    info::register(module)
}
