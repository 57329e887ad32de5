//! A configuration becomes a federation, run records, tables and plots.
//!
//! [`ExperimentConfig`] is a TOML file; [`Experiment`] runs every method with every seed on one federation, states the [`Cost`]
//! before it starts, keeps what is finished, and ends with a [`Table`]. With `[data.conditions]` it is a grid: every method with every
//! seed in every condition, each seed a federation of its own, and ends with a [`Grid`]; [`run_all`] puts several experiments into one.
//! [`report()`] makes one page of any runs.
//! It needs nothing but [`Stages`]: with the feature `model` they are built from the configuration's model files.

#[cfg(feature = "model")]
mod build;
mod cell;
mod config;
mod coreset_cent;
mod cost;
mod counter;
mod data;
mod estimate;
mod federation;
mod gate;
mod grid;
mod joint;
mod layout;
mod oracle;
mod parts;
mod picture;
mod plan;
mod plot;
mod record_file;
mod releases;
mod report;
mod results;
mod run_record;
mod runner;
mod spent;
mod summary;
mod table;
mod tensorboard;
mod truth;
mod until;
mod work;

pub use crate::simulate::peak_memory;
#[cfg(feature = "model")]
pub use build::model_stages;
pub use config::{
    Arm, Caps, Conditions, CountAlone, DataConfig, ExperimentConfig, FeditCaps, Filter, MethodEntry, ModelSettings,
    Overrides, ReportSettings, STEPS_A_PASS, Statistics, TestConfig, TooLong, Until,
};
pub use cost::{Cost, Probe, Rates, StageCost, typical};
pub use data::{Pool, load as load_data, load_pool};
pub use gate::{GateFinished, GateRecord, GateRow, GateTable, GateTruth, ScoredRecords, TruthOfSeeds};
pub use grid::{Grid, GridComparison, GridRow, MeanTruth, WorstFamily};
pub use joint::run_all;
pub use parts::{CountTokens, Features, SaveAdapter, Stages};
pub use plot::SelectionPlot;
pub use report::{LeftOut, Reported, report};
pub use results::{FailedRun, Finished, Results};
pub use run_record::{DataSummary, Metrics, RunRecord, SCHEMA, UNTUNED, Versions};
pub use runner::Experiment;
pub use table::{Comparison, Row, Table};
pub use truth::TrainedTruth;
pub use until::{CostToTarget, RatioToRandom, Reached, TargetCost, UntilRecord};

#[cfg(test)]
mod tests;
