//! The cost of an experiment: what its runs ask of the stages, times what a unit of work takes here.

use super::cost::{Cost, Probe, Rates, typical};
use super::federation::Federation;
use super::plan::{self, RunPlan};
use super::run_record::UNTUNED;
use super::runner::Experiment;
use crate::error::Result;
use crate::method::FeatureSource;
use crate::simulate::content_hash;
use crate::types::{Context, Control, Record, Round, Seed};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs of one method that are not finished, known by one of them.
struct Unfinished {
    federation: Arc<Federation>,
    plan: RunPlan,
    /// How many runs it stands for.
    runs: u64,
}

/// Records whose frozen features somebody has extracted: the extractor and the record's content.
type Seen = BTreeSet<(String, [u8; 32])>;

impl Experiment {
    /// What the experiment will cost, from a short measurement of each stage; runs that are finished cost nothing. Of a grid one seed
    /// of each condition stands for all.
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
        let generated = self.test.set.generate().iter().filter(|g| **g).count() as u64;
        let test_records = self.test.tokens.len() as u64;
        let test_tokens: u64 = self.test.tokens.values().map(|n| *n as u64).sum();
        let evaluation = |cost: &mut Cost, label: &str, times: u64, looks: u64| {
            let losses = times + looks;
            let (records, tokens) = (test_records * losses, test_tokens * losses);
            cost.add(label, "evaluation: loss", records, tokens, rates.loss * tokens as f64);
            let texts = generated * times;
            cost.add(label, "evaluation: generation", texts, 0, rates.generation * texts as f64);
        };
        if evaluates {
            evaluation(&mut cost, UNTUNED, 1, 0);
        }
        let pool = self.pooled();
        let mut seen = Seen::new();
        let mut guessed = false;
        for label in self.config.methods.iter().map(|m| m.label()) {
            let (mut features, mut trained, mut evaluations, mut looks) = ((0, 0, 0.0), (0, 0), 0, 0);
            for Unfinished { federation, plan, runs } in runs.iter().filter(|r| r.plan.label == label) {
                let source = self.stages.features(plan.features());
                let frozen = source.is_some_and(|f| f.extractor.is_frozen());
                let work = plan.workload(&federation.tokens, self.config.training.local_epochs, frozen);
                let extracted = match source.filter(|_| frozen) {
                    Some(source) => not_yet(plan, federation, &source.extractor.fingerprint(), *runs, &pool, &mut seen),
                    None => (work.extracted.0 * runs, work.extracted.1 * runs),
                };
                let rate = match plan.features() {
                    FeatureSource::Proxy => rates.proxy_features,
                    _ => rates.tuned_features,
                };
                features.0 += extracted.0;
                features.1 += extracted.1;
                features.2 += rate * extracted.1 as f64;
                trained = (trained.0 + work.trained.0 * runs, trained.1 + work.trained.1 * runs);
                evaluations += work.evaluations * runs;
                looks += work.looks * runs;
                guessed |= work.guessed;
            }
            cost.add(label, "features", features.0, features.1, features.2);
            cost.add(label, "training", trained.0, trained.1, rates.training * trained.1 as f64);
            evaluation(&mut cost, label, evaluations, looks);
        }
        let adapter = self.stages.trainer.init(&Context { control: control.clone(), ..Context::new(0) })?;
        let clients = runs.iter().map(|r| r.plan.settings.participation.clients_of(r.plan.clients.len()));
        let most = clients.max().unwrap_or_default();
        let memory = |plan: &RunPlan| Ok(self.aggregator(plan)?.memory(most, adapter.parameters()));
        let each = runs.iter().map(|r| memory(&r.plan)).collect::<Result<Vec<u64>>>()?;
        let bytes = each.into_iter().max().unwrap_or_default();
        cost.notes.push(format!(
            "aggregating holds at most {:.1} MB: {} values in an adapter, {most} clients in a round",
            bytes as f64 / 1e6,
            adapter.parameters()
        ));
        cost.notes.push("from a measurement on a few records; local fusion and clustering are not counted".into());
        if self.config.until.is_some_and(|until| until.stop) {
            cost.notes.push("a run that reaches its target early takes less than is counted".into());
        }
        if guessed {
            cost.notes.push(
                "where the clustering decides on the number of records, one a client and round is assumed".into(),
            );
        }
        if self.pool().is_some() {
            let all = self.cells();
            let left: u64 = runs.iter().map(|r| r.runs).sum();
            cost.notes
                .push(format!("{left} of {all} runs are not finished; one seed of each condition stands for all"));
        }
        Ok(cost)
    }

    /// The runs that are not finished: of an experiment without conditions each by itself, of a grid one seed of each condition for all
    /// of them.
    fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let mut unfinished = Vec::new();
        for condition in self.conditions() {
            let name = self.condition_name(condition);
            let open = |label: &str, seed: u64| !self.cell_folder(name, label, seed).join("run.json").exists();
            let labels: Vec<&str> = self.config.methods.iter().map(|m| m.label()).collect();
            let any = |seed: &&u64| labels.iter().any(|label| open(label, **seed));
            let seeds: Vec<u64> = self.config.seeds_of(condition).iter().filter(any).copied().collect();
            let sampled = if condition.is_some() { 1 } else { seeds.len() };
            for &seed in seeds.iter().take(sampled) {
                let federation = self.federation(condition, seed)?;
                for plan in plan::runs(&self.config, &federation, seed)? {
                    let runs = match condition {
                        None => u64::from(open(&plan.label, seed)),
                        Some(_) => seeds.iter().filter(|seed| open(&plan.label, **seed)).count() as u64,
                    };
                    if runs > 0 {
                        unfinished.push(Unfinished { federation: federation.clone(), plan, runs });
                    }
                }
            }
        }
        Ok(unfinished)
    }

    /// The contents of the records that are dealt anew: every seed meets them again.
    fn pooled(&self) -> BTreeSet<[u8; 32]> {
        self.pool().into_iter().flat_map(|pool| &pool.records).map(content).collect()
    }

    /// Seconds for each unit of work, measured on a few records of typical lengths.
    fn rates(&self, runs: &[Unfinished], control: &Control) -> Result<Rates> {
        let context = Context { control: control.clone(), ..Context::new(0) };
        let first = match runs.first() {
            Some(run) => run.federation.clone(),
            None => {
                let condition = self.conditions().first().copied().flatten();
                self.federation(condition, self.config.seeds_of(condition).first().copied().unwrap_or_default())?
            }
        };
        let pick = |records: Vec<&Record>, n: usize| {
            let known = |r: &&Record| first.tokens.get(&r.id).or(self.test.tokens.get(&r.id)).copied();
            let tokens: Vec<usize> = records.iter().map(|r| known(r).unwrap_or(1)).collect();
            let rows = typical(&tokens, n);
            let chosen: Vec<Record> = rows.iter().filter_map(|&i| records.get(i).map(|r| (*r).clone())).collect();
            let tokens: Vec<usize> = rows.iter().filter_map(|&i| tokens.get(i).copied()).collect();
            (chosen, tokens)
        };
        let train: Vec<&Record> = first.clients.iter().flat_map(|c| &c.records).collect();
        let uses = |source: FeatureSource| runs.iter().any(|r| r.plan.features() == source);
        let mut rates = Rates::default();
        let (records, tokens) = pick(train.clone(), 8);
        let workers = self.config.workers();
        let probe = Probe { records: &records, tokens: &tokens, workers };
        if uses(FeatureSource::Model) {
            rates.tuned_features = probe.features(self.stages.model.extractor.as_ref(), &context)?;
        }
        if uses(FeatureSource::Proxy) {
            rates.proxy_features = probe.features(self.stages.proxy.extractor.as_ref(), &context)?;
        }
        if !runs.is_empty() {
            let (records, tokens) = pick(train, 2);
            rates.training = Probe { records: &records, tokens: &tokens, workers }
                .training(self.stages.trainer.as_ref(), &context)?;
            rates.training /= self.config.training.local_epochs.max(1) as f64;
        }
        let generates = self.test.set.generate().iter().any(|g| *g);
        let most = self.config.generation.batch_size * workers;
        let (records, tokens) = pick(self.test.set.records().iter().collect(), most);
        let probe = Probe { records: &records, tokens: &tokens, workers };
        (rates.loss, rates.generation) = probe.evaluation(self.stages.evaluator.as_ref(), generates, &context)?;
        Ok(rates)
    }
}

