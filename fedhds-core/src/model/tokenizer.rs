//! Text to token ids and back, with the special tokens and the chat template of a model.

use super::chat_template::{ChatMessage, ChatTemplate};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    path: PathBuf,
}

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
        Ok(Self { inner, special, bos, eos, pad, chat_template, path })
    }

    /// The tokenizer of a Hugging Face folder: tokenizer.json, and the special tokens and the chat template from
    /// tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json and chat_template.jinja.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] that names the file.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let file = folder.join("tokenizer.json");
        let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| Error::model(&file, "tokenizer", format!("expected a tokenizer.json: {e}")))?;
        let config = read_json(&folder.join("tokenizer_config.json"))?;
        let map = read_json(&folder.join("special_tokens_map.json"))?;
        let generation = read_json(&folder.join("generation_config.json"))?;
        let model = read_json(&folder.join("config.json"))?;
        let named = |key: &str| [&config, &map].into_iter().find_map(|file| token_text(file.get(key)?));
        let numbered = |key: &str| -> Vec<String> {
            let ids = [&generation, &model].into_iter().map(|file| ids(file.get(key))).find(|ids| !ids.is_empty());
            ids.unwrap_or_default().into_iter().filter_map(|id| inner.id_to_token(id)).collect()
        };
        // BERT names no end of text: its separator ends each text in the tokenizer itself.
        let mut eos: Vec<String> = named("eos_token").into_iter().collect();
        for token in numbered("eos_token_id") {
            if !eos.contains(&token) {
                eos.push(token);
            }
        }
        let one = |name: &str| {
            named(&format!("{name}_token")).or_else(|| numbered(&format!("{name}_token_id")).into_iter().next())
        };
        let special = SpecialTokens { bos: one("bos"), eos, pad: one("pad"), unk: named("unk_token") };
        let template = chat_template(folder, &config)?;
        Self::new(inner, special, template.as_deref(), folder)
    }

    /// The ids of a text; `add_special` lets the tokenizer add what it adds around a text (such as a beginning).
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot encode it.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        self.inner
            .encode_fast(text, add_special)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| Error::model(&self.path, "tokenizer", e.to_string()))
    }

    /// The text of ids.
    ///
    /// # Errors
    /// [`Error::Model`] when the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner.decode(ids, skip_special).map_err(|e| Error::model(&self.path, "tokenizer", e.to_string()))
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

/// A JSON file, null where there is none.
fn read_json(path: &Path) -> Result<Value> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| Error::model(path, "file", format!("expected JSON: {e}"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// A token is written as a text or as an object with its `content`.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content")?.as_str()).map(String::from)
}

/// One id or a list of them.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// From chat_template.jinja, else from tokenizer_config.json (a text, or a list in which `default` is taken), else from
/// chat_template.json.
fn chat_template(folder: &Path, config: &Value) -> Result<Option<String>> {
    let file = folder.join("chat_template.jinja");
    match std::fs::read_to_string(&file) {
        Ok(text) => return Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io(&file, e)),
    }
    let chosen = |value: &Value| match value {
        Value::Array(list) => list
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")?.as_str().map(String::from)),
        other => other.as_str().map(String::from),
    };
    if let Some(template) = config.get("chat_template").and_then(chosen) {
        return Ok(Some(template));
    }
    Ok(read_json(&folder.join("chat_template.json"))?.get("chat_template").and_then(chosen))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

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
