//! Jinja's operators on values that were weighed.
//!
//! Their names have a blank, which no name of a template has: a template can neither call nor hide them.

use super::text::python_text;
use super::weigh::{weigh, weigh_all};
use minijinja::value::{Rest, Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::cmp::Ordering;

pub(super) const LIST: &str = "list of";
pub(super) const TUPLE: &str = "tuple of";
pub(super) const MAP: &str = "map of";
pub(super) const ADD: &str = "operator +";
pub(super) const MUL: &str = "operator *";
pub(super) const CONCAT: &str = "operator ~";
pub(super) const ITEM: &str = "item of";
pub(super) const EQ: &str = "operator ==";
pub(super) const NE: &str = "operator !=";
pub(super) const LT: &str = "operator <";
pub(super) const LE: &str = "operator <=";
pub(super) const GT: &str = "operator >";
pub(super) const GE: &str = "operator >=";
pub(super) const IN: &str = "operator in";

type Outcome = Result<Value, Error>;

/// Bytes of text for one step of fuel, as minijinja counts.
const BYTES_OF_FUEL: usize = 64;

/// Adds the operators to an environment.
pub(super) fn add_operators(environment: &mut Environment<'static>) {
    environment
        .add_function(LIST, |state: &State, items: Rest<Value>| -> Outcome { weighed(state, Value::from(items.0)) });
    environment.add_function(TUPLE, |state: &State, items: Rest<Value>| -> Outcome {
        weighed(state, Value::from(Tuple::from(items.0)))
    });
    environment.add_function(MAP, map);
    environment.add_function(ADD, add);
    environment.add_function(MUL, multiply);
    environment.add_function(CONCAT, |state: &State, left: Value, right: Value| -> Outcome {
        let (left, right) = (python_text(state, &left)?, python_text(state, &right)?);
        joined(state, &left, &right)
    });
    environment.add_function(ITEM, item);
    environment.add_function(EQ, |state: &State, left: Value, right: Value| equal(state, &left, &right));
    environment
        .add_function(NE, |state: &State, left: Value, right: Value| equal(state, &left, &right).map(|same| !same));
    environment.add_function(LT, |state: &State, left: Value, right: Value| {
        order(state, "<", &left, &right).map(|o| o == Some(Ordering::Less))
    });
    environment.add_function(GT, |state: &State, left: Value, right: Value| {
        order(state, ">", &left, &right).map(|o| o == Some(Ordering::Greater))
    });
    environment.add_function(LE, |state: &State, left: Value, right: Value| {
        order(state, "<=", &left, &right).map(|o| matches!(o, Some(Ordering::Less | Ordering::Equal)))
    });
    environment.add_function(GE, |state: &State, left: Value, right: Value| {
        order(state, ">=", &left, &right).map(|o| matches!(o, Some(Ordering::Greater | Ordering::Equal)))
    });
    environment.add_function(IN, |state: &mut State, value: Value, container: Value| -> Result<bool, Error> {
        weigh_all(state, &[value.clone(), container.clone()])?;
        state.perform_test("in", &[value, container])
    });
}

fn weighed(state: &State<'_, '_>, value: Value) -> Outcome {
    weigh(state, &value)?;
    Ok(value)
}

/// A mapping in the order in which it is written; of equal keys the last.
fn map(state: &State, items: Rest<Value>) -> Outcome {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    for pair in items.chunks_exact(2) {
        check_key(&pair[0])?;
        pairs.push((pair[0].clone(), pair[1].clone()));
    }
    weighed(state, Value::from_pairs(pairs))
}

/// Keys are texts, numbers, truth values or none; comparing others could take for ever.
fn check_key(key: &Value) -> Result<(), Error> {
    match key.as_object() {
        None => Ok(()),
        Some(_) => Err(failed(format!("expected a text or a number as the key of a mapping, got a {}", key.kind()))),
    }
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn undefined(what: &str) -> Error {
    Error::new(ErrorKind::UndefinedError, format!("expected a value {what}, got an undefined one"))
}

fn item(state: &State, container: Value, key: Value) -> Outcome {
    if container.is_undefined() {
        return Err(undefined("to take an item of"));
    }
    check_key(&key)?;
    if container.kind() == ValueKind::Iterable {
        weigh(state, &container)?;
    }
    container.get_item(&key)
}

fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn joined(state: &State<'_, '_>, left: &str, right: &str) -> Outcome {
    state.consume_fuel(((left.len() + right.len()) / BYTES_OF_FUEL) as u64)?;
    Ok(Value::from([left, right].concat()))
}

/// A whole number, truth values among them, as Python has it.
fn whole(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// Two whole numbers give one, others a float.
fn arithmetic(
    sign: &str,
    left: &Value,
    right: &Value,
    of_whole: fn(i128, i128) -> Option<i128>,
    of: fn(f64, f64) -> f64,
) -> Outcome {
    if left.is_undefined() || right.is_undefined() {
        return Err(undefined(&format!("for `{sign}`")));
    }
    if let (Some(a), Some(b)) = (whole(left), whole(right)) {
        let result = of_whole(a, b)
            .ok_or_else(|| failed(format!("expected a number below 2^127 from `{sign}`, got a larger one")))?;
        return Ok(i64::try_from(result).map_or_else(|_| Value::from(result), Value::from));
    }
    match (number(left), number(right)) {
        (Some(a), Some(b)) => Ok(Value::from(of(a, b))),
        _ => {
            Err(failed(format!("expected two values that `{sign}` can join, got {} and {}", left.kind(), right.kind())))
        }
    }
}

fn add(state: &State, left: Value, right: Value) -> Outcome {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        return joined(state, a, b);
    }
    if is_sequence(&left) && is_sequence(&right) && left.is_tuple() == right.is_tuple() {
        weigh_all(state, &[left.clone(), right.clone()])?;
        let items = left.try_iter()?.checked().chain(right.try_iter()?.checked()).collect::<Result<Vec<_>, _>>()?;
        let all = if left.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) };
        return weighed(state, all);
    }
    arithmetic("+", &left, &right, i128::checked_add, |a, b| a + b)
}

