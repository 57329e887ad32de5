//! Whole simulations over toy stages: what is counted, what repeats, what survives an interruption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::toy::{self, ToyEvaluator, ToyFeatures, ToyTrainer};
use super::*;
use crate::aggregate::WeightedMean;
use crate::error::Error;
use crate::features::RecordCache;
use crate::method::{MethodConfig, Pipeline};
use crate::protocol::Kind;
use crate::types::{CancelToken, Control, Progress, Seed};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

mod attacks;
mod bad_clients;
mod factors;
mod reasons;

const ROUNDS: usize = 6;

fn pipeline(name: &str, budget: usize) -> Pipeline {
    let text = match name {
        "all" => "preset = \"all\"".to_owned(),
        name => format!("preset = \"{name}\"\ncount = {{ budget = {budget} }}"),
    };
    MethodConfig::from_toml_str(&text).unwrap().pipeline(1).unwrap()
}

fn simulation(pipeline: Pipeline, trainer: Arc<ToyTrainer>, extractor: Arc<ToyFeatures>) -> Simulation {
    let data = toy::data(8, 10, 5);
    let settings = SimulationSettings {
        rounds: ROUNDS,
        participation: Participation::Count(4),
        evaluate: EvaluationSchedule::Every(2),
        ..SimulationSettings::default()
    };
    Simulation::new(pipeline, Arc::new(data.clients), trainer, Box::new(WeightedMean::new()))
        .settings(settings)
        .seed(Seed(3))
        .extractor(extractor)
        .evaluate(Arc::new(ToyEvaluator), Arc::new(TestSet::new(data.test.records, Some(4))))
}

fn run(name: &str) -> Outcome {
    simulation(pipeline(name, 6), Arc::default(), Arc::new(ToyFeatures::new(true))).run().unwrap()
}

/// Everything but times.
fn bare(outcome: &Outcome) -> (Vec<u32>, Vec<RoundRecord>, Vec<crate::stage::RecordScore>) {
    let bits = outcome.adapter.tensors.values().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect();
    (bits, outcome.rounds.iter().map(RoundRecord::without_times).collect(), outcome.scores.clone())
}

#[test]
fn a_budget_is_met_every_round_and_learning_helps() {
    for name in ["random", "stratified", "fedhds_coverage"] {
        let outcome = run(name);
        assert_eq!(outcome.rounds.len(), ROUNDS);
        for round in &outcome.rounds {
            assert_eq!(round.clients.len(), 4);
            assert_eq!(round.clients.iter().map(|c| c.selected.len()).sum::<usize>(), 6, "{name}");
            assert!(round.adapter_changed);
            for client in &round.clients {
                assert_eq!(client.losses.len(), client.selected.len());
                assert_eq!(client.centroids > 0, name == "fedhds_coverage");
                assert!(client.selected.iter().all(|id| id.starts_with(&format!("client{}-", client.client))));
            }
        }
        let evaluated: Vec<usize> = (0..ROUNDS).filter(|&r| outcome.rounds[r].evaluation.is_some()).collect();
        assert_eq!(evaluated, [1, 3, 5]);
        let last = outcome.rounds[5].evaluation.as_ref().unwrap();
        assert_eq!((last.records, last.generated), (12, 4));
        assert_eq!(outcome.scores.len(), 12);
    }
    let all = run("all");
    assert!(all.rounds.iter().flat_map(|r| &r.clients).all(|c| c.selected.len() == c.records));
    let loss = |r: usize| all.rounds[r].clients.iter().flat_map(|c| &c.losses).sum::<f32>();
    assert!(loss(5) < loss(0), "{} {}", loss(5), loss(0));
}

#[test]
fn bytes_are_counted_by_kind_and_the_adapter_goes_only_where_it_is_needed() {
    let frozen = run("fedhds_coverage");
    for client in frozen.rounds.iter().flat_map(|r| &r.clients) {
        let trained = !client.selected.is_empty();
        for (kind, messages) in [
            (Kind::RoundStart, 1),
            (Kind::ClientSummary, 1),
            (Kind::SelectionOrder, 1),
            (Kind::GlobalAdapter, u64::from(trained)),
            (Kind::LocalUpdate, u64::from(trained)),
        ] {
            let count = client.traffic.of(kind);
            assert_eq!(count.messages, messages, "{kind}");
            assert_eq!(count.bytes > 0, messages > 0, "{kind}");
        }
    }
    // features of the tuned model need the adapter on every client
    let extractor = Arc::new(ToyFeatures::new(false));
    let tuned = simulation(pipeline("fedhds_coverage", 2), Arc::default(), extractor.clone()).run().unwrap();
    let clients: Vec<&ClientRecord> = tuned.rounds.iter().flat_map(|r| &r.clients).collect();
    assert!(clients.iter().all(|c| c.traffic.of(Kind::GlobalAdapter).messages == 1));
    assert!(clients.iter().any(|c| c.selected.is_empty()));
    assert_eq!(extractor.calls.load(Ordering::Relaxed), clients.len());
}

