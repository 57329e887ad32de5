//! One suite over every implementation of a stage trait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod feature_extractor;
mod selectors;
