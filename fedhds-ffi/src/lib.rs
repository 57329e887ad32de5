//! The C ABI of fedhds.
//!
//! The contract is in this crate's README: every function returns a status, out-parameters stand last and are written only on
//! success, every object is an opaque handle with a `_free`, bytes and numbers go into buffers of the caller's, no panic crosses.
//! One module for each C type; the header `include/fedhds.h` is generated from them.

#![allow(non_camel_case_types)]

mod buffer;
mod callback;
mod client;
mod cluster;
mod control;
mod custom;
mod ending;
mod gate;
mod global;
mod handle;
mod log;
mod matrix;
mod memory;
mod method;
mod metrics;
mod near_copies;
mod pair;
mod pca;
mod pointer;
mod records;
mod reduce;
mod rows;
mod select;
mod server;
mod settings;
mod status;
mod summarize;
mod text;
mod upload;
mod version;

#[cfg(feature = "model")]
mod adapter;
#[cfg(feature = "model")]
mod aggregator;
#[cfg(feature = "model")]
mod config;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
mod train;

pub use buffer::*;
pub use callback::*;
pub use client::*;
pub use cluster::*;
pub use control::*;
pub use custom::*;
pub use ending::*;
pub use gate::*;
pub use global::*;
pub use log::*;
pub use matrix::*;
pub use memory::*;
pub use method::*;
pub use metrics::*;
pub use near_copies::*;
pub use pca::*;
pub use records::*;
pub use reduce::*;
pub use rows::*;
pub use select::*;
pub use server::*;
pub use status::*;
pub use summarize::*;
pub use text::*;
pub use upload::*;
pub use version::*;

#[cfg(feature = "model")]
pub use adapter::*;
#[cfg(feature = "model")]
pub use aggregator::*;
#[cfg(feature = "model")]
pub use config::*;
#[cfg(feature = "model")]
pub use model::*;
#[cfg(feature = "model")]
pub use train::*;
