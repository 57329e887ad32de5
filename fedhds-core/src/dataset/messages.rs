//! Conversations, in the spelling of OpenAI (`messages`) or of ShareGPT (`conversations`).

use super::fields::{Fields, Maker};
use super::loaded::Collected;
use super::objects::{self, Object};
use super::options::LoadOptions;
use super::reader::{Reader, Sample};
use super::source::{self, Source, describe};
use super::values::BlankResponse;
use crate::error::Result;
use crate::types::{Control, Record};
use serde_json::Value;
use std::path::Path;

/// JSON lines or a JSON list of objects with turns: `{"role": ..., "content": ...}` under `messages`, or
/// `{"from": ..., "value": ...}` under `conversations`. The assistant's last turn is the response, and the turns before it
/// that are not blank are the instruction, with an empty line between them; what comes after it is left out.
pub(super) struct Messages;

/// Where the turns stand, the likelier name first.
const TURNS: [&str; 2] = ["messages", "conversations"];
/// What those are called who answer.
const ASSISTANT: [&str; 3] = ["assistant", "gpt", "model"];

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
        let turns = TURNS.iter().any(|name| first.get(*name).is_some_and(Value::is_array));
        Ok(turns.then(|| sample.given.clone()))
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
            let record = record(object, &mut maker, options.blank_response)?;
            records.take(record, Some(object.at), |_| object.text());
            Ok(())
        })
    }
}

fn record(object: &Object<'_>, maker: &mut Maker<'_>, blank: BlankResponse) -> Result<Option<Record>> {
    let place = object.place();
    let expected = "expected `messages` (or `conversations`) with an assistant's turn behind another";
    let Some(name) = TURNS.into_iter().find(|name| object.map.contains_key(*name)) else {
        return Err(place.error("", format!("{expected}, got neither")));
    };
    let turns = match object.map.get(name) {
        Some(Value::Array(turns)) => turns,
        Some(other) => return Err(place.error("", format!("{expected}, got {}", describe(other)))),
        None => &Vec::new(),
    };
    let mut said = Vec::with_capacity(turns.len());
    for (i, turn) in turns.iter().enumerate() {
        said.push(text_of(turn).map_err(|(field, expected)| match &field {
            Some(field) => place.expected(&format!("{name}[{i}].{field}"), expected, &turn[field.as_str()]),
            None => place.expected(&format!("{name}[{i}]"), expected, turn),
        })?);
    }
    let last = said.iter().rposition(|(role, _)| ASSISTANT.contains(&role.as_str())).filter(|last| *last > 0);
    let Some((before, answer)) = last.and_then(|last| Some((said.get(..last)?, said.get(last)?))) else {
        return Err(place.error("", format!("{expected}, got none")));
    };
    if answer.1.trim().is_empty() {
        return match blank {
            BlankResponse::Skip => Ok(None),
            BlankResponse::Error => {
                let field = format!("{name}[{}]", before.len());
                Err(place.error(&field, "expected a response, got an empty string"))
            }
        };
    }
    let asked: Vec<&str> = before.iter().map(|(_, text)| text.as_str()).filter(|t| !t.trim().is_empty()).collect();
    if asked.is_empty() {
        return Err(place.error(name, "expected text before the assistant's last turn, got none"));
    }
    maker.finish(object, asked.join("\n\n"), String::new(), vec![answer.1.clone()]).map(Some)
}

/// Role and text of a turn, or the field that is wrong and what was expected in it. A turn may be without text (a call of a
/// tool); OpenAI's list of parts is the text of its parts.
fn text_of(turn: &Value) -> Result<(String, String), (Option<String>, &'static str)> {
    let turn = turn.as_object().ok_or((None, "an object"))?;
    let first = |names: [&'static str; 2]| names.into_iter().find(|name| turn.contains_key(*name)).unwrap_or(names[0]);
    let (role, content) = (first(["role", "from"]), first(["content", "value"]));
    let Some(Value::String(who)) = turn.get(role) else { return Err((Some(role.into()), "a role")) };
    let text = match turn.get(content) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) if parts.iter().all(|part| part.get("text").is_some_and(Value::is_string)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
        }
        Some(_) => return Err((Some(content.into()), "text, or a list of parts with text")),
    };
    Ok((who.clone(), text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{Format, Loaded};
    use super::*;
    use serde_json::json;

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
}
