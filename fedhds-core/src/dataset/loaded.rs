//! What a loader collects: the records, and where each of them stood.

use crate::types::Record;

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Its line, from 1: formats of one record a line.
    Line(usize),
    /// Its number, from 0: a JSON list, a table, a list of instances.
    Row(usize),
}

impl At {
    /// The line or the number.
    pub fn number(self) -> usize {
        match self {
            At::Line(number) | At::Row(number) => number,
        }
    }
}

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its place in the file that it stands in; none for generated records.
    pub at: Option<At>,
    /// The record as one line that ends with a line break, where [`LoadOptions::keep_text`](super::LoadOptions::keep_text) asks
    /// for it: a line as it stands in the file; the item of a JSON list without its line breaks; else a JSON object (the
    /// columns of a table, the record itself).
    pub text: Option<String>,
}

/// Where a reader's records go, one at a time, and what is counted on the way.
pub(super) struct Collected<'a> {
    each: &'a mut dyn FnMut(Record, Origin),
    keep_text: bool,
    pub taken: usize,
    pub left_out: usize,
}

impl<'a> Collected<'a> {
    pub fn new(keep_text: bool, each: &'a mut dyn FnMut(Record, Origin)) -> Self {
        Self { each, keep_text, taken: 0, left_out: 0 }
    }

    /// Takes a record, or counts one that is left out. `text` is asked for only where it is kept.
    pub fn take(&mut self, record: Option<Record>, at: Option<At>, text: impl FnOnce(&Record) -> String) {
        let Some(record) = record else {
            self.left_out += 1;
            return;
        };
        let text = self.keep_text.then(|| {
            let mut text = text(&record);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        });
        self.taken += 1;
        (self.each)(record, Origin { at, text });
    }
}

/// A record as a JSON object on one line.
pub(super) fn as_json(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
