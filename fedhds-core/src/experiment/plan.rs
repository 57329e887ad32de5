//! The runs of an experiment, and what each of them asks of the stages.

use super::ExperimentConfig;
use crate::dataset::{ClientData, sample};
use crate::error::Result;
use crate::method::{Count, FeatureSource, MethodConfig};
use crate::simulate::{EvaluationSchedule, SimulationSettings};
use crate::types::{ClientId, Round, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One run: a method with a seed.
#[derive(Clone)]
pub(super) struct RunPlan {
    pub(super) label: String,
    pub(super) method: MethodConfig,
    /// The method whose record counts it takes, round by round.
    pub(super) count_of: Option<String>,
    pub(super) seed: u64,
    pub(super) settings: SimulationSettings,
    /// The clients; FedIT's may hold fewer records, see [`FeditCaps`](super::FeditCaps).
    pub(super) clients: Arc<Vec<ClientData>>,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
}

/// Records and tokens that a run sends through its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Workload {
    pub(super) extracted: (u64, u64),
    pub(super) trained: (u64, u64),
    pub(super) evaluations: u64,
    pub(super) guessed: bool,
}

/// Every run of the experiment: seed by seed, so that the methods can be compared as early as possible.
pub(super) fn runs(config: &ExperimentConfig, clients: &Arc<Vec<ClientData>>) -> Result<Vec<RunPlan>> {
    let mut runs = Vec::new();
    for &seed in &config.seeds {
        for (i, entry) in config.methods.iter().enumerate() {
            let method = entry.resolve(config.budget, &format!("methods[{i}]"))?;
            let mut plan = RunPlan {
                label: entry.label().to_owned(),
                count_of: entry.count_of().map(str::to_owned),
                seed,
                settings: config.federation.clone(),
                clients: clients.clone(),
                notes: Vec::new(),
                method,
            };
            if plan.method.count == Count::All {
                cap(&mut plan, config);
            }
            runs.push(plan);
        }
    }
    Ok(runs)
}

/// Applies the limits of FedIT and says so.
fn cap(plan: &mut RunPlan, config: &ExperimentConfig) {
    if let Some(rounds) = config.fedit.rounds
        && rounds < plan.settings.rounds
    {
        let label = &plan.label;
        plan.notes.push(format!("{label} was stopped after {rounds} of {} rounds", plan.settings.rounds));
        plan.settings.rounds = rounds;
        if plan.settings.evaluate == EvaluationSchedule::Never {
            plan.settings.evaluate = EvaluationSchedule::Last;
        }
    }
    if let Some(most) = config.fedit.records_per_client
        && plan.clients.iter().any(|c| c.records.len() > most)
    {
        let seed = Seed(plan.seed).derive("fedit records", 0);
        let capped = plan.clients.iter().map(|c| ClientData {
            records: sample(&c.records, most, seed.derive("client", u64::from(c.client.0))),
            ..c.clone()
        });
        let capped: Vec<ClientData> = capped.collect();
        let count = |clients: &[ClientData]| clients.iter().map(|c| c.records.len()).sum::<usize>();
        let (kept, all) = (count(&capped), count(&plan.clients));
        plan.notes.push(format!("{} saw at most {most} records of each client ({kept} of {all})", plan.label));
        plan.clients = Arc::new(capped);
    }
}

impl RunPlan {
    /// What the run asks for; `tokens` gives a record's tokens by its id, `epochs` is training's.
    ///
    /// The clients of each round are known beforehand; where a clustering decides on the number of records, one a client is
    /// assumed.
    pub(super) fn workload(&self, tokens: &BTreeMap<String, usize>, epochs: usize, frozen: bool) -> Workload {
        let ids: Vec<ClientId> = self.clients.iter().map(|c| c.client).collect();
        let sizes: BTreeMap<ClientId, (u64, u64)> = self
            .clients
            .iter()
            .map(|c| {
                let sum: usize = c.records.iter().filter_map(|r| tokens.get(&r.id)).sum();
                (c.client, (c.records.len() as u64, sum as u64))
            })
            .collect();
        let mut work = Workload {
            evaluations: self.settings.evaluate.count(self.settings.rounds) as u64,
            guessed: self.method.count == Count::PerCluster || self.count_of.is_some(),
            ..Workload::default()
        };
        let mut seen = BTreeSet::new();
        for round in 0..self.settings.rounds {
            let round = Round(u32::try_from(round).unwrap_or(u32::MAX));
            let sampled = self.settings.participation.sample(&ids, round, Seed(self.seed));
            let sum = |clients: &mut dyn Iterator<Item = &ClientId>| {
                clients.filter_map(|c| sizes.get(c)).fold((0, 0), |(r, t), s| (r + s.0, t + s.1))
            };
            if self.method.features != FeatureSource::None {
                let (records, tokens) = sum(&mut sampled.iter().filter(|c| !frozen || seen.insert(**c)));
                work.extracted = (work.extracted.0 + records, work.extracted.1 + tokens);
            }
            let (held, held_tokens) = sum(&mut sampled.iter());
            let budget = self.method.count.budget(round, held as usize).filter(|_| self.count_of.is_none());
            let chosen = match budget {
                Some(budget) => budget as u64,
                None => (sampled.len() as u64).min(held),
            };
            work.trained.0 += chosen * epochs as u64;
            work.trained.1 += chosen * epochs as u64 * held_tokens / held.max(1);
        }
        work
    }
}
