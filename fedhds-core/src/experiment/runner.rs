//! An experiment: every method with every seed, in every condition; resumable, and one table at the end.

use super::ExperimentConfig;
use super::counter::Counter;
use super::data::{self, Pool};
use super::federation::{Federation, TestData};
use super::parts::Stages;
use super::plan;
use super::results::Finished;
use super::run_record::DataSummary;
use crate::dataset::{Dataset, FederatedDataset};
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::types::{Control, Seed};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An experiment that is ready to run: configuration, data and stages, all checked.
pub struct Experiment {
    pub(super) config: ExperimentConfig,
    pub(super) stages: Stages,
    source: Source,
    pub(super) test: TestData,
    pub(super) notes: Vec<String>,
    pub(super) cache: Arc<RecordCache>,
}

/// Where the clients of a run come from.
enum Source {
    /// They are the same for all runs.
    Dealt(Arc<Federation>),
    /// These records are dealt anew for each seed and condition; of the second, where there are more, a tail takes its large tasks.
    Pool(Dataset, Option<Dataset>),
}

impl Experiment {
    /// An experiment over these clients, which all runs share; `notes` are said in the output beside the stages' own.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that cannot be run, one with conditions among them; [`Error::Input`] for data without
    /// clients, records or test records, and for record ids that occur twice.
    pub fn new(config: ExperimentConfig, data: FederatedDataset, stages: Stages, notes: Vec<String>) -> Result<Self> {
        config.check_settings()?;
        if !config.data.conditions.is_empty() {
            let message = "expected none over clients that are dealt already: conditions deal a pool of records anew";
            return Err(Error::config("data.conditions", message));
        }
        let count = stages.count_tokens.as_ref();
        let test = TestData::new(data.test, config.generation.records, count)?;
        let federation = Arc::new(Federation::of(data.clients, &test, count)?);
        Self::ready(config, stages, Source::Dealt(federation), test, notes)
    }

    /// An experiment over records that are not dealt yet. With conditions they are dealt anew for each seed and condition, else once by
    /// the configuration's partition and seed.
    ///
    /// # Errors
    /// As [`Experiment::new`] (but for conditions), and [`Error::Config`] for a partition or condition that the records do not allow with
    /// the first seed.
    pub fn over(config: ExperimentConfig, pool: Pool, stages: Stages) -> Result<Self> {
        config.check_settings()?;
        let Pool { train, test, notes, uncapped } = pool;
        if config.data.conditions.is_empty() {
            let clients = data::deal(&config.data, &train, Seed(config.data.seed))?;
            return Self::new(config, FederatedDataset { clients, test }, stages, notes);
        }
        let test = TestData::new(test, config.generation.records, stages.count_tokens.as_ref())?;
        Self::ready(config, stages, Source::Pool(train, uncapped), test, notes)
    }

    /// Draws the first federation of each condition, so that what cannot be drawn is found before any work, and says what is known of it.
    fn ready(
        config: ExperimentConfig,
        stages: Stages,
        source: Source,
        test: TestData,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        notes.extend(stages.notes.iter().cloned());
        let cache = Arc::new(RecordCache::on_disk(config.out.join("features")));
        let mut experiment = Self { config, stages, source, test, notes, cache };
        for condition in experiment.conditions() {
            let seeds = experiment.config.seeds_of(condition).to_vec();
            let shared = experiment.config.data.conditions.is_empty();
            for &seed in seeds.iter().take(if shared { seeds.len() } else { 1 }) {
                let federation = experiment.federation(condition, seed)?;
                let plans = plan::runs(&experiment.config, &federation, seed)?;
                let told = federation.notes.iter().cloned().chain(plans.into_iter().flat_map(|plan| plan.notes));
                let place = federation.name().map_or(String::new(), |name| format!("{name}, seed {seed}: "));
                experiment.notes.extend(told.map(|note| format!("{place}{note}")));
            }
        }
        let mut said = BTreeSet::new();
        experiment.notes.retain(|note| said.insert(note.clone()));
        Ok(experiment)
    }

    /// The conditions by their places; one `None` for an experiment without any.
    pub(super) fn conditions(&self) -> Vec<Option<usize>> {
        match self.config.data.conditions.len() {
            0 => vec![None],
            n => (0..n).map(Some).collect(),
        }
    }

    /// The name of a condition.
    pub(super) fn condition_name(&self, condition: Option<usize>) -> Option<&str> {
        condition.and_then(|place| self.config.data.conditions.get(place)).map(|(name, _)| name)
    }

