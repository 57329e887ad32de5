//! The tokenizer inside a GGUF file as the `tokenizer.json` that the same tokenizer has on the Hugging Face hub.
//!
//! - `gpt2`: byte-level BPE with merges; `tokenizer.ggml.pre` names the expression that cuts a text into words.
//! - `llama`: SentencePiece's BPE, whose scores order the merges, with bytes for what the vocabulary lacks.
//! - `bert`: WordPiece, lower-cased.

use super::config::Metadata;
use super::header::Header;
use crate::error::Result;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What a token is, as `tokenizer.ggml.token_type` numbers it.
mod kind {
    pub const UNKNOWN: i64 = 2;
    pub const CONTROL: i64 = 3;
    pub const USER_DEFINED: i64 = 4;
}

/// A tokenizer in Hugging Face's terms.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufTokenizer {
    /// What `tokenizer.json` would say.
    pub json: Json,
    /// The token that begins a text.
    pub bos_token: Option<String>,
    /// The tokens that end a text, then those that end a turn or a message: what ends training responses comes first, any
    /// of them ends generation.
    pub eos_tokens: Vec<String>,
    /// The token for what the vocabulary lacks.
    pub unk_token: Option<String>,
    /// The token that fills a batch.
    pub pad_token: Option<String>,
    /// The chat template (Jinja).
    pub chat_template: Option<String>,
}

/// The tokenizer of the file.
///
/// # Errors
/// [`crate::Error::Model`] that names the key: a model or word expression that is not known, lists of unequal length, an
/// id outside the vocabulary.
pub fn tokenizer(header: &Header, path: &Path) -> Result<GgufTokenizer> {
    let m = Metadata::new(header, path);
    let key = "tokenizer.ggml.model";
    let model = m.required(key, m.text(key))?;
    let vocabulary = Vocabulary::read(&m)?;
    let parts = match model {
        "gpt2" => byte_level(&m, &vocabulary)?,
        "llama" => sentence_piece(&m, &vocabulary)?,
        "bert" => word_piece(&vocabulary),
        other => return Err(m.error(key, format!("expected gpt2, llama or bert, got `{other}`"))),
    };
    let (bos, eos) = (vocabulary.special(&m, "bos")?, vocabulary.special(&m, "eos")?);
    let post = match model {
        "bert" => {
            let cls = match vocabulary.special(&m, "cls")? {
                Some(cls) => Some(cls),
                None => vocabulary.find("[CLS]").or(bos),
            };
            let sep = match vocabulary.special(&m, "seperator")? {
                Some(sep) => Some(sep),
                None => vocabulary.find("[SEP]").or(eos),
            };
            template(&vocabulary, cls, sep, Json::Null)
        }
        _ => {
            // llama.cpp's own defaults where the file says nothing.
            let begins = model == "llama" || m.text("tokenizer.ggml.pre")? == Some("llama-bpe");
            let bos = if m.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins) { bos } else { None };
            let eos = if m.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false) { eos } else { None };
            template(&vocabulary, bos, eos, parts.post_processor)
        }
    };
    let name = |id: Option<usize>| id.and_then(|id| vocabulary.names.get(id)).cloned();
    let mut ends: Vec<String> = Vec::new();
    for kind in ["eos", "eot", "eom"] {
        ends.extend(name(vocabulary.special(&m, kind)?).filter(|token| !ends.contains(token)));
    }
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": post,
        "decoder": parts.decoder,
        "model": parts.model,
    });
    Ok(GgufTokenizer {
        json,
        bos_token: name(vocabulary.special(&m, "bos")?),
        eos_tokens: ends,
        unk_token: name(vocabulary.special(&m, "unknown")?),
        pad_token: name(vocabulary.special(&m, "padding")?),
        chat_template: m.text("tokenizer.chat_template")?.map(str::to_string),
    })
}

/// The five stages of a `tokenizer.json`, less the added tokens.
struct Parts {
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    decoder: Json,
    model: Json,
}

struct Vocabulary<'a> {
    names: &'a [String],
    kinds: &'a [i64],
    ids: BTreeMap<&'a str, usize>,
}

impl<'a> Vocabulary<'a> {
    fn read(m: &Metadata<'a>) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let names = m.required(key, m.texts(key))?;
        let key = "tokenizer.ggml.token_type";
        let kinds = m.integers(key)?.unwrap_or_default();
        if !kinds.is_empty() && kinds.len() != names.len() {
            return Err(m.error(key, format!("expected {} values, one per token, got {}", names.len(), kinds.len())));
        }
        let ids = names.iter().enumerate().map(|(id, name)| (name.as_str(), id)).collect();
        Ok(Self { names, kinds, ids })
    }

