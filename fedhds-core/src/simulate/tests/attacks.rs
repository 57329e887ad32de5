//! Federations with hostile clients: what they send is what the attack says, and what it does to rules.

use super::super::toy::{self, ToyEvaluator, ToyTrainer};
use super::super::*;
use super::{bare, identity, pipeline};
use crate::aggregate::AggregatorConfig;
use crate::error::{Error, Result};
use crate::stage::{Trained, Trainer};
use crate::types::{Adapter, ClientId, Context, Record, Seed};
use std::sync::{Arc, Mutex};

const CLIENTS: u32 = 8;
const HOSTILE: [ClientId; 2] = [ClientId(1), ClientId(6)];

fn attack(kind: AttackKind) -> AttackConfig {
    AttackConfig::new(kind, Hostile::Listed(HOSTILE.to_vec()))
}

fn simulation(rule: &str, attack: Option<AttackConfig>, trainer: Arc<dyn Trainer>) -> Simulation {
    let data = toy::data(CLIENTS, 6, 3);
    let aggregator = toml::from_str::<AggregatorConfig>(rule).unwrap().build().unwrap();
    let settings = SimulationSettings {
        rounds: 4,
        participation: Participation::Count(CLIENTS as usize),
        evaluate: EvaluationSchedule::Last,
        ..SimulationSettings::default()
    };
    let simulation = Simulation::new(pipeline("all", 0), Arc::new(data.clients), trainer, aggregator)
        .settings(settings)
        .seed(Seed(3))
        .evaluate(Arc::new(ToyEvaluator), Arc::new(TestSet::new(data.test.records, Some(0))));
    match attack {
        Some(attack) => simulation.attack(attack),
        None => simulation,
    }
}

fn run(rule: &str, attack: Option<AttackConfig>) -> Outcome {
    simulation(rule, attack, Arc::new(ToyTrainer::default())).run().unwrap()
}

fn loss(outcome: &Outcome) -> f64 {
    outcome.rounds.last().unwrap().evaluation.as_ref().unwrap().loss
}

const MEAN: &str = "kind = \"weighted_mean\"";
const NNM: &str = "kind = \"nnm\"\nf = 2\ninner = { kind = \"trimmed_mean\", b = 2 }";

#[test]
fn every_attack_runs_to_the_end_and_repeats_at_any_number_of_threads() {
    for kind in AttackKind::ALL {
        let outcome = run(NNM, Some(attack(kind)));
        assert_eq!(outcome.rounds.len(), 4, "{}", kind.name());
        assert!(outcome.adapter.tensors.values().flat_map(|t| &t.data).all(|v| v.is_finite()), "{}", kind.name());
        for round in &outcome.rounds {
            assert_eq!(round.hostile, HOSTILE.into(), "{}", kind.name());
            // What cannot be an update is refused, with its client; nobody else is.
            let refused = [AttackKind::Nan, AttackKind::Infinity, AttackKind::HugeCount].contains(&kind);
            let left_out: Vec<ClientId> = round.left_out.keys().copied().collect();
            assert_eq!(left_out, if refused { HOSTILE.to_vec() } else { Vec::new() }, "{}", kind.name());
            assert!(round.adapter_changed, "{}: {:?}", kind.name(), round.aggregation);
        }
        let trainer = Arc::new(ToyTrainer::default());
        let side_by_side = simulation(NNM, Some(attack(kind)), trainer).clients_at_once(3).run().unwrap();
        assert_eq!(bare(&side_by_side), bare(&outcome), "{}", kind.name());
    }
}

#[test]
fn no_attack_is_no_change_and_an_attack_is_one() {
    let clean = run(MEAN, None);
    let nobody = AttackConfig::new(AttackKind::Scale, Hostile::Share(0.0));
    assert_eq!(bare(&run(MEAN, Some(nobody))), bare(&clean));
    assert!(clean.rounds.iter().all(|round| round.hostile.is_empty()));
    for kind in [AttackKind::SignFlip, AttackKind::Ipm, AttackKind::Scale, AttackKind::Stale, AttackKind::Replay] {
        assert_ne!(bare(&run(MEAN, Some(attack(kind)))).0, bare(&clean).0, "{}", kind.name());
    }
}

