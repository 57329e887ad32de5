//! What every aggregator keeps to, whatever it makes of the clients' adapters.

use fedhds_core::Error;
use fedhds_core::aggregate::AggregatorConfig;
use fedhds_core::stage::{Aggregator, ClientUpdate};
use fedhds_core::types::{Adapter, AdapterConfig, AdapterTensor, ClientId, Factors, Round};
use proptest::prelude::*;

const NAMES: [&str; 2] = ["layers.0.q_proj.lora_A.weight", "layers.0.q_proj.lora_B.weight"];

fn all() -> Vec<(&'static str, Box<dyn Aggregator>)> {
    let kind = |kind: &str| serde_json::from_value::<AggregatorConfig>(serde_json::json!({ "kind": kind })).unwrap();
    AggregatorConfig::KINDS.into_iter().map(|name| (name, kind(name).build().unwrap())).collect()
}

/// Rank 2 on a layer of 3 x 2.
fn adapter(values: [f32; 10]) -> Adapter {
    let config = AdapterConfig { r: 2, target_modules: vec!["q_proj".into()], ..AdapterConfig::default() };
    let tensor = |shape: [usize; 2], data: &[f32]| AdapterTensor { shape, data: data.to_vec() };
    let tensors =
        [(NAMES[0].to_owned(), tensor([2, 3], &values[..6])), (NAMES[1].to_owned(), tensor([2, 2], &values[6..]))];
    Adapter { config, tensors: tensors.into() }
}

fn values(adapter: &Adapter) -> Vec<f32> {
    adapter.tensors.values().flat_map(|tensor| tensor.data.clone()).collect()
}

fn any_adapter() -> impl Strategy<Value = Adapter> {
    proptest::array::uniform10(-4f32..4.0).prop_map(adapter)
}

/// `s B A`, row after row: what an adapter does, however it is split into factors.
fn product(adapter: &Adapter) -> Vec<f32> {
    let [a, b] = NAMES.map(|name| &adapter.tensors[name].data);
    let at = |i: usize, j: usize| b[2 * i] * a[j] + b[2 * i + 1] * a[3 + j];
    (0..6).map(|k| adapter.config.scaling() * at(k / 3, k % 3)).collect()
}

/// The updates with what the round freezes as the global adapter has it.
fn trained(factors: Factors, global: &Adapter, updates: &[ClientUpdate]) -> Vec<ClientUpdate> {
    let frozen: Vec<&str> = NAMES.into_iter().filter(|name| !factors.trains(name)).collect();
    let fit = |update: &ClientUpdate| {
        let mut update = update.clone();
        for name in &frozen {
            update.adapter.tensors.insert((*name).to_owned(), global.tensors[*name].clone());
        }
        update
    };
    updates.iter().map(fit).collect()
}

/// Updates of ascending clients, some of them skipped.
fn any_updates() -> impl Strategy<Value = Vec<ClientUpdate>> {
    // As many as the neediest default setting wants: Multi-Krum of one hostile client.
    proptest::collection::vec((any_adapter(), 1usize..50, 1u32..4), 5..9).prop_map(|updates| {
        let mut client = 0;
        let update = |(adapter, records, gap): (Adapter, usize, u32)| {
            client += gap;
            ClientUpdate::new(ClientId(client), adapter, records)
        };
        updates.into_iter().map(update).collect()
    })
}

/// Kinds that count by records; every other counts each client once unless its settings say so.
const BY_RECORDS: [&str; 7] = ["weighted_mean", "fedavgm", "fedadam", "flexlora", "ffa_lora", "rolora", "fedsvd"];

