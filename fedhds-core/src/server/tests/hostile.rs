//! Clients that claim, send and name what no honest client does: generated, against every way a round is selected and joined.

use super::*;
use crate::aggregate::AggregatorConfig;
use crate::method::{Limits, MethodConfig};
use crate::protocol::{GroupScores, GroupTokens, HEADER_BYTES};
use crate::types::Scores;

/// Configurations that choose to a budget within a share cap, and how the budget follows.
const METHODS: [&str; 12] = [
    "preset = \"random\"\nserver.share_cap = 1.5\ncount = { budget = 20 }",
    "preset = \"random\"\nserver.share_cap = 1.5\ncount = { ratio = 0.2 }",
    "preset = \"stratified\"\nserver.share_cap = 1.5\ncount = { budget = 20 }",
    "preset = \"stratified\"\nserver.share_cap = 1.5\ncount = { ratio = 0.2 }",
    "preset = \"all\"\nserver.share_cap = 1.5",
    "preset = \"fedhds_shared\"\nclient.shared_dims = 4\ncount = { budget = 20 }",
    "preset = \"fedhds_shared\"\nclient.shared_dims = 4\ncount = { ratio = 0.2 }",
    "preset = \"fedhds_coverage\"\nclient.shared_dims = 4\ncount = { budget = 20 }",
    "preset = \"fedhds_coverage\"\nclient.shared_dims = 4\nserver.memory = \"coverage\"\ncount = { budget = 20 }",
    "preset = \"fedhds_robust\"\nclient.shared_dims = 4\ncount = { budget = 20 }",
    "preset = \"fedhds_robust\"\nclient.shared_dims = 4\nserver.gate = \"none\"\ncount = { ratio = 0.2 }",
    "preset = \"fedhds_robust\"\nclient.shared_dims = 4\ncount = { budget = { tokens = 4000 } }",
];

fn method(at: usize) -> Pipeline {
    MethodConfig::from_toml_str(METHODS[at]).unwrap().pipeline(1).unwrap()
}

/// A summary of these groups, `(size, place)`, as the method asks for it.
fn claims(pipeline: &Pipeline, client: u32, groups: &[(u32, [f32; 4])], tokens: f32) -> ClientSummary {
    let counts = pipeline.ask() == Ask::Counts;
    let groups = if counts { &groups[..1] } else { groups };
    let sizes = groups.iter().zip(0..).map(|(group, id)| Group { cluster: ClusterId(id), size: group.0 }).collect();
    let places: Vec<[f32; 4]> = groups.iter().map(|group| group.1).collect();
    let centroids = if counts { Matrix::zeros(1, 0) } else { Matrix::from_rows(&places).unwrap() };
    let mut summary = ClientSummary::new(ClientId(client), Round(0), sizes, centroids);
    if pipeline.server.count.tokens().is_some() {
        summary.sections.set(&GroupTokens(vec![tokens; groups.len()])).unwrap();
    }
    summary
}

fn honest(pipeline: &Pipeline, client: u32) -> ClientSummary {
    let place = |at: u32| [at as f32 + 1.0, client as f32 + 1.0, (at * client) as f32, 2.0];
    claims(pipeline, client, &[(20, place(0)), (30, place(1)), (25, place(2))], 30.0)
}

/// Kinds that take an adapter whose tensors are no pairs of factors.
const ALONE: [&str; 10] = [
    "weighted_mean",
    "fedavgm",
    "fedadam",
    "norm_bound",
    "centred_clipping",
    "coordinate_median",
    "trimmed_mean",
    "multi_krum",
    "geometric_median",
    "nnm",
];

/// A value from anywhere in f32's range.
fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => -10.0f32..10.0, 1 => Just(0.0), 1 => Just(f32::MAX), 1 => Just(f32::MIN), 1 => Just(f32::MIN_POSITIVE),
        1 => Just(3e38), 1 => Just(-1e30), 1 => Just(1e-45),
    ]
}

