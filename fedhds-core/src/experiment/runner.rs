//! An experiment: every method with every seed, resumable, and one table at the end.

use super::parts::{Features, Stages};
use super::picture::Picture;
use super::plan::{self, RunPlan};
use super::run_record::{DataSummary, RunRecord, SCHEMA, Versions, peak_memory};
use super::table::{self, Table};
use super::{ExperimentConfig, summary};
use crate::dataset::{ClientData, FederatedDataset};
use crate::error::{Error, Result};
use crate::features::RecordCache;
use crate::method::{Count, FeatureSource, Preset, ServerGate};
use crate::simulate::{FolderLock, Outcome, RunIdentity, Simulation, TestSet, atomic_write, content_hash};
use crate::stage::Aggregator;
use crate::types::{Context, Control, Record, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The label of the model as it came.
pub const UNTUNED: &str = "untuned";

/// An experiment that is ready to run: configuration, data and stages, all checked.
pub struct Experiment {
    pub(super) config: ExperimentConfig,
    pub(super) stages: Stages,
    pub(super) clients: Arc<Vec<ClientData>>,
    pub(super) test: Arc<TestSet>,
    /// Tokens by record id, of clients and test set.
    pub(super) tokens: BTreeMap<String, usize>,
    pub(super) summary: DataSummary,
    notes: Vec<String>,
    cache: Arc<RecordCache>,
}

/// What a finished experiment left.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The results.
    pub table: Table,
    /// The folder of run records, table and plots.
    pub out: PathBuf,
}

impl Experiment {
    /// An experiment over these data and stages; `notes` are said in the output beside the stages' own.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that cannot be run; [`Error::Input`] for data without clients, records or test
    /// records, and for record ids that occur twice.
    pub fn new(
        config: ExperimentConfig,
        data: FederatedDataset,
        stages: Stages,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        config.check_settings()?;
        if data.clients.is_empty() {
            return Err(Error::input("clients", "at least one client", "none"));
        }
        if let Some(empty) = data.clients.iter().find(|c| c.records.is_empty()) {
            let what = format!("client {} (`{}`)", empty.client, empty.name);
            return Err(Error::input(&what, "at least one record", "none"));
        }
        if data.test.is_empty() {
            return Err(Error::input("test set", "at least one record", "none"));
        }
        let mut tokens = BTreeMap::new();
        let mut count = |record: &Record| -> Result<u64> {
            let n = (stages.count_tokens)(record)?;
            match tokens.insert(record.id.clone(), n) {
                None => Ok(n as u64),
                Some(_) => Err(Error::input("records", "an id of its own for each", format!("`{}` twice", record.id))),
            }
        };
        let mut summary = DataSummary { clients: data.clients.len(), ..DataSummary::default() };
        for record in data.clients.iter().flat_map(|c| &c.records) {
            summary.records += 1;
            summary.tokens += count(record)?;
        }
        for record in &data.test.records {
            summary.test_records += 1;
            summary.test_tokens += count(record)?;
        }
        notes.extend(stages.notes.iter().cloned());
        let test = Arc::new(TestSet::new(data.test.records, config.generation.records));
        let clients = Arc::new(data.clients);
        for plan in plan::runs(&config, &clients)? {
            notes.extend(plan.notes);
        }
        let mut said = BTreeSet::new();
        notes.retain(|note| said.insert(note.clone()));
        let cache = Arc::new(RecordCache::on_disk(config.out.join("features")));
        Ok(Self { config, stages, clients, test, tokens, summary, notes, cache })
    }

    /// Data and models in words.
    pub fn describe(&self) -> String {
        let s = &self.summary;
        let mut text = format!(
            "{}: {} clients, {} records, {} tokens ({} a record); test: {} records, {} tokens, text generated for {}",
            self.config.name,
            s.clients,
            s.records,
            s.tokens,
            s.tokens / (s.records as u64).max(1),
            s.test_records,
            s.test_tokens,
            self.test.generate().iter().filter(|g| **g).count(),
        );
        for note in &self.notes {
            text.push_str(&format!("\n  note: {note}"));
        }
        text
    }

    /// Runs what is not finished, and makes the table of all.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the output folder holds runs of other settings, or when another process is at work in it; what
    /// the stages report; [`Error::Cancelled`]. Finished runs and rounds are kept.
    pub fn run(&self, control: &Control) -> Result<Finished> {
        let out = &self.config.out;
        let _lock = FolderLock::acquire(out)?;
        let text = toml::to_string(&self.config)
            .map_err(|e| Error::config("(document)", format!("expected a configuration that can be written: {e}")))?;
        atomic_write(out.join("config.toml"), text.as_bytes())?;
        let untuned = self.untuned(control)?;
        let plans = plan::runs(&self.config, &self.clients)?;
        let mut records = vec![untuned];
        control.begin("runs", Some(plans.len() as u64));
        let result = plans.iter().try_for_each(|plan| {
            let plan = matched(plan, &records);
            records.push(self.one(&plan, control)?);
            control.advance("runs", 1);
            Ok(())
        });
        control.end("runs");
        result?;
        let table = table::build(&records, &self.pairs(), self.summary.records, &self.notes)?;
        atomic_write(out.join("table.txt"), table.to_text().as_bytes())?;
        atomic_write(out.join("table.md"), table.to_markdown().as_bytes())?;
        let json = serde_json::to_vec_pretty(&table).map_err(|e| Error::input("table", "finite numbers", e))?;
        atomic_write(out.join("table.json"), &json)?;
        self.pictures(&records, &plans, control)?;
        Ok(Finished { table, out: out.clone() })
    }

