//! One seed gives one federation, whatever the number of threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::toy::ToyTrainer;
use crate::toy_experiment::experiment;
use fedhds_core::experiment::RunRecord;
use fedhds_core::simulate::Checkpoint;
use fedhds_core::types::Control;

const METHODS: [&str; 4] = ["all", "random", "stratified", "fedhds_coverage"];
const CONFIG: &str = r#"
name = "threads"
seeds = [5]
budget = 7
methods = ["all", "random", "stratified", "fedhds_coverage"]
data = { format = "embedded", partition = { kind = "iid", clients = 8 } }
federation = { rounds = 5, participation = { fraction = 0.5 }, evaluate = { every = 2 } }
"#;

fn results(threads: usize, budget: &str) -> Vec<(RunRecord, Vec<u32>)> {
    let out = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        experiment(&CONFIG.replace("budget = 7", budget), out.path(), ToyTrainer::default())
            .unwrap()
            .run(&Control::default())
            .unwrap();
    });
    let load = |method: &str| {
        let folder = out.path().join(method).join("seed-5");
        let mut record = RunRecord::load(folder.join("run.json")).unwrap();
        assert_eq!(record.versions.threads, threads);
        record.config = serde_json::Value::Null; // it names the output folder
        let saved = Checkpoint::load(folder.join("checkpoint.bin"), &record.identity).unwrap().unwrap();
        let bits = saved.adapter.tensors.values().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect();
        (record.repeatable(), bits)
    };
    METHODS.into_iter().map(load).collect()
}

#[test]
fn simulations_do_not_depend_on_threads() {
    for budget in ["budget = 7", "budget = { tokens = 300 }"] {
        let one = results(1, budget);
        assert!(one.iter().all(|(record, _)| record.rounds.len() == 5 && record.scores.len() == 12));
        for threads in [2, 5] {
            assert_eq!(results(threads, budget), one, "{threads} threads, {budget}");
        }
    }
}
