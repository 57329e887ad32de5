//! The names that transformers gives to a template.

use super::date::strftime;
use super::operators::add_operators;
use super::text::{filter_tojson, python_text};
use super::weigh::{weigh, weigh_all};
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::sync::LazyLock;

macro_rules! weighed {
    ($kind:literal: $($name:literal)*) => { &[$(($name, concat!($kind, " ", $name))),*] };
}

/// The filters, and the functions that weigh what they take and give.
pub(super) const FILTERS: &[(&str, &str)] = weighed!("filter":
    "abs" "attr" "batch" "bool" "capitalize" "chain" "count" "d" "default" "dictsort" "e" "escape" "first" "float" "format" "groupby"
    "indent" "int" "items" "join" "last" "length" "lines" "list" "lower" "map" "max" "min" "pprint" "reject" "rejectattr" "replace"
    "reverse" "round" "safe" "select" "selectattr" "slice" "sort" "split" "string" "sum" "title" "tojson" "trim" "unique" "upper" "zip");

/// The tests, likewise.
pub(super) const TESTS: &[(&str, &str)] = weighed!("test":
    "!=" "<" "<=" "==" ">" ">=" "boolean" "defined" "divisibleby" "endingwith" "eq" "equalto" "escaped" "even" "false" "filter" "float"
    "ge" "greaterthan" "gt" "in" "integer" "iterable" "le" "lessthan" "lower" "lt" "mapping" "ne" "none" "number" "odd" "safe"
    "sameas" "sequence" "startingwith" "string" "test" "true" "undefined" "upper");

/// Bytes of a text that a filter or method reads for one step of fuel, as minijinja counts.
const BYTES_OF_FUEL: usize = 64;
/// Widest field of `str.format`.
const WIDEST: usize = 9_999;

/// An environment with all of them; fuel is the caller's to set.
pub(super) fn environment() -> Environment<'static> {
    static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(build);
    ENVIRONMENT.clone()
}

fn build() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_debug(false);
    environment.set_formatter(print);
    environment.set_unknown_method_callback(method);
    environment.remove_global("debug");
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| strftime(&format));
    let own: Vec<(String, Value)> = environment.globals().map(|(name, function)| (name.into(), function)).collect();
    for (name, function) in own.into_iter().filter(|(name, _)| ["dict", "namespace", "range"].contains(&name.as_str()))
    {
        // The engine's own, behind the weighing of what they are made of.
        environment.add_function(name, move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let args = args.into_values();
            weigh_all(state, &args)?;
            function.call(state, &args)
        });
    }
    environment.add_filter("tojson", filter_tojson);
    environment
        .add_filter("string", |state: &State, value: Value| python_text(state, &value).map(|text| text.into_owned()));
    environment.add_test("iterable", |value: &Value| {
        !matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number | ValueKind::Plain)
    });
    for &(name, weighed) in FILTERS {
        environment.add_function(
            weighed,
            move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
                let args = args.into_values();
                taken(state, &args)?;
                let value = state.apply_filter(name, &args)?;
                weigh(state, &value)?;
                Ok(value)
            },
        );
    }
    for &(name, weighed) in TESTS {
        environment.add_function(weighed, move |state: &mut State, args: Rest<ValueOrKwargs>| -> Result<bool, Error> {
            let args = args.into_values();
            taken(state, &args)?;
            state.perform_test(name, &args)
        });
    }
    add_operators(&mut environment);
    environment
}

/// Weighs what a filter, a test or a method takes, and pays for the text that it reads.
fn taken(state: &State<'_, '_>, args: &[Value]) -> Result<(), Error> {
    let read = args.first().and_then(Value::as_str).map_or(0, str::len);
    state.consume_fuel((read / BYTES_OF_FUEL) as u64)?;
    weigh_all(state, args)
}

/// Prints a value as Python does.
fn print(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    output.write_str(&python_text(state, value)?).map_err(Error::from)
}

/// What Python's texts, lists and mappings can do.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    weigh(state, value)?;
    weigh_all(state, args)?;
    if let ("format", Some(format)) = (name, value.as_str()) {
        check_fields(format)?;
    }
    let made = unknown_method_callback(state, value, name, args)?;
    weigh(state, &made)?;
    Ok(made)
}

/// A field of `str.format` is as wide as its number says: that is refused where it could be wider than a line of text.
fn check_fields(format: &str) -> Result<(), Error> {
    let refused = |got: &str| {
        let message = format!("expected fields of `str.format` with widths of at most {WIDEST}, got {got}");
        Err(Error::new(ErrorKind::InvalidOperation, message))
    };
    let mut within = 0usize;
    let mut digits = 0usize;
    for c in format.chars() {
        match c {
            '{' => within += 1,
            '}' => within = within.saturating_sub(1),
            _ => {}
        }
        digits = if c.is_ascii_digit() && within > 0 { digits + 1 } else { 0 };
        if digits > 4 {
            return refused("a number of more than 4 digits");
        }
    }
    // `{:{}}` takes its width from another argument.
    let escaped = format.replace("{{", "").replace("}}", "");
    let mut open = false;
    for c in escaped.chars() {
        match c {
            '{' if open => return refused("a field within a field"),
            '{' => open = true,
            '}' => open = false,
            _ => {}
        }
    }
    Ok(())
}
