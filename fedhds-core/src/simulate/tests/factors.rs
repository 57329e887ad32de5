//! Runs of aggregators that say which factors a round trains, and of clients with ranks of their own.

use super::*;
use crate::aggregate::AggregatorConfig;
use crate::error::Result;
use crate::stage::{Trained, Trainer};
use crate::types::{Adapter, AdapterConfig, AdapterTensor, Context, Factors, Record};
use std::sync::Mutex;

const A: &str = "q.lora_A.weight";
const B: &str = "q.lora_B.weight";

/// Moves what it is told to train by a bit of each record, or both factors whatever it is told.
#[derive(Default)]
struct PairTrainer {
    deaf: bool,
    told: Mutex<Vec<Factors>>,
}

impl Trainer for PairTrainer {
    fn init(&self, _: &Context) -> Result<Adapter> {
        let config = AdapterConfig { r: 2, target_modules: vec!["q".into()], ..AdapterConfig::default() };
        let a = AdapterTensor { shape: [2, 30], data: (0..60).map(|i| (i as f32).sin()).collect() };
        let b = AdapterTensor { shape: [40, 2], data: vec![0.0; 80] };
        Ok(Adapter { config, tensors: [(A.to_owned(), a), (B.to_owned(), b)].into() })
    }

    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        self.told.lock().unwrap().push(context.factors);
        let mut adapter = adapter.clone();
        for (at, record) in records.iter().enumerate() {
            let step = 0.01 * (context.seed.derive(&record.id, at as u64).0 % 100) as f32;
            for (name, tensor) in adapter.tensors.iter_mut().filter(|(n, _)| self.deaf || context.factors.trains(n)) {
                let sign = if name == A { 1.0 } else { -1.0 };
                tensor.data.iter_mut().zip(1..).for_each(|(value, i)| *value += sign * step / i as f32);
            }
        }
        Ok(Trained { adapter, losses: vec![1.0], skipped: 0, tokens: 5 })
    }
}

fn with(aggregator: &str, trainer: Arc<PairTrainer>) -> Simulation {
    let aggregator: AggregatorConfig = toml::from_str(&format!("kind = \"{aggregator}\"")).unwrap();
    let data = toy::data(8, 10, 5);
    Simulation::new(pipeline("random", 12), Arc::new(data.clients), trainer, aggregator.build().unwrap())
        .settings(SimulationSettings { rounds: 4, participation: Participation::Count(3), ..Default::default() })
        .seed(Seed(3))
}

fn bytes_up(outcome: &Outcome, round: usize) -> u64 {
    let clients = &outcome.rounds[round].clients;
    clients.iter().map(|client| client.traffic.of(Kind::LocalUpdate).bytes).sum()
}

#[test]
fn a_frozen_factor_stays_on_the_way_and_costs_no_bytes() {
    let start = PairTrainer::default().init(&Context::new(0)).unwrap();
    let both = with("weighted_mean", Arc::default()).run().unwrap();
    for (kind, turns) in [("ffa_lora", [Factors::B; 4]), ("rolora", [Factors::B, Factors::A, Factors::B, Factors::A])] {
        let trainer = Arc::new(PairTrainer::default());
        let outcome = with(kind, trainer.clone()).run().unwrap();
        let mut told = trainer.told.lock().unwrap().clone();
        told.dedup();
        assert_eq!(told, if kind == "rolora" { turns.to_vec() } else { vec![Factors::B] }, "{kind}");
        assert_eq!(outcome.adapter.tensors[A] == start.tensors[A], kind == "ffa_lora", "{kind}");
        assert_ne!(outcome.adapter.tensors[B], start.tensors[B], "{kind}");
        for (round, record) in outcome.rounds.iter().enumerate() {
            assert!(record.left_out.is_empty() && record.adapter_changed, "{kind}: {:?}", record.left_out);
            assert!(record.aggregation.measures["product_error"] < 1e-6, "{kind}: {:?}", record.aggregation.measures);
            assert!(10 * bytes_up(&outcome, round) < 7 * bytes_up(&both, round), "{kind}: round {round}");
        }
        assert_eq!(bare(&outcome), bare(&with(kind, Arc::default()).run().unwrap()), "{kind}");
    }
    assert!(both.rounds.iter().all(|round| round.aggregation.measures["product_error"] > 1e-6), "the mean loses some");
}

#[test]
fn every_aggregator_runs_and_what_it_makes_learns() {
    // Robust rules may want more clients; what they measure is something else.
    for kind in ["weighted_mean", "fedavgm", "fedadam", "flexlora", "ffa_lora", "rolora", "fedsvd"] {
        let outcome = with(kind, Arc::default()).run().unwrap();
        assert!(outcome.rounds.iter().all(|r| r.adapter_changed && r.left_out.is_empty()), "{kind}");
        assert!(outcome.rounds.iter().all(|r| r.aggregation.measures.contains_key("product_error")), "{kind}");
        assert!(outcome.adapter.tensors[B].data.iter().any(|&b| b != 0.0), "{kind}");
    }
}

#[test]
fn a_trainer_that_trains_both_is_named() {
    let deaf = Arc::new(PairTrainer { deaf: true, ..PairTrainer::default() });
    let error = with("ffa_lora", deaf.clone()).run().unwrap_err().to_string();
    assert!(error.contains("client ") && error.contains(A) && error.contains("B alone"), "{error}");
    with("flexlora", deaf).run().unwrap();
}

#[test]
fn clients_of_smaller_ranks_send_less_and_take_part() {
    let settings = |ranks: &[usize]| SimulationSettings {
        rounds: 3,
        participation: Participation::Count(4),
        ranks: ranks.to_vec(),
        ..Default::default()
    };
    let run = |ranks: &[usize]| with("flexlora", Arc::default()).settings(settings(ranks)).run().unwrap();
    let (mixed, whole) = (run(&[1, 2]), run(&[]));
    let mut seen = [0, 0];
    for (mixed, whole) in mixed.rounds.iter().zip(&whole.rounds) {
        assert!(mixed.left_out.is_empty(), "{:?}", mixed.left_out);
        for (client, other) in mixed.clients.iter().zip(&whole.clients).filter(|(c, _)| !c.selected.is_empty()) {
            let [up, all] = [client, other].map(|client| client.traffic.of(Kind::LocalUpdate).bytes);
            assert_eq!(up < 8 * all / 10, client.client.0 % 2 == 0, "rank 1 of client {}", client.client);
            seen[client.client.index() % 2] += 1;
        }
    }
    assert!(seen.iter().all(|&clients| clients > 0), "{seen:?}");
    assert_eq!(mixed.adapter.config.r, 2);
    assert_eq!(bare(&run(&[2])).0, bare(&whole).0, "a rank that is no smaller changes nothing");
    assert_eq!(bare(&run(&[7])).0, bare(&whole).0);
    let error = with("weighted_mean", Arc::default()).settings(settings(&[1])).run().unwrap_err().to_string();
    assert!(error.contains("ranks") && error.contains("[1]"), "{error}");
}
