//! The cost of an experiment: what its runs ask of the stages, times what a unit of work takes here.

use super::cost::{Cost, Probe, Rates, typical};
use super::plan::{self, RunPlan};
use super::runner::{Experiment, UNTUNED};
use crate::error::Result;
use crate::method::FeatureSource;
use crate::simulate::content_hash;
use crate::types::{Context, Control, Record, Round, Seed};
use std::collections::BTreeSet;

impl Experiment {
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
        let adapter = self.stages.trainer.init(&Context { seed: Seed(0), control: control.clone() })?;
        let most = runs.iter().map(|p| p.settings.participation.clients_of(p.clients.len())).max().unwrap_or_default();
        let bytes = self.aggregator()?.memory(most, adapter.parameters());
        cost.notes.push(format!(
            "aggregating holds at most {:.1} MB: {} values in an adapter, {most} clients in a round",
            bytes as f64 / 1e6,
            adapter.parameters()
        ));
        cost.notes.push("from a measurement on a few records; local fusion and clustering are not counted".into());
        if guessed {
            cost.notes.push(
                "where the clustering decides on the number of records, one a client and round is assumed".into(),
            );
        }
        Ok(cost)
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
            let round = Round(u32::try_from(round).unwrap_or(u32::MAX));
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
        let generates = self.test.generate().iter().any(|g| *g);
        let most = self.config.generation.batch_size * workers;
        let (records, tokens) = pick(self.test.records().iter().collect(), most);
        let probe = Probe { records: &records, tokens: &tokens, workers };
        (rates.loss, rates.generation) = probe.evaluation(self.stages.evaluator.as_ref(), generates, &context)?;
        Ok(rates)
    }
}
