//! The one path from a record to its tokens: features, training, loss, generation and counts all go through it.

use super::example::Example;
use super::language_model::LanguageModel;
use super::tokenizer::Tokenizer;
use crate::dataset::RenderPrompt;
use crate::error::{Error, Result};
use crate::types::{Control, Record};
use rayon::prelude::*;
use std::sync::Arc;

/// What happens to a record with more tokens than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlong {
    /// It is an error that names the record.
    Error,
    /// It is cut off at the end. The special tokens around an encoder's text stay; a causal model's text loses its end.
    Truncate,
}

/// Renders a record's prompt and tokenises it as a model reads it.
///
/// A causal model reads prompt, response and end of sequence ([`Example`]); in generation it reads the prompt alone, which
/// are the first tokens of the same sequence. An encoder reads prompt and response as one text within the special tokens of
/// its tokenizer (`[CLS]` and `[SEP]`).
///
/// Special tokens that a record's own text spells out, such as `</s>`, become those tokens, as in transformers.
#[derive(Clone)]
pub struct RecordTokenizer {
    tokenizer: Arc<Tokenizer>,
    prompt: Arc<dyn RenderPrompt>,
    causal: bool,
    limit: usize,
    overlong: Overlong,
    advice: &'static str,
    control: Control,
}

/// Records that are tokenised between two looks at whether to stop.
const CHUNK: usize = 256;

impl RecordTokenizer {
    /// Records for `model`, of at most `max_tokens` tokens each with prompt, response and special tokens; the model's own
    /// limit holds beside it.
    pub fn new(model: &LanguageModel, prompt: Arc<dyn RenderPrompt>, max_tokens: usize, overlong: Overlong) -> Self {
        let spec = model.transformer.spec();
        let limit = max_tokens.min(spec.max_positions);
        Self::of_parts(model.tokenizer.clone(), prompt, spec.causal, limit, overlong)
    }

    fn of_parts(
        tokenizer: Arc<Tokenizer>,
        prompt: Arc<dyn RenderPrompt>,
        causal: bool,
        limit: usize,
        overlong: Overlong,
    ) -> Self {
        Self { tokenizer, prompt, causal, limit, overlong, advice: "", control: Control::default() }
    }

