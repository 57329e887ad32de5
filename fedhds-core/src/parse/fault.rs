//! What can be wrong with a setting, in parts rather than as a text.

use super::names;
use serde::de::{Expected, Unexpected};
use std::fmt;

/// What serde met: the error of [`Value`](super::Value) as a deserializer. One pointer, since code for it stands at every field of every type.
#[derive(Debug)]
pub(crate) struct Met(pub(super) Box<Failure>);

/// A step from a value into what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// What is wrong, and where in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// The steps that lead to it, the last one first.
    pub(super) path: Vec<Step>,
    pub(super) fault: Fault,
}

impl Met {
    pub(super) fn is_unknown_name(&self) -> bool {
        matches!(self.0.fault, Fault::Name { .. })
    }

    /// Says which step led to where it was met.
    #[cold]
    #[inline(never)]
    pub(super) fn under(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// A key that no setting has.
    Key { name: String, known: &'static [&'static str] },
    /// A name that is none of a setting's.
    Name { name: String, known: &'static [&'static str] },
    /// A key that must be there and is not.
    Missing(&'static str),
    /// A value of another kind, or out of its type's range.
    Wrong { expected: String, got: String },
    /// What a type's own reading says.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Key { name, known } => f.write_str(&unknown("field", name, known)),
            Fault::Name { name, known } => f.write_str(&unknown("variant", name, known)),
            Fault::Missing(_) => f.write_str("expected a value, got none: this key must be given"),
            Fault::Wrong { expected, got } => write!(f, "expected {expected}, got {got}"),
            Fault::Other(message) => f.write_str(message),
        }
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let expected = match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    };
    format!("unknown {what} `{name}`, expected {expected}{}", names::meant(name, known))
}

impl From<Fault> for Met {
    fn from(fault: Fault) -> Self {
        Met(Box::new(Failure { path: Vec::new(), fault }))
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fault.fmt(f)
    }
}

impl std::error::Error for Met {}

impl serde::de::Error for Met {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::Other(message.to_string()).into()
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::Wrong { expected: in_words(&expected.to_string()), got: shown(got) }.into()
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(got, expected)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Fault::Name { name: name.to_owned(), known }.into()
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Fault::Key { name: name.to_owned(), known }.into()
    }

    fn missing_field(name: &'static str) -> Self {
        Fault::Missing(name).into()
    }
}

/// What serde expects, by Rust's names of types, in words.
fn in_words(expected: &str) -> String {
    let word = match expected {
        "f32" | "f64" => "a number",
        "u64" | "usize" => "a whole number of at least 0",
        "u32" => "a whole number from 0 to 4294967295",
        "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        "newtype variant" | "struct variant" => "the name with its value, as in { name = value }",
        "unit" | "unit variant" => "the name alone",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") => "a name",
        other if other.starts_with("internally tagged enum ") => "a table with a `kind`",
        other => other,
    };
    word.to_owned()
}

fn shown(got: Unexpected<'_>) -> String {
    match got {
        Unexpected::Bool(b) => format!("`{b}`"),
        Unexpected::Unsigned(i) => format!("`{i}`"),
        Unexpected::Signed(i) => format!("`{i}`"),
        // As TOML writes it.
        Unexpected::Float(value) if value.is_nan() => "`nan`".into(),
        Unexpected::Float(value) => format!("`{value:?}`"),
        Unexpected::Str(text) => format!("the text `{text}`"),
        Unexpected::Unit => "null".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::UnitVariant => "the name alone".into(),
        Unexpected::NewtypeVariant | Unexpected::StructVariant | Unexpected::TupleVariant => {
            "the name with a value".into()
        }
        other => other.to_string(),
    }
}
