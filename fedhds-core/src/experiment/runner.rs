//! An experiment: every method with every seed, resumable, and one table at the end.

use super::cost::{Cost, Probe, Rates, typical};
use super::picture::Picture;
use super::plan::{self, RunPlan};
use super::run_record::{DataSummary, RunRecord, SCHEMA, Versions, peak_memory};
use super::stages::{Features, Stages};
use super::table::{self, Table};
use super::{ExperimentConfig, summary};
use crate::dataset::{ClientData, FederatedDataset};
use crate::error::{Error, Result};
use crate::method::{Count, FeatureSource, Preset};
use crate::simulate::{FeatureStore, FolderLock, Identity, Outcome, Simulation, TestSet, atomic_write, content_hash};
use crate::types::{Context, Control, Record, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The label of the model as it came.
pub const UNTUNED: &str = "untuned";

/// An experiment that is ready to run: configuration, data and stages, all checked.
pub struct Experiment {
    config: ExperimentConfig,
    stages: Stages,
    clients: Arc<Vec<ClientData>>,
    test: Arc<TestSet>,
    /// Tokens by record id, of clients and test set.
    tokens: BTreeMap<String, usize>,
    summary: DataSummary,
    notes: Vec<String>,
    store: Arc<FeatureStore>,
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
        notes.dedup();
        let ledger = config.out.join("features.json");
        let store = Arc::new(FeatureStore::with_ledger(ledger)?);
        Ok(Self { config, stages, clients, test, tokens, summary, notes, store })
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

    /// What the experiment will cost, from a short measurement of each stage; runs that are finished cost nothing.
    ///
    /// # Errors
    /// What the stages report.
    pub fn cost(&self, control: &Control) -> Result<Cost> {
        let runs = self.unfinished()?;
        let mut cost = Cost::default();
        let evaluates = !self.run_folder(UNTUNED, 0).join("run.json").exists();
        if runs.is_empty() && !evaluates {
            cost.notes.push("every run is finished: only the table is made again".into());
            return Ok(cost);
        }
        let rates = self.rates(&runs, control)?;
        let generated = self.test.generate().iter().filter(|g| **g).count() as u64;
        let (test_records, test_tokens) = (self.summary.test_records as u64, self.summary.test_tokens);
        let evaluation = |cost: &mut Cost, label: &str, times: u64| {
            let (records, tokens) = (test_records * times, test_tokens * times);
            cost.add(label, "evaluation: loss", records, tokens, rates.loss * tokens as f64);
            let texts = generated * times;
            cost.add(label, "evaluation: generation", texts, 0, rates.generation * texts as f64);
        };
        if evaluates {
            evaluation(&mut cost, UNTUNED, 1);
        }
        let mut proxied: BTreeSet<(String, [u8; 32])> = BTreeSet::new();
        let mut guessed = false;
        for label in self.config.methods.iter().map(|m| m.label()) {
            let (mut features, mut trained, mut evaluations) = ((0, 0, 0.0), (0, 0), 0);
            for plan in runs.iter().filter(|p| p.label == label) {
                let source = self.stages.features(plan.method.features);
                let frozen = source.is_some_and(|f| f.extractor.is_frozen());
                let mut work = plan.workload(&self.tokens, self.config.training.local_epochs, frozen);
                if frozen && let Some(source) = source {
                    work.extracted = self.not_yet(plan, &source.extractor.fingerprint(), &mut proxied);
                }
                let rate = match plan.method.features {
                    FeatureSource::Proxy => rates.proxy_features,
                    _ => rates.tuned_features,
                };
                features.0 += work.extracted.0;
                features.1 += work.extracted.1;
                features.2 += rate * work.extracted.1 as f64;
                trained = (trained.0 + work.trained.0, trained.1 + work.trained.1);
                evaluations += work.evaluations;
                guessed |= work.guessed;
            }
            cost.add(label, "features", features.0, features.1, features.2);
            cost.add(label, "training", trained.0, trained.1, rates.training * trained.1 as f64);
            evaluation(&mut cost, label, evaluations);
        }
        cost.notes.push("from a measurement on a few records; local fusion and clustering are not counted".into());
        if guessed {
            cost.notes.push(
                "where the clustering decides on the number of records, one a client and round is assumed".into(),
            );
        }
        Ok(cost)
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
            records.push(self.one(plan, control)?);
            control.advance("runs", 1);
            Ok(())
        });
        control.end("runs");
        result?;
        let table = table::build(&records, &self.baselines(), self.summary.records, &self.notes)?;
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
        if let Some(picture) = Picture::new(clients, &self.stages.proxy, &self.store, control)? {
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

    /// Labels of the methods that others are compared with.
    fn baselines(&self) -> Vec<String> {
        let is = |preset: Preset| move |p: &&super::MethodEntry| p.label() == preset.name();
        let baselines = [Preset::Random, Preset::Stratified].into_iter();
        baselines.filter_map(|b| self.config.methods.iter().find(is(b)).map(|m| m.label().to_owned())).collect()
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
            Simulation::new(pipeline, plan.clients.clone(), self.stages.trainer.clone(), (self.stages.aggregator)())
                .settings(plan.settings.clone())
                .seed(Seed(plan.seed))
                .feature_store(self.store.clone())
                .evaluate(self.stages.evaluator.clone(), self.test.clone())
                .checkpoint(&checkpoint, identity.clone())
                .control(control.clone());
        if let Some(Features { extractor, .. }) = features {
            simulation = simulation.extractor(extractor.clone());
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

    fn record(
        &self,
        label: &str,
        seed: u64,
        identity: Identity,
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
    fn identity(&self, parts: &[&str]) -> Result<Identity> {
        let config = serde_json::to_value(&self.config).map_err(|e| Error::config("(document)", e.to_string()))?;
        let mut identity = Identity::default();
        for part in ["prompt", "generation"].iter().chain(parts) {
            identity.set_json(part, config.get(*part).unwrap_or(&serde_json::Value::Null));
        }
        for (name, value) in &self.stages.identity {
            identity.set(name, value);
        }
        identity.set("test records", hex(content_hash(self.test.records())));
        Ok(identity)
    }

    fn run_identity(&self, plan: &RunPlan) -> Result<Identity> {
        let mut parts = vec!["adapter", "training"];
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
        let records: Vec<Record> = plan.clients.iter().flat_map(|c| c.records.iter().cloned()).collect();
        let sizes: Vec<String> = plan.clients.iter().map(|c| format!("{}:{}", c.client, c.records.len())).collect();
        identity.set("clients", hex(*blake3::hash(sizes.join(",").as_bytes()).as_bytes()));
        identity.set("client records", hex(content_hash(&records)));
        Ok(identity)
    }

    fn unfinished(&self) -> Result<Vec<RunPlan>> {
        let mut runs = plan::runs(&self.config, &self.clients)?;
        runs.retain(|p| !self.run_folder(&p.label, p.seed).join("run.json").exists());
        Ok(runs)
    }

    /// Records and tokens of the clients whose frozen features no run before this one extracts.
    fn not_yet(&self, plan: &RunPlan, fingerprint: &str, seen: &mut BTreeSet<(String, [u8; 32])>) -> (u64, u64) {
        let ids: Vec<_> = plan.clients.iter().map(|c| c.client).collect();
        let mut sum = (0, 0);
        for round in 0..plan.settings.rounds {
            let round = crate::types::Round(u32::try_from(round).unwrap_or(u32::MAX));
            let sampled = plan.settings.participation.sample(&ids, round, Seed(plan.seed));
            for client in plan.clients.iter().filter(|c| sampled.binary_search(&c.client).is_ok()) {
                if seen.insert((fingerprint.to_owned(), content_hash(&client.records))) {
                    let tokens: usize = client.records.iter().filter_map(|r| self.tokens.get(&r.id)).sum();
                    sum = (sum.0 + client.records.len() as u64, sum.1 + tokens as u64);
                }
            }
        }
        sum
    }

    /// Seconds for each unit of work, measured on a few records of typical lengths.
    fn rates(&self, runs: &[RunPlan], control: &Control) -> Result<Rates> {
        let context = Context { seed: Seed(0), control: control.clone() };
        let pick = |records: Vec<&Record>, n: usize| {
            let tokens: Vec<usize> = records.iter().map(|r| self.tokens.get(&r.id).copied().unwrap_or(1)).collect();
            let rows = typical(&tokens, n);
            let chosen: Vec<Record> = rows.iter().filter_map(|&i| records.get(i).map(|r| (*r).clone())).collect();
            let tokens: Vec<usize> = rows.iter().filter_map(|&i| tokens.get(i).copied()).collect();
            (chosen, tokens)
        };
        let train: Vec<&Record> = self.clients.iter().flat_map(|c| &c.records).collect();
        let uses = |source: FeatureSource| runs.iter().any(|p| p.method.features == source);
        let mut rates = Rates::default();
        let (records, tokens) = pick(train.clone(), 8);
        let probe = Probe { records: &records, tokens: &tokens };
        if uses(FeatureSource::Model) {
            rates.tuned_features = probe.features(self.stages.model.uncached.as_ref(), &context)?;
        }
        if uses(FeatureSource::Proxy) {
            rates.proxy_features = probe.features(self.stages.proxy.uncached.as_ref(), &context)?;
        }
        if !runs.is_empty() {
            let (records, tokens) = pick(train, 2);
            rates.training =
                Probe { records: &records, tokens: &tokens }.training(self.stages.trainer.as_ref(), &context)?;
            rates.training /= self.config.training.local_epochs.max(1) as f64;
        }
        let generates = self.test.generate().iter().any(|g| *g);
        let (records, tokens) = pick(self.test.records().iter().collect(), 8);
        let probe = Probe { records: &records, tokens: &tokens };
        (rates.loss, rates.generation) = probe.evaluation(self.stages.evaluator.as_ref(), generates, &context)?;
        Ok(rates)
    }
}

/// The record of a run that was finished before.
fn finished(path: &Path, identity: &Identity) -> Result<Option<RunRecord>> {
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
