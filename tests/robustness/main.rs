//! Bad input, killed processes, missing files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod dataset;
mod embedded_model;
mod gguf;
mod kill_resume;
mod model_experiment;
mod model_files;

#[path = "../toy/mod.rs"]
mod toy;
#[path = "../toy/experiment.rs"]
mod toy_experiment;
