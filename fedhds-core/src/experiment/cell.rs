//! One run of an experiment: what it is, where it is kept, and the work.

use super::config::{Arm, Filter, folder_of};
use super::coreset_cent;
use super::federation::Federation;
use super::oracle::{self, TrueTasks};
use super::parts::Features;
use super::plan::RunPlan;
use super::run_record::{RunRecord, SCHEMA, UNTUNED, Versions};
use super::runner::Experiment;
use super::summary;
use super::tensorboard::EventFile;
use super::truth::TrainedTruth;
use super::until::UntilRecord;
use crate::error::{Error, Result};
use crate::method::{Count, ServerGate};
use crate::simulate::{Outcome, RoundRecord, RunIdentity, Simulation, Views, WatchRounds, content_hash, peak_memory};
use crate::stage::{Aggregator, FeatureExtractor, Scorer};
use crate::types::{Context, Control, Record, Seed};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

impl Experiment {
    /// The folder of one run of an experiment without conditions.
    pub fn run_folder(&self, label: &str, seed: u64) -> PathBuf {
        self.cell_folder(None, label, seed)
    }

    /// The folder of one run: `<out>/<condition>/<method>/seed-<n>`, without a condition where there is none.
    pub fn cell_folder(&self, condition: Option<&str>, label: &str, seed: u64) -> PathBuf {
        let mut folder = self.config.out.clone();
        folder.extend(condition.map(folder_of));
        folder.push(folder_of(label));
        if label == UNTUNED { folder } else { folder.join(format!("seed-{seed}")) }
    }

    /// The untuned model on the test set: done once.
    pub(super) fn untuned(&self, control: &Control) -> Result<RunRecord> {
        let mut identity = self.identity(&[])?;
        identity.set("method", UNTUNED);
        let path = self.run_folder(UNTUNED, 0).join("run.json");
        if let Some(record) = finished(&path, &identity)? {
            return Ok(record);
        }
        let context = Context { control: control.clone(), ..Context::new(0) };
        let scores = self.test.set.evaluate(self.stages.evaluator.as_ref(), None, &context)?;
        let outcome = Outcome { adapter: Default::default(), rounds: Vec::new(), scores };
        let record = RunRecord { data: self.summary(), ..self.record(UNTUNED, 0, identity, outcome)? };
        record.save(&path)?;
        tracing::info!(
            loss = record.metrics.as_ref().map(|m| format!("{:.4}", m.loss)),
            "the untuned model is evaluated"
        );
        Ok(record)
    }

    /// The record of a run: read where it was finished before, else made.
    pub(super) fn one(&self, plan: &RunPlan, federation: &Federation, control: &Control) -> Result<RunRecord> {
        let identity = self.run_identity(plan, federation)?;
        let condition = federation.name();
        let folder = self.cell_folder(condition, &plan.label, plan.seed);
        let path = folder.join("run.json");
        if let Some(record) = finished(&path, &identity)? {
            tracing::info!("finished before");
            return self.with_target(record, &path);
        }
        tracing::info!("begins");
        if plan.clients.iter().all(|client| client.records.is_empty()) {
            return Err(Error::input("records that the filter leaves", "at least one", "none"));
        }
        let features = self.stages.features(plan.features());
        let pipeline = match &plan.arm {
            Arm::Method(method) => method.pipeline(features.map_or(1, |f| f.layers))?,
            Arm::Oracle(oracle) => oracle::pipeline(oracle.count.clone())?,
            Arm::CoresetCent(arm) => {
                let records = plan.clients.iter().map(|client| client.records.len()).sum();
                let layers = features.map_or(1, |f| f.layers);
                coreset_cent::pipeline(&arm.count, plan.settings.rounds, records, layers)?
            }
        };
        let checkpoint = folder.join("checkpoint.bin");
        let mut simulation =
            Simulation::new(pipeline, plan.clients.clone(), self.stages.trainer.clone(), self.aggregator(plan)?)
                .settings(plan.settings.clone())
                .seed(Seed(plan.seed))
                .cache(self.cache.clone())
                .evaluate(self.stages.evaluator.clone(), self.test.set.clone())
                .checkpoint(&checkpoint, identity.clone())
                .clients_at_once(self.config.workers())
                .empty_clients(plan.filter.is_some())
                .views(self.views(features))
                .control(control.clone());
        let extractor: Option<Arc<dyn FeatureExtractor>> = match (&plan.arm, &federation.truth, features) {
            (Arm::Method(_) | Arm::CoresetCent(_), _, features) => {
                features.map(|Features { extractor, .. }| extractor.clone())
            }
            (Arm::Oracle(_), Some(truth), _) => Some(Arc::new(TrueTasks::new(truth))),
            (Arm::Oracle(_), None, _) => {
                return Err(Error::config("methods", "expected `data.conditions` beside the oracle, got none"));
            }
        };
        if let Some(extractor) = extractor {
            simulation = simulation.extractor(extractor);
        }
        if plan.arm.count().tokens().is_some() {
            let (known, count) = (federation.tokens.clone(), self.stages.count_tokens.clone());
            simulation = simulation.count_tokens(Arc::new(move |record| match known.get(&record.id) {
                Some(tokens) => Ok(*tokens),
                None => count(record),
            }));
        }
        if self.config.report.tensorboard {
            simulation = simulation.watch_rounds(watch(folder.clone()));
        }
        if let Some(until) = plan.until {
            simulation = simulation.until(until);
        }
        if let Some(attack) = &plan.attack {
            simulation = simulation.attack(attack.clone());
        }
        if let Some(judge) = self.judge(&plan.arm) {
            simulation = simulation.judge(judge.clone());
        }
        if let Some(scorer) = self.scorer(&plan.arm)? {
            simulation = simulation.scorer(scorer.clone());
        }
        let outcome = simulation.run()?;
        if let Some(save) = self.stages.save_adapter.as_ref().filter(|_| condition.is_none()) {
            save(&folder.join("adapter"), &outcome.adapter)?;
        }
        let truth = federation.truth.as_ref().map(|truth| TrainedTruth::of(&outcome.rounds, truth));
        let record = RunRecord {
            condition: condition.map(str::to_owned),
            method_settings: settings(&plan.arm)?,
            data: federation.summary.clone(),
            notes: plan.notes.clone(),
            truth,
            until: plan.until.map(|until| UntilRecord::of(until, &outcome.rounds)),
            ..self.record(&plan.label, plan.seed, identity, outcome)?
        };
        record.save(&path)?;
        if condition.is_some() {
            // A grid has thousands of cells: what the run record does not hold is not kept.
            std::fs::remove_file(&checkpoint).map_err(|e| Error::io(&checkpoint, e))?;
        }
        Ok(record)
    }

