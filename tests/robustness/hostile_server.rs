//! What a server can make a client say or do: each question is answered once, pins hold, work is bounded.

use fedhds_core::client::{Client, Pair, SavedClient};
use fedhds_core::features::{TextFeatures, TextFeaturesConfig};
use fedhds_core::method::{AllowedMethods, Copies, MethodConfig, Pipeline, Preset};
use fedhds_core::protocol::{
    Ask, ClusterOrder, GateLimit, GateQuestion, OrderTokens, RecordKeys, Registered, RegisteredClient, RoundStart,
    SelectionOrder, SpareGroups, TokensAsked, Wire as _,
};
use fedhds_core::stage::Rows;
use fedhds_core::types::{ClientId, ClusterId, Context, Matrix, Round, RowId, Scores, Seed};
use fedhds_core::{Error, Result};
use proptest::prelude::*;

const RECORDS: usize = 40;

/// Rows of the text hash that `fedhds_robust` looks at.
pub(crate) fn text_rows<T: AsRef<str>>(texts: &[T]) -> Matrix {
    let features = TextFeatures::new(TextFeaturesConfig::default()).unwrap();
    let mut rows = Matrix::zeros(texts.len(), features.hasher().dims());
    for (row, text) in texts.iter().enumerate() {
        features.hasher().row(text.as_ref(), &[], rows.row_mut(row)).unwrap();
    }
    rows
}

/// Features of texts of a few topics; every method takes them, whatever its own are.
fn features(records: usize) -> Matrix {
    let topics = ["name the capital of", "add the numbers", "translate into French:", "what sound makes a"];
    let text = |row: usize| format!("{} {} {}", topics[row % topics.len()], row * 37 % 101, "abcdefgh".repeat(row % 3));
    text_rows(&(0..records).map(text).collect::<Vec<_>>())
}

fn pipeline(preset: Preset) -> Pipeline {
    preset.config().pipeline(1).unwrap()
}

fn start(pipeline: &Pipeline, round: u32) -> RoundStart {
    let mut start = RoundStart::new(Round(round), pipeline.ask());
    start.sections.set(&RecordKeys(Seed(5))).unwrap();
    start
}

/// Rows of a method that looks at features, or at none.
fn rows_of(pipeline: &Pipeline) -> Matrix {
    if pipeline.client.clusterer.is_some() { features(RECORDS) } else { Matrix::zeros(RECORDS, 0) }
}

fn order(round: u32, clusters: &[(u32, u32)]) -> SelectionOrder {
    let clusters = clusters.iter().map(|&(c, count)| ClusterOrder { cluster: ClusterId(c), count }).collect();
    SelectionOrder::new(ClientId(3), Round(round), clusters)
}

fn refused<T>(result: Result<T>, word: &str) {
    match result.map(|_| ()) {
        Err(error @ Error::Protocol { .. }) => {
            let error = error.to_string();
            assert!(error.contains(word), "expected `{word}` in: {error}");
        }
        Err(error) => panic!("expected a protocol error with `{word}`, got {error}"),
        Ok(()) => panic!("expected a protocol error with `{word}`, got an answer"),
    }
}

/// The client in another process.
fn moved(client: &Client, pipeline: &Pipeline) -> Client {
    let mut again = Client::new(client.id(), pipeline);
    again.restore(SavedClient::from_bytes(&client.saved().to_bytes().unwrap()).unwrap()).unwrap();
    again
}

