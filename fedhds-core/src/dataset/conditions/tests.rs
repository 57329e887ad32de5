//! What holds for every condition; `recipes` has each recipe by itself.

mod recipes;

use super::*;
use crate::types::{ClientId, Record};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Client `c` holds `sizes[c][t]` records of task `t`; all texts are different.
fn clients(sizes: &[&[usize]]) -> (Vec<ClientData>, Dataset) {
    let mut pool = Vec::new();
    let mut clients = Vec::new();
    for (sizes, c) in sizes.iter().zip(0..) {
        let mut records = Vec::new();
        for (task, size) in sizes.iter().enumerate() {
            for _ in 0..*size {
                let i = pool.len() + records.len();
                records.push(Record {
                    id: format!("r{i:04}"),
                    instruction: format!("Name the thing of kind {task}."),
                    input: if i % 3 == 0 { String::new() } else { format!("thing {i}") },
                    responses: vec![format!("thing {i} is called name{i} of kind {task}"), format!("name{i}")],
                    category: format!("task{task}"),
                    family: format!("family{}", task / 2),
                });
            }
        }
        pool.extend(records.iter().cloned());
        clients.push(ClientData { client: ClientId(c), name: format!("client-{c}"), records });
    }
    (clients, Dataset::new("d", pool).unwrap())
}

/// Four clients of three tasks, 160 records.
fn four() -> (Vec<ClientData>, Dataset) {
    clients(&[&[20, 10, 10], &[5, 30, 5], &[20, 20, 0], &[13, 13, 14]])
}

fn apply(condition: &Condition, seed: u64) -> (Vec<ClientData>, Truth) {
    apply_to(four(), condition, seed)
}

fn apply_to(
    (mut clients, pool): (Vec<ClientData>, Dataset),
    condition: &Condition,
    seed: u64,
) -> (Vec<ClientData>, Truth) {
    let truth = condition.apply(&mut clients, &pool, Seed(seed)).unwrap();
    (clients, truth)
}

fn all_knobs() -> Condition {
    Condition { swap_within: 0.2, bad_clients: 0.25, length: 0.5, ..Condition::mix() }
}

fn bytes<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

fn reached(truth: &Truth, knob: Knob) -> f64 {
    truth.reached.iter().find(|r| r.knob == knob).unwrap().reached
}

fn records(clients: &[ClientData]) -> impl Iterator<Item = &Record> {
    clients.iter().flat_map(|client| &client.records)
}

fn flawed(truth: &Truth, fits: impl Fn(Flaw) -> bool) -> BTreeSet<&str> {
    truth.records.iter().filter(|(_, r)| r.flaw.is_some_and(&fits)).map(|(id, _)| id.as_str()).collect()
}

fn copies(truth: &Truth) -> BTreeMap<&str, &str> {
    truth.records.iter().filter_map(|(id, r)| Some((id.as_str(), r.copy_of.as_deref()?))).collect()
}

#[test]
fn clean_data_stay_as_they_are_and_are_all_in_the_truth() {
    let (clean, mut pool) = four();
    for condition in [
        Condition::default(),
        Condition { junk_generators: JunkGenerators::Confirmation, ..Condition::default() },
        Condition { scarce: Some(5), ..Condition::default() },
    ] {
        assert_eq!(condition.is_clean(), condition.scarce.is_none());
        let (after, truth) = apply(&condition, 1);
        assert_eq!(bytes(&after), bytes(&clean));
        assert_eq!(truth.records.len(), 160);
        assert!(truth.reached.is_empty() && truth.bad_clients.is_empty());
        for record in records(&clean) {
            let (task, family) = (record.category.clone(), record.family.clone());
            assert_eq!(truth.records[&record.id], RecordTruth { task, family, copy_of: None, flaw: None });
        }
        let before = pool.clone();
        assert!(condition.thin(&mut pool, None, Seed(1)).unwrap().is_empty());
        assert_eq!(pool, before);
    }
}

