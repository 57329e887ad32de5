//! The tokenizer of a Hugging Face folder: tokenizer.json, and what the files beside it add to it.

use super::foreign::guarded;
use super::tokenizer::{SpecialTokens, Tokenizer};
use super::tokenizer_check::check;
use crate::error::{Error, Result};
use crate::files::read_bounded;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::{AddedToken, PostProcessorWrapper};

/// Largest tokenizer.json, in bytes; published ones reach some 35 MB.
const LARGEST_TOKENIZER: u64 = 256 << 20;
/// Largest of the other files.
const LARGEST_SETTINGS: u64 = 16 << 20;
/// The special tokens that transformers knows by name.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl Tokenizer {
    /// The tokenizer of a Hugging Face folder: tokenizer.json, and from the files beside it what transformers takes from them.
    ///
    /// - The special tokens by name: tokenizer_config.json, special_tokens_map.json; by number: generation_config.json, config.json.
    /// - Tokens beyond those of tokenizer.json: `added_tokens_decoder` of tokenizer_config.json, else added_tokens.json; tokens that a
    ///   name or `additional_special_tokens` makes special.
    /// - Whether a text begins and ends with its special token: `add_bos_token` and `add_eos_token` of tokenizer_config.json, where they
    ///   say otherwise than tokenizer.json.
    /// - The chat template: chat_template.jinja, tokenizer_config.json, chat_template.json.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] that names the file and the key; also for a tokenizer.json that asks for more than it may: a
    /// token of more than 64 KiB, replacements that make a text too long, a dropout.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let file = folder.join("tokenizer.json");
        let files = Files::read(folder)?;
        let mut inner = parse(&file, &read_bounded(&file, LARGEST_TOKENIZER)?)?;
        let special = files.special(&inner.0);
        files.add_tokens(folder, &mut inner.0)?;
        let template = files.chat_template(folder)?;
        let mut tokenizer =
            Self::new(inner.0, special, template.as_deref(), folder)?.bounded(inner.1).naming(files.names());
        files.add_ends(folder, &mut tokenizer)?;
        Ok(tokenizer)
    }
}

/// A tokenizer.json that was checked, and how much its texts can grow.
///
/// # Errors
/// [`Error::Model`] that names `file` and the part which is wrong.
pub(super) fn parse(file: &Path, text: &[u8]) -> Result<(tokenizers::Tokenizer, super::tokenizer_check::Growth)> {
    let json: Value = guarded(file, "tokenizer", "expected JSON", || serde_json::from_slice(text))?;
    let growth = check(file, &json)?;
    drop(json);
    let inner = guarded(file, "tokenizer", "expected a tokenizer.json", || tokenizers::Tokenizer::from_bytes(text))?;
    Ok((inner, growth))
}

/// What stands beside tokenizer.json, null where there is no such file.
struct Files {
    config: Value,
    map: Value,
    added: Value,
    generation: Value,
    model: Value,
}

