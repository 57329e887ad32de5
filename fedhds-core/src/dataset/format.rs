//! The formats of data sets, and the one way to read them all: configurations, Python, C and the command line ask here for
//! what there is. The list is in `dataset/mod.rs`.

use super::fields::Fields;
use super::loaded::{Collected, LeftOut, Origin};
use super::options::{LoadOptions, NaturalInstructionsOptions};
use super::reader::{ReadFrom, Reader, Sample, TestRecords};
use super::source::{self, Source};
use super::{Dataset, dolly, natural_instructions};
use crate::error::{Error, Result};
use crate::types::{Control, Record};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

/// What stands for [`Format::guess`] where [`load`] is given the name of a format.
pub const GUESS: &str = "guess";

/// A data set's format.
#[derive(Clone, Copy)]
pub struct Format(&'static dyn Reader);

/// A data set with the places of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The format that it was read as.
    pub format: Format,
    /// The records.
    pub dataset: Dataset,
    /// Where each record stood, in the order of the records.
    pub origins: Vec<Origin>,
    /// How many records were left out since their responses are blank.
    pub left_out: usize,
    /// How many were left out since they cannot be used otherwise.
    pub bad: usize,
    /// What is wrong with the first of those.
    pub first_bad: Option<String>,
}

/// Reads a data set. `format` is the name of one of [`Format::ALL`], or [`GUESS`] for [`Format::guess`].
///
/// # Errors
/// [`Error::Parameter`] with all names for an unknown one, and the nearest of them where that is near; those of
/// [`Format::guess`] and [`Format::load`].
pub fn load<'a>(
    source: impl Into<Source<'a>>,
    format: &str,
    options: &LoadOptions,
    control: &Control,
) -> Result<Loaded> {
    let source = source.into();
    if format == GUESS {
        let (format, fields) = Format::guess(source, &options.fields)?;
        return format.load(source, &LoadOptions { fields, ..options.clone() }, control);
    }
    named(format)?.load(source, options, control)
}

/// Checks the name of a format where [`GUESS`] is one.
///
/// # Errors
/// As [`load`].
pub fn check_name(format: &str) -> Result<()> {
    if format == GUESS { Ok(()) } else { named(format).map(|_| ()) }
}

fn named(name: &str) -> Result<Format> {
    Format::find(name)
        .ok_or_else(|| Error::unknown_name("format", Format::names().iter().copied().chain([GUESS]), name))
}

impl Format {
    /// Every format, in the order in which [`Format::guess`] asks them: the particular before the general.
    pub const ALL: &'static [Format] = super::FORMATS;

    /// Natural Instructions, which the paper's preparation reads.
    pub(super) const NATURAL_INSTRUCTIONS: Format = Format::of(&natural_instructions::NaturalInstructions);
    /// Dolly, which the paper's preparation reads.
    pub(super) const DOLLY: Format = Format::of(&dolly::Dolly);

    /// The format that a type reads.
    pub(super) const fn of(reader: &'static dyn Reader) -> Self {
        Format(reader)
    }

    /// The format of this name.
    ///
    /// # Errors
    /// [`Error::Parameter`] that lists the names, and says which is nearest to this one where one is near.
    pub fn by_name(name: &str) -> Result<Self> {
        Format::find(name).ok_or_else(|| Error::unknown_name("format", Format::names().iter().copied(), name))
    }

