//! Text in, text out.

use super::greedy::generate;
use crate::error::{Error, Result};
use crate::model::{LanguageModel, Tuned};
use crate::settings::GenerateConfig;
use crate::types::{Adapter, Control};

/// Continues each text greedily ([`generate`]); special tokens are left out of what comes back.
///
/// # Errors
/// [`Error::Input`] for an encoder, and for a text (numbered) without tokens or as long as the model's longest sequence;
/// [`Error::Adapter`] for an adapter of another model; otherwise as [`generate`].
pub fn generate_texts<T: AsRef<str>>(
    model: &LanguageModel,
    prompts: &[T],
    adapter: Option<&Adapter>,
    config: &GenerateConfig,
    control: &Control,
) -> Result<Vec<String>> {
    if !model.transformer.spec().causal {
        return Err(Error::input("model", "one that predicts the next token", "an encoder"));
    }
    let tuned = model.tuned(adapter)?;
    let ids = |text: &T| Ok(tuned.tokens(&model.tokenizer.encode_prompt(text.as_ref())?));
    let ids = prompts.iter().map(ids).collect::<Result<Vec<_>>>()?;
    continue_prompts(model, &tuned, &ids, config, control)
}

/// The same for prompts that are tokens already, with what stands before them under an adapter.
pub(super) fn continue_prompts<P: AsRef<[u32]> + Sync>(
    model: &LanguageModel,
    tuned: &Tuned<'_>,
    prompts: &[P],
    config: &GenerateConfig,
    control: &Control,
) -> Result<Vec<String>> {
    control.begin("generate", Some(prompts.len() as u64));
    let made = generate(tuned.model(), prompts, model.tokenizer.eos(), config, tuned.lora(), control);
    control.end("generate");
    made?.iter().map(|ids| model.tokenizer.decode(ids, true)).collect()
}
