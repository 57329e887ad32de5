//! Values as Python writes them: as text, and as JSON as transformers' `tojson` does.

use super::weigh::{HEAVIEST, weigh};
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of JSON that are written for one step of fuel.
const BYTES_OF_FUEL: usize = 16;
/// Widest indentation of a level.
const WIDEST_INDENT: usize = 100;

/// `str(value)` in Python, nothing for an undefined one.
pub(super) fn python_text<'v>(state: &State<'_, '_>, value: &'v Value) -> Result<Cow<'v, str>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Cow::Borrowed(text));
    }
    if value.is_undefined() {
        return Ok(Cow::Borrowed(""));
    }
    weigh(state, value)?;
    let mut out = String::new();
    repr(value, &mut out)?;
    Ok(Cow::Owned(out))
}

/// `repr(value)` in Python. What was weighed ends.
fn repr(value: &Value, out: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => number(value, out),
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Map => {
            out.push('{');
            for (at, key) in value.try_iter()?.checked().enumerate() {
                let key = key?;
                out.push_str(if at == 0 { "" } else { ", " });
                repr(&key, out)?;
                out.push_str(": ");
                repr(&value.get_item(&key)?, out)?;
                small(out)?;
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let tuple = value.is_tuple();
            out.push(if tuple { '(' } else { '[' });
            for (at, item) in value.try_iter()?.checked().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                repr(&item?, out)?;
                small(out)?;
            }
            out.push_str(match (tuple, value.len()) {
                (true, Some(1)) => ",)",
                (true, _) => ")",
                _ => "]",
            });
        }
        // A macro or a bound of the engine: what the engine calls it.
        _ => write!(out, "{value}").map_err(Error::from)?,
    }
    Ok(())
}

/// Ends what escapes have made larger than a value may be.
fn small(out: &str) -> Result<(), Error> {
    if out.len() > HEAVIEST {
        return Err(failed(format!(
            "expected a value of at most {HEAVIEST} bytes when it is written, got a larger one"
        )));
    }
    Ok(())
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A text in Python's quotes.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// A number as Python writes it: the fewest digits that give it back.
fn number(value: &Value, out: &mut String) {
    if value.is_integer() {
        let _ = write!(out, "{value}");
        return;
    }
    let Ok(x) = f64::try_from(value.clone()) else {
        let _ = write!(out, "{value}");
        return;
    };
    if !x.is_finite() {
        out.push_str(if x.is_nan() {
            "nan"
        } else if x > 0.0 {
            "inf"
        } else {
            "-inf"
        });
        return;
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..=15 => {
            let plain = format!("{x}");
            out.push_str(&plain);
            if !plain.contains('.') {
                out.push_str(".0");
            }
        }
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
        }
    }
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, as transformers defines it: Python's
/// `json.dumps`, nothing escaped for HTML, keys in their order.
pub(super) fn filter_tojson(state: &State<'_, '_>, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let mut args = args.into_values();
    let kwargs = match args.last() {
        Some(last) if last.is_kwargs() => Kwargs::try_from(args.pop().unwrap_or_default())?,
        _ => Kwargs::from_iter(std::iter::empty::<(&str, Value)>()),
    };
    let mut args = args.into_iter();
    let value = args.next().ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let mut setting = |name: &str| -> Result<Option<Value>, Error> {
        let given = match args.next() {
            Some(value) => Some(value),
            None => kwargs.get::<Option<Value>>(name)?,
        };
        Ok(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ascii = setting("ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = setting("indent")?.map(|value| indentation(&value)).transpose()?;
    let separators = setting("separators")?;
    let sorted = setting("sort_keys")?.is_some_and(|value| value.is_true());
    if args.next().is_some() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    kwargs.assert_all_used()?;
    let separator = |index: usize, default: &str| -> Result<String, Error> {
        let Some(pair) = &separators else { return Ok(default.into()) };
        let text = pair.get_item_by_index(index).ok().and_then(|text| text.as_str().map(String::from));
        match text {
            Some(text) if text.len() <= WIDEST_INDENT => Ok(text),
            _ => Err(failed(format!("expected `separators` as two texts of at most {WIDEST_INDENT} bytes"))),
        }
    };
    let mut json = Json {
        out: String::new(),
        ascii,
        sorted,
        between: separator(0, if indent.is_some() { "," } else { ", " })?,
        after_key: separator(1, ": ")?,
        indent,
        level: 0,
    };
    weigh(state, &value)?;
    json.write(&value)?;
    // To write is dearer than to copy.
    state.consume_fuel((json.out.len() / BYTES_OF_FUEL) as u64)?;
    Ok(json.out)
}

/// A number of blanks, or the text itself.
fn indentation(value: &Value) -> Result<String, Error> {
    let text = match value.as_str() {
        Some(text) => Some(text.to_string()),
        None if value.kind() == ValueKind::Bool => Some(" ".repeat(usize::from(value.is_true()))),
        None => value
            .as_i64()
            .and_then(|n| usize::try_from(n.max(0)).ok())
            .filter(|n| *n <= WIDEST_INDENT)
            .map(|n| " ".repeat(n)),
    };
    text.filter(|text| text.len() <= WIDEST_INDENT)
        .ok_or_else(|| failed(format!("expected `indent` as at most {WIDEST_INDENT} blanks, got {value}")))
}

struct Json {
    out: String,
    ascii: bool,
    sorted: bool,
    between: String,
    after_key: String,
    indent: Option<String>,
    level: usize,
}

impl Json {
    fn write(&mut self, value: &Value) -> Result<(), Error> {
        small(&self.out)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                self.within('[', ']', items, |json, item| json.write(&item))?;
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()?.checked() {
                    let key = key?;
                    pairs.push((self.key(&key)?, value.get_item(&key)?));
                }
                if self.sorted {
                    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.within('{', '}', pairs, |json, (key, value)| {
                    json.string(&key);
                    json.out.push_str(&json.after_key.clone());
                    json.write(&value)
                })?;
            }
            other => return Err(failed(format!("expected a value that JSON has, got {other}"))),
        }
        Ok(())
    }

    fn within<T>(
        &mut self,
        open: char,
        close: char,
        items: Vec<T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let empty = items.is_empty();
        self.level += 1;
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push_str(&self.between.clone());
            }
            self.line();
            write(self, item)?;
        }
        self.level -= 1;
        if !empty {
            self.line();
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(self.level));
        }
    }

    fn number(&mut self, value: &Value) {
        let mut text = String::new();
        number(value, &mut text);
        self.out.push_str(match text.as_str() {
            "nan" => "NaN",
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        });
    }

    /// Python's `json` writes numbers, truth values and none as texts where they are keys.
    fn key(&self, key: &Value) -> Result<String, Error> {
        if let Some(text) = key.as_str() {
            return Ok(text.into());
        }
        if key.as_object().is_some() || key.is_undefined() {
            return Err(failed(format!("expected keys that JSON has, got {}", key.kind())));
        }
        let mut json =
            Self { out: String::new(), indent: None, between: String::new(), after_key: String::new(), ..*self };
        json.write(key)?;
        Ok(json.out)
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                c if self.ascii && (c as u32) > 0x7e => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
