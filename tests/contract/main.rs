//! One suite over every implementation of a stage trait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod selectors;
mod feature_extractor;
