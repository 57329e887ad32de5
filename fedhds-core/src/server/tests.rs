use super::*;
use crate::aggregate::WeightedMean;
use crate::method::testing::{by_whole_part, column, summary};
use crate::method::{ClientStages, Count, Noise, ServerStages, SharedFrame};
use crate::protocol::{
    Ask, ClientSummary, ClusterOrder, Group, Kind, MAGIC, PROTOCOL_VERSION, RecordKeys, TrainedGroups, Wire,
};
use crate::select::{FacilityLocation, NearestCentroid, Random, Stratified};
use crate::stage::{Budget, Rows, Selector};
use crate::types::{AdapterConfig, AdapterTensor, ClusterId, Matrix, RowId};
use proptest::prelude::*;
use std::sync::Arc;

mod frozen;
mod hostile;
mod once;
mod ranks;
mod refusals;
mod tokens;
mod why;

fn server(pipeline: Pipeline) -> Server {
    Server::new(pipeline, Seed(5), Box::new(WeightedMean::new())).unwrap()
}

fn ids(clients: std::ops::Range<u32>) -> Vec<ClientId> {
    clients.map(ClientId).collect()
}

/// The message of this client, by its own connection.
fn hear<M: Wire>(server: &mut Server, from: u32, message: &M) -> Result<Kind> {
    let header = [&MAGIC[..], &[PROTOCOL_VERSION, M::KIND.byte()]].concat();
    // A client that does not check what it sends.
    server.receive(ClientId(from), &postcard::to_extend(message, header).unwrap())
}

fn sum(server: &mut Server, summary: ClientSummary) -> Result<Kind> {
    hear(server, summary.client.0, &summary)
}

fn upd(server: &mut Server, update: LocalUpdate) -> Result<Kind> {
    hear(server, update.client.0, &update)
}

type Orders = Vec<(u32, Vec<(u32, u32)>)>;

fn plain(orders: &BTreeMap<ClientId, SelectionOrder>) -> Orders {
    let clusters = |o: &SelectionOrder| o.clusters.iter().map(|c| (c.cluster.0, c.count)).collect();
    orders.iter().map(|(client, order)| (client.0, clusters(order))).collect()
}

/// One round over these summaries.
fn run(pipeline: Pipeline, summaries: &[ClientSummary]) -> Orders {
    let mut server = server(pipeline);
    let clients: Vec<ClientId> = summaries.iter().map(|s| s.client).collect();
    server.begin_round(Round(0), &clients, Some(&global())).unwrap();
    summaries.iter().for_each(|s| {
        sum(&mut server, s.clone()).unwrap();
    });
    plain(&server.select(&Context::new(3)).unwrap())
}

/// No clusterer on the clients: random, stratified, all.
fn featureless(selector: impl Selector + 'static, count: Count) -> Pipeline {
    let server = ServerStages { selector: Arc::new(selector), count, ..Default::default() };
    Pipeline { server, ..Default::default() }
}

fn counts(client: u32, size: u32) -> ClientSummary {
    let groups = vec![Group { cluster: ClusterId(0), size }];
    ClientSummary::new(ClientId(client), Round(0), groups, Matrix::zeros(1, 0))
}

fn protocol_error<T>(result: Result<T>, word: &str) {
    match result {
        Err(error @ Error::Protocol { .. }) => assert!(error.to_string().contains(word), "{error}"),
        Err(other) => panic!("expected a protocol error with `{word}`, got {other}"),
        Ok(_) => panic!("expected a protocol error with `{word}`"),
    }
}

#[test]
fn one_record_per_cluster_of_the_group_nearest_to_its_weighted_centre() {
    // Cluster 5: centroids 5.0 (1 record), 5.4 (9), 5.6 (2); weighted centre 5.4. Cluster 8: one. Noise: -3.
    let summaries =
        [summary(0, 0, &[(5.0, 1), (8.0, 4)]), summary(1, 0, &[(5.4, 9), (-3.0, 50)]), summary(2, 0, &[(5.6, 2)])];
    let orders = run(by_whole_part(Count::PerCluster), &summaries);
    assert_eq!(orders, [(0, vec![(1, 1)]), (1, vec![(0, 1)]), (2, vec![])]);
}

#[test]
fn noise_may_be_kept() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.noise = Noise::Singletons;
    let orders = run(pipeline, &[summary(0, 0, &[(5.0, 1)]), summary(1, 0, &[(-3.0, 50), (5.0, 1)])]);
    assert_eq!(orders, [(0, vec![(0, 1)]), (1, vec![(0, 1)])]);
}

