//! Deals a data set's records to clients: each record to exactly one, each client at least its minimum.
//!
//! The same records, partition and seed give the same clients. A client's records stay in the order of the data set.

mod dirichlet;
mod even;
mod labels;
mod task;

use super::{ClientData, Dataset};
use crate::error::{Error, Result};
use crate::sorting;
use crate::types::range::{above_zero, at_least};
use crate::types::{ClientId, Record, Seed};
use serde::{Deserialize, Serialize};

/// How records are dealt. In a configuration: `kind = "dirichlet"` and the fields of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
    /// One client per category, in alphabetical order: the paper's federation on Natural Instructions.
    OneTaskPerClient {
        /// Fewest records of a client, at least 1. Default 1. A smaller task is an error: drop it from the data first.
        #[serde(default = "one")]
        min_records: usize,
    },
    /// Independent and identically distributed: shuffled and cut evenly (sizes differ by at most 1).
    Iid {
        /// How many clients, at least 1.
        clients: usize,
        /// Fewest records of a client, at least 1. Default 1.
        #[serde(default = "one")]
        min_records: usize,
    },
    /// Each group's records are split over the clients by shares drawn from a symmetric Dirichlet distribution
    /// (Hsu et al., arXiv 1909.06335): the paper's federation on Dolly. It is drawn once, and clients that are then below
    /// the minimum are given random records of the largest clients, so it ends for every alpha.
    Dirichlet {
        /// How many clients, at least 1.
        clients: usize,
        /// Concentration, above 0: near 0 a group goes to one client, large values split it evenly.
        alpha: f64,
        /// What makes a group. Default the category.
        #[serde(default)]
        by: GroupBy,
        /// Fewest records of a client, at least 1. Default 1.
        #[serde(default = "one")]
        min_records: usize,
    },
    /// Each client holds this many groups; a group's records are split evenly over the clients that hold it. All groups
    /// are held by some client, and by about equally many.
    Labels {
        /// How many clients, at least 1.
        clients: usize,
        /// Groups of a client, from 1 to the number of groups.
        labels_per_client: usize,
        /// What makes a group. Default the category.
        #[serde(default)]
        by: GroupBy,
        /// Fewest records of a client, at least 1. Default 1.
        #[serde(default = "one")]
        min_records: usize,
    },
}

/// What records are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// [`Record::category`].
    #[default]
    Category,
    /// [`Record::family`].
    Family,
}

fn one() -> usize {
    1
}

impl GroupBy {
    /// The record's group.
    pub fn of(self, record: &Record) -> &str {
        match self {
            GroupBy::Category => &record.category,
            GroupBy::Family => &record.family,
        }
    }

    /// The record numbers of each group, groups in alphabetical order.
    fn groups(self, data: &Dataset) -> Vec<Vec<usize>> {
        data.group_by(|record| self.of(record)).into_values().collect()
    }
}

impl Partition {
    /// Checks the parameters that can be checked without data.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the name, range and value.
    pub fn check(&self) -> Result<()> {
        let (clients, min_records) = match *self {
            Partition::OneTaskPerClient { min_records } => (1, min_records),
            Partition::Iid { clients, min_records }
            | Partition::Dirichlet { clients, min_records, .. }
            | Partition::Labels { clients, min_records, .. } => (clients, min_records),
        };
        at_least("clients", clients, 1)?;
        at_least("min_records", min_records, 1)?;
        match *self {
            Partition::Dirichlet { alpha, .. } => above_zero("alpha", alpha),
            Partition::Labels { labels_per_client, .. } => at_least("labels_per_client", labels_per_client, 1),
            Partition::OneTaskPerClient { .. } | Partition::Iid { .. } => Ok(()),
        }
    }

