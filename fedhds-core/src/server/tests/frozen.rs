//! Rounds that train one factor of the adapter.

use super::*;
use crate::aggregate::{FfaLora, RoLora};
use crate::protocol::TrainedFactors;
use crate::types::Factors;

const A: &str = "q.lora_A.weight";
const B: &str = "q.lora_B.weight";

/// Rank 1 on a layer of 2 x 2.
fn pair(a: f32, b: f32) -> Adapter {
    let tensor = |shape, value| AdapterTensor { shape, data: vec![value; 2] };
    let tensors = [(A.to_owned(), tensor([1, 2], a)), (B.to_owned(), tensor([2, 1], b))];
    Adapter { tensors: tensors.into(), ..Adapter::default() }
}

/// A server in the training phase of a round from A of 1 and B of 0, and how the round began.
fn training(aggregator: Box<dyn Aggregator>, round: u32) -> (Server, RoundStart) {
    let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(5), aggregator).unwrap();
    let start = server.begin_round(Round(round), &ids(0..3), Some(&pair(1.0, 0.0))).unwrap();
    for client in 0..3 {
        let summary = ClientSummary { round: Round(round), ..summary(client, 0, &[(client as f32, 3)]) };
        sum(&mut server, summary).unwrap();
    }
    server.select(&Context::new(1)).unwrap();
    (server, start)
}

fn update(client: u32, round: u32, adapter: Adapter) -> LocalUpdate {
    LocalUpdate::new(ClientId(client), Round(round), 1, adapter)
}

#[test]
fn a_round_says_what_it_trains_where_it_is_not_both() {
    let said = |start: &RoundStart| start.sections.get::<TrainedFactors>().unwrap();
    let (server, start) = training(Box::new(WeightedMean::new()), 0);
    assert_eq!((said(&start), server.factors().unwrap()), (None, Factors::Both), "older clients understand it");
    for (round, factors) in [(0, Factors::B), (1, Factors::A)] {
        let (mut server, start) = training(Box::new(RoLora::new()), round);
        assert_eq!((said(&start), server.factors().unwrap()), (Some(TrainedFactors(factors)), factors));
        server.abandon_round();
        assert_eq!(server.factors().unwrap(), Factors::Both);
    }
    let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(5), Box::new(RoLora::new())).unwrap();
    assert_eq!(said(&server.begin_round(Round(0), &ids(0..1), None).unwrap()), None, "another library aggregates");
}

#[test]
fn a_frozen_factor_may_be_left_out_and_must_not_move() {
    let (mut server, _) = training(Box::new(FfaLora::new()), 0);
    let error = upd(&mut server, update(1, 0, pair(1.5, 2.0))).unwrap_err().to_string();
    assert!(error.contains("client 1: ") && error.contains(A) && error.contains("B alone"), "{error}");
    upd(&mut server, update(0, 0, pair(1.0, 2.0))).unwrap();
    let mut half = update(2, 0, pair(1.0, 4.0));
    half.leave_out_frozen(Factors::B, &pair(1.0, 0.0)).unwrap();
    assert!(!half.adapter.tensors.contains_key(A));
    upd(&mut server, half).unwrap();
    let finished = server.finish_round().unwrap();
    assert_eq!(finished.adapter.unwrap(), pair(1.0, 3.0));
    assert_eq!(finished.report.left_out.keys().collect::<Vec<_>>(), [&ClientId(1)]);
    assert_eq!(finished.report.aggregation.measures["product_error"], 0.0);
}

#[test]
fn what_is_trained_cannot_be_left_out() {
    let (mut server, _) = training(Box::new(FfaLora::new()), 0);
    let mut none = update(0, 0, pair(1.0, 2.0));
    none.adapter.tensors.remove(B);
    assert!(upd(&mut server, none).unwrap_err().to_string().contains(B));
    let (mut server, _) = training(Box::new(WeightedMean::new()), 0);
    let mut half = update(0, 0, pair(1.0, 2.0));
    half.adapter.tensors.remove(A);
    assert!(upd(&mut server, half).unwrap_err().to_string().contains(A), "both are trained");
}

#[test]
fn a_server_that_goes_on_still_knows() {
    let (server, _) = training(Box::new(FfaLora::new()), 0);
    let state = server.state().unwrap();
    let mut later = Server::new(by_whole_part(Count::PerCluster), Seed(5), Box::new(FfaLora::new())).unwrap();
    later.resume(state, Some(&pair(1.0, 0.0))).unwrap();
    assert_eq!(later.factors().unwrap(), Factors::B);
    assert!(upd(&mut later, update(1, 0, pair(1.5, 2.0))).is_err());
}
