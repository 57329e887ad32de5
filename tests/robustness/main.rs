//! Bad input, killed processes, missing files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod dataset;
mod embedded_model;
mod gguf;
mod hostile_server;
mod kill_resume;
mod model_experiment;
mod model_files;
mod soak;
mod threats;

#[path = "../toy/mod.rs"]
mod toy;
#[path = "../toy/experiment.rs"]
mod toy_experiment;