#[test]
fn a_budget_below_the_clusters_takes_the_heaviest() {
    let summaries = [summary(0, 0, &[(1.0, 3), (2.0, 30)]), summary(1, 0, &[(3.0, 7), (4.0, 1)])];
    assert_eq!(run(by_whole_part(Count::Budget(2)), &summaries), [(0, vec![(1, 1)]), (1, vec![(0, 1)])]);
}

#[test]
fn a_budget_above_the_clusters_takes_second_nearest_groups_then_more_of_each_by_size() {
    // Two clusters, four groups, 41 records. The first cluster's weighted centre is 1.52: nearest 1.8, then 1.2.
    let summaries = [summary(0, 0, &[(1.0, 10), (1.2, 1)]), summary(1, 0, &[(1.8, 20), (2.0, 10)])];
    let budget = |n| run(by_whole_part(Count::Budget(n)), &summaries);
    assert_eq!(budget(2), [(0, vec![]), (1, vec![(0, 1), (1, 1)])]);
    assert_eq!(budget(3), [(0, vec![(1, 1)]), (1, vec![(0, 1), (1, 1)])]);
    assert_eq!(budget(4), [(0, vec![(0, 1), (1, 1)]), (1, vec![(0, 1), (1, 1)])]);
    // Eight more over sizes 10, (1, full), 20, 10.
    assert_eq!(budget(12), [(0, vec![(0, 3), (1, 1)]), (1, vec![(0, 5), (1, 3)])]);
    assert_eq!(budget(41), [(0, vec![(0, 10), (1, 1)]), (1, vec![(0, 20), (1, 10)])]);
    assert_eq!(budget(400), budget(41));
}

#[test]
fn noise_is_taken_before_the_budget_is_missed() {
    let summaries = [summary(0, 0, &[(1.0, 1), (-1.0, 1)])];
    assert_eq!(run(by_whole_part(Count::Budget(1)), &summaries), [(0, vec![(0, 1)])]);
    assert_eq!(run(by_whole_part(Count::Budget(2)), &summaries), [(0, vec![(0, 1), (1, 1)])]);
}

#[test]
fn zero_or_one_centroids_are_defined() {
    for count in [Count::PerCluster, Count::Budget(3), Count::Ratio(0.5), Count::PerRound(vec![3]), Count::All] {
        let pipeline = || by_whole_part(count.clone());
        assert!(run(pipeline(), &[]).is_empty());
        assert_eq!(run(pipeline(), &[summary(0, 0, &[]), summary(1, 0, &[])]), [(0, vec![]), (1, vec![])]);
        // Even where the clusterer would call it noise, as HDBSCAN does with one point.
        let lone = run(pipeline(), &[summary(0, 0, &[]), summary(1, 0, &[(-7.0, 5)])]);
        let records = match count {
            Count::PerCluster => 1,
            Count::Budget(_) | Count::Ratio(_) | Count::PerRound(_) => 3,
            Count::All => 5,
            Count::Tokens(_) => unreachable!("not among them"),
        };
        assert_eq!(lone, [(0, vec![]), (1, vec![(0, records)])]);
    }
    // A round whose count is 0 selects none, whatever came.
    for count in [vec![0, 9], vec![]] {
        let full = [summary(0, 0, &[(1.0, 5)]), summary(1, 0, &[(2.0, 5)])];
        assert_eq!(run(by_whole_part(Count::PerRound(count)), &full), [(0, vec![]), (1, vec![])]);
    }
    // All noise is an empty round in the paper's mode.
    let noise = [summary(0, 0, &[(-1.0, 5)]), summary(1, 0, &[(-2.0, 5)])];
    assert_eq!(run(by_whole_part(Count::PerCluster), &noise), [(0, vec![]), (1, vec![])]);
}

#[test]
fn without_the_inter_client_level_every_group_gives_a_record() {
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.clusterer = None;
    let orders = run(pipeline, &[summary(0, 0, &[(5.0, 9), (5.1, 4)]), summary(1, 0, &[(5.0, 9)])]);
    assert_eq!(orders, [(0, vec![(0, 1), (1, 1)]), (1, vec![(0, 1)])]);
}

