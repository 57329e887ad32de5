//! The quality gate alone over a toy judge: what it says, what is kept, what is refused.

use super::*;
use crate::dataset::embedded::EmbeddedTasks;
use crate::stage::Scorer;
use crate::types::{Context, Matrix};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

const GATE: &str = r#"
name = "gate"
workers = 1
seeds = [1, 2, 3]
budget = 6
methods = [
    "random", "fedhds_robust",
    { preset = "fedhds_robust", name = "as many", count_of = "random" },
]
federation = { rounds = 4, participation = { count = 5 } }
generation = { records = 0 }
[data]
format = "embedded"
partition = { kind = "iid", clients = 8 }
[data.conditions]
clean = {}
"swapped" = { swap_across = 0.5 }
"#;

/// Knows the right response of each prompt: its loss is small, that of any other is some number around 2.
struct Knows {
    right: BTreeMap<(String, String), String>,
    calls: AtomicUsize,
    /// Is cancelled at this call (from 1); 0 for never.
    stop_at: usize,
}

impl Knows {
    fn new(pool: &Pool, stop_at: usize) -> Arc<Self> {
        let right = pool.train.records.iter();
        let right = right.map(|r| ((r.instruction.clone(), r.input.clone()), r.response().to_owned())).collect();
        Arc::new(Self { right, calls: AtomicUsize::new(0), stop_at })
    }
}

impl Scorer for Knows {
    fn names(&self) -> Vec<String> {
        vec!["loss".into()]
    }

    fn score(&self, records: &[Record], _: Option<&crate::types::Adapter>, _: &Context) -> Result<Matrix, Error> {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.stop_at {
            return Err(Error::Cancelled);
        }
        let loss = |record: &Record| {
            let known = self.right.get(&(record.instruction.clone(), record.input.clone()));
            if known.is_some_and(|right| right == record.response()) {
                return 0.5;
            }
            let text = format!("{}\n{}\n{}", record.instruction, record.input, record.response());
            1.5 + f32::from(blake3::hash(text.as_bytes()).as_bytes()[0]) / 256.0
        };
        Matrix::new(records.len(), 1, records.iter().map(loss).collect())
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        "knows what is right".into()
    }
}

/// Embedded tasks: their prompts are of topics that texts tell apart.
fn pool() -> Pool {
    let mut config = ExperimentConfig::parse(GATE).unwrap().data;
    config.embedded =
        EmbeddedTasks { tasks: Some(20), records_per_task: 10, test_records_per_task: 1, ..EmbeddedTasks::default() };
    let count = |r: &Record| Ok(r.instruction.len() / 4 + r.input.len() / 4 + 1);
    load_pool(&config, &count, &Control::default()).unwrap()
}

fn looked(out: &Path, judge: &Arc<Knows>, change: (&str, &str)) -> Experiment {
    assert!(GATE.contains(change.0));
    let mut config = ExperimentConfig::parse(&GATE.replacen(change.0, change.1, 1)).unwrap();
    config.out = out.to_path_buf();
    let judge: Arc<dyn Scorer> = judge.clone();
    Experiment::over(config, pool(), Stages { judge: Some(judge), ..toys().stages() }).unwrap()
}

