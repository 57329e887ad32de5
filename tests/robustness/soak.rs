//! Two hundred rounds with a third of the clients hostile: each sends another attack in each round, drawn by the seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::aggregate::AggregatorConfig;
use fedhds_core::client::Client;
use fedhds_core::method::{MethodConfig, Pipeline};
use fedhds_core::protocol::{
    Ask, ClientSummary, Group, GroupScores, GroupsDigest, LocalUpdate, MAGIC, PROTOCOL_VERSION, RoundStart,
    SelectionOrder, TrainedGroups, Wire,
};
use fedhds_core::server::{RoundReport, Server, ServerState};
use fedhds_core::stage::Trained;
use fedhds_core::types::{
    Adapter, AdapterConfig, AdapterTensor, ClientId, ClusterId, Context, Matrix, Rng, Round, Scores, Seed,
};
use rand::RngExt as _;
use std::collections::BTreeMap;

const CLIENTS: u32 = 9;
const ROUNDS: u32 = 200;
const RECORDS: usize = 24;
const DIMS: usize = 4;
const WIDTH: usize = 6;
/// Closer than the default, so that far updates are drawn back in many rounds.
const MAX_STEP: f64 = 10.0;

fn pipeline(preset: &str) -> Pipeline {
    let grouped = ["fedhds_coverage", "fedhds_shared"].contains(&preset);
    let memory = if preset == "fedhds_coverage" { "server.memory = \"coverage\"\n" } else { "" };
    let dims = if grouped {
        format!("{memory}client.shared_dims = {DIMS}\nclient.layer_norm = false\n")
    } else {
        String::new()
    };
    let text = format!(
        "preset = \"{preset}\"\ncount = {{ budget = 18 }}\nserver.share_cap = 1.5\nserver.limits = {{ max_step = {MAX_STEP} }}\n{dims}"
    );
    MethodConfig::from_toml_str(&text).unwrap().pipeline(1).unwrap()
}

/// Clients of the same number are hostile in all rounds.
fn is_hostile(client: u32) -> bool {
    client % 3 == 1
}

fn adapter(values: &[f32]) -> Adapter {
    let config = AdapterConfig { r: 1, target_modules: vec!["q".into()], ..AdapterConfig::default() };
    let half = values.len() / 2;
    let tensor = |data: &[f32]| AdapterTensor { shape: [1, data.len()], data: data.to_vec() };
    let tensors = [("q.lora_A.weight", tensor(&values[..half])), ("q.lora_B.weight", tensor(&values[half..]))];
    Adapter { config, tensors: tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into() }
}

fn values(adapter: &Adapter) -> Vec<f32> {
    adapter.tensors.values().flat_map(|tensor| tensor.data.iter().copied()).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
}

/// A message of a client that does not check what it sends.
fn raw<M: Wire>(message: &M) -> Vec<u8> {
    let header = [&MAGIC[..], &[PROTOCOL_VERSION, M::KIND.byte()]].concat();
    postcard::to_extend(message, header).unwrap()
}

/// A value that training never gives.
fn wild(rng: &mut Rng) -> f32 {
    [f32::MAX, f32::MIN, 3e38, -1e30, 1e-45, 1e10, f32::NAN, f32::INFINITY][rng.random_range(0..8usize)]
}

/// What a hostile client sends in the place of a summary.
fn bad_summary(client: u32, round: Round, ask: Ask, rng: &mut Rng) -> Vec<Vec<u8>> {
    let dims = match ask {
        Ask::Counts => 0,
        _ => DIMS,
    };
    let groups =
        |count: u32, size: u32| (0..count).map(|id| Group { cluster: ClusterId(id), size }).collect::<Vec<_>>();
    let summary = |groups: Vec<Group>, cols: usize, mut value: Box<dyn FnMut() -> f32>| {
        let data = (0..groups.len() * cols).map(|_| value()).collect();
        let centroids = Matrix::new(groups.len(), cols, data).unwrap();
        ClientSummary::new(ClientId(client), round, groups, centroids)
    };
    let still = |value: f32| -> Box<dyn FnMut() -> f32> { Box::new(move || value) };
    let noise = rng.random_range(-1e6f32..1e6);
    let good = summary(groups(if dims == 0 { 1 } else { 3 }, 8), dims, still(noise));
    match rng.random_range(0..13u32) {
        0 => vec![],
        1 => vec![vec![rng.random_range(0..255u8); rng.random_range(0..200usize)]],
        2 => {
            let bytes = raw(&good);
            vec![bytes[..rng.random_range(0..bytes.len())].to_vec()]
        }
        3 => vec![raw(&ClientSummary { client: ClientId((client + 1) % CLIENTS), ..good })],
        4 => vec![raw(&ClientSummary { round: Round(round.0 + 1), ..good })],
        5 => vec![raw(&summary(groups(1, 1 << 24), dims, still(noise)))],
        6 => vec![raw(&summary(groups(if dims == 0 { 1 } else { 300 }, 50_000), dims, still(noise)))],
        7 => vec![raw(&summary(groups(3, 8), dims + 1, still(noise)))],
        8 => {
            let value = wild(rng);
            vec![raw(&summary(groups(if dims == 0 { 1 } else { 12 }, 1), dims, still(value)))]
        }
        9 => vec![raw(&good), raw(&good)],
        10 => vec![[raw(&good), vec![0; 5 << 20]].concat()],
        11 => {
            let mut named = good;
            let scores = Scores::new([format!("{}{client}", "x".repeat(60))], Matrix::zeros(named.groups.len(), 1));
            named.sections.set(&GroupScores(scores.unwrap())).unwrap();
            vec![raw(&named)]
        }
        _ => {
            let mut digest = ClientSummary::new(ClientId(client), round, Vec::new(), Matrix::zeros(0, 0));
            digest.sections.set(&GroupsDigest(rng.random_range(0..u64::MAX))).unwrap();
            vec![raw(&digest)]
        }
    }
}

