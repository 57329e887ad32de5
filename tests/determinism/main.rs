//! Same seed, same bits, at any number of threads.
mod models;
mod selection;
mod simulation;

#[path = "../toy/mod.rs"]
mod toy;
