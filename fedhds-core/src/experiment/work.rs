//! The work of an experiment: cell by cell, what fails alone, and the results of all.

use super::config::{MethodEntry, folder_of};
use super::counter::Counter;
use super::grid::{self, Cell};
use super::plan;
use super::releases::Releases;
use super::results::{FailedRun, Finished, Results};
use super::run_record::RunRecord;
use super::runner::Experiment;
use super::table;
use super::truth;
use crate::error::{Error, Result};
use crate::method::Preset;
use crate::simulate::{FolderLock, atomic_write};

/// What the runs of an experiment gave.
pub(super) struct Worked {
    pub(super) finished: Finished,
    /// The runs as cells, for a table of several experiments.
    pub(super) cells: Vec<Cell>,
    /// What they ran with.
    pub(super) releases: Releases,
}

impl Experiment {
    /// Runs what is not finished and saves the results in the experiment's folder.
    pub(super) fn work(&self, counter: &mut Counter<'_>) -> Result<Worked> {
        let out = &self.config.out;
        let _lock = FolderLock::acquire(out)?;
        self.keep_config()?;
        let untuned = self.untuned(counter.control)?;
        let mut failed = Failures::default();
        // Of an experiment without conditions every record, for its table; of a grid what its table needs of each.
        let mut releases = Releases::default();
        releases.add(&untuned.versions);
        let mut cells = vec![self.cell(&untuned)];
        let mut kept = vec![untuned];
        for (condition, seed) in self.drawn() {
            let records = self.runs_of(condition, seed, counter, &mut failed)?;
            cells.extend(records.iter().map(|record| self.cell(record)));
            records.iter().for_each(|record| releases.add(&record.versions));
            if condition.is_none() {
                kept.extend(records);
            }
        }
        if cells.len() == 1
            && let Some(error) = failed.first
        {
            return Err(error);
        }
        let mut notes = self.notes.clone();
        notes.extend(releases.note());
        notes.extend(failed.runs.iter().map(|run| format!("failed: {run}")));
        let results = if self.pool().is_some() {
            let part = self.part(&cells);
            Results::Grid(grid::build(&[part], &notes)?)
        } else {
            Results::Table(table::build(&kept, &self.pairs(), self.summary().records, &notes)?)
        };
        results.save(out, "table")?;
        if let Some(federation) = self.dealt() {
            self.pictures(&kept, federation, counter.control)?;
        }
        Ok(Worked { finished: Finished { results, out: out.clone(), failed: failed.runs }, cells, releases })
    }

    /// Writes the configuration beside the results.
    pub(super) fn keep_config(&self) -> Result<()> {
        let text = toml::to_string(&self.config)
            .map_err(|e| Error::config("(document)", format!("expected a configuration that can be written: {e}")))?;
        atomic_write(self.config.out.join("config.toml"), text.as_bytes())
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
        let drawn = self.federation(condition, seed);
        let planned = drawn.and_then(|federation| Ok((plan::runs(&self.config, &federation, seed)?, federation)));
        let (plans, federation) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                failed.note(self.failure(condition, None, seed), error)?;
                counter.advance(self.config.methods.len());
                return Ok(Vec::new());
            }
        };
        let mut records = Vec::new();
        for plan in &plans {
            counter.control.check()?;
            // Every line of the log says which cell it is of.
            let (cell, of, method) = (counter.done + 1, counter.of, plan.label.as_str());
            let _span = tracing::info_span!("cell", n = cell, of, condition = name, method, seed).entered();
            let made = plan.matched(&records).and_then(|plan| self.one(&plan, &federation, counter.control));
            match made {
                Ok(record) => records.push(record),
                Err(error) => failed.note(self.failure(condition, Some(&plan.label), seed), error)?,
            }
            counter.advance(1);
        }
        if let (Some(name), Some(truth), false) = (name, &federation.truth, records.is_empty()) {
            let folder = self.config.out.join(folder_of(name));
            truth::write(truth, name, seed, &folder.join(format!("truth-seed-{seed}.json")))?;
        }
        Ok(records)
    }

    /// What failed, before its error is known.
    pub(super) fn failure(&self, condition: Option<usize>, method: Option<&str>, seed: u64) -> FailedRun {
        FailedRun {
            experiment: self.config.name.clone(),
            condition: self.condition_name(condition).map(str::to_owned),
            method: method.map(str::to_owned),
            seed,
            error: String::new(),
        }
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

    /// Labels of what is compared, see [`pairs`].
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        pairs(&self.config.methods)
    }
}

/// Labels of what is compared: (method, baseline). A method whose count others took is compared with those, at equal record
/// count, and one whose compute others took with those as well; the others with `random` and `stratified`, and these with each
/// other.
pub(super) fn pairs(methods: &[MethodEntry]) -> Vec<(String, String)> {
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

/// The runs that failed, and the first error itself.
#[derive(Default)]
pub(super) struct Failures {
    runs: Vec<FailedRun>,
    first: Option<Error>,
}

impl Failures {
    /// Keeps an error of one run; one that concerns all of them ends the work.
    pub(super) fn note(&mut self, run: FailedRun, error: Error) -> Result<()> {
        if matches!(error, Error::Cancelled | Error::Checkpoint { .. }) {
            return Err(error);
        }
        let run = FailedRun { error: error.to_string(), ..run };
        tracing::warn!(condition = run.condition, method = run.method, seed = run.seed, "failed: {error}");
        self.runs.push(run);
        self.first.get_or_insert(error);
        Ok(())
    }

    /// The runs, and the first error itself.
    pub(super) fn into_parts(self) -> (Vec<FailedRun>, Option<Error>) {
        (self.runs, self.first)
    }
}
