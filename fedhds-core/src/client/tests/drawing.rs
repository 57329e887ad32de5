//! Which records a client draws: by keys that stay the same in all rounds, and every record as likely as any other.
use super::super::*;
use crate::method::Preset;
use crate::protocol::{Ask, ClusterOrder};
use crate::types::{Round, Seed};
use std::collections::BTreeSet;

/// What a client of `random` with ten records trains on in these rounds, of which each orders so many.
fn drawn(seed: u64, client: u32, counts: &[u32]) -> Vec<Vec<RowId>> {
    let pipeline = Preset::Random.config().pipeline(1).unwrap();
    let mut client = Client::new(ClientId(client), &pipeline);
    let rounds = counts.iter().zip(0..).map(|(&count, round)| {
        let mut start = RoundStart::new(Round(round), Ask::Counts);
        start.sections.set(&RecordKeys(Seed(seed))).unwrap();
        let context = Context::new(Seed(seed).of_call(start.round, "client", client.id().0, "choose"));
        client.summarize(&start, &Matrix::zeros(10, 0), &context).unwrap();
        let order = ClusterOrder { cluster: ClusterId(0), count };
        let order = SelectionOrder::new(client.id(), start.round, vec![order]);
        let rows = client.choose(&order, &context).unwrap();
        client.mark_trained(rows.iter().copied());
        rows
    });
    rounds.collect()
}

#[test]
fn every_record_is_as_likely_in_every_round_and_none_comes_twice() {
    let mut counts = [[0; 10]; 2];
    for seed in 0..4000 {
        let rounds = drawn(seed, 3, &[3, 3]);
        assert_eq!(rounds.iter().flatten().collect::<BTreeSet<_>>().len(), 6);
        for (round, counts) in rounds.iter().zip(&mut counts) {
            round.iter().for_each(|row| counts[row.index()] += 1);
        }
    }
    // 1,200 expected for each, standard deviation 29.
    assert!(counts.iter().flatten().all(|&c| (1050..1350).contains(&c)), "{counts:?}");
}

#[test]
fn pairs_of_records_are_independent() {
    let mut both = 0;
    for seed in 0..4000 {
        let rows = &drawn(seed, 0, &[3])[0];
        both += usize::from(rows.contains(&RowId(0)) && rows.contains(&RowId(1)));
    }
    // 4,000 x 3/10 x 2/9 = 267, standard deviation 16.
    assert!((200..335).contains(&both), "{both}");
}

#[test]
fn methods_that_order_other_counts_share_records() {
    for seed in 0..20 {
        let (few, many) = (drawn(seed, 1, &[2, 2]), drawn(seed, 1, &[4, 1]));
        assert_eq!(few.iter().flatten().collect::<BTreeSet<_>>(), many[0].iter().collect());
        assert_ne!(drawn(seed, 1, &[4]), drawn(seed, 2, &[4]), "another client has other keys");
    }
}

#[test]
fn a_server_that_names_no_keys_leaves_the_draw_to_the_rounds_seed() {
    let pipeline = Preset::Random.config().pipeline(1).unwrap();
    let mut client = Client::new(ClientId(0), &pipeline);
    client.summarize(&RoundStart::new(Round(0), Ask::Counts), &Matrix::zeros(10, 0), &Context::new(1)).unwrap();
    let order = ClusterOrder { cluster: ClusterId(0), count: 3 };
    let order = SelectionOrder::new(ClientId(0), Round(0), vec![order]);
    let pick = |seed: u64| client.clone().choose(&order, &Context::new(seed)).unwrap();
    assert_eq!(pick(1), pick(1));
    assert!((2..9).any(|seed| pick(seed) != pick(1)));
}
