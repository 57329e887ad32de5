//! An experiment: every method with every seed, in every condition; resumable, and one table at the end.

use super::ExperimentConfig;
use super::config::folder_of;
use super::data::{self, Pool};
use super::federation::{Federation, TestData};
use super::grid::{self, Cell, Grid};
use super::parts::Stages;
use super::plan;
use super::run_record::{DataSummary, RunRecord};
use super::table::{self, Table};
use super::truth;
use crate::dataset::{Dataset, FederatedDataset};
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::method::Preset;
use crate::simulate::{FolderLock, atomic_write};
use crate::types::{Control, Seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    /// These records are dealt anew for each seed and condition.
    Pool(Dataset),
}

/// What a finished experiment left.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The results.
    pub results: Results,
    /// The folder of run records, table and plots.
    pub out: PathBuf,
    /// The runs that failed; everything else is finished. Run again, they are tried again.
    pub failed: Vec<FailedRun>,
}

/// The results of an experiment: of a grid, or of one federation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Results {
    /// Methods on one federation.
    Table(Table),
    /// Conditions and methods.
    Grid(Grid),
}

/// A run that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRun {
    /// The experiment's name.
    pub experiment: String,
    /// The condition; none in an experiment without conditions.
    pub condition: Option<String>,
    /// The method; none where the clients of this condition and seed could not be made, so that every method failed.
    pub method: Option<String>,
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub error: String,
}

/// How far the cells of all experiments at work are.
pub(super) struct Counter<'a> {
    control: &'a Control,
    done: usize,
    of: usize,
}

impl<'a> Counter<'a> {
    /// The stage that is reported.
    const STAGE: &'static str = "cells";

    pub(super) fn begin(control: &'a Control, cells: usize) -> Self {
        control.begin(Self::STAGE, Some(cells as u64));
        Self { control, done: 0, of: cells }
    }

    fn advance(&mut self, cells: usize) {
        self.done += cells;
        self.control.advance(Self::STAGE, cells as u64);
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.control.end(Self::STAGE);
    }
}

/// What the runs of an experiment gave.
pub(super) struct Worked {
    pub(super) finished: Finished,
    /// The runs as cells, for a table of several experiments.
    pub(super) cells: Vec<Cell>,
}