    /// The same, with what to do about a record that is too long in its error.
    #[must_use]
    pub(crate) fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = advice;
        self
    }

    /// The same, stopped by `control` between some records.
    #[must_use]
    pub(crate) fn under(&self, control: &Control) -> Self {
        Self { control: control.clone(), ..self.clone() }
    }

    /// Most tokens of a record: the smaller of the setting and the model's own limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The token ids of each record, in order: what features are taken of.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first record without tokens, or with more than the limit under [`Overlong::Error`];
    /// [`Error::Model`] that names the first record which chat template or tokenizer refuse; what the prompt reports.
    pub fn sequences(&self, records: &[Record]) -> Result<Vec<Vec<u32>>> {
        Ok(self.all(records)?.into_iter().map(|example| example.ids).collect())
    }

    /// Each record's tokens with the place where the response begins, in order: what a causal model is trained and measured
    /// on.
    ///
    /// # Errors
    /// As [`sequences`](Self::sequences); [`Error::Input`] that names the first record whose response has no token, which
    /// leaves nothing to take a loss of.
    pub fn examples(&self, records: &[Record]) -> Result<Vec<Example>> {
        let examples = self.all(records)?;
        match examples.iter().zip(records).find(|(example, _)| example.response_tokens() == 0) {
            None => Ok(examples),
            Some((_, record)) => {
                let what = format!("record `{}`", record.id);
                Err(Error::input(&what, "a response with at least one token", "none"))
            }
        }
    }

    /// As [`examples`](Self::examples), but where nothing of a response fits, the example has none.
    ///
    /// # Errors
    /// As [`sequences`](Self::sequences).
    pub fn truncated(&self, records: &[Record]) -> Result<Vec<Example>> {
        self.all(records)
    }

    /// The tokens that a causal model reads before it answers: those that the record's [`Example`] has before its response.
    ///
    /// # Errors
    /// As [`sequences`](Self::sequences), but for the limit: the prompt is given at any length.
    pub fn prompt(&self, record: &Record) -> Result<Vec<u32>> {
        let mut example = self.whole(record).map_err(|e| of_record(e, record))?;
        example.ids.truncate(example.response_start);
        Ok(example.ids)
    }

    /// Number of tokens of a record, whatever the limit.
    ///
    /// # Errors
    /// As [`sequences`](Self::sequences), but for the limit.
    pub fn count(&self, record: &Record) -> Result<usize> {
        self.whole(record).map(|example| example.ids.len()).map_err(|e| of_record(e, record))
    }

    fn all(&self, records: &[Record]) -> Result<Vec<Example>> {
        let mut all = Vec::with_capacity(records.len());
        for some in records.chunks(CHUNK) {
            self.control.check()?;
            let examples: Vec<Result<Example>> = some.par_iter().map(|record| self.limited(record)).collect();
            // In order, so that the first bad record is named whatever the threads do.
            for (example, record) in examples.into_iter().zip(some) {
                all.push(example.map_err(|e| of_record(e, record))?);
            }
        }
        Ok(all)
    }

    /// The record within the limit.
    fn limited(&self, record: &Record) -> Result<Example> {
        let mut example = self.whole(record)?;
        if example.ids.len() > self.limit && self.overlong == Overlong::Truncate {
            if self.causal {
                example.ids.truncate(self.limit);
            } else {
                example.ids = self.tokenizer.encode_within(&self.text(record)?, self.limit)?;
            }
            example.response_start = example.response_start.min(example.ids.len());
        }
        if example.ids.is_empty() || example.ids.len() > self.limit {
            let (limit, advice) = (self.limit, self.advice);
            let expected = format!("1 to {limit} tokens with prompt, response and special tokens{advice}");
            return Err(Error::input("text", expected, example.ids.len()));
        }
        Ok(example)
    }

    /// The record at its full length. Nothing of an encoder's text is a response: it begins where the text ends.
    fn whole(&self, record: &Record) -> Result<Example> {
        if self.causal {
            let text = self.prompt.render(record)?;
            return Example::new(&self.tokenizer, &text.prompt, &text.response);
        }
        let ids = self.tokenizer.encode(&self.text(record)?, true)?;
        Ok(Example { response_start: ids.len(), ids })
    }

    /// Prompt and response as one text.
    fn text(&self, record: &Record) -> Result<String> {
        let text = self.prompt.render(record)?;
        Ok(text.prompt + &text.response)
    }
}

impl std::fmt::Debug for RecordTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordTokenizer")
            .field("causal", &self.causal)
            .field("limit", &self.limit)
            .field("overlong", &self.overlong)
            .finish_non_exhaustive()
    }
}

