//! Turns of a conversation, as instruction and response.

use super::source::describe;
use serde_json::{Map, Value};

/// A conversation as a record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The turns before the answer that are not blank, with an empty line between them.
    pub instruction: String,
    /// The assistant's last turn. Blank where it is.
    pub response: String,
    /// The field of that turn, `messages[1]`.
    pub field: String,
}

/// What is wrong with a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnFault {
    /// The field, empty where all of it is meant.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

type Result<T> = std::result::Result<T, TurnFault>;

fn fault<T>(field: impl Into<String>, expected: &str, got: impl Into<String>) -> Result<T> {
    Err(TurnFault { field: field.into(), expected: expected.into(), got: got.into() })
}

/// Where the turns stand, the likelier name first.
pub(super) const TURNS: [&str; 2] = ["messages", "conversations"];
/// What those are called who answer, in small letters: by OpenAI, ShareGPT and others. A call of a function is an answer too.
const ANSWERERS: [&str; 9] =
    ["assistant", "gpt", "model", "bot", "chatbot", "chatgpt", "bing", "bard", "function_call"];
/// The kinds of parts that are text.
const TEXT: [&str; 3] = ["text", "input_text", "output_text"];

/// The turns of an object, with the name of their field.
pub(super) fn turns(object: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    let fields = || TURNS.into_iter().filter_map(|name| Some((name, object.get(name)?)));
    fields().find(|(_, turns)| turns.is_array()).or_else(|| fields().next())
}

/// What an object with turns asks and is answered: `{"role": ..., "content": ...}` under `messages`, or `{"from": ..., "value": ...}` under
/// `conversations`, in either's spelling. The assistant's last turn is the response, and the turns before it that are not blank are the instruction,
/// with an empty line between them; what comes after it is left out. A content in parts is the text of its parts, one behind the other.
///
/// # Errors
/// [`TurnFault`] where there is no answer, for another form, and for what is no text: images, sounds, calls of tools.
pub fn conversation(object: &Map<String, Value>) -> Result<Conversation> {
    let expected = "`messages` (or `conversations`) with an assistant's turn behind another";
    let Some((name, found)) = turns(object) else { return fault("", expected, "neither") };
    let Value::Array(turns) = found else { return fault("", expected, describe(found)) };
    let mut said = Vec::with_capacity(turns.len());
    for (i, turn) in turns.iter().enumerate() {
        said.push(said_in(turn, &format!("{name}[{i}]"))?);
    }
    let Some(last) = said.iter().rposition(|(role, _)| ANSWERERS.contains(&role.as_str())) else {
        let mut roles: Vec<String> = Vec::new();
        for (role, _) in said {
            let role = format!("`{role}`");
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let got = if roles.is_empty() { "none".into() } else { format!("turns of {} alone", roles.join(", ")) };
        return fault("", expected, got);
    };
    if last == 0 {
        return fault("", expected, "none behind another");
    }
    let response = said.swap_remove(last).1;
    said.truncate(last);
    let asked: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).filter(|text| !text.trim().is_empty()).collect();
    if asked.is_empty() {
        return fault(name, "text before the assistant's last turn", "none");
    }
    Ok(Conversation { instruction: asked.join("\n\n"), response, field: format!("{name}[{last}]") })
}

/// Role, in small letters, and text of a turn. A turn may be without text.
fn said_in(turn: &Value, place: &str) -> Result<(String, String)> {
    let Value::Object(turn) = turn else { return fault(place, "an object", describe(turn)) };
    // Tables have every field in every row, most of them null.
    let first = |names: [&'static str; 2]| {
        let there = |name: &&str| turn.get(*name).is_some_and(|value| !value.is_null());
        names
            .into_iter()
            .find(there)
            .or_else(|| names.into_iter().find(|name| turn.contains_key(*name)))
            .unwrap_or(names[0])
    };
    let (who, what) = (first(["role", "from"]), first(["content", "value"]));
    let role = match turn.get(who) {
        Some(Value::String(role)) if !role.trim().is_empty() => role.trim().to_lowercase(),
        other => return fault(format!("{place}.{who}"), "a role", describe(other.unwrap_or(&Value::Null))),
    };
    for call in ["tool_calls", "function_call"] {
        let empty = match turn.get(call) {
            None | Some(Value::Null) => true,
            Some(Value::Array(calls)) => calls.is_empty(),
            Some(_) => false,
        };
        if !empty {
            let got = "calls of tools, which cannot be trained on here";
            return fault(format!("{place}.{call}"), "a turn of text alone", got);
        }
    }
    let text = match turn.get(what) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for part in parts {
                match text_of(part) {
                    Ok(more) => text.push_str(more),
                    Err(got) => return fault(format!("{place}.{what}"), "text, or a list of parts with text", got),
                }
            }
            text
        }
        Some(other) => {
            return fault(format!("{place}.{what}"), "text, or a list of parts with text", describe(other));
        }
    };
    Ok((role, text))
}

