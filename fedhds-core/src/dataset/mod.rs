//! Instruction data: loaders, prompt templates, partitions over clients.
//!
//! A [`Format`] reads files into a [`Dataset`]; a partitioner deals its records to clients; a [`RenderPrompt`] turns a
//! record into the text that a model reads and the text that it should answer.

// A new format is a file with a type that implements `reader::Reader`, and in this file its `mod` and its line in `FORMATS`.
mod alpaca;
mod dolly;
#[cfg(feature = "experiment")]
pub mod embedded;
mod jsonl;
mod messages;
mod natural_instructions;
mod table;

pub mod conditions;
mod family;
mod fields;
mod foreign;
mod format;
mod lines;
mod loaded;
mod nan;
mod objects;
mod options;
#[cfg(feature = "packed")]
mod packed;
mod partition;
pub mod presets;
mod prompt;
mod reader;
pub mod rules;
mod source;
mod turns;
mod values;

/// Every format, in the order in which [`Format::guess`] asks them: the particular before the general.
const FORMATS: &[Format] = &[
    Format::NATURAL_INSTRUCTIONS,
    Format::of(&table::Table),
    Format::of(&messages::Messages),
    Format::DOLLY,
    Format::of(&alpaca::Alpaca),
    Format::of(&jsonl::Jsonl),
    #[cfg(feature = "experiment")]
    Format::of(&embedded::Embedded),
];

pub use conditions::{Condition, Flaw, JunkGenerators, JunkKind, Knob, Reached, RecordTruth, Swap, Truth};
pub use family::family_of;
pub use fields::Fields;
pub use foreign::foreign;
pub use format::{Format, GUESS, Loaded, check_name, load};
pub use lines::Lines;
pub use loaded::{At, LeftOut, Origin};
pub use options::{LoadOptions, NaturalInstructionsOptions};
pub use partition::{GroupBy, Partition};
pub use presets::DataPreset;
pub use prompt::{CustomPrompt, Prompt, PromptTemplate, RenderPrompt, Rendered};
pub use reader::{ReadFrom, TestRecords};
pub use source::Source;
pub use turns::{Conversation, TurnFault, conversation};
pub use values::{BadRecord, BlankResponse};

use crate::error::{Error, Result};
use crate::sorting;
use crate::types::{ClientId, Record, Seed};
use rand::seq::index;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Records under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dataset {
    /// What run records and messages call it, for example the file's or folder's name.
    pub name: String,
    /// The records, in the order of the files they came from; their ids are unique.
    pub records: Vec<Record>,
}

/// The records of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientData {
    /// The client, dense from 0.
    pub client: ClientId,
    /// What it is called: the task of a one-task client, else `client-<number>`.
    pub name: String,
    /// Its records; never empty.
    pub records: Vec<Record>,
}

/// What a federation runs on: the clients' records and the test set that none of them holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedDataset {
    /// The clients, in the order of their ids.
    pub clients: Vec<ClientData>,
    /// The records of the evaluation.
    pub test: Dataset,
}

impl FederatedDataset {
    /// All clients' records together.
    pub fn train_records(&self) -> usize {
        self.clients.iter().map(|client| client.records.len()).sum()
    }
}