#[test]
fn a_file_says_neither_less_nor_more() {
    assert_eq!(toml::to_string(&Condition::default()).unwrap(), "");
    assert_eq!(toml::from_str::<Condition>("").unwrap(), Condition::default());
    let text = toml::to_string(&Condition::mix()).unwrap();
    assert_eq!(text, "duplicates = 0.3\ntail = 1.0\nswap_across = 0.2\njunk = 0.1\n");
    let all = Condition { scarce: Some(7), junk_generators: JunkGenerators::Confirmation, ..all_knobs() };
    assert_eq!(toml::from_str::<Condition>(&toml::to_string(&all).unwrap()).unwrap(), all);
    assert_eq!(toml::from_str::<Condition>("tail = 1\njunk_generators = \"confirmation\"").unwrap().tail, 1.0);
    let error = toml::from_str::<Condition>("duplicate = 0.3").unwrap_err().to_string();
    assert!(error.contains("unknown field `duplicate`"), "{error}");
    assert!(toml::from_str::<Condition>("junk_generators = \"other\"").is_err());
    assert_eq!(Condition::named("mix"), Some(Condition::mix()));
    assert!(Condition::named("clean").unwrap().is_clean() && Condition::named("dirty").is_none());
}

#[test]
fn a_knob_outside_of_its_range_is_named_and_nothing_changes() {
    let clean = Condition::default;
    for (wrong, says) in [
        (Condition { duplicates: 1.0, ..clean() }, "duplicates: expected a number in [0, 1), got 1.0"),
        (Condition { tail: -1.0, ..clean() }, "tail: expected a number of at least 0, got -1.0"),
        (Condition { tail: f64::INFINITY, ..clean() }, "tail: expected a number of at least 0, got inf"),
        (Condition { swap_across: 1.1, ..clean() }, "swap_across: expected a number in [0, 1], got 1.1"),
        (Condition { swap_within: -0.1, ..clean() }, "swap_within: expected a number in [0, 1], got -0.1"),
        (Condition { junk: f64::NAN, ..clean() }, "junk: expected a number in [0, 1], got nan"),
        (Condition { bad_clients: 2.0, ..clean() }, "bad_clients: expected a number in [0, 1], got 2.0"),
        (Condition { scarce: Some(0), ..clean() }, "scarce: expected a whole number of at least 1, got 0"),
        (Condition { length: f64::NAN, ..clean() }, "length: expected a number of at least 0, got nan"),
    ] {
        let (mut data, mut pool) = four();
        assert_eq!(wrong.check().unwrap_err().to_string(), says);
        assert_eq!(wrong.apply(&mut data, &pool, Seed(1)).unwrap_err().to_string(), says);
        assert_eq!(wrong.thin(&mut pool, None, Seed(1)).unwrap_err().to_string(), says);
        assert_eq!((data, pool), four());
    }
    let (mut data, pool) = four();
    data[1].records[3].id = "r0000".into();
    let error = Condition::mix().apply(&mut data, &pool, Seed(1)).unwrap_err().to_string();
    assert_eq!(error, "client 1: records: expected an id of its own, got `r0000` again");
    let (mut data, _) = four();
    data[1].client = ClientId(0);
    assert!(Condition::mix().apply(&mut data, &pool, Seed(1)).is_err());
}

#[test]
fn a_seed_decides_every_byte() {
    let run = |seed| {
        let (clients, truth) = apply(&all_knobs(), seed);
        (bytes(&clients), bytes(&truth))
    };
    assert_eq!(run(1), run(1));
    let (one, other) = (run(1), run(2));
    assert!(one.0 != other.0 && one.1 != other.1);
    let (_, truth) = apply(&all_knobs(), 1);
    assert_eq!(serde_json::from_str::<Truth>(&bytes(&truth)).unwrap(), truth);
    let thinned = |seed| {
        let (_, mut pool) = four();
        Condition::mix().thin(&mut pool, None, Seed(seed)).unwrap();
        bytes(&pool)
    };
    assert_eq!(thinned(1), thinned(1));
    assert_ne!(thinned(1), thinned(2));
}

