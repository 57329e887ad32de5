//! Local training of an adapter on a client's records.

use super::init::init_adapter;
use super::run::train_adapter;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::model::soft_prompt::init_soft_prompt;
use crate::model::{Example, LanguageModel, Overlong, RecordTokenizer};
use crate::settings::TrainConfig;
use crate::stage::{Trained, Trainer};
use crate::types::{Adapter, AdapterConfig, AdapterKind, Context, Record, Seed};
use std::sync::Arc;

/// LoRA training (Hu et al. 2021) as the paper's clients do it (section 3.4): the frozen model, a fresh Adam, the loss on the
/// response alone.
///
/// Where the settings say a soft prompt ([`AdapterKind`]) its vectors are trained in the place of factors, by the same loop.
///
/// A record becomes prompt, response and end of sequence through [`RecordTokenizer`].
#[derive(Clone)]
pub struct LoraTrainer {
    model: LanguageModel,
    reader: RecordTokenizer,
    adapter: AdapterConfig,
    config: TrainConfig,
}

impl LoraTrainer {
    /// A trainer of adapters with the settings `adapter` on `model`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Adapter`] for a target that the model does not have;
    /// [`Error::Input`] for an encoder, which predicts no tokens.
    pub fn new(
        model: LanguageModel,
        prompt: Arc<dyn RenderPrompt>,
        adapter: AdapterConfig,
        config: TrainConfig,
    ) -> Result<Self> {
        config.check()?;
        adapter.check()?;
        let spec = model.transformer.spec();
        if !spec.causal {
            return Err(Error::input("model to train", "one that predicts the next token", "an encoder"));
        }
        match adapter.kind() {
            AdapterKind::LowRank => drop(spec.targets(&adapter)?),
            // Whether there is room for its vectors.
            AdapterKind::PromptTuning | AdapterKind::PTuning => {
                init_soft_prompt(&adapter, model.transformer.as_ref(), Seed(0))?;
            }
        }
        let reader = RecordTokenizer::new(&model, prompt, config.max_tokens, Overlong::Error);
        Ok(Self { model, reader, adapter, config })
    }

    /// The model.
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }

    /// The settings of training.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The records as tokens, in order.
    ///
    /// # Errors
    /// As [`RecordTokenizer::examples`].
    pub fn examples(&self, records: &[Record]) -> Result<Vec<Example>> {
        self.reader.examples(records)
    }
}

impl Trainer for LoraTrainer {
    fn init(&self, context: &Context) -> Result<Adapter> {
        let model = self.model.transformer.as_ref();
        match self.adapter.kind() {
            AdapterKind::LowRank => init_adapter(&self.adapter, model.spec(), context.seed),
            AdapterKind::PromptTuning | AdapterKind::PTuning => init_soft_prompt(&self.adapter, model, context.seed),
        }
    }

    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        let examples = self.reader.under(&context.control).examples(records)?;
        train_adapter(self.model.transformer.as_ref(), adapter, &examples, &self.config, context)
    }
}

impl std::fmt::Debug for LoraTrainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoraTrainer")
            .field("model", &self.model.fingerprint())
            .field("adapter", &self.adapter)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