#[test]
fn facility_location_weighs_by_records() {
    let pipeline = || {
        let mut pipeline = by_whole_part(Count::Budget(1));
        pipeline.server.clusterer = None;
        pipeline.server.selector = Arc::new(FacilityLocation);
        pipeline
    };
    let groups = |heavy| [summary(0, 0, &[(0.0, 4), (1.0, 4)]), summary(1, 0, &[(9.0, heavy)])];
    assert_eq!(run(pipeline(), &groups(1)), [(0, vec![(1, 1)]), (1, vec![])]);
    assert_eq!(run(pipeline(), &groups(90)), [(0, vec![]), (1, vec![(0, 1)])]);
}

#[test]
fn baselines_without_features_meet_the_budget() {
    let summaries = [counts(0, 50), counts(1, 3), counts(2, 7)];
    let taken = |orders: &Orders| -> Vec<u32> { orders.iter().map(|o| o.1.iter().map(|c| c.1).sum()).collect() };
    let stratified = run(featureless(Stratified, Count::Budget(10)), &summaries);
    let mut each = taken(&stratified);
    each.sort_unstable();
    assert_eq!(each, [3, 3, 4]);
    let random = taken(&run(featureless(Random, Count::Ratio(0.5)), &summaries));
    assert_eq!(random.iter().sum::<u32>(), 30);
    assert!(random[0] > 15, "{random:?}: most records are the first client's");
    assert_eq!(taken(&run(featureless(Random, Count::All), &summaries)), [50, 3, 7]);
}

#[test]
fn the_round_is_a_state_machine() {
    let mut server = server(by_whole_part(Count::PerCluster));
    let context = Context::new(1);
    protocol_error(sum(&mut server, summary(0, 0, &[(1.0, 1)])), "no round running");
    protocol_error(server.select(&context), "no round running");
    protocol_error(server.finish_round(), "no round running");
    protocol_error(server.begin_round(Round(0), &[ClientId(1), ClientId(1)], Some(&global())), "1 twice");
    let start = server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    assert_eq!((start.round, start.ask), (Round(0), Ask::Groups));
    assert_eq!(start.sections.get().unwrap(), Some(RecordKeys(Seed(5).derive("record keys", 0))));
    protocol_error(server.begin_round(Round(1), &ids(0..3), Some(&global())), "collects summaries");
    protocol_error(sum(&mut server, summary(7, 0, &[(1.0, 1)])), "client 7");
    protocol_error(sum(&mut server, summary(0, 1, &[(1.0, 1)])), "round");
    sum(&mut server, summary(0, 0, &[(1.0, 1)])).unwrap();
    protocol_error(
        sum(&mut server, summary(0, 0, &[(1.0, 1)])),
        "client 0: client_summary: expected one per client, got a second one",
    );
    protocol_error(upd(&mut server, update(0, 1, 1.0)), "whose selection is made");
    // Client 2 stays silent.
    sum(&mut server, summary(1, 0, &[(9.0, 1)])).unwrap();
    assert_eq!(plain(&server.select(&context).unwrap()), [(0, vec![(0, 1)]), (1, vec![(0, 1)])]);
    protocol_error(server.select(&context), "collects summaries");
    protocol_error(sum(&mut server, summary(2, 0, &[])), "collects summaries");
    server.finish_round().unwrap();
    protocol_error(server.begin_round(Round(0), &ids(0..3), Some(&global())), "later than 0");
    server.begin_round(Round(1), &[], Some(&global())).unwrap();
    assert!(server.select(&context).unwrap().is_empty());
    assert!(server.finish_round().unwrap().adapter.is_none());
}

fn adapter(value: f32) -> Adapter {
    let tensor = AdapterTensor { shape: [1, 2], data: vec![value, 1.0] };
    Adapter { tensors: [("lora_A".to_owned(), tensor)].into(), ..Adapter::default() }
}

/// What every round of these tests begins from.
fn global() -> Adapter {
    adapter(0.0)
}

fn update(client: u32, records: u32, value: f32) -> LocalUpdate {
    LocalUpdate::new(ClientId(client), Round(0), records, adapter(value))
}

/// A server whose round has ordered one record of each of `n` clients.
fn training(n: u32) -> Server {
    let mut server = server(by_whole_part(Count::PerCluster));
    server.begin_round(Round(0), &ids(0..n + 1), Some(&global())).unwrap();
    (0..n).for_each(|c| {
        sum(&mut server, summary(c, 0, &[(c as f32, 3)])).unwrap();
    });
    sum(&mut server, summary(n, 0, &[])).unwrap();
    server.select(&Context::new(1)).unwrap();
    server
}

