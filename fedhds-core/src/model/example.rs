//! A prompt and its response as the tokens that a model is trained and measured on.

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// A tokenised example: the prompt, the response, and an end where the model has one. [`RecordTokenizer`](super::RecordTokenizer)
/// makes them of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// All token ids.
    pub ids: Vec<u32>,
    /// Where the response begins, in (0, ids.len()]; loss is taken on the tokens from here on, the prompt is masked.
    pub response_start: usize,
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

    /// The tokens before the response: what generation continues.
    pub fn prompt(&self) -> &[u32] {
        &self.ids[..self.response_start.min(self.ids.len())]
    }

    /// Number of tokens whose loss counts.
    pub fn response_tokens(&self) -> usize {
        self.ids.len() - self.response_start.min(self.ids.len())
    }
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
}
