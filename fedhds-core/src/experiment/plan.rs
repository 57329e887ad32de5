//! The runs of one condition and seed, and what each of them asks of the stages.

use super::ExperimentConfig;
use super::config::{Arm, Filter, MethodEntry, STEPS_A_PASS};
use super::coreset_cent;
use super::federation::Federation;
use super::run_record::RunRecord;
use crate::aggregate::AggregatorConfig;
use crate::dataset::{ClientData, rules, sample};
use crate::error::{Error, Result};
use crate::method::{Count, FeatureSource};
use crate::simulate::{AttackConfig, EvaluationSchedule, RoundRecord, SimulationSettings, Until};
use crate::types::{ClientId, Round, Seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One run: a method with a seed.
#[derive(Clone)]
pub(super) struct RunPlan {
    pub(super) label: String,
    pub(super) arm: Arm,
    /// The method that says how many records, round by round.
    pub(super) follows: Option<Follows>,
    /// What was taken from the clients.
    pub(super) filter: Option<Filter>,
    /// How the clients' adapters become one, where the method says so.
    pub(super) aggregator: Option<AggregatorConfig>,
    /// What hostile clients do.
    pub(super) attack: Option<AttackConfig>,
    pub(super) seed: u64,
    pub(super) settings: SimulationSettings,
    /// The loss to reach.
    pub(super) until: Option<Until>,
    /// The clients; FedIT's may hold fewer records, see [`FeditCaps`](super::FeditCaps), and a filter may leave some with none.
    pub(super) clients: Arc<Vec<ClientData>>,
    /// What a reader must know.
    pub(super) notes: Vec<String>,
}

/// Whose counts a run takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Follows {
    label: String,
    /// Whether its passes are spent on records as well.
    compute: bool,
}

/// Records and tokens that a run sends through its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Workload {
    pub(super) extracted: (u64, u64),
    pub(super) trained: (u64, u64),
    pub(super) evaluations: u64,
    /// Evaluations without texts: looks whether the target is reached.
    pub(super) looks: u64,
    pub(super) guessed: bool,
}

/// Every run of these clients with this seed, in the order of the methods.
pub(super) fn runs(config: &ExperimentConfig, federation: &Federation, seed: u64) -> Result<Vec<RunPlan>> {
    let plan = |(i, entry): (usize, &MethodEntry)| {
        let key = format!("methods[{i}]");
        let follows = |of: Option<&str>, compute| of.map(|label| Follows { label: label.to_owned(), compute });
        let mut plan = RunPlan {
            label: entry.label().to_owned(),
            arm: entry.arm(config.budget, &key)?,
            follows: follows(entry.count_of(), false).or_else(|| follows(entry.compute_of(), true)),
            filter: entry.filter(&key)?,
            aggregator: entry.aggregator(&key)?,
            attack: config.attack_of(federation.name()).cloned(),
            seed,
            settings: config.federation.clone(),
            until: config.until,
            clients: federation.clients.clone(),
            notes: Vec::new(),
        };
        plan.notes.extend(plan.attack.iter().map(|attack| format!("attack: {attack}")));
        if let Some(records) = federation.scarce().filter(|_| plan.follows.is_none()) {
            plan.select_in_all(records, entry.has_count());
        }
        let long = federation.condition.as_ref().is_some_and(|(_, condition)| condition.length > 0.0);
        if long && matches!(plan.arm.count(), Count::Budget(_)) {
            plan.notes.push("length: a budget in records counts long and short ones alike".into());
        }
        if plan.filter == Some(Filter::Rules) {
            plan.filter_by_rules();
        }
        if *plan.arm.count() == Count::All {
            plan.cap(config);
        }
        if plan.arm.is_pooled() {
            plan.clients = Arc::new(coreset_cent::pooled(&plan.clients));
        }
        Ok(plan)
    };
    config.methods.iter().enumerate().map(plan).collect()
}

