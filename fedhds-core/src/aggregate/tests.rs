//! What the methods that freeze a factor share, and the measure that all report.

use super::testing::{A, B, apart, norm, products, random, round, target, updates};
use super::{AggregatorConfig, FedSvd, FfaLora, RoLora, WeightedMean};
use crate::stage::{Aggregator, ClientUpdate};
use crate::types::{Adapter, ClientId, Factors, Round};
use proptest::prelude::*;

fn frozen() -> Vec<(&'static str, Box<dyn Aggregator>)> {
    vec![
        ("ffa_lora", Box::new(FfaLora::new())),
        ("rolora", Box::new(RoLora::new())),
        ("fedsvd", Box::new(FedSvd::new())),
    ]
}

/// What a client trains from `global`: another value for what is trained.
fn trained(global: &Adapter, factors: Factors, seed: u64) -> Adapter {
    let shape = global.tensors[B].shape[0];
    let mut after = random(global.config.r, global.config.lora_alpha, [shape, global.tensors[A].shape[1]], seed);
    factors.restore(global, &mut after);
    after
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn with_a_frozen_factor_the_product_is_the_mean_of_the_products(
        r in 1usize..4, m in 2usize..7, n in 3usize..7, seed: u64, records in prop::collection::vec(1usize..9, 1..5), number in 0u32..4,
    ) {
        let global = random(r, 3.0, [m, n], seed);
        for (name, mut aggregator) in frozen() {
            let factors = aggregator.trains(Round(number));
            let client = |(at, &n): (u64, &usize)| (trained(&global, factors, seed.wrapping_add(at + 1)), n);
            let clients = updates((0..).zip(&records).map(client));
            let finished = round(aggregator.as_mut(), number, &global, &clients);
            let adapter = finished.adapter.unwrap();
            prop_assert!(apart(&products(&adapter), &target(&clients)) < 1e-5, "{}", name);
            prop_assert!(finished.report.measures["product_error"] < 1e-5, "{}: {:?}", name, finished.report.measures);
            if name != "fedsvd" {
                factors.check_frozen(&global, &adapter).unwrap();
            }
            // The product alone counts: who is who does not matter.
            let turned = updates((0..).zip(&records).map(client).collect::<Vec<_>>().into_iter().rev());
            let other = round(aggregator.as_mut(), number, &global, &turned).adapter.unwrap();
            prop_assert!(apart(&products(&other), &products(&adapter)) < 1e-5, "{}", name);
        }
    }

    #[test]
    fn the_error_is_that_of_the_products_written_out(
        m in 2usize..9, n in 2usize..6, seed: u64, records in prop::collection::vec(1usize..9, 2..5), r in 3usize..5,
    ) {
        let clients = updates((0u64..).zip(records).map(|(at, n_k)| (random(r, 3.0, [m.min(6), n], seed.wrapping_add(at)), n_k)));
        let finished = round(&mut WeightedMean::new(), 0, &clients[0].adapter.clone(), &clients);
        let (got, whole) = (products(&finished.adapter.unwrap()), target(&clients));
        let expected = norm(&got.iter().zip(&whole).map(|(got, whole)| whole - got).collect::<Vec<_>>()) / norm(&whole);
        let error = finished.report.measures["product_error"];
        prop_assert!((error - expected).abs() < 1e-5 * expected.max(1.0), "{} {}", error, expected);
    }
}

#[test]
fn of_wide_layers_the_error_is_estimated() {
    let mut relative = Vec::new();
    for seed in 0..12 {
        let clients = updates((0..3).map(|at| (random(4, 4.0, [40, 50], 100 * seed + at), 1)));
        let finished = round(&mut WeightedMean::new(), 0, &clients[0].adapter.clone(), &clients);
        let (got, whole) = (products(&finished.adapter.unwrap()), target(&clients));
        let expected = norm(&got.iter().zip(&whole).map(|(got, whole)| whole - got).collect::<Vec<_>>()) / norm(&whole);
        relative.push(finished.report.measures["product_error"] / expected - 1.0);
    }
    let mean = relative.iter().sum::<f64>() / relative.len() as f64;
    let spread = (relative.iter().map(|x| x * x).sum::<f64>() / relative.len() as f64).sqrt();
    assert!(mean.abs() < 0.1 && spread < 0.25 && spread > 0.0, "mean {mean}, spread {spread}");
}

