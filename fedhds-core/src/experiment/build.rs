//! The stages of a configuration's models.

use super::config::ExperimentConfig;
use super::data;
use super::parts::{Features, Stages};
use super::runner::Experiment;
use crate::dataset::{PromptTemplate, RenderPrompt};
use crate::error::{Error, Result};
use crate::features::{FeatureParams, LayerFeatures};
use crate::generate::{GenerateConfig, ModelEvaluator, ResponseLoss, ResponseLossConfig};
use crate::model::{Device, LanguageModel, Overlong, RecordTokenizer, prompt_renderer};
use crate::train::{LoraTrainer, TrainConfig, write_adapter};
use crate::types::{Control, Record};
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Experiment {
    /// Loads models and data of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] as [`ExperimentConfig::check`]; what models and data that cannot be used are refused with.
    pub fn prepare(config: &ExperimentConfig, control: &Control) -> Result<Self> {
        config.check()?;
        let device = Device::parse(config.model.device.as_deref().unwrap_or("cpu"))?;
        let model = LanguageModel::load_with(&config.model.path, &device, config.model.activations)?;
        let load = |path: &Option<PathBuf>| path.as_ref().map(|path| LanguageModel::load(path, &device)).transpose();
        let (proxy, judge) = (load(&config.model.proxy)?, load(&config.model.judge)?);
        let stages = model_stages(config, model, proxy, judge)?;
        if config.data.preset.is_some() {
            let (data, notes) = data::load(&config.data, stages.count_tokens.as_ref(), control)?;
            return Self::new(config.clone(), data, stages, notes);
        }
        let pool = data::load_pool(&config.data, stages.count_tokens.as_ref(), control)?;
        Self::over(config.clone(), pool, stages)
    }
}

/// The stages over these models. Without a proxy the untuned model itself serves, frozen: its features are extracted once, but
/// at the tuned model's cost a record; the notes say so. Without a judge the untuned model judges responses.
///
/// # Errors
/// [`Error::Config`] and [`Error::Parameter`] for settings that the models do not allow.
pub fn model_stages(
    config: &ExperimentConfig,
    model: LanguageModel,
    proxy: Option<LanguageModel>,
    judge: Option<LanguageModel>,
) -> Result<Stages> {
    let prompt = prompt_renderer(&config.prompt, &model.tokenizer)?;
    let prompt_name = serde_json::to_string(&config.prompt).map_err(|e| Error::config("prompt", e.to_string()))?;
    let max_tokens = config.data.max_tokens;
    let params = FeatureParams { max_tokens, ..FeatureParams::default() };
    let features =
        |model: &LanguageModel| LayerFeatures::new(model.clone(), prompt.clone(), &prompt_name, params.clone());
    let layers = model.transformer.spec().layers;
    let mut identity = vec![("model".to_owned(), model.fingerprint().to_owned())];
    let mut notes = Vec::new();
    let proxy = match proxy {
        None => {
            notes.push(
                "no proxy is named: where a method asks for one, the untuned model itself serves, frozen".to_owned(),
            );
            Features::new(Arc::new(features(&model)?.frozen()), layers)
        }
        Some(proxy) if proxy.transformer.spec().causal => {
            let layers = proxy.transformer.spec().layers;
            Features::new(Arc::new(features(&proxy)?.frozen()), layers)
        }
        Some(encoder) => {
            // A sentence encoder reads the bare text: the template's headings would be the same in every record.
            let raw: Arc<dyn RenderPrompt> = Arc::new(PromptTemplate::Raw);
            let layers = encoder.transformer.spec().layers;
            let features = LayerFeatures::new(encoder, raw, "raw", FeatureParams::encoder_proxy())?;
            Features::new(Arc::new(features.frozen()), layers)
        }
    };
    let adapter_base = config.model.path.display().to_string();
    identity.push(("max_tokens".to_owned(), max_tokens.to_string()));
    let train = TrainConfig { max_tokens, ..config.training.clone() };
    let generate = GenerateConfig { batches_at_once: config.workers(), ..config.generation.clone() };
    // A judge reads with its own tokenizer, and its own chat template where the prompt is one.
    let judge = judge.unwrap_or_else(|| model.clone());
    let judged = prompt_renderer(&config.prompt, &judge.tokenizer)?;
    let judge = ResponseLoss::new(judge, judged, &prompt_name, ResponseLossConfig::default())?;
    let counted = RecordTokenizer::new(&model, prompt.clone(), usize::MAX, Overlong::Error);
    Ok(Stages {
        model: Features::new(Arc::new(features(&model)?), layers),
        proxy,
        judge: Some(Arc::new(judge)),
        trainer: Arc::new(LoraTrainer::new(model.clone(), prompt.clone(), config.adapter.clone(), train)?),
        evaluator: Arc::new(ModelEvaluator::new(model, prompt, generate)?),
        aggregator: None,
        count_tokens: Arc::new(move |record: &Record| counted.count(record)),
        save_adapter: Some(Arc::new(move |folder: &Path, adapter| write_adapter(folder, adapter, Some(&adapter_base)))),
        identity,
        notes,
    })
}
