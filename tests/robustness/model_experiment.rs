//! An experiment on the embedded model: stopped after a round and started again, it ends with the same bits; a finished one is not
//! run again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::Error;
use fedhds_core::experiment::{Experiment, ExperimentConfig, RunRecord};
use fedhds_core::types::{CancelToken, Control, Progress};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const METHODS: [&str; 3] = ["random", "fedhds_turbo", "fedhds_coverage"];
const CONFIG: &str = r#"
name = "embedded"
seeds = [3]
budget = 3
methods = ["random", "fedhds_turbo", "fedhds_coverage"]
prompt = "short"
data = { format = "embedded", max_tokens = 128, embedded = { tasks = 5, records_per_task = 6, test_records_per_task = 1 }, partition = { kind = "iid", clients = 3 } }
federation = { rounds = 2, participation = { count = 2 } }
generation = { records = 3, max_new_tokens = 4 }
adapter = { r = 2 }
"#;

fn prepare(out: &Path) -> Experiment {
    let mut config = ExperimentConfig::parse(CONFIG).unwrap();
    config.model.path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/embedded");
    config.out = out.to_path_buf();
    Experiment::prepare(&config, &Control::default()).unwrap()
}

/// Asks for a stop at the end of the n-th round.
struct StopAfter {
    cancel: CancelToken,
    rounds: AtomicUsize,
}

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, stage: &str, units: u64) {
        if stage == "rounds" && units > 0 && self.rounds.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.cancel.cancel();
        }
    }
    fn end(&self, _: &str) {}
}

#[test]
fn a_stopped_experiment_ends_with_the_bits_of_one_that_was_not() {
    let whole = tempfile::tempdir().unwrap();
    let experiment = prepare(whole.path());
    assert!(experiment.describe().contains("the untuned model itself serves, frozen"));
    let table = experiment.run(&Control::default()).unwrap().results;
    let table = table.table().unwrap();
    assert_eq!(table.rows.len(), 1 + METHODS.len());

    let stopped = tempfile::tempdir().unwrap();
    let cancel = CancelToken::default();
    let stop = StopAfter { cancel: cancel.clone(), rounds: AtomicUsize::new(3) };
    let control = Control { cancel, progress: Some(Arc::new(stop)) };
    assert!(matches!(prepare(stopped.path()).run(&control), Err(Error::Cancelled)));
    assert!(!stopped.path().join("fedhds_turbo/seed-3/run.json").exists());
    let again = prepare(stopped.path()).run(&Control::default()).unwrap().results;

    for method in METHODS {
        let read = |out: &Path| {
            let folder = out.join(method).join("seed-3");
            let mut record = RunRecord::load(folder.join("run.json")).unwrap();
            record.config = serde_json::Value::Null; // it names the output folder
            let adapter = std::fs::read(folder.join("adapter/adapter_model.safetensors")).unwrap();
            assert!(folder.join("selection.svg").exists());
            (record.repeatable(), adapter)
        };
        assert_eq!(read(whole.path()), read(stopped.path()), "{method}");
    }
    let metrics = |t: &fedhds_core::experiment::Table| t.rows.iter().map(|r| r.metrics.clone()).collect::<Vec<_>>();
    assert_eq!(metrics(table), metrics(again.table().unwrap()));
    let cost = prepare(stopped.path()).cost(&Control::default()).unwrap();
    assert!(cost.to_text().contains("every run is finished"));
}