/// The text of a part, or what it is in its place.
fn text_of(part: &Value) -> std::result::Result<&str, String> {
    let Value::Object(fields) = part else {
        return part.as_str().ok_or_else(|| format!("{} among the parts", describe(part)));
    };
    match (fields.get("type"), fields.get("text")) {
        (Some(Value::String(kind)), _) if !TEXT.contains(&kind.as_str()) => Err(format!("a part of the kind `{kind}`")),
        (_, Some(Value::String(text))) => Ok(text),
        _ => Err("a part without text".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(object: Value) -> Result<Conversation> {
        conversation(object.as_object().unwrap())
    }

    /// How one text can be written as the content of a turn.
    fn written(text: &str, how: usize) -> Value {
        let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        let (one, two) = text.split_at(half);
        match how % 4 {
            0 => json!(text),
            1 => json!([{"type": "text", "text": one}, {"type": "text", "text": two}]),
            2 => json!([{"text": text}]),
            _ => json!([one, {"type": "output_text", "text": two, "image": null}]),
        }
    }

    /// A role as people write it.
    fn called(role: &str, how: usize) -> String {
        match how % 3 {
            0 => role.to_string(),
            1 => role.to_uppercase(),
            _ => format!(" {}{} ", role[..1].to_uppercase(), &role[1..]),
        }
    }

    proptest! {
        /// Whatever the spelling, the texts are those that stand there.
        #[test]
        fn no_spelling_loses_text(
            turns in prop::collection::vec((0..6_usize, "[a-z äé\n]{0,8}", 0..4_usize, 0..3_usize), 1..6),
            answer in "[a-z]{1,5}", answerer in 0..8_usize, how in (0..4_usize, 0..3_usize), sharegpt in any::<bool>(),
        ) {
            let roles = ["user", "human", "system", "tool", "function", "observation"];
            let (who, what, field) = if sharegpt { ("from", "value", "conversations") } else { ("role", "content", "messages") };
            let mut all: Vec<Value> = turns
                .iter()
                .map(|(role, text, how, case)| json!({who: called(roles[*role], *case), what: written(text, *how)}))
                .collect();
            all.push(json!({who: called(ANSWERERS[answerer], how.1), what: written(&answer, how.0)}));
            all.push(json!({who: "user", what: "thanks"}));
            let told: Vec<&str> = turns.iter().map(|turn| turn.1.as_str()).filter(|text| !text.trim().is_empty()).collect();
            match read(json!({field: all})) {
                Ok(found) => {
                    prop_assert_eq!(found.instruction, told.join("\n\n"));
                    prop_assert_eq!(found.response, answer);
                }
                Err(fault) => prop_assert!(told.is_empty() && fault.expected.contains("text before"), "{:?}", fault),
            }
        }

        /// What is no text is never left out in silence.
        #[test]
        fn what_is_no_text_is_named(kind in 0..7_usize, at in 0..3_usize) {
            let (broken, word) = [
                (json!({"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]}), "image_url"),
                (json!({"content": [{"type": "image", "text": "a"}]}), "image"),
                (json!({"content": [{"type": "input_audio", "input_audio": {}}]}), "input_audio"),
                (json!({"content": [{"type": "text", "text": null}]}), "without text"),
                (json!({"content": [["a"]]}), "a list among"),
                (json!({"content": "a", "tool_calls": [{"function": {"name": "f"}}]}), "tools"),
                (json!({"content": null, "function_call": {"name": "f"}}), "tools"),
            ][kind].clone();
            let mut turns = ["system", "user", "assistant"].map(|role| json!({"role": role, "content": "a"}));
            for (key, value) in broken.as_object().unwrap() {
                turns[at][key] = value.clone();
            }
            let fault = read(json!({"messages": turns})).unwrap_err();
            prop_assert!(fault.got.contains(word) && fault.field.starts_with(&format!("messages[{at}].")), "{:?}", fault);
        }
    }

    #[test]
    fn fields_that_are_null_are_none() {
        let turn = |role: &str, text: &str| json!({"role": null, "from": role, "content": null, "value": text, "tool_calls": []});
        let found = read(json!({"messages": null, "conversations": [turn("human", "a"), turn("gpt", "b")]})).unwrap();
        assert_eq!((found.instruction.as_str(), found.response.as_str()), ("a", "b"));
        assert_eq!(found.field, "conversations[1]");
    }

    #[test]
    fn who_spoke_in_the_place_of_an_assistant_is_said() {
        let turns = json!([{"role": "user", "content": "a"}, {"role": "Oracle", "content": "b"}, {"role": "user", "content": "c"}]);
        let fault = read(json!({"messages": turns})).unwrap_err();
        assert_eq!(fault.got, "turns of `user`, `oracle` alone");
    }
}