#[test]
fn what_a_client_holds_tells_nothing() {
    let (before, _) = four();
    let (after, _) = apply(&all_knobs(), 3);
    let keys = |value: serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(keys(serde_json::to_value(after).unwrap()), ["client", "name", "records"]);
        assert_eq!((before.client, &before.name), (after.client, &after.name));
        let ids = |client: &ClientData| client.records.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(before), ids(after));
        let tasks: BTreeSet<_> = ["task0", "task1", "task2"].map(String::from).into();
        for record in &after.records {
            let fields = ["id", "instruction", "input", "responses", "category", "family"];
            assert_eq!(keys(serde_json::to_value(record).unwrap()), fields);
            assert!(tasks.contains(&record.category), "{record:?}");
        }
    }
}

#[test]
fn shares_are_as_asked() {
    for (knob, condition) in [
        (Knob::Duplicates, Condition { duplicates: 0.5, ..Condition::default() }),
        (Knob::SwapAcross, Condition { swap_across: 0.5, ..Condition::default() }),
        (Knob::SwapWithin, Condition { swap_within: 0.5, ..Condition::default() }),
        (Knob::Junk, Condition { junk: 0.5, ..Condition::default() }),
        (Knob::BadClients, Condition { bad_clients: 0.5, ..Condition::default() }),
    ] {
        for seed in 0..5 {
            let (_, truth) = apply(&condition, seed);
            assert_eq!(truth.reached, [Reached { knob, asked: 0.5, reached: 0.5 }]);
            let marked = truth.records.values().filter(|r| r.flaw.is_some() || r.copy_of.is_some()).count();
            assert_eq!(marked, 80);
        }
    }
}

#[test]
fn knobs_do_not_move_each_others_draws() {
    let across = |flaw| flaw == Flaw::Swapped(Swap::Across);
    let kinds = |truth: &Truth| -> BTreeMap<String, Flaw> {
        let junk = truth.records.iter().filter_map(|(id, r)| Some((id.clone(), r.flaw?)));
        junk.filter(|(_, flaw)| matches!(flaw, Flaw::Junk(_))).collect()
    };
    let (mixed, mix) = apply(&Condition::mix(), 4);
    let (copied, only_copies) = apply(&Condition { duplicates: 0.3, ..Condition::default() }, 4);
    assert_eq!(copies(&mix), copies(&only_copies));
    let prompts = |clients: &[ClientData]| {
        records(clients).map(|r| (r.instruction.clone(), r.input.clone(), r.category.clone())).collect::<Vec<_>>()
    };
    assert_eq!(prompts(&mixed), prompts(&copied));
    let (_, only_junk) = apply(&Condition { junk: 0.1, ..Condition::default() }, 4);
    assert_eq!(kinds(&mix), kinds(&only_junk));
    // Swaps look at tasks, so copies may move them, but junk does not, nor do bad clients those of others.
    let swaps = Condition { swap_across: 0.2, ..Condition::default() };
    let (_, only_swaps) = apply(&swaps, 4);
    let (_, with_junk) = apply(&Condition { junk: 0.1, ..swaps.clone() }, 4);
    assert_eq!(flawed(&only_swaps, across), flawed(&with_junk, across));
    let (swapped, _) = apply(&swaps, 4);
    let (with_bad, truth) = apply(&Condition { bad_clients: 0.25, ..swaps }, 4);
    let good = || (0..4).filter(|c| !truth.bad_clients.contains(&ClientId(*c))).map(|c| c as usize);
    assert_eq!(good().count(), 3);
    assert!(good().all(|c| swapped[c] == with_bad[c]));
    let (_, long) = apply(&Condition { length: 1.0, ..Condition::mix() }, 4);
    assert_eq!(copies(&mix), copies(&long));
    assert_eq!(long.records, mix.records);
    // A larger share takes what the smaller one took.
    let (_, more) = apply(&Condition { junk: 0.4, bad_clients: 0.5, duplicates: 0.6, ..Condition::default() }, 4);
    assert!(truth.bad_clients.is_subset(&more.bad_clients));
    assert!(copies(&mix).iter().all(|(id, original)| copies(&more).get(id) == Some(original)));
}