    /// A picture of each run's selection, in one plane for all: that of the frozen features, where a method used them.
    fn pictures(&self, records: &[RunRecord], plans: &[RunPlan], control: &Control) -> Result<()> {
        let path = |r: &RunRecord| self.run_folder(&r.method, r.seed).join("selection.svg");
        let runs: Vec<&RunRecord> = records.iter().filter(|r| !r.rounds.is_empty()).collect();
        if runs.iter().all(|r| path(r).exists()) || !self.stages.proxy.extractor.is_frozen() {
            return Ok(());
        }
        let proxied: BTreeSet<&str> =
            plans.iter().filter(|p| p.method.features == FeatureSource::Proxy).map(|p| p.label.as_str()).collect();
        let seen: BTreeSet<_> = runs
            .iter()
            .filter(|r| proxied.contains(r.method.as_str()))
            .flat_map(|r| r.rounds.iter().flat_map(|round| &round.clients))
            .map(|c| c.client)
            .collect();
        let clients = self.clients.iter().filter(|c| seen.contains(&c.client));
        if let Some(picture) = Picture::new(clients, &self.stages.proxy, &self.cache, control)? {
            runs.iter().try_for_each(|r| picture.save(r, &path(r)))?;
        }
        Ok(())
    }

    /// The folder of one run.
    pub fn run_folder(&self, label: &str, seed: u64) -> PathBuf {
        let folder: String =
            label.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        let folder = self.config.out.join(folder);
        if label == UNTUNED { folder } else { folder.join(format!("seed-{seed}")) }
    }

    /// Labels of what is compared: (method, baseline). A method whose count others took is compared with those, at equal record
    /// count; the others with `random` and `stratified`, and these with each other.
    fn pairs(&self) -> Vec<(String, String)> {
        let methods = &self.config.methods;
        let matched = |label: &str| methods.iter().any(|m| m.count_of() == Some(label));
        let mut pairs = Vec::new();
        for baseline in methods {
            let general = [Preset::Random, Preset::Stratified].iter().position(|b| b.name() == baseline.label());
            for method in methods.iter().filter(|m| m.label() != baseline.label()) {
                let label = method.label();
                let compared = match (general, baseline.count_of()) {
                    (_, Some(of)) => label == of,
                    (Some(0), None) => method.count_of().is_none() && !matched(label),
                    (Some(_), None) => method.count_of().is_none() && !matched(label) && label != Preset::Random.name(),
                    (None, None) => false,
                };
                if compared && label != table::FEDIT {
                    pairs.push((label.to_owned(), baseline.label().to_owned()));
                }
            }
        }
        pairs
    }

    fn untuned(&self, control: &Control) -> Result<RunRecord> {
        let mut identity = self.identity(&[])?;
        identity.set("method", UNTUNED);
        let path = self.run_folder(UNTUNED, 0).join("run.json");
        if let Some(record) = finished(&path, &identity)? {
            return Ok(record);
        }
        let context = Context { seed: Seed(0), control: control.clone() };
        let scores = self.test.evaluate(self.stages.evaluator.as_ref(), None, &context)?;
        let outcome = Outcome { adapter: Default::default(), rounds: Vec::new(), scores };
        let record = self.record(UNTUNED, 0, identity, serde_json::Value::Null, outcome, Vec::new())?;
        record.save(&path)?;
        tracing::info!(
            loss = record.metrics.as_ref().map(|m| format!("{:.4}", m.loss)),
            "the untuned model is evaluated"
        );
        Ok(record)
    }

    fn one(&self, plan: &RunPlan, control: &Control) -> Result<RunRecord> {
        let identity = self.run_identity(plan)?;
        let folder = self.run_folder(&plan.label, plan.seed);
        let path = folder.join("run.json");
        if let Some(record) = finished(&path, &identity)? {
            tracing::info!(method = plan.label, seed = plan.seed, "finished before");
            return Ok(record);
        }
        tracing::info!(method = plan.label, seed = plan.seed, "begins");
        let features = self.stages.features(plan.method.features);
        let pipeline = plan.method.pipeline(features.map_or(1, |f| f.layers))?;
        let checkpoint = folder.join("checkpoint.bin");
        let mut simulation =
            Simulation::new(pipeline, plan.clients.clone(), self.stages.trainer.clone(), self.aggregator()?)
                .settings(plan.settings.clone())
                .seed(Seed(plan.seed))
                .cache(self.cache.clone())
                .evaluate(self.stages.evaluator.clone(), self.test.clone())
                .checkpoint(&checkpoint, identity.clone())
                .clients_at_once(self.config.workers())
                .control(control.clone());
        if let Some(Features { extractor, .. }) = features {
            simulation = simulation.extractor(extractor.clone());
        }
        if let (Some(judge), ServerGate::Ranks(_)) = (&self.stages.judge, &plan.method.server.gate) {
            simulation = simulation.judge(judge.clone());
        }
        let outcome = simulation.run()?;
        if let Some(save) = &self.stages.save_adapter {
            save(&folder.join("adapter"), &outcome.adapter)?;
        }
        let method = serde_json::to_value(&plan.method).map_err(|e| Error::config("methods", e.to_string()))?;
        let record = self.record(&plan.label, plan.seed, identity, method, outcome, plan.notes.clone())?;
        record.save(&path)?;
        Ok(record)
    }

