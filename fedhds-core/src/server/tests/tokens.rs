//! Budgets in tokens: both state machines together.
use super::*;
use crate::client::{Client, Pair, SavedClient};
use crate::error::Result;
use crate::method::MethodConfig;
use crate::protocol::{GateLimit, GroupTokens, GroupsDigest, OrderTokens, TokensAsked, TrainedTokens};
use crate::stage::Trained;

const DIMS: usize = 8;

fn preset(name: &str, more: &str) -> Pipeline {
    let text = format!("preset = \"{name}\"\n{more}");
    MethodConfig::from_toml_str(&text).unwrap().pipeline(1).unwrap()
}

/// Methods of every kind: without features, with groups made in each round, and with groups made once.
const METHODS: [(&str, &str); 4] = [
    ("random", ""),
    ("stratified", ""),
    ("fedhds_coverage", "client.shared_dims = 8\n"),
    ("fedhds_robust", "client.shared_dims = 8\nserver.gate = \"none\"\n"),
];

/// A client's features and the tokens of its records.
struct Data {
    features: Matrix,
    tokens: Vec<u32>,
}

/// So many clients of 20 to 40 records; the records of some are up to eight times as long as those of others.
fn data(clients: u32, seed: u64) -> Vec<Data> {
    let one = |client: u32| {
        let mut rng = Seed(seed).derive("data", client.into()).rng();
        let (records, factor) = (rng.random_range(20..40), rng.random_range(1..=8u32));
        let features: Vec<f32> = (0..records * DIMS).map(|_| rng.random_range(-1.0..1.0)).collect();
        Data {
            features: Matrix::new(records, DIMS, features).unwrap(),
            tokens: (0..records).map(|_| factor * rng.random_range(10..80u32)).collect(),
        }
    };
    (0..clients).map(one).collect()
}

fn trained() -> Trained {
    Trained { adapter: global(), losses: vec![1.0], skipped: 0, tokens: 1 }
}

struct Federation {
    server: Server,
    clients: Vec<Client>,
    data: Vec<Data>,
    features: bool,
}

/// What became of a round: what each client was ordered, its records, and how it ended.
struct Played {
    orders: BTreeMap<ClientId, SelectionOrder>,
    chosen: BTreeMap<ClientId, Vec<RowId>>,
    sent: usize,
    report: RoundReport,
}

impl Federation {
    fn new(pipeline: &Pipeline, data: Vec<Data>) -> Self {
        Self {
            server: server(pipeline.clone()),
            clients: (0..data.len() as u32).map(|id| Client::new(ClientId(id), pipeline)).collect(),
            features: pipeline.client.clusterer.is_some(),
            data,
        }
    }

    fn rows_of(data: &Data, features: bool) -> (Matrix, &[u32]) {
        let features = if features { data.features.clone() } else { Matrix::zeros(data.tokens.len(), 0) };
        (features, &data.tokens)
    }

    /// Updates of `lost` clients never arrive.
    fn play(&mut self, round: u32, lost: &[u32]) -> Result<Played> {
        let ids = ids(0..self.data.len() as u32);
        let start = self.server.begin_round(Round(round), &ids, Some(&global()))?;
        assert!(start.sections.get::<TokensAsked>()?.is_some());
        let mut sent = 0;
        for (client, data) in self.clients.iter_mut().zip(&self.data) {
            let (features, tokens) = Self::rows_of(data, self.features);
            let context = Context::new(Seed(5).of_call(Round(round), "client", client.id().0, "summarize"));
            let bytes = client.summarize(&start, Rows::new(&features).tokens(tokens), &context)?.encode()?;
            sent += bytes.len();
            self.server.receive(client.id(), &bytes)?;
        }
        let orders = self.server.select(&Context::new(u64::from(round)))?;
        let mut chosen = BTreeMap::new();
        for (id, order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
            let client = &mut self.clients[id.index()];
            let context = Context::new(Seed(5).of_call(Round(round), "client", id.0, "choose"));
            let rows = client.choose(order, &context)?;
            if !rows.is_empty() {
                client.mark_trained(rows.iter().copied());
                let update = client.update(order, &rows, trained())?;
                if !lost.contains(&id.0) {
                    self.server.receive(*id, &update.encode()?)?;
                }
                chosen.insert(*id, rows);
            }
        }
        let report = self.server.finish_round()?.report;
        Ok(Played { orders, chosen, sent, report })
    }

