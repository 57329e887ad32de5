//! Numbered optional parts of a message, so that a later capability adds a section and no version.

use super::Kind;
use crate::error::{Error, Result};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sections from this number on must be understood by who reads them: a message with an unknown one is refused. A lower number
/// that is unknown is passed over.
pub const MUST_UNDERSTAND: u16 = 128;

/// The most sections of one message.
const MAX_SECTIONS: usize = 64;

/// The optional parts of a message by number. Each is bytes here, and typed by its [`Section`].
///
/// On the wire: a count, then for each section in ascending order of the numbers its number, its length and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sections(Vec<(u16, Vec<u8>)>);

/// A typed section: its number within a kind of message, and how it is encoded (postcard, as all else).
pub trait Section: Serialize + DeserializeOwned {
    /// Which message it belongs to.
    const KIND: Kind;
    /// Its number there, never used for anything else.
    const NUMBER: u16;
    /// Its name in errors.
    const NAME: &'static str;
}

impl Sections {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers that are there, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().map(|(number, _)| *number)
    }

    /// A section's bytes.
    pub fn bytes(&self, number: u16) -> Option<&[u8]> {
        self.place(number).ok().map(|at| self.0[at].1.as_slice())
    }

    /// Puts a section in as bytes, for numbers that this crate does not know.
    pub fn insert(&mut self, number: u16, bytes: Vec<u8>) {
        match self.place(number) {
            Ok(at) => self.0[at].1 = bytes,
            Err(at) => self.0.insert(at, (number, bytes)),
        }
    }

    /// Where a section is, or would be.
    fn place(&self, number: u16) -> std::result::Result<usize, usize> {
        self.0.binary_search_by_key(&number, |(number, _)| *number)
    }

    /// Takes a section out.
    pub fn remove(&mut self, number: u16) -> Option<Vec<u8>> {
        self.place(number).ok().map(|at| self.0.remove(at).1)
    }

    /// Puts a section in.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it cannot be encoded.
    pub fn set<S: Section>(&mut self, section: &S) -> Result<()> {
        match postcard::to_stdvec(section) {
            Ok(bytes) => self.insert(S::NUMBER, bytes),
            Err(error) => return Err(wrong(S::KIND, S::NAME, "an encodable section", &error)),
        }
        Ok(())
    }

    /// The section of this type; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Protocol`] where its bytes are not such a section.
    pub fn get<S: Section>(&self) -> Result<Option<S>> {
        let Some(bytes) = self.bytes(S::NUMBER) else { return Ok(None) };
        match postcard::take_from_bytes(bytes) {
            Ok((section, [])) => Ok(Some(section)),
            Ok((_, rest)) => Err(wrong(S::KIND, S::NAME, "no bytes after the section", &rest.len())),
            Err(error) => Err(wrong(S::KIND, S::NAME, "a whole and well-formed section", &error)),
        }
    }

    /// Refuses sections that must be understood and are not among `known`.
    pub(super) fn check(&self, kind: Kind, known: &[u16]) -> Result<()> {
        if self.0.len() > MAX_SECTIONS {
            return Err(Error::protocol(format!("{kind}: sections"), format!("at most {MAX_SECTIONS}"), self.0.len()));
        }
        match self.numbers().find(|number| *number >= MUST_UNDERSTAND && !known.contains(number)) {
            None => Ok(()),
            Some(number) => {
                let expected = "sections that this release knows, or that may be passed over";
                Err(Error::protocol(format!("{kind}: sections"), expected, format!("number {number}")))
            }
        }
    }
}

/// Once for all sections: it is compiled small.
#[cold]
#[inline(never)]
fn wrong(kind: Kind, name: &str, expected: &str, got: &dyn std::fmt::Display) -> Error {
    Error::protocol(format!("{kind}: section `{name}`"), expected, got)
}

impl Serialize for Sections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (number, bytes) in &self.0 {
            seq.serialize_element(&(number, bytes))?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Sections {
    /// Refuses numbers that do not ascend: equal messages have equal bytes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ascending;
        impl<'de> Visitor<'de> for Ascending {
            type Value = Sections;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("sections in ascending order of their numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sections, A::Error> {
                let mut sections: Vec<(u16, Vec<u8>)> = Vec::new();
                while let Some((number, bytes)) = seq.next_element::<(u16, Vec<u8>)>()? {
                    if sections.last().is_some_and(|(last, _)| number <= *last) {
                        return Err(A::Error::custom("section numbers in ascending order"));
                    }
                    sections.push((number, bytes));
                }
                Ok(Sections(sections))
            }
        }
        deserializer.deserialize_seq(Ascending)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::protocol::{ClientSummary, GroupScores, Wire as _};
    use crate::types::{ClientId, Matrix, Round};

    fn summary(sections: &[(u16, &[u8])]) -> ClientSummary {
        let mut summary = ClientSummary::new(ClientId(1), Round(0), Vec::new(), Matrix::zeros(0, 0));
        for (number, bytes) in sections {
            summary.sections.insert(*number, bytes.to_vec());
        }
        summary
    }

    #[test]
    fn unknown_sections_are_passed_over_unless_they_must_be_understood() {
        let later = summary(&[(9, b"later"), (127, b"")]);
        let bytes = later.encode().unwrap();
        assert_eq!(ClientSummary::decode(&bytes).unwrap(), later, "and handed on as they came");
        let error = summary(&[(128, b"x")]).encode().unwrap_err().to_string();
        assert!(error.contains("client_summary: sections") && error.contains("number 128"), "{error}");
    }

    #[test]
    fn sections_without_order_and_too_many_are_refused() {
        let mut bytes = summary(&[(33, b"a"), (34, b"b")]).encode().unwrap();
        let at = bytes.len() - 3;
        assert_eq!(bytes[at], 34);
        bytes[at] = 33;
        assert!(ClientSummary::decode(&bytes).is_err());
        let many: Vec<(u16, &[u8])> = (10..80).map(|n| (n, &b""[..])).collect();
        assert!(summary(&many).encode().unwrap_err().to_string().contains("at most 64"));
    }

    #[test]
    fn a_section_of_wrong_bytes_is_named() {
        let message = summary(&[(1, b"\xff\xff\xff\xff\xff")]);
        let error = message.sections.get::<GroupScores>().unwrap_err().to_string();
        assert!(error.contains("section `group_scores`"), "{error}");
        assert!(message.encode().is_err(), "it is looked at when the message is checked");
    }
}
