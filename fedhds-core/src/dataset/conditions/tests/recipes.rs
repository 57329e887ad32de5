//! What each recipe does to the records.

use super::*;

#[test]
fn copies_are_near_and_right() {
    let (before, _) = four();
    let (after, truth) = apply(&Condition { duplicates: 0.8, ..Condition::default() }, 5);
    let own: BTreeMap<&str, &Record> = records(&before).map(|r| (r.id.as_str(), r)).collect();
    let originals: BTreeSet<&str> = copies(&truth).into_values().collect();
    assert_eq!((copies(&truth).len(), originals.len()), (128, 8));
    for record in records(&after) {
        let Some(original) = truth.records[&record.id].copy_of.as_deref() else {
            assert_eq!(record, own[record.id.as_str()]);
            continue;
        };
        let original = own[original];
        assert_eq!(record.responses, original.responses);
        assert_eq!((&record.category, &record.family), (&original.category, &original.family));
        assert_eq!(truth.records[&record.id].task, original.category);
        assert_ne!((&record.instruction, &record.input), (&original.instruction, &original.input));
    }
    let ids: Vec<&str> = own.keys().copied().collect();
    let kept: BTreeSet<&str> = ids.iter().filter(|id| !copies(&truth).contains_key(*id)).copied().collect();
    assert_eq!(truth.distinct(&ids), kept.union(&originals).count());
    let texts: BTreeSet<_> = records(&after).map(|r| (&r.instruction, &r.input)).collect();
    assert!(texts.len() > 140, "{}", texts.len());
    // Originals are drawn by id, whoever holds them.
    let (mut others, pool) = clients(&[&[20, 10, 10], &[5, 30, 5], &[20, 20, 0], &[13, 13, 14]]);
    let all = others.drain(..).flat_map(|client| client.records).collect();
    let mut one = [ClientData { client: ClientId(0), name: "one".into(), records: all }];
    let again = Condition { duplicates: 0.8, ..Condition::default() }.apply(&mut one, &pool, Seed(5)).unwrap();
    assert_eq!(copies(&again).into_values().collect::<BTreeSet<_>>(), originals);
}

/// Of each record, the id of the one that its responses were of at first.
fn givers(before: &[ClientData], after: &[ClientData]) -> BTreeMap<String, String> {
    let of: BTreeMap<&Vec<String>, &String> = records(before).map(|r| (&r.responses, &r.id)).collect();
    records(after).map(|r| (r.id.clone(), of[&r.responses].clone())).collect()
}

#[test]
fn swaps_give_every_record_a_wrong_response_of_its_client() {
    let two = || clients(&[&[15, 15], &[8, 8, 8], &[1, 1]]);
    for (within, share) in [(false, 1.0), (false, 0.3), (true, 1.0), (true, 0.3)] {
        for seed in 0..20 {
            let mut condition = Condition::default();
            *(if within { &mut condition.swap_within } else { &mut condition.swap_across }) = share;
            let (after, truth) = apply_to(two(), &condition, seed);
            let (before, _) = two();
            let givers = givers(&before, &after);
            assert_eq!(givers.values().collect::<BTreeSet<_>>().len(), givers.len());
            for (client, data) in before.iter().enumerate() {
                for record in &data.records {
                    let giver = before[client].records.iter().find(|r| r.id == givers[&record.id]).unwrap();
                    match truth.flaw(&record.id) {
                        None => assert_eq!(giver.id, record.id),
                        Some(Flaw::Swapped(Swap::Across)) => assert_ne!(giver.category, record.category),
                        Some(flaw) => {
                            assert_eq!(flaw, Flaw::Swapped(Swap::Within));
                            assert_eq!(giver.category, record.category);
                            assert_ne!(giver.id, record.id);
                        }
                    }
                }
            }
            let possible = if within { 54 } else { 56 };
            let expected = if share == 1.0 {
                possible
            } else if within {
                9 + 7
            } else {
                8 + 7
            };
            // An odd number over two tasks is not possible, over pairs within tasks it may be.
            let count = flawed(&truth, |_| true).len();
            assert!(count == expected || (within && share < 1.0 && count + 1 == expected), "{count} of {expected}");
            assert!((reached(&truth, truth.reached[0].knob) - count as f64 / 56.0).abs() < 1e-12);
            assert_eq!(records(&after).filter(|r| truth.is_bad(&r.id)).count(), if within { 0 } else { count });
        }
    }
}