    /// What the round records hold for the report.
    fn views(&self, features: Option<&Features>) -> Views {
        let asked = &self.config.report;
        let layers = if asked.layers { features.map_or(0, |features| features.layers) } else { 0 };
        Views { map_records: asked.map_records, layers }
    }

    /// A finished run's record with the configuration's target. Where runs go on to their last round its loss is no part of what a run is:
    /// another one is read off the evaluations that are there.
    fn with_target(&self, mut record: RunRecord, path: &Path) -> Result<RunRecord> {
        let of = record.until.as_ref().map(|until| until.target);
        if of != self.config.until {
            record.until = self.config.until.map(|until| UntilRecord::of(until, &record.rounds));
            record.config = self.config_json()?;
            record.save(path)?;
        }
        Ok(record)
    }

    /// A fresh aggregator for a run: the method's, else the stages' own, else the configuration's.
    pub(super) fn aggregator(&self, plan: &RunPlan) -> Result<Box<dyn Aggregator>> {
        match (&plan.aggregator, &self.stages.aggregator) {
            (Some(config), _) => config.build().map_err(|e| e.under("aggregator")),
            (None, Some(own)) => Ok(own()),
            (None, None) => self.config.aggregator.build().map_err(|e| e.under("aggregator")),
        }
    }

    /// What judges the responses, where the method has a gate.
    fn judge(&self, arm: &Arm) -> Option<&Arc<dyn Scorer>> {
        match arm {
            Arm::Method(method) if matches!(method.server.gate, ServerGate::Ranks(_)) => self.stages.judge.as_ref(),
            _ => None,
        }
    }

    /// What gives each record its loss under the untuned model, where the method ranks by it.
    fn scorer(&self, arm: &Arm) -> Result<Option<&Arc<dyn Scorer>>> {
        match (arm, &self.stages.judge) {
            (Arm::Method(method), judge) if method.client.selector.needs_scores() => match judge {
                Some(scorer) => Ok(Some(scorer)),
                None => Err(Error::config(
                    "methods",
                    format!("expected stages with a judge for `{}`, got none", method.name),
                )),
            },
            _ => Ok(None),
        }
    }

    /// What every record of the experiment has, and the outcome.
    fn record(&self, label: &str, seed: u64, identity: RunIdentity, outcome: Outcome) -> Result<RunRecord> {
        let config = self.config_json()?;
        let metrics = summary::of_scores(&outcome.scores)?;
        Ok(RunRecord {
            schema: SCHEMA,
            experiment: self.config.name.clone(),
            condition: None,
            method: label.to_owned(),
            seed,
            method_settings: serde_json::Value::Null,
            config,
            identity,
            versions: Versions::current(),
            data: Default::default(),
            rounds: outcome.rounds,
            metrics,
            scores: outcome.scores,
            truth: None,
            until: None,
            notes: Vec::new(),
            peak_memory_bytes: peak_memory(),
        })
    }

