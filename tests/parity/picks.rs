//! The records that each method chose, and the adapters that came of it, in release 0.1.0: feature matrices in, picks out.
//!
//! The features are dyadic numbers made from integers, so that every machine has the same ones. What is kept was checked to
//! stay the same when every feature moves by a millionth, so that the kernels of another processor do not change it.
//! `FEDHDS_KEEP=1 cargo test -p fedhds-tests --test parity picks` writes the file anew.

use crate::toy::{self, TENSOR, ToyFeatures, ToyTrainer};
use fedhds_core::aggregate::WeightedMean;
use fedhds_core::client::Client;
use fedhds_core::method::{FeatureSource, MethodConfig, Preset};
use fedhds_core::protocol::Message;
use fedhds_core::server::Server;
use fedhds_core::simulate::{EvaluationSchedule, Participation, Simulation, SimulationSettings};
use fedhds_core::types::{ClientId, Context, Matrix, Round, Seed};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/picks/picks.json");
const LAYERS: usize = 2;
const WIDTH: usize = 12;
const TOPICS: usize = 5;
const ROUNDS: u32 = 3;

/// What each method chose: per round, per client of the round, the rows.
type Picks = Vec<BTreeMap<u32, Vec<u32>>>;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Kept {
    /// By method and seed.
    picks: BTreeMap<String, BTreeMap<u64, Picks>>,
    /// The global adapter's values after three rounds of a simulation, by method.
    adapters: BTreeMap<String, Vec<f32>>,
}

/// Fewer steps of t-SNE than by default: these topics lie far apart, and tests are compiled without optimisation.
const QUICK: &str = "client.reducer = { max_iter = 250, early_exaggeration_iter = 100 }";

/// Features of text have as many columns as the shared coordinates.
const TEXT: &str = "client.shared_dims = 24";

/// The presets, and variants that reach every other stage; by name.
fn methods() -> BTreeMap<String, String> {
    // Those that came later have nothing to be held to.
    let kept = |preset: &&Preset| !matches!(preset, Preset::Perplexity | Preset::GlobalSelect);
    let presets = Preset::ALL.iter().filter(kept).map(|preset| {
        let quick = match preset {
            Preset::Fedhds | Preset::FedhdsTurbo | Preset::FedhdsShared => QUICK,
            Preset::FedhdsRobust => TEXT,
            _ => "",
        };
        (preset.name().to_owned(), format!("preset = \"{preset}\"\n{quick}"))
    });
    let variants = [
        ("singletons", format!("preset = \"fedhds\"\n{QUICK}\nclient.noise = \"singletons\"\nserver.noise = \"singletons\"\nclient.selector = \"random_member\"")),
        ("one group", format!("preset = \"fedhds\"\n{QUICK}\nclient.ungrouped = \"one_group\"\nserver.clusterer = \"none\"")),
        ("pca", "preset = \"fedhds\"\nclient.reducer = \"pca\"\nserver.selector = \"random_member\"".into()),
        ("kernel pca", "preset = \"fedhds_turbo\"\nclient.reducer = \"kernel_pca\"\nclient.layer_norm = true\nclient.selector = \"spread\"".into()),
        ("hdbscan to a budget", "preset = \"fedhds_turbo\"\nclient.reducer = \"pca\"\nclient.frame = \"shared\"\ncount = { budget = 7 }\nclient.repeats = \"avoid\"".into()),
        ("facility location", "preset = \"fedhds_turbo\"\nclient.reducer = \"pca\"\nclient.frame = \"shared\"\ncount = { ratio = 0.1 }\nserver.clusterer = \"none\"\nserver.selector = \"facility_location\"".into()),
        ("stratified groups", "preset = \"fedhds_turbo\"\nclient.reducer = \"pca\"\nclient.frame = \"shared\"\ncount = { budget = 40 }\nserver.clusterer = \"none\"\nserver.selector = \"stratified\"".into()),
        ("weighted k-means", "preset = \"fedhds_shared\"\nclient.reducer = \"pca\"\nserver.clusterer = { weighted = true }".into()),
        ("random, ratio", "preset = \"random\"\ncount = { ratio = 0.2 }".into()),
        ("stratified, per round", "preset = \"stratified\"\ncount = { per_round = [5, 0, 9] }".into()),
    ];
    presets.chain(variants.map(|(name, method)| (name.to_owned(), method))).collect()
}