/// Records and tokens whose frozen features no run before this one extracts. What the pool holds is extracted once for all seeds,
/// what a condition made is new in each of the `runs`.
fn not_yet(
    plan: &RunPlan,
    federation: &Federation,
    fingerprint: &str,
    runs: u64,
    pool: &BTreeSet<[u8; 32]>,
    seen: &mut Seen,
) -> (u64, u64) {
    let ids: Vec<_> = plan.clients.iter().map(|c| c.client).collect();
    let mut sum = (0, 0);
    for round in 0..plan.settings.rounds {
        let round = Round(u32::try_from(round).unwrap_or(u32::MAX));
        let sampled = plan.settings.participation.sample(&ids, round, Seed(plan.seed));
        for client in plan.clients.iter().filter(|c| sampled.binary_search(&c.client).is_ok()) {
            for record in &client.records {
                let content = content(record);
                let times = if pool.contains(&content) { 1 } else { runs };
                if seen.insert((fingerprint.to_owned(), content)) {
                    let tokens = federation.tokens.get(&record.id).copied().unwrap_or_default() as u64;
                    sum = (sum.0 + times, sum.1 + times * tokens);
                }
            }
        }
    }
    sum
}

/// What a cache knows a record by: everything but its id.
fn content(record: &Record) -> [u8; 32] {
    content_hash(&[Record { id: String::new(), ..record.clone() }])
}
