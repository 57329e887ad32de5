//! The feature extractor of the paper (eq. 6) over any model.

use super::forward::extract_tokens;
use super::params::FeatureParams;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::model::{Example, LanguageModel, LoraWeights, Tokenizer};
use crate::stage::FeatureExtractor;
use crate::types::{Adapter, Context, Matrix, Record};
use rayon::prelude::*;
use std::sync::Arc;

/// Hidden states of a model's layers as features: `[n, layers * hidden]`.
///
/// A record reaches the model as prompt, response and end, as in training; an encoder, which has no end of text, reads prompt
/// and response as one text within its own marks. Evaluation mode: dropout off, the adapter applied.
#[derive(Clone)]
pub struct LayerFeatures {
    model: LanguageModel,
    prompt: Arc<dyn RenderPrompt>,
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
        Ok(Self { model, prompt, prompt_name: prompt_name.into(), params, frozen: false })
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
    /// [`Error::Input`] that names the first record that is longer than the limit (unless [`FeatureParams::truncate`]) or has
    /// no tokens; the prompt's and the tokenizer's own errors.
    pub fn tokens(&self, records: &[Record]) -> Result<Vec<Vec<u32>>> {
        let spec = self.model.transformer.spec();
        let limit = self.params.max_tokens.min(spec.max_positions);
        let tokens: Vec<Result<Vec<u32>>> = records
            .par_iter()
            .map(|record| {
                let text = self.prompt.render(record)?;
                let tokenizer = &self.model.tokenizer;
                let mut ids = if spec.causal {
                    Example::new(tokenizer, &text.prompt, &text.response)?.ids
                } else {
                    within_marks(tokenizer, &format!("{}{}", text.prompt, text.response), limit, self.params.truncate)?
                };
                if ids.len() > limit && self.params.truncate {
                    ids.truncate(limit);
                }
                if ids.is_empty() || ids.len() > limit {
                    let expected = format!("1 to {limit} tokens with prompt, response and marks (or `truncate`)");
                    return Err(Error::input("text", expected, ids.len()));
                }
                Ok(ids)
            })
            .collect();
        // In order, so that the first bad record is named whatever the threads do.
        tokens
            .into_iter()
            .zip(records)
            .map(|(ids, record)| {
                ids.map_err(|e| match e {
                    Error::Input { what, expected, got } => {
                        Error::Input { what: format!("record `{}`: {what}", record.id), expected, got }
                    }
                    other => other,
                })
            })
            .collect()
    }
}

impl FeatureExtractor for LayerFeatures {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        let model = self.model.transformer.as_ref();
        let tokens = self.tokens(records)?;
        let lora = adapter
            .filter(|_| !self.frozen)
            .map(|adapter| LoraWeights::from_adapter(adapter, model.spec(), &model.device()))
            .transpose()?;
        extract_tokens(model, &tokens, lora.as_ref(), &self.params, context).map_err(|e| match e {
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
        for part in [self.model.fingerprint(), &self.prompt_name, &format!("{:?}", self.params)] {
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

/// A text with the marks that the tokenizer puts around it (`[CLS]` and `[SEP]`); cut off between them, where asked for.
fn within_marks(tokenizer: &Tokenizer, text: &str, limit: usize, truncate: bool) -> Result<Vec<u32>> {
    let all = tokenizer.encode(text, true)?;
    if all.len() <= limit || !truncate {
        return Ok(all);
    }
    let plain = tokenizer.encode(text, false)?;
    let marks = all.len().saturating_sub(plain.len());
    let begin = (0..=marks).find(|&at| all[at..].starts_with(&plain)).unwrap_or(0);
    let mut ids = all[..begin].to_vec();
    ids.extend(plain.iter().take(limit.saturating_sub(marks)));
    ids.extend(&all[begin + plain.len()..]);
    Ok(ids)
}