#[test]
fn a_rounds_start_is_answered_once_with_every_preset() {
    for preset in Preset::ALL {
        let pipeline = pipeline(preset);
        let features = rows_of(&pipeline);
        let mut client = Client::new(ClientId(3), &pipeline);
        let first = client.summarize(&start(&pipeline, 4), &features, &Context::new(1)).unwrap().encode().unwrap();
        for mut client in [client.clone(), moved(&client, &pipeline)] {
            // A resend repeats the bytes, though the records have changed, and whatever the server claims to know.
            let fewer = features.take_rows(&(3..RECORDS).collect::<Vec<_>>()).unwrap();
            let again = client.summarize(&start(&pipeline, 4), &fewer, &Context::new(1)).unwrap();
            assert_eq!(again.encode().unwrap(), first, "{preset}");
            let mut told = start(&pipeline, 4);
            let known = RegisteredClient { client: ClientId(3), digest: 1, credited: None, answered: true };
            told.sections.set(&Registered(vec![known])).unwrap();
            assert_eq!(client.summarize(&told, &features, &Context::new(1)).unwrap().encode().unwrap(), first);
            // Another seed, other questions, an earlier round.
            let mut summarize = |start: &RoundStart, seed| client.summarize(start, &features, &Context::new(seed));
            refused(summarize(&start(&pipeline, 4), 2), "for an answered round");
            let mut asked = start(&pipeline, 4);
            asked.sections.set(&GateQuestion { representatives: 8, decoys: 4, topics: 3 }).unwrap();
            refused(summarize(&asked, 1), "for an answered round");
            refused(summarize(&start(&pipeline, 3), 1), "at least 4");
            // Another seed of the records' keys, now and in any later round.
            for round in [4, 5] {
                let mut other = start(&pipeline, round);
                other.sections.set(&RecordKeys(Seed(6))).unwrap();
                refused(summarize(&other, 1), "record_keys: expected 5, which this client was told first");
            }
            // Its owner may let it forget.
            client.unpin();
            let mut other = start(&pipeline, 3);
            other.sections.set(&RecordKeys(Seed(6))).unwrap();
            client.summarize(&other, &features, &Context::new(2)).unwrap();
        }
    }
}

#[test]
fn an_order_is_answered_once_with_every_preset() {
    for preset in Preset::ALL {
        let pipeline = pipeline(preset);
        let features = rows_of(&pipeline);
        let losses = (0..RECORDS).map(|row| (row * 37 % 11) as f32).collect();
        let scores = Scores::new(["loss"], Matrix::new(RECORDS, 1, losses).unwrap()).unwrap();
        let mut client = Client::new(ClientId(3), &pipeline);
        let rows = Rows::new(&features).scores(Some(&scores));
        let summary = client.summarize(&start(&pipeline, 4), rows, &Context::new(1)).unwrap();
        let Some(group) = summary.groups.first() else { continue };
        // Where each record is a group, the other order is for another one.
        let (one, other) = match summary.groups.get(1) {
            Some(next) if group.size == 1 => (order(4, &[(group.cluster.0, 1)]), order(4, &[(next.cluster.0, 1)])),
            _ => (order(4, &[(group.cluster.0, 2)]), order(4, &[(group.cluster.0, 1)])),
        };
        let rows = client.choose(&one, &Context::new(1)).unwrap();
        client.mark_trained(rows.iter().copied());
        for mut client in [client.clone(), moved(&client, &pipeline)] {
            assert_eq!(client.choose(&one, &Context::new(1)).unwrap(), rows, "{preset}: a resend, after training");
            refused(client.choose(&other, &Context::new(1)), "for an answered round");
            refused(client.choose(&one, &Context::new(2)), "for an answered round");
            let mut spares = one.clone();
            spares.sections.set(&SpareGroups(vec![group.cluster])).unwrap();
            refused(client.choose(&spares, &Context::new(1)), "for an answered round");
            let mut gate = one.clone();
            gate.sections.set(&GateLimit { least_score: 0.0, decoys: 1, tries: 1 }).unwrap();
            refused(client.choose_scored(&gate, &Context::new(1), &mut |_| Ok(Vec::new())), "for an answered round");
            client.unpin();
            assert_eq!(client.choose(&other, &Context::new(1)).unwrap().len(), 1);
        }
    }
}

#[test]
fn the_gates_question_is_the_first_one_for_good() {
    let pipeline = pipeline(Preset::FedhdsRobust);
    let mut client = Client::new(ClientId(3), &pipeline);
    let asked = |round, representatives| {
        let mut start = start(&pipeline, round);
        start.sections.set(&GateQuestion { representatives, decoys: 4, topics: 3 }).unwrap();
        start
    };
    client.summarize(&asked(0, 8), &features(RECORDS), &Context::new(1)).unwrap();
    // One record more: the difference of the two histograms would be that record's scores.
    refused(client.summarize(&asked(1, 9), &features(RECORDS), &Context::new(1)), "gate_question");
    client.summarize(&asked(1, 8), &features(RECORDS), &Context::new(1)).unwrap();
}

