//! Small stages that do in microseconds what a language model does in seconds: for tests of everything around them.
//!
//! A record's category is a point in the plane; features lie near it, training pulls the adapter towards it, and the loss
//! of a record is the adapter's distance from it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::dataset::{ClientData, Dataset, FederatedDataset};
use fedhds_core::stage::{Evaluator, FeatureExtractor, RecordScore, Trained, Trainer};
use fedhds_core::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, Context, Matrix, Record, Seed};
use fedhds_core::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The tensor that toy training moves.
pub const TENSOR: &str = "layer.lora_B.weight";

/// `clients` clients of `records` records each; client i holds the tasks i and i + 1 of `tasks`.
pub fn data(clients: u32, records: usize, tasks: u32) -> FederatedDataset {
    let record = |client: u32, i: usize| {
        let task = (client + (i % 2) as u32) % tasks;
        Record {
            id: format!("client{client}-record{i}"),
            instruction: format!("Do task {task}."),
            // Toy features differ by id, so no two records may have one content: caches would take one for the other.
            input: format!("As client {client}."),
            responses: vec![format!("Done {i}.")],
            category: format!("task{task}"),
            family: format!("family{}", task / 2),
        }
    };
    let clients = (0..clients)
        .map(|c| ClientData {
            client: ClientId(c),
            name: format!("client-{c}"),
            records: (0..records).map(|i| record(c, i)).collect(),
        })
        .collect();
    let test = Dataset { name: "test".into(), records: (0..12).map(|i| record(100 + i % 3, i as usize)).collect() };
    FederatedDataset { clients, test }
}

/// A number in [-1, 1) for each name and seed.
fn noise(seed: Seed, name: &str) -> f32 {
    (seed.derive(name, 0).0 >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Where a category lies.
fn place(category: &str) -> [f32; 2] {
    [10.0 * noise(Seed(98), category), 10.0 * noise(Seed(99), category)]
}

/// Features near the record's category; the tuned form moves with the adapter.
pub struct ToyFeatures {
    /// Whether the adapter is ignored.
    pub frozen: bool,
    /// How often it was asked.
    pub calls: AtomicUsize,
    /// Its fingerprint.
    pub name: String,
}

impl ToyFeatures {
    /// A frozen or a tuned one.
    pub fn new(frozen: bool) -> Self {
        Self { frozen, calls: AtomicUsize::new(0), name: format!("toy frozen={frozen}") }
    }
}

impl FeatureExtractor for ToyFeatures {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, _: &Context) -> Result<Matrix> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let shift = match adapter.and_then(|a| a.tensors.get(TENSOR)) {
            Some(tensor) if !self.frozen => tensor.data.first().copied().unwrap_or_default(),
            _ => 0.0,
        };
        let rows: Vec<[f32; 3]> = records
            .iter()
            .map(|r| {
                let [x, y] = place(&r.category);
                [x + shift + 0.1 * noise(Seed(5), &r.id), y + 0.1 * noise(Seed(6), &r.id), x - y]
            })
            .collect();
        Matrix::from_rows(&rows)
    }

    fn is_frozen(&self) -> bool {
        self.frozen
    }

    fn fingerprint(&self) -> String {
        self.name.clone()
    }
}

/// Pulls the adapter towards the records' categories, with noise from the seed.
#[derive(Default)]
pub struct ToyTrainer {
    /// What each record takes, so that a process can be killed in the middle.
    pub delay: Duration,
    /// How often it was asked.
    pub calls: AtomicUsize,
    /// Is cancelled at this call (from 1); 0 for never.
    pub stop_at: usize,
    /// Fails on records whose id begins like this.
    pub fail_on: Option<&'static str>,
}

impl Trainer for ToyTrainer {
    fn init(&self, context: &Context) -> Result<Adapter> {
        let tensor = AdapterTensor { shape: [2, 1], data: vec![0.1 * noise(context.seed, "init"), 0.0] };
        let config = AdapterConfig { r: 1, target_modules: vec!["layer".into()], ..AdapterConfig::default() };
        Ok(Adapter { config, tensors: [(TENSOR.to_owned(), tensor)].into() })
    }

    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call == self.stop_at {
            return Err(Error::Cancelled);
        }
        if self.fail_on.is_some_and(|start| records.iter().any(|r| r.id.starts_with(start))) {
            return Err(Error::stage("toy trainer", "failed as it was told to"));
        }
        let mut adapter = adapter.clone();
        let mut losses = Vec::new();
        for record in records {
            context.control.check()?;
            std::thread::sleep(self.delay);
            let target = place(&record.category);
            let tensor = adapter.tensors.get_mut(TENSOR).ok_or_else(|| Error::adapter(TENSOR, "the tensor", "none"))?;
            let mut loss = 0.0;
            for (value, target) in tensor.data.iter_mut().zip(target) {
                loss += (target - *value).powi(2);
                *value += 0.05 * (target - *value) * (1.0 + 0.5 * noise(context.seed, &record.id));
            }
            losses.push(loss);
        }
        let tokens = records.iter().map(|r| r.instruction.len() as u64).sum();
        Ok(Trained { adapter, losses, skipped: 0, tokens })
    }
}

/// The distance of the adapter from the record's category.
pub struct ToyEvaluator;

impl Evaluator for ToyEvaluator {
    fn evaluate(
        &self,
        adapter: Option<&Adapter>,
        records: &[Record],
        generate: bool,
        _: &Context,
    ) -> Result<Vec<RecordScore>> {
        let at = adapter.and_then(|a| a.tensors.get(TENSOR)).map_or([0.0; 2], |t| [t.data[0], t.data[1]]);
        let score = |r: &Record| {
            let place = place(&r.category);
            let loss = f64::from((at[0] - place[0]).hypot(at[1] - place[1]));
            RecordScore {
                id: r.id.clone(),
                category: r.category.clone(),
                loss,
                output: generate.then(|| "Done.".to_owned()),
                rouge_l: generate.then(|| 1.0 / (1.0 + loss)),
                exact_match: generate.then_some(false),
            }
        };
        Ok(records.iter().map(score).collect())
    }
}