impl Dataset {
    /// A data set of records that keep the promises of [`Record`].
    ///
    /// # Errors
    /// [`Error::Input`] that names the first record without an id, with an id that came before, or with a response
    /// missing or blank.
    pub fn new(name: impl Into<String>, records: Vec<Record>) -> Result<Self> {
        let name = name.into();
        let mut seen = BTreeSet::new();
        for (i, record) in records.iter().enumerate() {
            let what = || format!("data set `{name}`, record {i}");
            if record.id.is_empty() {
                return Err(Error::input(&what(), "an id", "an empty one"));
            }
            if !seen.insert(record.id.as_str()) {
                return Err(Error::input(&what(), "an id of its own", format!("`{}` again", record.id)));
            }
            if record.responses.is_empty() || record.responses.iter().any(|r| r.trim().is_empty()) {
                return Err(Error::input(&what(), "responses that are not blank", format!("{:?}", record.responses)));
            }
        }
        Ok(Self { name, records })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The numbers of the records of each category, categories in alphabetical order.
    pub fn by_category(&self) -> BTreeMap<&str, Vec<usize>> {
        self.group_by(|record| record.category.as_str())
    }

    /// The numbers of the records of each family, families in alphabetical order.
    pub fn by_family(&self) -> BTreeMap<&str, Vec<usize>> {
        self.group_by(|record| record.family.as_str())
    }

    /// The numbers of the records that share a key, keys in their order, numbers ascending.
    pub fn group_by<'a, K: Ord>(&'a self, key: impl Fn(&'a Record) -> K) -> BTreeMap<K, Vec<usize>> {
        let mut groups = BTreeMap::<K, Vec<usize>>::new();
        for (i, record) in self.records.iter().enumerate() {
            groups.entry(key(record)).or_default().push(i);
        }
        groups
    }

    /// The records of these numbers, in this order, under the same name.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first number that is not a record's.
    pub fn subset(&self, rows: &[usize]) -> Result<Self> {
        let records = rows
            .iter()
            .map(|&i| {
                let record = self.records.get(i).cloned();
                record.ok_or_else(|| Error::input("record number", format!("below {}", self.len()), i))
            })
            .collect::<Result<_>>()?;
        Ok(Self { name: self.name.clone(), records })
    }

    /// Keeps the records that `keep` accepts and returns how many went. A length limit in tokens is such a filter: the
    /// tokenizer is the caller's, since data knows no model.
    ///
    /// # Errors
    /// The first error of `keep`; the data set is then unchanged.
    pub fn retain_with(&mut self, mut keep: impl FnMut(&Record) -> Result<bool>) -> Result<usize> {
        let kept = self.records.iter().map(&mut keep).collect::<Result<Vec<bool>>>()?;
        let before = self.len();
        let mut kept = kept.into_iter();
        self.records.retain(|_| kept.next().unwrap_or(false));
        Ok(before - self.len())
    }

    /// Keeps at most `most` records of each category, drawn without replacement and left in their order.
    pub fn cap_per_category(&mut self, most: usize, seed: Seed) {
        let mut kept = Vec::new();
        for (category, rows) in self.by_category() {
            kept.extend(sample(&rows, most, seed.derive(category, 0)));
        }
        sorting::sort(&mut kept);
        let mut old = std::mem::take(&mut self.records).into_iter().enumerate();
        for i in kept {
            self.records.extend(old.find(|(j, _)| *j == i).map(|(_, record)| record));
        }
    }
}

/// At most `most` of `items`, drawn without replacement and left in their order; all of them where there are no more.
pub fn sample<T: Clone>(items: &[T], most: usize, seed: Seed) -> Vec<T> {
    if items.len() <= most {
        return items.to_vec();
    }
    let mut chosen = index::sample(&mut seed.rng(), items.len(), most).into_vec();
    sorting::sort(&mut chosen);
    chosen.into_iter().filter_map(|i| items.get(i).cloned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn record(id: &str, category: &str) -> Record {
        Record {
            id: id.into(),
            instruction: "Do.".into(),
            responses: vec!["Done.".into()],
            category: category.into(),
            family: category.into(),
            ..Record::default()
        }
    }

    #[test]
    fn records_without_id_or_response_and_doubled_ids_are_named() {
        let bad = |records| Dataset::new("d", records).unwrap_err().to_string();
        assert!(bad(vec![record("a", ""), record("a", "")]).contains("record 1: expected an id of its own, got `a`"));
        assert!(bad(vec![record("", "")]).contains("record 0: expected an id"));
        let blank = Record { responses: vec!["x".into(), " \n".into()], ..record("a", "") };
        assert!(bad(vec![blank]).contains("not blank"));
        assert!(bad(vec![Record { responses: vec![], ..record("a", "") }]).contains("not blank"));
        assert!(Dataset::new("d", vec![]).unwrap().is_empty());
    }

    #[test]
    fn filters_and_caps_keep_the_order() {
        let records = (0..40).map(|i| record(&i.to_string(), if i % 4 == 0 { "a" } else { "b" })).collect();
        let all = Dataset::new("d", records).unwrap();
        let mut capped = all.clone();
        capped.cap_per_category(5, Seed(1));
        assert_eq!(capped.by_category().values().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
        let ids: Vec<u32> = capped.records.iter().map(|r| r.id.parse().unwrap()).collect();
        assert!(ids.is_sorted());
        let mut again = all.clone();
        again.cap_per_category(5, Seed(1));
        assert_eq!(again, capped);
        again = all.clone();
        again.cap_per_category(5, Seed(2));
        assert_ne!(again, capped);
        let mut short = all.clone();
        assert_eq!(short.retain_with(|r| Ok(r.id.len() < 2)).unwrap(), 30);
        assert_eq!(short.records[9].id, "9");
        let unchanged = short.clone();
        assert!(short.retain_with(|_| Err(Error::Cancelled)).is_err());
        assert_eq!(short, unchanged);
        assert_eq!(all.subset(&[3, 1]).unwrap().records[1].id, "1");
        assert!(all.subset(&[40]).unwrap_err().to_string().contains("below 40"));
    }
}