    fn tokens(&self, client: ClientId, rows: &[RowId]) -> u64 {
        rows.iter().map(|row| u64::from(self.data[client.index()].tokens[row.index()])).sum()
    }

    fn longest(&self, client: ClientId) -> u64 {
        self.data[client.index()].tokens.iter().copied().max().unwrap().into()
    }
}

fn ordered(order: &SelectionOrder) -> u64 {
    order.sections.get::<OrderTokens>().unwrap().map_or(0, |OrderTokens(tokens)| tokens)
}

#[test]
fn a_budget_is_met_within_one_record_a_client() {
    const BUDGET: u64 = 6000;
    for (name, more) in METHODS {
        let pipeline = preset(name, &format!("count = {{ budget = {{ tokens = {BUDGET} }} }}\n{more}"));
        let mut federation = Federation::new(&pipeline, data(10, 3));
        let mut all = 0;
        for round in 0..3 {
            let played = federation.play(round, &[]).unwrap();
            let asked: u64 = played.orders.values().map(ordered).sum();
            if name != "fedhds_robust" {
                assert_eq!(asked, BUDGET, "{name}: the orders sum to the budget");
            }
            let mut sum = 0;
            for (id, rows) in &played.chosen {
                let (spent, wanted) = (federation.tokens(*id, rows), ordered(&played.orders[id]));
                let longest = federation.longest(*id);
                // The first record is taken however long it is.
                let within = if rows.len() > 1 { longest / 2 } else { longest };
                assert!(spent.abs_diff(wanted) <= within, "{name}: client {id} {spent} of {wanted}");
                sum += spent;
            }
            let within: u64 = played.chosen.keys().map(|id| federation.longest(*id)).sum();
            assert!(sum.abs_diff(asked) <= within, "{name}: {sum} of {asked}");
            assert_eq!(played.report.missing, 0);
            assert_eq!(played.report.missing_tokens, asked.saturating_sub(sum));
            all += sum;
        }
        if name == "fedhds_robust" {
            // What one round is short of or beyond is the next one's.
            let last: u64 = (0..10).map(|id| federation.longest(ClientId(id))).sum();
            assert!(all.abs_diff(3 * BUDGET) <= last, "{all}");
        }
    }
}

#[test]
fn no_client_gives_more_than_its_share_of_the_tokens() {
    let pipeline = preset("fedhds_coverage", "client.shared_dims = 8\ncount = { budget = { tokens = 4000 } }");
    let mut federation = Federation::new(&pipeline, data(8, 11));
    for round in 0..3 {
        let played = federation.play(round, &[]).unwrap();
        assert_eq!(played.orders.values().map(ordered).sum::<u64>(), 4000);
        for order in played.orders.values() {
            assert!(ordered(order) <= 750, "1.5 times 4000 of 8 clients");
        }
    }
}

#[test]
fn what_a_round_is_short_of_is_made_up_for_in_tokens() {
    let method = "client.shared_dims = 8\nserver.gate = \"none\"\ncount = { budget = { tokens = 3000 } }";
    let mut federation = Federation::new(&preset("fedhds_robust", method), data(6, 4));
    let first = federation.play(0, &[0, 1]).unwrap();
    let lost: u64 =
        [0, 1].map(ClientId).iter().filter_map(|id| Some(federation.tokens(*id, first.chosen.get(id)?))).sum();
    assert!(lost > 0);
    let came: u64 = first.chosen.iter().map(|(id, rows)| federation.tokens(*id, rows)).sum::<u64>() - lost;
    assert_eq!(first.report.missing_tokens, 3000 - came);
    let second = federation.play(1, &[]).unwrap();
    assert_eq!(second.orders.values().map(ordered).sum::<u64>(), 6000 - came);
    let again = [0, 1].map(ClientId).iter().any(|id| {
        second
            .chosen
            .get(id)
            .is_some_and(|rows| rows.iter().any(|row| first.chosen.get(id).is_some_and(|before| before.contains(row))))
    });
    assert!(again, "what was lost is open again");
    assert!(
        second.sent < first.sent / 4,
        "a digest stands for groups and their tokens: {} of {}",
        second.sent,
        first.sent
    );
}