#[test]
fn adapters_are_joined_whatever_the_order_of_arrival() {
    let values = [0.1f32, 1e-7, -3.0e4, 7.0];
    let joined = |order: &[u32]| {
        let mut server = training(4);
        order.iter().for_each(|&c| {
            upd(&mut server, update(c, 1, values[c as usize])).unwrap();
        });
        server.finish_round().unwrap().adapter.unwrap()
    };
    let first = joined(&[0, 1, 2, 3]);
    assert_eq!(joined(&[3, 2, 1, 0]), first);
    assert_eq!(joined(&[2, 0, 3, 1]), first);
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 4.0;
    assert_eq!(first.tensors["lora_A"].data, [mean as f32, 1.0]);
    // A client that fails is left out.
    assert_eq!(joined(&[3, 1]).tensors["lora_A"].data[0], ((1e-7f64 + 7.0) / 2.0) as f32);
}

#[test]
fn updates_that_nobody_ordered_are_refused() {
    let mut server = training(2);
    protocol_error(upd(&mut server, update(2, 1, 0.0)), "told to train");
    protocol_error(upd(&mut server, update(9, 1, 0.0)), "client 9");
    protocol_error(upd(&mut server, update(0, 2, 0.0)), "at most 1");
    protocol_error(upd(&mut server, update(0, 1, f32::NAN)), "finite");
    upd(&mut server, update(0, 1, 2.0)).unwrap();
    protocol_error(upd(&mut server, update(0, 1, 2.0)), "a second one");
    assert_eq!(server.finish_round().unwrap().adapter.unwrap().tensors["lora_A"].data[0], 2.0);
}

#[test]
fn an_adapter_of_another_shape_spoils_only_itself() {
    let mut server = training(3);
    upd(&mut server, update(0, 1, 2.0)).unwrap();
    let mut other = update(1, 1, 0.0);
    other.adapter.tensors.insert("lora_B".into(), AdapterTensor { shape: [1, 1], data: vec![0.0] });
    assert!(matches!(upd(&mut server, other), Err(Error::Adapter { .. })));
    upd(&mut server, update(2, 1, 4.0)).unwrap();
    assert_eq!(server.finish_round().unwrap().adapter.unwrap().tensors["lora_A"].data[0], 3.0);
}

#[test]
fn a_round_in_which_nobody_trains_leaves_the_global_adapter() {
    // The released code averages nothing to an adapter of zeros.
    let mut server = server(by_whole_part(Count::PerCluster));
    server.begin_round(Round(0), &ids(0..2), Some(&global())).unwrap();
    sum(&mut server, summary(0, 0, &[(-1.0, 4)])).unwrap();
    sum(&mut server, summary(1, 0, &[(-2.0, 4)])).unwrap();
    let orders = server.select(&Context::new(1)).unwrap();
    assert!(orders.values().all(SelectionOrder::is_empty));
    assert_eq!(server.finish_round().unwrap().adapter, None);
    assert_eq!(
        server.begin_round(Round(1), &ids(0..1), Some(&global())).unwrap().round,
        Round(1),
        "and the next round begins"
    );
}

#[test]
fn state_survives_another_process() {
    let pipeline = || by_whole_part(Count::Budget(3));
    let mut first = server(pipeline());
    first.begin_round(Round(4), &ids(0..3), Some(&global())).unwrap();
    sum(&mut first, summary(0, 4, &[(1.0, 4), (2.0, 1)])).unwrap();
    let carry = |from: &Server| {
        let bytes = postcard::to_stdvec(&from.state().unwrap()).unwrap();
        let json = serde_json::to_string(&from.state().unwrap()).unwrap();
        let state: ServerState = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<ServerState>(&json).unwrap(), state);
        let mut to = server(pipeline());
        to.resume(state, Some(&global())).unwrap();
        to
    };
    let mut second = carry(&first);
    for server in [&mut first, &mut second] {
        sum(server, summary(2, 4, &[(1.5, 2)])).unwrap();
        server.select(&Context::new(8)).unwrap();
    }
    assert_eq!(first.selection(), second.selection());
    let mut third = carry(&second);
    assert_eq!(third.orders().unwrap(), first.orders().unwrap());
    let late = LocalUpdate { round: Round(4), ..update(0, 2, 1.0) };
    upd(&mut third, late).unwrap();
    protocol_error(third.state(), "first update");
    assert!(third.finish_round().unwrap().adapter.is_some());
    protocol_error(third.begin_round(Round(4), &[], Some(&global())), "later than 4");

    let mut broken = first.state().unwrap();
    broken.selection = None;
    protocol_error(server(pipeline()).resume(broken, Some(&global())), "a selection in the training phase");
    let mut broken = first.state().unwrap();
    broken.clients.remove(&ClientId(2));
    protocol_error(server(pipeline()).resume(broken, Some(&global())), "one of client 2");
}

