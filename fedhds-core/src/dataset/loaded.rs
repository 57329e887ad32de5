//! What a loader collects: the records, and where each of them stood.

use super::values::BadRecord;
use crate::error::{Error, Result};
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

/// Records that were left out, as the options allow it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// How many have a blank response.
    pub blank: usize,
    /// How many could not be used otherwise.
    pub bad: usize,
    /// What is wrong with the first of those.
    pub first_bad: Option<String>,
}

impl LeftOut {
    /// A record that was found; none where it is left out, which is counted.
    ///
    /// # Errors
    /// That of the record, where bad ones are not left out, and any that is not about the data.
    pub(super) fn kept<T>(&mut self, found: Result<Option<T>>, bad_record: BadRecord) -> Result<Option<T>> {
        match found {
            Ok(found) => {
                self.blank += usize::from(found.is_none());
                Ok(found)
            }
            Err(error @ Error::Data { .. }) if bad_record == BadRecord::Skip => {
                self.bad += 1;
                self.first_bad.get_or_insert_with(|| error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts what was left out elsewhere, after these.
    pub(super) fn add(&mut self, other: LeftOut) {
        self.blank += other.blank;
        self.bad += other.bad;
        self.first_bad = self.first_bad.take().or(other.first_bad);
    }
}

/// Where a reader's records go, one at a time, and what is counted on the way.
pub(super) struct Collected<'a> {
    each: &'a mut dyn FnMut(Record, Origin),
    keep_text: bool,
    bad_record: BadRecord,
    pub taken: usize,
    pub left_out: LeftOut,
}

impl<'a> Collected<'a> {
    pub fn new(keep_text: bool, bad_record: BadRecord, each: &'a mut dyn FnMut(Record, Origin)) -> Self {
        Self { each, keep_text, bad_record, taken: 0, left_out: LeftOut::default() }
    }

    /// Takes a record, or counts one that is left out. `text` is asked for only where it is kept.
    ///
    /// # Errors
    /// That of a record which cannot be used, where such ones are not left out.
    pub fn take(
        &mut self,
        record: Result<Option<Record>>,
        at: Option<At>,
        text: impl FnOnce(&Record) -> String,
    ) -> Result<()> {
        let Some(record) = self.left_out.kept(record, self.bad_record)? else { return Ok(()) };
        let text = self.keep_text.then(|| {
            let mut text = text(&record);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        });
        self.taken += 1;
        (self.each)(record, Origin { at, text });
        Ok(())
    }
}

/// A record as a JSON object on one line.
pub(super) fn as_json(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
