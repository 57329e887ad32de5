//! The one error type of the library.
//!
//! Every variant says what was expected, what came, and where: a file and line, a row and column, a key, a tensor.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What went wrong, with enough to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter outside its documented range.
    #[error("{name}: expected {expected}, got {got}")]
    Parameter {
        /// The parameter's name as its documentation spells it.
        name: String,
        /// The range or kind that is accepted.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// An argument whose shape, length or content does not fit.
    #[error("{what}: expected {expected}, got {got}")]
    Input {
        /// Which input, for example `features`.
        what: String,
        /// What is accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// A value that is NaN or infinite where finite numbers are needed.
    #[error("{what}: expected finite values, got {value} at row {row}, column {column}")]
    NotFinite {
        /// Which matrix.
        what: String,
        /// Row of the first such value, from 0.
        row: usize,
        /// Column of the first such value, from 0.
        column: usize,
        /// The value itself.
        value: f32,
    },
    /// A record or line of a data set that cannot be used.
    #[error("{}{}{}: {message}", file.display(), line.map(|l| format!(":{l}")).unwrap_or_default(), field.as_ref().map(|f| format!(": field `{f}`")).unwrap_or_default())]
    Data {
        /// The file that was read.
        file: PathBuf,
        /// The line, from 1, or the record's number in formats without lines; none where the whole file is meant.
        line: Option<usize>,
        /// The field (or JSON path) that is wrong.
        field: Option<String>,
        /// What was expected and what came.
        message: String,
    },
    /// A configuration that cannot be run.
    #[error("configuration{}: `{key}`{}: {message}", file.as_ref().map(|f| format!(" {}", f.display())).unwrap_or_default(), position.map(|p| format!(" ({p})")).unwrap_or_default())]
    Config {
        /// The file, where there is one.
        file: Option<PathBuf>,
        /// Where the key stands, or the table that lacks it; known for TOML text.
        position: Option<Position>,
        /// The key, dotted.
        key: String,
        /// What was expected and what came.
        message: String,
    },
    /// A model file or folder that cannot be loaded.
    #[error("model {}: {what}: {message}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// The tensor, key or architecture that is meant.
        what: String,
        /// What was expected and what came.
        message: String,
    },
    /// An adapter that does not fit the model, or two adapters that do not fit each other.
    #[error("adapter: `{name}`: expected {expected}, got {got}")]
    Adapter {
        /// The tensor or setting that is meant.
        name: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A message that cannot be read, or that comes at the wrong time.
    #[error("protocol: {what}: expected {expected}, got {got}")]
    Protocol {
        /// The message or field.
        what: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A stage, possibly the user's own, that returned something unusable or failed.
    #[error("stage `{stage}`: {message}")]
    Stage {
        /// The stage's name.
        stage: String,
        /// What was expected of it and what came.
        message: String,
    },
    /// A device that is not there or cannot be used.
    #[error("device `{device}`: {message}")]
    Device {
        /// The device as it was asked for.
        device: String,
        /// Why it cannot be used.
        message: String,
    },
    /// A checkpoint that does not belong to this run or is damaged.
    #[error("checkpoint {}: {message}", path.display())]
    Checkpoint {
        /// The checkpoint's file or folder.
        path: PathBuf,
        /// What was expected and what came.
        message: String,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The work was cancelled through its [`Control`](crate::types::Control); what was finished is kept.
    #[error("cancelled")]
    Cancelled,
}

// What makes an error is not inlined: hundreds of places make one, and selection alone has to stay small.
impl Error {
    /// A [`Error::Parameter`] from anything printable.
    #[cold]
    #[inline(never)]
    pub fn parameter(name: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Parameter { name: name.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A [`Error::Parameter`] for a name that is none of `known`: it lists them, and proposes the nearest where one is near.
    pub fn unknown_name<'a>(parameter: &str, known: impl IntoIterator<Item = &'a str>, got: &str) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let listed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let got = match nearest(got, &known) {
            Some(name) => format!("`{got}`; did you mean `{name}`?"),
            None => format!("`{got}`"),
        };
        Error::parameter(parameter, format!("one of {listed}"), got)
    }

    /// A [`Error::Input`] from anything printable.
    #[cold]
    #[inline(never)]
    pub fn input(what: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Input { what: what.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A [`Error::Io`] with its path.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A [`Error::Model`].
    pub fn model(path: impl AsRef<Path>, what: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Model { path: path.as_ref().to_path_buf(), what: what.into(), message: message.into() }
    }

    /// A [`Error::Adapter`].
    #[cold]
    #[inline(never)]
    pub fn adapter(name: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Adapter { name: name.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A [`Error::Protocol`].
    #[cold]
    #[inline(never)]
    pub fn protocol(what: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Protocol { what: what.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A [`Error::Stage`].
    #[cold]
    #[inline(never)]
    pub fn stage(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Stage { stage: stage.into(), message: message.into() }
    }

    /// A [`Error::Config`] without a file; [`Error::in_file`] adds it.
    #[cold]
    #[inline(never)]
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config { file: None, position: None, key: key.into(), message: message.into() }
    }

    /// Says which client it came from: the part of the message that tells where begins with it.
    #[must_use]
    pub fn of_client(mut self, client: u32) -> Self {
        let prefix = format!("client {client}: ");
        let place = match &mut self {
            Error::Protocol { what, .. } | Error::Input { what, .. } | Error::NotFinite { what, .. } => what,
            Error::Adapter { name, .. } | Error::Parameter { name, .. } => name,
            Error::Stage { message, .. } => message,
            _ => return self,
        };
        if !place.starts_with(&prefix) {
            place.insert_str(0, &prefix);
        }
        self
    }

    /// What it says, each part bounded and on one line: what a client sent may be in it, and logs, reports and terminals repeat it.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        let parts: Vec<&mut String> = match &mut self {
            Error::Protocol { what, expected, got } | Error::Input { what, expected, got } => vec![what, expected, got],
            Error::Adapter { name, expected, got } | Error::Parameter { name, expected, got } => {
                vec![name, expected, got]
            }
            Error::Stage { stage, message } => vec![stage, message],
            Error::NotFinite { what, .. } => vec![what],
            _ => Vec::new(),
        };
        parts.into_iter().for_each(|part| *part = plain_text(part, MOST_OF_A_PART));
        self
    }

    /// Names the configuration file in a [`Error::Config`]; leaves every other error as it is.
    #[must_use]
    pub fn in_file(self, path: impl AsRef<Path>) -> Self {
        match self {
            Error::Config { file: None, position, key, message } => {
                Error::Config { file: Some(path.as_ref().to_path_buf()), position, key, message }
            }
            other => other,
        }
    }

    /// The error of a part of a configuration, as one of the whole: puts `key`, where the part stands, before the key of an
    /// [`Error::Config`] and the name of an [`Error::Parameter`], which becomes one; leaves every other error as it is.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        let within = |inner: String| if key.is_empty() { inner } else { format!("{key}.{inner}") };
        match self {
            Error::Config { file, position, key, message } => {
                Error::Config { file, position, key: within(key), message }
            }
            Error::Parameter { name, expected, got } => {
                Error::config(within(name), format!("expected {expected}, got {got}"))
            }
            other => other,
        }
    }
}

/// The longest part of a [bounded](Error::bounded) error, in bytes.
const MOST_OF_A_PART: usize = 400;

/// A text of somebody else's, of so many bytes at most and on one line. What a terminal would obey, or hide, is a space: control characters,
/// separators of lines, marks that turn or join what is written.
pub(crate) fn plain_text(text: &str, most: usize) -> String {
    let obeyed = |c: char| {
        let marks =
            ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{feff}'..='\u{feff}'];
        c.is_control() || marks.iter().any(|range| range.contains(&c))
    };
    let mut plain = String::new();
    for c in text.chars().map(|c| if obeyed(c) { ' ' } else { c }) {
        if plain.len() + c.len_utf8() > most {
            plain.push_str(" ...");
            break;
        }
        plain.push(c);
    }
    plain
}

/// The name nearest to `unknown`, if it is near enough to be a slip of the hand: capitals and hyphens do not count.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = unknown.to_lowercase().replace(['-', ' '], "_");
    let distance = |name: &str| strsim::osa_distance(&plain, name);
    let near = |name: &str| distance(name) <= name.chars().count().max(plain.chars().count()).div_ceil(3);
    known.iter().copied().filter(|name| near(name)).min_by_key(|name| distance(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_is_bounded_and_on_one_line() {
        let name = format!("{}\n\u{1b}[2J\u{202e}", "\u{e9}".repeat(10_000));
        let errors = [
            Error::adapter(name.clone(), name.clone(), &name),
            Error::protocol(name.clone(), "x", &name),
            Error::stage("s", name.clone()),
            Error::input(&name, "x", &name),
            Error::parameter(&name, "x", &name),
            Error::NotFinite { what: name.clone(), row: 0, column: 0, value: f32::NAN },
        ];
        for error in errors {
            let text = error.bounded().to_string();
            assert!(text.len() < 3 * (MOST_OF_A_PART + 4) + 100, "{} bytes", text.len());
        }
        let text = Error::stage("s", "a\nb\u{1b}[2Jc\u{202e}d\u{2028}e").bounded().to_string();
        assert_eq!(text, "stage `s`: a b [2Jc d e");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones_and_proposes_a_near_one() {
        let known = ["jsonl", "natural_instructions", "table"];
        let message = |got: &str| Error::unknown_name("format", known, got).to_string();
        for (got, near) in [
            ("josnl", "jsonl"),
            ("JSON-L", "jsonl"),
            ("natural instruction", "natural_instructions"),
            ("Natural-Instructions", "natural_instructions"),
            ("tables", "table"),
        ] {
            let text = message(got);
            assert!(text.ends_with(&format!("got `{got}`; did you mean `{near}`?")), "{text}");
        }
        for far in ["", "csv", "\u{1f600}", &"x".repeat(10_000)] {
            let text = message(far);
            assert!(text.contains("one of `jsonl`, `natural_instructions`, `table`, got"), "{text}");
            assert!(!text.contains("did you mean"), "{text}");
        }
    }
}