#[test]
fn the_seed_of_the_experiment_is_the_first_one_for_good() {
    let pipeline = pipeline(Preset::FedhdsCoverage);
    let mut client = Client::new(ClientId(3), &pipeline);
    client.pin_seed(Seed(7)).unwrap();
    client.pin_seed(Seed(7)).unwrap();
    refused(client.pin_seed(Seed(8)), "expected 7, which this client was told first");
    refused(moved(&client, &pipeline).pin_seed(Seed(8)), "expected 7");
    client.unpin();
    client.pin_seed(Seed(8)).unwrap();
}

#[test]
fn a_client_trains_on_no_more_records_than_it_agrees_to() {
    let pipeline = pipeline(Preset::All);
    let mut client = Client::new(ClientId(3), &pipeline);
    client.set_max_records(10);
    let mut asked = start(&pipeline, 4);
    asked.sections.set(&TokensAsked).unwrap();
    let (records, tokens) = (Matrix::zeros(RECORDS, 0), vec![5; RECORDS]);
    client.summarize(&asked, Rows::new(&records).tokens(&tokens), &Context::new(1)).unwrap();
    let refusals = client.clone();
    refused(refusals.choose(&order(4, &[(0, 11)]), &Context::new(1)), "at most 10, which this client agrees to");
    // In tokens the order's counts are proportions; what comes of them counts.
    let in_tokens = |tokens| {
        let mut order = order(4, &[(0, 40)]);
        order.sections.set(&OrderTokens(tokens)).unwrap();
        order
    };
    refused(client.clone().choose(&in_tokens(u64::MAX), &Context::new(1)), "at most 10");
    assert_eq!(client.clone().choose(&in_tokens(50), &Context::new(1)).unwrap().len(), 10);
    assert_eq!(client.choose(&order(4, &[(0, 10)]), &Context::new(1)).unwrap().len(), 10);
}

/// Twenty records of one topic, and one odd record that comes three times in other clothes.
fn with_an_odd_one() -> (Matrix, Vec<u32>) {
    let mut texts: Vec<String> =
        (0..20).map(|i| format!("Name the sound of animal number {i}, please say it")).collect();
    texts.extend(["My bank code is 4711", "my bank code is 4711!", "My  BANK code is: 4711"].map(String::from));
    (text_rows(&texts), (0..20).chain([20, 20, 20]).collect())
}

#[test]
fn copies_of_a_lone_record_are_one_record_in_every_count() {
    let (features, copies) = with_an_odd_one();
    let settings = [
        "preset = \"fedhds_coverage\"",
        "preset = \"fedhds_robust\"\nclient.clusterer.min_rows_per_cluster = 1",
        "preset = \"fedhds_coverage\"\nclient.min_group_size = 1\nclient.upload.min_group_size = 3",
        "preset = \"fedhds_robust\"\nclient.min_group_size = 1\nclient.upload.min_group_size = 3",
    ];
    for settings in settings {
        let pipeline = MethodConfig::from_text(settings).unwrap().pipeline(1).unwrap();
        let mut client = Client::new(ClientId(3), &pipeline);
        let rows = match pipeline.client.near_copies {
            Copies::Collapse => Rows::new(&features).copies(&copies),
            Copies::Keep => Rows::new(&features).alike(&copies),
        };
        let summary = client.summarize(&start(&pipeline, 0), rows, &Context::new(1)).unwrap();
        let labels = &client.state().unwrap().clustering.labels;
        for group in &summary.groups {
            let members = (0..23).filter(|&row| labels[row] == Some(group.cluster));
            assert!(members.clone().any(|row| row < 20), "{settings}: a group of one record is shown");
            let mut distinct: Vec<u32> = members.map(|row| copies[row]).collect();
            distinct.dedup();
            assert!(distinct.len() >= 3, "{settings}: {distinct:?}");
        }
        // What is not shown cannot be ordered either.
        let shown: Vec<ClusterId> = summary.groups.iter().map(|group| group.cluster).collect();
        if let Some(hidden) = labels.iter().flatten().find(|label| !shown.contains(label)) {
            refused(client.choose(&order(0, &[(hidden.0, 1)]), &Context::new(1)), "which was not sent");
        }
    }
}

/// Numbers at the ends of what a message can say, and some between.
fn extreme() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), 0u32..80, Just(1 << 20), Just(u32::MAX - 1), Just(u32::MAX), any::<u32>()]
}

