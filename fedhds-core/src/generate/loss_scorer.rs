//! Losses of responses as a scorer: what judges records for the quality gate, or ranks them for a selector.

use super::response_loss::losses_under_prompts;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::model::{Example, LanguageModel, Overlong, RecordTokenizer};
use crate::stage::Scorer;
use crate::types::range::at_least;
use crate::types::{Adapter, Context, Control, Matrix, Record};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Settings of [`ResponseLoss`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseLossConfig {
    /// Tokens of a response that are looked at, from its first, at least 1; default 32.
    pub max_response_tokens: usize,
    /// Prompts, and responses, in a batch, at least 1; default 8.
    pub batch_size: usize,
    /// Whether the model stays as it came, whatever adapter there is; default yes: each record is scored once.
    pub frozen: bool,
}

impl Default for ResponseLossConfig {
    fn default() -> Self {
        Self { max_response_tokens: 32, batch_size: 8, frozen: true }
    }
}

/// The mean loss of a record's first response under its prompt, in nats a token: one column, `loss`.
#[derive(Clone)]
pub struct ResponseLoss {
    model: LanguageModel,
    reader: RecordTokenizer,
    config: ResponseLossConfig,
    fingerprint: String,
}

impl ResponseLoss {
    /// A scorer of `model`; `prompt_name` names the prompt in the fingerprint.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting out of range; [`Error::Input`] for an encoder, which predicts no tokens.
    pub fn new(
        model: LanguageModel,
        prompt: Arc<dyn RenderPrompt>,
        prompt_name: &str,
        config: ResponseLossConfig,
    ) -> Result<Self> {
        at_least("max_response_tokens", config.max_response_tokens, 1)?;
        at_least("batch_size", config.batch_size, 1)?;
        if !model.transformer.spec().causal {
            return Err(Error::input("model that judges", "one that predicts the next token", "an encoder"));
        }
        let fingerprint = format!(
            "response loss 1, {} tokens, {}, prompt {}",
            config.max_response_tokens,
            model.fingerprint(),
            model.prompt_key(prompt_name)
        );
        // What does not fit into the model loses its end: a response under a longer prompt than its own may.
        let reader = RecordTokenizer::new(&model, prompt, usize::MAX, Overlong::Truncate);
        Ok(Self { model, reader, config, fingerprint })
    }

    /// The records of which something can be scored, with their numbers.
    fn examples(&self, records: &[Record], control: &Control) -> Result<Vec<(usize, Example)>> {
        let mut examples = self.reader.under(control).truncated(records)?;
        for example in &mut examples {
            example.ids.truncate(example.response_start.saturating_add(self.config.max_response_tokens));
        }
        let scored = |example: &Example| example.response_start > 0 && example.response_tokens() > 0;
        Ok(examples.into_iter().enumerate().filter(|(_, example)| scored(example)).collect())
    }
}

impl Scorer for ResponseLoss {
    fn names(&self) -> Vec<String> {
        vec!["loss".into()]
    }

    /// NaN where nothing of the response fits behind the prompt.
    fn score(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        let tuned = self.model.tuned(adapter.filter(|_| !self.config.frozen))?;
        let mut losses = vec![f32::NAN; records.len()];
        let (rows, examples): (Vec<usize>, Vec<Example>) =
            self.examples(records, &context.control)?.into_iter().unzip();
        let (examples, batch_size) = (tuned.examples(examples), self.config.batch_size);
        let found = losses_under_prompts(tuned.model(), &examples, batch_size, tuned.lora(), &context.control)?;
        rows.into_iter().zip(found).for_each(|(row, loss)| losses[row] = loss as f32);
        Matrix::new(records.len(), 1, losses)
    }

    /// Tokens that go through the model, a prompt that several records share once, in the unit of a whole record's.
    fn passes(&self, records: &[Record]) -> Result<f64> {
        let examples: Vec<Example> =
            self.examples(records, &Control::default())?.into_iter().map(|(_, example)| example).collect();
        let whole: usize = examples.iter().map(|example| example.ids.len()).sum();
        let prompts: BTreeSet<&[u32]> = examples.iter().map(Example::prompt).collect();
        // A prompt's last token goes with each response: it predicts the first of it.
        let shared: usize = prompts.iter().map(|prompt| prompt.len() - 1).sum();
        let own: usize = examples.iter().map(Example::response_tokens).sum();
        Ok(if whole == 0 { 0.0 } else { (shared + own) as f64 * examples.len() as f64 / whole as f64 })
    }

    fn is_frozen(&self) -> bool {
        self.config.frozen
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

impl std::fmt::Debug for ResponseLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseLoss")
            .field("model", &self.model.fingerprint())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
