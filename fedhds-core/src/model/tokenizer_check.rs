//! What a tokenizer.json may ask for.
//!
//! The library that runs it believes its file: a replacement may be as long as it likes and stand behind another, a prefix that cuts a
//! character is undefined behaviour, a token may nest a tree deeper than a stack. No guard catches these once they run, so the file is read here first.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// Longest token, in bytes; of a Unigram model, which keeps its tokens in a tree that is as deep as they are long, a shorter one.
const LONGEST_TOKEN: usize = 1 << 16;
const LONGEST_UNIGRAM: usize = 1 << 10;
/// Longest text that a step adds: a replacement, a prefix, a suffix.
const LONGEST_ADDITION: usize = 1 << 10;
/// Most steps of one kind, and deepest sequence of sequences.
const MOST_STEPS: usize = 64;
const DEEPEST: usize = 8;
/// Most special tokens and texts in the form that a post-processor gives to a text.
const MOST_PIECES: usize = 256;
/// Most characters of a word that a WordPiece model looks up, every part of it.
const LONGEST_WORD: u64 = 1_000;
/// Most that decoding may make of a token's text, in times.
const MOST_DECODED: usize = 64;
/// Most bytes that a text may have between its normalization and its tokens.
const MOST_BYTES: usize = 32 << 20;
/// What a Unicode normal form makes of a byte at the most.
const NORMAL_FORM: usize = 12;

/// How much longer a text can become before it is cut into tokens: `times` what it is, and `plus` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Growth {
    times: usize,
    plus: usize,
}

impl Growth {
    const NONE: Self = Self { times: 1, plus: 0 };

    fn times(times: usize) -> Self {
        Self { times: times.max(1), plus: 0 }
    }

    fn then(self, next: Self) -> Self {
        let plus = self.plus.saturating_mul(next.times).saturating_add(next.plus);
        Self { times: self.times.saturating_mul(next.times), plus }
    }

    /// Checks that a text stays within bounds.
    ///
    /// # Errors
    /// What the text could become.
    pub(super) fn check(self, text: &str) -> std::result::Result<(), String> {
        match text.len().saturating_mul(self.times).saturating_add(self.plus) {
            bytes if bytes <= MOST_BYTES => Ok(()),
            bytes => Err(format!(
                "expected a text of at most {MOST_BYTES} bytes after its normalization, got {} bytes that can become {bytes}",
                text.len()
            )),
        }
    }
}

/// Checks a tokenizer.json and says how much its texts can grow; `path` is what errors name.
///
/// # Errors
/// [`Error::Model`] that names the part which is out of bounds or cannot be kept.
pub(super) fn check(path: &Path, json: &Value) -> Result<Growth> {
    let file = File { path };
    file.model(json.get("model").unwrap_or(&Value::Null))?;
    for token in json.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        file.token(token.get("content").and_then(Value::as_str).unwrap_or_default(), LONGEST_TOKEN)?;
    }
    let mut growth = Growth::NONE;
    for (part, list) in [("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")] {
        for step in file.steps(json, part, list)? {
            growth = growth.then(file.growth(part, step)?);
        }
    }
    growth.check("").map_err(|message| file.error("normalizer", message))?;
    let mut decoded = Growth::NONE;
    for step in file.steps(json, "decoder", "decoders")? {
        decoded = decoded.then(file.growth("decoder", step)?);
    }
    if decoded.times > MOST_DECODED {
        let message = format!(
            "expected replacements that make a text at most {MOST_DECODED} times as long, got {} times",
            decoded.times
        );
        return Err(file.error("decoder", message));
    }
    for step in file.steps(json, "post_processor", "processors")? {
        file.post_processor(step)?;
    }
    Ok(growth)
}

struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn error(&self, part: &str, message: String) -> Error {
        Error::model(self.path, format!("tokenizer.json: `{part}`"), message)
    }

    fn token(&self, token: &str, longest: usize) -> Result<()> {
        if token.len() > longest {
            let begin: String = token.chars().take(20).collect();
            let message = format!(
                "expected tokens of at most {longest} bytes, got one of {} bytes that begins `{begin}`",
                token.len()
            );
            return Err(self.error("vocab", message));
        }
        Ok(())
    }

    fn model(&self, model: &Value) -> Result<()> {
        let text = |key: &str| model.get(key).and_then(Value::as_str).unwrap_or_default();
        for key in ["continuing_subword_prefix", "end_of_word_suffix", "unk_token"] {
            self.addition(&format!("model.{key}"), text(key))?;
        }
        match model.get("vocab") {
            Some(Value::Object(vocabulary)) => {
                vocabulary.keys().try_for_each(|token| self.token(token, LONGEST_TOKEN))?
            }
            Some(Value::Array(pieces)) => {
                for piece in pieces {
                    self.token(piece.get(0).and_then(Value::as_str).unwrap_or_default(), LONGEST_UNIGRAM)?;
                }
            }
            _ => {}
        }
        let longest = model.get("max_input_chars_per_word").and_then(Value::as_u64).unwrap_or(0);
        if longest > LONGEST_WORD {
            return Err(
                self.error("model.max_input_chars_per_word", format!("expected at most {LONGEST_WORD}, got {longest}"))
            );
        }
        if let Some(dropout) = model.get("dropout").filter(|value| !value.is_null() && value.as_f64() != Some(0.0)) {
            let message = format!("expected none, as the same text must give the same tokens, got {dropout}");
            return Err(self.error("model.dropout", message));
        }
        self.merges(model, text("continuing_subword_prefix"))
    }

    /// The second part of a merge loses the prefix of continued words by its length in bytes, whatever stands there.
    fn merges(&self, model: &Value, prefix: &str) -> Result<()> {
        if prefix.is_empty() {
            return Ok(());
        }
        let merges = model.get("merges").and_then(Value::as_array).into_iter().flatten();
        for (number, merge) in merges.enumerate() {
            let second = match merge {
                Value::String(both) => both.split(' ').nth(1),
                other => other.get(1).and_then(Value::as_str),
            };
            if !second.is_some_and(|second| second.starts_with(prefix)) {
                let message = format!(
                    "merge {number}: expected a second part that begins with the prefix `{prefix}`, got {merge}"
                );
                return Err(self.error("model.merges", message));
            }
        }
        Ok(())
    }

    /// The steps of a part, sequences in sequences laid out in a row.
    fn steps<'v>(&self, json: &'v Value, part: &str, list: &str) -> Result<Vec<&'v Value>> {
        let mut steps = Vec::new();
        let mut waiting = vec![(json.get(part).unwrap_or(&Value::Null), 0)];
        while let Some((step, depth)) = waiting.pop() {
            if steps.len() + waiting.len() >= MOST_STEPS || depth > DEEPEST {
                let message =
                    format!("expected at most {MOST_STEPS} steps in sequences at most {DEEPEST} deep, got more");
                return Err(self.error(part, message));
            }
            match step.get(list).and_then(Value::as_array) {
                Some(inner) if inner.len() <= MOST_STEPS => {
                    waiting.extend(inner.iter().rev().map(|step| (step, depth + 1)))
                }
                Some(inner) => {
                    return Err(self.error(part, format!("expected at most {MOST_STEPS} steps, got {}", inner.len())));
                }
                None if step.is_null() => {}
                None => steps.push(step),
            }
        }
        Ok(steps)
    }

    fn addition(&self, part: &str, text: &str) -> Result<()> {
        if text.len() > LONGEST_ADDITION {
            return Err(self.error(part, format!("expected at most {LONGEST_ADDITION} bytes, got {}", text.len())));
        }
        Ok(())
    }

    fn growth(&self, part: &str, step: &Value) -> Result<Growth> {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        Ok(match text("type") {
            "Replace" => {
                let content = text("content");
                self.addition(part, content)?;
                let pattern = step.get("pattern").and_then(|pattern| pattern.get("String")?.as_str());
                match pattern.map_or(0, str::len) {
                    // An expression, or an empty text, can match between any two bytes.
                    0 => Growth { times: 1 + content.len(), plus: content.len() },
                    replaced => Growth::times(content.len().div_ceil(replaced)),
                }
            }
            "Prepend" => {
                self.addition(part, text("prepend"))?;
                Growth { times: 1, plus: text("prepend").len() }
            }
            "Precompiled" => Growth::times(self.longest_of_charsmap(text("precompiled_charsmap"))?),
            "NFC" | "NFD" | "NFKC" | "NFKD" | "BertNormalizer" | "Bert" => Growth::times(NORMAL_FORM),
            "Lowercase" => Growth::times(2),
            "ByteLevel" => Growth { times: 2, plus: 2 },
            "Metaspace" => Growth { times: 4, plus: 4 },
            _ => Growth::NONE,
        })
    }

    /// The longest replacement in SentencePiece's table of characters: the length of a tree, the tree, then texts that end with 0.
    fn longest_of_charsmap(&self, base64: &str) -> Result<usize> {
        let part = "normalizer.precompiled_charsmap";
        let bytes = decode_base64(base64).ok_or_else(|| self.error(part, "expected base64".into()))?;
        let tree = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        match tree.and_then(|tree| bytes.get(4 + tree..)) {
            Some(texts) => Ok(texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0)),
            None => {
                Err(self.error(part, format!("expected a tree within its {} bytes, got one of {tree:?}", bytes.len())))
            }
        }
    }

    fn post_processor(&self, step: &Value) -> Result<()> {
        for form in ["single", "pair"] {
            let pieces = step.get(form).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let texts = pieces.iter().filter_map(|piece| piece.get("Sequence")?.get("id")?.as_str());
            let (a, b) = texts.fold((0, 0), |(a, b), id| if id == "A" { (a + 1, b) } else { (a, b + 1) });
            if pieces.len() > MOST_PIECES || a > 1 || b > 1 {
                let message =
                    format!("expected each text once within at most {MOST_PIECES} tokens, got {} parts", pieces.len());
                return Err(self.error(&format!("post_processor.{form}"), message));
            }
        }
        let special = step.get("special_tokens").and_then(Value::as_object).into_iter().flatten();
        for (token, told) in special {
            let ids = told.get("ids").and_then(Value::as_array).map_or(0, Vec::len);
            if ids > MOST_PIECES {
                let begin: String = token.chars().take(20).collect();
                let message = format!("expected at most {MOST_PIECES} ids of a token, got {ids} of `{begin}`");
                return Err(self.error("post_processor.special_tokens", message));
            }
        }
        Ok(())
    }
}

