//! A loss to reach: what is counted, what it changes, what is refused.

use super::*;
use crate::protocol::Direction;
use crate::simulate::{EvaluationRecord, RoundRecord};
use crate::stage::{Evaluator, RecordScore};
use crate::types::{Adapter, Context};
use std::sync::atomic::AtomicUsize;

/// An experiment with this `[until]`, its table written on one line.
fn with(out: &Path, toys: &Toys, until: &str) -> Experiment {
    let line = format!("budget = 6\nuntil = {{ {until} }}");
    experiment(out, toys, ("budget = 6", &line))
}

fn record(out: &Path, label: &str, seed: u64) -> RunRecord {
    RunRecord::load(out.join(format!("{label}/seed-{seed}/run.json"))).unwrap()
}

fn loss(round: &RoundRecord) -> Option<f64> {
    round.evaluation.as_ref().map(|evaluation: &EvaluationRecord| evaluation.loss)
}

/// A target that `random` reaches with seed 1 after its second round, and not after its first.
fn target() -> f64 {
    let out = tempfile::tempdir().unwrap();
    run(&with(out.path(), &toys(), "loss = 1e-9"));
    let record = record(out.path(), "random", 1);
    let losses: Vec<f64> = record.rounds.iter().filter_map(loss).collect();
    assert!(losses.len() == 4 && losses[1] < losses[0], "{losses:?}");
    (losses[0] + losses[1]) / 2.0
}

const LABELS: [&str; 5] = ["all", "random", "stratified", "fedhds_coverage", "turbo"];