impl RunPlan {
    /// The whole run selects so many records: as evenly over the rounds as they go, in fewer rounds where there are fewer records.
    fn select_in_all(&mut self, records: usize, own_count: bool) {
        let label = &self.label;
        if own_count || !matches!(self.arm.count(), Count::Budget(_)) {
            self.notes.push(format!("{label} has a count of its own, which `scarce` does not change"));
            return;
        }
        let before = self.settings.rounds;
        let rounds = before.min(records).max(1);
        let (each, more) = (records / rounds, records % rounds);
        self.settings.rounds = rounds;
        let count = match more {
            0 => Count::Budget(each),
            _ => Count::PerRound((0..rounds).map(|round| each + usize::from(round < more)).collect()),
        };
        self.arm.set_count(count);
        let each = if more == 0 { each.to_string() } else { format!("{each} or {}", each + 1) };
        self.notes.push(format!("scarce: {records} records in all, {each} a round in {rounds} of {before} rounds"));
    }

    /// Takes from the clients what the plain rules know to be bad, and says so. Clients that are left with nothing stay.
    fn filter_by_rules(&mut self) {
        let mut counts = BTreeMap::new();
        let cut = |client: &ClientData| {
            let rules = rules::left_out(&client.records);
            rules.iter().flatten().for_each(|rule| *counts.entry(*rule).or_insert(0usize) += 1);
            let kept = client.records.iter().zip(rules).filter(|(_, rule)| rule.is_none());
            ClientData { records: kept.map(|(record, _)| record.clone()).collect(), ..client.clone() }
        };
        let clients: Vec<ClientData> = self.clients.iter().map(cut).collect();
        let (kept, all) = (held(&clients), held(&self.clients));
        let each: Vec<String> = counts.iter().map(|(rule, count)| format!("{count} {}", rule.name())).collect();
        let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
        self.notes.push(format!("{}: the rules left out {} of {all} records{each}", self.label, all - kept));
        self.clients = Arc::new(clients);
    }

    /// Applies the limits of FedIT and says so.
    fn cap(&mut self, config: &ExperimentConfig) {
        if let Some(rounds) = config.fedit.rounds
            && rounds < self.settings.rounds
        {
            let label = &self.label;
            self.notes.push(format!("{label} was stopped after {rounds} of {} rounds", self.settings.rounds));
            self.settings.rounds = rounds;
            if self.settings.evaluate == EvaluationSchedule::Never {
                self.settings.evaluate = EvaluationSchedule::Last;
            }
        }
        if let Some(most) = config.fedit.records_per_client
            && self.clients.iter().any(|c| c.records.len() > most)
        {
            let seed = Seed(self.seed).derive("fedit records", 0);
            let capped = self.clients.iter().map(|c| ClientData {
                records: sample(&c.records, most, seed.derive("client", u64::from(c.client.0))),
                ..c.clone()
            });
            let capped: Vec<ClientData> = capped.collect();
            let (kept, all) = (held(&capped), held(&self.clients));
            self.notes.push(format!("{} saw at most {most} records of each client ({kept} of {all})", self.label));
            self.clients = Arc::new(capped);
        }
    }

    /// Rounds after which the run looks at the target alone, were it to end after the last.
    fn looks(&self) -> u64 {
        let (rounds, evaluate) = (self.settings.rounds, &self.settings.evaluate);
        let alone = |until: &Until, round| until.is_due(round, rounds) && !evaluate.is_due(round, rounds);
        self.until.map_or(0, |until| (0..rounds).filter(|round| alone(&until, *round)).count() as u64)
    }

    /// Whose features it looks at; the oracle's are no model's, and where all records are in one place the tuned model's count.
    pub(super) fn features(&self) -> FeatureSource {
        match &self.arm {
            Arm::Method(method) => method.features,
            Arm::Oracle(_) => FeatureSource::None,
            Arm::CoresetCent(_) => FeatureSource::Model,
        }
    }