/// Groups that a hostile client may claim: few or many, huge or tiny, far, equal or in one place.
fn any_claims() -> impl Strategy<Value = Vec<(u32, [f32; 4])>> {
    let size = prop_oneof![Just(1u32), Just(1_000_000), Just(1 << 24), 1u32..5000, (0u32..24).prop_map(|k| 1 << k)];
    let place = [any_value(), any_value(), any_value(), any_value()];
    (prop::collection::vec((size, place), 1..40), any::<bool>()).prop_map(|(mut groups, one_place)| {
        let first = groups[0].1;
        // Together at most what a message may claim.
        let mut left = 1u32 << 24;
        groups.iter_mut().for_each(|(size, place)| {
            *size = (*size).min(left / 2).max(1);
            left -= (*size).min(left);
            *place = if one_place { first } else { *place };
        });
        groups
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_claim_takes_more_than_the_cap_or_ends_the_selection(
        which in 0usize..METHODS.len(), hostile in prop::collection::vec((any_claims(), 1.0f32..1e7), 1..3), seed in 0u64..99,
    ) {
        let pipeline = method(which);
        let mut server = server(pipeline.clone());
        let clients = 6u32;
        server.begin_round(Round(0), &ids(0..clients), Some(&global())).unwrap();
        let first = clients - hostile.len() as u32;
        (0..first).for_each(|client| {
            sum(&mut server, honest(&pipeline, client)).unwrap();
        });
        for (client, (groups, tokens)) in (first..).zip(&hostile) {
            // Whatever becomes of it, the others go on.
            let _ = sum(&mut server, claims(&pipeline, client, groups, *tokens));
        }
        let orders = server.select(&Context::new(seed)).unwrap();
        let all: usize = orders.values().map(SelectionOrder::records).sum();
        prop_assert!(all > 0);
        let selection = server.selection().unwrap();
        for (client, order) in &orders {
            match selection.tokens.is_empty() {
                true => {
                    let most = (1.5 * f64::from(selection.asked) / f64::from(clients)).ceil();
                    prop_assert!(order.records() as f64 <= most, "{client}: {} of {all}, {most}", order.records());
                    prop_assert!(order.records() as f64 <= 1.0 + (1.5 * 450.0 / 6.0 * 2.0f64), "{client}: {}", order.records());
                }
                false => prop_assert!(selection.tokens_of(*client).unwrap_or(0) <= 1000),
            }
        }
        // Who claims to have trained on more than was ordered is refused, and weighs at most what was ordered.
        for (&client, order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
            let most = server.most_records(client) as u32;
            for claim in [most + 1, u32::MAX, 1 << 24] {
                prop_assert!(upd(&mut server, LocalUpdate::new(client, Round(0), claim.max(most + 1), adapter(9.0))).is_err());
            }
            upd(&mut server, LocalUpdate::new(client, Round(0), order.records().min(most as usize) as u32, adapter(1.0))).unwrap();
        }
        let finished = server.finish_round().unwrap();
        prop_assert_eq!(finished.adapter.unwrap().tensors["lora_A"].data[0], 1.0);
        for (client, weight) in finished.report.aggregation.weights {
            let most = orders[&client].records() as f64 / all as f64;
            prop_assert!(weight <= most + 1e-12, "{client}: {weight} of {most}");
        }
    }

    #[test]
    fn whatever_clients_send_the_adapter_stays_finite_and_within_its_step(
        values in prop::collection::vec((any_value(), any_value()), 3..7), from in any_value(), aggregator in 0..ALONE.len(),
    ) {
        let kind = ALONE[aggregator];
        let aggregator = toml::from_str::<AggregatorConfig>(&format!("kind = \"{kind}\"")).unwrap().build().unwrap();
        let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(5), aggregator).unwrap();
        let two = |a: f32, b: f32| {
            let tensor = AdapterTensor { shape: [1, 2], data: vec![a, b] };
            Adapter { tensors: [("lora_A".to_owned(), tensor)].into(), ..Adapter::default() }
        };
        let mut global = two(from, 1.0);
        for round in 0..3 {
            let n = values.len() as u32;
            server.begin_round(Round(round), &ids(0..n), Some(&global)).unwrap();
            (0..n).for_each(|client| {
                sum(&mut server, ClientSummary { round: Round(round), ..summary(client, 0, &[(client as f32, 3)]) }).unwrap();
            });
            server.select(&Context::new(1)).unwrap();
            for (client, &(a, b)) in (0..n).zip(&values) {
                let _ = upd(&mut server, LocalUpdate::new(ClientId(client), Round(round), 1, two(a, b)));
            }
            let finished = server.finish_round().unwrap();
            let json = serde_json::to_string(&finished.report).unwrap();
            prop_assert_eq!(serde_json::from_str::<RoundReport>(&json).unwrap(), finished.report);
            if let Some(adapter) = finished.adapter {
                prop_assert!(adapter.tensors["lora_A"].data.iter().all(|value| value.is_finite()), "{kind}: {adapter:?}");
                global = adapter;
            }
            let state = ServerState::from_bytes(&server.state().unwrap().to_bytes().unwrap()).unwrap();
            let aggregator = toml::from_str::<AggregatorConfig>(&format!("kind = \"{kind}\"")).unwrap().build().unwrap();
            server = Server::new(by_whole_part(Count::PerCluster), Seed(5), aggregator).unwrap();
            server.resume(state, None).unwrap();
        }
        // And it still learns.
        server.begin_round(Round(9), &ids(0..3), Some(&global)).unwrap();
        (0..3).for_each(|client| {
            sum(&mut server, ClientSummary { round: Round(9), ..summary(client, 0, &[(client as f32, 3)]) }).unwrap();
        });
        server.select(&Context::new(1)).unwrap();
        (0..3).for_each(|client| {
            upd(&mut server, LocalUpdate::new(ClientId(client), Round(9), 1, two(0.5, 0.5))).unwrap();
        });
        let report = server.finish_round().unwrap().report;
        prop_assert_eq!(report.trained.len(), 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_factors_clients_send_every_aggregator_stays_finite_and_learns(
        values in prop::collection::vec((any_value(), any_value()), 3..6), from in any_value(),
    ) {
        let pair = |a: f32, b: [f32; 2]| {
            let tensor = |shape, data: [f32; 2]| AdapterTensor { shape, data: data.to_vec() };
            let tensors = [("q.lora_A".to_owned(), tensor([1, 2], [a, 1.0])), ("q.lora_B".to_owned(), tensor([2, 1], b))];
            Adapter { tensors: tensors.into(), ..Adapter::default() }
        };
        for kind in AggregatorConfig::KINDS {
            let aggregator = toml::from_str::<AggregatorConfig>(&format!("kind = \"{kind}\"")).unwrap().build().unwrap();
            let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(5), aggregator).unwrap();
            let mut global = pair(1.0, [from, 0.0]);
            let n = values.len() as u32;
            for round in 0..3 {
                server.begin_round(Round(round), &ids(0..n), Some(&global)).unwrap();
                (0..n).for_each(|client| {
                    sum(&mut server, ClientSummary { round: Round(round), ..summary(client, 0, &[(client as f32, 3)]) }).unwrap();
                });
                server.select(&Context::new(1)).unwrap();
                let factors = server.factors().unwrap();
                for (client, &(a, b)) in (0..n).zip(&values) {
                    // What the last round sends is a client's that trains.
                    let mut sent = if round < 2 { pair(a, [b, a]) } else { pair(0.5, [0.5, 0.25]) };
                    sent.tensors.retain(|name, _| factors.trains(name));
                    let _ = upd(&mut server, LocalUpdate::new(ClientId(client), Round(round), 1, sent));
                }
                let finished = server.finish_round().unwrap();
                let json = serde_json::to_string(&finished.report).unwrap();
                prop_assert_eq!(&serde_json::from_str::<RoundReport>(&json).unwrap(), &finished.report);
                if round == 2 {
                    prop_assert_eq!(finished.report.trained.len(), values.len(), "{}", kind);
                }
                if let Some(adapter) = finished.adapter {
                    prop_assert!(adapter.tensors.values().flat_map(|t| &t.data).all(|value| value.is_finite()), "{kind}: {adapter:?}");
                    global = adapter;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_width_of_most_decides_whoever_comes_first(
        (widths, order) in prop::collection::vec(1usize..4, 1..9)
            .prop_flat_map(|widths| { let n = widths.len(); (Just(widths), Just((0..n).collect::<Vec<_>>()).prop_shuffle()) }),
    ) {
        let mut server = server(by_whole_part(Count::PerCluster));
        server.begin_round(Round(0), &ids(0..widths.len() as u32), None).unwrap();
        for client in order {
            let centroids = Matrix::new(1, widths[client], vec![client as f32; widths[client]]).unwrap();
            sum(&mut server, ClientSummary { centroids, ..summary(client as u32, 0, &[(1.0, 1)]) }).unwrap();
        }
        let orders = server.select(&Context::new(1)).unwrap();
        let count = |width: usize| widths.iter().filter(|&&other| other == width).count();
        let most = (1..4).rev().max_by_key(|&width| count(width)).unwrap();
        let report = server.end_round(&BTreeMap::new()).unwrap();
        for (client, &width) in (0..).map(ClientId).zip(&widths) {
            prop_assert_eq!(orders.contains_key(&client), width == most, "{:?}: {}", widths, client);
            let why = report.left_out.get(&client);
            prop_assert!(why.map_or(width == most, |why| why.contains(&format!("client {client}: "))), "{:?}", why);
        }
    }
}

#[test]
fn five_huge_claims_do_not_end_a_random_selection() {
    let limits = Limits { max_group_records: u32::MAX, ..Limits::default() };
    for count in [Count::Budget(9), Count::Ratio(1e-6)] {
        let mut pipeline = featureless(Random, count);
        pipeline.server.limits = limits.clone();
        let mut server = server(pipeline);
        server.begin_round(Round(0), &ids(0..7), None).unwrap();
        (0..5).for_each(|client| {
            sum(&mut server, counts(client, 1 << 24)).unwrap();
        });
        (5..7).for_each(|client| {
            sum(&mut server, counts(client, 20)).unwrap();
        });
        let orders = server.select(&Context::new(3)).unwrap();
        assert!(orders.values().map(SelectionOrder::records).sum::<usize>() >= 9);
    }
}

#[test]
fn one_far_update_is_drawn_back_and_says_so() {
    let mut server = training(5);
    for (client, value) in [(0, 1.0), (1, 1e30), (2, 2.0), (3, 1.0), (4, 3.0)] {
        upd(&mut server, update(client, 1, value)).unwrap();
    }
    let finished = server.finish_round().unwrap();
    let mean = finished.adapter.unwrap().tensors["lora_A"].data[0];
    // 10,000 times the median, 2, and the others.
    assert!((mean - (20_000.0 + 7.0) / 5.0).abs() < 0.1, "{mean}");
    let limited = &finished.report.aggregation.limited;
    assert_eq!(limited.keys().collect::<Vec<_>>(), [&ClientId(1)]);
    assert!(limited[&ClientId(1)].contains("1.000e30") && limited[&ClientId(1)].contains("2.000e4"), "{limited:?}");
}

#[test]
fn the_step_may_be_bounded_closer() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.limits.max_step = 2.0;
    let mut server = server(pipeline);
    server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    (0..3).for_each(|client| {
        sum(&mut server, summary(client, 0, &[(client as f32, 3)])).unwrap();
    });
    server.select(&Context::new(1)).unwrap();
    [1.0, -1.0, 60.0].iter().zip(0..).for_each(|(value, client)| {
        upd(&mut server, update(client, 1, *value)).unwrap();
    });
    let adapter = server.finish_round().unwrap().adapter.unwrap();
    assert!((adapter.tensors["lora_A"].data[0] - 2.0 / 3.0).abs() < 1e-6);
}

#[test]
fn an_aggregator_that_panics_on_one_update_leaves_out_its_client() {
    struct Panics(WeightedMean);
    impl Aggregator for Panics {
        fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
            self.0.begin(global, round)
        }
        fn add(&mut self, update: &crate::stage::ClientUpdate) -> Result<()> {
            match update.client {
                ClientId(1) => panic!("index out of bounds"),
                _ => self.0.add(update),
            }
        }
        fn finish(&mut self) -> Result<Aggregated> {
            let mut aggregated = self.0.finish()?;
            aggregated.report.measures.insert("mine".into(), f64::NAN);
            aggregated.report.measures.insert("yours".into(), 2.0);
            Ok(aggregated)
        }
        fn state(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn resume(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn memory(&self, _: usize, _: usize) -> u64 {
            0
        }
    }
    let aggregator = Box::new(Panics(WeightedMean::new()));
    let mut server = Server::new(by_whole_part(Count::PerCluster), Seed(5), aggregator).unwrap();
    server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    (0..3).for_each(|client| {
        sum(&mut server, summary(client, 0, &[(client as f32, 3)])).unwrap();
    });
    server.select(&Context::new(1)).unwrap();
    upd(&mut server, update(0, 1, 1.0)).unwrap();
    upd(&mut server, update(2, 1, 3.0)).unwrap();
    let error = upd(&mut server, update(1, 1, 8.0)).unwrap_err().to_string();
    assert!(error.contains("stage `aggregator`: client 1: it panicked: index out of bounds"), "{error}");
    let finished = server.finish_round().unwrap();
    assert_eq!(finished.adapter.unwrap().tensors["lora_A"].data[0], 2.0);
    assert_eq!(finished.report.left_out.keys().collect::<Vec<_>>(), [&ClientId(1)]);
    let measures = &finished.report.aggregation.measures;
    assert_eq!(measures.iter().collect::<Vec<_>>(), [(&"yours".to_owned(), &2.0)], "JSON has no NaN");
}

#[test]
fn a_selector_that_panics_is_an_error_and_the_round_stays() {
    struct Panics;
    impl Selector for Panics {
        fn select(&self, _: &Rows<'_>, _: Budget, _: &Context) -> Result<Vec<RowId>> {
            panic!("no rows for me")
        }
        fn uses_groups(&self) -> bool {
            true
        }
    }
    let mut pipeline = by_whole_part(Count::Budget(2));
    pipeline.server.selector = Arc::new(Panics);
    let mut server = server(pipeline);
    server.begin_round(Round(0), &ids(0..1), Some(&global())).unwrap();
    sum(&mut server, summary(0, 0, &[(1.0, 4), (2.0, 4)])).unwrap();
    assert!(server.select(&Context::new(1)).unwrap_err().to_string().contains("no rows for me"));
    assert!(server.state().unwrap().selection.is_none(), "the phase stays");
    server.abandon_round();
}

#[test]
fn too_many_groups_leave_out_who_sent_most() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.limits = Limits { max_groups: 5, max_round_groups: 8, ..Limits::default() };
    let mut server = server(pipeline);
    server.begin_round(Round(0), &ids(0..5), None).unwrap();
    let groups = |n: usize| (0..n).map(|at| (at as f32, 1)).collect::<Vec<_>>();
    for (client, n) in [(0, 2), (1, 5), (2, 2), (3, 5), (4, 1)] {
        sum(&mut server, summary(client, 0, &groups(n))).unwrap();
    }
    server.select(&Context::new(1)).unwrap();
    let report = server.end_round(&BTreeMap::new()).unwrap();
    assert_eq!(report.left_out.keys().map(|client| client.0).collect::<Vec<_>>(), [1, 3]);
    assert!(report.left_out[&ClientId(3)].contains("at most 8, got 15, 5 of them of this client"), "{report:?}");
}

#[test]
fn what_a_client_sends_unasked_is_refused_or_not_looked_at() {
    let mut plain = server(featureless(Random, Count::Budget(3)));
    plain.begin_round(Round(0), &ids(0..2), None).unwrap();
    let two = (0..2).map(|id| Group { cluster: ClusterId(id), size: 3 }).collect();
    let two = ClientSummary::new(ClientId(0), Round(0), two, Matrix::zeros(2, 0));
    protocol_error(sum(&mut plain, two), "expected one group");
    let mut grouped = server(by_whole_part(Count::PerCluster));
    grouped.begin_round(Round(0), &ids(0..2), None).unwrap();
    let placeless = ClientSummary { centroids: Matrix::zeros(1, 0), ..summary(0, 0, &[(1.0, 1)]) };
    protocol_error(sum(&mut grouped, placeless), "at least one coordinate");
    // Names of scores that nobody asked for, another for each client, make no columns.
    for client in 0..2 {
        let mut named = summary(client, 0, &[(client as f32, 1)]);
        let scores = Scores::new([format!("mine {client}")], Matrix::zeros(1, 1)).unwrap();
        named.sections.set(&GroupScores(scores)).unwrap();
        sum(&mut grouped, named).unwrap();
    }
    grouped.select(&Context::new(1)).unwrap();
}

#[test]
fn a_message_longer_than_any_can_be_is_refused_before_it_is_read() {
    let mut server = training(2);
    let long = |kind: Kind| {
        let mut bytes = vec![0u8; 4 << 20];
        bytes[..HEADER_BYTES].copy_from_slice(&[MAGIC[0], MAGIC[1], PROTOCOL_VERSION, kind.byte()]);
        bytes
    };
    protocol_error(server.receive(ClientId(0), &long(Kind::LocalUpdate)), "client 0: message: expected at most");
    let mut plain = super::server(featureless(Random, Count::Budget(3)));
    plain.begin_round(Round(0), &ids(0..2), None).unwrap();
    protocol_error(plain.receive(ClientId(1), &long(Kind::ClientSummary)), "client 1: message: expected at most");
}

#[test]
fn what_a_client_names_is_repeated_bounded_and_on_one_line() {
    let mut server = training(2);
    let name = format!("{}\n\u{1b}[2Jclient 1: fine", "x".repeat(100_000));
    let mut bad = update(0, 1, 1.0);
    bad.adapter.tensors.insert(name, AdapterTensor { shape: [1, 1], data: vec![1.0] });
    let error = upd(&mut server, bad).unwrap_err().to_string();
    assert!(error.len() < 1500 && !error.contains(char::is_control), "{} bytes", error.len());
    let left = server.leave_out(ClientId(1), Error::stage("transport", "gone\r\nclient 0: fine\u{202e}"));
    assert!(!left.to_string().contains(['\r', '\n', '\u{202e}']));
    let report = server.finish_round().unwrap().report;
    assert!(report.left_out.values().all(|why| why.len() < 450 && !why.contains(char::is_control)), "{report:?}");
}

#[test]
fn a_saved_state_whose_selection_is_of_other_groups_is_refused() {
    let state = training(2).state().unwrap();
    let refused = |spoil: &dyn Fn(&mut Selection)| {
        let mut state = state.clone();
        spoil(state.selection.as_mut().unwrap());
        let result = server(by_whole_part(Count::PerCluster)).resume(state, Some(&global()));
        protocol_error(result, "a selection of the summaries' groups");
    };
    refused(&|selection| selection.groups[0].records = u32::MAX);
    refused(&|selection| selection.groups[0].client = ClientId(9));
    refused(&|selection| selection.groups[0].cluster = ClusterId(9));
    refused(&|selection| selection.groups.reverse());
    let mut broken = state.clone();
    broken.summaries.get_mut(&ClientId(0)).unwrap().centroids.row_mut(0)[0] = f32::NAN;
    protocol_error(server(by_whole_part(Count::PerCluster)).resume(broken, Some(&global())), "finite");
    let result = server(by_whole_part(Count::PerCluster)).resume(state, Some(&adapter(f32::NAN)));
    assert!(result.unwrap_err().to_string().contains("finite values"));
}