    /// A fresh aggregator: the stages' own, else the configuration's.
    pub(super) fn aggregator(&self) -> Result<Box<dyn Aggregator>> {
        match &self.stages.aggregator {
            Some(own) => Ok(own()),
            None => self.config.aggregator.build().map_err(|e| e.under("aggregator")),
        }
    }

    fn record(
        &self,
        label: &str,
        seed: u64,
        identity: RunIdentity,
        method: serde_json::Value,
        outcome: Outcome,
        notes: Vec<String>,
    ) -> Result<RunRecord> {
        let config = serde_json::to_value(&self.config).map_err(|e| Error::config("(document)", e.to_string()))?;
        let metrics = summary::of_scores(&outcome.scores)?;
        Ok(RunRecord {
            schema: SCHEMA,
            experiment: self.config.name.clone(),
            method: label.to_owned(),
            seed,
            method_settings: method,
            config,
            identity,
            versions: Versions::current(),
            data: self.summary.clone(),
            rounds: outcome.rounds,
            metrics,
            scores: outcome.scores,
            notes,
            peak_memory_bytes: peak_memory(),
        })
    }

    /// What every run of the experiment depends on, and these parts of the configuration.
    fn identity(&self, parts: &[&str]) -> Result<RunIdentity> {
        let config = serde_json::to_value(&self.config).map_err(|e| Error::config("(document)", e.to_string()))?;
        let mut identity = RunIdentity::default();
        for part in ["prompt", "generation"].iter().chain(parts) {
            identity.set_json(part, config.get(*part).unwrap_or(&serde_json::Value::Null));
        }
        for (name, value) in &self.stages.identity {
            identity.set(name, value);
        }
        identity.set("test records", hex(content_hash(self.test.records())));
        Ok(identity)
    }

    fn run_identity(&self, plan: &RunPlan) -> Result<RunIdentity> {
        let mut parts = vec!["adapter", "training", "aggregator"];
        if plan.method.count == Count::All {
            parts.push("fedit");
        }
        let mut identity = self.identity(&parts)?;
        let json = |e: serde_json::Error| Error::config("methods", e.to_string());
        identity.set_json("method", &serde_json::to_value(&plan.method).map_err(json)?);
        identity.set_json("federation", &serde_json::to_value(&plan.settings).map_err(json)?);
        identity.set("seed", plan.seed);
        if let Some(features) = self.stages.features(plan.method.features) {
            identity.set("features", features.extractor.fingerprint());
        }
        if let (Some(judge), ServerGate::Ranks(_)) = (&self.stages.judge, &plan.method.server.gate) {
            identity.set("judge", judge.fingerprint());
        }
        let records: Vec<Record> = plan.clients.iter().flat_map(|c| c.records.iter().cloned()).collect();
        let sizes: Vec<String> = plan.clients.iter().map(|c| format!("{}:{}", c.client, c.records.len())).collect();
        identity.set("clients", hex(*blake3::hash(sizes.join(",").as_bytes()).as_bytes()));
        identity.set("client records", hex(content_hash(&records)));
        Ok(identity)
    }
}

/// The plan with the record counts of the method that it follows, which ran before with the same seed.
fn matched(plan: &RunPlan, before: &[RunRecord]) -> RunPlan {
    let mut plan = plan.clone();
    let followed = before.iter().find(|r| Some(&r.method) == plan.count_of.as_ref() && r.seed == plan.seed);
    if let Some(followed) = followed {
        let counts = followed.rounds.iter().map(|round| round.clients.iter().map(|c| c.selected.len()).sum());
        plan.method.count = Count::PerRound(counts.collect());
    }
    plan
}

/// The record of a run that was finished before.
fn finished(path: &Path, identity: &RunIdentity) -> Result<Option<RunRecord>> {
    if !path.exists() {
        return Ok(None);
    }
    let record = RunRecord::load(path)?;
    match identity.difference(&record.identity) {
        None => Ok(Some(record)),
        Some(difference) => Err(Error::Checkpoint {
            path: path.to_path_buf(),
            message: format!(
                "it is of another run; use another output folder, or delete it. What differs: {difference}"
            ),
        }),
    }
}

fn hex(bytes: [u8; 32]) -> String {
    blake3::Hash::from_bytes(bytes).to_hex().to_string()
}