#[test]
fn a_task_with_most_of_the_records_is_deranged_as_far_as_it_goes() {
    let (after, truth) = apply_to(clients(&[&[30, 4, 2]]), &Condition { swap_across: 1.0, ..Condition::default() }, 1);
    assert_eq!(flawed(&truth, |_| true).len(), 12);
    assert!(records(&after).filter(|r| r.category != "task0").all(|r| truth.is_bad(&r.id)));
    let (before, _) = clients(&[&[12]]);
    let (after, truth) = apply_to(clients(&[&[12]]), &Condition { swap_across: 1.0, ..Condition::default() }, 1);
    assert_eq!((after, reached(&truth, Knob::SwapAcross)), (before, 0.0));
}

#[test]
fn equal_responses_are_not_swapped_for_each_other() {
    let yes_or_no = || {
        let (mut data, pool) = clients(&[&[10, 10]]);
        for (record, i) in data[0].records.iter_mut().zip(0..) {
            record.responses = vec![
                if i % 5 == 0 {
                    "No"
                } else if i % 2 == 0 {
                    "yes"
                } else {
                    " Yes"
                }
                .into(),
            ];
        }
        (data, pool)
    };
    for condition in
        [Condition { swap_across: 1.0, ..Condition::default() }, Condition { swap_within: 1.0, ..Condition::default() }]
    {
        let (before, _) = yes_or_no();
        let (after, truth) = apply_to(yes_or_no(), &condition, 1);
        assert_eq!(flawed(&truth, |_| true).len(), 8);
        for (before, after) in records(&before).zip(records(&after)) {
            let text = |record: &Record| record.response().trim().to_lowercase();
            assert_eq!(truth.flaw(&before.id).is_some(), text(before) != text(after));
        }
    }
}

#[test]
fn junk_is_never_blank_never_right_and_of_its_set() {
    for (generators, other) in [
        (JunkGenerators::Development, JunkGenerators::Confirmation),
        (JunkGenerators::Confirmation, JunkGenerators::Development),
    ] {
        assert!(generators.kinds().iter().all(|kind| !other.kinds().contains(kind)));
        let condition = Condition { junk: 1.0, junk_generators: generators, ..Condition::default() };
        let odd = || {
            let (mut data, pool) = four();
            for (record, text) in data[0].records.iter_mut().zip(["5", "aa", "é", "no", "a b", "", "one two three"]) {
                record.responses = vec![text.into()];
            }
            (data, pool)
        };
        let (before, _) = odd();
        let mut kinds = BTreeMap::<JunkKind, usize>::new();
        for seed in 0..10 {
            let (after, truth) = apply_to(odd(), &condition, seed);
            for (before, after) in records(&before).zip(records(&after)) {
                let Some(Flaw::Junk(kind)) = truth.flaw(&after.id) else { panic!("{after:?}") };
                *kinds.entry(kind).or_default() += 1;
                assert_eq!(after.responses.len(), 1);
                assert!(!after.response().trim().is_empty());
                assert!(!before.responses.contains(&after.responses[0]), "{before:?} {after:?}");
                assert_eq!((&before.instruction, &before.input), (&after.instruction, &after.input));
                match kind {
                    JunkKind::FirstThird => assert!(before.response().starts_with(after.response())),
                    JunkKind::LastHalf => assert!(before.response().ends_with(after.response())),
                    JunkKind::Scrambled => assert_eq!(before.response().len(), after.response().len()),
                    _ => {}
                }
            }
        }
        assert_eq!(kinds.keys().collect::<BTreeSet<_>>(), generators.kinds().iter().collect());
        assert!(kinds.values().all(|count| *count > 200), "{kinds:?}");
    }
}

