//! Grids over toy stages: what is drawn, what is shared, what fails alone, what goes on.

use super::*;
use crate::stage::{Trained, Trainer};
use crate::types::{Adapter, CancelToken, Context, Progress};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

// One worker: toy features differ by id, and of two near copies that are equal the one that is read first gives those of both.
const GRID: &str = r#"
name = "grid"
workers = 1
seeds = [1, 2]
budget = 6
methods = [
    "random", "stratified",
    { preset = "stratified", name = "rule filter", filter = "rules" },
    { preset = "fedhds_coverage", features = "proxy", name = "coverage" },
    "oracle",
]
federation = { rounds = 4, participation = { count = 4 } }
generation = { records = 0 }
[data]
format = "embedded"
partition = { kind = "iid", clients = 8 }
[data.conditions]
clean = {}
"duplicates .5" = { duplicates = 0.5 }
junk = { junk = 0.5 }
"#;

fn pool() -> Pool {
    let data = toy::data(8, 10, 5);
    let records = data.clients.into_iter().flat_map(|c| c.records).collect();
    Pool { train: crate::dataset::Dataset { name: "pool".into(), records }, test: data.test, ..Pool::default() }
}

fn grid(out: &Path, stages: Stages, changes: &[(&str, &str)]) -> Experiment {
    let mut text = GRID.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let mut config = ExperimentConfig::parse(&text).unwrap();
    config.out = out.to_path_buf();
    Experiment::over(config, pool(), stages).unwrap()
}

fn record(experiment: &Experiment, condition: &str, label: &str, seed: u64) -> RunRecord {
    RunRecord::load(experiment.cell_folder(Some(condition), label, seed).join("run.json")).unwrap()
}

/// Ids of the records of every round, in order.
fn trained(record: &RunRecord) -> Vec<&str> {
    record.rounds.iter().flat_map(|r| &r.clients).flat_map(|c| &c.selected).map(String::as_str).collect()
}

const CONDITIONS: [&str; 3] = ["clean", "duplicates .5", "junk"];
const LABELS: [&str; 5] = ["random", "stratified", "rule filter", "coverage", "oracle"];

