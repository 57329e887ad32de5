//! TOML into a typed value, with errors that name the key and the nearest name that exists.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// Reads a TOML document.
///
/// # Errors
/// [`Error::Config`] with the dotted key, what was expected and what came, and the nearest known name for an unknown one.
pub(super) fn document<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| explain(error, text))
}

fn explain(mut error: toml::de::Error, text: &str) -> Error {
    let line = error.span().map(|span| line_of(text, span.start));
    let mut message = error.message().trim().to_owned();
    error.set_input(None); // without the document, the error prints the path of keys that it stands at
    let shown = error.to_string();
    let path = shown.lines().find_map(|l| l.strip_prefix("in `")?.strip_suffix('`')).unwrap_or_default();
    let mut key = path.to_owned();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some((unknown, known)) = quoted.split_first() {
        let unknown = (*unknown).to_owned();
        let suggestion = nearest(&unknown, known).map(str::to_owned);
        if message.starts_with("unknown field") {
            key = if key.is_empty() { unknown.clone() } else { format!("{key}.{unknown}") };
        }
        if (message.starts_with("unknown field") || message.starts_with("unknown variant"))
            && let Some(suggestion) = suggestion
        {
            message = format!("{message}; did you mean `{suggestion}`?");
        }
        if message.starts_with("missing field") {
            key = if key.is_empty() { unknown } else { format!("{key}.{unknown}") };
        }
    }
    if let Some(line) = line {
        message = format!("line {line}: {message}");
    }
    if key.is_empty() {
        key = "(document)".into();
    }
    Error::config(key, message)
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// The name nearest to `unknown` by edit distance, if it is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (edit_distance(unknown, name), *name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(unknown.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cb, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(ca != *cb)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        learning_rate: f64,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Deserialize, Default)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        OneTaskPerClient,
        Iid,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        training: Inner,
    }

    fn error(text: &str) -> (String, String) {
        match document::<Outer>(text) {
            Err(Error::Config { key, message, .. }) => (key, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_name() {
        let (key, message) = error("\n[training]\nlearning_rte = 1.0\n");
        assert_eq!(key, "training.learning_rte");
        assert!(message.starts_with("line 3: unknown field"), "{message}");
        assert!(message.ends_with("did you mean `learning_rate`?"), "{message}");
        let (key, message) = error("[trainig]\nlearning_rate = 1.0\n");
        assert_eq!(key, "trainig");
        assert!(message.contains("`training`"), "{message}");
    }

    #[test]
    fn a_far_name_gets_no_suggestion() {
        let (_, message) = error("[training]\nlearning_rate = 1.0\nzzz = 1\n");
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn wrong_kinds_values_and_missing_keys_are_named() {
        let (key, message) = error("[training]\nlearning_rate = \"fast\"\n");
        assert_eq!(key, "training.learning_rate");
        assert!(message.contains("expected f64"), "{message}");
        let (key, message) = error("[training]\nlearning_rate = 1.0\nkind = \"idd\"\n");
        assert_eq!(key, "training.kind");
        assert!(message.ends_with("did you mean `iid`?"), "{message}");
        let (key, _) = error("[training]\nkind = \"iid\"\n");
        assert_eq!(key, "training.learning_rate");
        let (key, message) = error("[training\n");
        assert_eq!(key, "(document)");
        assert!(message.starts_with("line 1: "), "{message}");
    }

    #[test]
    fn distances_are_levenshtein() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("fedhds", "fedhds"), 0);
    }
}