fn extreme_u64() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0u64..500, Just(u64::MAX), any::<u64>()]
}

prop_compose! {
    fn any_start()(
        round in extreme(),
        ask in 0..3,
        (seed, dims) in (prop_oneof![Just(0x6665_6468_6473_0001), extreme_u64()], prop_oneof![Just(128), extreme()]),
        keys in proptest::option::of(extreme_u64()),
        question in proptest::option::of((extreme(), extreme(), extreme())),
        tokens in any::<bool>(),
        known in proptest::option::of((extreme(), extreme_u64(), proptest::option::of(extreme()), any::<bool>())),
        other in proptest::option::of((2u16..200, proptest::collection::vec(any::<u8>(), 0..20))),
    ) -> RoundStart {
        let ask = match ask {
            0 => Ask::Counts,
            1 => Ask::Groups,
            _ => Ask::SharedGroups { seed: Seed(seed), dims },
        };
        let mut start = RoundStart::new(Round(round), ask);
        if let Some((number, bytes)) = other {
            start.sections.insert(number, bytes);
        }
        if let Some(keys) = keys {
            start.sections.set(&RecordKeys(Seed(keys))).unwrap();
        }
        if let Some((representatives, decoys, topics)) = question {
            start.sections.set(&GateQuestion { representatives, decoys, topics }).unwrap();
        }
        if tokens {
            start.sections.set(&TokensAsked).unwrap();
        }
        if let Some((client, digest, credited, answered)) = known {
            let known = RegisteredClient { client: ClientId(client), digest, credited: credited.map(Round), answered };
            start.sections.set(&Registered(vec![known])).unwrap();
        }
        start
    }
}

