//! The conditions of an experiment, in the order of the file.

use crate::dataset::Condition;
use crate::error::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::collections::BTreeSet;

/// Data conditions by the names that tables and folders call them, in the order in which they were written. None: the data as they are,
/// dealt once for all seeds.
///
/// In TOML a table: a name, and the knobs of [`Condition`] or the name of one that [`Condition::named`] knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions(Vec<(String, Condition)>);

/// The names that stand for a condition, for the message about another one.
const NAMED: &[&str] = &["clean", "mix"];

/// Folders that an experiment needs for itself.
const TAKEN: [&str; 2] = ["untuned", "features"];

impl Conditions {
    /// These conditions in this order.
    pub fn new(conditions: impl IntoIterator<Item = (String, Condition)>) -> Self {
        Self(conditions.into_iter().collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names and conditions in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Condition)> {
        self.0.iter().map(|(name, condition)| (name.as_str(), condition))
    }

    /// The condition of this place.
    pub fn get(&self, place: usize) -> Option<(&str, &Condition)> {
        self.0.get(place).map(|(name, condition)| (name.as_str(), condition))
    }

    /// Checks names and knobs.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `data.conditions`.
    pub fn check(&self) -> Result<()> {
        let mut folders = BTreeSet::new();
        for (name, condition) in &self.0 {
            let key = format!("data.conditions.{name}");
            if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(Error::config(key, format!("expected a name that can be a folder's, got `{name}`")));
            }
            let folder = super::folder_of(name).to_lowercase();
            if TAKEN.contains(&folder.as_str()) {
                return Err(Error::config(key, "expected another name: the experiment has a folder of this one"));
            }
            if !folders.insert(folder.clone()) {
                let message = format!("expected names whose folders differ, got `{folder}` twice");
                return Err(Error::config(key, message));
            }
            condition.check().map_err(|error| error.under(&key))?;
        }
        Ok(())
    }
}

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, condition) in &self.0 {
            map.serialize_entry(name, condition)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Conditions;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of conditions by their names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Conditions, A::Error> {
                let mut conditions = Vec::new();
                while let Some((name, Entry(condition))) = map.next_entry()? {
                    conditions.push((name, condition));
                }
                Ok(Conditions(conditions))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

/// A condition by its name or its knobs.
struct Entry(Condition);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a condition's name or a table of its knobs")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Entry, E> {
                Condition::named(name).map(Entry).ok_or_else(|| E::unknown_variant(name, NAMED))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Entry, A::Error> {
                Condition::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::experiment::ExperimentConfig;

    fn config(conditions: &str) -> Result<ExperimentConfig> {
        let text = format!(
            "methods = [\"random\"]\n[data]\nformat = \"embedded\"\npartition = {{ kind = \"iid\", clients = 4 }}\n\
             [data.conditions]\n{conditions}"
        );
        ExperimentConfig::parse(&text).and_then(|config| config.check_settings().map(|()| config))
    }

    #[test]
    fn the_order_of_the_file_is_kept() {
        let text = "zero = {}\nmix = \"mix\"\n\"duplicates .8\" = { duplicates = 0.8 }\na = { junk = 1, scarce = 5 }\n";
        let read = config(text).unwrap();
        let names: Vec<&str> = read.data.conditions.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["zero", "mix", "duplicates .8", "a"]);
        let knobs: Vec<&Condition> = read.data.conditions.iter().map(|(_, condition)| condition).collect();
        assert_eq!(*knobs[1], Condition::mix());
        assert_eq!((knobs[2].duplicates, knobs[3].junk, knobs[3].scarce), (0.8, 1.0, Some(5)));
        let written = toml::to_string(&read).unwrap();
        assert_eq!(ExperimentConfig::parse(&written).unwrap(), read, "{written}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("mix = \"mx\"", "did you mean `mix`?"),
            ("a = { dupicates = 0.3 }", "did you mean `duplicates`?"),
            ("a = { duplicates = 1.0 }", "data.conditions.a.duplicates"),
            ("a = { junk = \"much\" }", "got the text `much`"),
            ("a = 3", "got `3`"),
            ("\"../a\" = {}", "a folder's"),
            ("untuned = {}", "another name"),
            ("\"a b\" = {}\na_b = {}", "`a_b` twice"),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains("data.conditions") && error.contains(word), "{text}: {error}");
        }
    }
}
