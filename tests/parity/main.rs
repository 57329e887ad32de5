//! Equal results with pinned references: fixtures lie beside the scripts that made them, compared within a tolerance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gguf;
mod kmeans;
mod models;
mod numerics;
mod picks;
mod real_models;
mod train;

#[path = "../toy/mod.rs"]
mod toy;
