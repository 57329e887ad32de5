//! The native part of the Python package `fedhds`: a thin layer over `fedhds-core`.
//!
//! Python sees numbers, text, bytes, arrays, records and settings; checks of shapes that a person should understand are in the
//! package's own modules, everything else is the core's. Heavy calls release the interpreter and stop on Ctrl-C.

mod adapter;
mod array;
mod custom;
mod custom_pipeline;
mod custom_server;
mod custom_stages;
mod custom_upload;
mod error;
mod federation;
mod federation_server;
mod info;
mod metrics;
mod model;
mod numerics;
mod plain;
mod progress;
mod records;
mod run;
mod scores;
mod setting;
mod settings;
mod simulate;
mod simulation;

use pyo3::prelude::*;

/// The native module of `fedhds`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::register(module)?;
    settings::register(module)?;
    numerics::register(module)?;
    federation::register(module)?;
    federation_server::register(module)?;
    metrics::register(module)?;
    simulate::register(module)?;
    records::register(module)?;
    adapter::register(module)?;
    model::register(module)?;
    simulation::register(module)?;
    progress::register(module)?;
    info::register(module)
}
