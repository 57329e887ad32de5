use super::super::WeightedMean;
use super::super::testing::{A, B, apart, layer, norm, products, random, round, target, updates};
use super::*;
use faer::Mat;
use proptest::prelude::*;

fn plain() -> FlexLora {
    FlexLora::new(&FlexLoraConfig::default())
}

/// An adapter of zeros of this rank for layers of `m x n`.
fn zeros(r: usize, [m, n]: [usize; 2]) -> Adapter {
    let mut adapter = random(r, r as f32, [m, n], 9);
    adapter.tensors.values_mut().for_each(|tensor| tensor.data.fill(0.0));
    adapter
}

fn joined(global: &Adapter, updates: &[ClientUpdate]) -> Vec<Mat<f64>> {
    products(&round(&mut plain(), 0, global, updates).adapter.unwrap())
}

/// The same update in other coordinates: `B G` and `G^-1 A` for `G = [[2, 1], [0, 1/2]]`.
fn other_gauge(adapter: &Adapter) -> Adapter {
    let mut other = adapter.clone();
    for (name, tensor) in &mut other.tensors {
        let cols = tensor.shape[1];
        match name.contains("lora_A") {
            true => {
                let (first, second) = tensor.data.split_at_mut(cols);
                first.iter_mut().zip(second).for_each(|(x, y)| (*x, *y) = (0.5 * *x - *y, 2.0 * *y));
            }
            false => tensor.data.chunks_exact_mut(2).for_each(|row| {
                let (x, y) = (row[0], row[1]);
                (row[0], row[1]) = (2.0 * x, x + 0.5 * y);
            }),
        }
    }
    other
}

#[test]
fn two_clients_on_two_axes() {
    let (e1, e2) = (layer(1, &[1.0, 0.0], &[1.0, 0.0]), layer(1, &[0.0, 1.0], &[0.0, 1.0]));
    let both = updates([(e1.clone(), 3), (e2, 3)]);
    let half = Mat::from_fn(2, 2, |i, j| if i == j { 0.5 } else { 0.0 });
    assert!(apart(&target(&both), std::slice::from_ref(&half)) < 1e-12);
    // FedIT has .25 everywhere: it is .5 away from a target of length sqrt(.5).
    let mut fedit = WeightedMean::new();
    let mean = round(&mut fedit, 0, &e1, &both);
    assert!((mean.report.measures["product_error"] - 0.5f64.sqrt()).abs() < 1e-12);
    let mean = products(&mean.adapter.unwrap());
    assert!(apart(&mean, &[Mat::from_fn(2, 2, |_, _| 0.25)]) < 1e-6);
    assert!((norm(&[&mean[0] - &half]) - 0.5).abs() < 1e-6);
    // Rank 1 has one of two equal directions and leaves .5; rank 2 is exact.
    let one = round(&mut plain(), 0, &e1, &both);
    assert!((one.report.measures["product_error"] - 0.5f64.sqrt()).abs() < 1e-9);
    assert!((norm(&[&products(&one.adapter.unwrap())[0] - &half]) - 0.5).abs() < 1e-6);
    let two = round(&mut plain(), 0, &layer(2, &[0.0; 4], &[0.0; 4]), &both);
    assert!(two.report.measures["product_error"] < 1e-7);
    assert!(apart(&products(&two.adapter.unwrap()), &[half]) < 1e-6);
}