#[test]
fn every_cell_is_run_once_and_the_grid_compares_them() {
    let out = tempfile::tempdir().unwrap();
    let three = [("seeds = [1, 2]", "seeds = [1, 2, 3]")];
    let experiment = grid(out.path(), toys().stages(), &three);
    assert_eq!(experiment.cells(), 3 * 5 * 3);
    let text = experiment.describe();
    assert!(text.contains("80 records to deal") && text.contains("45 runs: 3 conditions"), "{text}");
    assert!(text.contains("junk, seed 1: junk 0.5: 0.500 reached"), "{text}");
    let finished = experiment.run(&Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    let grid_table = finished.results.grid().unwrap();
    let places: Vec<(&str, &str)> =
        grid_table.rows.iter().map(|r| (r.condition.as_deref().unwrap(), r.method.as_str())).collect();
    let expected: Vec<(&str, &str)> = CONDITIONS.iter().flat_map(|c| LABELS.map(|label| (*c, label))).collect();
    assert_eq!(places, expected, "conditions and methods in the order of the file");
    for row in &grid_table.rows {
        let truth = row.truth.unwrap();
        assert_eq!((row.seeds, row.loss.unwrap().seeds), (3, 3));
        assert!(truth.distinct <= row.trained && truth.tasks <= 5.0 && row.worst_family.is_some());
        let shared = !matches!(row.method.as_str(), "random" | "oracle");
        assert!(row.recovered.is_none() || shared, "{row:?}");
    }
    // All against random, and all but random against stratified; the oracle's are no claims.
    assert_eq!(grid_table.comparisons.len(), 3 * (4 + 3));
    for comparison in &grid_table.comparisons {
        assert_eq!(comparison.over_seeds.difference.seeds, 3);
        assert_eq!(comparison.holm.is_some(), comparison.method != "oracle", "{comparison:?}");
        assert!(comparison.holm.is_none_or(|holm| holm >= comparison.over_seeds.p.unwrap()));
    }
    for name in ["table.txt", "table.md", "table.json", "table.svg", "config.toml", "untuned/run.json"] {
        assert!(out.path().join(name).exists(), "{name}");
    }
    let json: Grid = serde_json::from_str(&std::fs::read_to_string(out.path().join("table.json")).unwrap()).unwrap();
    assert_eq!(&json, grid_table);
    for text in [finished.results.to_text(), finished.results.to_markdown()] {
        for word in ["duplicates .5", "rule filter - random", "recovered", "grid: the untuned model's loss"] {
            assert!(text.contains(word), "{word} in:\n{text}");
        }
    }
    // Frozen features: each content once, for all conditions, methods and seeds.
    let cell = experiment.cell_folder(Some("duplicates .5"), "coverage", 2);
    assert!(cell.ends_with("duplicates_.5/coverage/seed-2") && cell.join("run.json").exists());
    assert!(!cell.join("checkpoint.bin").exists(), "a finished cell needs none");
    let features = std::fs::read_dir(out.path().join("features")).unwrap().count();
    assert_eq!(features, 1, "one extractor");
    let again = toys();
    let experiment = grid(out.path(), again.stages(), &three);
    assert_eq!(experiment.run(&Control::default()).unwrap().results, finished.results);
    assert_eq!((again.trainer.calls.load(Ordering::Relaxed), again.proxy.calls.load(Ordering::Relaxed)), (0, 0));
    assert!(experiment.cost(&Control::default()).unwrap().to_text().contains("every run is finished"));
}

#[test]
fn each_seed_is_a_federation_and_all_methods_of_a_condition_share_it() {
    let out = tempfile::tempdir().unwrap();
    let experiment = grid(out.path(), toys().stages(), &[]);
    let draw = |condition, seed| experiment.federation(Some(condition), seed).unwrap();
    let ids = |federation: &crate::experiment::federation::Federation| -> Vec<Vec<String>> {
        federation.clients.iter().map(|c| c.records.iter().map(|r| r.id.clone()).collect()).collect()
    };
    assert_eq!(ids(&draw(0, 1)), ids(&draw(0, 1)));
    assert_eq!(ids(&draw(0, 1)), ids(&draw(2, 1)), "conditions of a seed deal alike");
    assert_ne!(ids(&draw(0, 1)), ids(&draw(0, 2)));
    let bad = |seed| -> Vec<String> {
        let truth = draw(2, seed).truth.clone().unwrap();
        truth.records.keys().filter(|id| truth.is_bad(id)).cloned().collect()
    };
    assert_eq!((bad(1).len(), bad(1)), (40, bad(1)));
    assert_ne!(bad(1), bad(2), "the condition is drawn by seed as well");
    experiment.run(&Control::default()).unwrap();
    let of = |label, seed| record(&experiment, "junk", label, seed);
    let clients =
        |r: &RunRecord| -> Vec<u32> { r.rounds.iter().flat_map(|r| &r.clients).map(|c| c.client.0).collect() };
    assert_eq!(clients(&of("random", 1)), clients(&of("coverage", 1)));
    let hash = |r: &RunRecord| r.identity.get("client records").unwrap().to_owned();
    assert_eq!(hash(&of("random", 1)), hash(&of("oracle", 1)));
    assert_ne!(hash(&of("random", 1)), hash(&of("random", 2)));
    assert_eq!(of("random", 1).identity.get("condition.junk"), Some("0.5"));
    let truth = std::fs::read_to_string(out.path().join("junk/truth-seed-2.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    assert_eq!((&truth["condition"], &truth["seed"]), (&"junk".into(), &2.into()));
    assert_eq!(truth["records"].as_object().unwrap().len(), 80);
}

#[test]
fn the_oracle_trains_on_clean_distinct_records_of_all_tasks() {
    let out = tempfile::tempdir().unwrap();
    let experiment = grid(out.path(), toys().stages(), &[]);
    experiment.run(&Control::default()).unwrap();
    for (place, condition) in CONDITIONS.into_iter().enumerate() {
        for seed in [1, 2] {
            let truth = experiment.federation(Some(place), seed).unwrap().truth.clone().unwrap();
            let record = record(&experiment, condition, "oracle", seed);
            let ids = trained(&record);
            assert_eq!(ids.len(), 24, "the budget is met");
            assert_eq!(truth.distinct(&ids), 24, "{condition} {seed}");
            assert_eq!((truth.purity(&ids), truth.tasks(&ids)), (1.0, 5));
            let figures = record.truth.unwrap();
            assert_eq!((figures.distinct, figures.tasks, figures.purity), (24, 5, 1.0));
        }
    }
    let junk = |label: &str| record(&experiment, "junk", label, 1).truth.unwrap().purity;
    assert!(junk("random") < 0.9);
}

/// Asks for a stop after so many cells.
struct StopAfter(CancelToken, AtomicU64);

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, stage: &str, units: u64) {
        if stage == "cells" && units > 0 && self.1.fetch_sub(units, Ordering::Relaxed) == 1 {
            self.0.cancel();
        }
    }
    fn end(&self, _: &str) {}
}

#[test]
fn a_stopped_grid_goes_on_and_finished_cells_are_not_run_again() {
    let whole = tempfile::tempdir().unwrap();
    let first = toys();
    let expected = grid(whole.path(), first.stages(), &[]).run(&Control::default()).unwrap();
    let all = first.trainer.calls.load(Ordering::Relaxed);
    let broken = tempfile::tempdir().unwrap();
    let mut calls = 0;
    for stop_at in [1, 7, 16] {
        let toys = toys();
        let cancel = CancelToken::default();
        let stop = StopAfter(cancel.clone(), AtomicU64::new(stop_at));
        let control = Control { cancel, progress: Some(Arc::new(stop)) };
        assert!(matches!(grid(broken.path(), toys.stages(), &[]).run(&control), Err(Error::Cancelled)));
        calls += toys.trainer.calls.load(Ordering::Relaxed);
    }
    let last = toys();
    let finished = grid(broken.path(), last.stages(), &[]).run(&Control::default()).unwrap();
    calls += last.trainer.calls.load(Ordering::Relaxed);
    assert_eq!(calls, all, "no cell was trained twice");
    let bare = |finished: Finished| {
        let mut grid = finished.results.grid().unwrap().clone();
        grid.rows.iter_mut().for_each(|row| row.seconds = 0.0);
        grid
    };
    assert!(bare(expected) == bare(finished));
}

#[test]
fn a_stop_within_a_cell_is_made_up_to_the_same_bits() {
    let whole = tempfile::tempdir().unwrap();
    let experiment = grid(whole.path(), toys().stages(), &[]);
    experiment.run(&Control::default()).unwrap();
    let broken = tempfile::tempdir().unwrap();
    for stop_at in [9, 40] {
        let toys = Toys::new(ToyTrainer { stop_at, ..ToyTrainer::default() });
        assert!(matches!(grid(broken.path(), toys.stages(), &[]).run(&Control::default()), Err(Error::Cancelled)));
    }
    let again = grid(broken.path(), toys().stages(), &[]);
    again.run(&Control::default()).unwrap();
    for condition in CONDITIONS {
        for label in LABELS {
            let bare = |experiment: &Experiment| {
                let mut record = record(experiment, condition, label, 2);
                record.config = serde_json::Value::Null; // it names the output folder
                record.repeatable()
            };
            assert_eq!(bare(&experiment), bare(&again), "{condition} {label}");
        }
    }
}

/// Fails on records that somebody spoilt.
struct Squeamish(ToyTrainer);

impl Trainer for Squeamish {
    fn init(&self, context: &Context) -> crate::Result<Adapter> {
        self.0.init(context)
    }
    fn train(&self, adapter: &Adapter, records: &[Record], context: &Context) -> crate::Result<Trained> {
        if records.iter().all(|r| !r.response().starts_with("Done")) {
            return Err(Error::stage("trainer", "cannot bear it"));
        }
        self.0.train(adapter, records, context)
    }
}

#[test]
fn a_cell_that_fails_ends_no_other() {
    let out = tempfile::tempdir().unwrap();
    let stages = || Stages { trainer: Arc::new(Squeamish(ToyTrainer::default())), ..toys().stages() };
    let changes = [
        ("junk = { junk = 0.5 }", "broken = { bad_clients = 1 }"),
        ("\"random\", \"stratified\",", "\"random\", { preset = \"stratified\", count_of = \"random\" },"),
    ];
    let experiment = grid(out.path(), stages(), &changes);
    let finished = experiment.run(&Control::default()).unwrap();
    // The oracle finds nothing good to train on there, which is no failure.
    let labels = ["random", "stratified", "rule filter", "coverage"];
    let expected: Vec<(&str, u64)> = [1, 2].into_iter().flat_map(|seed| labels.map(|label| (label, seed))).collect();
    let failed: Vec<(&str, u64)> = finished.failed.iter().map(|f| (f.method.as_deref().unwrap(), f.seed)).collect();
    assert_eq!(failed, expected);
    for (failed, word) in finished.failed.iter().zip(["cannot bear it", "`random` finished, got none", "filter leaves"])
    {
        assert_eq!(failed.condition.as_deref(), Some("broken"));
        assert!(failed.error.contains(word), "{failed}");
    }
    let text = finished.results.to_text();
    assert!(text.contains("failed: broken, "), "{text}");
    for label in LABELS {
        assert!(experiment.cell_folder(Some("clean"), label, 2).join("run.json").exists());
    }
    assert!(finished.results.grid().unwrap().rows.iter().any(|row| row.method == "random" && row.seeds == 2));
    let error = finished.clone().whole().unwrap_err().to_string();
    assert!(error.contains("8 runs failed") && error.contains("broken, random, seed 1: "), "{error}");
    // It is tried again.
    assert_eq!(grid(out.path(), stages(), &changes).run(&Control::default()).unwrap().failed, finished.failed);
    // Where every run fails the error itself is told.
    let nothing = tempfile::tempdir().unwrap();
    let only = [changes[0], ("clean = {}\n\"duplicates .5\" = { duplicates = 0.5 }\n", ""), ("    \"oracle\",\n", "")];
    let error = grid(nothing.path(), stages(), &only).run(&Control::default()).unwrap_err().to_string();
    assert!(error.contains("cannot bear it"), "{error}");
}

#[test]
fn a_federation_that_cannot_be_drawn_fails_for_its_seed_alone() {
    let out = tempfile::tempdir().unwrap();
    // Thinned by one seed more than by another: the first can be dealt, so that the experiment begins.
    let changes = [("junk = { junk = 0.5 }", "tail = { tail = 1.0 }")];
    let held = |seed: u64| {
        let experiment = grid(out.path(), toys().stages(), &changes);
        experiment.federation(Some(2), seed).unwrap().summary.records
    };
    let (most, least) = (1..40).fold((1, 1), |(most, least), seed| {
        (if held(seed) > held(most) { seed } else { most }, if held(seed) < held(least) { seed } else { least })
    });
    let needed = held(most) / 8;
    if held(least) / 8 == needed {
        return;
    }
    let seeds = format!("seeds = [{most}, {least}]");
    let partition = format!("kind = \"iid\", clients = 8, min_records = {needed}");
    let changes = [changes[0], ("seeds = [1, 2]", &seeds), ("kind = \"iid\", clients = 8", &partition)];
    let finished = grid(out.path(), toys().stages(), &changes).run(&Control::default()).unwrap();
    assert_eq!(finished.failed.len(), 1);
    assert_eq!((finished.failed[0].method.clone(), finished.failed[0].seed), (None, least));
    assert!(finished.failed[0].error.contains("data.partition"), "{}", finished.failed[0]);
}

#[test]
fn several_experiments_share_one_table() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let first = grid(&out.path().join("a"), toys.stages(), &[]);
    let second = grid(&out.path().join("b"), toys.stages(), &[("name = \"grid\"", "name = \"other\"")]);
    let plain = Experiment::new(config(&out.path().join("c"), ("", "")), toy::data(8, 10, 5), toys.stages(), vec![]);
    let experiments = [first, second, plain.unwrap()];
    let finished = run_all(&experiments, &Control::default()).unwrap();
    let joint = finished.results.grid().unwrap();
    assert_eq!(joint.rows.len(), 15 + 15 + 5);
    let names: BTreeSet<&str> = joint.rows.iter().map(|r| r.experiment.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["grid", "other", "toy"]));
    assert!(joint.rows[30..].iter().all(|row| row.condition.is_none() && row.truth.is_none()));
    assert_eq!(finished.out, out.path().join("a"));
    for path in
        ["a/joint.txt", "a/joint.svg", "a/table.json", "b/table.json", "c/table.json", "c/random/seed-1/run.json"]
    {
        assert!(out.path().join(path).exists(), "{path}");
    }
    // Each experiment's own table is what it is alone.
    let alone = experiments[2].run(&Control::default()).unwrap();
    assert!(alone.results.table().is_some());
    let text = finished.results.to_text();
    assert!(text.starts_with("experiment  condition") && text.contains("toy: the untuned model's loss"), "{text}");
    let error = |experiments: &[Experiment]| run_all(experiments, &Control::default()).unwrap_err().to_string();
    let folder = out.path().join("a");
    let same = [grid(&folder, toys.stages(), &[]), grid(&out.path().join("d"), toys.stages(), &[])];
    assert!(error(&same).contains("`grid` twice"));
    let renamed = ("name = \"grid\"", "name = \"other\"");
    let same = [grid(&folder, toys.stages(), &[]), grid(&folder, toys.stages(), &[renamed])];
    assert!(error(&same).contains("`out`"));
    assert!(error(&[]).contains("at least one"));
}

