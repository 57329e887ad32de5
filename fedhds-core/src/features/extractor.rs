//! The feature extractor of the paper (eq. 6) over any model.

use super::forward::extract_tokens;
use super::params::FeatureParams;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::model::{LanguageModel, Overlong, RecordTokenizer};
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Matrix, Record};
use std::sync::Arc;

/// Hidden states of a model's layers as features: `[n, layers * hidden]`.
///
/// A record reaches the model through [`RecordTokenizer`]: as prompt, response and end, as in training; an encoder, which has no
/// end of text, reads prompt and response as one text within its special tokens. Evaluation mode: dropout off, the adapter
/// applied.
#[derive(Clone)]
pub struct LayerFeatures {
    model: LanguageModel,
    reader: RecordTokenizer,
    prompt_name: String,
    params: FeatureParams,
    frozen: bool,
}

impl LayerFeatures {
    /// Features of `model`. `prompt_name` tells prompts apart in [`FeatureExtractor::fingerprint`]: equal names promise equal
    /// texts.
    ///
    /// # Errors
    /// [`Error::Parameter`] for parameters out of range, layers that the model does not have among them.
    pub fn new(
        model: LanguageModel,
        prompt: Arc<dyn RenderPrompt>,
        prompt_name: impl Into<String>,
        params: FeatureParams,
    ) -> Result<Self> {
        params.states(model.transformer.spec().layers)?;
        let overlong = if params.truncate { Overlong::Truncate } else { Overlong::Error };
        let reader = RecordTokenizer::new(&model, prompt, params.max_tokens, overlong).with_advice(" (or `truncate`)");
        Ok(Self { model, reader, prompt_name: prompt_name.into(), params, frozen: false })
    }

    /// The same extractor with the adapter ignored: a frozen proxy (FedHDS-Turbo).
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Columns of the features.
    ///
    /// # Errors
    /// None after construction has checked the layers.
    pub fn width(&self) -> Result<usize> {
        let spec = self.model.transformer.spec();
        Ok(self.params.states(spec.layers)?.len() * spec.hidden_size)
    }

    /// The model.
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }

    /// What is taken from it.
    pub fn params(&self) -> &FeatureParams {
        &self.params
    }

    /// The token ids of records as the model reads them, in order.
    ///
    /// # Errors
    /// As [`RecordTokenizer::sequences`]; under [`FeatureParams::truncate`] no record is too long.
    pub fn tokens(&self, records: &[Record]) -> Result<Vec<Vec<u32>>> {
        self.reader.sequences(records)
    }
}

impl FeatureExtractor for LayerFeatures {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        let tuned = self.model.tuned(adapter.filter(|_| !self.frozen))?;
        let mut tokens = self.reader.under(&context.control).sequences(records)?;
        tokens.iter_mut().for_each(|tokens| *tokens = tuned.tokens(tokens));
        extract_tokens(tuned.model(), &tokens, tuned.lora(), &self.params, context).map_err(|e| match e {
            Error::NotFinite { what, row, column, value } => {
                let id = records.get(row).map_or("", |r| r.id.as_str());
                Error::NotFinite { what: format!("{what} of record `{id}`"), row, column, value }
            }
            other => other,
        })
    }

    fn is_frozen(&self) -> bool {
        self.frozen
    }

    fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let prompt = self.model.prompt_key(&self.prompt_name);
        for part in [self.model.fingerprint(), &prompt, &format!("{:?}", self.params)] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        format!("layers-1-{}", hasher.finalize().to_hex())
    }
}

impl std::fmt::Debug for LayerFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerFeatures")
            .field("model", &self.model.fingerprint())
            .field("prompt", &self.prompt_name)
            .field("params", &self.params)
            .field("frozen", &self.frozen)
            .finish()
    }
}
