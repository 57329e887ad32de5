//! Whole experiments over toy stages: what is kept, what is compared, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod baselines;
mod gate;
mod grid;
mod report;
mod until;

use super::*;
use crate::error::Error;
use crate::simulate::toy::{self, ToyEvaluator, ToyFeatures, ToyTrainer};
use crate::types::{Control, Record};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The stages, and what counts how often they are asked.
struct Toys {
    proxy: Arc<ToyFeatures>,
    trainer: Arc<ToyTrainer>,
}

impl Toys {
    fn new(trainer: ToyTrainer) -> Self {
        Self { proxy: Arc::new(ToyFeatures::new(true)), trainer: Arc::new(trainer) }
    }

    fn stages(&self) -> Stages {
        Stages {
            model: Features::new(Arc::new(ToyFeatures::new(false)), 1),
            proxy: Features::new(self.proxy.clone(), 1),
            judge: None,
            trainer: self.trainer.clone(),
            evaluator: Arc::new(ToyEvaluator),
            aggregator: None,
            count_tokens: Arc::new(|r: &Record| Ok(r.instruction.len() + r.response().len())),
            save_adapter: None,
            identity: vec![("model".into(), "toy".into())],
            notes: vec!["the stages are toys".into()],
        }
    }
}

const CONFIG: &str = r#"
name = "toy"
seeds = [1, 2]
budget = 6
methods = [
    "all", "random", "stratified", "fedhds_coverage",
    { preset = "fedhds_coverage", name = "turbo", features = "proxy" },
]
data = { format = "embedded", partition = { kind = "iid", clients = 8 } }
federation = { rounds = 4, participation = { count = 4 } }
generation = { records = 6 }
fedit = { rounds = 2, records_per_client = 5 }
"#;

fn config(out: &Path, change: (&str, &str)) -> ExperimentConfig {
    assert!(CONFIG.contains(change.0));
    let mut config = ExperimentConfig::parse(&CONFIG.replacen(change.0, change.1, 1)).unwrap();
    config.out = out.to_path_buf();
    config
}

fn experiment(out: &Path, toys: &Toys, change: (&str, &str)) -> Experiment {
    Experiment::new(config(out, change), toy::data(8, 10, 5), toys.stages(), Vec::new()).unwrap()
}

fn toys() -> Toys {
    Toys::new(ToyTrainer::default())
}

/// The table of a run in which nothing failed.
fn run(experiment: &Experiment) -> Table {
    let finished = experiment.run(&Control::default()).unwrap().whole().unwrap();
    finished.results.table().unwrap().clone()
}

#[test]
fn every_method_and_seed_leaves_a_record_and_the_table_compares_them() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let experiment = experiment(out.path(), &toys, ("", ""));
    let table = run(&experiment);
    let labels: Vec<&str> = table.rows.iter().map(|r| r.method.as_str()).collect();
    assert_eq!(labels, ["untuned", "all", "random", "stratified", "fedhds_coverage", "turbo"]);
    assert!(table.rows.iter().skip(1).all(|r| r.seeds == 2 && r.loss_deviation.is_some() && r.up > 0.0));
    let random = &table.rows[2];
    assert_eq!(random.trained, 4.0 * 6.0);
    assert!((random.percent - 100.0 * random.records / 80.0).abs() < 1e-9);
    let loss = |i: usize| table.rows[i].metrics.as_ref().unwrap().loss;
    for row in &table.rows {
        let metrics = row.metrics.as_ref().unwrap();
        assert!(metrics.loss.low <= metrics.loss.mean && metrics.loss.mean <= metrics.loss.high);
        assert!(metrics.rouge_l.is_some());
    }
    assert!(loss(1).mean != loss(0).mean);
    assert_eq!(table.rows[1].speed_up, Some(1.0));
    let pairs: Vec<String> = table.comparisons.iter().map(|c| format!("{} - {}", c.method, c.baseline)).collect();
    let expected = [
        "stratified - random",
        "fedhds_coverage - random",
        "turbo - random",
        "fedhds_coverage - stratified",
        "turbo - stratified",
    ];
    assert_eq!(pairs, expected);
    for (text, name) in [(table.to_text(), "table.txt"), (table.to_markdown(), "table.md")] {
        assert_eq!(std::fs::read_to_string(out.path().join(name)).unwrap(), text);
        for word in ["fedhds_coverage - stratified", "all was stopped after 2 of 4 rounds", "at most 5 records", "toys"]
        {
            assert!(text.contains(word), "{word} in:\n{text}");
        }
    }
    // the frozen proxy saw each client once, for all seeds and rounds
    assert!(toys.proxy.calls.load(Ordering::Relaxed) <= 8);
    let record = RunRecord::load(out.path().join("turbo/seed-2/run.json")).unwrap();
    assert_eq!((record.rounds.len(), record.seed, record.scores.len()), (4, 2, 12));
    assert!(out.path().join("config.toml").exists());
    if cfg!(target_os = "linux") {
        assert!(record.peak_memory_bytes.unwrap() > 1 << 20);
    }
}

