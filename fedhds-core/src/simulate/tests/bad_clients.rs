//! Stages that fail or panic on one client's data, and data that cannot be read: the client is left out, and nobody else is.

use super::super::toy::{self, ToyFeatures, ToyTrainer};
use super::super::*;
use super::{ROUNDS, pipeline};
use crate::aggregate::WeightedMean;
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::stage::{FeatureExtractor, Trained, Trainer};
use crate::types::{Adapter, ClientId, Context, Matrix, Record, Seed};
use std::borrow::Cow;
use std::sync::Arc;

/// What a stage does with records of client 3.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Panics,
    Fails,
    NotFinite,
    OtherRows,
    OtherTensors,
}

const FAULTS: [Fault; 5] = [Fault::Panics, Fault::Fails, Fault::NotFinite, Fault::OtherRows, Fault::OtherTensors];

fn is_bad(records: &[Record]) -> bool {
    records.iter().any(|record| record.id.starts_with("client3-"))
}

struct BadTrainer(ToyTrainer, Fault);

impl Trainer for BadTrainer {
    fn init(&self, context: &Context) -> Result<Adapter> {
        self.0.init(context)
    }

    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> Result<Trained> {
        let mut trained = self.0.train(adapter, records, context)?;
        if is_bad(records) {
            let tensor = trained.adapter.tensors.get_mut(toy::TENSOR).unwrap();
            match self.1 {
                Fault::Panics => panic!("no place for {}", records[0].id),
                Fault::Fails => return Err(Error::stage("mine", "a\nlong text ".repeat(10_000))),
                Fault::NotFinite => tensor.data[0] = (1e300f64) as f32,
                Fault::OtherRows => tensor.data.push(1.0),
                Fault::OtherTensors => {
                    trained.adapter.tensors.clear();
                }
            }
        }
        Ok(trained)
    }
}

struct BadFeatures(ToyFeatures, Fault);

impl FeatureExtractor for BadFeatures {
    fn extract(&self, records: &[Record], adapter: Option<&Adapter>, context: &Context) -> Result<Matrix> {
        let mut features = self.0.extract(records, adapter, context)?;
        if is_bad(records) {
            match self.1 {
                Fault::Panics => panic!("no place for {}", records[0].id),
                Fault::Fails => return Err(Error::stage("mine", "a\nlong text ".repeat(10_000))),
                Fault::NotFinite => features.row_mut(0)[0] = f32::NAN,
                Fault::OtherRows => return features.take_rows(&[0]),
                Fault::OtherTensors => return Ok(Matrix::zeros(records.len(), 0)),
            }
        }
        Ok(features)
    }

    fn is_frozen(&self) -> bool {
        self.0.is_frozen()
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

/// Clients of whom the third cannot be read.
struct Unread(Vec<ClientData>, Fault);

impl Clients for Unread {
    fn ids(&self) -> Vec<ClientId> {
        self.0.ids()
    }

    fn read(&self, client: ClientId) -> Result<Cow<'_, ClientData>> {
        match (client.0, self.1) {
            (3, Fault::Panics) => panic!("no such client"),
            (3, _) => Err(Error::input("client 3", "its records", "bytes that are not")),
            _ => self.0.read(client),
        }
    }
}

fn simulation(method: &str, clients: Arc<dyn Clients>, trainer: Arc<dyn Trainer>, sampled: usize) -> Simulation {
    let settings =
        SimulationSettings { rounds: ROUNDS, participation: Participation::Count(sampled), ..Default::default() };
    Simulation::new(pipeline(method, 6), clients, trainer, Box::new(WeightedMean::new()))
        .settings(settings)
        .seed(Seed(3))
}

/// Client 3 is left out of every round it takes part in, by name and in few words; everybody else trains.
fn check(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.rounds.len(), ROUNDS, "{what}");
    let left_out: Vec<(&ClientId, &String)> = outcome.rounds.iter().flat_map(|round| &round.left_out).collect();
    assert!(!left_out.is_empty(), "{what}: client 3 took part");
    for (client, reason) in left_out {
        assert!(client.0 == 3 && reason.contains("client 3"), "{what}: {reason}");
        assert!(reason.len() < 500 && !reason.contains(char::is_control), "{what}: {reason}");
    }
    for round in &outcome.rounds {
        let weights = &round.aggregation.weights;
        assert!(round.adapter_changed && !weights.contains_key(&ClientId(3)), "{what}");
    }
    assert!(outcome.adapter.tensors.values().flat_map(|tensor| &tensor.data).all(|value| value.is_finite()));
}

#[test]
fn one_clients_fault_leaves_out_that_client_alone() {
    let clients = toy::data(8, 10, 5).clients;
    let good = || Arc::new(ToyFeatures::new(true));
    for fault in FAULTS {
        for at_once in [1, 3] {
            let trainer = Arc::new(BadTrainer(ToyTrainer::default(), fault));
            let run = simulation("all", Arc::new(clients.clone()), trainer, 4).clients_at_once(at_once);
            check(&run.run().unwrap(), "trainer");
            for frozen in [true, false] {
                let features = Arc::new(BadFeatures(ToyFeatures::new(frozen), fault));
                let run = simulation("fedhds_coverage", Arc::new(clients.clone()), Arc::<ToyTrainer>::default(), 4);
                check(&run.extractor(features).clients_at_once(at_once).run().unwrap(), "features");
            }
        }
        let unread = Arc::new(Unread(clients.clone(), fault));
        let run = simulation("fedhds_coverage", unread, Arc::<ToyTrainer>::default(), 4).extractor(good());
        check(&run.run().unwrap(), "clients");
    }
}

#[test]
fn a_lone_bad_client_ends_no_run_that_worked() {
    let clients = toy::data(8, 10, 5).clients;
    let bad = Arc::new(BadTrainer(ToyTrainer::default(), Fault::Panics));
    let outcome = simulation("all", Arc::new(clients), bad, 1).settings(SimulationSettings {
        rounds: 30,
        participation: Participation::Count(1),
        ..Default::default()
    });
    let outcome = outcome.run().unwrap();
    assert_eq!(outcome.rounds.len(), 30);
    assert!(outcome.rounds.iter().any(|round| !round.left_out.is_empty() && !round.adapter_changed));
}