/// One round, in which clients train what it trains: the adapter that it ends with.
fn round(aggregator: &mut dyn Aggregator, number: u32, global: &Adapter, updates: &[ClientUpdate]) -> Adapter {
    aggregator.begin(global, Round(number)).unwrap();
    let updates = trained(aggregator.trains(Round(number)), global, updates);
    updates.iter().for_each(|update| aggregator.add(update).unwrap());
    aggregator.finish().unwrap().adapter.unwrap_or_else(|| global.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn names_shapes_and_settings_stay_and_weights_are_shares(global in any_adapter(), updates in any_updates()) {
        for (name, mut aggregator) in all() {
            aggregator.begin(&global, Round(0)).unwrap();
            let updates = trained(aggregator.trains(Round(0)), &global, &updates);
            updates.iter().for_each(|update| aggregator.add(update).unwrap());
            let finished = aggregator.finish().unwrap();
            let adapter = finished.adapter.unwrap();
            // What a robust rule wants is not the mean of the clients' products.
            let error = finished.report.measures.get("product_error");
            prop_assert!(error.is_some() || !BY_RECORDS.contains(&name), "{}", name);
            prop_assert!(error.is_none_or(|error| error.is_finite() && *error >= 0.0), "{}: {:?}", name, error);
            prop_assert_eq!(&adapter.config, &global.config, "{}", name);
            prop_assert!(adapter.tensors.iter().map(|(n, t)| (n, t.shape)).eq(global.tensors.iter().map(|(n, t)| (n, t.shape))));
            prop_assert!(values(&adapter).iter().all(|v| v.is_finite()), "{}", name);
            let total: usize = updates.iter().map(|u| u.records).sum();
            let weights = &finished.report.weights;
            prop_assert!((weights.values().sum::<f64>() - 1.0).abs() < 1e-9, "{}: {:?}", name, weights);
            prop_assert!(weights.keys().all(|client| updates.iter().any(|update| update.client == *client)), "{}", name);
            for update in updates.iter().filter(|_| BY_RECORDS.contains(&name)) {
                let share = weights[&update.client];
                prop_assert!((share - update.records as f64 / total as f64).abs() < 1e-12, "{}", name);
            }
        }
    }

    #[test]
    fn where_nobody_moved_nothing_moves(global in any_adapter(), records in proptest::collection::vec(1usize..50, 1..5)) {
        for (name, mut aggregator) in all() {
            let still = |(client, &records): (usize, &usize)| ClientUpdate::new(ClientId(client as u32), global.clone(), records);
            let updates: Vec<ClientUpdate> = records.iter().enumerate().map(still).collect();
            let after = round(aggregator.as_mut(), 0, &global, &updates);
            for (before, after) in product(&global).into_iter().zip(product(&after)) {
                prop_assert!((before - after).abs() <= 1e-4 * before.abs().max(10.0), "{}: {} {}", name, before, after);
            }
            if ["flexlora", "fedsvd"].contains(&name) {
                continue; // They split the same product into other factors.
            }
            for (before, after) in values(&global).into_iter().zip(values(&after)) {
                prop_assert!((before - after).abs() <= 1e-6 * before.abs().max(1.0), "{}: {} {}", name, before, after);
            }
        }
    }

    #[test]
    fn going_on_from_a_state_gives_the_same_bits(
        global in any_adapter(), rounds in proptest::collection::vec(any_updates(), 2..5), cut in any::<prop::sample::Index>(),
    ) {
        for ((name, mut whole), (_, mut before)) in all().into_iter().zip(all()) {
            let run = |aggregator: &mut dyn Aggregator, from: usize, to: usize, mut global: Adapter| {
                for (number, updates) in rounds.iter().enumerate().take(to).skip(from) {
                    global = round(aggregator, number as u32, &global, updates);
                }
                global
            };
            let cut = cut.index(rounds.len());
            let expected = run(whole.as_mut(), 0, rounds.len(), global.clone());
            let middle = run(before.as_mut(), 0, cut, global.clone());
            let mut after = all().into_iter().find(|(other, _)| *other == name).unwrap().1;
            after.resume(&before.state().unwrap()).unwrap();
            prop_assert_eq!(run(after.as_mut(), cut, rounds.len(), middle), expected, "{}", name);
        }
    }

    #[test]
    fn a_refused_update_leaves_no_trace(global in any_adapter(), updates in any_updates(), kind in 0usize..4) {
        for ((name, mut aggregator), (_, mut clean)) in all().into_iter().zip(all()) {
            let mut bad = ClientUpdate::new(ClientId(0), global.clone(), 3);
            let tensor = bad.adapter.tensors.get_mut(NAMES[1]).unwrap();
            match kind {
                0 => tensor.data[3] = f32::NAN,
                1 => tensor.data[0] = f32::NEG_INFINITY,
                2 => tensor.shape = [1, 4],
                _ => drop(bad.adapter.tensors.remove(NAMES[0])),
            }
            aggregator.begin(&global, Round(0)).unwrap();
            let error = aggregator.add(&bad).unwrap_err().to_string();
            prop_assert!(error.contains("client 0"), "{}: {}", name, error);
            let updates = trained(aggregator.trains(Round(0)), &global, &updates);
            updates.iter().for_each(|update| aggregator.add(update).unwrap());
            let adapter = aggregator.finish().unwrap().adapter.unwrap();
            prop_assert_eq!(adapter, round(clean.as_mut(), 0, &global, &updates), "{}", name);
        }
    }
}

#[test]
fn a_round_of_nobody_ends_with_none_and_changes_nothing() {
    let global = adapter([1.0; 10]);
    let moved: Vec<ClientUpdate> =
        (4..9).map(|client| ClientUpdate::new(ClientId(client), adapter([2.0; 10]), 7)).collect();
    for ((name, mut aggregator), (_, mut other)) in all().into_iter().zip(all()) {
        aggregator.begin(&global, Round(0)).unwrap();
        assert!(aggregator.finish().unwrap().adapter.is_none(), "{name}");
        // What was begun and never finished is forgotten.
        let other_global = adapter([9.0; 10]);
        aggregator.begin(&other_global, Round(1)).unwrap();
        let lost = [ClientUpdate::new(ClientId(2), adapter([-5.0; 10]), 3)];
        aggregator.add(&trained(aggregator.trains(Round(1)), &other_global, &lost)[0]).unwrap();
        let after = round(aggregator.as_mut(), 2, &global, &moved);
        assert_eq!(after, round(other.as_mut(), 2, &global, &moved), "{name}");
        assert_ne!(after, global, "{name}");
    }
}

#[test]
fn a_round_of_one_update_ends_and_says_why_where_it_changes_nothing() {
    let global = adapter([1.0; 10]);
    for (name, mut aggregator) in all() {
        aggregator.begin(&global, Round(0)).unwrap();
        let one = [ClientUpdate::new(ClientId(4), adapter([2.0; 10]), 7)];
        aggregator.add(&trained(aggregator.trains(Round(0)), &global, &one)[0]).unwrap();
        let finished = aggregator.finish().unwrap();
        assert!(finished.adapter.is_some() != finished.report.discarded.is_some(), "{name}: {finished:?}");
        let needy = ["multi_krum", "trimmed_mean", "nnm"].contains(&name);
        assert_eq!(finished.report.discarded.is_some_and(|why| why.contains("at least")), needy, "{name}");
    }
}

#[test]
fn calls_out_of_order_and_states_of_others_are_errors() {
    let update = ClientUpdate::new(ClientId(1), adapter([1.0; 10]), 1);
    for (name, mut aggregator) in all() {
        assert!(aggregator.add(&update).is_err(), "{name}: `begin` comes first");
        aggregator.begin(&adapter([1.0; 10]), Round(0)).unwrap();
        aggregator.add(&update).unwrap();
        assert!(aggregator.add(&update).is_err(), "{name}: one client twice");
        for state in [&b"\x01"[..], b"garbage that is no state"] {
            assert!(matches!(aggregator.resume(state), Err(Error::Input { .. })), "{name}");
        }
        let [few, many] = [1000, 1_000_000].map(|values| aggregator.memory(10, values));
        assert!(few >= 4 * 1000 && many > few, "{name}: at least the adapter itself, got {few} and {many} bytes");
    }
}

#[test]
fn a_frozen_factor_that_moved_and_a_rank_that_is_not_taken_are_refused_with_their_client() {
    let global = adapter([1.0; 10]);
    for (name, mut aggregator) in all() {
        let factors = aggregator.trains(Round(0));
        aggregator.begin(&global, Round(0)).unwrap();
        let moved = ClientUpdate::new(ClientId(3), adapter([2.0; 10]), 1);
        match factors {
            Factors::Both => aggregator.add(&moved).unwrap(),
            _ => assert!(aggregator.add(&moved).unwrap_err().to_string().contains("client 3: layers.0"), "{name}"),
        }
        let mut small = adapter([1.0; 10]);
        small.config.r = 1;
        small.tensors.insert(NAMES[0].to_owned(), AdapterTensor { shape: [1, 3], data: vec![1.0; 3] });
        small.tensors.insert(NAMES[1].to_owned(), AdapterTensor { shape: [2, 1], data: vec![1.0; 2] });
        match (aggregator.takes_ranks(), aggregator.add(&ClientUpdate::new(ClientId(5), small, 1))) {
            (true, taken) => taken.unwrap(),
            (false, refused) => assert!(refused.unwrap_err().to_string().contains("client 5: "), "{name}"),
        }
    }
}