    fn kind(&self, id: usize) -> i64 {
        self.kinds.get(id).copied().unwrap_or(1)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// The id under `tokenizer.ggml.{name}_token_id`, checked.
    fn special(&self, m: &Metadata<'_>, name: &str) -> Result<Option<usize>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        match m.count(&key)? {
            Some(id) if id >= self.names.len() => {
                Err(m.error(&key, format!("expected an id below {}, got {id}", self.names.len())))
            }
            id => Ok(id),
        }
    }

    /// Tokens that are cut out of a text before anything else.
    fn added(&self) -> Json {
        let added = self.names.iter().enumerate().filter_map(|(id, name)| {
            let kind = self.kind(id);
            let special = kind == kind::CONTROL || kind == kind::UNKNOWN;
            (!name.is_empty() && (special || kind == kind::USER_DEFINED)).then(|| {
                json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special})
            })
        });
        Json::Array(added.collect())
    }

    /// Token -> id; of equal tokens the last, as in llama.cpp.
    fn map(&self, rename: impl Fn(usize, &str) -> String) -> Map<String, Json> {
        self.names.iter().enumerate().map(|(id, name)| (rename(id, name), json!(id))).collect()
    }
}

/// `[bos] text [eos]`, where there is either.
fn template(vocabulary: &Vocabulary<'_>, bos: Option<usize>, eos: Option<usize>, otherwise: Json) -> Json {
    if bos.is_none() && eos.is_none() {
        return otherwise;
    }
    let token = |id: usize, kind: usize| json!({"SpecialToken": {"id": vocabulary.names[id], "type_id": kind}});
    let text = |name: &str, kind: usize| json!({"Sequence": {"id": name, "type_id": kind}});
    let mut single: Vec<Json> = bos.map(|id| token(id, 0)).into_iter().collect();
    single.push(text("A", 0));
    single.extend(eos.map(|id| token(id, 0)));
    let mut pair = single.clone();
    pair.push(text("B", 1));
    pair.extend(eos.map(|id| token(id, 1)));
    let mut special = Map::new();
    for id in [bos, eos].into_iter().flatten() {
        let name = &vocabulary.names[id];
        special.insert(name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}));
    }
    let template = json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special});
    match otherwise {
        Json::Null => template,
        first => json!({"type": "Sequence", "processors": [first, template]}),
    }
}

/// GPT-2's expression, which many later ones wrap.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The expressions that cut a text into words, one after the other, by `tokenizer.ggml.pre`.
fn word_expressions(pre: &str) -> Option<&'static [&'static str]> {
    Some(match pre {
        "default" => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" | "jina-es" | "jina-de" | "jina-v1-en" | "gigachat" => &[GPT2],
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => &[r"\p{N}", GPT2],
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" | "falcon3" | "dbrx" => &[LLAMA_3],
        "qwen2" | "stablelm2" | "deepseek-r1-qwen" | "megrez" => &[QWEN_2],
        "tekken" => &[TEKKEN],
        _ => return None,
    })
}

fn byte_level(m: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Parts> {
    let key = "tokenizer.ggml.merges";
    let mut merges = Vec::new();
    for (i, merge) in m.required(key, m.texts(key))?.iter().enumerate() {
        // A token may begin with the space that divides the two: the second character at the earliest divides.
        let first = merge.chars().next().map_or(0, char::len_utf8);
        match merge.get(first..).and_then(|rest| rest.find(' ')) {
            Some(at) => merges.push(json!([merge[..first + at], merge[first + at + 1..]])),
            None => return Err(m.error(key, format!("merge {i}: expected two tokens and a space, got {merge:?}"))),
        }
    }
    let key = "tokenizer.ggml.pre";
    let pre = m.text(key)?.unwrap_or("default");
    let expressions = word_expressions(pre).ok_or_else(|| {
        let known = "default, gpt-2, smollm, starcoder, llama-bpe, qwen2, stablelm2, tekken, ...";
        m.error(key, format!("expected one of {known}, got `{pre}`"))
    })?;
    let mut steps: Vec<Json> = expressions
        .iter()
        .map(|e| json!({"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": false}))
        .collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    steps.push(bytes.clone());
    let normal = if expressions.contains(&QWEN_2) { json!({"type": "NFC"}) } else { Json::Null };
    // Llama 3 and Tekken take a whole word that is a token before they try merges.
    let ignore_merges = expressions.contains(&LLAMA_3) || expressions.contains(&TEKKEN);
    Ok(Parts {
        normalizer: normal,
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": steps}),
        post_processor: Json::Null,
        decoder: bytes,
        model: json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": ignore_merges,
            "vocab": vocabulary.map(|_, name| name.to_string()), "merges": merges}),
    })
}

/// Longest token that is looked for in two parts, at each of its places.
const LONGEST_PIECE: usize = 1 << 10;