#[test]
fn other_tokens_are_other_groups() {
    let method = "client.shared_dims = 8\nserver.gate = \"none\"\ncount = { budget = { tokens = 3000 } }";
    let mut federation = Federation::new(&preset("fedhds_robust", method), data(3, 4));
    let whole = federation.play(0, &[]).unwrap().sent;
    let short = federation.play(1, &[]).unwrap().sent;
    federation.data[1].tokens.iter_mut().for_each(|tokens| *tokens *= 2);
    let one_again = federation.play(2, &[]).unwrap().sent;
    assert!(short < one_again && one_again < whole, "{short} {one_again} {whole}");
}

#[test]
fn a_round_goes_on_from_its_state() {
    let method = "client.shared_dims = 8\nserver.gate = \"none\"\ncount = { budget = { tokens = 3000 } }";
    let pipeline = preset("fedhds_robust", method);
    let mut federation = Federation::new(&pipeline, data(4, 9));
    federation.play(0, &[2]).unwrap();
    let mut other = server(pipeline.clone());
    let start = federation.server.begin_round(Round(1), &ids(0..4), Some(&global())).unwrap();
    for (client, data) in federation.clients.iter_mut().zip(&federation.data) {
        let rows = Rows::new(&data.features).tokens(&data.tokens);
        let summary = client.summarize(&start, rows, &Context::new(1)).unwrap();
        assert!(summary.sections.get::<GroupsDigest>().unwrap().is_some());
        federation.server.receive(client.id(), &summary.encode().unwrap()).unwrap();
    }
    // In the middle of a round whose summaries were digests.
    let bytes = federation.server.state().unwrap().to_bytes().unwrap();
    other.resume(ServerState::from_bytes(&bytes).unwrap(), Some(&global())).unwrap();
    let orders = other.select(&Context::new(1)).unwrap();
    assert_eq!(orders, federation.server.select(&Context::new(1)).unwrap());
    for (id, order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
        let saved = federation.clients[id.index()].saved().to_bytes().unwrap();
        let mut client = Client::new(*id, &pipeline);
        client.restore(SavedClient::from_bytes(&saved).unwrap()).unwrap();
        let rows = client.choose(order, &Context::new(1)).unwrap();
        assert_eq!(rows, federation.clients[id.index()].choose(order, &Context::new(1)).unwrap());
        let tokens = client.update(order, &rows, trained()).unwrap().sections.get::<TrainedTokens>().unwrap();
        assert_eq!(tokens, Some(TrainedTokens(federation.tokens(*id, &rows))));
    }
}

#[test]
fn a_client_that_does_not_say_its_tokens_is_named() {
    let pipeline = preset("random", "count = { budget = { tokens = 100 } }");
    let mut server = server(pipeline.clone());
    let start = server.begin_round(Round(0), &ids(0..2), Some(&global())).unwrap();
    let mut client = Client::new(ClientId(0), &pipeline);
    let points = Matrix::zeros(3, 0);
    let mut says = |tokens: &[u32]| {
        let rows = Rows::new(&points).tokens(tokens);
        client.summarize(&start, rows, &Context::new(0)).map(|_| ()).unwrap_err().to_string()
    };
    for (tokens, word) in [(&[][..], "got 0 numbers"), (&[1, 2], "got 2 numbers"), (&[4, 0, 2], "got 0 of record 1")] {
        let error = says(tokens);
        assert!(error.contains("`Rows::tokens`") && error.contains(word), "{error}");
    }
    let error = sum(&mut server, counts(1, 3)).unwrap_err().to_string();
    assert!(error.contains("client 1") && error.contains("the mean tokens of each group"), "{error}");
    assert!(server.select(&Context::new(0)).unwrap().is_empty());
    // A client that was not asked cannot follow an order in tokens.
    let plain = preset("random", "count = { budget = 2 }");
    let mut client = Client::new(ClientId(0), &plain);
    let start = RoundStart::new(Round(0), Ask::Counts);
    client.summarize(&start, Rows::new(&points).tokens(&[5; 3]), &Context::new(0)).unwrap();
    let mut order = SelectionOrder::new(ClientId(0), Round(0), vec![ClusterOrder { cluster: ClusterId(0), count: 1 }]);
    order.sections.set(&OrderTokens(5)).unwrap();
    protocol_error(client.choose(&order, &Context::new(0)), "did not ask for tokens");
}

