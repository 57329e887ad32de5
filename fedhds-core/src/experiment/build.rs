//! The stages of a configuration's models.

use super::config::ExperimentConfig;
use super::data;
use super::runner::Experiment;
use super::stages::{Features, Stages};
use crate::aggregate::WeightedMean;
use crate::dataset::{PromptTemplate, RenderPrompt, Rendered};
use crate::error::{Error, Result};
use crate::features::{Cached, FeatureParams, LayerFeatures};
use crate::generate::{GenerateConfig, ModelEvaluator};
use crate::model::{Device, Example, LanguageModel, Tokenizer, prompt_renderer};
use crate::stage::FeatureExtractor;
use crate::train::{LoraTrainer, TrainConfig, write_adapter};
use crate::types::{Control, Record};
use std::path::Path;
use std::sync::Arc;

impl Experiment {
    /// Loads models and data of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] as [`ExperimentConfig::check`]; what models and data that cannot be used are refused with.
    pub fn prepare(config: &ExperimentConfig, control: &Control) -> Result<Self> {
        config.check()?;
        let device = Device::parse(config.model.device.as_deref().unwrap_or("cpu"))?;
        let model = LanguageModel::load(&config.model.path, &device)?;
        let proxy = config.model.proxy.as_ref().map(|path| LanguageModel::load(path, &device)).transpose()?;
        let stages = model_stages(config, model, proxy)?;
        let (data, notes) = data::load(&config.data, stages.count_tokens.as_ref(), control)?;
        Self::new(config.clone(), data, stages, notes)
    }
}

/// The stages over these models. Without a proxy the untuned model itself serves, frozen: its features are extracted once, but
/// at the tuned model's cost a record; the notes say so.
///
/// # Errors
/// [`Error::Config`] and [`Error::Parameter`] for settings that the models do not allow.
pub fn model_stages(config: &ExperimentConfig, model: LanguageModel, proxy: Option<LanguageModel>) -> Result<Stages> {
    let prompt = prompt_renderer(&config.prompt, &model.tokenizer)?;
    let prompt_name = serde_json::to_string(&config.prompt).map_err(|e| Error::config("prompt", e.to_string()))?;
    let cache = config.out.join("features");
    let max_tokens = config.data.max_tokens;
    let params = FeatureParams { max_tokens, ..FeatureParams::default() };
    let features =
        |model: &LanguageModel| LayerFeatures::new(model.clone(), prompt.clone(), &prompt_name, params.clone());
    let layers = model.transformer.spec().layers;
    let mut identity = vec![("model".to_owned(), model.fingerprint().to_owned())];
    let mut notes = Vec::new();
    let frozen = match proxy {
        None => {
            notes.push(
                "no proxy is named: where a method asks for one, the untuned model itself serves, frozen".to_owned(),
            );
            frozen(features(&model)?.frozen(), layers, &cache)?
        }
        Some(proxy) if proxy.transformer.spec().causal => {
            let layers = proxy.transformer.spec().layers;
            frozen(features(&proxy)?.frozen(), layers, &cache)?
        }
        Some(encoder) => {
            // A sentence encoder reads the bare text: the template's headings would be the same in every record.
            let raw: Arc<dyn RenderPrompt> = Arc::new(PromptTemplate::Raw);
            let layers = encoder.transformer.spec().layers;
            let features = LayerFeatures::new(encoder, raw, "raw", FeatureParams::encoder_proxy())?;
            frozen(features.frozen(), layers, &cache)?
        }
    };
    let adapter_base = config.model.path.display().to_string();
    identity.push(("max_tokens".to_owned(), max_tokens.to_string()));
    let train = TrainConfig { max_tokens, ..config.training.clone() };
    let generate = GenerateConfig { batches_at_once: config.workers(), ..config.generation.clone() };
    let counted = (prompt.clone(), model.tokenizer.clone());
    Ok(Stages {
        model: Features::new(Arc::new(features(&model)?), layers),
        proxy: frozen,
        trainer: Arc::new(LoraTrainer::new(model.clone(), prompt.clone(), config.adapter.clone(), train)?),
        evaluator: Arc::new(ModelEvaluator::new(model, prompt, generate)?),
        aggregator: Arc::new(|| Box::new(WeightedMean::new())),
        count_tokens: Arc::new(move |record: &Record| count_tokens(record, counted.0.as_ref(), &counted.1)),
        save_adapter: Some(Arc::new(move |folder: &Path, adapter| write_adapter(folder, adapter, Some(&adapter_base)))),
        identity,
        notes,
    })
}

fn frozen(features: LayerFeatures, layers: usize, cache: &Path) -> Result<Features> {
    let uncached: Arc<dyn FeatureExtractor> = Arc::new(features.clone());
    Ok(Features { extractor: Arc::new(Cached::new(features, cache)?), uncached, layers })
}

fn count_tokens(record: &Record, prompt: &dyn RenderPrompt, tokenizer: &Tokenizer) -> Result<usize> {
    let Rendered { prompt, response } = prompt.render(record)?;
    Ok(Example::new(tokenizer, &prompt, &response)?.ids.len())
}
