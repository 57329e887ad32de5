//! The stages that an experiment runs on; [`build`](super) makes them from a configuration, tests and users from their own.

use crate::error::Result;
use crate::features::{TextFeatures, TextFeaturesConfig};
use crate::method::FeatureSource;
pub use crate::simulate::CountTokens;
use crate::stage::{Aggregator, Evaluator, FeatureExtractor, Scorer, Trainer};
use crate::types::Adapter;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// A feature extractor, and how its vectors are made up.
#[derive(Clone)]
pub struct Features {
    /// The extractor.
    pub extractor: Arc<dyn FeatureExtractor>,
    /// Equal parts of a vector, one a layer, at least 1: what layer-norm per layer works on.
    pub layers: usize,
}

impl Features {
    /// An extractor; what a frozen one gives is kept by the experiment.
    pub fn new(extractor: Arc<dyn FeatureExtractor>, layers: usize) -> Self {
        Self { extractor, layers }
    }
}

/// Features of the records' own text, for methods with `features = "text"`.
static TEXT: LazyLock<Option<Features>> = LazyLock::new(|| {
    let features = TextFeatures::new(TextFeaturesConfig::default()).ok()?;
    Some(Features::new(Arc::new(features), 1))
});

/// Writes an adapter into a folder, in a format that others read.
pub type SaveAdapter = dyn Fn(&Path, &Adapter) -> Result<()> + Send + Sync;

/// The stages that an experiment runs on.
#[derive(Clone)]
pub struct Stages {
    /// Features of the tuned model, for methods with `features = "model"`.
    pub model: Features,
    /// Features of the frozen proxy, for methods with `features = "proxy"`.
    pub proxy: Features,
    /// Losses of responses under prompts, for methods with a quality gate; without them clients decline its question.
    pub judge: Option<Arc<dyn Scorer>>,
    /// Local training.
    pub trainer: Arc<dyn Trainer>,
    /// Evaluation.
    pub evaluator: Arc<dyn Evaluator>,
    /// A fresh aggregator for each run, in the place of the configuration's `[aggregator]`.
    pub aggregator: Option<Arc<dyn Fn() -> Box<dyn Aggregator> + Send + Sync>>,
    /// Tokens of a record.
    pub count_tokens: Arc<CountTokens>,
    /// Writes the final adapter of each run, where the stages know a format for it.
    pub save_adapter: Option<Arc<SaveAdapter>>,
    /// What the results depend on beside the configuration, by name, for example the model's fingerprint.
    pub identity: Vec<(String, String)>,
    /// What a reader of the results must know of the stages.
    pub notes: Vec<String>,
}

impl Stages {
    /// The features of a source; `None` for methods that look at none.
    pub fn features(&self, source: FeatureSource) -> Option<&Features> {
        match source {
            FeatureSource::None => None,
            FeatureSource::Model => Some(&self.model),
            FeatureSource::Proxy => Some(&self.proxy),
            FeatureSource::Text => TEXT.as_ref(),
        }
    }
}
