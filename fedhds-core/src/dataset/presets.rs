//! The paper's preparation of its two data sets, by name.
//!
//! The experimental setup of arXiv 2410.10926. Sampling is by our seeds, so the records are not the paper's own draws.

use super::{BlankResponse, Dataset, FederatedDataset, Format, GroupBy, LoadOptions, Partition, sample};
use crate::error::{Error, Result};
use crate::sorting;
use crate::types::{Control, Record, Seed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Says whether a record can be used: the caller's limit in tokens, since data knows no tokenizer.
pub type Usable<'a> = dyn FnMut(&Record) -> Result<bool> + 'a;

/// A preparation by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataPreset {
    /// Natural Instructions: a client per train task with 20% of its usable records, tasks with fewer than 20 such
    /// records left out (738 of 756 stay); the test set is 2% of each unseen task, at least 20 records of it.
    #[serde(rename = "paper_natural_instructions")]
    NaturalInstructions,
    /// Dolly-15K: 200 clients by Dirichlet(0.5) over the category of all categories but the last in alphabetical order
    /// (summarization), which is the test set.
    #[serde(rename = "paper_dolly_0.5")]
    DollySkewed,
    /// The same with Dirichlet(5.0).
    #[serde(rename = "paper_dolly_5.0")]
    DollyMixed,
}

/// Share of a train task's usable records that its client holds.
const TRAIN_SHARE: f64 = 0.2;
/// Fewest records of a client, after that share is drawn.
const MIN_RECORDS: usize = 20;
/// Share of an unseen task's usable records in the test set.
const TEST_SHARE: f64 = 0.02;
/// Fewest test records of an unseen task that has so many.
const MIN_TEST_RECORDS: usize = 20;
/// Clients on Dolly-15K.
const DOLLY_CLIENTS: usize = 200;

impl DataPreset {
    /// All of them.
    pub const ALL: [DataPreset; 3] = [DataPreset::NaturalInstructions, DataPreset::DollySkewed, DataPreset::DollyMixed];

    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            DataPreset::NaturalInstructions => "paper_natural_instructions",
            DataPreset::DollySkewed => "paper_dolly_0.5",
            DataPreset::DollyMixed => "paper_dolly_5.0",
        }
    }

    /// The format of the data that it prepares.
    pub fn format(self) -> Format {
        match self {
            DataPreset::NaturalInstructions => Format::NATURAL_INSTRUCTIONS,
            DataPreset::DollySkewed | DataPreset::DollyMixed => Format::DOLLY,
        }
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the names that there are, and the one that may be meant.
    pub fn by_name(name: &str) -> Result<Self> {
        let found = DataPreset::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| Error::unknown_name("preset", DataPreset::ALL.map(DataPreset::name), name))
    }

    /// Reads the data set at `path` (Natural Instructions' folder, or Dolly's file) and prepares it.
    ///
    /// Records without a response that is not blank are left out.
    ///
    /// # Errors
    /// Those of the loaders and of the preparation.
    pub fn load(self, path: &Path, usable: &mut Usable<'_>, seed: Seed, control: &Control) -> Result<FederatedDataset> {
        let read = |split: Option<&str>| {
            let options = LoadOptions {
                blank_response: BlankResponse::Skip,
                split: split.map(Into::into),
                ..LoadOptions::default()
            };
            self.format().load(path, &options, control).map(|loaded| loaded.dataset)
        };
        match self {
            DataPreset::NaturalInstructions => {
                natural_instructions(read(Some("train"))?, read(Some("test"))?, usable, seed)
            }
            DataPreset::DollySkewed => dolly(read(None)?, 0.5, usable, seed),
            DataPreset::DollyMixed => dolly(read(None)?, 5.0, usable, seed),
        }
    }
}

/// The paper's preparation of Natural Instructions, of records that were read before.
///
/// # Errors
/// The first error of `usable`; [`Error::Input`] where no task has 20 usable records in its 20%, or no test record is
/// usable.
pub fn natural_instructions(
    mut train: Dataset,
    mut test: Dataset,
    usable: &mut Usable<'_>,
    seed: Seed,
) -> Result<FederatedDataset> {
    train.retain_with(&mut *usable)?;
    test.retain_with(&mut *usable)?;
    let held = draw(&train, seed.derive("train", 0), |records| (records as f64 * TRAIN_SHARE) as usize)?;
    let held = draw(&held, seed, |records| if records < MIN_RECORDS { 0 } else { records })?;
    if held.is_empty() {
        let expected = format!("a task with {MIN_RECORDS} records in {}% of its usable ones", TRAIN_SHARE * 100.0);
        return Err(Error::input(&format!("data set `{}`", train.name), expected, "none"));
    }
    let test = draw(&test, seed.derive("test", 0), |n| ((n as f64 * TEST_SHARE) as usize).max(MIN_TEST_RECORDS))?;
    if test.is_empty() {
        return Err(Error::input(&format!("test set `{}`", test.name), "usable records", "none"));
    }
    let clients = Partition::OneTaskPerClient { min_records: MIN_RECORDS }.deal(&held, seed)?;
    Ok(FederatedDataset { clients, test })
}

