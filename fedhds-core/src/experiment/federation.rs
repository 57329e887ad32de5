//! The clients of one condition and seed, and what an experiment knows of them.

use super::config::DataConfig;
use super::data;
use super::parts::CountTokens;
use super::run_record::DataSummary;
use crate::dataset::{ClientData, Condition, Dataset, Truth};
use crate::error::{Error, Result};
use crate::simulate::TestSet;
use crate::types::{Record, Seed};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The test set of an experiment, the same for all runs.
pub(super) struct TestData {
    pub(super) set: Arc<TestSet>,
    /// Tokens by record id.
    pub(super) tokens: BTreeMap<String, usize>,
    /// The family of each task.
    pub(super) families: BTreeMap<String, String>,
}

/// The clients of a run.
pub(super) struct Federation {
    /// The condition by its name; none in an experiment without conditions.
    pub(super) condition: Option<(String, Condition)>,
    pub(super) clients: Arc<Vec<ClientData>>,
    /// Tokens of the clients' records, by id.
    pub(super) tokens: BTreeMap<String, usize>,
    pub(super) summary: DataSummary,
    /// What was done to each record. No method is shown it, the oracle's arm aside.
    pub(super) truth: Option<Arc<Truth>>,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
}

impl TestData {
    /// # Errors
    /// [`Error::Input`] for no records, or an id that comes twice; what counting tokens reports.
    pub(super) fn new(test: Dataset, generated: Option<usize>, count: &CountTokens) -> Result<Self> {
        if test.is_empty() {
            return Err(Error::input("test set", "at least one record", "none"));
        }
        let mut tokens = BTreeMap::new();
        for (record, n) in test.records.iter().zip(counted(&test.records.iter().collect::<Vec<_>>(), count)?) {
            insert(&mut tokens, record, n)?;
        }
        let families = test.records.iter().map(|r| (r.category.clone(), family(r).to_owned())).collect();
        Ok(Self { set: Arc::new(TestSet::new(test.records, generated)), tokens, families })
    }
}

impl Federation {
    /// These clients as they are.
    ///
    /// # Errors
    /// [`Error::Input`] for no clients, a client without records, and record ids that occur twice, in the test set too; what
    /// counting tokens reports.
    pub(super) fn of(clients: Vec<ClientData>, test: &TestData, count: &CountTokens) -> Result<Self> {
        if clients.is_empty() {
            return Err(Error::input("clients", "at least one client", "none"));
        }
        if let Some(empty) = clients.iter().find(|c| c.records.is_empty()) {
            let what = format!("client {} (`{}`)", empty.client, empty.name);
            return Err(Error::input(&what, "at least one record", "none"));
        }
        let records: Vec<&Record> = clients.iter().flat_map(|c| &c.records).collect();
        let mut tokens = BTreeMap::new();
        for (record, n) in records.iter().zip(counted(&records, count)?) {
            if test.tokens.contains_key(&record.id) {
                return Err(twice(record));
            }
            insert(&mut tokens, record, n)?;
        }
        let sum = |tokens: &BTreeMap<String, usize>| tokens.values().map(|n| *n as u64).sum();
        let summary = DataSummary {
            clients: clients.len(),
            records: records.len(),
            tokens: sum(&tokens),
            test_records: test.tokens.len(),
            test_tokens: sum(&test.tokens),
        };
        Ok(Self { condition: None, clients: Arc::new(clients), tokens, summary, truth: None, notes: Vec::new() })
    }

    /// The federation of a condition and a seed: the pool, or for a tail the records of it before their cap, is thinned and dealt anew, and what the condition says is done to it. Equal
    /// seeds give equal draws under every condition, so that conditions differ by what they do alone.
    ///
    /// # Errors
    /// [`Error::Config`] where the records do not allow the partition, a record becomes too long or fewer are held than `scarce` says;
    /// as [`Federation::of`].
    pub(super) fn draw(
        config: &DataConfig,
        (name, condition): (&str, &Condition),
        (pool, uncapped): (&Dataset, Option<&Dataset>),
        seed: u64,
        test: &TestData,
        count: &CountTokens,
    ) -> Result<Self> {
        let drawn = Seed(config.seed).derive("federation", seed);
        let conditioned = drawn.derive("condition", 0);
        let mut thinned = uncapped.filter(|_| condition.tail > 0.0).unwrap_or(pool).clone();
        let reached = condition.thin(&mut thinned, Some(pool.len()), conditioned)?;
        let mut clients = data::deal(config, &thinned, drawn)?;
        let mut truth = condition.apply(&mut clients, &thinned, conditioned)?;
        truth.reached.splice(0..0, reached);
        let longer = leave_out_longer(&mut clients, config, count)?;
        let mut federation = Self::of(clients, test, count)?;
        if let Some(scarce) = condition.scarce.filter(|scarce| *scarce > federation.summary.records) {
            let held = federation.summary.records;
            let message = format!("expected at most the {held} records that the clients hold, got {scarce}");
            return Err(Error::config(format!("data.conditions.{name}.scarce"), message));
        }
        if longer > 0 {
            let limit = config.max_tokens;
            federation.notes.push(format!("{longer} records became longer than {limit} tokens and were left out"));
        }
        for reached in &truth.reached {
            federation.notes.push(format!("{} {}: {:.3} reached", reached.knob, reached.asked, reached.reached));
        }
        federation.truth = Some(Arc::new(truth));
        federation.condition = Some((name.to_owned(), condition.clone()));
        Ok(federation)
    }

    /// The condition's name.
    pub(super) fn name(&self) -> Option<&str> {
        self.condition.as_ref().map(|(name, _)| name.as_str())
    }

    /// How many records a whole run selects, where the condition says so.
    pub(super) fn scarce(&self) -> Option<usize> {
        self.condition.as_ref().and_then(|(_, condition)| condition.scarce)
    }
}

/// Leaves out, or is an error about, records that a condition made too long; how many went.
fn leave_out_longer(clients: &mut [ClientData], config: &DataConfig, count: &CountTokens) -> Result<usize> {
    let mut longer = 0;
    for client in clients {
        let tokens = counted(&client.records.iter().collect::<Vec<_>>(), count)?;
        let short: Vec<bool> = (client.records.iter().zip(tokens))
            .map(|(record, tokens)| data::is_short(record, tokens, "train", config))
            .collect::<Result<_>>()?;
        longer += short.iter().filter(|short| !**short).count();
        let mut short = short.into_iter();
        client.records.retain(|_| short.next().unwrap_or(true));
    }
    Ok(longer)
}

/// Tokens of each record, `[n]`.
fn counted(records: &[&Record], count: &CountTokens) -> Result<Vec<usize>> {
    let counts: Vec<Result<usize>> = records.par_iter().map(|record| count(record)).collect();
    counts.into_iter().collect()
}

fn insert(tokens: &mut BTreeMap<String, usize>, record: &Record, n: usize) -> Result<()> {
    match tokens.insert(record.id.clone(), n) {
        None => Ok(()),
        Some(_) => Err(twice(record)),
    }
}

fn twice(record: &Record) -> Error {
    Error::input("records", "an id of its own for each", format!("`{}` twice", record.id))
}

/// The family of a record's task; a task without one is its own.
pub(super) fn family(record: &Record) -> &str {
    if record.family.is_empty() { &record.category } else { &record.family }
}
