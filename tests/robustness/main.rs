//! Bad input, killed processes, missing files.
mod config;
mod dataset;
mod gguf;
mod kill_resume;

#[path = "../toy/mod.rs"]
mod toy;
