//! Every fault is found at its key, whatever stands around it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::error::Position;
use serde::Deserialize;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    learning_rate: f64,
    #[serde(default)]
    kind: Split,
    #[serde(default)]
    steps: Option<u32>,
}

#[derive(Debug, PartialEq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Split {
    #[default]
    OneTaskPerClient,
    Iid,
}

/// A choice that is read into memory before its kind is known.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Choice {
    Inline {
        clients: usize,
        #[serde(default)]
        alpha: f64,
    },
    Boxed(Boxed),
}

#[derive(Debug, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Boxed {
    perplexity: f64,
    theta: f64,
    kernel: Kernel,
    layers: Vec<u32>,
}

#[derive(Debug, PartialEq, Deserialize, Default)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kernel {
    #[default]
    Linear,
    Poly {
        #[serde(default)]
        degree: u32,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Amount {
    All,
    Count(usize),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    training: Training,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    amount: Option<Amount>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    name: String,
}

/// Key, message and place of the error in a document of these lines after a sound `[training]`.
fn fault(lines: &str) -> (String, String, Option<Position>) {
    fault_of::<Whole>(&format!("{lines}\n[training]\nlearning_rate = 1.0\n"))
}

fn fault_of<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, String, Option<Position>) {
    match from_toml::<T>("(document)", text) {
        Err(Error::Config { key, message, position, file: None }) => (key, message, position),
        other => panic!("{text}\n{other:?}"),
    }
}

