//! Text to token ids and back, with the special tokens and the chat template of a model.

use super::chat_template::{ChatMessage, ChatTemplate};
use super::foreign::guarded;
use super::tokenizer_check::Growth;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokenizers::{Encoding, Token};

/// The special tokens of a model, by their text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text; the first is the one that ends training responses, any of them ends generation.
    pub eos: Vec<String>,
    /// Fills batches.
    pub pad: Option<String>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<String>,
}

/// A tokenizer with its special tokens and chat template. Never truncates and never pads, whatever its file asks for.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Vec<u32>,
    pad: u32,
    chat_template: Option<ChatTemplate>,
    growth: Option<Growth>,
    /// Further special tokens that a chat template can name, such as `sep_token`.
    named: Vec<(String, String)>,
    path: PathBuf,
}

/// Stands for a text where only what surrounds it is asked for: no vocabulary has this id.
const TEXT: u32 = u32::MAX;

impl Tokenizer {
    /// A tokenizer from its parts; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Model`] for a special token that is not in the vocabulary or a template that does not parse.
    pub fn new(
        mut inner: tokenizers::Tokenizer,
        special: SpecialTokens,
        chat_template: Option<&str>,
        path: impl AsRef<Path>,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        inner.with_truncation(None).map_err(|e| Error::model(&path, "tokenizer", e.to_string()))?;
        inner.with_padding(None);
        let id = |kind: &str, token: &String| {
            inner
                .token_to_id(token)
                .ok_or_else(|| Error::model(&path, kind, format!("expected a token of the vocabulary, got `{token}`")))
        };
        let bos = special.bos.as_ref().map(|token| id("bos_token", token)).transpose()?;
        let eos = special.eos.iter().map(|token| id("eos_token", token)).collect::<Result<Vec<_>>>()?;
        let pad = special.pad.as_ref().map(|token| id("pad_token", token)).transpose()?;
        let pad = pad.or(eos.first().copied()).unwrap_or(0);
        let chat_template = chat_template.map(|source| ChatTemplate::new(source, &path)).transpose()?;
        Ok(Self { inner, special, bos, eos, pad, chat_template, growth: None, named: Vec::new(), path })
    }

    /// The same, with what its file says of how much a text can grow.
    pub(super) fn bounded(mut self, growth: Growth) -> Self {
        self.growth = Some(growth);
        self
    }

    /// The same, with further special tokens by name.
    pub(super) fn naming(mut self, named: Vec<(String, String)>) -> Self {
        self.named = named;
        self
    }

    /// Whether a text gets a beginning and an end from the tokenizer.
    pub(super) fn ends(&self) -> Result<(bool, bool)> {
        let all = self.around()?;
        let at = all.iter().position(|id| *id == TEXT).unwrap_or(0);
        let begins = self.bos.is_some_and(|bos| all.get(..at).unwrap_or_default().contains(&bos));
        let ends = all.get(at + 1..).unwrap_or_default().iter().any(|id| self.eos.contains(id));
        Ok((begins, ends))
    }

    /// The ids that the tokenizer puts around a text, whose own are [`TEXT`].
    fn around(&self) -> Result<Vec<u32>> {
        let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
        guarded(&self.path, "post_processor", "expected what stands around a text", || {
            self.inner.post_process(text, None, true).map(|encoding| encoding.get_ids().to_vec())
        })
    }

    pub(super) fn set_post_processor(&mut self, processor: tokenizers::PostProcessorWrapper) {
        self.inner.with_post_processor(Some(processor));
    }

    /// What of the tokenizer the ids of a prompt hang on beside tokenizer.json: special tokens, added ones, what stands around a text,
    /// and the chat template.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot encode.
    pub(super) fn identity(&self) -> Result<String> {
        let added: BTreeMap<u32, _> = self.inner.get_added_tokens_decoder().into_iter().collect();
        let added: Vec<String> = (added.into_iter())
            .map(|(id, t)| {
                let flags = (t.single_word, t.lstrip, t.rstrip, t.normalized, t.special);
                format!("{id} {:?} {flags:?}", t.content)
            })
            .collect();
        let around = self.around()?;
        Ok(format!("{:?} {:?} {added:?} {around:?} {:?}", self.special, self.named, self.chat_template()))
    }

