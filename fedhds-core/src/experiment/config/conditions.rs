//! The conditions of an experiment, in the order of the file.

use super::seeds::Seeds;
use crate::dataset::Condition;
use crate::error::{Error, Result};
use crate::simulate::AttackConfig;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::collections::BTreeSet;

/// Data conditions by the names that tables and folders call them, in the order in which they were written. None: the data as they are,
/// dealt once for all seeds.
///
/// In TOML a table: a name, and the knobs of [`Condition`] or the name of one that [`Condition::named`] knows. Beside the knobs may stand
/// `seeds`: those of this condition, in the place of the experiment's, and `attack`: what hostile clients do under it, likewise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions(Vec<Entry>);

/// A condition by its name.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    condition: Condition,
    /// In the place of the experiment's.
    seeds: Option<Vec<u64>>,
    /// Likewise.
    attack: Option<AttackConfig>,
}

/// The names that stand for a condition, for the message about another one.
const NAMED: &[&str] = &["clean", "mix"];

/// Folders that an experiment needs for itself.
const TAKEN: [&str; 2] = ["untuned", "features"];

impl Conditions {
    /// These conditions in this order.
    pub fn new(conditions: impl IntoIterator<Item = (String, Condition)>) -> Self {
        Self(
            conditions
                .into_iter()
                .map(|(name, condition)| Entry { name, condition, seeds: None, attack: None })
                .collect(),
        )
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
        self.0.iter().map(|entry| (entry.name.as_str(), &entry.condition))
    }

    /// The condition of this place.
    pub fn get(&self, place: usize) -> Option<(&str, &Condition)> {
        self.0.get(place).map(|entry| (entry.name.as_str(), &entry.condition))
    }

    /// The seeds of the condition of this place; none where they are the experiment's.
    pub fn seeds(&self, place: usize) -> Option<&[u64]> {
        self.0.get(place).and_then(|entry| entry.seeds.as_deref())
    }

    /// The attack of the condition of this name; none where it is the experiment's.
    pub fn attack(&self, name: &str) -> Option<&AttackConfig> {
        self.0.iter().find(|entry| entry.name == name).and_then(|entry| entry.attack.as_ref())
    }

    /// All conditions have the experiment's seeds.
    pub(super) fn forget_seeds(&mut self) {
        self.0.iter_mut().for_each(|entry| entry.seeds = None);
    }

    /// Of these names alone, in the order of the file.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no condition has.
    pub(super) fn keep(&mut self, names: &[String]) -> Result<()> {
        if let Some(unknown) = names.iter().find(|name| !self.0.iter().any(|entry| entry.name == **name)) {
            let known: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            let known = if known.is_empty() { "none: there are no conditions".into() } else { known.join(", ") };
            return Err(Error::config("data.conditions", format!("expected some of {known}, got `{unknown}`")));
        }
        self.0.retain(|entry| names.contains(&entry.name));
        Ok(())
    }

