//! What a server that keeps to the protocol can read out of what a client uploads: each attack against every preset and the options that
//! should close it. `cargo test -p fedhds-tests --test robustness threats -- --nocapture` prints the table of docs/threat_model.md.

use super::hostile_server::text_rows;
use fedhds_core::client::Client;
use fedhds_core::method::{AllowedMethods, MethodConfig, Pipeline};
use fedhds_core::protocol::{ClientSummary, RecordKeys, RoundStart};
use fedhds_core::stage::Rows;
use fedhds_core::types::{ClientId, Context, Matrix, Round, RowId, Secret, Seed};
use std::collections::BTreeSet;

/// Fewer steps of t-SNE than by default: tests are compiled without optimisation.
const QUICK: &str = "client.reducer = { max_iter = 250, early_exaggeration_iter = 100 }\n";

/// Every preset that looks at features, and options.
const METHODS: [(&str, &str); 8] = [
    ("fedhds, fedhds_turbo", "preset = \"fedhds\""),
    ("fedhds, upload.min_group_size 3", "preset = \"fedhds\"\nclient.upload.min_group_size = 3"),
    ("fedhds_shared", "preset = \"fedhds_shared\""),
    ("fedhds_shared, regroup once", "preset = \"fedhds_shared\"\nclient.regroup = \"once\""),
    ("fedhds_coverage", "preset = \"fedhds_coverage\""),
    ("fedhds_coverage, regroup once", "preset = \"fedhds_coverage\"\nclient.regroup = \"once\""),
    ("fedhds_robust", "preset = \"fedhds_robust\""),
    ("fedhds_robust, noise_std 0.1", "preset = \"fedhds_robust\"\nclient.upload.noise_std = 0.1"),
];

/// Records of three topics that run into each other, and an odd one.
fn texts() -> Vec<String> {
    let animals = ["cow", "sheep", "horse", "goat", "hen", "duck", "cat", "dog", "pig", "owl", "frog", "bee", "lion"];
    let lands = [
        "France", "Spain", "Italy", "Peru", "Chile", "Japan", "India", "Kenya", "Egypt", "Ghana", "Cuba", "Iran",
        "Iraq",
    ];
    let mut texts: Vec<String> = Vec::new();
    for at in 0..animals.len() {
        let (animal, land, other) = (animals[at], lands[at], lands[(at * 5 + 3) % lands.len()]);
        texts.push(format!("Name the sound that a {animal} makes in {land}"));
        texts.push(format!("What is the capital city of {land}, and how far is {other}?"));
        texts.push(format!("Add up {} and {} {animal}s and say the sum in {other}", 17 * at + 3, 31 * at % 29));
    }
    texts.insert(ODD, "My bank code is 4711 and nobody should know it".into());
    texts
}

const ODD: usize = 20;

/// Rounds that a server watches.
const ROUNDS: u32 = 12;

struct Upload {
    summary: ClientSummary,
    /// The records in the frame of the centroids.
    points: Matrix,
    labels: Vec<Option<u32>>,
}

