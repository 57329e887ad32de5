//! NaN and infinities in JSON: Python's `json` and others write them, though JSON has none. They are read as null.

use std::borrow::Cow;

/// The text with `null` in the place of `NaN`, `Infinity` and `-Infinity` outside of strings. The text keeps its length, but for a `NaN` without
/// white space before it.
pub(super) fn without_nan(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut within = false;
    while let Some(at) = rest.find(['"', '\\', 'N', 'I', '-']) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let literal = ["NaN", "Infinity", "-Infinity"].into_iter().find(|name| !within && tail.starts_with(name));
        let length = match (literal, tail.as_bytes().first()) {
            (Some(name), _) => {
                if name == "NaN" && out.ends_with([' ', '\t']) {
                    out.pop();
                }
                out.push_str("null");
                out.extend(std::iter::repeat_n(' ', name.len().saturating_sub("null".len())));
                rest = tail.get(name.len()..).unwrap_or_default();
                continue;
            }
            (None, Some(b'\\')) => 1 + tail.chars().nth(1).map_or(0, char::len_utf8),
            (None, byte) => {
                within ^= byte == Some(&b'"');
                1
            }
        };
        let (kept, left) = tail.split_at_checked(length).unwrap_or((tail, ""));
        out.push_str(kept);
        rest = left;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn only_what_is_no_text_becomes_null() {
        let text = r#"{"NaN": NaN, "a\"NaN":[NaN,Infinity,-Infinity], "b": "NaN \\", "c":NaN, "d": -1}"#;
        let read: Value = serde_json::from_str(&without_nan(text)).unwrap();
        assert_eq!(read, json!({"NaN": null, "a\"NaN": [null, null, null], "b": "NaN \\", "c": null, "d": -1}));
        assert_eq!(without_nan("[ NaN]").len(), 6);
        assert!(matches!(without_nan("{}"), Cow::Borrowed(_)));
        assert!(serde_json::from_str::<Value>(&without_nan("[NaNs]")).is_err());
    }

    proptest! {
        /// Whatever the texts beside it are, a NaN is null and they stay.
        #[test]
        fn texts_stay(key in "[a-zNI\"\\\\ -]{0,12}", text in "(NaN|Infinity|-|\"|\\\\|ä| ){0,6}", tight in any::<bool>()) {
            let whole = json!({"k": key, "t": text, "n": "HERE"}).to_string();
            for literal in ["NaN", "Infinity", "-Infinity"] {
                let name = if tight { literal.to_string() } else { format!(" {literal} ") };
                let read: Value = serde_json::from_str(&without_nan(&whole.replace("\"HERE\"", &name))).unwrap();
                prop_assert_eq!(read, json!({"k": key, "t": text, "n": null}));
            }
        }

        #[test]
        fn any_text_is_handled(text in "(NaN|Infinity|-|\"|\\\\|ä|\\[|,| ){0,12}") {
            let _ = without_nan(&text);
        }
    }
}