    /// The plan with the counts of the method that it follows, which ran before with the same clients and seed.
    ///
    /// # Errors
    /// [`Error::Input`] where that run failed.
    pub(super) fn matched(&self, before: &[RunRecord]) -> Result<Self> {
        let mut plan = self.clone();
        let Some(Follows { label, compute }) = &self.follows else { return Ok(plan) };
        let followed = before.iter().find(|r| r.method == *label && r.seed == plan.seed);
        let followed =
            followed.ok_or_else(|| Error::input("the run that it follows", format!("`{label}` finished"), "none"))?;
        let counts = followed.rounds.iter().map(|round| count_of(round, *compute)).collect();
        plan.arm.set_count(Count::PerRound(counts));
        Ok(plan)
    }

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
            looks: self.looks(),
            guessed: *self.arm.count() == Count::PerCluster || self.follows.is_some(),
            ..Workload::default()
        };
        let mut seen = BTreeSet::new();
        for round in 0..self.settings.rounds {
            let round = Round(u32::try_from(round).unwrap_or(u32::MAX));
            let sampled = self.settings.participation.sample(&ids, round, Seed(self.seed));
            let sum = |clients: &mut dyn Iterator<Item = &ClientId>| {
                clients.filter_map(|c| sizes.get(c)).fold((0, 0), |(r, t), s| (r + s.0, t + s.1))
            };
            if self.features() != FeatureSource::None {
                let (records, tokens) = sum(&mut sampled.iter().filter(|c| !frozen || seen.insert(**c)));
                work.extracted = (work.extracted.0 + records, work.extracted.1 + tokens);
            }
            let (held, held_tokens) = sum(&mut sampled.iter());
            if let Some(budget) = self.arm.count().tokens() {
                let tokens = budget.min(held_tokens);
                work.trained.0 += epochs as u64 * (tokens * held).div_ceil(held_tokens.max(1));
                work.trained.1 += epochs as u64 * tokens;
                continue;
            }
            let budget = self.arm.count().budget(round, held as usize).filter(|_| self.follows.is_none());
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

fn held(clients: &[ClientData]) -> usize {
    clients.iter().map(|client| client.records.len()).sum()
}

/// Records that train in a round of equal count, or of equal compute.
fn count_of(round: &RoundRecord, compute: bool) -> usize {
    let selected: usize = round.clients.iter().map(|client| client.selected.len()).sum();
    let passes: u64 = round.clients.iter().map(|client| client.passes).sum();
    if compute { selected + (STEPS_A_PASS * passes as f64).round() as usize } else { selected }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::protocol::Traffic;
    use crate::simulate::ClientRecord;
    use crate::stage::AggregationReport;

    #[test]
    fn compute_is_spent_on_records_at_the_published_rate() {
        let client = |selected: usize, passes: u64| ClientRecord {
            client: ClientId(0),
            records: 9,
            centroids: 0,
            selected: vec!["x".into(); selected],
            tokens: 0,
            skipped: 0,
            losses: Vec::new(),
            passes,
            traffic: Traffic::default(),
            seconds: BTreeMap::new(),
            refused: Vec::new(),
            groups: Vec::new(),
            reasons: Vec::new(),
            refused_reasons: Vec::new(),
            map: None,
            layers: Vec::new(),
        };
        let round = RoundRecord {
            round: Round(0),
            clients: vec![client(3, 20), client(2, 5)],
            adapter_changed: true,
            left_out: BTreeMap::new(),
            hostile: Default::default(),
            aggregation: AggregationReport::default(),
            missing: 0,
            missing_tokens: 0,
            gate: None,
            seconds: BTreeMap::new(),
            evaluation: None,
            peak_memory_bytes: None,
            map: None,
        };
        // 25 passes at .30 are 7.5 steps, rounded half up.
        assert_eq!((count_of(&round, false), count_of(&round, true)), (5, 13));
        assert_eq!(STEPS_A_PASS, 0.30);
    }
}