/// What a client sends in these rounds; in each one more record has trained. `drift` is what each round adds to features of a tuned model,
/// and `late` a round in which its last record comes.
fn uploads(pipeline: &Pipeline, features: &Matrix, rounds: u32, drift: f32, late: u32) -> Vec<Upload> {
    let mut client = Client::new(ClientId(0), pipeline);
    client.set_secret(Secret::from_bytes([3; 32]));
    let mut uploads = Vec::new();
    for round in 0..rounds {
        let mut start = RoundStart::new(Round(round), pipeline.ask());
        start.sections.set(&RecordKeys(Seed(5))).unwrap();
        let known = features.rows() - usize::from(round < late);
        let mut features = features.take_rows(&(0..known).collect::<Vec<_>>()).unwrap();
        features.as_mut_slice().iter_mut().enumerate().for_each(|(at, value)| {
            *value += drift * round as f32 * ((at * 7919 % 31) as f32 - 15.0) / 15.0;
        });
        let context = Context::new(Seed(u64::from(round)));
        let summary = client.summarize(&start, Rows::new(&features), &context).unwrap();
        let state = client.state().unwrap();
        let labels = state.clustering.labels.iter().map(|label| label.map(|id| id.0)).collect();
        uploads.push(Upload { summary, points: state.points.clone(), labels });
        client.mark_trained([RowId(round)]);
    }
    uploads
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

fn length(a: &[f32]) -> f64 {
    a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt()
}

/// The record whose point this is.
fn read(point: &[f32], points: &Matrix) -> Option<usize> {
    (0..points.rows()).find(|&row| distance(point, points.row(row)) < 1e-3 * length(points.row(row)))
}

/// Records that lie in the open: a centroid is one record's point.
fn shown(upload: &Upload) -> BTreeSet<usize> {
    upload.summary.centroids.iter_rows().filter_map(|centroid| read(centroid, &upload.points)).collect()
}

/// Records that two uploads tell together: of two groups, one has a record more.
fn told_apart(uploads: &[Upload]) -> BTreeSet<usize> {
    let groups: Vec<(usize, u32, Vec<f32>)> = uploads
        .iter()
        .enumerate()
        .flat_map(|(at, upload)| {
            let groups = upload.summary.groups.iter().zip(upload.summary.centroids.iter_rows());
            groups.map(move |(group, centroid)| (at, group.size, centroid.to_vec()))
        })
        .collect();
    let mut found = BTreeSet::new();
    for (_, small, a) in &groups {
        for (at, large, b) in groups.iter().filter(|(_, large, _)| *large == small + 1) {
            let one = |(a, b): (&f32, &f32)| b * *large as f32 - a * *small as f32;
            let difference: Vec<f32> = a.iter().zip(b).map(one).collect();
            found.extend(read(&difference, &uploads[*at].points));
        }
    }
    found
}

/// Of the texts that lie nearest to a centroid, as many as the group has, among the client's own and as many that it has not: the share that
/// is in the group.
fn guessed(upload: &Upload, own: &[String]) -> f64 {
    let others: Vec<String> =
        own.iter().map(|text| text.replace("a", "o").replace("1", "8").replace("the", "every")).collect();
    let candidates = text_rows(&own.iter().chain(&others).cloned().collect::<Vec<_>>());
    let (mut right, mut all) = (0, 0);
    for (group, centroid) in upload.summary.groups.iter().zip(upload.summary.centroids.iter_rows()) {
        let mut near: Vec<usize> = (0..candidates.rows()).collect();
        near.sort_by(|&a, &b| distance(candidates.row(a), centroid).total_cmp(&distance(candidates.row(b), centroid)));
        let member = |&&row: &&usize| upload.labels.get(row).copied().flatten() == Some(group.cluster.0);
        right += near.iter().take(group.size as usize).filter(member).count();
        all += group.size as usize;
    }
    right as f64 / all.max(1) as f64
}

/// Of clients that have the same records in other orders, the share whose groups are numbered in the order of their first records.
fn in_row_order(pipeline: &Pipeline, features: &Matrix) -> f64 {
    let orders = 12;
    let numbered = |turn: usize| {
        let turned: Vec<usize> = (0..features.rows()).map(|row| (row * 7 + turn * 3) % features.rows()).collect();
        is_in_row_order(&uploads(pipeline, &features.take_rows(&turned).unwrap(), 1, 0.0, 0)[0])
    };
    (0..orders).filter(|turn| numbered(*turn)).count() as f64 / orders as f64
}

fn is_in_row_order(upload: &Upload) -> bool {
    let mut seen = Vec::new();
    for label in upload.labels.iter().flatten() {
        if !seen.contains(label) {
            seen.push(*label);
        }
    }
    seen.len() > 2 && seen.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn attacks_on_what_is_uploaded() {
    let own = texts();
    let features = text_rows(&own);
    println!(
        "| method | groups | in the open | differences | a record that comes | a tuned model | guessed | ids in row order |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, settings) in METHODS {
        let quick = if name.contains("coverage") || name.contains("robust") { "" } else { QUICK };
        let method = MethodConfig::from_text(&format!("{settings}\n{quick}")).unwrap();
        let pipeline = method.pipeline(1).unwrap();
        let still = uploads(&pipeline, &features, ROUNDS, 0.0, 0);
        let open = shown(&still[0]);
        let apart = told_apart(&still);
        let comes = told_apart(&uploads(&pipeline, &features, ROUNDS, 0.0, ROUNDS / 2));
        let tuned = told_apart(&uploads(&pipeline, &features, ROUNDS, 0.002, 0));
        let numbered = in_row_order(&pipeline, &features);
        let text = name.starts_with("fedhds_robust");
        let guess = if text { format!("{:.0}%", 100.0 * guessed(&still[0], &own)) } else { "-".into() };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {guess} | {:.0}% |",
            still[0].summary.groups.len(),
            open.len(),
            apart.len(),
            comes.len(),
            tuned.len(),
            100.0 * numbered,
        );
        // What is promised.
        assert!(!open.contains(&ODD), "{name}: the odd record is a centroid");
        if pipeline.client.frame.is_some() {
            assert!(open.is_empty(), "{name}: {open:?}");
        }
        if name.contains("once") || text {
            assert!(apart.is_empty() && comes.is_empty(), "{name}: {apart:?}, {comes:?}");
            assert!(numbered < 0.7, "{name}: by chance at most");
            let first = still[0].summary.centroids.as_slice();
            assert!(still.iter().all(|upload| upload.summary.centroids.as_slice() == first), "{name}");
        }
    }
}

/// What `global_select` is for: every record is read, so that no client runs it unless its owner says so.
#[test]
fn global_select_shows_every_record() {
    let method = MethodConfig::from_text("preset = \"global_select\"").unwrap();
    let refused = AllowedMethods::default().check(&method).unwrap_err().to_string();
    assert!(refused.contains("preset"), "{refused}");
    let features = text_rows(&texts());
    let upload = &uploads(&method.pipeline(1).unwrap(), &features, 1, 0.0, 0)[0];
    assert_eq!(upload.summary.centroids.rows(), features.rows());
    assert!(upload.summary.groups.iter().all(|group| group.size == 1));
}

#[test]
fn methods_without_features_send_one_size() {
    for preset in ["random", "stratified", "perplexity", "all"] {
        let pipeline = MethodConfig::from_text(&format!("preset = \"{preset}\"")).unwrap().pipeline(1).unwrap();
        for upload in uploads(&pipeline, &Matrix::zeros(40, 0), 3, 0.0, 0) {
            assert_eq!((upload.summary.groups.len(), upload.summary.centroids.cols()), (1, 0));
            assert_eq!(upload.summary.records(), 40);
        }
    }
}
