//! One suite over every implementation of a stage trait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../toy/mod.rs"]
mod toy;

mod aggregators;
mod clusterers;
mod feature_extractor;
mod linfa_traits;
mod own_stages;
mod reducers;
mod selectors;
mod tokens;
mod training;
mod uploads;