/// Bytes of base64 in its plain alphabet.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn told(json: &Value) -> Result<Growth> {
        check(Path::new("folder"), json)
    }

    fn refused(json: &Value) -> String {
        told(json).unwrap_err().to_string()
    }

    #[test]
    fn growth_is_what_the_steps_can_do() {
        let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let llama =
            json!({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}});
        assert_eq!(told(&llama).unwrap(), Growth { times: 3, plus: 9 });
        let steps: Vec<Value> =
            (0..30).map(|_| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})).collect();
        let doubled = json!({"normalizer": {"type": "Sequence", "normalizers": steps}});
        let growth = told(&doubled).unwrap();
        assert!(growth.check("a").unwrap_err().contains("1073741824"));
        assert!(growth.check("").is_ok());
        // 4 bytes of a tree, then texts of 2 and 3 bytes.
        assert_eq!(decode_base64("BAAAAAAAAABhYgBhYmMA").unwrap(), b"\x04\0\0\0\0\0\0\0ab\0abc\0");
        let map = json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABhYgBhYmMA"}});
        assert_eq!(told(&map).unwrap(), Growth::times(3));
    }

    #[test]
    fn each_part_that_could_kill_is_named() {
        let nested =
            (0..30).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
        for (part, json) in [
            ("model.merges", json!({"model": {"continuing_subword_prefix": "##", "merges": [["a", "é"]]}})),
            ("model.merges", json!({"model": {"continuing_subword_prefix": "#", "merges": ["a b"]}})),
            ("vocab", json!({"model": {"vocab": [["a".repeat(5_000), 0.0]]}})),
            ("vocab", json!({"added_tokens": [{"content": "a".repeat(100_000)}]})),
            (
                "normalizer",
                json!({"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "b".repeat(5_000)}}),
            ),
            ("normalizer", json!({"normalizer": nested})),
            (
                "normalizer",
                json!({"normalizer": {"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 1_000]}}),
            ),
            (
                "precompiled_charsmap",
                json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}}),
            ),
            ("decoder", json!({"decoder": {"type": "Replace", "pattern": {"Regex": ""}, "content": "b".repeat(100)}})),
            ("model.max_input_chars_per_word", json!({"model": {"max_input_chars_per_word": 1_000_000_000}})),
            ("model.dropout", json!({"model": {"dropout": 0.1}})),
            (
                "post_processor.single",
                json!({"post_processor": {"single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 9]}}),
            ),
        ] {
            let error = refused(&json);
            assert!(error.contains(part) && error.contains("folder"), "{part}: {error}");
        }
    }

    proptest! {
        /// What the library makes of a text is never longer than what was told.
        #[test]
        fn no_text_grows_beyond_what_is_told(
            steps in proptest::collection::vec(("[ab]{0,2}", "[abc▁]{0,4}", any::<bool>()), 0..6),
            text in "[abcé ]{0,20}",
        ) {
            let steps: Vec<Value> = steps.iter().map(|(pattern, content, replace)| match replace {
                true if !pattern.is_empty() => json!({"type": "Replace", "pattern": {"String": pattern}, "content": content}),
                _ => json!({"type": "Prepend", "prepend": content}),
            }).collect();
            let json = json!({"normalizer": {"type": "Sequence", "normalizers": steps}, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}});
            let growth = told(&json).unwrap();
            let tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
            let mut normal = tokenizers::NormalizedString::from(text.as_str());
            tokenizers::Normalizer::normalize(tokenizer.get_normalizer().unwrap(), &mut normal).unwrap();
            prop_assert!(normal.get().len() <= text.len() * growth.times + growth.plus);
        }
    }
}
