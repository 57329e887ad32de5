//! What a model with an adapter scores on records.

use super::response_loss::response_losses;
use super::texts::continue_prompts;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::metrics::{RougeFlavor, rouge_l_best};
use crate::model::{Example, LanguageModel, Overlong, RecordTokenizer, Tuned};
use crate::settings::GenerateConfig;
use crate::stage::{Evaluator, RecordScore};
use crate::types::{Adapter, Context, Record};
use std::sync::Arc;

/// Loss on the response, Rouge-L and exact match of the greedy generation (the paper, section 5.1).
///
/// The loss is the mean over the first response's tokens and its end of sequence. A generation is compared with every
/// response, and the best Rouge-L F1 counts.
#[derive(Clone)]
pub struct ModelEvaluator {
    model: LanguageModel,
    reader: RecordTokenizer,
    config: GenerateConfig,
    rouge: RougeFlavor,
}

impl ModelEvaluator {
    /// An evaluator of `model`; Rouge-L as the paper computed it.
    ///
    /// # Errors
    /// [`Error::Parameter`] as of [`GenerateConfig::check`]; [`Error::Input`] for an encoder, which predicts no tokens.
    pub fn new(model: LanguageModel, prompt: Arc<dyn RenderPrompt>, config: GenerateConfig) -> Result<Self> {
        config.check()?;
        if !model.transformer.spec().causal {
            return Err(Error::input("model to evaluate", "one that predicts the next token", "an encoder"));
        }
        let reader = RecordTokenizer::new(&model, prompt, usize::MAX, Overlong::Error);
        Ok(Self { model, reader, config, rouge: RougeFlavor::Rouge })
    }

    /// The same evaluator with Rouge-L of another flavour.
    #[must_use]
    pub fn with_rouge(mut self, rouge: RougeFlavor) -> Self {
        self.rouge = rouge;
        self
    }

    /// The records as tokens, in order: of the whole the loss is taken, the prompt is what generation continues.
    ///
    /// # Errors
    /// As [`RecordTokenizer::examples`].
    pub fn examples(&self, records: &[Record]) -> Result<Vec<Example>> {
        self.reader.examples(records)
    }

    /// The greedy continuation of each example's prompt as text, without the blanks around it.
    fn outputs(&self, examples: &[Example], tuned: &Tuned<'_>, context: &Context) -> Result<Vec<String>> {
        let prompts: Vec<&[u32]> = examples.iter().map(Example::prompt).collect();
        let texts = continue_prompts(&self.model, tuned, &prompts, &self.config, &context.control)?;
        Ok(texts.iter().map(|text| text.trim().to_string()).collect())
    }
}

impl Evaluator for ModelEvaluator {
    fn evaluate(
        &self,
        adapter: Option<&Adapter>,
        records: &[Record],
        generate: bool,
        context: &Context,
    ) -> Result<Vec<RecordScore>> {
        let tuned = self.model.tuned(adapter)?;
        let examples = tuned.examples(self.reader.under(&context.control).examples(records)?);
        context.control.begin("loss", Some(records.len() as u64));
        let GenerateConfig { batch_size, batches_at_once, .. } = self.config;
        let losses =
            response_losses(tuned.model(), &examples, batch_size, tuned.lora(), batches_at_once, &context.control);
        context.control.end("loss");
        let losses = losses?;
        let outputs = match generate {
            true => self.outputs(&examples, &tuned, context)?.into_iter().map(Some).collect(),
            false => vec![None; records.len()],
        };
        let scores = records.iter().zip(losses).zip(outputs).map(|((record, loss), output)| {
            let rouge_l = output.as_ref().map(|text| rouge_l_best(self.rouge, text, &record.responses).f1);
            let exact_match = output.as_ref().map(|text| record.responses.iter().any(|r| r.trim() == text));
            RecordScore { id: record.id.clone(), category: record.category.clone(), loss, output, rouge_l, exact_match }
        });
        Ok(scores.collect())
    }
}

impl std::fmt::Debug for ModelEvaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelEvaluator")
            .field("model", &self.model.fingerprint())
            .field("config", &self.config)
            .field("rouge", &self.rouge)
            .finish_non_exhaustive()
    }
}
