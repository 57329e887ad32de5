//! What the library has to say, as text: for the bindings, which hand it on to their callers.

use std::fmt::Write as _;
use tracing::Event;
use tracing::field::{Field, Visit};

/// The line of an event: its message, and `name=value` for each field.
pub fn line(event: &Event<'_>) -> String {
    let mut line = Line(String::new());
    event.record(&mut line);
    line.0
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}