    fn find(name: &str) -> Option<Self> {
        Format::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// The names of all formats.
    pub fn names() -> &'static [&'static str] {
        static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| Format::ALL.iter().map(|f| f.name()).collect());
        &NAMES
    }

    /// The format's name in configurations.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What the format is, in one line.
    pub fn about(self) -> &'static str {
        self.0.about()
    }

    /// What the format is read from.
    pub fn read_from(self) -> ReadFrom {
        self.0.read_from()
    }

    /// Where the records come from that nobody trains on.
    pub fn test_records(self) -> TestRecords {
        self.0.test_records()
    }

    /// The format that a file or folder looks like, by its kind, the ending of its name and its first object, and the
    /// names of its fields: `given`, and the usual ones for the others (`prompt`, `question`, ... for the instruction).
    ///
    /// # Errors
    /// [`Error::Data`] where it looks like none, with the fields that there are; [`Error::Io`].
    pub fn guess<'a>(source: impl Into<Source<'a>>, given: &Fields) -> Result<(Self, Fields)> {
        let source = source.into();
        let Some(path) = source.path() else {
            return Err(Error::input("path", "a file or folder whose format can be guessed", "none"));
        };
        let sample = Sample::new(source, source.is_folder()?, source::ending(path), given);
        for format in Format::ALL {
            if let Some(fields) = format.0.recognise(&sample)? {
                return Ok((*format, fields));
            }
        }
        let got = if sample.folder { "another folder" } else { "something else" };
        let names = Format::ALL.iter().filter(|f| f.read_from() != ReadFrom::Nothing);
        let names: Vec<String> = names.map(|f| format!("{f} ({})", f.about())).collect();
        Err(source::Place::whole(path).error("", format!("expected one of {}, got {got}", names.join(", "))))
    }

    /// Checks the options, and no file.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name of an option that is out of range or that this format does not have.
    pub fn check(self, options: &LoadOptions) -> Result<()> {
        let roles = self.0.roles();
        if let Some((role, name)) = options.fields.named().find(|(role, _)| !roles.contains(role)) {
            let expected = match roles {
                [] => format!("none: `{self}` has names of its own"),
                roles => format!("names of {} alone for `{self}`", roles.join(", ")),
            };
            return Err(Error::parameter("fields", expected, format!("{role} = `{name}`")));
        }
        if let Some((role, _)) = options.fields.named().find(|(_, name)| name.trim().is_empty()) {
            return Err(Error::parameter("fields", format!("the name of a field for {role}"), "an empty one"));
        }
        match (options.split.as_deref(), self.test_records()) {
            (None, _) | (Some("train" | "test"), TestRecords::Own) => {}
            (Some(split), TestRecords::Own) => return Err(Error::parameter("split", "`train` or `test`", split)),
            (Some(split), _) => {
                return Err(Error::parameter(
                    "split",
                    format!("none: `{self}` does not keep its records apart"),
                    split,
                ));
            }
        }
        let of_one_format = [
            ("natural_instructions", options.natural_instructions != NaturalInstructionsOptions::default()),
            #[cfg(feature = "experiment")]
            ("embedded", options.embedded != Default::default()),
        ];
        if let Some((other, _)) = of_one_format.into_iter().find(|(other, given)| *given && self.name() != *other) {
            return Err(Error::parameter(other, format!("none for the format `{self}`"), "some"));
        }
        options.natural_instructions.check()
    }

    /// Checks that there is what the format is read from: a file, a folder, or nothing.
    ///
    /// # Errors
    /// [`Error::Io`] for a path that is not there, and for a folder in place of a file or the reverse;
    /// [`Error::Input`] for a path too many or too few.
    pub fn check_source<'a>(self, source: impl Into<Source<'a>>) -> Result<()> {
        let source = source.into();
        let (path, wants) = match (source.path(), self.read_from()) {
            (None, ReadFrom::Nothing) => return Ok(()),
            (Some(path), ReadFrom::Nothing) => {
                let expected = format!("none: the records of `{self}` are generated");
                return Err(Error::input("path", expected, path.display()));
            }
            (None, _) => return Err(Error::input("path", format!("the file or folder of `{self}`"), "none")),
            (Some(path), wants) => (path, wants),
        };
        let message = match (wants == ReadFrom::Folder, source.is_folder()?) {
            (true, false) => format!("expected a folder for the format `{self}`, got a file"),
            (false, true) => format!("expected a file for the format `{self}`, got a folder"),
            _ => return Ok(()),
        };
        let kind = match wants {
            ReadFrom::Folder => std::io::ErrorKind::NotADirectory,
            _ => std::io::ErrorKind::IsADirectory,
        };
        Err(Error::io(path, std::io::Error::new(kind, message)))
    }

    /// Reads a data set.
    ///
    /// # Errors
    /// [`Error::Data`] with file, line (or the path within a JSON file) and field for a record that cannot be used, for
    /// bytes that are not UTF-8, and for data without records; those of [`Format::check`] and [`Format::check_source`];
    /// [`Error::Io`]; [`Error::Cancelled`].
    pub fn load<'a>(self, source: impl Into<Source<'a>>, options: &LoadOptions, control: &Control) -> Result<Loaded> {
        let source = source.into();
        let (mut records, mut origins) = (Vec::new(), Vec::new());
        let left_out = self.each(source, options, control, &mut |record, origin| {
            records.push(record);
            origins.push(origin);
        })?;
        let name = source.path().map_or_else(|| self.name().to_string(), source::stem);
        let LeftOut { blank, bad, first_bad } = left_out;
        Ok(Loaded { format: self, dataset: Dataset::new(name, records)?, origins, left_out: blank, bad, first_bad })
    }

    /// Reads a data set and hands each record to `each` with the place that it came from, in their order; returns what was left
    /// out. Of formats of one record a line no more than a line is held, so that files of any size can be read.
    ///
    /// # Errors
    /// As [`Format::load`], but that ids which were given to two records may go unseen.
    pub fn each<'a>(
        self,
        source: impl Into<Source<'a>>,
        options: &LoadOptions,
        control: &Control,
        each: &mut dyn FnMut(Record, Origin),
    ) -> Result<LeftOut> {
        let source = source.into();
        self.check(options)?;
        self.check_source(source)?;
        let mut collected = Collected::new(options.keep_text, options.bad_record, each);
        self.0.read(&source, options, control, &mut collected)?;
        let Collected { taken, left_out, .. } = collected;
        if taken == 0 {
            let none = "expected at least one record, got none";
            let message = match &left_out {
                LeftOut { first_bad: Some(first), bad, blank } => {
                    format!(
                        "{none}: {} are left out, and the first of them that cannot be used is {first}",
                        bad + blank
                    )
                }
                LeftOut { blank: 0, .. } => none.to_string(),
                LeftOut { blank, .. } => format!("{none}: the responses of all {blank} are blank"),
            };
            return Err(source::Place::whole(source.path().unwrap_or(Path::new(self.name()))).error("", message));
        }
        Ok(left_out)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Format {}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name())
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Format::find(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, Format::names()))
    }
}