    /// The ids of a text; `add_special` lets the tokenizer add what it adds around a text (such as a beginning).
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot encode it.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        if let Some(growth) = self.growth {
            growth.check(text).map_err(|message| Error::model(&self.path, "tokenizer", message))?;
        }
        guarded(&self.path, "tokenizer", "expected a text that can be encoded", || {
            self.inner.encode_fast(text, add_special).map(|encoding| encoding.get_ids().to_vec())
        })
    }

    /// The text of ids.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guarded(&self.path, "tokenizer", "expected ids that can be decoded", || self.inner.decode(ids, skip_special))
    }

    /// The ids of a prompt as a model reads it before it answers: with the beginning that the tokenizer adds, without an end.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot encode it.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>> {
        // A chat template writes the beginning itself.
        let begins = self.special.bos.as_ref().is_some_and(|bos| !bos.is_empty() && prompt.starts_with(bos.as_str()));
        let mut ids = self.encode(prompt, !begins)?;
        // An end that is not among the text's own tokens comes from the tokenizer.
        if ids.last().is_some_and(|last| self.eos.contains(last)) {
            let plain = self.encode(prompt, false)?;
            if place_of(&plain, &ids).is_none_or(|at| at + plain.len() < ids.len()) {
                ids.pop();
            }
        }
        Ok(ids)
    }

    /// The ids of a text within the special tokens that the tokenizer puts around it, cut off between these to `limit` ids; not
    /// below the number of the special tokens alone.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot encode it.
    pub fn encode_within(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        let all = self.encode(text, true)?;
        if all.len() <= limit {
            return Ok(all);
        }
        let plain = self.encode(text, false)?;
        let special = all.len().saturating_sub(plain.len());
        let begin = place_of(&plain, &all).unwrap_or(0);
        let mut ids = all.get(..begin).unwrap_or_default().to_vec();
        ids.extend(plain.iter().take(limit.saturating_sub(special)));
        ids.extend(all.get(begin + plain.len()..).unwrap_or_default());
        Ok(ids)
    }

    /// Number of token ids, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The text of a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The ids that end a text, the one that ends training responses first; empty for models without.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// The id that fills batches: the model's own, else its end, else 0. No real token ever sees it.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Fills batches with id 0 where the padding's own id is none of the model's: what fills a batch has no influence.
    pub(crate) fn keep_pad_below(&mut self, vocab_size: usize) {
        if self.pad as usize >= vocab_size {
            self.pad = 0;
        }
    }

    /// The special tokens by their text.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The chat template's text, where the model has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_ref().map(ChatTemplate::source)
    }

    /// A conversation as the model's own chat template writes it.
    ///
    /// # Errors
    /// [`Error::Model`] when the model has no chat template, or the template raises an error.
    pub fn apply_chat_template(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String> {
        let template = self
            .chat_template
            .as_ref()
            .ok_or_else(|| Error::model(&self.path, "chat_template", "expected one, and the tokenizer has none"))?;
        let special: Vec<(&str, &str)> = [
            ("bos_token", self.special.bos.as_deref()),
            ("eos_token", self.special.eos.first().map(String::as_str)),
            ("pad_token", self.special.pad.as_deref()),
            ("unk_token", self.special.unk.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, token)| Some((name, token?)))
        .chain(self.named.iter().map(|(name, token)| (name.as_str(), token.as_str())))
        .collect();
        template.render(messages, &special, add_generation_prompt)
    }

    /// The library's own tokenizer.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }
}