    /// Checks names, knobs and seeds.
    ///
    /// # Errors
    /// [`Error::Config`] with the key under `data.conditions`.
    pub fn check(&self) -> Result<()> {
        let mut folders = BTreeSet::new();
        for Entry { name, condition, seeds, attack } in &self.0 {
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
            let checked = attack.as_ref().map_or(Ok(()), AttackConfig::check);
            checked.map_err(|error| error.under(&format!("{key}.attack")))?;
            seeds.as_deref().map_or(Ok(()), |seeds| super::distinct(&format!("{key}.seeds"), seeds))?;
        }
        Ok(())
    }
}

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        /// The knobs that are on, the seeds and the attack.
        #[derive(serde::Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            condition: &'a Condition,
            #[serde(skip_serializing_if = "Option::is_none")]
            seeds: Option<&'a [u64]>,
            #[serde(skip_serializing_if = "Option::is_none")]
            attack: Option<&'a AttackConfig>,
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Entry { name, condition, seeds, attack } in &self.0 {
            map.serialize_entry(name, &Written { condition, seeds: seeds.as_deref(), attack: attack.as_ref() })?;
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
                while let Some((name, Told { condition, seeds, attack })) = map.next_entry()? {
                    conditions.push(Entry { name, condition, seeds, attack });
                }
                Ok(Conditions(conditions))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

/// A condition by its name or its knobs, its seeds and its attack.
struct Told {
    condition: Condition,
    seeds: Option<Vec<u64>>,
    attack: Option<AttackConfig>,
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Told;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a condition's name or a table of its knobs")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Told, E> {
                let condition = Condition::named(name).ok_or_else(|| E::unknown_variant(name, NAMED))?;
                Ok(Told { condition, seeds: None, attack: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Told, A::Error> {
                let (mut seeds, mut attack) = (None, None);
                let knobs = Knobs { map, seeds: &mut seeds, attack: &mut attack };
                let condition = Condition::deserialize(MapAccessDeserializer::new(knobs))?;
                Ok(Told { condition, seeds, attack })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The entries of a condition but for its seeds and its attack, which are set aside.
struct Knobs<'a, A> {
    map: A,
    seeds: &'a mut Option<Vec<u64>>,
    attack: &'a mut Option<AttackConfig>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Knobs<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> std::result::Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            match key.as_str() {
                "seeds" => {
                    let Seeds(seeds) = self.map.next_value()?;
                    *self.seeds = Some(seeds);
                }
                "attack" => *self.attack = Some(self.map.next_value()?),
                _ => return seed.deserialize(StringDeserializer::new(key)).map(Some),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> std::result::Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
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
    fn a_condition_may_have_seeds_of_its_own() {
        let text = "a = { junk = 0.5, seeds = [7, 3] }\nb = { seeds = { first = 100, count = 3 } }\nmix = \"mix\"\n";
        let read = config(text).unwrap();
        let seeds: Vec<_> = (0..3).map(|place| read.data.conditions.seeds(place)).collect();
        assert_eq!(seeds, [Some(&[7, 3][..]), Some(&[100, 101, 102][..]), None]);
        assert_eq!(read.seeds_of(Some(2)), read.seeds);
        assert!(read.data.conditions.get(1).unwrap().1.is_clean());
        let written = toml::to_string(&read).unwrap();
        assert_eq!(ExperimentConfig::parse(&written).unwrap(), read, "{written}");
    }

    #[test]
    fn a_condition_may_have_an_attack_of_its_own() {
        let text = "none = {}\nalie = { attack = { kind = \"alie\", clients = 0.2, z = 1.5 }, seeds = [4] }\n";
        let read = config(text).unwrap();
        assert_eq!(read.attack_of(Some("alie")).unwrap().to_string(), "alie (z 1.5), 0.2 of the clients");
        assert!(read.attack_of(Some("none")).is_none() && read.data.conditions.get(1).unwrap().1.is_clean());
        assert_eq!(read.seeds_of(Some(1)), [4]);
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
            ("a = { seeds = [] }", "at least one"),
            ("a = { seeds = [1, 1] }", "`1` twice"),
            ("a = { seeds = 3 }", "a list of seeds"),
            ("a = { seeds = { first = 1, count = 0 } }", "from 1 to"),
            ("a = { seeds = { first = 1, counts = 2 } }", "did you mean `count`?"),
            ("\"../a\" = {}", "a folder's"),
            ("a = { attack = { kind = \"alei\", clients = 0.2 } }", "did you mean `alie`?"),
            ("a = { attack = { kind = \"zero\", clients = 2.0 } }", "data.conditions.a.attack.clients"),
            ("untuned = {}", "another name"),
            ("\"a b\" = {}\na_b = {}", "`a_b` twice"),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains("data.conditions") && error.contains(word), "{text}: {error}");
        }
    }
}
