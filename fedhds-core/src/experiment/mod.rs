//! A configuration becomes a federation, run records, tables and plots.
//!
//! [`ExperimentConfig`] is a TOML file; [`Experiment`] runs every method with every seed on one federation, states the [`Cost`]
//! before it starts, keeps what is finished, and ends with a [`Table`]. It needs nothing but [`Stages`]: with the feature
//! `model` they are built from the configuration's model files.

#[cfg(feature = "model")]
mod build;
mod config;
mod cost;
mod data;
mod estimate;
mod layout;
mod parts;
mod picture;
mod plan;
mod plot;
mod run_record;
mod runner;
mod summary;
mod table;

#[cfg(feature = "model")]
pub use build::model_stages;
pub use config::{
    Caps, DataConfig, ExperimentConfig, FeditCaps, MethodEntry, ModelSettings, Overrides, TestConfig, TooLong,
};
pub use cost::{Cost, Probe, Rates, StageCost, typical};
pub use data::load as load_data;
pub use parts::{CountTokens, Features, SaveAdapter, Stages};
pub use plot::SelectionPlot;
pub use run_record::{DataSummary, Metrics, RunRecord, SCHEMA, Versions, peak_memory};
pub use runner::{Experiment, Finished, UNTUNED};
pub use table::{Comparison, Row, Table};

#[cfg(test)]
mod tests;