#[test]
fn frozen_features_are_extracted_once_for_all_runs_and_charged_to_each() {
    let extractor = Arc::new(ToyFeatures::new(true));
    let store = Arc::new(RecordCache::in_memory());
    let mut clients = std::collections::BTreeSet::new();
    for name in ["fedhds_coverage", "fedhds_coverage", "random"] {
        let simulation = simulation(pipeline(name, 6), Arc::default(), extractor.clone());
        let outcome = simulation.cache(store.clone()).run().unwrap();
        if name == "random" {
            assert!(outcome.rounds.iter().flat_map(|r| &r.clients).all(|c| !c.seconds.contains_key("features")));
            continue;
        }
        for client in outcome.rounds.iter().flat_map(|r| &r.clients) {
            clients.insert(client.client);
        }
        for id in &clients {
            let charged = outcome.rounds.iter().flat_map(|r| &r.clients).filter(|c| c.client == *id);
            assert_eq!(charged.filter(|c| c.seconds["features"] > 0.0).count(), 1);
        }
    }
    assert_eq!(extractor.calls.load(Ordering::Relaxed), clients.len());
}

#[test]
fn methods_of_one_seed_start_alike_and_seeds_differ() {
    let (a, b) = (run("random"), run("all"));
    let clients = |o: &Outcome| o.rounds.iter().flat_map(|r| &r.clients).map(|c| c.client).collect::<Vec<_>>();
    assert_eq!(clients(&a), clients(&b));
    assert_eq!(bare(&a), bare(&run("random")));
    let other = simulation(pipeline("random", 6), Arc::default(), Arc::new(ToyFeatures::new(true)));
    assert_ne!(bare(&a), bare(&other.seed(Seed(4)).run().unwrap()));
}

#[test]
fn clients_at_work_at_once_change_nothing() {
    for name in ["random", "fedhds_coverage"] {
        let one = run(name);
        let many = simulation(pipeline(name, 6), Arc::default(), Arc::new(ToyFeatures::new(true)));
        let many = many.clients_at_once(3).run().unwrap();
        assert_eq!(bare(&one), bare(&many), "{name}");
    }
}

fn identity(seed: u64) -> RunIdentity {
    let mut identity = RunIdentity::default();
    identity.set("seed", seed);
    identity
}

fn kept(path: &Path, trainer: Arc<ToyTrainer>, name: &str) -> Simulation {
    simulation(pipeline(name, 6), trainer, Arc::new(ToyFeatures::new(false))).checkpoint(path, identity(3))
}

#[test]
fn a_run_that_stops_anywhere_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    let whole = kept(&path, Arc::default(), "fedhds_coverage").run().unwrap();
    // a finished run is not run again
    let idle: Arc<ToyTrainer> = Arc::default();
    assert_eq!(kept(&path, idle.clone(), "fedhds_coverage").run().unwrap(), whole);
    assert_eq!(idle.calls.load(Ordering::Relaxed), 0);
    for stop_at in 1..20 {
        std::fs::remove_file(&path).unwrap();
        let trainer = Arc::new(ToyTrainer { stop_at, ..ToyTrainer::default() });
        if let Err(error) = kept(&path, trainer, "fedhds_coverage").run() {
            assert!(matches!(error, Error::Cancelled), "{error}");
        }
        assert_eq!(bare(&kept(&path, Arc::default(), "fedhds_coverage").run().unwrap()), bare(&whole), "{stop_at}");
    }
}

#[test]
fn a_checkpoint_is_written_by_one_run_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    let held = FileLock::acquire(&path).unwrap();
    match kept(&path, Arc::default(), "random").run() {
        Err(Error::Checkpoint { message, .. }) => assert!(message.contains("another run of this process"), "{message}"),
        other => panic!("{other:?}"),
    }
    drop(held);
    kept(&path, Arc::default(), "random").run().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), if cfg!(unix) { 1 } else { 2 });
}

#[test]
fn a_checkpoint_between_training_and_evaluation_makes_the_evaluation_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    let whole = kept(&path, Arc::default(), "random").run().unwrap();
    let mut saved = Checkpoint::load(&path, &identity(3)).unwrap().unwrap();
    let last = saved.rounds.last_mut().unwrap();
    last.evaluation = None;
    saved.scores = Vec::new();
    saved.evaluation_pending = true;
    saved.save(&path).unwrap();
    assert_eq!(bare(&kept(&path, Arc::default(), "random").run().unwrap()), bare(&whole));
}