#[test]
fn the_sign_of_both_factors_is_no_difference_and_fedit_makes_one_of_it() {
    let (plus, minus) = (layer(1, &[1.0, 2.0], &[3.0, 4.0]), layer(1, &[-1.0, -2.0], &[-3.0, -4.0]));
    let both = updates([(plus.clone(), 1), (minus, 1)]);
    assert!(apart(&joined(&plus, &both), &products(&plus)) < 1e-6);
    let fedit = round(&mut WeightedMean::new(), 0, &plus, &both);
    assert_eq!(norm(&products(fedit.adapter.as_ref().unwrap())), 0.0);
    assert!((fedit.report.measures["product_error"] - 1.0).abs() < 1e-12, "all of it is lost");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    #[test]
    fn one_client_returns_its_own_product_and_equal_clients_change_nothing(
        r in 1usize..4, m in 1usize..7, n in 1usize..7, seed: u64, records in prop::collection::vec(1usize..9, 1..4),
    ) {
        let own = random(r, 3.0, [m, n], seed);
        let same = updates(records.into_iter().map(|records| (own.clone(), records)));
        prop_assert!(apart(&joined(&own, &same), &products(&own)) < 1e-5);
    }

    #[test]
    fn who_is_who_does_not_matter(m in 2usize..7, n in 2usize..7, seed: u64, records in prop::collection::vec(1usize..9, 2..5)) {
        let of = |at: usize| (random(2, 3.0, [m, n], seed.wrapping_add(at as u64)), records[at]);
        let forward = updates((0..records.len()).map(of));
        let backward = updates((0..records.len()).rev().map(of));
        let global = zeros(2, [m, n]);
        prop_assert!(apart(&joined(&global, &forward), &joined(&global, &backward)) < 1e-5);
    }

    #[test]
    fn how_a_product_is_split_does_not_matter_and_to_fedit_it_does(m in 3usize..7, n in 3usize..7, seed: u64) {
        let [first, second] = [0, 1].map(|at| random(2, 2.0, [m, n], seed.wrapping_add(at)));
        let clients = updates([(first.clone(), 2), (second.clone(), 1)]);
        let turned = updates([(first.clone(), 2), (other_gauge(&second), 1)]);
        prop_assert!(apart(&products(&other_gauge(&second)), &products(&second)) < 1e-5, "the same product");
        prop_assert!(apart(&joined(&first, &clients), &joined(&first, &turned)) < 1e-4);
        let fedit = |updates: &[ClientUpdate]| products(&round(&mut WeightedMean::new(), 0, &first, updates).adapter.unwrap());
        prop_assert!(apart(&fedit(&clients), &fedit(&turned)) > 1e-3, "documented: FedIT averages factors");
    }

    #[test]
    fn ranks_and_scales_of_their_own_come_to_the_dense_sum(
        clients in prop::collection::vec((1usize..4, 1f32..9.0, 1usize..9), 1..5), m in 2usize..8, n in 2usize..8, seed: u64,
    ) {
        let of = |(at, (r, alpha, records)): (u64, (usize, f32, usize))| (random(r, alpha, [m, n], seed.wrapping_add(at)), records);
        let rank: usize = clients.iter().map(|(r, ..)| r).sum();
        let clients = updates((0..).zip(clients).map(of));
        let finished = round(&mut plain(), 0, &zeros(rank, [m, n]), &clients);
        prop_assert!(finished.report.measures["product_error"] < 1e-6);
        prop_assert!(apart(&products(&finished.adapter.unwrap()), &target(&clients)) < 1e-5, "rank of the sum of ranks is exact");
        // And with less, nothing of that rank is nearer.
        let least = clients.iter().map(|update| update.adapter.config.r).max().unwrap();
        let finished = round(&mut plain(), 0, &zeros(least, [m, n]), &clients);
        let (got, whole) = (products(&finished.adapter.unwrap()), target(&clients));
        let lost: Vec<Mat<f64>> = got.iter().zip(&whole).map(|(got, whole)| whole - got).collect();
        let tail = |whole: &Mat<f64>| whole.singular_values().unwrap().iter().skip(least).map(|s| s * s).sum::<f64>();
        let best = whole.iter().map(tail).sum::<f64>().sqrt();
        prop_assert!((norm(&lost) - best).abs() < 1e-5 * norm(&whole).max(1.0), "{} {}", norm(&lost), best);
        prop_assert!((finished.report.measures["product_error"] - best / norm(&whole)).abs() < 1e-6);
    }
}