#[test]
fn what_was_spent_until_the_target_is_counted_and_nothing_else_changes() {
    let [out, plain] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let target = target();
    let table = run(&with(out.path(), &toys(), &format!("loss = {target}")));
    let without = run(&experiment(plain.path(), &toys(), ("", "")));
    for label in LABELS {
        for seed in [1, 2] {
            let (looked, plain) = (record(out.path(), label, seed), record(plain.path(), label, seed));
            assert_eq!(looked.scores, plain.scores, "a look changes no result");
            assert!(plain.until.is_none() && looked.rounds.iter().all(|round| loss(round).is_some()));
            let texts: Vec<usize> = looked.rounds.iter().map(|r| r.evaluation.as_ref().unwrap().generated).collect();
            assert!(texts.iter().rev().skip(1).all(|n| *n == 0) && texts.last() == Some(&6), "{texts:?}");
            let until = looked.until.clone().unwrap();
            let first = looked.rounds.iter().position(|round| loss(round).unwrap() <= target);
            assert_eq!(until.reached.as_ref().map(|r| r.rounds), first.map(|at| at + 1), "{label} {seed}");
            let Some(reached) = until.reached else { continue };
            let part = RunRecord { rounds: looked.rounds[..reached.rounds].to_vec(), ..looked.clone() };
            assert_eq!((reached.records, reached.distinct), (part.trained_records(), part.distinct_records()));
            assert_eq!((reached.tokens, reached.seconds), (part.trained_tokens(), part.client_seconds()));
            assert_eq!((reached.up, reached.down), (part.bytes(Direction::Up), part.bytes(Direction::Down)));
            assert_eq!(Some(reached.loss), part.rounds.last().and_then(loss));
        }
    }
    assert_eq!(record(out.path(), "random", 1).until.unwrap().reached.unwrap().rounds, 2);
    for (row, plain) in table.rows.iter().zip(&without.rows) {
        assert_eq!((&row.method, &row.metrics, row.up), (&plain.method, &plain.metrics, plain.up));
        assert!(plain.until.is_none() && row.until.is_some() == (row.method != UNTUNED));
    }
    let random = table.rows[2].until.as_ref().unwrap();
    assert_eq!((random.reached.of, random.to_random), (2, None));
    assert_eq!(random.cost.unwrap().records.seeds, random.reached.count);
    let text = table.to_text();
    for word in ["Cost to the target loss", "of 2", "every 1 rounds and after the last", "over that of random"] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
    assert!(!without.to_text().contains("target") && !text.contains("until.stop"));
    assert!(table.to_markdown().contains("\n\n| method | target | reached | share [95%] |"));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.path().join("table.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<Table>(json).unwrap(), table);
}

#[test]
fn a_run_that_stops_at_its_target_ends_there_with_its_texts() {
    let [whole, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let target = target();
    run(&with(whole.path(), &toys(), &format!("loss = {target}")));
    let table = run(&with(out.path(), &toys(), &format!("loss = {target}, stop = true")));
    for label in LABELS {
        for seed in [1, 2] {
            let (stopped, whole) = (record(out.path(), label, seed), record(whole.path(), label, seed));
            let reached = whole.until.unwrap().reached.map(|reached| reached.rounds);
            assert_eq!(stopped.rounds.len(), reached.unwrap_or(whole.rounds.len()), "{label} {seed}");
            assert_eq!(stopped.until.unwrap().reached.map(|reached| reached.rounds), reached);
            let last = stopped.rounds.last().unwrap();
            assert_eq!(last.evaluation.as_ref().unwrap().generated, 6);
            assert_eq!(loss(last), loss(&whole.rounds[stopped.rounds.len() - 1]));
            assert!(stopped.metrics.unwrap().rouge_l.is_some());
        }
    }
    assert_eq!(record(out.path(), "random", 1).rounds.len(), 2);
    assert!(table.to_text().contains("until.stop: a run ended where it reached the target"));
}

#[test]
fn an_interrupted_run_with_a_target_goes_on_to_the_same_bits() {
    let target = target();
    for stop in [false, true] {
        let until = format!("loss = {target}, every = 2, stop = {stop}");
        let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        run(&with(whole.path(), &toys(), &until));
        for stop_at in [1, 9, 17, 23] {
            let toys = Toys::new(ToyTrainer { stop_at, ..ToyTrainer::default() });
            assert!(with(broken.path(), &toys, &until).run(&Control::default()).is_err() || stop);
        }
        run(&with(broken.path(), &toys(), &until));
        let again = toys();
        run(&with(broken.path(), &again, &until));
        assert_eq!(again.trainer.calls.load(Ordering::Relaxed), 0, "finished runs are not run again");
        for label in LABELS {
            for seed in [1, 2] {
                let bare = |folder: &Path| {
                    let mut record = record(folder, label, seed);
                    record.config = serde_json::Value::Null; // it names the output folder
                    record.repeatable()
                };
                assert_eq!(bare(whole.path()), bare(broken.path()), "{label} {seed}");
            }
        }
    }
}

/// Is cancelled when it is asked for the so-manieth time, from 1.
struct Interrupted(AtomicUsize, usize);

impl Evaluator for Interrupted {
    fn evaluate(
        &self,
        adapter: Option<&Adapter>,
        records: &[Record],
        generate: bool,
        context: &Context,
    ) -> crate::Result<Vec<RecordScore>> {
        if self.0.fetch_add(1, Ordering::Relaxed) + 1 == self.1 {
            return Err(Error::Cancelled);
        }
        ToyEvaluator.evaluate(adapter, records, generate, context)
    }
}

#[test]
fn a_stop_within_a_look_or_before_the_record_is_written_loses_nothing() {
    let until = format!("loss = {}, stop = true", target());
    let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    run(&with(whole.path(), &toys(), &until));
    // Within looks, and within the texts of a run that has just reached its target: each evaluation asks twice.
    for stop_at in 1..12 {
        let stages = Stages { evaluator: Arc::new(Interrupted(AtomicUsize::new(0), stop_at)), ..toys().stages() };
        let line = format!("budget = 6\nuntil = {{ {until} }}");
        let config = config(broken.path(), ("budget = 6", &line));
        let experiment = Experiment::new(config, toy::data(8, 10, 5), stages, Vec::new()).unwrap();
        assert!(matches!(experiment.run(&Control::default()), Err(Error::Cancelled)), "{stop_at}");
    }
    run(&with(broken.path(), &toys(), &until));
    let bare = |folder: &Path, label, seed| {
        let mut record = record(folder, label, seed);
        record.config = serde_json::Value::Null; // it names the output folder
        record.repeatable()
    };
    for label in LABELS {
        for seed in [1, 2] {
            assert_eq!(bare(whole.path(), label, seed), bare(broken.path(), label, seed), "{label} {seed}");
        }
    }
    let expected = bare(whole.path(), "random", 1);
    std::fs::remove_file(broken.path().join("random/seed-1/run.json")).unwrap();
    let again = toys();
    run(&with(broken.path(), &again, &until));
    assert_eq!(again.trainer.calls.load(Ordering::Relaxed), 0, "the checkpoint says that the run is over");
    assert_eq!(bare(broken.path(), "random", 1), expected);
}

#[test]
fn another_target_is_read_off_the_evaluations_that_are_there_and_other_looks_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let target = target();
    run(&with(out.path(), &toys(), "loss = 1e-9"));
    assert!(record(out.path(), "random", 1).until.unwrap().reached.is_none());
    let again = toys();
    let table = run(&with(out.path(), &again, &format!("loss = {target}")));
    assert_eq!(again.trainer.calls.load(Ordering::Relaxed), 0);
    let record = record(out.path(), "random", 1);
    let until = record.until.unwrap();
    assert_eq!((until.target.loss, until.reached.unwrap().rounds), (target, 2));
    assert_eq!(record.config["until"]["loss"], target);
    assert!(table.rows[2].until.as_ref().unwrap().reached.count > 0);
    let refused = |experiment: Experiment| match experiment.run(&Control::default()) {
        Err(Error::Checkpoint { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let text = refused(with(out.path(), &toys(), &format!("loss = {target}, every = 2")));
    assert!(text.contains("`until.every`: this run has `2`, the saved one `1`"), "{text}");
    let text = refused(with(out.path(), &toys(), &format!("loss = {target}, stop = true")));
    assert!(text.contains("`until.stop`: this run has `true`, the saved one nothing"), "{text}");
    let text = refused(experiment(out.path(), &toys(), ("", "")));
    assert!(text.contains("`until.every`: this run has nothing, the saved one `1`"), "{text}");
    // Records that were made without a look have none to read.
    let plain = tempfile::tempdir().unwrap();
    run(&experiment(plain.path(), &toys(), ("", "")));
    let text = refused(with(plain.path(), &toys(), "loss = 1.0"));
    assert!(text.contains("`until.every`: this run has `1`, the saved one nothing"), "{text}");
}

#[test]
fn looks_stand_beside_the_schedule_and_in_the_cost() {
    let out = tempfile::tempdir().unwrap();
    let toys = toys();
    let change = "until = { loss = 1e9, every = 2 }\nfederation = { evaluate = { every = 3 }, rounds = 4,";
    let both = experiment(out.path(), &toys, ("federation = { rounds = 4,", change));
    let cost = both.cost(&Control::default()).unwrap();
    let find = |stage: &str| cost.stages.iter().find(|s| s.method == "random" && s.stage == stage).unwrap().records;
    // Two seeds: texts after rounds 3 and 4, losses after rounds 2, 3 and 4.
    assert_eq!((find("evaluation: generation"), find("evaluation: loss")), (2 * 2 * 6, 2 * 3 * 12));
    let table = run(&both);
    let record = record(out.path(), "random", 1);
    let texts: Vec<Option<usize>> =
        record.rounds.iter().map(|r| r.evaluation.as_ref().map(|evaluation| evaluation.generated)).collect();
    assert_eq!(texts, [None, Some(0), Some(6), Some(6)]);
    assert_eq!(record.until.unwrap().reached.unwrap().rounds, 2, "the first look");
    assert!(table.to_text().contains("is at the target of 1000000000 already"), "{}", table.to_text());
}
