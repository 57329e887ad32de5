//! Stages of one's own, in a crate that is not the library's: a scorer with a selector by its scores, an upload stage, a memory, and
//! an aggregator that keeps state. Each decides something that the run would do otherwise without it.

use crate::toy::{self, TENSOR, ToyFeatures, ToyTrainer};
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::method::{MethodConfig, Pipeline};
use fedhds_core::protocol::ClientSummary;
use fedhds_core::simulate::{Outcome, Participation, RunIdentity, Simulation, SimulationSettings};
use fedhds_core::stage::{
    Aggregated, Aggregator, Budget, ClientUpdate, Covered, Memory, Rows, Scorer, Selector, TrainedGroup, Upload,
};
use fedhds_core::types::{Adapter, Context, Matrix, Record, Round, RowId, Secret};
use fedhds_core::{Error, Result};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn pipeline(more: &str) -> Pipeline {
    let text = format!("preset = \"fedhds_coverage\"\ncount = {{ budget = 4 }}\n{more}");
    MethodConfig::from_toml_str(&text).unwrap().pipeline(1).unwrap()
}

fn simulation(pipeline: Pipeline, trainer: ToyTrainer, aggregator: Box<dyn Aggregator>) -> Simulation {
    Simulation::new(pipeline, Arc::new(toy::data(6, 12, 5).clients), Arc::new(trainer), aggregator)
        .settings(SimulationSettings { rounds: 4, participation: Participation::Count(4), ..Default::default() })
        .extractor(Arc::new(ToyFeatures::new(true)))
}

fn run(pipeline: Pipeline) -> Outcome {
    simulation(pipeline, ToyTrainer::default(), Box::new(WeightedMean::new())).run().unwrap()
}

fn selected(outcome: &Outcome) -> Vec<&String> {
    outcome.rounds.iter().flat_map(|round| &round.clients).flat_map(|client| &client.selected).collect()
}

/// The number at the end of a record's id, as if it were its loss.
struct Number;

impl Scorer for Number {
    fn names(&self) -> Vec<String> {
        vec!["number".into()]
    }

    fn score(&self, records: &[Record], _: Option<&Adapter>, _: &Context) -> Result<Matrix> {
        let number = |r: &Record| r.id.rsplit("record").next().and_then(|n| n.parse().ok()).unwrap_or(f32::NAN);
        Matrix::new(records.len(), 1, records.iter().map(number).collect())
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        "number".into()
    }
}

/// The rows with the smallest numbers.
struct Smallest;

impl Selector for Smallest {
    fn select(&self, rows: &Rows<'_>, budget: Budget, _: &Context) -> Result<Vec<RowId>> {
        let (Budget::Total(count), Some(scores)) = (budget, rows.scores) else {
            return Err(Error::stage("smallest", format!("expected a total and scores, got {budget:?}")));
        };
        let numbers: Vec<f32> = scores.column("number").into_iter().flatten().collect();
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by(|&a, &b| numbers[a as usize].total_cmp(&numbers[b as usize]));
        order.truncate(count);
        order.sort_unstable();
        Ok(order.into_iter().map(RowId).collect())
    }

    fn uses_groups(&self) -> bool {
        false
    }
}

#[test]
fn a_selector_by_a_scorers_numbers_takes_the_smallest() {
    let mut pipeline = pipeline("client.repeats = \"allow\"\nclient.share_scores = true");
    pipeline.client.selector = Arc::new(Smallest);
    pipeline.server.selector = Arc::new(Smallest);
    let outcome = simulation(pipeline, ToyTrainer::default(), Box::new(WeightedMean::new()));
    let outcome = outcome.scorer(Arc::new(Number)).run().unwrap();
    let chosen = selected(&outcome);
    assert_eq!(chosen.len(), 4 * 4);
    for id in chosen {
        let number: u32 = id.rsplit("record").next().unwrap().parse().unwrap();
        assert!(number < 6, "{id}: the smallest of its group lies in the smaller half");
    }
}

/// Keeps the largest group alone, at a place that only the client knows.
struct Largest;

impl Upload for Largest {
    fn release(&self, mut summary: ClientSummary, secret: &mut Secret) -> Result<ClientSummary> {
        let Some(largest) = (0..summary.groups.len()).max_by_key(|&j| summary.groups[j].size) else {
            return Ok(summary);
        };
        summary.groups = vec![summary.groups[largest]];
        summary.centroids = summary.centroids.take_rows(&[largest])?;
        let moved = (secret.next_u64() >> 40) as f32 / (1 << 24) as f32;
        summary.centroids.row_mut(0).iter_mut().for_each(|value| *value += moved);
        Ok(summary)
    }
}

#[test]
fn an_upload_stage_decides_what_leaves_a_client() {
    let mut with = pipeline("");
    with.client.upload = Some(Arc::new(Largest));
    let (with, without) = (run(with), run(pipeline("")));
    let groups = |outcome: &Outcome| -> Vec<usize> {
        outcome.rounds.iter().flat_map(|round| &round.clients).map(|client| client.centroids).collect()
    };
    assert!(groups(&with).iter().all(|&sent| sent == 1), "{:?}", groups(&with));
    assert!(groups(&without).iter().any(|&sent| sent > 1));
    assert_eq!(selected(&with).len(), 4 * 4, "the budget is met from what was shown");
}