/// What a hostile client sends in the place of an update.
fn bad_update(client: u32, order: &SelectionOrder, global: &[f32], rng: &mut Rng) -> Vec<Vec<u8>> {
    let ordered = order.records() as u32;
    let update =
        |records: u32, values: &[f32]| LocalUpdate::new(ClientId(client), order.round, records, adapter(values));
    let far: Vec<f32> =
        global.iter().map(|&value| if rng.random_range(0..2u8) == 0 { -value } else { wild(rng) }).collect();
    let huge = [1e30, -1e30, 3e38, f32::MAX, 1e5, -7.0][rng.random_range(0..6usize)];
    let good = update(ordered, &vec![huge; global.len()]);
    match rng.random_range(0..14u32) {
        0 => vec![],
        1 => vec![vec![rng.random_range(0..255u8); rng.random_range(0..200usize)]],
        2 => vec![raw(&update(ordered, &far))],
        3..6 => vec![raw(&good)],
        6 => vec![raw(&update(u32::MAX, global))],
        7 => vec![raw(&update(1 << 24, global)), raw(&update(0, global)), raw(&update(ordered + 1, global))],
        8 => vec![raw(&LocalUpdate { client: ClientId((client + 1) % CLIENTS), ..good })],
        9 => vec![raw(&LocalUpdate { loss: Some(wild(rng)), ..good })],
        10 => {
            let mut other = good;
            other
                .adapter
                .tensors
                .insert(format!("{}\n\u{1b}[2J", "x".repeat(5000)), AdapterTensor { shape: [1, 1], data: vec![0.0] });
            vec![raw(&other)]
        }
        11 => {
            let mut other = good;
            other.adapter.config.r = 2;
            vec![raw(&other)]
        }
        12 => {
            let mut other = good;
            other.sections.set(&TrainedGroups(vec![(ClusterId(rng.random_range(0..9)), ordered)])).unwrap();
            vec![raw(&other), raw(&update(ordered, global))]
        }
        _ => {
            let mut other = good;
            let tensor = other.adapter.tensors.values_mut().next().unwrap();
            tensor.shape = [tensor.shape[1], 1];
            vec![raw(&other)]
        }
    }
}

/// How far the round may go, as `server.limits.max_step` says it.
fn bound(mut distances: Vec<f64>, global: f64) -> f64 {
    distances.retain(|&distance| distance > 0.0);
    distances.sort_by(f64::total_cmp);
    let usual = match distances.as_slice() {
        [] => 0.0,
        [_] => global.max(1.0),
        [nearer, _] => nearer.max(global).max(1.0),
        more => more[more.len() / 2],
    };
    MAX_STEP * usual
}

struct Soak {
    server: Server,
    clients: Vec<Client>,
    features: Vec<Matrix>,
    global: Vec<f32>,
    rng: Rng,
    /// Rounds in which an update was drawn back.
    drawn: usize,
}

impl Soak {
    fn new(preset: &str, aggregator: &str, seed: u64) -> Self {
        let pipeline = pipeline(preset);
        let mut rng = Seed(seed).derive("soak", 0).rng();
        let mut features = |client: u32| {
            let mut row = |at: usize, column: usize| {
                let topic = ((at % 4) * 7 + column * 3 + client as usize) % 5;
                topic as f32 + 0.1 * rng.random_range(-1.0f32..1.0)
            };
            Matrix::new(RECORDS, WIDTH, (0..RECORDS * WIDTH).map(|at| row(at / WIDTH, at % WIDTH)).collect()).unwrap()
        };
        let features = (0..CLIENTS).map(&mut features).collect();
        Self {
            server: server(preset, aggregator, seed),
            clients: (0..CLIENTS).map(|client| Client::new(ClientId(client), &pipeline)).collect(),
            features,
            global: vec![0.25; 8],
            rng,
            drawn: 0,
        }
    }

