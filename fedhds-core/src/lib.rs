#![doc = "Federated data-efficient instruction tuning (FedHDS, arXiv 2410.10926)."]
//!
//! The layers, from the bottom up. A module imports those of the lines above its own, never one below and none beside it;
//! `tests/layers` reads this list and every import.
//!
//! - `error`: the one error
//! - `types`: matrices, records, adapters, seeds: data, no logic
//! - `sorting`: sorting that is compiled once
//! - `files`, `forked`, `guard`, `locks`, `log`, `loops`, `parallel`, `parse`, `product`, `saved`, `spectrum`: files that appear whole or not at all; threads for
//!   a process that was forked; panics that end no more than their own part; what one process uses at a time; what is said, as text; loops over all
//!   threads; clients side by side; settings from text, errors with their key; products of matrices; what a client or server keeps, as bytes;
//!   eigenvalues of a symmetric matrix
//! - `settings`: how adapters are trained and texts generated
//! - `protocol`: every byte that crosses between client and server
//! - `stage`: the traits of the stages
//! - `aggregate`, `cluster`, `dataset`, `metrics`, `privacy`, `reduce`, `select`: the stages that run no model
//! - `peers`: other crates' implementations of stages, and ours behind linfa's traits
//! - `model`: language models on burn
//! - `features`, `train`: the stages that run one, with `generate`; what they found, kept; features of texts, which need none
//! - `generate`: generation and evaluation
//! - `method`: a configuration becomes stages
//! - `client`, `server`: the state machines, message in, message out
//! - `simulate`: the federation in one process
//! - `experiment`: configurations, run records, tables, plots, the report
//!
//! `model`, `train`, `generate` and `LayerFeatures` in `features` are there with the feature `model`, `peers` and
//! `experiment` with the features of their names.

pub mod error;
pub mod types;

mod sorting;

mod files;
pub mod forked;
mod guard;
mod locks;
pub mod log;
mod loops;
mod parallel;
pub mod parse;
mod product;
mod saved;
mod spectrum;

pub mod settings;

pub mod protocol;

pub mod stage;

pub mod aggregate;
pub mod cluster;
pub mod dataset;
pub mod metrics;
pub mod privacy;
pub mod reduce;
pub mod select;

#[cfg(feature = "peers")]
pub mod peers;

#[cfg(feature = "model")]
pub mod model;

pub mod features;
#[cfg(feature = "model")]
pub mod train;

#[cfg(feature = "model")]
pub mod generate;

pub mod method;

pub mod client;
pub mod server;

pub mod simulate;

#[cfg(feature = "experiment")]
pub mod experiment;

pub use error::{Error, Position, Result};

// The toy stages of `tests/toy` are written against the crate's name; unit tests share them.
#[cfg(test)]
extern crate self as fedhds_core;

/// The documentation's code runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding_a_stage.md")]
mod adding_a_stage {}

#[cfg(all(doctest, feature = "experiment"))]
#[doc = include_str!("../../docs/embedded_model.md")]
mod embedded_model {}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