/// After each round, the records that were trained on so far.
type Log = Arc<Mutex<Vec<(Option<Round>, u64)>>>;

/// What was trained on, as one point at the origin; it tells a log what it was told.
#[derive(Default)]
struct Ledger {
    covered: Covered,
    records: u64,
    log: Log,
    round: Option<Round>,
}

impl Memory for Ledger {
    fn begin(&mut self, round: Round) -> Result<()> {
        self.round = Some(round);
        Ok(())
    }

    fn commit(&mut self, trained: &[TrainedGroup<'_>]) -> Result<()> {
        self.records += trained.iter().map(|group| group.records as u64).sum::<u64>();
        let dims = trained.first().map_or(0, |group| group.centroid.len());
        if dims > 0 {
            self.covered = Covered { points: Matrix::zeros(1, dims), mass: vec![self.records as f32] };
        }
        self.log.lock().unwrap().push((self.round, self.records));
        Ok(())
    }

    fn covered(&self) -> &Covered {
        &self.covered
    }

    fn state(&self) -> Result<Vec<u8>> {
        let dims = self.covered.points.cols() as u64;
        Ok([self.records.to_le_bytes(), dims.to_le_bytes()].concat())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        let parts: Option<(&[u8; 8], &[u8; 8])> =
            state.split_first_chunk().and_then(|(a, b)| Some((a, b.try_into().ok()?)));
        let Some((records, dims)) = parts else {
            return Err(Error::input("state of the ledger", "16 bytes", state.len()));
        };
        self.records = u64::from_le_bytes(*records);
        let dims = u64::from_le_bytes(*dims) as usize;
        if dims > 0 {
            self.covered = Covered { points: Matrix::zeros(1, dims), mass: vec![self.records as f32] };
        }
        Ok(())
    }

    fn bound(&self) -> usize {
        1
    }
}

#[test]
fn a_memory_is_told_what_was_trained_on_and_goes_on_after_a_kill() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let pipeline = || {
        let (mut pipeline, log) = (pipeline("client.repeats = \"allow\""), log.clone());
        pipeline.server.memory = Some(Arc::new(move || Ok(Box::new(Ledger { log: log.clone(), ..Ledger::default() }))));
        pipeline
    };
    let whole = run(pipeline());
    let told = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(told, (0..4).map(|round| (Some(Round(round)), 4 * (u64::from(round) + 1))).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let kept = |stop_at: usize| {
        let trainer = ToyTrainer { stop_at, ..ToyTrainer::default() };
        let simulation = simulation(pipeline(), trainer, Box::new(WeightedMean::new()));
        simulation.checkpoint(folder.path().join("checkpoint.bin"), RunIdentity::default()).run()
    };
    assert!(matches!(kept(5), Err(Error::Cancelled)));
    assert_eq!(selected(&kept(0).unwrap()), selected(&whole));
    assert_eq!(log.lock().unwrap().last(), Some(&(Some(Round(3)), 16)), "nothing was forgotten over the kill");
}

/// Half of the way from the last global adapter but one: its state is that adapter's first tensor.
#[derive(Default)]
struct Slow {
    mean: WeightedMean,
    before: Vec<f32>,
    global: Vec<f32>,
}

impl Aggregator for Slow {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.global = global.tensors[TENSOR].data.clone();
        self.mean.begin(global, round)
    }

    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        self.mean.add(update)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let mut finished = self.mean.finish()?;
        if let Some(tensor) = finished.adapter.as_mut().and_then(|adapter| adapter.tensors.get_mut(TENSOR)) {
            tensor.data.iter_mut().zip(&self.before).for_each(|(value, before)| *value = 0.5 * (*value + before));
            self.before = std::mem::take(&mut self.global);
        }
        finished.report.measures.insert("kept values".into(), self.before.len() as f64);
        Ok(finished)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(self.before.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        let (values, rest) = state.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Error::input("state of slow", "whole numbers of four bytes", state.len()));
        }
        self.before = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(())
    }

    fn memory(&self, clients: usize, values: usize) -> u64 {
        self.mean.memory(clients, values) + 8 * values as u64
    }
}

#[test]
fn an_aggregator_with_state_ends_with_the_same_bits_after_a_kill_in_any_round() {
    let folder = tempfile::tempdir().unwrap();
    let with = |path: Option<&Path>, stop_at: usize| {
        let trainer = ToyTrainer { stop_at, ..ToyTrainer::default() };
        let simulation = simulation(pipeline(""), trainer, Box::new(Slow::default()));
        match path {
            Some(path) => simulation.checkpoint(path, RunIdentity::default()).run(),
            None => simulation.run(),
        }
    };
    let whole = with(None, 0).unwrap();
    assert_ne!(whole.adapter, run(pipeline("")).adapter, "it makes a difference");
    assert_eq!(whole.rounds[1].aggregation.measures["kept values"], 2.0);
    for stop_at in 1..=14 {
        let path = folder.path().join(format!("{stop_at}.bin"));
        let stopped = with(Some(&path), stop_at);
        assert!(stopped.is_ok() || matches!(stopped, Err(Error::Cancelled)));
        assert_eq!(with(Some(&path), 0).unwrap().adapter, whole.adapter, "stopped at {stop_at}");
    }
}