#[test]
fn a_target_stands_in_the_grid_and_in_the_joint_table() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let until = [("budget = 6\n", "budget = 6\nuntil = { loss = 9.0, every = 2 }\n")];
    let first = grid(&out.path().join("a"), toys.stages(), &until);
    let second = grid(&out.path().join("b"), toys.stages(), &[("name = \"grid\"", "name = \"other\"")]);
    let experiments = [first, second];
    let finished = run_all(&experiments, &Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    let joint = finished.results.grid().unwrap();
    for row in &joint.rows {
        let Some(until) = &row.until else {
            assert_eq!(row.experiment, "other");
            continue;
        };
        let runs = [1, 2].map(|seed| record(&experiments[0], row.condition.as_deref().unwrap(), &row.method, seed));
        let reached: Vec<_> = runs.iter().filter_map(|run| run.until.as_ref().unwrap().reached.as_ref()).collect();
        assert_eq!((until.reached.count, until.reached.of), (reached.len(), 2), "{row:?}");
        let records = reached.iter().map(|r| r.records as f64).sum::<f64>() / reached.len() as f64;
        assert_eq!(until.cost.map(|cost| cost.records.mean), (!reached.is_empty()).then_some(records));
        assert!(until.to_random.is_none() || row.method != "random");
    }
    let (joint, alone) = (finished.results.to_text(), experiments[0].run(&Control::default()).unwrap());
    let rows = |text: &str, start: &str| {
        let from = text.lines().skip_while(|line| !line.starts_with("Cost to the target loss")).skip(1);
        from.take_while(|line| !line.is_empty()).filter(|line| line.starts_with(start)).count()
    };
    assert_eq!((rows(&joint, "grid "), rows(&joint, "other "), rows(&joint, "experiment ")), (15, 0, 1), "{joint}");
    let text = alone.results.to_text();
    assert_eq!((rows(&text, "clean "), rows(&text, "junk ")), (5, 5), "{text}");
    assert!(text.contains("every 2 rounds and after the last"), "{text}");
}

