//! The quality gate alone: whether it opens on the data of an experiment, for each condition and seed. Nothing is trained.

mod record;
mod table;
mod text;

pub use record::{GateRecord, GateTruth, ScoredRecords};
pub use table::{GateRow, GateTable, TruthOfSeeds};

use super::config::Arm;
use super::counter::Counter;
use super::federation::Federation;
use super::plan::{self, RunPlan};
use super::releases::Releases;
use super::results::FailedRun;
use super::run_record::Versions;
use super::runner::Experiment;
use super::work::Failures;
use crate::error::{Error, Result};
use crate::method::ServerGate;
use crate::parallel;
use crate::simulate::{FolderLock, RunIdentity, Simulation, atomic_write};
use crate::types::{Control, Seed};
use record::SCHEMA;
use std::path::PathBuf;

/// The name of the tables' files in the experiment's folder, and of a record's in its cell.
const NAME: &str = "gate";

/// What looking at the gate alone left.
#[derive(Debug, Clone, PartialEq)]
pub struct GateFinished {
    /// A row for each condition and method with a gate.
    pub table: GateTable,
    /// The folder of `gate.txt`, `gate.md` and `gate.json`.
    pub out: PathBuf,
    /// What failed; everything else is finished. Run again, it is tried again.
    pub failed: Vec<FailedRun>,
}

/// What a cell gave: for each method its label and its record, or why there is none. An error of its own where the clients could not be drawn.
type Looked = Result<Vec<(String, Result<GateRecord>)>>;

impl Experiment {
    /// Runs the gate's part of every method that has a quality gate, in every condition with every seed: in each round the sampled clients
    /// summarize and answer, and the server selects. Nothing is trained. What is finished is kept, in `gate.json` beside a cell's run
    /// record, and not done again. Cells are at work at the same time, as many as the configuration's `workers`; the results do not
    /// depend on it.
    ///
    /// # Errors
    /// [`Error::Config`] where no method has a gate, [`Error::Input`] where nothing judges responses; [`Error::Checkpoint`] for a folder of
    /// other settings, or one that another process works in; the first error where everything failed; [`Error::Cancelled`].
    pub fn gate_only(&self, control: &Control) -> Result<GateFinished> {
        let labels = self.gated()?;
        if self.stages.judge.is_none() {
            return Err(Error::input("stages: judge", "one, as the gate looks at losses", "none"));
        }
        let out = &self.config.out;
        let _lock = FolderLock::acquire(out)?;
        self.keep_config()?;
        let mut cells = self.drawn();
        let mut counter = Counter::begin(control, cells.len() * labels.len());
        let mut failed = Failures::default();
        // Cells side by side would draw over each other's progress: only what is finished is reported.
        let quiet = Control { cancel: control.cancel.clone(), progress: None };
        let mut found: Vec<Option<Vec<GateRecord>>> = cells.iter().map(|_| None).collect();
        let places = cells.clone();
        let look = |(condition, seed): &mut (Option<usize>, u64)| match self.look_at(*condition, *seed, &quiet) {
            Err(error @ (Error::Cancelled | Error::Checkpoint { .. })) => Err(error),
            looked => Ok(looked),
        };
        parallel::each(self.config.workers(), &mut cells, look, |at, looked: Looked| {
            let (condition, seed) = places[at];
            let mut records = Vec::new();
            match looked {
                Err(error) => failed.note(self.failure(condition, None, seed), error)?,
                Ok(looked) => {
                    for (label, made) in looked {
                        match made {
                            Ok(record) => records.push(record),
                            Err(error) => failed.note(self.failure(condition, Some(&label), seed), error)?,
                        }
                    }
                }
            }
            found[at] = Some(records);
            counter.advance(labels.len());
            Ok(())
        })?;
        let records: Vec<GateRecord> = found.into_iter().flatten().flatten().collect();
        let (failed, first) = failed.into_parts();
        if let (true, Some(error)) = (records.is_empty(), first) {
            return Err(error);
        }
        let mut notes = self.notes.clone();
        let mut releases = Releases::default();
        records.iter().for_each(|record| releases.add(&record.versions));
        notes.extend(releases.note());
        notes.extend(failed.iter().map(|run| format!("failed: {run}")));
        let places = self.conditions().into_iter().map(|place| self.condition_name(place)).collect::<Vec<_>>();
        let table = GateTable::of(&places, &labels, &records, notes)?;
        atomic_write(out.join(format!("{NAME}.txt")), table.to_text().as_bytes())?;
        atomic_write(out.join(format!("{NAME}.md")), table.to_markdown().as_bytes())?;
        let json = serde_json::to_vec_pretty(&table).map_err(|e| Error::input("table", "finite numbers", e))?;
        atomic_write(out.join(format!("{NAME}.json")), &json)?;
        Ok(GateFinished { table, out: out.clone(), failed })
    }