/// The error with the record's id.
fn of_record(error: Error, record: &Record) -> Error {
    let of = |what: String| format!("record `{}`: {what}", record.id);
    match error {
        Error::Input { what, expected, got } => Error::Input { what: of(what), expected, got },
        Error::Model { path, what, message } => Error::Model { path, what: of(what), message },
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::dataset::{CustomPrompt, PromptTemplate};
    use crate::model::ChatPrompt;
    use crate::model::tokenizer::{SpecialTokens, tests::words};
    use serde_json::{Value, json};

    /// Words with `<s>` before a text (and `</s>` behind it where `ends`), and a chat template.
    fn tokenizer(ends: bool) -> Arc<Tokenizer> {
        let mut json = words();
        if ends {
            let end = json!({"SpecialToken": {"id": "</s>", "type_id": 0}});
            json["post_processor"]["single"].as_array_mut().unwrap().push(end);
            json["post_processor"]["special_tokens"]["</s>"] = json!({"id": "</s>", "ids": [1], "tokens": ["</s>"]});
        }
        build(&json, &["</s>"])
    }

    fn build(json: &Value, eos: &[&str]) -> Arc<Tokenizer> {
        let inner = tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap();
        let eos = eos.iter().map(ToString::to_string).collect();
        let special = SpecialTokens { bos: Some("<s>".into()), eos, ..SpecialTokens::default() };
        let chat = "{% for m in messages %}{% if 'z' in m.content %}{{ raise_exception('no z') }}{% endif %}\
            {{ bos_token }} {{ m.content }} <|end|> {% endfor %}";
        Arc::new(Tokenizer::new(inner, special, Some(chat), "folder").unwrap())
    }

    fn reader(causal: bool, limit: usize, overlong: Overlong) -> RecordTokenizer {
        let plain =
            CustomPrompt { with_input: "{instruction} {input} ".into(), without_input: Some("{instruction} ".into()) };
        // An encoder's tokenizer closes a text as it opens it.
        RecordTokenizer::of_parts(tokenizer(!causal), Arc::new(PromptTemplate::Custom(plain)), causal, limit, overlong)
    }

    fn record(instruction: &str, input: &str, response: &str) -> Record {
        Record {
            id: format!("{instruction}|{input}"),
            instruction: instruction.into(),
            input: input.into(),
            responses: vec![response.into()],
            ..Record::default()
        }
    }

    #[test]
    fn every_use_reads_the_same_tokens() {
        let reader = reader(true, 100, Overlong::Error);
        let records = [record("a", "", "c"), record("a", "b", "c a"), record("b", " \n", "")];
        let examples = reader.examples(&records).unwrap();
        assert_eq!(examples[1], Example { ids: vec![0, 4, 5, 6, 4, 1], response_start: 3 });
        // A blank input is none; without a response the end alone is to be learnt.
        assert_eq!(examples[2], Example { ids: vec![0, 5, 1], response_start: 2 });
        let sequences = reader.sequences(&records).unwrap();
        for ((record, example), sequence) in records.iter().zip(&examples).zip(sequences) {
            assert_eq!(sequence, example.ids);
            assert_eq!(reader.prompt(record).unwrap(), example.ids[..example.response_start]);
            assert_eq!(reader.count(record).unwrap(), example.ids.len());
        }
        assert!(reader.examples(&[]).unwrap().is_empty());
    }

    #[test]
    fn an_encoder_reads_one_text_within_its_special_tokens() {
        let records = [record("a b", "c", "a"), record("a", "", "")];
        let whole = reader(false, 100, Overlong::Error);
        assert_eq!(whole.sequences(&records).unwrap(), [vec![0, 4, 5, 6, 4, 1], vec![0, 4, 1]]);
        let cut = reader(false, 4, Overlong::Truncate);
        assert_eq!(cut.sequences(&records).unwrap(), [vec![0, 4, 5, 1], vec![0, 4, 1]]);
        assert_eq!(cut.count(&records[0]).unwrap(), 6);
        // There is no response to take a loss of.
        assert!(whole.examples(&records).unwrap_err().to_string().contains("response"));
        // The special tokens alone are too many.
        assert!(reader(false, 1, Overlong::Truncate).sequences(&records).is_err());
    }

    #[test]
    fn a_stop_is_heard_before_the_records() {
        let reader = reader(true, 9, Overlong::Error);
        let control = Control::default();
        let records = [record("a", "", "b")];
        assert!(reader.under(&control).sequences(&records).is_ok());
        control.cancel.cancel();
        assert!(matches!(reader.under(&control).sequences(&records), Err(Error::Cancelled)));
    }

    #[test]
    fn a_record_over_the_limit_is_named_or_cut_off() {
        let records = [record("a", "", "b"), record("b a b a", "", "c a")];
        let error = reader(true, 7, Overlong::Error).examples(&records).unwrap_err().to_string();
        assert!(error.contains("record `b a b a|`: text: expected 1 to 7 tokens"), "{error}");
        assert!(error.ends_with("special tokens, got 8"), "{error}");
        let advised = reader(true, 7, Overlong::Error).with_advice(" (or less)");
        assert!(advised.sequences(&records).unwrap_err().to_string().ends_with("special tokens (or less), got 8"));
        assert_eq!(reader(true, 8, Overlong::Error).examples(&records).unwrap()[1].ids.len(), 8);

        let cut = reader(true, 6, Overlong::Truncate);
        assert_eq!(cut.sequences(&records).unwrap(), [vec![0, 4, 5, 1], vec![0, 5, 4, 5, 4, 6]]);
        assert_eq!(cut.examples(&records).unwrap()[1].response_tokens(), 1);
        // Nothing of the response is left.
        let error = reader(true, 5, Overlong::Truncate).examples(&records).unwrap_err().to_string();
        assert!(error.contains("record `b a b a|`") && error.contains("response"), "{error}");
        assert_eq!(reader(true, 3, Overlong::Truncate).sequences(&records).unwrap()[1], [0, 5, 4]);
    }

    #[test]
    fn empty_texts_are_named() {
        let nothing = CustomPrompt { with_input: String::new(), without_input: None };
        let mut json = words();
        json["post_processor"] = Value::Null;
        let reader = |tokenizer, causal| {
            let prompt = Arc::new(PromptTemplate::Custom(nothing.clone()));
            RecordTokenizer::of_parts(tokenizer, prompt, causal, 9, Overlong::Error)
        };
        for causal in [true, false] {
            let bare = reader(build(&json, &[]), causal);
            let error = bare.sequences(&[record("a", "", "")]).unwrap_err().to_string();
            assert!(error.contains("record `a|`") && error.contains("got "), "{error}");
        }
        // The beginning alone is a prompt; without an end nothing is left to predict.
        let open = reader(build(&words(), &[]), true);
        assert_eq!(open.sequences(&[record("a", "", "")]).unwrap(), [[0]]);
        let error = open.examples(&[record("a", "", "")]).unwrap_err().to_string();
        assert!(error.contains("record `a|`: expected a response with at least one token"), "{error}");
        // A record without any response reads as one with an empty one.
        let mute = Record { responses: vec![], ..record("a", "", "") };
        assert_eq!(self::reader(true, 9, Overlong::Error).sequences(&[mute]).unwrap(), [[0, 4, 1]]);
    }

    #[test]
    fn special_tokens_in_a_users_text_are_those_tokens() {
        let reader = reader(true, 20, Overlong::Error);
        let records = [record("a </s> b", "", "c </s>"), record("<s> a", "", "<|end|>"), record("a </s>", "", "b")];
        let examples = reader.examples(&records).unwrap();
        // Each as often as it is written, and the end of the sequence behind all.
        assert_eq!(examples[0], Example { ids: vec![0, 4, 1, 5, 6, 1, 1], response_start: 4 });
        // A beginning that the text writes is not added again.
        assert_eq!(examples[1], Example { ids: vec![0, 4, 7, 1], response_start: 2 });
        assert_eq!(examples[2], Example { ids: vec![0, 4, 1, 5, 1], response_start: 3 });
        for (record, example) in records.iter().zip(&examples) {
            assert_eq!(reader.prompt(record).unwrap(), example.ids[..example.response_start]);
        }
    }

    #[test]
    fn the_end_that_a_tokenizer_adds_is_no_part_of_a_prompt() {
        let plain = Arc::new(PromptTemplate::Raw);
        let read = |tokenizer| {
            let reader = RecordTokenizer::of_parts(tokenizer, plain.clone(), true, 20, Overlong::Error);
            reader.examples(&[record("a", "", "b")]).unwrap().remove(0)
        };
        let expected = Example { ids: vec![0, 4, 5, 1], response_start: 2 };
        assert_eq!(read(tokenizer(false)), expected);
        assert_eq!(read(tokenizer(true)), expected);
        // Whichever of the model's ends it is.
        let mut other = words();
        other["post_processor"]["single"]
            .as_array_mut()
            .unwrap()
            .push(json!({"SpecialToken": {"id": "<|end|>", "type_id": 0}}));
        other["post_processor"]["special_tokens"]["<|end|>"] =
            json!({"id": "<|end|>", "ids": [7], "tokens": ["<|end|>"]});
        assert_eq!(read(build(&other, &["</s>", "<|end|>"])), expected);
        // One that the prompt itself writes is kept.
        let written = build(&other, &["</s>", "<|end|>"]).encode_prompt("<s> a <|end|>").unwrap();
        assert_eq!(written, [0, 4, 7]);
    }

    #[test]
    fn a_chat_template_goes_the_same_way_and_its_errors_name_the_record() {
        let tokenizer = tokenizer(false);
        let chat = Arc::new(ChatPrompt::new(tokenizer.clone()).unwrap());
        let reader = RecordTokenizer::of_parts(tokenizer, chat, true, 20, Overlong::Error);
        let records = [record("a", "b", "c"), record("c", "", "a")];
        let examples = reader.examples(&records).unwrap();
        assert_eq!(examples[0], Example { ids: vec![0, 4, 5, 7, 6, 1], response_start: 4 });
        assert_eq!(reader.prompt(&records[0]).unwrap(), [0, 4, 5, 7]);
        let error = reader.sequences(&[records[0].clone(), record("z", "", "")]).unwrap_err().to_string();
        assert!(error.contains("record `z|`") && error.contains("no z") && error.contains("folder"), "{error}");
    }
}