#[test]
fn after_a_round_of_zeros_it_can_still_learn() {
    let mut global = random(4, 8.0, [5, 6], 3);
    for (name, tensor) in &mut global.tensors {
        if name.contains("lora_B") {
            tensor.data.fill(0.0);
        }
    }
    // Even where A has died too.
    let mut dead = global.clone();
    dead.tensors.get_mut(A).unwrap().data.fill(0.0);
    for start in [global, dead] {
        let finished = round(&mut plain(), 4, &start, &updates([(start.clone(), 2), (start.clone(), 1)]));
        assert_eq!(finished.report.measures["product_error"], 0.0);
        let adapter = finished.adapter.unwrap();
        assert!(adapter.tensors[B].data.iter().all(|&b| b == 0.0));
        for row in adapter.tensors[A].data.chunks(6) {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((length - (1.0f32 / 3.0).sqrt()).abs() < 1e-5, "a row as long as a fresh one: {length}");
        }
        assert_eq!(
            adapter,
            round(&mut plain(), 4, &start, &updates([(start.clone(), 2), (start.clone(), 1)])).adapter.unwrap()
        );
    }
}

#[test]
fn a_rank_may_be_weighed_by_those_that_have_it() {
    let one = layer(1, &[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0]);
    let two = layer(2, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    let both = updates([(one, 3), (two.clone(), 1)]);
    let diagonal = |x: f64, y: f64| Mat::from_fn(3, 3, |i, j| if i == j { [x, y, 0.0][i] } else { 0.0 });
    assert!(apart(&joined(&two, &both), &[diagonal(1.0, 0.25)]) < 1e-6, "the second rank is diluted");
    let mut weighed = FlexLora::new(&FlexLoraConfig { rank_weights: true });
    let product = products(&round(&mut weighed, 0, &two, &both).adapter.unwrap());
    assert!(apart(&product, &[diagonal(1.0, 1.0)]) < 1e-6);
    let equal = updates([(random(2, 4.0, [4, 3], 1), 3), (random(2, 4.0, [4, 3], 2), 1)]);
    let start = random(2, 4.0, [4, 3], 3);
    assert!(apart(&products(&round(&mut weighed, 0, &start, &equal).adapter.unwrap()), &joined(&start, &equal)) < 1e-6);
}

#[test]
fn what_does_not_fit_is_named_and_what_overflows_is_not_taken() {
    let global = random(2, 2.0, [4, 3], 1);
    let says = |adapter: Adapter| {
        let mut aggregator = plain();
        aggregator.begin(&global, Round(0)).unwrap();
        aggregator.add(&ClientUpdate::new(ClientId(7), adapter, 1)).unwrap_err().to_string()
    };
    let larger = says(random(3, 2.0, [4, 3], 1));
    assert!(larger.contains("client 7: r`: expected 1 to 2") && larger.contains("got 3"), "{larger}");
    assert!(says(random(1, 0.0, [4, 3], 1)).contains("lora_alpha"));
    assert!(says(random(1, 2.0, [3, 4], 1)).contains("shape"));
    let mut lies = random(1, 2.0, [4, 3], 1);
    lies.config.r = 2;
    assert!(says(lies).contains("client 7: layers.0"), "the rank that it says is not the one that it has");
    let mut mean = WeightedMean::new();
    mean.begin(&global, Round(0)).unwrap();
    let refused = mean.add(&ClientUpdate::new(ClientId(7), random(1, 2.0, [4, 3], 1), 1)).unwrap_err().to_string();
    assert!(
        refused.contains("client 7: r") && refused.contains("expected 2") && refused.contains("got 1"),
        "{refused}"
    );
    let mut huge = global.clone();
    huge.tensors.values_mut().for_each(|tensor| tensor.data.fill(1e38));
    let finished = round(&mut plain(), 0, &global, &updates([(huge, 1)]));
    assert!(finished.adapter.is_none() && finished.report.discarded.unwrap().contains("not finite"));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let clients = updates((0..3).map(|at| (random(2, 3.0, [17, 23], at), at as usize + 1)));
    let global = random(2, 3.0, [17, 23], 9);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| round(&mut plain(), 0, &global, &clients))
    };
    let one = on(1);
    for threads in [2, 5] {
        assert_eq!(on(threads), one);
    }
}
