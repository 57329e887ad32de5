//! Clients of ranks of their own.

use super::*;
use crate::aggregate::{FlexLora, FlexLoraConfig, truncated};

const A: &str = "q.lora_A.weight";
const B: &str = "q.lora_B.weight";

/// Rank 2 on a layer of 2 x 2: the product is `s diag(x, y)`.
fn diagonal(x: f32, y: f32) -> Adapter {
    let config = AdapterConfig { r: 2, lora_alpha: 2.0, ..AdapterConfig::default() };
    let a = AdapterTensor { shape: [2, 2], data: vec![1.0, 0.0, 0.0, 1.0] };
    let b = AdapterTensor { shape: [2, 2], data: vec![x, 0.0, 0.0, y] };
    Adapter { config, tensors: [(A.to_owned(), a), (B.to_owned(), b)].into() }
}

/// A server in the training phase of a round from this adapter.
fn training(aggregator: Box<dyn Aggregator>, global: &Adapter, max_step: f64) -> Server {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.limits.max_step = max_step;
    let mut server = Server::new(pipeline, Seed(5), aggregator).unwrap();
    server.begin_round(Round(0), &ids(0..3), Some(global)).unwrap();
    for client in 0..3 {
        sum(&mut server, summary(client, 0, &[(client as f32, 3)])).unwrap();
    }
    server.select(&Context::new(1)).unwrap();
    server
}

fn update(client: u32, adapter: Adapter) -> LocalUpdate {
    LocalUpdate::new(ClientId(client), Round(0), 1, adapter)
}

fn flexlora() -> Box<dyn Aggregator> {
    Box::new(FlexLora::new(&FlexLoraConfig::default()))
}

/// `B A` of a layer of 2 x 2, times the scale.
fn product(adapter: &Adapter) -> [f32; 4] {
    let (a, b, r) = (&adapter.tensors[A].data, &adapter.tensors[B].data, adapter.config.r);
    let at = |i: usize, j: usize| (0..r).map(|k| b[i * r + k] * a[k * 2 + j]).sum::<f32>() * adapter.config.scaling();
    [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
}

#[test]
fn a_smaller_rank_is_taken_by_who_takes_ranks_and_named_by_who_does_not() {
    let global = diagonal(4.0, 2.0);
    let small = truncated(&global, 1).unwrap();
    let mut server = training(flexlora(), &global, 1e4);
    upd(&mut server, update(0, global.clone())).unwrap();
    upd(&mut server, update(2, small.clone())).unwrap();
    let large = Adapter { config: AdapterConfig { r: 3, ..global.config.clone() }, ..global.clone() };
    let error = upd(&mut server, update(1, large)).unwrap_err().to_string();
    assert!(error.contains("client 1: r") && error.contains("1 to 2") && error.contains("got 3"), "{error}");
    let adapter = server.finish_round().unwrap().adapter.unwrap();
    assert_eq!(adapter.config, global.config);
    for (got, expected) in product(&adapter).into_iter().zip([4.0, 0.0, 0.0, 1.0]) {
        assert!((got - expected).abs() < 1e-5, "the second direction is one client's alone: {got}");
    }
    let mut server = training(Box::new(WeightedMean::new()), &global, 1e4);
    let error = upd(&mut server, update(2, small)).unwrap_err().to_string();
    assert!(error.contains("client 2: r") && error.contains("expected 2") && error.contains("got 1"), "{error}");
    let mut alpha = truncated(&global, 1).unwrap();
    alpha.config.lora_alpha = 1e9;
    let mut server = training(flexlora(), &global, 1e4);
    let error = upd(&mut server, update(2, alpha)).unwrap_err().to_string();
    assert!(error.contains("lora_alpha"), "a scale of its own would go past every bound on the step: {error}");
}

#[test]
fn a_step_is_measured_from_where_the_client_began() {
    let global = diagonal(4.0, 2.0);
    let start = truncated(&global, 1).unwrap();
    let mut server = training(flexlora(), &global, 2.0);
    let moved = |by: f32| {
        let mut moved = start.clone();
        moved.tensors.get_mut(B).unwrap().data[1] += by;
        moved
    };
    upd(&mut server, update(0, moved(1.0))).unwrap();
    upd(&mut server, update(1, moved(-1.0))).unwrap();
    upd(&mut server, update(2, moved(900.0))).unwrap();
    let finished = server.finish_round().unwrap();
    let limited = &finished.report.aggregation.limited;
    assert_eq!(limited.keys().collect::<Vec<_>>(), [&ClientId(2)]);
    assert!(limited[&ClientId(2)].contains("9.000e2") && limited[&ClientId(2)].contains("2.000e0"), "{limited:?}");
    // Drawn back to 2 from its start: the mean of B moved by 2/3, as `1 - 1 + 2` over three.
    let [_, _, low, _] = product(&finished.adapter.unwrap());
    let expected = 2.0 / 3.0 * start.tensors[A].data[0] * start.config.scaling();
    assert!((low - expected).abs() < 1e-4, "{low} {expected}");
}