#[test]
fn flaws_exclude_each_other_and_bad_clients_come_last() {
    let condition = Condition { swap_across: 0.6, swap_within: 0.6, junk: 0.5, ..Condition::default() };
    let (_, truth) = apply_to(clients(&[&[20, 20, 20]]), &condition, 1);
    let shares: Vec<f64> = truth.reached.iter().map(|r| r.reached).collect();
    assert_eq!(shares[2], 0.5);
    assert!(shares[0] > 0.35 && shares.iter().sum::<f64>() <= 1.0, "{shares:?}");
    let (after, truth) = apply(&Condition { bad_clients: 1.0, ..all_knobs() }, 1);
    assert_eq!(truth.bad_clients.len(), 4);
    assert!(truth.records.values().all(|record| record.flaw == Some(Flaw::BadClient)));
    assert!(after.iter().all(|client| client.records.iter().all(|r| r.responses == client.records[0].responses)));
    assert_eq!((reached(&truth, Knob::Junk), reached(&truth, Knob::Duplicates)), (0.0, 0.3));
}

#[test]
fn metrics_count_what_is_true() {
    let record = |task: &str, copy_of: Option<&str>, flaw| RecordTruth {
        task: task.into(),
        family: task.into(),
        copy_of: copy_of.map(Into::into),
        flaw,
    };
    let records = [
        ("a", record("s", None, None)),
        ("b", record("s", Some("a"), None)),
        ("c", record("s", Some("a"), Some(Flaw::Junk(JunkKind::Echo)))),
        ("d", record("t", None, Some(Flaw::Swapped(Swap::Within)))),
        ("e", record("t", Some("z"), Some(Flaw::Swapped(Swap::Across)))),
        ("f", record("u", None, Some(Flaw::BadClient))),
    ];
    let records = records.into_iter().map(|(id, record)| (id.to_owned(), record)).collect();
    let truth = Truth { records, ..Truth::default() };
    let bad: Vec<&str> = ["a", "b", "c", "d", "e", "f", "x"].into_iter().filter(|id| truth.is_bad(id)).collect();
    assert_eq!(bad, ["c", "e", "f"]);
    assert_eq!(truth.distinct(["a", "b", "c"]), 1);
    assert_eq!(truth.distinct(["b", "d", "d", "e", "x"]), 4);
    assert_eq!(truth.tasks(["a", "b", "e", "x"]), 2);
    assert_eq!(truth.purity(["a", "c", "d", "d"]), 0.75);
    let none: [&str; 0] = [];
    assert_eq!((truth.distinct(none), truth.tasks(none), truth.purity(none)), (0, 0, 1.0));
    assert_eq!(truth.distinct(&["a".to_owned(), "d".to_owned()]), 2);
}

#[test]
fn the_smallest_federations_are_fine() {
    let most = Condition {
        duplicates: 0.99,
        tail: 3.0,
        swap_across: 1.0,
        swap_within: 1.0,
        junk: 1.0,
        bad_clients: 0.4,
        length: 2.0,
        ..Condition::default()
    };
    for generators in [JunkGenerators::Development, JunkGenerators::Confirmation] {
        let most = Condition { junk_generators: generators, ..most.clone() };
        let few: [&[&[usize]]; 3] = [&[&[1]], &[&[1], &[0, 1]], &[&[2]]];
        for data in few {
            for seed in 0..20 {
                let (after, truth) = apply_to(clients(data), &most, seed);
                assert!(records(&after).all(|r| !r.response().trim().is_empty()));
                assert_eq!(reached(&truth, Knob::Duplicates), 1.0);
                assert_eq!(reached(&truth, Knob::Junk), 1.0 - (truth.bad_clients.len() as f64 / data.len() as f64));
            }
        }
    }
    let truth = most.apply(&mut [], &Dataset::default(), Seed(1)).unwrap();
    assert!(truth.reached.iter().all(|reached| reached.reached == 0.0));
    let mut empty = [ClientData { client: ClientId(0), name: "x".into(), records: vec![] }];
    most.apply(&mut empty, &Dataset::default(), Seed(1)).unwrap();
    let (mut alone, _) = clients(&[&[1]]);
    most.apply(&mut alone, &Dataset::default(), Seed(1)).unwrap();
}

