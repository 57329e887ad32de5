//! Text in, text out.

use super::greedy::generate;
use crate::error::{Error, Result};
use crate::model::{LanguageModel, LoraWeights};
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
    let lora = model.lora(adapter)?;
    let ids = prompts.iter().map(|text| model.tokenizer.encode_prompt(text.as_ref())).collect::<Result<Vec<_>>>()?;
    continue_prompts(model, &ids, lora.as_ref(), config, control)
}

/// The same for prompts that are tokens already.
pub(super) fn continue_prompts<P: AsRef<[u32]> + Sync>(
    model: &LanguageModel,
    prompts: &[P],
    lora: Option<&LoraWeights>,
    config: &GenerateConfig,
    control: &Control,
) -> Result<Vec<String>> {
    control.begin("generate", Some(prompts.len() as u64));
    let made = generate(model.transformer.as_ref(), prompts, model.tokenizer.eos(), config, lora, control);
    control.end("generate");
    made?.iter().map(|ids| model.tokenizer.decode(ids, true)).collect()
}