/// Asks for a stop after so many rounds.
struct StopAfter(CancelToken, u64);

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, stage: &str, units: u64) {
        if stage == "rounds" && units > 0 && self.1 == 1 {
            self.0.cancel();
        }
    }
    fn end(&self, _: &str) {}
}

#[test]
fn a_stop_keeps_the_finished_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    let cancel = CancelToken::default();
    let control = Control { cancel: cancel.clone(), progress: Some(Arc::new(StopAfter(cancel, 1))) };
    let stopped = kept(&path, Arc::default(), "random").control(control).run();
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(Checkpoint::load(&path, &identity(3)).unwrap().unwrap().rounds.len(), 1);
    let whole = simulation(pipeline("random", 6), Arc::default(), Arc::new(ToyFeatures::new(false))).run().unwrap();
    assert_eq!(bare(&kept(&path, Arc::default(), "random").run().unwrap()), bare(&whole));
}

#[test]
fn clients_in_a_file_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let data = toy::data(8, 10, 5);
    let file = ClientFile::write(folder.path().join("clients"), data.clients.iter().cloned().map(Ok)).unwrap();
    let run = |clients: Arc<dyn Clients>, at_once| {
        let settings =
            SimulationSettings { rounds: 4, participation: Participation::Count(3), ..SimulationSettings::default() };
        Simulation::new(
            pipeline("fedhds_coverage", 6),
            clients,
            Arc::<ToyTrainer>::default(),
            Box::new(WeightedMean::new()),
        )
        .settings(settings)
        .seed(Seed(5))
        .extractor(Arc::new(ToyFeatures::new(true)))
        .clients_at_once(at_once)
        .run()
        .unwrap()
    };
    let expected = bare(&run(Arc::new(data.clients), 1));
    for at_once in [1, 3] {
        assert_eq!(bare(&run(Arc::new(file.clone()), at_once)), expected);
    }
    // Empty clients are known without being read.
    let mut clients = toy::data(2, 3, 2).clients;
    clients[1].records.clear();
    let file = ClientFile::write(folder.path().join("empty"), clients.into_iter().map(Ok)).unwrap();
    let empty = Simulation::new(
        pipeline("random", 1),
        Arc::new(file),
        Arc::<ToyTrainer>::default(),
        Box::new(WeightedMean::new()),
    );
    assert!(empty.run().unwrap_err().to_string().contains("client 1 (`client-1`): expected at least one record"));
}

#[test]
fn nothing_starts_on_input_that_cannot_be_used() {
    let message = |simulation: Simulation| simulation.run().unwrap_err().to_string();
    let build = |data: Vec<crate::dataset::ClientData>, pipeline: Pipeline| {
        Simulation::new(pipeline, Arc::new(data), Arc::new(ToyTrainer::default()), Box::new(WeightedMean::new()))
    };
    assert!(message(build(Vec::new(), pipeline("random", 1))).contains("at least one client"));
    let mut data = toy::data(3, 2, 2).clients;
    data[1].records.clear();
    let text = message(build(data.clone(), pipeline("random", 1)));
    assert!(text.contains("client 1 (`client-1`): expected at least one record"), "{text}");
    data.swap(0, 2);
    data.remove(1);
    assert!(message(build(data.clone(), pipeline("random", 1))).contains("ascending order"));
    data.pop();
    assert!(message(build(data.clone(), pipeline("fedhds_coverage", 1))).contains("feature extractor"));
    let empty = build(data.clone(), pipeline("random", 1));
    assert!(
        message(empty.evaluate(Arc::new(ToyEvaluator), Arc::new(TestSet::new(Vec::new(), None)))).contains("test set")
    );
    let tokens = MethodConfig::from_toml_str("preset = \"random\"\ncount = { budget = { tokens = 50 } }").unwrap();
    assert!(message(build(data.clone(), tokens.pipeline(1).unwrap())).contains("what counts a record's tokens"));
    let settings = SimulationSettings { rounds: 0, ..SimulationSettings::default() };
    assert!(message(build(data, pipeline("random", 1)).settings(settings)).contains("rounds"));
}

