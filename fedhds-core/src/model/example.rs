//! A prompt and its response as the tokens that a model is trained and measured on.

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use rayon::prelude::*;

/// A tokenised example: the prompt, the response, and an end where the model has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// All token ids.
    pub ids: Vec<u32>,
    /// Where the response begins, in (0, ids.len()]; loss is taken on the tokens from here on.
    pub response_start: usize,
}

/// What happens to an example that is longer than the limit. Nothing is ever cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlong {
    /// It is an error that names the record.
    Error,
    /// It is left out.
    Drop,
}

impl Example {
    /// The tokens of `prompt` and `response`, ended by the tokenizer's first end token.
    ///
    /// Prompt and response are tokenised as one text where the prompt's own tokens begin that text's tokens, as they do in
    /// generation; where a token would join the two, each is tokenised by itself.
    ///
    /// # Errors
    /// [`Error::Input`] when the prompt has no tokens; [`Error::Model`] when the tokenizer fails.
    pub fn new(tokenizer: &Tokenizer, prompt: &str, response: &str) -> Result<Self> {
        let prompt_ids = tokenizer.encode_prompt(prompt)?;
        let response_start = prompt_ids.len();
        if response_start == 0 {
            return Err(Error::input("prompt", "at least one token", "none"));
        }
        let mut ids = tokenizer.encode_prompt(&format!("{prompt}{response}"))?;
        if !ids.starts_with(&prompt_ids) {
            ids = prompt_ids;
            ids.extend(tokenizer.encode(response, false)?);
        }
        ids.extend(tokenizer.eos().first());
        Ok(Self { ids, response_start })
    }

    /// Number of tokens whose loss counts.
    pub fn response_tokens(&self) -> usize {
        self.ids.len() - self.response_start.min(self.ids.len())
    }
}

/// Tokenises `(id, prompt, response)`s; returns each example that is kept with its number among them.
///
/// # Errors
/// As for [`Example::new`]; [`Error::Input`] that names the first record with more than `max_tokens` tokens under
/// [`Overlong::Error`].
pub fn prepare(
    tokenizer: &Tokenizer,
    records: &[(String, String, String)],
    max_tokens: usize,
    overlong: Overlong,
) -> Result<Vec<(usize, Example)>> {
    let examples: Vec<Result<Example>> =
        records.par_iter().map(|(_, prompt, response)| Example::new(tokenizer, prompt, response)).collect();
    let mut kept = Vec::with_capacity(examples.len());
    for (number, (example, (id, ..))) in examples.into_iter().zip(records).enumerate() {
        let example = example.map_err(|e| match e {
            Error::Input { what, expected, got } => {
                Error::Input { what: format!("record `{id}`: {what}"), expected, got }
            }
            other => other,
        })?;
        if example.ids.len() <= max_tokens {
            kept.push((number, example));
        } else if overlong == Overlong::Error {
            let expected = format!("at most {max_tokens} tokens");
            return Err(Error::input(&format!("record `{id}`"), expected, example.ids.len()));
        }
    }
    Ok(kept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::tokenizer::{SpecialTokens, tests::words};

    fn tokenizer() -> Tokenizer {
        let inner = tokenizers::Tokenizer::from_bytes(words().to_string()).unwrap();
        let special = SpecialTokens { bos: Some("<s>".into()), eos: vec!["</s>".into()], ..SpecialTokens::default() };
        Tokenizer::new(inner, special, None, "x").unwrap()
    }

    #[test]
    fn the_response_begins_after_the_prompt_and_ends() {
        let example = Example::new(&tokenizer(), "a b ", "c").unwrap();
        assert_eq!(example, Example { ids: vec![0, 4, 5, 6, 1], response_start: 3 });
        assert_eq!(example.response_tokens(), 2);
        // `b` and `c` would join to an unknown word.
        let joined = Example::new(&tokenizer(), "a b", "c").unwrap();
        assert_eq!(joined.ids, [0, 4, 5, 6, 1]);
        assert_eq!(Example::new(&tokenizer(), "a", "").unwrap().ids, [0, 4, 1]);
    }

    #[test]
    fn what_is_too_long_is_named_or_left_out() {
        let record = |id: &str, prompt: &str| (id.to_string(), prompt.to_string(), "c".to_string());
        let records = [record("one", "a b a b "), record("two", "a ")];
        let error = prepare(&tokenizer(), &records, 4, Overlong::Error).unwrap_err().to_string();
        assert!(error.contains("record `one`") && error.contains('7'), "{error}");
        let kept = prepare(&tokenizer(), &records, 4, Overlong::Drop).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].0, kept[0].1.ids.len()), (1, 4));
    }
}
