//! One suite over every implementation of a stage trait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clusterers;
mod feature_extractor;
mod linfa_traits;
mod reducers;
mod selectors;
mod tokens;
mod training;