impl Results {
    /// The table of an experiment without conditions.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Results::Table(table) => Some(table),
            Results::Grid(_) => None,
        }
    }

    /// The grid of an experiment with conditions, or of several experiments.
    pub fn grid(&self) -> Option<&Grid> {
        match self {
            Results::Table(_) => None,
            Results::Grid(grid) => Some(grid),
        }
    }

    /// The results for a terminal.
    pub fn to_text(&self) -> String {
        match self {
            Results::Table(table) => table.to_text(),
            Results::Grid(grid) => grid.to_text(),
        }
    }

    /// The results as Markdown.
    pub fn to_markdown(&self) -> String {
        match self {
            Results::Table(table) => table.to_markdown(),
            Results::Grid(grid) => grid.to_markdown(),
        }
    }

    /// Writes `<name>.txt`, `<name>.md`, `<name>.json`, and of a grid `<name>.svg`.
    pub(super) fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        atomic_write(path("txt"), self.to_text().as_bytes())?;
        atomic_write(path("md"), self.to_markdown().as_bytes())?;
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::input("table", "finite numbers", e))?;
        atomic_write(path("json"), &json)?;
        match self.grid() {
            Some(grid) => atomic_write(path("svg"), grid::svg(grid)?.as_bytes()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for FailedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let condition = self.condition.as_ref().map_or(String::new(), |condition| format!("{condition}, "));
        let method = self.method.as_deref().unwrap_or("every method");
        write!(f, "{condition}{method}, seed {}: {}", self.seed, self.error)
    }
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
        let Pool { train, test, notes } = pool;
        if config.data.conditions.is_empty() {
            let clients = data::deal(&config.data, &train, Seed(config.data.seed))?;
            return Self::new(config, FederatedDataset { clients, test }, stages, notes);
        }
        let test = TestData::new(test, config.generation.records, stages.count_tokens.as_ref())?;
        Self::ready(config, stages, Source::Pool(train), test, notes)
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
        let seeds = experiment.config.seeds.clone();
        for condition in experiment.conditions() {
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
            (Source::Pool(pool), Some(named)) => {
                let count = self.stages.count_tokens.as_ref();
                Federation::draw(&self.config.data, named, pool, seed, &self.test, count).map(Arc::new)
            }
            (Source::Pool(_), None) => Err(Error::input("condition", "one of the configuration's", "another")),
        }
    }

    /// The records that are dealt anew, where they are.
    pub(super) fn pool(&self) -> Option<&Dataset> {
        match &self.source {
            Source::Dealt(_) => None,
            Source::Pool(pool) => Some(pool),
        }
    }

    /// The data in numbers; of a grid the records before they are dealt.
    pub(super) fn summary(&self) -> DataSummary {
        match &self.source {
            Source::Dealt(federation) => federation.summary.clone(),
            Source::Pool(pool) => {
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

    /// How many runs there are.
    pub fn cells(&self) -> usize {
        self.conditions().len() * self.config.seeds.len() * self.config.methods.len()
    }

    /// Data and models in words.
    pub fn describe(&self) -> String {
        let s = self.summary();
        let held = match &self.source {
            Source::Dealt(_) => format!("{} clients, {} records", s.clients, s.records),
            Source::Pool(_) => format!("{} records to deal", s.records),
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
            let (methods, seeds) = (self.config.methods.len(), self.config.seeds.len());
            text.push_str(&format!(
                "\n{} runs: {} conditions ({}), {methods} methods, {seeds} seeds",
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

    /// Runs what is not finished and saves the results in the experiment's folder.
    pub(super) fn work(&self, counter: &mut Counter<'_>) -> Result<Worked> {
        let out = &self.config.out;
        let _lock = FolderLock::acquire(out)?;
        let text = toml::to_string(&self.config)
            .map_err(|e| Error::config("(document)", format!("expected a configuration that can be written: {e}")))?;
        atomic_write(out.join("config.toml"), text.as_bytes())?;
        let untuned = self.untuned(counter.control)?;
        let mut failed = Failures::default();
        // Of an experiment without conditions every record, for its table; of a grid what its table needs of each.
        let mut cells = vec![self.cell(&untuned)];
        let mut kept = vec![untuned];
        for &seed in &self.config.seeds {
            for condition in self.conditions() {
                let records = self.runs_of(condition, seed, counter, &mut failed)?;
                cells.extend(records.iter().map(|record| self.cell(record)));
                if condition.is_none() {
                    kept.extend(records);
                }
            }
        }
        if cells.len() == 1
            && let Some(error) = failed.first
        {
            return Err(error);
        }
        let mut notes = self.notes.clone();
        notes.extend(failed.runs.iter().map(|run| format!("failed: {run}")));
        let results = if self.pool().is_some() {
            let part = self.part(&cells);
            Results::Grid(grid::build(&[part], &notes)?)
        } else {
            Results::Table(table::build(&kept, &self.pairs(), self.summary().records, &notes)?)
        };
        results.save(out, "table")?;
        if let (Source::Dealt(federation), Results::Table(_)) = (&self.source, &results) {
            self.pictures(&kept, federation, counter.control)?;
        }
        Ok(Worked { finished: Finished { results, out: out.clone(), failed: failed.runs }, cells })
    }

    /// Every method on the clients of one condition and seed.
    fn runs_of(
        &self,
        condition: Option<usize>,
        seed: u64,
        counter: &mut Counter<'_>,
        failed: &mut Failures,
    ) -> Result<Vec<RunRecord>> {
        let name = self.condition_name(condition);
        let failure = |method: Option<&str>| FailedRun {
            experiment: self.config.name.clone(),
            condition: name.map(str::to_owned),
            method: method.map(str::to_owned),
            seed,
            error: String::new(),
        };
        let drawn = self.federation(condition, seed);
        let planned = drawn.and_then(|federation| Ok((plan::runs(&self.config, &federation, seed)?, federation)));
        let (plans, federation) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                failed.note(failure(None), error)?;
                counter.advance(self.config.methods.len());
                return Ok(Vec::new());
            }
        };
        let mut records = Vec::new();
        for plan in &plans {
            counter.control.check()?;
            tracing::info!(
                cell = counter.done + 1,
                of = counter.of,
                condition = name,
                method = plan.label,
                seed,
                "begins"
            );
            let made = plan.matched(&records).and_then(|plan| self.one(&plan, &federation, counter.control));
            match made {
                Ok(record) => records.push(record),
                Err(error) => failed.note(failure(Some(&plan.label)), error)?,
            }
            counter.advance(1);
        }
        if let (Some(name), Some(truth), false) = (name, &federation.truth, records.is_empty()) {
            let folder = self.config.out.join(folder_of(name));
            truth::write(truth, name, seed, &folder.join(format!("truth-seed-{seed}.json")))?;
        }
        Ok(records)
    }

    fn cell(&self, record: &RunRecord) -> Cell {
        let oracle = self.config.methods.iter().any(|entry| entry.is_oracle() && entry.label() == record.method);
        Cell::of(record, oracle)
    }

    /// The experiment's part of a grid.
    pub(super) fn part<'a>(&'a self, cells: &'a [Cell]) -> grid::Part<'a> {
        grid::Part {
            experiment: &self.config.name,
            conditions: self.conditions().into_iter().map(|place| self.condition_name(place)).collect(),
            methods: self.config.methods.iter().map(|entry| entry.label()).collect(),
            pairs: self.pairs(),
            families: &self.test.families,
            margin: self.config.statistics.margin,
            cells,
        }
    }

    /// Labels of what is compared: (method, baseline). A method whose count others took is compared with those, at equal record
    /// count, and one whose compute others took with those as well; the others with `random` and `stratified`, and these with each
    /// other.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let methods = &self.config.methods;
        let matched = |label: &str| methods.iter().any(|m| m.count_of() == Some(label));
        let mut pairs = Vec::new();
        for baseline in methods {
            let general = [Preset::Random, Preset::Stratified].iter().position(|b| b.name() == baseline.label());
            for method in methods.iter().filter(|m| m.label() != baseline.label()) {
                let label = method.label();
                let own = method.follows().is_none() && !matched(label);
                let compared = match (general, baseline.follows()) {
                    (_, Some(of)) => label == of,
                    (Some(0), None) => own,
                    (Some(_), None) => own && label != Preset::Random.name(),
                    (None, None) => false,
                };
                if compared && label != table::FEDIT {
                    pairs.push((label.to_owned(), baseline.label().to_owned()));
                }
            }
        }
        pairs
    }
}

/// The runs that failed, and the first error itself.
#[derive(Default)]
struct Failures {
    runs: Vec<FailedRun>,
    first: Option<Error>,
}

impl Failures {
    /// Keeps an error of one run; one that concerns all of them ends the work.
    fn note(&mut self, run: FailedRun, error: Error) -> Result<()> {
        if matches!(error, Error::Cancelled | Error::Checkpoint { .. }) {
            return Err(error);
        }
        let run = FailedRun { error: error.to_string(), ..run };
        tracing::warn!(condition = run.condition, method = run.method, seed = run.seed, "failed: {error}");
        self.runs.push(run);
        self.first.get_or_insert(error);
        Ok(())
    }
}