#[test]
fn what_ruins_the_mean_leaves_robust_rules_near_the_clean_run() {
    let clean = loss(&run(MEAN, None));
    for kind in [AttackKind::Scale, AttackKind::Huge] {
        let ruined = loss(&run(MEAN, Some(attack(kind))));
        for rule in [NNM, "kind = \"coordinate_median\"", "kind = \"multi_krum\"\nf = 2", "kind = \"geometric_median\""]
        {
            let withstood = loss(&run(rule, Some(attack(kind))));
            assert!(
                withstood < 2.0 * clean && withstood < ruined / 10.0,
                "{rule}, {}: {withstood}, {clean}, {ruined}",
                kind.name()
            );
        }
    }
}

#[test]
fn a_killed_run_of_replaying_clients_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    let kept = |trainer: ToyTrainer| {
        simulation(MEAN, Some(attack(AttackKind::Replay)), Arc::new(trainer)).checkpoint(&path, identity(3))
    };
    let whole = kept(ToyTrainer::default()).run().unwrap();
    for stop_at in [3, 9, 17, 30] {
        std::fs::remove_file(&path).unwrap();
        let stopped = kept(ToyTrainer { stop_at, ..ToyTrainer::default() }).run();
        assert!(matches!(stopped, Err(Error::Cancelled)));
        assert_eq!(bare(&kept(ToyTrainer::default()).run().unwrap()), bare(&whole), "stopped at {stop_at}");
    }
}

/// Notes what it trains on and from.
#[derive(Default)]
struct Noting(ToyTrainer, Mutex<Vec<(Vec<Record>, Adapter)>>);

impl Trainer for Noting {
    fn init(&self, context: &Context) -> Result<Adapter> {
        self.0.init(context)
    }

    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        self.1.lock().unwrap().push((records.to_vec(), adapter.clone()));
        self.0.train(adapter, records, context)
    }
}

/// What each client's trainings were given.
fn trainings(kind: AttackKind) -> Vec<(bool, Record, Adapter)> {
    let trainer = Arc::new(Noting::default());
    simulation(MEAN, Some(attack(kind)), trainer.clone()).run().unwrap();
    let noted = trainer.1.lock().unwrap();
    let hostile = |record: &Record| HOSTILE.iter().any(|client| record.id.starts_with(&format!("client{client}-")));
    noted.iter().map(|(records, from)| (hostile(&records[0]), records[0].clone(), from.clone())).collect()
}

#[test]
fn flipped_labels_are_what_hostile_clients_train_on() {
    for (hostile, record, _) in trainings(AttackKind::LabelFlip) {
        let own = record.id.replace("client", "").split("-record").nth(1).map(|at| format!("Done {at}."));
        assert_eq!(record.responses[0] != own.unwrap(), hostile, "{record:?}");
    }
}

#[test]
fn stale_clients_train_the_adapter_that_the_run_began_with() {
    let noted = trainings(AttackKind::Stale);
    let first = noted[0].2.clone();
    assert!(noted.iter().filter(|(hostile, ..)| *hostile).all(|(.., from)| *from == first));
    assert!(noted.iter().any(|(hostile, _, from)| !hostile && *from != first));
}

#[test]
fn an_attack_of_clients_that_are_not_there_is_refused_before_any_work() {
    let nobody = AttackConfig::new(AttackKind::Zero, Hostile::Listed(vec![ClientId(99)]));
    let error = simulation(MEAN, Some(nobody), Arc::new(ToyTrainer::default())).run().unwrap_err();
    assert!(error.to_string().contains("got client 99"), "{error}");
    let other = AttackConfig { z: Some(1.0), ..attack(AttackKind::Zero) };
    assert!(simulation(MEAN, Some(other), Arc::new(ToyTrainer::default())).run().is_err());
}