    /// The clients of a condition and seed.
    pub(super) fn federation(&self, condition: Option<usize>, seed: u64) -> Result<Arc<Federation>> {
        let named = condition.and_then(|place| self.config.data.conditions.get(place));
        match (&self.source, named) {
            (Source::Dealt(federation), _) => Ok(federation.clone()),
            (Source::Pool(pool, uncapped), Some(named)) => {
                let count = self.stages.count_tokens.as_ref();
                Federation::draw(&self.config.data, named, (pool, uncapped.as_ref()), seed, &self.test, count)
                    .map(Arc::new)
            }
            (Source::Pool(..), None) => Err(Error::input("condition", "one of the configuration's", "another")),
        }
    }

    /// The clients of all runs, where these share them.
    pub(super) fn dealt(&self) -> Option<&Arc<Federation>> {
        match &self.source {
            Source::Dealt(federation) => Some(federation),
            Source::Pool(..) => None,
        }
    }

    /// The records that are dealt anew, where they are.
    pub(super) fn pool(&self) -> Option<&Dataset> {
        match &self.source {
            Source::Dealt(_) => None,
            Source::Pool(pool, _) => Some(pool),
        }
    }

    /// The data in numbers; of a grid the records before they are dealt.
    pub(super) fn summary(&self) -> DataSummary {
        match &self.source {
            Source::Dealt(federation) => federation.summary.clone(),
            Source::Pool(pool, _) => {
                let count = |record| (self.stages.count_tokens)(record).unwrap_or_default() as u64;
                DataSummary {
                    clients: 0,
                    records: pool.len(),
                    tokens: pool.records.par_iter().map(count).sum(),
                    test_records: self.test.tokens.len(),
                    test_tokens: self.test.tokens.values().map(|n| *n as u64).sum(),
                }
            }
        }
    }

    /// The conditions by their places and seeds of the federations, seed after seed: what one seed says of all conditions comes first.
    pub(super) fn drawn(&self) -> Vec<(Option<usize>, u64)> {
        let of_seed = |seed: u64| {
            let conditions = self.conditions().into_iter();
            let drawn = conditions.filter(move |place| self.config.seeds_of(*place).contains(&seed));
            drawn.map(move |place| (place, seed))
        };
        self.config.all_seeds().into_iter().flat_map(of_seed).collect()
    }

    /// How many runs there are.
    pub fn cells(&self) -> usize {
        self.drawn().len() * self.config.methods.len()
    }

    /// Data and models in words.
    pub fn describe(&self) -> String {
        let s = self.summary();
        let held = match &self.source {
            Source::Dealt(_) => format!("{} clients, {} records", s.clients, s.records),
            Source::Pool(..) => format!("{} records to deal", s.records),
        };
        let mut text = format!(
            "{}: {held}, {} tokens ({} a record); test: {} records, {} tokens, text generated for {}",
            self.config.name,
            s.tokens,
            s.tokens / (s.records as u64).max(1),
            s.test_records,
            s.test_tokens,
            self.test.set.generate().iter().filter(|g| **g).count(),
        );
        if self.pool().is_some() {
            let names: Vec<&str> = self.config.data.conditions.iter().map(|(name, _)| name).collect();
            let methods = self.config.methods.len();
            let each: BTreeSet<usize> =
                self.conditions().iter().map(|place| self.config.seeds_of(*place).len()).collect();
            let seeds = match (each.first(), each.last()) {
                (Some(fewest), Some(most)) if fewest < most => format!("{fewest} to {most} seeds each"),
                (fewest, _) => format!("{} seeds", fewest.copied().unwrap_or_default()),
            };
            text.push_str(&format!(
                "\n{} runs: {} conditions ({}), {methods} methods, {seeds}",
                self.cells(),
                names.len(),
                names.join(", ")
            ));
        }
        for note in &self.notes {
            text.push_str(&format!("\n  note: {note}"));
        }
        text
    }

    /// Runs what is not finished, and makes the table of all. A run that fails does not end the others: it is among
    /// [`Finished::failed`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the output folder holds runs of other settings, or when another process is at work in it; what
    /// the evaluation of the untuned model reports; the first run's error where every run failed; [`Error::Cancelled`]. Finished
    /// runs and rounds are kept.
    pub fn run(&self, control: &Control) -> Result<Finished> {
        let mut counter = Counter::begin(control, self.cells());
        self.work(&mut counter).map(|worked| worked.finished)
    }
}