#[test]
fn an_open_gate_spends_its_tokens_on_what_passes() {
    let method = "client.shared_dims = 8\nserver.gate = \"none\"\ncount = { budget = { tokens = 3000 } }";
    let pipeline = preset("fedhds_robust", method);
    let data = data(3, 21);
    let mut server = server(pipeline.clone());
    let start = server.begin_round(Round(0), &ids(0..3), Some(&global())).unwrap();
    let mut clients: Vec<Client> = (0..3).map(|id| Client::new(ClientId(id), &pipeline)).collect();
    for (client, data) in clients.iter_mut().zip(&data) {
        let rows = Rows::new(&data.features).tokens(&data.tokens);
        let summary = client.summarize(&start, rows, &Context::new(1)).unwrap();
        sum(&mut server, summary).unwrap();
    }
    let good = |row: RowId| !row.0.is_multiple_of(3);
    let mut refused = 0;
    for (id, mut order) in server.select(&Context::new(1)).unwrap().into_iter().filter(|(_, order)| !order.is_empty()) {
        order.sections.set(&GateLimit { least_score: 0.2, decoys: 1, tries: 3 }).unwrap();
        let mut losses = |pairs: &[Pair]| {
            let own = |pair: &Pair| pair.prompt == pair.response && good(pair.response);
            Ok(pairs.iter().map(|pair| if own(pair) { 0.5 } else { 1.5 }).collect())
        };
        let client = &mut clients[id.index()];
        let rows = client.choose_scored(&order, &Context::new(2), &mut losses).unwrap();
        let tokens = |row: &RowId| u64::from(data[id.index()].tokens[row.index()]);
        let longest = rows.iter().map(tokens).max().unwrap();
        assert!(rows.iter().all(|row| good(*row)), "{rows:?}");
        assert!(rows.iter().map(tokens).sum::<u64>().abs_diff(ordered(&order)) <= longest, "client {id}");
        assert!(client.refused().all(|row| !good(row)));
        refused += client.refused().count();
    }
    assert!(refused > 0);
}

/// A summary of one group without a centroid, and its mean tokens.
fn long(client: u32, size: u32, mean: f32) -> ClientSummary {
    let mut summary = counts(client, size);
    summary.sections.set(&GroupTokens(vec![mean])).unwrap();
    summary
}

#[test]
fn what_a_client_claims_weighs_no_more_than_was_ordered() {
    let mut server = server(preset("random", "count = { budget = { tokens = 400 } }"));
    server.begin_round(Round(0), &ids(0..2), Some(&global())).unwrap();
    for id in 0..2 {
        sum(&mut server, long(id, 50, 100.0)).unwrap();
    }
    server.select(&Context::new(8)).unwrap();
    let selection = server.selection().unwrap().clone();
    assert_eq!((selection.records(), selection.asked_tokens), (4, 400));
    let records = [0, 1].map(|id| selection.records_of(ClientId(id)) as u32);
    assert!(records.iter().all(|records| *records > 0), "{records:?}");
    let adapter = |value: f32| {
        let mut adapter = global();
        adapter.tensors.values_mut().for_each(|tensor| tensor.data.fill(value));
        adapter
    };
    let mut update = LocalUpdate::new(ClientId(0), Round(0), 51, adapter(1.0));
    protocol_error(upd(&mut server, update.clone()), "at most 50");
    (update.records, update.adapter) = (50, adapter(1.0));
    upd(&mut server, update).unwrap();
    upd(&mut server, LocalUpdate::new(ClientId(1), Round(0), records[1], adapter(0.0))).unwrap();
    let finished = server.finish_round().unwrap();
    let mean = finished.adapter.unwrap().tensors.values().next().unwrap().data[0];
    assert!((mean - records[0] as f32 / 4.0).abs() < 1e-6, "{mean} of {records:?}");
    // It did not say how many tokens that was: what was ordered.
    assert_eq!(finished.report.missing_tokens, 0);
}