prop_compose! {
    fn any_order()(
        (client, round) in (prop_oneof![Just(3), extreme()], prop_oneof![Just(4), extreme()]),
        clusters in proptest::collection::vec((extreme(), extreme()), 0..6),
        spares in proptest::option::of(proptest::collection::vec(extreme(), 0..6)),
        limit in proptest::option::of((
            prop_oneof![any::<f32>(), Just(0.1), Just(9.0)],
            prop_oneof![Just(1), Just(63), extreme()],
            prop_oneof![Just(3), Just(1000), extreme()],
        )),
        tokens in proptest::option::of(extreme_u64()),
    ) -> SelectionOrder {
        let clusters = clusters.into_iter().map(|(c, count)| ClusterOrder { cluster: ClusterId(c), count }).collect();
        let mut order = SelectionOrder::new(ClientId(client), Round(round), clusters);
        if let Some(spares) = spares {
            order.sections.set(&SpareGroups(spares.into_iter().map(ClusterId).collect())).unwrap();
        }
        if let Some((least_score, decoys, tries)) = limit {
            order.sections.set(&GateLimit { least_score, decoys, tries }).unwrap();
        }
        if let Some(tokens) = tokens {
            order.sections.set(&OrderTokens(tokens)).unwrap();
        }
        order
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a start says, a client answers or says what is wrong; what it works is bounded by its records.
    #[test]
    fn extreme_starts_are_answered_or_refused(starts in proptest::collection::vec(any_start(), 1..4), which in 0..Preset::ALL.len()) {
        let pipeline = pipeline(Preset::ALL[which]);
        // The paper's t-SNE takes its time: its message is the same as coverage's.
        if pipeline.client.reducer.is_none() {
            let (features, tokens) = (rows_of(&pipeline), vec![7; RECORDS]);
            let mut client = Client::new(ClientId(3), &pipeline);
            for start in starts {
                let rows = Rows::new(&features).tokens(&tokens);
                if let Ok(mut summary) = client.summarize(&start, rows, &Context::new(1)) {
                    let pairs = client.pilot(&start).unwrap();
                    prop_assert!(pairs.len() <= RECORDS * 64, "{} pairs", pairs.len());
                    client.answer(&mut summary, &start, &vec![1.0; pairs.len()]).unwrap();
                    summary.encode().unwrap();
                }
            }
        }
    }

    /// The same of orders.
    #[test]
    fn extreme_orders_are_answered_or_refused(orders in proptest::collection::vec(any_order(), 1..4), in_tokens in any::<bool>()) {
        let pipeline = pipeline(Preset::FedhdsRobust);
        let (features, tokens) = (features(RECORDS), vec![7; RECORDS]);
        let mut asked = start(&pipeline, 4);
        if in_tokens {
            asked.sections.set(&TokensAsked).unwrap();
        }
        let mut client = Client::new(ClientId(3), &pipeline);
        client.summarize(&asked, Rows::new(&features).tokens(&tokens), &Context::new(1)).unwrap();
        for order in orders {
            let mut work = 0;
            let mut losses = |pairs: &[Pair]| {
                work += pairs.len();
                Ok(pairs.iter().map(|pair| if pair.prompt == pair.response { 0.5 } else { 1.5 }).collect())
            };
            if let Ok(rows) = client.clone().choose_scored(&order, &Context::new(1), &mut losses) {
                prop_assert!(rows.len() <= RECORDS && rows.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(rows.iter().all(|row: &RowId| row.index() < RECORDS));
            }
            prop_assert!(work <= RECORDS * 64, "{work} losses for {RECORDS} records");
            let _ = client.choose(&order, &Context::new(1));
        }
    }

    /// Methods of a server's whose numbers are anything: what a client runs of them is within its limits.
    #[test]
    fn extreme_methods_are_within_limits_or_refused(
        preset in 0..Preset::ALL.len(),
        (clusters, starts, iterations, least_rows) in (extreme(), extreme(), extreme(), extreme()),
        (dims, group, shown, components) in (extreme(), extreme(), extreme(), extreme()),
        (perplexity, angle, noise) in (0.0..1e9f64, 0.0..1.0f64, 0.0..2.0f32),
        which in 0u32..2048,
    ) {
        let preset = Preset::ALL[preset];
        let base = preset.config();
        let mut client = Vec::new();
        let mut set = |bit: u32, text: String| if which & (1 << bit) != 0 { client.push(text) };
        let kmeans = serde_json::to_string(&base.client.clusterer).unwrap().contains("kmeans");
        let tsne = serde_json::to_string(&base.client.reducer).unwrap().contains("tsne");
        if kmeans {
            set(0, format!("client.clusterer.n_clusters = {clusters}"));
            set(1, format!("client.clusterer.n_init = {starts}"));
            set(2, format!("client.clusterer.max_iter = {iterations}"));
            set(3, format!("client.clusterer.min_rows_per_cluster = {least_rows}"));
        }
        if tsne {
            set(0, format!("client.reducer.max_iter = {iterations}"));
            set(1, format!("client.reducer.perplexity = {perplexity:?}"));
            set(2, format!("client.reducer.angle = {angle:?}"));
            set(3, format!("client.reducer = {{ kind = \"pca\", n_components = {components} }}"));
        }
        set(4, format!("client.shared_dims = {dims}"));
        set(5, format!("client.min_group_size = {group}"));
        set(6, format!("client.upload.min_group_size = {shown}"));
        set(7, format!("client.upload.noise_std = {noise:?}"));
        set(8, "client.noise = \"singletons\"".into());
        set(9, "client.share_scores = true".into());
        let text = format!("preset = \"{preset}\"\n{}", client.join("\n"));
        let allowed = AllowedMethods::default();
        let Ok(method) = MethodConfig::from_text(&text) else { return Ok(()) };
        if allowed.check(&method).is_ok() {
            let value = serde_json::to_value(&method).unwrap();
            let number = |path: &str| value.pointer(path).and_then(|number| number.as_f64()).unwrap_or(0.0);
            prop_assert!(number("/client/clusterer/n_clusters") <= 64.0, "{text}");
            prop_assert!(number("/client/clusterer/n_init") <= 10.0, "{text}");
            prop_assert!(number("/client/clusterer/max_iter") <= 2000.0, "{text}");
            prop_assert!(number("/client/reducer/max_iter") <= 2000.0, "{text}");
            prop_assert!(number("/client/reducer/n_components") <= 8.0, "{text}");
            prop_assert!(number("/client/shared_dims") <= 512.0 || base.client.frame != method.client.frame || tsne, "{text}");
            prop_assert!(method.client.min_group_size >= base.client.min_group_size, "{text}");
            prop_assert!(!method.client.share_scores, "{text}");
        }
    }
}
