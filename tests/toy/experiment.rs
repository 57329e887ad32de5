//! An experiment over the toy stages; for crates that have them as `toy`.

use crate::toy::{self, ToyEvaluator, ToyFeatures, ToyTrainer};
use fedhds_core::Result;
use fedhds_core::experiment::{Experiment, ExperimentConfig, Features, Stages};
use fedhds_core::types::Record;
use std::path::Path;
use std::sync::Arc;

/// The stages with this trainer.
pub fn stages(trainer: ToyTrainer) -> Stages {
    Stages {
        model: Features::new(Arc::new(ToyFeatures::new(false)), 1),
        proxy: Features::new(Arc::new(ToyFeatures::new(true)), 1),
        judge: None,
        trainer: Arc::new(trainer),
        evaluator: Arc::new(ToyEvaluator),
        aggregator: None,
        count_tokens: Arc::new(|r: &Record| Ok(r.instruction.len() + r.response().len())),
        save_adapter: None,
        identity: vec![("model".into(), "toy".into())],
        notes: Vec::new(),
    }
}

/// The experiment of this configuration over 8 clients of 10 records.
pub fn experiment(config: &str, out: &Path, trainer: ToyTrainer) -> Result<Experiment> {
    let mut config = ExperimentConfig::parse(config)?;
    config.out = out.to_path_buf();
    Experiment::new(config, toy::data(8, 10, 5), stages(trainer), Vec::new())
}