fn at(line: usize, column: usize) -> Option<Position> {
    Some(Position { line, column })
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_name() {
    let (key, message, place) = fault_of::<Whole>("\n[training]\n  learning_rte = 1.0\n");
    assert_eq!((key.as_str(), place), ("training.learning_rte", at(3, 3)));
    assert!(message.starts_with("unknown field"), "{message}");
    assert!(message.ends_with("did you mean `learning_rate`?"), "{message}");
    let (key, message, place) = fault_of::<Whole>("[trainig]\nlearning_rate = 1.0\n");
    assert_eq!((key.as_str(), place), ("trainig", at(1, 2)));
    assert!(message.contains("`training`"), "{message}");
}

#[test]
fn a_far_name_gets_no_suggestion() {
    let (_, message, _) = fault_of::<Whole>("[training]\nlearning_rate = 1.0\nzzz = 1\n");
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn wrong_kinds_values_and_missing_keys_are_named() {
    let (key, message, place) = fault_of::<Whole>("[training]\nlearning_rate = \"fast\"\n");
    assert_eq!((key.as_str(), place), ("training.learning_rate", at(2, 1)));
    assert_eq!(message, "expected a number, got the text `fast`");
    let (key, message, _) = fault_of::<Whole>("[training]\nlearning_rate = 1.0\nkind = \"idd\"\n");
    assert_eq!(key, "training.kind");
    assert!(message.ends_with("did you mean `iid`?"), "{message}");
    let (key, message, place) = fault_of::<Whole>("[training]\nkind = \"iid\"\n");
    assert_eq!((key.as_str(), place), ("training.learning_rate", at(1, 2)), "the table that lacks it");
    assert!(message.contains("must be given"), "{message}");
    let (key, message, place) = fault_of::<Whole>("[training\n");
    assert_eq!((key.as_str(), place.map(|p| p.line)), ("(document)", Some(1)));
    assert!(message.starts_with("expected TOML: "), "{message}");
    let (key, _, place) = fault_of::<Whole>("name = \"x\"");
    assert_eq!((key.as_str(), place), ("training", None), "nothing of it is in the text");
}

#[test]
fn lists_and_tables_lead_to_the_key() {
    for (lines, key, place) in [
        ("choices = [{ kind = \"boxed\" }, 3]", "choices[1]", at(1, 32)),
        ("choices = { kind = \"boxed\" }", "choices", at(1, 1)),
        ("choices = \"boxed\"", "choices", at(1, 1)),
        ("training = []", "training", at(1, 1)),
        ("training = [1.0]", "training", at(1, 1)),
        ("name = { a = 1 }", "name", at(1, 1)),
        ("name = 1979-05-27", "", None),
        ("amount = { count = -1 }", "amount.count", at(1, 12)),
        ("amount = { count = 1, all = 2 }", "amount", at(1, 1)),
        ("amount = {}", "amount", at(1, 1)),
        ("amount = { cuont = 1 }", "amount.cuont", at(1, 12)),
        ("amount = [\"all\"]", "amount", at(1, 1)),
        ("amount = \"count\"", "amount.count", at(1, 1)),
        ("amount = 3", "amount", at(1, 1)),
    ] {
        let text = if lines.starts_with("training") {
            lines.into()
        } else {
            format!("{lines}\n[training]\nlearning_rate = 1.0\n")
        };
        if key.is_empty() {
            assert_eq!(from_toml::<Whole>("x", &text).unwrap().name, "1979-05-27");
            continue;
        }
        let (got, message, found) = fault_of::<Whole>(&text);
        assert_eq!((got.as_str(), found), (key, place), "{lines}: {message}");
    }
}

#[test]
fn no_path_ends_at_a_tagged_enum() {
    for (choice, key, word) in [
        ("{ kind = \"boxed\", perplexty = 3 }", "choices[1].perplexty", "did you mean `perplexity`?"),
        ("{ kind = \"boxed\", perplexity = \"3\", theta = \"x\" }", "choices[1].perplexity", "got the text `3`"),
        ("{ theta = \"3\", perplexity = 3, kind = \"boxed\" }", "choices[1].theta", "expected a number"),
        ("{ perplexity = [3], kind = \"boxed\" }", "choices[1].perplexity", "got a list"),
        ("{ kind = \"boxed\", perplexity = { a = 1 } }", "choices[1].perplexity", "got a table"),
        ("{ kind = \"boxed\", kernel = { poly = { degre = 2 } } }", "choices[1].kernel.poly.degre", "`degree`"),
        ("{ kind = \"boxed\", kernel = { poly = { degree = -2 } } }", "choices[1].kernel.poly.degree", "`-2`"),
        ("{ kind = \"boxed\", kernel = { pol = { degree = 2 } } }", "choices[1].kernel.pol", "did you mean `poly`?"),
        ("{ kind = \"boxed\", kernel = \"liner\" }", "choices[1].kernel", "did you mean `linear`?"),
        (
            "{ kind = \"boxed\", layers = [1, 2, \"3\", 4] }",
            "choices[1].layers[2]",
            "a whole number from 0 to 4294967295",
        ),
        ("{ kind = \"boxed\", layers = [1, 5000000000] }", "choices[1].layers[1]", "got `5000000000`"),
        ("{ kind = \"boxd\", theta = 1 }", "choices[1].kind", "did you mean `boxed`?"),
        ("{ kind = 3, theta = 1 }", "choices[1].kind", ""),
        ("{ theta = 1 }", "choices[1].kind", "must be given"),
        ("{ kind = \"inline\" }", "choices[1].clients", "must be given"),
        ("{ kind = \"inline\", alpha = 2 }", "choices[1].clients", "must be given"),
        ("{ kind = \"inline\", clients = \"2\", alpha = 2 }", "choices[1].clients", "got the text `2`"),
        ("{ kind = \"inline\", clients = 2.5 }", "choices[1].clients", "got `2.5`"),
        ("{ kind = \"inline\", clients = 2, alhpa = 2 }", "choices[1].alhpa", "did you mean `alpha`?"),
    ] {
        let (got, message, place) = fault(&format!("choices = [{{ kind = \"boxed\" }}, {choice}]"));
        assert!(got == key && message.contains(word), "{choice}: `{got}`: {message}");
        assert_eq!(place.map(|p| p.line), Some(1), "{choice}");
    }
}

#[test]
fn numbers_keep_their_value_or_are_named() {
    let seed =
        |text: &str| from_toml::<Whole>("", &format!("seed = {text}\n[training]\nlearning_rate = 1")).map(|w| w.seed);
    assert_eq!(seed("18446744073709551615").unwrap(), u64::MAX);
    assert_eq!(seed("0xff").unwrap(), 255);
    for (text, got) in [
        ("-1", "`-1`"),
        ("18446744073709551616", "`18446744073709551616`"),
        ("100000000000000000000000000000000000000000", "`1e41`"),
        ("1.5", "`1.5`"),
        ("nan", "`nan`"),
        ("-inf", "`-inf`"),
        ("1e999", "`inf`"),
        ("true", "`true`"),
    ] {
        let error = seed(text).unwrap_err().to_string();
        assert!(error.contains("`seed` (line 1, column 1)") && error.contains(&format!("got {got}")), "{error}");
    }
    let json = |text: &str| from_json::<Training>("training", text);
    assert_eq!(json(r#"{"learning_rate": 1, "steps": null}"#).unwrap().steps, None);
    for (text, key, word) in [
        (r#"{"learning_rate": null}"#, "learning_rate", "expected a number, got null"),
        (r#"{"learning_rate": 1, "steps": -1}"#, "steps", "`-1`"),
        (r#"{"learning_rate": 1, "steps": 4294967296}"#, "steps", "from 0 to 4294967295"),
        (r#"{"learning_rate": NaN}"#, "training", "expected JSON"),
        (r#"{"learning_rate": 1e999}"#, "training", "expected JSON"),
        (r#"{"learning_rate": 1, "learning_rate": 2}"#, "training", "`learning_rate` twice"),
        (r#"[1.0]"#, "training", "expected a table, got a list"),
        ("null", "training", "expected a table, got null"),
        ("", "training", "expected JSON"),
    ] {
        match json(text) {
            Err(Error::Config { key: got, message, position: None, .. }) => {
                assert!(got == key && message.contains(word), "{text}: `{got}`: {message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn text_is_a_name_json_or_toml() {
    let split = |text: &str| from_text::<Split>("split", text);
    assert_eq!(split(" iid\n").unwrap(), Split::Iid);
    assert_eq!(split("\"iid\"").unwrap(), Split::Iid);
    let error = split("idd").unwrap_err().to_string();
    assert!(error.contains("`split`") && error.contains("did you mean `iid`?"), "{error}");
    assert_eq!(from_name::<Split>("split", "iid").unwrap(), Split::Iid);
    assert!(from_name::<Split>("split", "\"").is_err());
    for text in ["learning_rate = 2.0", "\"learning_rate\" = 2.0", " {\"learning_rate\": 2}"] {
        assert_eq!(from_text::<Training>("training", text).unwrap().learning_rate, 2.0, "{text}");
    }
    assert!(from_text::<Training>("training", "").unwrap_err().to_string().contains("`learning_rate`"));
    assert!(from_text::<Training>("training", "3").unwrap_err().to_string().contains("`training`"));
    assert_eq!(to_json("x", &vec![1, 2]).unwrap(), "[1,2]");
}

#[test]
fn errors_of_a_part_are_errors_of_the_whole() {
    let text = "[data]\nfirst = 1\nlist = [\n  1,\n  { \"ä\" = 2, b = 3 },\n]\n";
    let place = |key: &str| match located(Error::config(key, ""), text) {
        Error::Config { position, .. } => position,
        _ => None,
    };
    assert_eq!(place("data"), at(1, 2));
    assert_eq!(place("data.first"), at(2, 1));
    assert_eq!(place("data.list[1].b"), at(5, 14));
    assert_eq!(place("data.list[1].c"), at(5, 3), "the table that lacks it");
    assert_eq!(place("data.list[7]"), at(3, 1));
    assert_eq!(place("out"), None);
    assert_eq!(place(""), None);
    let inner = Error::parameter("alpha", "above 0", -1).under("data.partition");
    assert_eq!(inner.to_string(), "configuration: `data.partition.alpha`: expected above 0, got -1");
    assert_eq!(Error::config("preset", "x").under("methods[0]").to_string(), "configuration: `methods[0].preset`: x");
    assert_eq!(Error::config("preset", "x").under("").to_string(), "configuration: `preset`: x");
    assert!(matches!(Error::Cancelled.under("x"), Error::Cancelled));
}