    /// The record numbers of each client, ascending within a client; every record once.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the data cannot give so many clients their minimum: the message says what they can.
    /// [`Error::Input`] for a data set without records.
    pub fn split(&self, data: &Dataset, seed: Seed) -> Result<Vec<Vec<usize>>> {
        self.check()?;
        if data.is_empty() {
            return Err(Error::input(&format!("data set `{}`", data.name), "at least one record", "none"));
        }
        let seed = seed.derive("partition", 0);
        let mut clients = match *self {
            Partition::OneTaskPerClient { min_records } => task::split(data, min_records)?,
            Partition::Iid { clients, min_records } => {
                enough(data, clients, min_records)?;
                even::split((0..data.len()).collect(), clients, seed)
            }
            Partition::Dirichlet { clients, alpha, by, min_records } => {
                enough(data, clients, min_records)?;
                dirichlet::split(by.groups(data), clients, alpha, min_records, seed)?
            }
            Partition::Labels { clients, labels_per_client, by, min_records } => {
                enough(data, clients, min_records)?;
                labels::split(by.groups(data), clients, labels_per_client, min_records, seed)?
            }
        };
        clients.iter_mut().for_each(|rows| sorting::sort(rows));
        Ok(clients)
    }

    /// The clients with their records. Clients of [`Partition::OneTaskPerClient`] are called by their task.
    ///
    /// # Errors
    /// As [`Partition::split`].
    pub fn deal(&self, data: &Dataset, seed: Seed) -> Result<Vec<ClientData>> {
        let clients = self.split(data, seed)?;
        clients
            .iter()
            .zip(0..)
            .map(|(rows, number)| {
                let records = data.subset(rows)?.records;
                let name = match self {
                    Partition::OneTaskPerClient { .. } => {
                        records.first().map(|r| r.category.clone()).unwrap_or_default()
                    }
                    _ => format!("client-{number}"),
                };
                Ok(ClientData { client: ClientId(number), name, records })
            })
            .collect()
    }
}