#[test]
fn a_frozen_factor_that_moved_is_refused_with_its_client() {
    for (name, mut aggregator) in frozen() {
        let mut global = random(2, 2.0, [4, 3], 1);
        global.tensors.get_mut(A).unwrap().data[0] = -0.0;
        let factors = aggregator.trains(Round(0));
        let mut moved = trained(&global, factors, 2);
        moved.tensors.get_mut(A).unwrap().data[4] += 0.5;
        aggregator.begin(&global, Round(0)).unwrap();
        let error = aggregator.add(&ClientUpdate::new(ClientId(3), moved, 1)).unwrap_err().to_string();
        assert!(error.contains(&format!("client 3: {A}")) && error.contains("row 1, column 1"), "{name}: {error}");
        let adapter = round(aggregator.as_mut(), 0, &global, &updates([(trained(&global, factors, 2), 1)])).adapter;
        let adapter = adapter.expect(name);
        if name != "fedsvd" {
            factors.check_frozen(&global, &adapter).unwrap();
        }
    }
}

#[test]
fn rolora_takes_turns_and_begins_with_b() {
    let turns: Vec<Factors> = (0..4).map(|number| RoLora::new().trains(Round(number))).collect();
    assert_eq!(turns, [Factors::B, Factors::A, Factors::B, Factors::A]);
    for kind in ["weighted_mean", "fedavgm", "fedadam", "flexlora"] {
        let config: AggregatorConfig = toml::from_str(&format!("kind = \"{kind}\"")).unwrap();
        assert_eq!(config.build().unwrap().trains(Round(1)), Factors::Both, "{kind}");
        assert_eq!(config.build().unwrap().takes_ranks(), kind == "flexlora", "{kind}");
    }
}

#[test]
fn fedsvd_keeps_the_rows_of_a_orthonormal() {
    let mut global = random(3, 2.0, [5, 6], 1);
    global.tensors.get_mut(B).unwrap().data.fill(0.0);
    let mut aggregator = FedSvd::new();
    // Nothing learnt yet, and then something.
    for (number, seed) in [(0, None), (1, Some(2))] {
        let client = seed.map_or(global.clone(), |seed| trained(&global, Factors::B, seed));
        let before = products(&client);
        global = round(&mut aggregator, number, &global, &updates([(client, 2)])).adapter.unwrap();
        assert!(apart(&products(&global), &before) < 1e-5);
        let rows: Vec<&[f32]> = global.tensors[A].data.chunks(6).collect();
        for (i, x) in rows.iter().enumerate() {
            for (j, y) in rows.iter().enumerate() {
                let product: f32 = x.iter().zip(*y).map(|(x, y)| x * y).sum();
                assert!((product - f32::from(i == j)).abs() < 1e-5, "{i}, {j}: {product}");
            }
        }
    }
}

#[test]
fn an_adapter_without_pairs_has_no_error_and_is_refused_where_products_count() {
    let mut global = random(2, 2.0, [4, 3], 1);
    global.tensors.remove(A);
    let finished = round(&mut WeightedMean::new(), 0, &global, &updates([(global.clone(), 1)]));
    assert!(finished.adapter.is_some() && finished.report.measures.is_empty());
    for kind in ["flexlora", "ffa_lora", "rolora", "fedsvd"] {
        let config: AggregatorConfig = toml::from_str(&format!("kind = \"{kind}\"")).unwrap();
        let error = config.build().unwrap().begin(&global, Round(0)).unwrap_err().to_string();
        assert!(error.contains("lora_A"), "{kind}: {error}");
    }
}