#[test]
fn a_round_without_a_selection_leaves_the_adapter_as_it_was() {
    // the paper's preset groups nothing on clients of one record
    let data = toy::data(4, 1, 4);
    let mut pipeline = pipeline("fedhds_coverage", 3);
    pipeline.client.clusterer = Some(Arc::new(NoGroups));
    let trainer: Arc<ToyTrainer> = Arc::default();
    let outcome = Simulation::new(pipeline, Arc::new(data.clients), trainer.clone(), Box::new(WeightedMean::new()))
        .settings(SimulationSettings { rounds: 2, participation: Participation::Count(2), ..Default::default() })
        .extractor(Arc::new(ToyFeatures::new(true)))
        .run()
        .unwrap();
    assert!(outcome.rounds.iter().all(|r| !r.adapter_changed));
    assert_eq!(trainer.calls.load(Ordering::Relaxed), 0);
    let context = crate::types::Context::new(Seed(0).derive("init", 0));
    assert_eq!(outcome.adapter, crate::stage::Trainer::init(&*trainer, &context).unwrap());
}

/// Calls every row noise.
struct NoGroups;

impl crate::stage::Clusterer for NoGroups {
    fn cluster(
        &self,
        rows: &crate::stage::Rows<'_>,
        _: Option<usize>,
        _: &crate::types::Context,
    ) -> crate::Result<crate::stage::Clustering> {
        Ok(crate::stage::Clustering {
            labels: vec![None; rows.len()],
            strength: vec![0.0; rows.len()],
            centroids: crate::types::Matrix::zeros(0, rows.points.cols()),
        })
    }
}

#[test]
fn a_client_that_fails_is_left_out_with_its_reason_and_nobody_else_is() {
    let failing = |fail_on| {
        let trainer = Arc::new(ToyTrainer { fail_on: Some(fail_on), ..ToyTrainer::default() });
        simulation(pipeline("all", 0), trainer, Arc::new(ToyFeatures::new(true))).run()
    };
    let outcome = failing("client3-").unwrap();
    let whole = run("all");
    let mut met = 0;
    for (round, before) in outcome.rounds.iter().zip(&whole.rounds) {
        for client in &round.clients {
            let failed = client.client.0 == 3;
            met += usize::from(failed);
            assert_eq!(client.selected.is_empty(), failed);
            assert_eq!(round.left_out.contains_key(&client.client), failed);
            assert_eq!(round.aggregation.weights.contains_key(&client.client), !failed);
        }
        assert!(round.adapter_changed && before.left_out.is_empty());
        for reason in round.left_out.values() {
            assert!(reason.contains("client 3") && reason.contains("failed as it was told to"), "{reason}");
        }
    }
    assert!(met > 0, "client 3 took part");
    // Where everybody fails it is no bad client: the run ends with what went wrong.
    let error = failing("client").unwrap_err().to_string();
    assert!(error.contains("failed as it was told to"), "{error}");
}

#[test]
fn a_killed_run_with_state_on_the_server_ends_with_the_same_bits() {
    use crate::aggregate::AggregatorConfig;
    let method = "preset = \"fedhds_coverage\"\ncount = { budget = 6 }\nserver.memory = \"coverage\"";
    let pipeline = || MethodConfig::from_toml_str(method).unwrap().pipeline(1).unwrap();
    for kind in ["kind = \"fedadam\"", "kind = \"fedavgm\""] {
        let aggregator = || toml::from_str::<AggregatorConfig>(kind).unwrap().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.bin");
        let kept = |trainer: Arc<ToyTrainer>| {
            let data = toy::data(8, 10, 5);
            Simulation::new(pipeline(), Arc::new(data.clients), trainer, aggregator())
                .settings(SimulationSettings {
                    rounds: ROUNDS,
                    participation: Participation::Count(4),
                    ..Default::default()
                })
                .extractor(Arc::new(ToyFeatures::new(true)))
                .checkpoint(&path, identity(3))
        };
        let whole = kept(Arc::default()).run().unwrap();
        let stateless = Simulation::new(
            pipeline(),
            Arc::new(toy::data(8, 10, 5).clients),
            Arc::new(ToyTrainer::default()),
            Box::new(WeightedMean::new()),
        )
        .settings(SimulationSettings { rounds: ROUNDS, participation: Participation::Count(4), ..Default::default() })
        .extractor(Arc::new(ToyFeatures::new(true)))
        .run()
        .unwrap();
        assert_ne!(bare(&stateless).0, bare(&whole).0, "the aggregator makes a difference");
        for stop_at in 1..24 {
            std::fs::remove_file(&path).unwrap();
            let stopped = kept(Arc::new(ToyTrainer { stop_at, ..ToyTrainer::default() })).run();
            assert!(stopped.is_ok() || matches!(stopped, Err(Error::Cancelled)));
            assert_eq!(bare(&kept(Arc::default()).run().unwrap()), bare(&whole), "{kind}, stopped at {stop_at}");
        }
    }
}

