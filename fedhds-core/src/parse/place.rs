//! Where a key stands in a TOML document.

use crate::error::Position;
use toml::de::{DeTable, DeValue};

/// Line and column of a byte of the text.
pub(super) fn of_byte(text: &str, byte: usize) -> Position {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

/// Where a dotted key stands, or else the nearest table or value above it that the text holds; none where the text holds nothing of it.
pub(super) fn of_key(text: &str, key: &str) -> Option<Position> {
    let document = DeTable::parse(text).ok()?;
    let root = DeValue::Table(document.into_inner());
    let (mut value, mut found) = (&root, None);
    for step in key.split('.').flat_map(|name| name.split('[')) {
        let next = match (value, step.strip_suffix(']')) {
            (DeValue::Array(items), Some(index)) => {
                index.parse::<usize>().ok().and_then(|i| items.get(i)).map(|item| (item.span(), item))
            }
            (DeValue::Table(table), None) => table.get_key_value(step).map(|(key, value)| (key.span(), value)),
            _ => None,
        };
        let Some((span, inner)) = next else { break };
        found = Some(span.start);
        value = inner.get_ref();
    }
    found.map(|byte| of_byte(text, byte))
}
