//! What a value that holds others stands for.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Most bytes that one value may stand for when it is written out: the longest conversation a few times.
pub(super) const HEAVIEST: usize = 16 << 20;
/// Deepest nesting of one value.
const DEEPEST: usize = 100;
/// What a value weighs beside its text.
const BASE: usize = 16;
/// Bytes that are visited for one step of fuel.
const BYTES_OF_FUEL: usize = 256;

/// Checks what a value stands for, shared parts as often as they are met: `[x, x]` weighs twice what `x` does.
///
/// A value that is a text, a number or nothing weighs what it is: those are paid for when they are made.
pub(super) fn weigh(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.as_object().is_none() {
        return Ok(());
    }
    let mut left = HEAVIEST;
    visit(value, DEEPEST, &mut left)?;
    state.consume_fuel(((HEAVIEST - left) / BYTES_OF_FUEL) as u64)
}

/// Each of some values.
pub(super) fn weigh_all(state: &State<'_, '_>, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| weigh(state, value))
}

fn visit(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let refused = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
    let weight = BASE + value.as_str().map_or(0, str::len);
    match left.checked_sub(weight) {
        Some(rest) => *left = rest,
        None => {
            return refused(format!(
                "expected values of at most {HEAVIEST} bytes with all that they hold, got a larger one"
            ));
        }
    }
    let kind = value.kind();
    if !matches!(kind, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    let Some(deeper) = depth.checked_sub(1) else {
        return refused(format!("expected values within at most {DEEPEST} others, got a deeper one"));
    };
    for item in value.try_iter()?.checked() {
        let item = item?;
        visit(&item, deeper, left)?;
        if kind == ValueKind::Map {
            visit(&value.get_item(&item)?, deeper, left)?;
        }
    }
    Ok(())
}