impl Files {
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| read_json(&folder.join(name));
        Ok(Self {
            config: read("tokenizer_config.json")?,
            map: read("special_tokens_map.json")?,
            added: read("added_tokens.json")?,
            generation: read("generation_config.json")?,
            model: read("config.json")?,
        })
    }

    fn named(&self, key: &str) -> Option<&Value> {
        [&self.config, &self.map].into_iter().filter_map(|file| file.get(key)).find(|token| token_text(token).is_some())
    }

    /// The named special tokens that the library has no use for itself: a chat template may have.
    fn names(&self) -> Vec<(String, String)> {
        let own = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let further = NAMED.into_iter().filter(|name| !own.contains(name));
        further.filter_map(|name| Some((name.into(), token_text(self.named(name)?)?))).collect()
    }

    /// The special tokens, by name before by number.
    fn special(&self, inner: &tokenizers::Tokenizer) -> SpecialTokens {
        let named = |key: &str| self.named(key).and_then(token_text);
        let numbered = |key: &str| -> Vec<String> {
            let ids =
                [&self.generation, &self.model].into_iter().map(|file| ids(file.get(key))).find(|ids| !ids.is_empty());
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
        SpecialTokens { bos: one("bos"), eos, pad: one("pad"), unk: named("unk_token") }
    }

    /// Adds the tokens that tokenizer.json lacks, or has with other settings.
    fn add_tokens(&self, folder: &Path, inner: &mut tokenizers::Tokenizer) -> Result<()> {
        let (source, listed) = self.listed(folder)?;
        let has: BTreeMap<u32, AddedToken> = inner.get_added_tokens_decoder().into_iter().collect();
        let special = |content: &str| has.values().any(|token| token.content == content && token.special);
        let mut tokens: Vec<AddedToken> = (listed.iter())
            .filter(|(id, token)| !has.get(id).is_some_and(|other| same(other, token)))
            .map(|(_, token)| token.clone())
            .collect();
        let names = NAMED.into_iter().filter_map(|key| self.named(key));
        for value in names.chain(self.further("additional_special_tokens")).chain(self.further("extra_special_tokens"))
        {
            let Some(content) = token_text(value) else { continue };
            // A name without a token in the vocabulary is an error where the token is needed, not here.
            let known = inner.token_to_id(&content).is_some();
            if known && !special(&content) && !tokens.iter().any(|token| token.content == content) {
                let mut token = added(value, &content);
                token.special = true;
                tokens.push(token);
            }
        }
        if tokens.is_empty() {
            return Ok(());
        }
        guarded(folder, source, "expected tokens that can be added", || inner.add_tokens(tokens))?;
        for (id, token) in &listed {
            match inner.token_to_id(&token.content) {
                Some(got) if got == *id => {}
                got => {
                    let got = got.map_or("none".into(), |id| id.to_string());
                    let message = format!("`{}`: expected the next free id, which is {got}, got {id}", token.content);
                    return Err(Error::model(folder.join(source), "added tokens", message));
                }
            }
        }
        Ok(())
    }

    /// The tokens that the file which lists them has, by id.
    fn listed(&self, folder: &Path) -> Result<(&'static str, BTreeMap<u32, AddedToken>)> {
        let mut listed = BTreeMap::new();
        if let Some(tokens) = self.config.get("added_tokens_decoder").and_then(Value::as_object) {
            let source = "tokenizer_config.json";
            for (id, value) in tokens {
                let (Ok(number), Some(content)) = (id.parse(), token_text(value)) else {
                    let message = format!("expected an id and a token with its `content`, got `{id}`: {value}");
                    return Err(Error::model(folder.join(source), "added_tokens_decoder", message));
                };
                listed.insert(number, added(value, &content));
            }
            return Ok((source, listed));
        }
        let source = "added_tokens.json";
        let special: Vec<String> = NAMED.into_iter().filter_map(|key| token_text(self.named(key)?)).collect();
        for (content, id) in self.added.as_object().into_iter().flatten() {
            let Some(number) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                return Err(Error::model(folder.join(source), content, format!("expected an id, got {id}")));
            };
            listed.insert(number, AddedToken::from(content.clone(), special.contains(content)));
        }
        Ok((source, listed))
    }

    fn further<'f>(&'f self, key: &'static str) -> impl Iterator<Item = &'f Value> + 'f {
        [&self.config, &self.map].into_iter().filter_map(move |file| file.get(key)?.as_array()).flatten()
    }

    /// Lets a text begin and end as tokenizer_config.json says, where tokenizer.json says otherwise.
    fn add_ends(&self, folder: &Path, tokenizer: &mut Tokenizer) -> Result<()> {
        let file = folder.join("tokenizer_config.json");
        let flag = |key: &str| match self.config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Error::model(&file, key, format!("expected true or false, got {other}"))),
        };
        let (begin, end) = (flag("add_bos_token")?, flag("add_eos_token")?);
        if begin.is_none() && end.is_none() {
            return Ok(());
        }
        let (bos, eos) = (tokenizer.bos(), tokenizer.eos().first().copied());
        let (begins, ends) = tokenizer.ends()?;
        let (wants_begin, wants_end) = (begin.unwrap_or(begins), end.unwrap_or(ends));
        if (wants_begin, wants_end) == (begins, ends) {
            return Ok(());
        }
        let token = |wanted: bool, key: &str, id: Option<u32>| -> Result<Option<(u32, String)>> {
            if !wanted {
                return Ok(None);
            }
            let found = id.and_then(|id| Some((id, tokenizer.token(id)?)));
            found.map(Some).ok_or_else(|| Error::model(&file, key, "expected a token to add, and none is named"))
        };
        let (bos, eos) = (token(wants_begin, "add_bos_token", bos)?, token(wants_end, "add_eos_token", eos)?);
        let processor = template(bos, eos);
        let processor: PostProcessorWrapper =
            guarded(&file, "add_bos_token", "expected tokens that can be added", || serde_json::from_value(processor))?;
        tokenizer.set_post_processor(processor);
        Ok(())
    }

    /// From chat_template.jinja, else from tokenizer_config.json (a text, or a list in which `default` is taken), else from
    /// chat_template.json.
    fn chat_template(&self, folder: &Path) -> Result<Option<String>> {
        let file = folder.join("chat_template.jinja");
        if file.exists() {
            let bytes = read_bounded(&file, LARGEST_SETTINGS)?;
            let text = String::from_utf8(bytes);
            return text.map(Some).map_err(|e| Error::model(&file, "chat_template", format!("expected UTF-8: {e}")));
        }
        let chosen = |value: &Value| match value {
            Value::Array(list) => list
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
                .and_then(|entry| entry.get("template")?.as_str().map(String::from)),
            other => other.as_str().map(String::from),
        };
        if let Some(template) = self.config.get("chat_template").and_then(chosen) {
            return Ok(Some(template));
        }
        Ok(read_json(&folder.join("chat_template.json"))?.get("chat_template").and_then(chosen))
    }
}

/// `[bos] text [eos]` as a post-processor of tokenizer.json.
fn template(bos: Option<(u32, String)>, eos: Option<(u32, String)>) -> Value {
    let token = |(_, name): &(u32, String), kind: usize| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let mut of = Vec::new();
    let mut pair = Vec::new();
    for (text, kind) in [("A", 0), ("B", 1)] {
        let within = bos.iter().map(|t| token(t, kind)).chain([json!({"Sequence": {"id": text, "type_id": kind}})]);
        let within: Vec<Value> = within.chain(eos.iter().map(|t| token(t, kind))).collect();
        if kind == 0 {
            of.clone_from(&within);
        }
        pair.extend(within);
    }
    let special: Map<String, Value> = (bos.iter().chain(&eos))
        .map(|(id, name)| (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    json!({"type": "TemplateProcessing", "single": of, "pair": pair, "special_tokens": special})
}

/// A token that is written as a text or as an object with its settings.
fn added(value: &Value, content: &str) -> AddedToken {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    AddedToken::from(content, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special))
}

fn same(a: &AddedToken, b: &AddedToken) -> bool {
    let flags = |t: &AddedToken| (t.single_word, t.lstrip, t.rstrip, t.normalized, t.special);
    a.content == b.content && flags(a) == flags(b)
}

/// A JSON file, null where there is none.
fn read_json(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let bytes = read_bounded(path, LARGEST_SETTINGS)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::model(path, "file", format!("expected JSON: {e}")))
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