/// Where `plain`, a text's own ids, begins among the same with special tokens around it.
fn place_of(plain: &[u32], all: &[u32]) -> Option<usize> {
    (0..=all.len().checked_sub(plain.len())?).find(|&at| all[at..].starts_with(plain))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A tokenizer of words that begins texts with `<s>`.
    pub(crate) fn words() -> Value {
        let words = ["<s>", "</s>", "<pad>", "<unk>", "a", "b", "c", "<|end|>"];
        let vocab: serde_json::Map<String, Value> =
            words.iter().enumerate().map(|(i, w)| (w.to_string(), json!(i))).collect();
        let added: Vec<Value> = [0, 1, 2, 7]
            .map(|i: usize| {
                json!({"id": i, "content": words[i], "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": true})
            })
            .to_vec();
        json!({
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 2,
                        "pad_type_id": 0, "pad_token": "<pad>"},
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}
        })
    }

    fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in files {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        }
        folder
    }

    #[test]
    fn nothing_is_truncated_or_padded() {
        let folder = folder(&[("tokenizer.json", words())]);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(tokenizer.encode("a b c a b", true).unwrap(), [0, 4, 5, 6, 4, 5]);
        assert_eq!(tokenizer.encode("a", false).unwrap(), [4]);
        assert_eq!(tokenizer.decode(&[0, 4, 5], true).unwrap(), "a b");
        assert_eq!(tokenizer.pad(), 0);
        assert!(tokenizer.eos().is_empty());
    }

    #[test]
    fn special_tokens_come_from_every_file() {
        let folder = folder(&[
            ("tokenizer.json", words()),
            (
                "tokenizer_config.json",
                json!({"eos_token": {"content": "</s>"}, "chat_template": [
                {"name": "tool", "template": "t"}, {"name": "default", "template": "{{ eos_token }}d"}]}),
            ),
            ("special_tokens_map.json", json!({"pad_token": "<pad>"})),
            ("generation_config.json", json!({"eos_token_id": [7, 1]})),
            ("config.json", json!({"bos_token_id": 0, "eos_token_id": 3})),
        ]);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(tokenizer.eos(), [1, 7]);
        assert_eq!((tokenizer.bos(), tokenizer.pad()), (Some(0), 2));
        assert_eq!(tokenizer.apply_chat_template(&[], true).unwrap(), "</s>d");
        // The beginning is not added twice.
        assert_eq!(tokenizer.encode_prompt("<s> a").unwrap(), [0, 4]);
        assert_eq!(tokenizer.encode_prompt("a").unwrap(), [0, 4]);
    }

    #[test]
    fn an_end_is_dropped_only_where_the_tokenizer_added_it() {
        let build = |end: &str, id: u32| {
            let mut json = words();
            json["post_processor"]["single"]
                .as_array_mut()
                .unwrap()
                .push(json!({"SpecialToken": {"id": end, "type_id": 0}}));
            json["post_processor"]["special_tokens"][end] = json!({"id": end, "ids": [id], "tokens": [end]});
            let inner = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
            let eos = vec!["</s>".into(), "<|end|>".into()];
            let special = SpecialTokens { bos: Some("<s>".into()), eos, ..SpecialTokens::default() };
            Tokenizer::new(inner, special, None, "x").unwrap()
        };
        for (end, id) in [("</s>", 1), ("<|end|>", 7)] {
            let tokenizer = build(end, id);
            assert_eq!(tokenizer.encode("a", true).unwrap(), [0, 4, id]);
            for (text, ids) in [
                ("a", vec![0, 4]),
                ("a </s>", vec![0, 4, 1]),
                ("a </s> ", vec![0, 4, 1]),
                ("a <|end|>", vec![0, 4, 7]),
                ("</s></s>", vec![0, 1, 1]),
                ("<s> a </s>", vec![0, 4, 1]),
                ("", vec![0]),
            ] {
                assert_eq!(tokenizer.encode_prompt(text).unwrap(), ids, "{text:?} with {end}");
            }
            assert_eq!(tokenizer.encode_within("a b c", 4).unwrap(), [0, 4, 5, id]);
            assert_eq!(tokenizer.encode_within("a b c", 5).unwrap(), [0, 4, 5, 6, id]);
            assert_eq!(tokenizer.encode_within("a b c", 1).unwrap(), [0, id]);
        }
    }

    #[test]
    fn bad_files_are_named() {
        let error = |files: &[(&str, Value)]| Tokenizer::from_folder(folder(files).path()).unwrap_err().to_string();
        assert!(error(&[]).contains("tokenizer.json"));
        assert!(error(&[("tokenizer.json", json!({}))]).contains("tokenizer.json"));
        let bad = error(&[("tokenizer.json", words()), ("tokenizer_config.json", json!({"eos_token": "<nope>"}))]);
        assert!(bad.contains("eos_token") && bad.contains("<nope>"), "{bad}");
        let plain = folder(&[("tokenizer.json", words())]);
        assert!(Tokenizer::from_folder(plain.path()).unwrap().apply_chat_template(&[], true).is_err());
    }
}