#[test]
fn the_shared_frame_is_the_same_in_all_rounds() {
    let pipeline = || Pipeline {
        client: ClientStages {
            frame: Some(SharedFrame::new(3, |_| Ok(Arc::new(crate::reduce::Identity)))),
            ..by_whole_part(Count::Budget(2)).client
        },
        ..by_whole_part(Count::Budget(2))
    };
    let mut server = server(pipeline());
    let first = server.begin_round(Round(0), &ids(0..2), Some(&global())).unwrap().ask;
    assert!(matches!(first, Ask::SharedGroups { dims: 3, .. }));
    protocol_error(sum(&mut server, summary(0, 0, &[(1.0, 1)])), "expected 3 coordinates");
    server.abandon_round();
    assert_eq!(server.begin_round(Round(1), &ids(0..2), Some(&global())).unwrap().ask, first);
}

#[test]
fn a_selector_of_the_user_fails_with_its_name() {
    struct TooFew;
    impl Selector for TooFew {
        fn select(&self, _: &Rows<'_>, _: Budget, _: &Context) -> Result<Vec<RowId>> {
            Ok(vec![RowId(0)])
        }
        fn uses_groups(&self) -> bool {
            true
        }
    }
    let mut pipeline = by_whole_part(Count::Budget(2));
    pipeline.server.selector = Arc::new(TooFew);
    let mut server = server(pipeline);
    server.begin_round(Round(0), &ids(0..1), Some(&global())).unwrap();
    sum(&mut server, summary(0, 0, &[(1.0, 4), (2.0, 4)])).unwrap();
    let error = server.select(&Context::new(1)).unwrap_err().to_string();
    assert!(error.contains("stage `server.selector`: expected 2 rows"), "{error}");
    assert!(server.state().unwrap().selection.is_none(), "the phase stays");
}

