//! Language models on burn.