#[test]
fn the_tail_follows_zipf_as_far_as_tasks_have_records() {
    let (_, pool) = clients(&[&[40; 10]]);
    for (exponent, least) in [(0.5, 0.7), (1.0, 0.5), (2.0, 0.15), (1e300, 0.1)] {
        let mut thin = pool.clone();
        let condition = Condition { tail: exponent, ..Condition::default() };
        let got = condition.thin(&mut thin, None, Seed(3)).unwrap();
        let kept = thin.len() as f64 / 400.0;
        assert_eq!(got, [Reached { knob: Knob::Tail, asked: exponent, reached: kept }]);
        assert!(kept >= least && kept < 1.0, "{exponent}: {kept}");
        let mut sizes: Vec<usize> = thin.by_category().into_values().map(|rows| rows.len()).collect();
        sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
        let sum: f64 = (1..=10).map(|rank| f64::from(rank).powf(-exponent)).sum();
        let wanted =
            (1..=10).map(|rank| ((400.0 * f64::from(rank).powf(-exponent) / sum).round() as usize).clamp(1, 40));
        assert_eq!(sizes, wanted.collect::<Vec<_>>());
        let mut rest = pool.records.iter();
        assert!(thin.records.iter().all(|record| rest.any(|other| other == record)));
    }
    let largest = |seed| {
        let mut thin = pool.clone();
        Condition { tail: 2.0, ..Condition::default() }.thin(&mut thin, None, Seed(seed)).unwrap();
        thin.by_category().into_iter().max_by_key(|(_, rows)| rows.len()).unwrap().0.to_owned()
    };
    assert!((0..10).map(largest).collect::<BTreeSet<_>>().len() > 2);
    // Where there are more records than asked for, the first rank is whole and all are there, but for rounding.
    let mut thin = pool.clone();
    let got = Condition { tail: 1.0, ..Condition::default() }.thin(&mut thin, Some(100), Seed(3)).unwrap();
    let mut sizes: Vec<usize> = thin.by_category().into_values().map(|rows| rows.len()).collect();
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
    assert_eq!(sizes, [34, 17, 11, 9, 7, 6, 5, 4, 4, 3]);
    assert_eq!(got[0].reached, 1.0);
    let mut none = Dataset::default();
    assert_eq!(Condition::mix().thin(&mut none, None, Seed(1)).unwrap()[0].reached, 0.0);
}

#[test]
fn longer_clients_ask_the_same() {
    let many = || clients(&[&[6][..]; 40]);
    let (before, _) = many();
    let (after, truth) = apply_to(many(), &Condition { length: 1.0, ..Condition::default() }, 1);
    let chars = |r: &Record| (r.instruction.chars().count() + r.input.chars().count()) as f64;
    let mut factors = Vec::new();
    for (before, after) in before.iter().zip(&after) {
        for (before, after) in before.records.iter().zip(&after.records) {
            assert!(after.instruction.ends_with(&before.instruction));
            assert_eq!((&before.input, &before.responses), (&after.input, &after.responses));
        }
        let mean = |data: &ClientData| data.records.iter().map(chars).sum::<f64>();
        factors.push(mean(after) / mean(before));
    }
    assert!(factors.iter().all(|factor| (1.0..=8.0).contains(factor)), "{factors:?}");
    // Half of the factors are below 1 and so are clipped.
    let longer = factors.iter().filter(|factor| **factor > 1.3).count();
    assert!((8..=24).contains(&longer), "{longer}");
    assert!(factors.iter().any(|factor| *factor > 3.0));
    assert!((0.3..1.0).contains(&reached(&truth, Knob::Length)), "{:?}", truth.reached);
    let (_, truth) = apply_to(many(), &Condition { length: f64::MAX, ..Condition::default() }, 1);
    assert!((0.9..1.1).contains(&reached(&truth, Knob::Length)), "{:?}", truth.reached);
}