fn multiply(state: &State, left: Value, right: Value) -> Outcome {
    let (repeated, times) =
        if left.as_str().is_some() || is_sequence(&left) { (&left, &right) } else { (&right, &left) };
    let sequence = is_sequence(repeated);
    if !sequence && repeated.as_str().is_none() {
        return arithmetic("*", &left, &right, i128::checked_mul, |a, b| a * b);
    }
    let times = whole(times).ok_or_else(|| failed(format!("expected how often to repeat, got {}", times.kind())))?;
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    if let Some(text) = repeated.as_str() {
        // Paid before it is made.
        state.consume_fuel((text.len().saturating_mul(times) / BYTES_OF_FUEL) as u64)?;
        return Ok(Value::from(text.repeat(times)));
    }
    weigh(state, repeated)?;
    let items = repeated.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
    // Two steps for each item, as an item is 32 bytes and is weighed again.
    state.consume_fuel(items.len().saturating_mul(times) as u64)?;
    let items: Vec<Value> =
        if items.is_empty() { items } else { (0..times).flat_map(|_| items.iter().cloned()).collect() };
    weighed(state, if repeated.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) })
}

fn equal(state: &State<'_, '_>, left: &Value, right: &Value) -> Result<bool, Error> {
    weigh(state, left)?;
    weigh(state, right)?;
    Ok(left == right)
}

/// Numbers by size and texts by their characters; Python orders nothing else with another kind.
fn order(state: &State<'_, '_>, sign: &str, left: &Value, right: &Value) -> Result<Option<Ordering>, Error> {
    weigh(state, left)?;
    weigh(state, right)?;
    let of_kind = |value: &Value| match value.kind() {
        ValueKind::Bool | ValueKind::Number => Some(0),
        ValueKind::String => Some(1),
        ValueKind::Seq | ValueKind::Iterable => Some(2),
        _ => None,
    };
    match (of_kind(left), of_kind(right)) {
        (Some(a), Some(b)) if a == b => Ok(left.partial_cmp(right)),
        _ => Err(failed(format!(
            "expected two values that `{sign}` can compare, got {} and {}",
            left.kind(),
            right.kind()
        ))),
    }
}