/// The paper's preparation of Dolly-15K, of records that were read before. Its minimum for a client is one record.
///
/// # Errors
/// The first error of `usable`; [`Error::Input`] for fewer than two categories; [`Error::Parameter`] where the train
/// categories hold fewer records than there are clients.
pub fn dolly(mut data: Dataset, alpha: f64, usable: &mut Usable<'_>, seed: Seed) -> Result<FederatedDataset> {
    data.retain_with(&mut *usable)?;
    let mut groups: BTreeMap<&str, Vec<usize>> = data.by_category();
    let found = groups.len();
    let Some((_, unseen)) = groups.pop_last().filter(|_| found > 1) else {
        return Err(Error::input(&format!("data set `{}`", data.name), "at least 2 categories", found));
    };
    let test = data.subset(&unseen)?;
    let mut rows: Vec<usize> = groups.into_values().flatten().collect();
    sorting::sort(&mut rows);
    let partition = Partition::Dirichlet { clients: DOLLY_CLIENTS, alpha, by: GroupBy::Category, min_records: 1 };
    let clients = partition.deal(&data.subset(&rows)?, seed)?;
    Ok(FederatedDataset { clients, test })
}

/// So many records of each category as `count` says of their number, in their order.
fn draw(data: &Dataset, seed: Seed, count: impl Fn(usize) -> usize) -> Result<Dataset> {
    let mut rows = Vec::new();
    for (category, numbers) in data.by_category() {
        rows.extend(sample(&numbers, count(numbers.len()), seed.derive(category, 0)));
    }
    sorting::sort(&mut rows);
    data.subset(&rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn data(name: &str, sizes: &[(&str, usize)]) -> Dataset {
        let mut records = Vec::new();
        for (category, size) in sizes {
            records.extend((0..*size).map(|i| Record {
                id: format!("{category}-{i}"),
                instruction: "Do.".into(),
                responses: vec!["Done.".into()],
                category: (*category).into(),
                family: (*category).into(),
                ..Record::default()
            }));
        }
        Dataset::new(name, records).unwrap()
    }

    #[test]
    fn natural_instructions_by_the_papers_rules() {
        let train = data("train", &[("a", 100), ("b", 99), ("c", 1000)]);
        let test = data("test", &[("x", 10), ("y", 500), ("z", 2000)]);
        let prepare = |seed| natural_instructions(train.clone(), test.clone(), &mut |_| Ok(true), Seed(seed)).unwrap();
        let prepared = prepare(1);
        let sizes: Vec<_> = prepared.clients.iter().map(|c| (c.name.as_str(), c.records.len())).collect();
        assert_eq!(sizes, [("a", 20), ("c", 200)]);
        assert_eq!(prepared.train_records(), 220);
        let sizes: Vec<_> = prepared.test.by_category().into_iter().map(|(k, v)| (k, v.len())).collect();
        assert_eq!(sizes, [("x", 10), ("y", 20), ("z", 40)]);
        assert_eq!(prepare(1), prepared);
        assert_ne!(prepare(2), prepared);
        let mut usable = |record: &Record| Ok(record.category != "a");
        let without = natural_instructions(train.clone(), test.clone(), &mut usable, Seed(1)).unwrap();
        assert_eq!(without.clients.len(), 1);
        assert!(natural_instructions(train, test, &mut |_| Ok(false), Seed(1)).is_err());
    }

    #[test]
    fn dolly_keeps_the_last_category_for_the_test() {
        let all = data("dolly", &[("summarization", 30), ("brainstorming", 400), ("open_qa", 300)]);
        let prepared = dolly(all.clone(), 0.5, &mut |_| Ok(true), Seed(1)).unwrap();
        assert_eq!(prepared.clients.len(), 200);
        assert_eq!(prepared.train_records(), 700);
        assert!(prepared.test.records.iter().all(|r| r.category == "summarization"));
        assert_eq!(prepared.test.len(), 30);
        assert!(dolly(data("one", &[("a", 300)]), 0.5, &mut |_| Ok(true), Seed(1)).is_err());
        assert!(dolly(data("few", &[("a", 100), ("b", 100)]), 0.5, &mut |_| Ok(true), Seed(1)).is_err());
    }

    #[test]
    fn presets_are_found_by_name() {
        for preset in DataPreset::ALL {
            assert_eq!(DataPreset::by_name(preset.name()).unwrap(), preset);
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.name());
        }
        assert!(DataPreset::by_name("paper").unwrap_err().to_string().contains("paper_dolly_0.5"));
    }

    #[test]
    fn real_tasks_are_prepared() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/p3-ni");
        if !folder.is_dir() {
            eprintln!("skipped: {} is not there", folder.display());
            return;
        }
        let load = || DataPreset::NaturalInstructions.load(&folder, &mut |_| Ok(true), Seed(1), &Control::default());
        let prepared = load().unwrap();
        assert!(prepared.clients.len() > 100 && prepared.clients.len() < 177, "{}", prepared.clients.len());
        assert!(prepared.clients.iter().all(|client| (20..=40).contains(&client.records.len())));
        assert_eq!(prepared.test.by_category().len(), 42);
        assert_eq!(prepared, load().unwrap());
    }
}