#[test]
fn memory_makes_later_rounds_cover_what_earlier_ones_did_not() {
    let distinct = |memory: &str| {
        let method = format!(
            "preset = \"fedhds_coverage\"\ncount = {{ budget = 2 }}\nserver.memory = \"{memory}\"\nclient.repeats = \"allow\""
        );
        let pipeline = MethodConfig::from_toml_str(&method).unwrap().pipeline(1).unwrap();
        let data = toy::data(8, 20, 8);
        let outcome = Simulation::new(
            pipeline,
            Arc::new(data.clients.clone()),
            Arc::new(ToyTrainer::default()),
            Box::new(WeightedMean::new()),
        )
        .settings(SimulationSettings { rounds: 8, participation: Participation::Count(8), ..Default::default() })
        .extractor(Arc::new(ToyFeatures::new(true)))
        .run()
        .unwrap();
        let chosen: std::collections::BTreeSet<&String> =
            outcome.rounds.iter().flat_map(|r| &r.clients).flat_map(|c| &c.selected).collect();
        let task = |id: &String| {
            let records = data.clients.iter().flat_map(|c| &c.records);
            records.clone().find(|r| r.id == *id).unwrap().category.clone()
        };
        chosen.into_iter().map(task).collect::<std::collections::BTreeSet<_>>().len()
    };
    let (without, with) = (distinct("none"), distinct("coverage"));
    assert!(without <= 3, "without memory every round covers the same two: {without}");
    assert_eq!(with, 8, "with it all tasks are reached");
}

#[test]
fn scores_reach_the_stages_of_both_sides() {
    use crate::stage::{Budget, Rows, Scorer, Selector};
    use crate::types::{Adapter, Context, Matrix, Record, RowId};
    /// The number at the end of a record's id.
    struct Number;
    impl Scorer for Number {
        fn names(&self) -> Vec<String> {
            vec!["number".into()]
        }
        fn score(&self, records: &[Record], adapter: Option<&Adapter>, _: &Context) -> crate::Result<Matrix> {
            assert!(adapter.is_none(), "a frozen scorer is given no adapter");
            let number = |r: &Record| r.id.rsplit("record").next().unwrap().parse::<f32>().unwrap();
            Matrix::new(records.len(), 1, records.iter().map(number).collect())
        }
        fn is_frozen(&self) -> bool {
            true
        }
        fn fingerprint(&self) -> String {
            "number".into()
        }
    }
    /// The rows of the largest numbers.
    struct Largest;
    impl Selector for Largest {
        fn select(&self, rows: &Rows<'_>, budget: Budget, _: &Context) -> crate::Result<Vec<RowId>> {
            let Budget::Total(total) = budget else { panic!("{budget:?}") };
            let numbers: Vec<f32> = rows.scores.unwrap().column("number").unwrap().collect();
            let mut order: Vec<u32> = (0..rows.len() as u32).collect();
            order.sort_by(|&a, &b| numbers[b as usize].total_cmp(&numbers[a as usize]));
            order.truncate(total);
            order.sort_unstable();
            Ok(order.into_iter().map(RowId).collect())
        }
        fn uses_groups(&self) -> bool {
            false
        }
    }
    let mut pipeline = pipeline("fedhds_coverage", 4);
    pipeline.client.selector = Arc::new(Largest);
    pipeline.client.share_scores = true;
    pipeline.server.selector = Arc::new(Largest);
    let simulation = simulation(pipeline, Arc::default(), Arc::new(ToyFeatures::new(true)));
    let outcome = simulation.scorer(Arc::new(Number)).run().unwrap();
    for client in outcome.rounds[..1].iter().flat_map(|r| &r.clients).filter(|c| !c.selected.is_empty()) {
        assert!(client.seconds.contains_key("scores"));
        // The server chose by the means of groups, the client the largest of each of them: so what was chosen is above the mean.
        let number = |id: &String| id.rsplit("record").next().unwrap().parse::<f32>().unwrap();
        assert!(client.selected.iter().all(|id| number(id) > 4.5), "{client:?}");
    }
}

#[test]
fn the_gate_alone_needs_a_gate_and_a_judge() {
    let error = |name| {
        let simulation = simulation(pipeline(name, 6), Arc::default(), Arc::new(ToyFeatures::new(true)));
        simulation.gate_only().unwrap_err().to_string()
    };
    let text = error("fedhds_coverage");
    assert!(text.contains("method: expected one with a quality gate"), "{text}");
    let text = error("fedhds_robust");
    assert!(text.contains("judge: expected one"), "{text}");
}