proptest! {
    #[test]
    fn whatever_is_asked_ids_order_and_counts_stay(
        sizes in proptest::collection::vec(proptest::collection::vec(0_usize..6, 1..4), 1..5),
        shares in proptest::array::uniform5(0.0..=1.0_f64), length in 0.0..3.0_f64, seed: u64, confirm: bool,
    ) {
        let sizes: Vec<&[usize]> = sizes.iter().map(Vec::as_slice).collect();
        let [duplicates, swap_across, swap_within, junk, bad_clients] = shares;
        let junk_generators = if confirm { JunkGenerators::Confirmation } else { JunkGenerators::Development };
        let duplicates = duplicates.min(0.999);
        let condition = Condition { duplicates, swap_across, swap_within, junk, bad_clients, length, junk_generators, ..Condition::default() };
        let (before, pool) = clients(&sizes);
        let (mut after, _) = clients(&sizes);
        let truth = condition.apply(&mut after, &pool, Seed(seed)).unwrap();
        let ids = |clients: &[ClientData]| records(clients).map(|r| r.id.clone()).collect::<Vec<_>>();
        prop_assert_eq!(ids(&before), ids(&after));
        prop_assert_eq!(truth.records.len(), pool.len());
        prop_assert!(truth.reached.iter().all(|r| r.reached.is_finite()));
        let most = |share: f64| before.iter().map(|c| (share * c.records.len() as f64).round() as usize).sum::<usize>();
        prop_assert!(flawed(&truth, |flaw| matches!(flaw, Flaw::Junk(_))).len() <= most(junk));
        prop_assert!(flawed(&truth, |flaw| flaw == Flaw::Swapped(Swap::Across)).len() <= most(swap_across));
        prop_assert_eq!(copies(&truth).len(), most(duplicates));
        for record in records(&after) {
            let told = &truth.records[&record.id];
            prop_assert_eq!((&told.task, &told.family), (&record.category, &record.family));
            prop_assert!(!record.responses.is_empty() && record.responses.iter().all(|r| !r.trim().is_empty()));
        }
    }
}

#[cfg(feature = "experiment")]
#[test]
fn the_embedded_tasks_take_every_condition() {
    let (mut pool, _) = crate::dataset::embedded::EmbeddedTasks::default().generate().unwrap();
    let condition = all_knobs();
    condition.thin(&mut pool, None, Seed(1)).unwrap();
    let by = crate::dataset::GroupBy::Category;
    let partition = crate::dataset::Partition::Dirichlet { clients: 20, alpha: 0.5, by, min_records: 10 };
    let mut clients = partition.deal(&pool, Seed(1)).unwrap();
    let before = clients.clone();
    let truth = condition.apply(&mut clients, &pool, Seed(1)).unwrap();
    assert_eq!(truth.records.len(), pool.len());
    assert_eq!(truth.bad_clients.len(), 5);
    for reached in &truth.reached {
        let lost = if matches!(reached.knob, Knob::Duplicates | Knob::BadClients) { 0.03 } else { 0.15 };
        assert!(reached.knob == Knob::Length || (reached.asked - reached.reached).abs() < lost, "{reached:?}");
    }
    // What is called a flaw is one.
    let own: BTreeMap<&str, &Record> = records(&before).map(|r| (r.id.as_str(), r)).collect();
    for record in records(&clients) {
        let told = &truth.records[&record.id];
        let right = &own[told.copy_of.as_deref().unwrap_or(&record.id)].responses;
        assert_eq!(told.flaw.is_some(), !right.contains(&record.responses[0]), "{record:?} {told:?}");
    }
}