/// Any round: up to 6 clients of up to 5 groups each, some of them noise on the server.
fn any_round() -> impl Strategy<Value = Vec<ClientSummary>> {
    let groups = proptest::collection::vec((-3i8..20, 0u8..10, 1u32..40), 0..5);
    proptest::collection::vec(groups, 0..6).prop_map(|clients| {
        let value = |g: &(i8, u8, u32)| (f32::from(g.0) + f32::from(g.1) / 16.0, g.2);
        let summary =
            |(c, groups): (usize, Vec<_>)| summary(c as u32, 0, &groups.iter().map(value).collect::<Vec<_>>());
        clients.into_iter().enumerate().map(summary).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_budget_is_exact_and_no_group_gives_more_than_it_has(
        summaries in any_round(), budget in 1usize..80, which in 0usize..5,
    ) {
        let mut pipeline = by_whole_part(Count::Budget(budget));
        match which {
            0 => {}
            1 => pipeline.server.noise = Noise::Singletons,
            2 => pipeline.server.selector = Arc::new(crate::select::RandomMember),
            3 => {
                pipeline.server.clusterer = None;
                pipeline.server.selector = Arc::new(FacilityLocation);
            }
            _ => {
                let kmeans = crate::cluster::KMeans::new(crate::cluster::KMeansConfig::with_clusters(8)).unwrap();
                pipeline.server.clusterer = Some(Arc::new(kmeans));
            }
        }
        let mut server = server(pipeline);
        server.begin_round(Round(0), &ids(0..6), Some(&global())).unwrap();
        summaries.iter().for_each(|s| {
        sum(&mut server, s.clone()).unwrap();
    });
        let orders = server.select(&Context::new(3)).unwrap();
        let records: usize = summaries.iter().map(ClientSummary::records).sum();
        prop_assert_eq!(orders.values().map(SelectionOrder::records).sum::<usize>(), budget.min(records));
        prop_assert_eq!(server.selection().unwrap().records(), budget.min(records));
        for s in &summaries {
            for ClusterOrder { cluster, count } in &orders[&s.client].clusters {
                prop_assert!(*count <= s.groups[cluster.index()].size);
            }
        }
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(
        (summaries, shuffled) in any_round().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        budget in 1usize..40, paper in any::<bool>(),
    ) {
        let count = if paper { Count::PerCluster } else { Count::Budget(budget) };
        prop_assert_eq!(run(by_whole_part(count.clone()), &summaries), run(by_whole_part(count), &shuffled));
    }

    #[test]
    fn a_whole_round_takes_no_record_twice_and_meets_the_budget(
        clients in proptest::collection::vec(proptest::collection::vec(-2.0f32..9.0, 0..30), 1..5),
        budget in 1usize..60,
    ) {
        let pipeline = by_whole_part(Count::Budget(budget));
        let mut server = server(pipeline.clone());
        let start = server.begin_round(Round(0), &ids(0..clients.len() as u32), Some(&global())).unwrap();
        let mut machines = Vec::new();
        let mut grouped = 0;
        for (id, features) in clients.iter().enumerate() {
            let mut client = crate::client::Client::new(ClientId(id as u32), &pipeline);
            let summary = client.summarize(&start, &column(features), &Context::new(id as u64)).unwrap();
            grouped += summary.records();
            sum(&mut server, summary).unwrap();
            machines.push(client);
        }
        let mut chosen = 0;
        for (id, order) in server.select(&Context::new(9)).unwrap() {
            let rows = machines[id.index()].choose(&order, &Context::new(u64::from(id.0))).unwrap();
            prop_assert!(rows.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(rows.iter().all(|r| clients[id.index()][r.index()] >= 0.0), "noise was dropped");
            chosen += rows.len();
        }
        prop_assert_eq!(chosen, budget.min(grouped));
    }
}

#[test]
fn nearest_is_used_for_what_it_says() {
    // Guards the helpers above: with one cluster and one record wanted, the middle group answers.
    let groups = [summary(0, 0, &[(1.0, 1), (1.4, 1), (1.9, 1)])];
    let mut pipeline = by_whole_part(Count::PerCluster);
    pipeline.server.selector = Arc::new(NearestCentroid);
    assert_eq!(run(pipeline, &groups), [(0, vec![(1, 1)])]);
}

#[test]
fn the_state_of_another_is_refused_and_names_what_differs() {
    use crate::method::MethodConfig;
    let made = |method: &str, layers, seed| {
        let pipeline = MethodConfig::from_text(method).unwrap().pipeline(layers).unwrap();
        Server::new(pipeline, Seed(seed), Box::new(WeightedMean::new())).unwrap()
    };
    let preset = r#"{"preset": "fedhds_coverage", "count": {"budget": 4}}"#;
    let state = made(preset, 1, 3).state().unwrap();
    made(preset, 1, 3).resume(state.clone(), None).unwrap();
    made(r#"{"preset": "fedhds_coverage", "name": "mine", "count": {"budget": 4}}"#, 1, 3)
        .resume(state.clone(), None)
        .unwrap();
    let others = [
        (r#"{"preset": "fedhds_coverage", "count": {"budget": 5}}"#, 1, 3, "`method.count.budget`: this run has `5`"),
        (r#"{"preset": "random", "count": {"budget": 4}}"#, 1, 3, "`method."),
        (preset, 2, 3, "`layers`: this run has `2`"),
        (preset, 1, 4, "`seed`: this run has `4`, the saved one `3`"),
    ];
    for (method, layers, seed, word) in others {
        protocol_error(made(method, layers, seed).resume(state.clone(), None), word);
    }
    let mut told = made(preset, 1, 3);
    told.identify("aggregator.learning_rate", 0.1);
    protocol_error(told.resume(state.clone(), None), "`aggregator.learning_rate`: this run has `0.1`");
    // The adapters of all rounds are of one model.
    let mut first = made(preset, 1, 3);
    first.begin_round(Round(0), &ids(0..1), Some(&global())).unwrap();
    first.abandon_round();
    let state = first.state().unwrap();
    let mut other = global();
    other.config.r += 1;
    for error in [
        first.begin_round(Round(1), &ids(0..1), Some(&other)).unwrap_err(),
        made(preset, 1, 3).resume(state.clone(), Some(&other)).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Adapter { .. }), "{error}");
    }
    let mut again = made(preset, 1, 3);
    again.resume(state, None).unwrap();
    assert!(matches!(again.begin_round(Round(1), &ids(0..1), Some(&other)), Err(Error::Adapter { .. })));
    again.begin_round(Round(1), &ids(0..1), Some(&global())).unwrap();
}