#[test]
fn another_library_says_how_many_records_came() {
    let mut server = server(preset("stratified", "count = { budget = { tokens = 600 } }"));
    server.begin_round(Round(0), &ids(0..3), None).unwrap();
    for id in 0..3 {
        sum(&mut server, long(id, 20, 100.0)).unwrap();
    }
    let orders = server.select(&Context::new(8)).unwrap();
    assert_eq!(orders.values().map(ordered).collect::<Vec<_>>(), [200; 3]);
    let few = BTreeMap::from([(ClientId(0), 5), (ClientId(1), 1), (ClientId(2), 0)]);
    protocol_error(server.end_round(&BTreeMap::from([(ClientId(0), 21)])), "at most 20");
    let report = server.end_round(&few).unwrap();
    assert_eq!((report.trained[&ClientId(0)], report.missing_tokens), (5, 200));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_sizes_and_lengths_meet_any_budget(
        clients in proptest::collection::vec(proptest::collection::vec((0u8..4, 1u32..2000), 1..25), 1..6),
        budget in 1u64..20_000, method in 0usize..3,
    ) {
        let count = Count::Tokens(budget);
        let pipeline = match method {
            0 => by_whole_part(count),
            1 => featureless(Random, count),
            _ => featureless(Stratified, count),
        };
        let mut server = server(pipeline.clone());
        let all: u64 = clients.iter().flatten().map(|(_, tokens)| u64::from(*tokens)).sum();
        let start = server.begin_round(Round(0), &ids(0..clients.len() as u32), Some(&global())).unwrap();
        let mut machines = Vec::new();
        for (records, id) in clients.iter().zip(0u32..) {
            let points = match method {
                0 => column(&records.iter().map(|(group, _)| f32::from(*group)).collect::<Vec<_>>()),
                _ => Matrix::zeros(records.len(), 0),
            };
            let tokens: Vec<u32> = records.iter().map(|(_, tokens)| *tokens).collect();
            let mut client = Client::new(ClientId(id), &pipeline);
            let summary = client.summarize(&start, Rows::new(&points).tokens(&tokens), &Context::new(1)).unwrap();
            sum(&mut server, summary).unwrap();
            machines.push(client);
        }
        let orders = server.select(&Context::new(2)).unwrap();
        let asked: u64 = orders.values().map(ordered).sum();
        // A group that is ordered whole may hold less than its part of the budget.
        let longest = clients.iter().flatten().map(|(_, tokens)| u64::from(*tokens)).max().unwrap();
        prop_assert!(asked <= budget.max(orders.len() as u64) && asked + longest >= budget.min(all), "{asked} of {budget}, {all} in all");
        for (id, order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
            let rows = machines[id.index()].choose(order, &Context::new(3)).unwrap();
            let records = &clients[id.index()];
            let of = |row: usize| u64::from(records[row].1);
            let given = |row: usize| method > 0 || order.clusters.iter().any(|wanted| {
                // The groups are numbered in the order of their first records.
                let mut seen: Vec<u8> = Vec::new();
                records.iter().for_each(|(group, _)| if !seen.contains(group) { seen.push(*group) });
                seen[wanted.cluster.index()] == records[row].0
            });
            let held: u64 = (0..records.len()).filter(|row| given(*row)).map(of).sum();
            let (spent, wanted) = (rows.iter().map(|row| of(row.index())).sum::<u64>(), ordered(order));
            let longest = (0..records.len()).map(of).max().unwrap();
            prop_assert!(!rows.is_empty() && rows.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(rows.iter().all(|row| given(row.index())));
            prop_assert!(spent.abs_diff(wanted.min(held)) <= longest, "{spent} of {wanted}, {held} held");
            prop_assert!(rows.len() == 1 || spent <= wanted + longest / 2);
        }
    }
}