    fn config_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(&self.config).map_err(|e| Error::config("(document)", e.to_string()))
    }

    /// What every run of the experiment depends on, and these parts of the configuration.
    fn identity(&self, parts: &[&str]) -> Result<RunIdentity> {
        let mut identity = RunIdentity::default();
        self.identify(&mut identity, &["prompt", "generation"])?;
        self.identify(&mut identity, parts)?;
        identity.set("test records", hex(content_hash(self.test.set.records())));
        Ok(identity)
    }

    /// Notes these parts of the configuration, and what the stages depend on.
    pub(super) fn identify(&self, identity: &mut RunIdentity, parts: &[&str]) -> Result<()> {
        let config = self.config_json()?;
        for part in parts {
            identity.set_json(part, config.get(*part).unwrap_or(&serde_json::Value::Null));
        }
        for (name, value) in &self.stages.identity {
            identity.set(name, value);
        }
        Ok(())
    }

    fn run_identity(&self, plan: &RunPlan, federation: &Federation) -> Result<RunIdentity> {
        let mut parts = vec!["adapter", "training", "aggregator"];
        if *plan.arm.count() == Count::All {
            parts.push("fedit");
        }
        let mut identity = self.identity(&parts)?;
        if let Some(until) = plan.until {
            identity.set("until.every", until.every);
            if until.stop {
                identity.set("until.stop", true);
                identity.set("until.loss", until.loss);
            }
        }
        self.identify_run(&mut identity, plan, federation)?;
        Ok(identity)
    }

    /// Notes the method, its clients and how they are sampled.
    pub(super) fn identify_run(
        &self,
        identity: &mut RunIdentity,
        plan: &RunPlan,
        federation: &Federation,
    ) -> Result<()> {
        let json = |e: serde_json::Error| Error::config("methods", e.to_string());
        identity.set_json("method", &settings(&plan.arm)?);
        identity.set_json("federation", &serde_json::to_value(&plan.settings).map_err(json)?);
        identity.set("seed", plan.seed);
        if let Some((_, condition)) = &federation.condition {
            identity.set_json("condition", &serde_json::to_value(condition).map_err(json)?);
        }
        if let Some(Filter::Rules) = plan.filter {
            identity.set("filter", "rules");
        }
        if let Some(aggregator) = &plan.aggregator {
            identity.set_json("the method's aggregator", &serde_json::to_value(aggregator).map_err(json)?);
        }
        if let Some(attack) = &plan.attack {
            identity.set_json("attack", &serde_json::to_value(attack).map_err(json)?);
        }
        if let Some(features) = self.stages.features(plan.features()) {
            identity.set("features", features.extractor.fingerprint());
        }
        if let Some(judge) = self.judge(&plan.arm) {
            identity.set("judge", judge.fingerprint());
        }
        if let Some(scorer) = self.scorer(&plan.arm)? {
            identity.set("scorer", scorer.fingerprint());
        }
        let records: Vec<Record> = plan.clients.iter().flat_map(|c| c.records.iter().cloned()).collect();
        let sizes: Vec<String> = plan.clients.iter().map(|c| format!("{}:{}", c.client, c.records.len())).collect();
        identity.set("clients", hex(*blake3::hash(sizes.join(",").as_bytes()).as_bytes()));
        identity.set("client records", hex(content_hash(&records)));
        Ok(())
    }
}

/// Writes the rounds of a run for TensorBoard. A file that cannot be written ends no run: it is said once.
fn watch(folder: PathBuf) -> Arc<WatchRounds> {
    let events = Mutex::new(Some(None::<EventFile>));
    Arc::new(move |rounds: &[RoundRecord]| {
        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = events.as_mut() else { return };
        let write = || match file {
            Some(file) => file.write(rounds),
            none => none.insert(EventFile::create(&folder)?).write(rounds),
        };
        if let Err(error) = write() {
            tracing::warn!("no more is written for TensorBoard: {error}");
            *events = None;
        }
    })
}

fn settings(arm: &Arm) -> Result<serde_json::Value> {
    serde_json::to_value(arm).map_err(|e| Error::config("methods", e.to_string()))
}

/// The record of a run that was finished before.
fn finished(path: &Path, identity: &RunIdentity) -> Result<Option<RunRecord>> {
    if !path.exists() {
        return Ok(None);
    }
    let record = RunRecord::load(path)?;
    match identity.difference(&record.identity) {
        None => Ok(Some(record)),
        Some(difference) => Err(other_run(path, &difference)),
    }
}

/// The error of a file that another run left.
pub(super) fn other_run(path: &Path, difference: &str) -> Error {
    let message = format!("it is of another run; use another output folder, or delete it. What differs: {difference}");
    Error::Checkpoint { path: path.to_path_buf(), message }
}

fn hex(bytes: [u8; 32]) -> String {
    blake3::Hash::from_bytes(bytes).to_hex().to_string()
}
