//! Conversations, in the spelling of OpenAI (`messages`) or of ShareGPT (`conversations`).

use super::fields::{Fields, Maker};
use super::loaded::Collected;
use super::objects::{self, Object};
use super::options::LoadOptions;
use super::reader::{Reader, Sample};
use super::source::{self, Source};
use super::turns;
use super::values::BlankResponse;
use crate::error::Result;
use crate::types::{Control, Record};
use std::path::Path;

/// JSON lines or a JSON list of objects with turns, as [`turns::conversation`] reads them.
pub(super) struct Messages;

impl Reader for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn about(&self) -> &'static str {
        "conversations: JSON objects with messages (or conversations)"
    }

    fn roles(&self) -> &'static [&'static str] {
        &["id", "category", "family"]
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        if sample.folder || sample.given.named().any(|(role, _)| !self.roles().contains(&role)) {
            return Ok(None);
        }
        let first = sample.first()?;
        let found = turns::turns(first).is_some_and(|(_, turns)| turns.is_array());
        Ok(found.then(|| sample.given.clone()))
    }

    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()> {
        let stem = source::stem(source.path().unwrap_or(Path::new("")));
        let mut maker = Maker::new(options.fields.clone(), options.blank_response, &stem);
        objects::read(source, control, |object| {
            let record = record(object, &mut maker, options.blank_response);
            records.take(record, Some(object.at), |_| object.text())
        })
    }
}

fn record(object: &Object<'_>, maker: &mut Maker<'_>, blank: BlankResponse) -> Result<Option<Record>> {
    let place = object.place();
    let found = turns::conversation(&object.map)
        .map_err(|fault| place.error(&fault.field, format!("expected {}, got {}", fault.expected, fault.got)))?;
    if found.response.trim().is_empty() {
        return match blank {
            BlankResponse::Skip => Ok(None),
            BlankResponse::Error => Err(place.error(&found.field, "expected a response, got an empty string")),
        };
    }
    maker.finish(object, found.instruction, String::new(), vec![found.response]).map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{BadRecord, Format, Loaded};
    use super::*;
    use serde_json::{Value, json};

    fn load(values: &[Value], options: &LoadOptions) -> Result<Loaded> {
        let text: String = values.iter().map(|value| format!("{value}\n")).collect();
        let source = Source::Content { name: Path::new("chat.jsonl"), bytes: text.as_bytes() };
        Format::by_name("messages").unwrap().load(source, options, &Control::default())
    }

    #[test]
    fn the_last_answer_is_the_response() {
        let ours = json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]},
            {"role": "assistant", "content": null},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "?"},
        ], "topic": 7});
        let theirs = json!({"conversations": [{"from": "human", "value": "Bye"}, {"from": "gpt", "value": "Farewell"}], "topic": "x"});
        let options = LoadOptions {
            fields: Fields { category: Some("topic".into()), ..Fields::default() },
            ..LoadOptions::default()
        };
        let loaded = load(&[ours, theirs], &options).unwrap();
        let [one, two] = loaded.dataset.records.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((one.instruction.as_str(), one.response()), ("Be brief.\n\nHi there", "Hello"));
        assert_eq!((one.id.as_str(), one.category.as_str()), ("chat-1", "7"));
        assert_eq!((two.instruction.as_str(), two.response(), two.category.as_str()), ("Bye", "Farewell", "x"));
    }

    #[test]
    fn a_broken_conversation_is_placed() {
        let user = json!({"role": "user", "content": "a"});
        let answer = json!({"role": "assistant", "content": "b"});
        let good = json!({"messages": [user, answer]});
        for (turns, words) in [
            (json!([user]), "chat.jsonl:2: expected `messages` (or `conversations`) with an assistant's turn"),
            (json!([answer]), "chat.jsonl:2: expected `messages`"),
            (json!([]), "got none"),
            (json!("text"), "got a string"),
            (json!([user, 3]), "chat.jsonl:2: field `messages[1]`: expected an object, got 3"),
            (json!([user, {"content": "b"}]), "field `messages[1].role`: expected a role, got null"),
            (json!([user, {"role": "assistant", "content": 3}]), "field `messages[1].content`: expected text"),
            (json!([user, {"role": "assistant", "content": [{"type": "image"}]}]), "field `messages[1].content`"),
            (
                json!([user, {"role": "assistant", "content": " "}]),
                "field `messages[1]`: expected a response, got an empty",
            ),
            (json!([{"role": "user"}, answer]), "field `messages`: expected text before"),
        ] {
            let error =
                load(&[good.clone(), json!({"messages": turns})], &LoadOptions::default()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = load(&[json!({"text": "a"})], &LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("chat.jsonl:1: expected `messages`") && error.ends_with("got neither"), "{error}");
    }

    #[test]
    fn blank_answers_are_left_out_on_demand() {
        let row = |answer: &str| json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]});
        let options = LoadOptions { blank_response: BlankResponse::Skip, ..LoadOptions::default() };
        let loaded = load(&[row("b"), row("")], &options).unwrap();
        assert_eq!((loaded.dataset.len(), loaded.left_out), (1, 1));
        let fields = Fields { response: Some("x".into()), ..Fields::default() };
        let refused = load(&[row("b")], &LoadOptions { fields, ..LoadOptions::default() }).unwrap_err().to_string();
        assert!(refused.contains("id, category, family") && refused.contains("response = `x`"), "{refused}");
    }

    #[test]
    fn bad_conversations_are_left_out_on_demand_and_counted() {
        let good = json!({"messages": [{"role": "User", "content": "a"}, {"role": "Assistant", "content": "b"}]});
        let bad =
            [json!({"messages": []}), json!({"messages": 3}), json!({"text": "a"}), json!({"messages": [{"role": 1}]})];
        let mut rows = vec![good.clone()];
        rows.extend(bad.iter().cloned());
        rows.push(good);
        let options = LoadOptions { bad_record: BadRecord::Skip, ..LoadOptions::default() };
        let loaded = load(&rows, &options).unwrap();
        assert_eq!((loaded.dataset.len(), loaded.bad, loaded.left_out), (2, 4, 0));
        assert!(loaded.first_bad.unwrap().contains("chat.jsonl:2: expected `messages`"));
        assert_eq!(loaded.dataset.records[1].id, "chat-6");
        assert!(load(&rows, &LoadOptions::default()).is_err());
        let none = load(&bad, &options).unwrap_err().to_string();
        assert!(none.contains("got none: 4 are left out") && none.contains("chat.jsonl:1: expected"), "{none}");
    }
}
