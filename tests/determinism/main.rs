//! Same seed, same bits, at any number of threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod models;
mod numerics;
mod selection;
mod simulation;
mod threads;

#[path = "../toy/mod.rs"]
mod toy;
#[path = "../toy/experiment.rs"]
mod toy_experiment;
mod train;