/// The features of one client's records: three topics of 12 to 16 records, values in 1/64.
fn features(seed: u64, client: u32, moved: bool) -> Matrix {
    let mut rng = Seed(seed).derive("picks: topics", 0).rng();
    let centres: Vec<Vec<i32>> =
        (0..TOPICS).map(|_| (0..LAYERS * WIDTH).map(|_| rng.random_range(-256..=256)).collect()).collect();
    let mut rng = Seed(seed).derive("picks: client", client.into()).rng();
    let mut data = Vec::new();
    let mut rows = 0;
    for nth in 0..3 {
        let centre = &centres[(client as usize + nth * 2) % TOPICS];
        for _ in 0..rng.random_range(12..=16) {
            rows += 1;
            data.extend(centre.iter().map(|c| (c + rng.random_range(-40..=40)) as f32 / 64.0));
        }
    }
    if moved {
        for (at, value) in data.iter_mut().enumerate() {
            *value *= 1.0 + 1e-6 * (((at * 7919) % 13) as f32 - 6.0) / 6.0;
        }
    }
    Matrix::new(rows, LAYERS * WIDTH, data).unwrap()
}

/// Three rounds of a federation of six clients, of which five take part in each; what each client chose.
fn choose(method: &str, seed: u64, moved: bool) -> Picks {
    let pipeline = MethodConfig::from_toml_str(method).unwrap().pipeline(LAYERS).unwrap();
    let mut server = Server::new(pipeline.clone(), Seed(seed), Box::new(WeightedMean::new())).unwrap();
    let mut clients: Vec<Client> = (0..6).map(|id| Client::new(ClientId(id), &pipeline)).collect();
    (0..ROUNDS)
        .map(|number| {
            let round = Round(number);
            let ids: Vec<ClientId> = (0..6).filter(|id| *id != number).map(ClientId).collect();
            let start = server.begin_round(round, &ids, None).unwrap();
            for id in &ids {
                let context = Context::new(Seed(seed).of_call(round, "client", id.0, "summarize"));
                let features = features(seed, id.0, moved);
                let summary = clients[id.index()].summarize(&start, &features, &context).unwrap();
                server.receive_message(*id, Message::ClientSummary(summary)).unwrap();
            }
            let orders = server.select(&Context::new(Seed(seed).of_call(round, "server", 0, "select"))).unwrap();
            let mut picks = BTreeMap::new();
            for (id, order) in orders {
                let context = Context::new(Seed(seed).of_call(round, "client", id.0, "choose"));
                let rows = clients[id.index()].choose(&order, &context).unwrap();
                clients[id.index()].mark_trained(rows.iter().copied());
                picks.insert(id.0, rows.iter().map(|row| row.0).collect());
            }
            server.abandon_round();
            picks
        })
        .collect()
}

/// The adapter after three rounds of toy training.
fn adapter(method: &str) -> Vec<f32> {
    let mut method = MethodConfig::from_toml_str(method).unwrap();
    if method.features == FeatureSource::Text {
        method.client.shared_dims = 3; // the toy's
    }
    let pipeline = method.pipeline(1).unwrap();
    let outcome = Simulation::new(
        pipeline,
        Arc::new(toy::data(8, 20, 5).clients),
        Arc::new(ToyTrainer::default()),
        Box::new(WeightedMean::new()),
    )
    .settings(SimulationSettings {
        rounds: ROUNDS as usize,
        participation: Participation::Count(5),
        evaluate: EvaluationSchedule::Never,
        ..SimulationSettings::default()
    })
    .extractor(Arc::new(ToyFeatures::new(true)))
    .seed(Seed(11))
    .run()
    .unwrap();
    outcome.adapter.tensors[TENSOR].data.clone()
}

#[test]
fn every_method_chooses_what_the_first_release_chose() {
    if std::env::var_os("FEDHDS_KEEP").is_some() {
        return keep();
    }
    let kept: Kept = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let methods = methods();
    assert!(kept.picks.keys().eq(methods.keys()), "the file has every method");
    for (name, by_seed) in &kept.picks {
        for (&seed, picks) in by_seed {
            assert_eq!(choose(&methods[name], seed, false), *picks, "{name}, seed {seed}");
        }
    }
    for (name, values) in &kept.adapters {
        let got = adapter(&methods[name]);
        assert_eq!(got.len(), values.len());
        for (got, kept) in got.iter().zip(values) {
            assert!((got - kept).abs() <= 1e-5, "{got} in place of {kept} with {name}");
        }
    }
}

fn keep() {
    let mut kept = Kept { picks: BTreeMap::new(), adapters: BTreeMap::new() };
    for (name, method) in methods() {
        let mut by_seed = BTreeMap::new();
        for seed in 0..40 {
            let picks = choose(&method, seed, false);
            if choose(&method, seed, true) == picks {
                by_seed.insert(seed, picks);
            }
            if by_seed.len() == 2 {
                break;
            }
        }
        assert!(!by_seed.is_empty(), "no seed whose picks stay the same under rounding: {name}");
        kept.adapters.insert(name.clone(), adapter(&method));
        kept.picks.insert(name, by_seed);
    }
    std::fs::write(FILE, serde_json::to_string(&kept).unwrap() + "\n").unwrap();
}