    /// A round; what the report says, and how far the adapter may have gone and went.
    fn round(&mut self, round: Round) -> (RoundReport, f64, f64) {
        let everybody: Vec<ClientId> = (0..CLIENTS).map(ClientId).collect();
        let start = self.server.begin_round(round, &everybody, Some(&adapter(&self.global))).unwrap();
        let start = RoundStart::decode(&start.encode().unwrap()).unwrap();
        let context = |client: u32| Context::new(Seed(u64::from(round.0)).derive("client", u64::from(client)));
        for client in 0..CLIENTS {
            let at = client as usize;
            if is_hostile(client) {
                for message in bad_summary(client, round, start.ask, &mut self.rng) {
                    let _ = self.server.receive(ClientId(client), &message);
                }
            } else {
                let summary = self.clients[at].summarize(&start, &self.features[at], &context(client)).unwrap();
                self.server.receive(ClientId(client), &summary.encode().unwrap()).unwrap();
            }
        }
        let orders = self.server.select(&context(99)).expect("no client ends the selection");
        let mut distances: BTreeMap<u32, f64> = BTreeMap::new();
        for (&ClientId(client), order) in orders.iter().filter(|(_, order)| !order.is_empty()) {
            if is_hostile(client) {
                for message in bad_update(client, order, &self.global, &mut self.rng) {
                    if self.server.receive(ClientId(client), &message).is_ok() {
                        let update = LocalUpdate::decode(&message).unwrap();
                        distances.insert(client, distance(&values(&update.adapter), &self.global));
                    }
                }
                continue;
            }
            let machine = &mut self.clients[client as usize];
            let rows = machine.choose(order, &context(client)).unwrap();
            // Towards a place that all share, a little beside it.
            let trained: Vec<f32> = self
                .global
                .iter()
                .map(|&value| {
                    value + 0.1 * rows.len() as f32 * (1.0 - value) + 0.01 * self.rng.random_range(-1.0f32..1.0)
                })
                .collect();
            distances.insert(client, distance(&trained, &self.global));
            let trained = Trained { adapter: adapter(&trained), losses: vec![1.0], skipped: 0, tokens: 1 };
            let update = machine.update(order, &rows, trained).unwrap();
            machine.mark_trained(rows);
            self.server.receive(ClientId(client), &update.encode().unwrap()).unwrap();
        }
        let most = bound(distances.values().copied().collect(), distance(&self.global, &[0.0; 8]));
        let finished = self.server.finish_round().expect("no client ends the round");
        let before = self.global.clone();
        if let Some(adapter) = &finished.adapter {
            self.global = values(adapter);
        }
        self.drawn += usize::from(!finished.report.aggregation.limited.is_empty());
        (finished.report, most, distance(&before, &self.global))
    }
}

fn server(preset: &str, aggregator: &str, seed: u64) -> Server {
    let aggregator: AggregatorConfig = serde_json::from_str(&format!("{{\"kind\":\"{aggregator}\"}}")).unwrap();
    Server::new(pipeline(preset), Seed(seed), aggregator.build().unwrap()).unwrap()
}

/// The whole run; its last adapter as bits.
fn soak(preset: &str, aggregator: &str, seed: u64) -> Vec<u32> {
    let mut soak = Soak::new(preset, aggregator, seed);
    let what = format!("{preset}, {aggregator}, seed {seed}");
    for round in (0..ROUNDS).map(Round) {
        let (report, most, step) = soak.round(round);
        assert!(soak.global.iter().all(|value| value.is_finite()), "{what}, round {round}: {:?}", soak.global);
        assert!(report.left_out.keys().all(|client| is_hostile(client.0)), "{what}, round {round}: {report:?}");
        assert!(report.left_out.values().all(|why| why.len() < 500 && !why.contains(char::is_control)), "{report:?}");
        let honest = report.trained.iter().filter(|(client, _)| !is_hostile(client.0)).count();
        assert!(honest > 0 && report.aggregation.discarded.is_none(), "{what}, round {round} is lost: {report:?}");
        if aggregator == "weighted_mean" {
            let scale = distance(&soak.global, &[0.0; 8]);
            assert!(step <= most * (1.0 + 1e-5) + 1e-5 * scale, "{what}, round {round}: {step} of {most}");
        }
        if round.0 % 50 == 49 {
            // Another process goes on.
            let state = soak.server.state().unwrap().to_bytes().unwrap();
            soak.server = server(preset, aggregator, seed);
            soak.server.resume(ServerState::from_bytes(&state).unwrap(), None).unwrap();
        }
    }
    assert!(soak.drawn > 5, "{what}: {} rounds had an update that was too far", soak.drawn);
    soak.global.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn two_hundred_rounds_with_a_third_hostile() {
    for (preset, aggregator) in [
        ("stratified", "weighted_mean"),
        ("random", "fedadam"),
        ("fedhds_coverage", "weighted_mean"),
        ("stratified", "fedavgm"),
    ] {
        let bits = soak(preset, aggregator, 7);
        if (preset, aggregator) == ("stratified", "weighted_mean") {
            assert_eq!(soak(preset, aggregator, 7), bits, "the same attacks end with the same bits");
        }
    }
}
