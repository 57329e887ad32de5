//! What a format says about itself, and how it reads.

use super::fields::Fields;
use super::loaded::Collected;
use super::objects;
use super::options::LoadOptions;
use super::source::Source;
use crate::error::{Error, Result};
use crate::types::Control;
use serde_json::{Map, Value};
use std::cell::OnceCell;

/// What a format is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// One file.
    File,
    /// A folder of many files.
    Folder,
    /// Nothing: the records are generated.
    Nothing,
}

/// Where the records come from that nobody trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestRecords {
    /// The format keeps them apart, as the split `test`.
    Own,
    /// Whoever reads the data says which they are.
    Chosen,
    /// The same, but where nothing is said it is the last category in alphabetical order (the paper's choice for Dolly).
    LastCategory,
}

/// What a format's file says about it, and how it is read.
pub(super) trait Reader: Sync {
    /// Its name in configurations, in snake case.
    fn name(&self) -> &'static str;
    /// What it is, for those who choose, in one line.
    fn about(&self) -> &'static str;
    /// What it is read from.
    fn read_from(&self) -> ReadFrom {
        ReadFrom::File
    }
    /// Where test records come from.
    fn test_records(&self) -> TestRecords {
        TestRecords::Chosen
    }
    /// The roles of [`Fields`] that may be named.
    fn roles(&self) -> &'static [&'static str] {
        &[]
    }
    /// The names of the fields where data look like this format; none where they do not.
    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>>;
    /// Hands the records to `records`, whose options and names were checked.
    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()>;
}

/// What [`Format::guess`](super::Format::guess) looks at.
pub(super) struct Sample<'a> {
    pub source: Source<'a>,
    /// Whether there is a folder in place of a file.
    pub folder: bool,
    /// The ending of the file's name in lower case, without the dot and without what says that it is packed; empty where it has none.
    pub extension: String,
    /// The names that were given.
    pub given: &'a Fields,
    first: OnceCell<Map<String, Value>>,
}

impl<'a> Sample<'a> {
    pub fn new(source: Source<'a>, folder: bool, extension: String, given: &'a Fields) -> Self {
        Self { source, folder, extension, given, first: OnceCell::new() }
    }

    /// The first object of JSON lines or of a JSON list.
    pub fn first(&self) -> Result<&Map<String, Value>> {
        if self.first.get().is_none() {
            let _ = self.first.set(objects::first(&self.source)?);
        }
        self.first.get().ok_or_else(|| Error::input("first object", "an object", "none"))
    }
}