/// Whether the records could give every client its minimum.
fn enough(data: &Dataset, clients: usize, min_records: usize) -> Result<()> {
    if clients > data.len() {
        return Err(Error::parameter("clients", format!("at most {}, the number of records", data.len()), clients));
    }
    if data.len() / clients < min_records {
        let expected = format!("at most {} for {clients} clients of {} records", data.len() / clients, data.len());
        return Err(Error::parameter("min_records", expected, min_records));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Record `i` belongs to category `groups[i]`; families join two categories each.
    fn data(groups: &[u8]) -> Dataset {
        let record = |(i, group): (usize, &u8)| Record {
            id: i.to_string(),
            instruction: "Do.".into(),
            responses: vec!["Done.".into()],
            category: format!("c{group}"),
            family: format!("f{}", group / 2),
            ..Record::default()
        };
        Dataset::new("d", groups.iter().enumerate().map(record).collect()).unwrap()
    }

    fn covers(clients: &[Vec<usize>], records: usize) {
        let mut all: Vec<usize> = clients.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..records).collect::<Vec<_>>());
        assert!(clients.iter().all(|rows| rows.is_sorted()));
    }

    #[test]
    fn tasks_are_clients() {
        let data = data(&[2, 1, 2, 0, 1, 2]);
        let partition = Partition::OneTaskPerClient { min_records: 1 };
        assert_eq!(partition.split(&data, Seed(1)).unwrap(), [vec![3], vec![1, 4], vec![0, 2, 5]]);
        let clients = partition.deal(&data, Seed(1)).unwrap();
        assert_eq!(clients[2].name, "c2");
        assert_eq!(clients[2].client, ClientId(2));
        let error = Partition::OneTaskPerClient { min_records: 2 }.split(&data, Seed(1)).unwrap_err().to_string();
        assert!(error.contains("`c0`") && error.contains("at most 1"), "{error}");
    }

    #[test]
    fn impossible_partitions_say_what_is_possible() {
        let data = data(&[0, 0, 1, 1, 2, 2]);
        let error = |partition: Partition| partition.split(&data, Seed(1)).unwrap_err().to_string();
        let by = GroupBy::Category;
        assert!(
            error(Partition::Iid { clients: 0, min_records: 1 })
                .contains("clients: expected a whole number of at least 1, got 0")
        );
        assert!(
            error(Partition::Iid { clients: 7, min_records: 1 }).contains("at most 6, the number of records, got 7")
        );
        assert!(error(Partition::Iid { clients: 4, min_records: 2 }).contains("min_records: expected at most 1"));
        assert!(error(Partition::Iid { clients: usize::MAX, min_records: usize::MAX }).starts_with("clients: "));
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(error(Partition::Dirichlet { clients: 2, alpha, by, min_records: 1 }).starts_with("alpha: "));
        }
        let labels = |clients, labels_per_client| Partition::Labels { clients, labels_per_client, by, min_records: 1 };
        assert!(error(labels(2, 4)).contains("labels_per_client: expected at most 3, the number of groups"));
        assert!(error(labels(2, 1)).contains("clients: expected at least 3"));
        assert!(error(labels(2, 0)).contains("labels_per_client: expected a whole number of at least 1"));
        let none = Dataset::default();
        assert!(Partition::Iid { clients: 1, min_records: 1 }.split(&none, Seed(1)).is_err());
    }

    #[test]
    fn small_alpha_separates_and_large_alpha_mixes() {
        let data = data(&(0..2000).map(|i| (i % 4) as u8).collect::<Vec<_>>());
        let largest_share = |alpha| {
            let partition = Partition::Dirichlet { clients: 8, alpha, by: GroupBy::Category, min_records: 1 };
            let clients = partition.split(&data, Seed(3)).unwrap();
            covers(&clients, 2000);
            let of = |rows: &Vec<usize>, group| rows.iter().filter(|&&i| i % 4 == group).count();
            (0..4).map(|group| clients.iter().map(|rows| of(rows, group)).max().unwrap()).max().unwrap()
        };
        assert!(largest_share(0.001) > 450);
        assert!(largest_share(1000.0) < 85);
    }

    #[test]
    fn families_group_where_asked() {
        let data = data(&(0..40).map(|i| (i % 4) as u8).collect::<Vec<_>>());
        let partition = Partition::Labels { clients: 2, labels_per_client: 1, by: GroupBy::Family, min_records: 20 };
        let mut clients = partition.split(&data, Seed(3)).unwrap();
        clients.sort();
        assert!(clients[0].iter().all(|i| i % 4 < 2) && clients[1].iter().all(|i| i % 4 >= 2));
    }

    #[test]
    fn configurations_read_them() {
        let read = |text: &str| toml::from_str::<Partition>(text);
        let partition = read("kind = 'dirichlet'\nclients = 20\nalpha = 0.5\nby = 'family'").unwrap();
        assert_eq!(partition, Partition::Dirichlet { clients: 20, alpha: 0.5, by: GroupBy::Family, min_records: 1 });
        assert_eq!(read(&toml::to_string(&partition).unwrap()).unwrap(), partition);
        assert_eq!(read("kind = 'one_task_per_client'").unwrap(), Partition::OneTaskPerClient { min_records: 1 });
        assert!(read("kind = 'iid'\nclients = 2\nalpha = 1.0").unwrap_err().to_string().contains("alpha"));
        assert!(read("kind = 'even'").unwrap_err().to_string().contains("one_task_per_client"));
    }

    proptest! {
        #[test]
        fn every_record_goes_to_one_client(
            groups in prop::collection::vec(0u8..7, 1..120),
            clients in 1usize..12,
            min_records in 1usize..6,
            exponent in -3.0f64..3.0,
            labels_per_client in 1usize..8,
            family in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let data = data(&groups);
            let by = if family { GroupBy::Family } else { GroupBy::Category };
            let possible = clients * min_records <= data.len();
            let distinct = data.group_by(|record| by.of(record)).len();
            for (partition, must) in [
                (Partition::Iid { clients, min_records }, possible),
                (Partition::Dirichlet { clients, alpha: 10f64.powf(exponent), by, min_records }, possible),
                (Partition::Labels { clients, labels_per_client, by, min_records }, false),
                (Partition::OneTaskPerClient { min_records }, false),
            ] {
                let split = partition.split(&data, Seed(seed));
                prop_assert!(split.is_ok() || !must, "{:?}", split);
                let Ok(split) = split else { continue };
                covers(&split, data.len());
                prop_assert!(split.iter().all(|rows| rows.len() >= min_records));
                prop_assert_eq!(&split, &partition.split(&data, Seed(seed)).unwrap());
                if !matches!(partition, Partition::OneTaskPerClient { .. }) {
                    prop_assert_eq!(split.len(), clients);
                }
                match partition {
                    Partition::Iid { .. } => {
                        let sizes: Vec<usize> = split.iter().map(Vec::len).collect();
                        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                    }
                    Partition::Labels { .. } => {
                        prop_assert!(labels_per_client <= distinct);
                        for rows in &split {
                            let held: std::collections::BTreeSet<&str> =
                                rows.iter().map(|&i| by.of(&data.records[i])).collect();
                            prop_assert!(held.len() <= labels_per_client);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