fn sentence_piece(m: &Metadata<'_>, vocabulary: &Vocabulary<'_>) -> Result<Parts> {
    let key = "tokenizer.ggml.scores";
    let scores = m.required(key, m.floats(key))?;
    if scores.len() != vocabulary.names.len() {
        let message = format!("expected {} values, one per token, got {}", vocabulary.names.len(), scores.len());
        return Err(m.error(key, message));
    }
    if let Some(long) = vocabulary.names.iter().find(|name| name.len() > LONGEST_PIECE) {
        let begin: String = long.chars().take(20).collect();
        let message = format!(
            "expected tokens of at most {LONGEST_PIECE} bytes, got one of {} that begins `{begin}`",
            long.len()
        );
        return Err(m.error("tokenizer.ggml.tokens", message));
    }
    let unknown = vocabulary.special(m, "unknown")?.or_else(|| vocabulary.find("<unk>"));
    let prefix = m.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let (normalizer, strip) =
        if prefix { (json!([{"type": "Prepend", "prepend": "▁"}, space]), 1) } else { (json!([space]), 0) };
    Ok(Parts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizer}),
        pre_tokenizer: Json::Null,
        post_processor: Json::Null,
        decoder: json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": strip, "stop": 0}]}),
        model: json!({"type": "BPE", "dropout": null, "unk_token": unknown.map(|id| &vocabulary.names[id]),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "ignore_merges": false, "vocab": vocabulary.map(|_, name| name.to_string()),
            "merges": merges_by_score(vocabulary, scores)}),
    })
}

/// Every way to join two tokens into a third, best score first: SentencePiece joins the neighbours whose union scores
/// highest. Ties as in transformers' converter: longer left parts first.
fn merges_by_score(vocabulary: &Vocabulary<'_>, scores: &[f32]) -> Json {
    let usable = |id: &usize| !matches!(vocabulary.kind(*id), kind::CONTROL | kind::UNKNOWN);
    let mut merges = Vec::new();
    for (id, name) in vocabulary.names.iter().enumerate().filter(|(id, _)| usable(id)) {
        let from = merges.len();
        for (at, _) in name.char_indices().skip(1) {
            let (left, right) = name.split_at(at);
            if let (Some(l), Some(r)) = (vocabulary.find(left), vocabulary.find(right))
                && usable(&l)
                && usable(&r)
            {
                merges.push((scores[id], left, right, l, r));
            }
        }
        merges[from..].sort_by_key(|&(_, _, _, l, r)| (l, r));
    }
    merges.sort_by(|a, b| {
        let lengths = |m: &(f32, &str, &str, usize, usize)| (m.1.chars().count(), m.2.chars().count());
        b.0.total_cmp(&a.0).then_with(|| lengths(b).cmp(&lengths(a)))
    });
    Json::Array(merges.into_iter().map(|(_, left, right, ..)| json!([left, right])).collect())
}

fn is_bracketed(name: &str) -> bool {
    name.len() > 2 && name.starts_with('[') && name.ends_with(']')
}

fn word_piece(vocabulary: &Vocabulary<'_>) -> Parts {
    // llama.cpp's converter marks the beginning of a word (▁) in place of its continuation (##).
    let rename = |id: usize, name: &str| match name.strip_prefix('▁') {
        Some(word) => word.to_string(),
        None if vocabulary.kind(id) == kind::CONTROL || is_bracketed(name) => name.to_string(),
        None => format!("##{name}"),
    };
    Parts {
        normalizer: json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true}),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        post_processor: Json::Null,
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        model: json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary.map(rename)}),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_fixtures() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gguf"));
        let facts: Json = serde_json::from_slice(&std::fs::read(folder.join("tokens.json")).unwrap()).unwrap();
        for (name, ids) in facts["ids"].as_object().unwrap() {
            let file = crate::model::gguf::GgufFile::open(folder.join(format!("{name}.gguf"))).unwrap();
            let parts = file.tokenizer().unwrap();
            let tokenizer: tokenizers::Tokenizer = parts.json.to_string().parse().unwrap();
            for (text, ids) in facts["texts"].as_array().unwrap().iter().zip(ids.as_array().unwrap()) {
                let expected: Vec<u32> = ids.as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as u32).collect();
                let got = tokenizer.encode(text.as_str().unwrap(), true).unwrap();
                assert_eq!(got.get_ids(), expected, "{name}: {text}");
                let plain = tokenizer.encode(text.as_str().unwrap(), false).unwrap();
                if !matches!(name.as_str(), "bert" | "qwen2") {
                    assert_eq!(tokenizer.decode(plain.get_ids(), false).unwrap(), text.as_str().unwrap(), "{name}");
                }
            }
        }
    }
}
