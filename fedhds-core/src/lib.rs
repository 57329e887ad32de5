#![doc = "Federated data-efficient instruction tuning (FedHDS, arXiv 2410.10926)."]
//!
//! Each line of this list may import the lines above it, never one below.

pub mod error;
mod files;
mod parallel;
mod product;
pub mod types;

pub mod parse;
pub mod settings;

pub mod protocol;
pub mod stage;

pub mod aggregate;
pub mod cluster;
pub mod dataset;
pub mod metrics;
pub mod reduce;
pub mod select;

#[cfg(feature = "peers")]
pub mod peers;

#[cfg(feature = "model")]
pub mod features;
#[cfg(feature = "model")]
pub mod generate;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "model")]
pub mod train;

pub mod method;

pub mod client;
pub mod server;

pub mod simulate;

pub mod experiment;

pub use error::{Error, Position, Result};

// The toy stages of `tests/toy` are written against the crate's name; unit tests share them.
#[cfg(test)]
extern crate self as fedhds_core;

/// The documentation's code runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding_a_stage.md")]
mod adding_a_stage {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/embedded_model.md")]
mod embedded_model {}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