fn table(experiment: &Experiment) -> GateTable {
    let finished = experiment.gate_only(&Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    finished.table
}

#[test]
fn it_opens_where_responses_are_swapped_and_nowhere_else() {
    let out = tempfile::tempdir().unwrap();
    let judge = Knows::new(&pool(), 0);
    let experiment = looked(out.path(), &judge, ("", ""));
    let about = experiment.describe_gate_only().unwrap();
    assert_eq!(about, "the gate alone: 6 federations with fedhds_robust; each client scores at most 40 pairs, once");
    let table = table(&experiment);
    let [clean, swapped] = table.rows.as_slice() else { panic!("{table:?}") };
    assert_eq!((clean.condition.as_deref(), swapped.condition.as_deref()), (Some("clean"), Some("swapped")));
    assert_eq!((clean.open_at_end.count, clean.open_at_end.of, clean.ever_open.count), (0, 3, 0));
    assert_eq!((swapped.open_at_end.count, swapped.seeds), (3, 3));
    let truth = swapped.truth.unwrap();
    assert!((truth.share - 0.5).abs() < 0.05, "{truth:?}");
    assert!(truth.error.unwrap() < 0.2 && truth.near.unwrap().of == 3, "{truth:?}");
    assert!(
        (truth.scored.unwrap() - swapped.bad.records as f64 / (swapped.bad.records + swapped.good.records) as f64)
            .abs()
            < 1e-12
    );
    assert!((swapped.estimate.unwrap() - truth.share).abs() < 0.2, "{swapped:?}");
    // Good responses are likelier under their own prompt than under every decoy, bad ones as often as not.
    assert_eq!(clean.good.doubled_share(), Some(0.0));
    assert_eq!((clean.bad.records, clean.bad.doubled_share()), (0, None));
    let bad = swapped.bad.doubled_share().unwrap();
    assert!((0.6..=1.4).contains(&bad), "{bad}");
    for row in &table.rows {
        // 8 records against 4 decoys, the toy's passes being one for each pair.
        assert!(row.counted > 48.0 && row.passes <= 40.0 && row.passes > 30.0, "{row:?}");
        assert_eq!(row.good.and(&row.bad).bins.iter().sum::<u64>(), 4 * row.good.and(&row.bad).records);
    }
    for (text, file) in [(table.to_text(), "gate.txt"), (table.to_markdown(), "gate.md")] {
        assert_eq!(std::fs::read_to_string(out.path().join(file)).unwrap(), text);
        for word in ["open at the end [95%]", "1.000 [0.439, 1.000]", "0.000 [0.000, 0.561]", "swapped", "from -0.8"] {
            assert!(text.contains(word), "{word} in:\n{text}");
        }
    }
    let json = std::fs::read_to_string(out.path().join("gate.json")).unwrap();
    assert_eq!(serde_json::from_str::<GateTable>(&json).unwrap(), table);
    assert!(!out.path().join("untuned").exists() && !out.path().join("clean/random").exists(), "nothing else is done");
}

#[test]
fn it_says_what_it_says_in_the_run() {
    let out = tempfile::tempdir().unwrap();
    let judge = Knows::new(&pool(), 0);
    let experiment = looked(out.path(), &judge, ("seeds = [1, 2, 3]", "seeds = [2]"));
    table(&experiment);
    experiment.run(&Control::default()).unwrap().whole().unwrap();
    let mut opened = 0;
    for condition in ["clean", "swapped"] {
        let folder = experiment.cell_folder(Some(condition), "fedhds_robust", 2);
        let run = RunRecord::load(folder.join("run.json")).unwrap();
        let alone = GateRecord::load(folder.join("gate.json")).unwrap();
        let said: Vec<_> = run.rounds.iter().map(|round| round.gate.clone()).collect();
        assert_eq!(said, alone.rounds, "{condition}");
        opened += usize::from(alone.ever_open());
        let trained: usize = run.rounds.iter().flat_map(|r| &r.clients).map(|c| c.selected.len()).sum();
        assert!(trained > 0, "the run trained, the gate alone did not");
    }
    assert_eq!(opened, 1);
}

#[test]
fn what_is_finished_is_not_looked_at_again() {
    let whole = tempfile::tempdir().unwrap();
    let judge = Knows::new(&pool(), 0);
    let expected = table(&looked(whole.path(), &judge, ("", "")));
    let broken = tempfile::tempdir().unwrap();
    let stopped = Knows::new(&pool(), 30);
    let error = looked(broken.path(), &stopped, ("", "")).gate_only(&Control::default());
    assert!(matches!(error, Err(Error::Cancelled)), "{error:?}");
    let rest = Knows::new(&pool(), 0);
    // Side by side, too.
    let same = |t: &GateTable| GateTable { notes: Vec::new(), ..t.clone() };
    assert_eq!(same(&table(&looked(broken.path(), &rest, ("workers = 1", "workers = 3")))), same(&expected));
    let calls = |judge: &Knows| judge.calls.load(Ordering::Relaxed);
    assert!(calls(&rest) > 0 && calls(&rest) < calls(&judge), "{} of {}", calls(&rest), calls(&judge));
    let again = Knows::new(&pool(), 0);
    assert_eq!(same(&table(&looked(broken.path(), &again, ("", "")))), same(&expected));
    assert_eq!(calls(&again), 0);
    let other = looked(broken.path(), &again, ("rounds = 4", "rounds = 5"));
    match other.gate_only(&Control::default()) {
        Err(Error::Checkpoint { message, .. }) => assert!(message.contains("`federation.rounds`"), "{message}"),
        other => panic!("{other:?}"),
    }
    let path = whole.path().join("clean/fedhds_robust/seed-1/gate.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"schema\": 1", "\"schema\": 2", 1)).unwrap();
    assert!(GateRecord::load(&path).unwrap_err().to_string().contains("schema 2 in place of 1"));
}

#[test]
fn an_experiment_without_conditions_has_no_truth_and_a_table_all_the_same() {
    let out = tempfile::tempdir().unwrap();
    let judge = Knows::new(&pool(), 0);
    let conditions = "[data.conditions]\nclean = {}\n\"swapped\" = { swap_across = 0.5 }\n";
    let table = table(&looked(out.path(), &judge, (conditions, "")));
    let [row] = table.rows.as_slice() else { panic!("{table:?}") };
    assert_eq!((row.condition.as_deref(), row.seeds, row.truth.is_none()), (None, 3, true));
    assert!(row.estimate.is_some() && row.good.records > 0 && row.bad.records == 0);
    let text = table.to_text();
    assert!(text.starts_with("method") && text.contains("  all  "), "{text}");
    assert!(out.path().join("fedhds_robust/seed-3/gate.json").exists());
}

#[test]
fn what_has_no_gate_or_no_judge_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let judge = Knows::new(&pool(), 0);
    let none = looked(out.path(), &judge, ("\"random\", \"fedhds_robust\",", "\"random\","));
    let error = none.gate_only(&Control::default()).unwrap_err().to_string();
    assert!(error.contains("one with a quality gate, such as `fedhds_robust`"), "{error}");
    assert!(none.describe_gate_only().is_err());
    let mut config = ExperimentConfig::parse(GATE).unwrap();
    config.out = out.path().to_path_buf();
    let blind = Experiment::over(config, pool(), toys().stages()).unwrap();
    let error = blind.gate_only(&Control::default()).unwrap_err().to_string();
    assert!(error.contains("judge") && error.contains("losses"), "{error}");
}