#[test]
fn a_baseline_takes_the_counts_of_the_method_that_it_follows() {
    let out = tempfile::tempdir().unwrap();
    let methods = r#"{ preset = "fedhds_turbo", client.clusterer.min_cluster_size = 2 },
        { preset = "random", name = "random, as turbo", count_of = "fedhds_turbo" }, "all", "#;
    let experiment = experiment(out.path(), &toys(), (r#""all", "#, methods));
    let table = run(&experiment);
    let mut seen = std::collections::BTreeSet::new();
    for seed in [1, 2] {
        let counts = |label| -> Vec<usize> {
            let record = RunRecord::load(experiment.run_folder(label, seed).join("run.json")).unwrap();
            record.rounds.iter().map(|r| r.clients.iter().map(|c| c.selected.len()).sum()).collect()
        };
        assert_eq!(counts("fedhds_turbo"), counts("random, as turbo"));
        seen.extend(counts("fedhds_turbo"));
    }
    assert!(seen.len() > 1, "the clustering decides, differently in each round: {seen:?}");
    let of_turbo: Vec<_> = table.comparisons.iter().filter(|c| c.method == "fedhds_turbo").collect();
    assert_eq!(of_turbo.len(), 1, "not with a baseline of another count");
    assert_eq!(of_turbo[0].baseline, "random, as turbo");
    assert_eq!(of_turbo[0].trained[0], of_turbo[0].trained[1]);
}

#[test]
fn an_interrupted_experiment_goes_on_to_the_same_results() {
    let whole = tempfile::tempdir().unwrap();
    experiment(whole.path(), &toys(), ("", "")).run(&Control::default()).unwrap();
    let broken = tempfile::tempdir().unwrap();
    let mut failures = 0;
    for stop_at in [1, 9, 17, 30] {
        let toys = Toys::new(ToyTrainer { stop_at, ..ToyTrainer::default() });
        failures += usize::from(experiment(broken.path(), &toys, ("", "")).run(&Control::default()).is_err());
    }
    assert!(failures > 2);
    experiment(broken.path(), &toys(), ("", "")).run(&Control::default()).unwrap();
    let again = toys();
    experiment(broken.path(), &again, ("", "")).run(&Control::default()).unwrap();
    assert_eq!(again.trainer.calls.load(Ordering::Relaxed), 0, "finished runs are not run again");
    let config = config(whole.path(), ("", ""));
    for label in config.methods.iter().map(MethodEntry::label) {
        for seed in [1, 2] {
            let record = |folder: &Path| {
                let mut record = RunRecord::load(folder.join(format!("{label}/seed-{seed}/run.json"))).unwrap();
                record.config = serde_json::Value::Null; // it names the output folder
                record.repeatable()
            };
            assert_eq!(record(whole.path()), record(broken.path()), "{label} {seed}");
        }
    }
}

#[test]
fn a_folder_with_runs_of_other_settings_is_refused_with_what_differs() {
    let out = tempfile::tempdir().unwrap();
    experiment(out.path(), &toys(), ("", "")).run(&Control::default()).unwrap();
    let error = |change| match experiment(out.path(), &toys(), change).run(&Control::default()) {
        Err(Error::Checkpoint { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let text = error(("budget = 6", "budget = 7"));
    assert!(text.contains("`method.count.budget`: this run has `7`, the saved one `6`"), "{text}");
    let text = error(("rounds = 4", "rounds = 5"));
    assert!(text.contains("`federation.rounds`"), "{text}");
    // more seeds and methods are more runs of the same experiment
    experiment(out.path(), &toys(), ("seeds = [1, 2]", "seeds = [1, 2, 3]")).run(&Control::default()).unwrap();
}

#[test]
fn a_table_says_where_runs_of_other_releases_are_in_it() {
    let out = tempfile::tempdir().unwrap();
    let run = || experiment(out.path(), &toys(), ("", "")).run(&Control::default()).unwrap();
    let notes = |finished: &Finished| finished.results.table().unwrap().notes.join("\n");
    assert!(!notes(&run()).contains("mixed releases"));
    let path = out.path().join("random/seed-1/run.json");
    let mut record = RunRecord::load(&path).unwrap();
    record.versions.fedhds = "0.0.0-older".into();
    record.save(&path).unwrap();
    let mixed = run();
    assert!(notes(&mixed).contains("mixed releases") && notes(&mixed).contains("0.0.0-older"), "{}", notes(&mixed));
    assert!(mixed.results.to_text().contains("0.0.0-older"));
}

#[test]
fn the_cost_is_stated_before_anything_is_trained() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let experiment = experiment(out.path(), &toys, ("", ""));
    let cost = experiment.cost(&Control::default()).unwrap();
    let find = |method: &str, stage: &str| cost.stages.iter().find(|s| s.method == method && s.stage == stage);
    // two seeds, four rounds, four clients of ten records
    assert_eq!(find("fedhds_coverage", "features").unwrap().records, 2 * 4 * 4 * 10);
    assert!(find("turbo", "features").unwrap().records <= 80);
    assert_eq!(find("random", "training").unwrap().records, 2 * 4 * 6);
    assert_eq!(find("all", "training").unwrap().records, 2 * 2 * 4 * 5);
    assert_eq!(find("untuned", "evaluation: loss").unwrap().records, 12);
    assert_eq!(find("random", "evaluation: generation").unwrap().records, 2 * 6);
    assert!(find("random", "features").is_none());
    assert!(cost.seconds() > 0.0);
    assert!(experiment.describe().contains("8 clients, 80 records"));
    assert!(!out.path().join("random").exists());
    experiment.run(&Control::default()).unwrap();
    let again = experiment.cost(&Control::default()).unwrap();
    assert!(again.stages.is_empty() && again.to_text().contains("every run is finished"));
}

#[test]
fn data_that_cannot_be_used_is_refused_before_any_work() {
    let out = tempfile::tempdir().unwrap();
    let build = |data| match Experiment::new(config(out.path(), ("", "")), data, toys().stages(), Vec::new()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    let data = || toy::data(3, 4, 2);
    let mut none = data();
    none.clients.clear();
    assert!(build(none).contains("at least one client"));
    let mut empty = data();
    empty.clients[1].records.clear();
    assert!(build(empty).contains("client 1 (`client-1`): expected at least one record"));
    let mut untested = data();
    untested.test.records.clear();
    assert!(build(untested).contains("test set"));
    let mut twice = data();
    twice.test.records[0].id = twice.clients[0].records[0].id.clone();
    assert!(build(twice).contains("twice"));
}

#[test]
fn a_run_record_comes_back_and_another_schema_does_not() {
    let out = tempfile::tempdir().unwrap();
    experiment(out.path(), &toys(), ("", "")).run(&Control::default()).unwrap();
    let path = out.path().join("random/seed-1/run.json");
    let record = RunRecord::load(&path).unwrap();
    record.save(out.path().join("copy.json")).unwrap();
    assert_eq!(RunRecord::load(out.path().join("copy.json")).unwrap(), record);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"schema\": 1", "\"schema\": 2", 1)).unwrap();
    assert!(RunRecord::load(&path).unwrap_err().to_string().contains("schema 2 in place of 1"));
    std::fs::write(&path, text.replacen("\"seed\":", "\"sede\":", 1)).unwrap();
    assert!(matches!(RunRecord::load(&path), Err(Error::Checkpoint { .. })));
}