#[test]
fn counts_are_followed_within_a_condition() {
    let out = tempfile::tempdir().unwrap();
    let methods = "{ preset = \"fedhds_turbo\", client.clusterer.min_cluster_size = 2 },
        { preset = \"random\", name = \"as turbo\", count_of = \"fedhds_turbo\" },
        { preset = \"random\", name = \"compute\", compute_of = \"coverage\" },\n    \"oracle\",";
    let experiment = grid(out.path(), toys().stages(), &[("    \"oracle\",", methods)]);
    let finished = experiment.run(&Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    let counts = |condition, label, seed| -> Vec<usize> {
        let record = record(&experiment, condition, label, seed);
        record.rounds.iter().map(|r| r.clients.iter().map(|c| c.selected.len()).sum()).collect()
    };
    for condition in CONDITIONS {
        for seed in [1, 2] {
            assert_eq!(counts(condition, "fedhds_turbo", seed), counts(condition, "as turbo", seed));
            // No scoring, no passes: equal compute is equal count.
            assert_eq!(counts(condition, "coverage", seed), counts(condition, "compute", seed));
        }
    }
    let grid = finished.results.grid().unwrap();
    let pairs: BTreeSet<(&str, &str)> =
        grid.comparisons.iter().map(|c| (c.method.as_str(), c.baseline.as_str())).collect();
    assert!(pairs.contains(&("fedhds_turbo", "as turbo")) && pairs.contains(&("coverage", "compute")));
    assert!(!pairs.contains(&("fedhds_turbo", "random")) && pairs.contains(&("coverage", "random")));
}

#[test]
fn a_scarce_condition_selects_so_many_in_all() {
    let out = tempfile::tempdir().unwrap();
    let methods = "\"oracle\", { preset = \"random\", name = \"random 3\", count = { budget = 3 } },";
    let conditions = "junk = { junk = 0.5 }\nthree = { scarce = 3 }\nten = { scarce = 10 }\neight = { scarce = 8 }\n";
    let changes = [("\"oracle\",", methods), ("junk = { junk = 0.5 }\n", conditions)];
    let experiment = grid(out.path(), toys().stages(), &changes);
    let text = experiment.describe();
    for word in [
        "three, seed 1: scarce: 3 records in all, 1 a round in 3 of 4 rounds",
        "ten, seed 1: scarce: 10 records in all, 2 or 3 a round in 4 of 4 rounds",
        "random 3 has a count of its own",
    ] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
    experiment.run(&Control::default()).unwrap();
    for (condition, records, rounds) in [("three", 3, 3), ("ten", 10, 4), ("eight", 8, 4)] {
        for label in LABELS {
            let record = record(&experiment, condition, label, 2);
            assert_eq!((record.trained_records(), record.rounds.len()), (records, rounds), "{condition} {label}");
            assert!(record.metrics.is_some());
        }
    }
    assert_eq!(record(&experiment, "three", "random 3", 1).trained_records(), 12);
    let changes = [("junk = { junk = 0.5 }", "many = { scarce = 81 }")];
    let mut config = ExperimentConfig::parse(&GRID.replacen(changes[0].0, changes[0].1, 1)).unwrap();
    config.out = out.path().join("other");
    let error = Experiment::over(config, pool(), toys().stages()).err().unwrap().to_string();
    assert!(error.contains("`data.conditions.many.scarce`") && error.contains("80 records"), "{error}");
}

#[test]
fn methods_of_equal_tokens_differ_in_records_where_clients_differ_in_length() {
    let out = tempfile::tempdir().unwrap();
    let conditions = "long = { length = 1.0 }";
    let changes = [("budget = 6", "budget = { tokens = 600 }"), ("junk = { junk = 0.5 }", conditions)];
    let experiment = grid(out.path(), toys().stages(), &changes);
    assert!(!experiment.describe().contains("length: a budget"), "{}", experiment.describe());
    let finished = experiment.run(&Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    let mut counts = BTreeSet::new();
    for (place, condition) in [(0, "clean"), (2, "long")] {
        for label in LABELS {
            for seed in [1, 2] {
                let tokens = &experiment.federation(Some(place), seed).unwrap().tokens;
                let record = record(&experiment, condition, label, seed);
                let mut records = 0;
                for round in &record.rounds {
                    let of = |id: &String| tokens[id];
                    let sum: usize = round.clients.iter().flat_map(|c| &c.selected).map(of).sum();
                    let longest = |client: &crate::simulate::ClientRecord| {
                        client.selected.iter().map(of).max().unwrap_or_default()
                    };
                    let within: usize = round.clients.iter().map(longest).sum();
                    assert!(sum.abs_diff(600) <= within, "{condition} {label} {seed}: {sum}, within {within}");
                    assert_eq!(round.missing, 0);
                    records += round.clients.iter().map(|c| c.selected.len()).sum::<usize>();
                }
                counts.insert((condition, records));
            }
        }
    }
    assert!(counts.len() > 3, "{counts:?}");
    let rows = &finished.results.grid().unwrap().rows;
    assert!(rows.iter().all(|row| row.tokens > 0.0));
    let cost = experiment.cost(&Control::default()).unwrap().to_text();
    assert!(cost.contains("every run is finished"));
    let again = tempfile::tempdir().unwrap();
    let experiment = grid(again.path(), toys().stages(), &changes);
    let cost = experiment.cost(&Control::default()).unwrap();
    let random: Vec<_> = cost.stages.iter().filter(|s| s.method == "random" && s.stage == "training").collect();
    assert_eq!(random.iter().map(|s| s.tokens).sum::<u64>(), 3 * 2 * 4 * 600);
    // A budget in records says that it counts long and short ones alike.
    let plain = grid(again.path(), toys().stages(), &changes[1..]);
    assert!(plain.describe().contains("long, seed 1: length: a budget in records"), "{}", plain.describe());
}

#[test]
fn what_the_rules_leave_out_is_said_and_clients_without_records_stay_silent() {
    let out = tempfile::tempdir().unwrap();
    let experiment = grid(out.path(), toys().stages(), &[("junk = { junk = 0.5 }", "bad = { bad_clients = 0.5 }")]);
    assert!(experiment.describe().contains("bad, seed 1: rule filter: the rules left out 40 of 80 records"));
    assert_eq!(experiment.run(&Control::default()).unwrap().failed, []);
    for seed in [1, 2] {
        let filtered = record(&experiment, "bad", "rule filter", seed);
        assert_eq!(filtered.truth.unwrap().purity, 1.0);
        assert_eq!(filtered.identity.get("filter"), Some("rules"));
        let all = record(&experiment, "bad", "stratified", seed);
        // The same clients are asked; those that hold nothing do not answer.
        for (round, whole) in filtered.rounds.iter().zip(&all.rounds) {
            let answered: Vec<u32> = round.clients.iter().map(|c| c.client.0).collect();
            let asked: Vec<u32> = whole.clients.iter().map(|c| c.client.0).collect();
            assert!(answered.iter().all(|client| asked.contains(client)) && round.left_out.is_empty());
        }
        assert!(filtered.client_rounds() < all.client_rounds());
    }
    // On one federation without conditions as well.
    let plain = tempfile::tempdir().unwrap();
    let methods = "{ preset = \"random\", name = \"filtered\", filter = \"rules\" }, \"all\",";
    let experiment = super::experiment(plain.path(), &toys(), ("\"all\",", methods));
    assert!(experiment.describe().contains("filtered: the rules left out 0 of 80 records"));
    assert!(run(&experiment).rows.iter().any(|row| row.method == "filtered"));
}

#[test]
fn the_cost_of_a_grid_stands_for_all_seeds() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let experiment = grid(out.path(), toys.stages(), &[]);
    let cost = experiment.cost(&Control::default()).unwrap();
    let find = |method: &str, stage: &str| cost.stages.iter().find(|s| s.method == method && s.stage == stage);
    assert_eq!(find("random", "training").unwrap().records, 3 * 2 * 4 * 6);
    assert_eq!(find("random", "evaluation: loss").unwrap().records, 3 * 2 * 12);
    assert!(find("oracle", "features").is_none() && find("oracle", "training").is_some());
    let features = find("coverage", "features").unwrap().records;
    // The pool once, and what a condition changed in each seed.
    assert!((81..=80 + 2 * 80).contains(&features), "{features}");
    assert!(cost.to_text().contains("30 of 30 runs are not finished; one seed of each condition stands for all"));
    assert_eq!(toys.trainer.calls.load(Ordering::Relaxed), 1, "a measurement, nothing else");
}

#[test]
fn what_needs_a_pool_or_the_truth_says_so() {
    let out = tempfile::tempdir().unwrap();
    let mut with = ExperimentConfig::parse(GRID).unwrap();
    with.out = out.path().to_path_buf();
    let error = Experiment::new(with.clone(), toy::data(8, 10, 5), toys().stages(), vec![]).err().unwrap().to_string();
    assert!(error.contains("`data.conditions`") && error.contains("dealt already"), "{error}");
    let mut without = with.clone();
    without.data.conditions = Conditions::default();
    let error = Experiment::over(without.clone(), pool(), toys().stages()).err().unwrap().to_string();
    assert!(error.contains("`methods[4]`") && error.contains("truth"), "{error}");
    // A pool without conditions is dealt once.
    without.methods.pop();
    let experiment = Experiment::over(without, pool(), toys().stages()).unwrap();
    assert!(experiment.describe().contains("8 clients, 80 records"));
    let many = ("partition = { kind = \"iid\", clients = 8 }", "partition = { kind = \"iid\", clients = 81 }");
    let mut config = ExperimentConfig::parse(&GRID.replacen(many.0, many.1, 1)).unwrap();
    config.out = out.path().to_path_buf();
    let error = Experiment::over(config, pool(), toys().stages()).err().unwrap().to_string();
    assert!(error.contains("data.partition"), "found before any work: {error}");
    // Another condition in the folder of a grid.
    grid(out.path(), toys().stages(), &[]).run(&Control::default()).unwrap();
    let changed = grid(out.path(), toys().stages(), &[("junk = { junk = 0.5 }", "junk = { junk = 0.4 }")]);
    let error = changed.run(&Control::default()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }) && error.to_string().contains("condition.junk"), "{error}");
}

#[test]
fn the_shipped_conditions_leave_the_oracle_enough_and_random_what_they_say() {
    let out = tempfile::tempdir().unwrap();
    let text = include_str!("../../../../examples/experiments/conditions.toml");
    let mut config = ExperimentConfig::parse(text).unwrap();
    config.out = out.path().to_path_buf();
    config.seeds = vec![1];
    config.methods = ["random", "oracle"].map(MethodEntry::preset).into();
    let stages = toys().stages();
    let pool = load_pool(&config.data, stages.count_tokens.as_ref(), &Control::default()).unwrap();
    let experiment = Experiment::over(config, pool, stages).unwrap();
    let finished = experiment.run(&Control::default()).unwrap().whole().unwrap();
    for pair in finished.results.grid().unwrap().rows.chunks(2) {
        let [random, oracle] = pair else { panic!("{pair:?}") };
        let (of_random, of_oracle) = (random.truth.unwrap(), oracle.truth.unwrap());
        assert_eq!((random.trained, oracle.trained), (200.0, 200.0));
        assert_eq!((of_oracle.distinct, of_oracle.purity), (200.0, 1.0), "{:?}", oracle.condition);
        assert!(of_oracle.tasks >= of_random.tasks);
        let about = |purity: f64| assert!((of_random.purity - purity).abs() < 0.12, "{random:?}");
        match random.condition.as_deref().unwrap() {
            "clean" | "duplicates .8" | "tail 1.5" => assert_eq!(of_random.purity, 1.0),
            "swap_across .5" | "junk .5" => about(0.5),
            "bad_clients .3" | "mix" => about(0.7),
            other => panic!("{other}"),
        }
    }
}
