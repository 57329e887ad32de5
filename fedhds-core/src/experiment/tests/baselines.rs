//! The paper's baselines that a federation could not run, or that look at losses: what they select.

use super::*;
use crate::stage::Scorer;
use crate::types::{Adapter, Context, Matrix};
use std::collections::BTreeSet;

/// The loss of a record is its number.
struct Number;

fn number(id: &str) -> f32 {
    id.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

impl Scorer for Number {
    fn names(&self) -> Vec<String> {
        vec!["loss".into()]
    }

    fn score(&self, records: &[Record], _: Option<&Adapter>, _: &Context) -> Result<Matrix, Error> {
        Matrix::new(records.len(), 1, records.iter().map(|record| number(&record.id)).collect())
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        "the record's number".into()
    }
}

const METHODS: (&str, &str) = (
    r#""all", "random", "stratified", "fedhds_coverage","#,
    r#""random", "perplexity", "global_select", "coreset_cent",
    { preset = "perplexity", name = "hard", client.selector = "perplexity_high" },
    { preset = "perplexity", name = "a fifth", count = { ratio = 0.2 } },
    { preset = "random", name = "at its compute", compute_of = "hard" },
    { preset = "fedhds_coverage", name = "last layer", client.layers = "last" },"#,
);

fn stages() -> Stages {
    Stages { judge: Some(Arc::new(Number)), ..toys().stages() }
}

fn over(out: &Path, stages: Stages) -> Experiment {
    let mut config = config(out, METHODS);
    config.seeds = vec![1];
    Experiment::new(config, toy::data(8, 10, 5), stages, Vec::new()).unwrap()
}

#[test]
fn each_baseline_selects_as_it_says() {
    let out = tempfile::tempdir().unwrap();
    let table = run(&over(out.path(), stages()));
    assert_eq!(table.rows.len(), 10);
    let record = |label: &str| RunRecord::load(out.path().join(label).join("seed-1/run.json")).unwrap();
    let counts = |run: &RunRecord| -> Vec<Vec<(u32, usize)>> {
        let of = |c: &crate::simulate::ClientRecord| (c.client.0, c.selected.len());
        run.rounds.iter().map(|round| round.clients.iter().map(of).collect()).collect()
    };
    let (random, perplexity, hard) = (record("random"), record("perplexity"), record("hard"));
    // As many of each client as `random` takes: what differs is which.
    assert_eq!(counts(&perplexity), counts(&random));
    let all = |run: &RunRecord| -> Vec<String> {
        run.rounds.iter().flat_map(|r| r.clients.iter().flat_map(|c| c.selected.iter().cloned())).collect()
    };
    let mean = |run: &RunRecord| all(run).iter().map(|id| number(id)).sum::<f32>() / all(run).len() as f32;
    assert!(mean(&hard) > mean(&random) + 1.0, "{} {}", mean(&hard), mean(&random));
    let first = |run: &RunRecord| -> Vec<f32> {
        let clients = run.rounds[0].clients.iter().filter(|c| c.selected.len() == 1);
        clients.map(|c| number(&c.selected[0])).collect()
    };
    assert!(first(&hard).iter().all(|n| *n == 9.0), "{:?}", first(&hard));
    assert!(first(&perplexity).iter().all(|n| (4.0..=5.0).contains(n)), "{:?}", first(&perplexity));
    // Each record of a client was scored once, and that counts as compute.
    let passes = |run: &RunRecord| run.rounds.iter().flat_map(|r| r.clients.iter().map(|c| c.passes)).sum::<u64>();
    assert!(passes(&hard) >= 10 && passes(&hard) <= 80 && passes(&hard).is_multiple_of(10));
    assert!(all(&record("at_its_compute")).len() > all(&hard).len());
    assert!(all(&record("a_fifth")).len() >= 4 * 8 - 4);

    let global = record("global_select");
    assert!(global.rounds.iter().flat_map(|r| &r.clients).all(|c| c.centroids == c.records));
    assert_eq!(all(&global).len(), 4 * 6);

    let pooled = record("coreset_cent");
    assert!(pooled.rounds.iter().all(|r| r.clients.len() == 1 && r.clients[0].records == 80));
    let trained = all(&pooled);
    assert_eq!(trained.len(), 4 * 6);
    assert_eq!(trained.iter().collect::<BTreeSet<_>>().len(), trained.len(), "no record twice");
    let tasks = |ids: &[String]| ids.iter().map(|id| id.split('/').next().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert!(tasks(&trained).len() > 1);
}

#[test]
fn perplexity_without_a_judge_says_what_it_needs() {
    let out = tempfile::tempdir().unwrap();
    let finished = over(out.path(), toys().stages()).run(&Control::default()).unwrap();
    let error = finished.whole().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("judge") || error.contains("perplexity"), "{error}");
    assert!(RunRecord::load(out.path().join("random/seed-1/run.json")).is_ok(), "the others ran");
}