    /// What [`gate_only`](Self::gate_only) asks of the model at most, in words.
    ///
    /// # Errors
    /// [`Error::Config`] where no method has a gate.
    pub fn describe_gate_only(&self) -> Result<String> {
        let labels = self.gated()?;
        let mut pairs = 0u64;
        for (i, entry) in self.config.methods.iter().enumerate() {
            if let Arm::Method(method) = entry.arm(self.config.budget, &format!("methods[{i}]"))?
                && let ServerGate::Ranks(gate) = &method.server.gate
            {
                pairs = pairs.max(u64::from(gate.representatives) * (1 + u64::from(gate.rank_decoys)));
            }
        }
        let (cells, methods) = (self.drawn().len(), labels.join(", "));
        Ok(format!(
            "the gate alone: {cells} federations with {methods}; each client scores at most {pairs} pairs, once"
        ))
    }

    /// The labels of the methods with a gate whose count of records is their own: another's is known after its run alone.
    fn gated(&self) -> Result<Vec<String>> {
        let mut labels = Vec::new();
        for (i, entry) in self.config.methods.iter().enumerate() {
            let arm = entry.arm(self.config.budget, &format!("methods[{i}]"))?;
            if entry.follows().is_none() && has_gate(&arm) {
                labels.push(entry.label().to_owned());
            }
        }
        match labels.is_empty() {
            true => {
                Err(Error::config("methods", "expected one with a quality gate, such as `fedhds_robust`, got none"))
            }
            false => Ok(labels),
        }
    }

    fn look_at(&self, condition: Option<usize>, seed: u64, control: &Control) -> Looked {
        let federation = self.federation(condition, seed)?;
        let plans = plan::runs(&self.config, &federation, seed)?;
        let gated = plans.iter().filter(|plan| plan.follows.is_none() && has_gate(&plan.arm));
        let looked = gated.map(|plan| match self.look_with(plan, &federation, control) {
            Err(error @ (Error::Cancelled | Error::Checkpoint { .. })) => Err(error),
            made => Ok((plan.label.clone(), made)),
        });
        looked.collect()
    }

    /// The record of one method: read where it was finished before, else made.
    fn look_with(&self, plan: &RunPlan, federation: &Federation, control: &Control) -> Result<GateRecord> {
        let mut identity = RunIdentity::default();
        self.identify(&mut identity, &["prompt"])?;
        self.identify_run(&mut identity, plan, federation)?;
        let condition = federation.name();
        let path = self.cell_folder(condition, &plan.label, plan.seed).join(format!("{NAME}.json"));
        if let Some(record) = GateRecord::finished(&path, &identity)? {
            return Ok(record);
        }
        let Arm::Method(method) = &plan.arm else {
            return Err(Error::config(
                "methods",
                format!("expected a method with a quality gate, got `{}`", plan.label),
            ));
        };
        let features = self.stages.features(plan.features());
        let pipeline = method.pipeline(features.map_or(1, |f| f.layers))?;
        let mut simulation =
            Simulation::new(pipeline, plan.clients.clone(), self.stages.trainer.clone(), self.aggregator(plan)?)
                .settings(plan.settings.clone())
                .seed(Seed(plan.seed))
                .empty_clients(plan.filter.is_some())
                .control(control.clone());
        if let Some(attack) = &plan.attack {
            simulation = simulation.attack(attack.clone());
        }
        if let Some(features) = features {
            simulation = simulation.extractor(features.extractor.clone());
        }
        if let Some(judge) = &self.stages.judge {
            simulation = simulation.judge(judge.clone());
        }
        let outcome = simulation.gate_only()?;
        let record = GateRecord {
            schema: SCHEMA,
            experiment: self.config.name.clone(),
            condition: condition.map(str::to_owned),
            method: plan.label.clone(),
            seed: plan.seed,
            identity,
            versions: Versions::current(),
            clients: plan.clients.len(),
            ..GateRecord::of(outcome, &plan.clients, federation.truth.as_deref())
        };
        record.save(&path)?;
        Ok(record)
    }
}

fn has_gate(arm: &Arm) -> bool {
    matches!(arm, Arm::Method(method) if matches!(method.server.gate, ServerGate::Ranks(_)))
}
