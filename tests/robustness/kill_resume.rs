//! A real process is killed at many moments and started again: it ends with the bits of one that was not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::toy::ToyTrainer;
use crate::toy_experiment::experiment;
use fedhds_core::experiment::RunRecord;
use fedhds_core::simulate::Checkpoint;
use fedhds_core::types::Control;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const OUT: &str = "FEDHDS_KILL_RESUME_OUT";
const METHODS: [&str; 3] = ["all", "random", "fedhds_coverage"];
const CONFIG: &str = r#"
name = "killed"
seeds = [1]
budget = 6
methods = ["all", "random", "fedhds_coverage"]
data = { format = "embedded", partition = { kind = "iid", clients = 8 } }
federation = { rounds = 6, participation = { count = 3 }, evaluate = { every = 2 } }
"#;

/// The process that is killed: not a test by itself.
#[test]
#[ignore = "is started by the test beside it"]
fn child() {
    let Some(out) = std::env::var_os(OUT) else { return };
    let trainer = ToyTrainer { delay: Duration::from_millis(2), ..ToyTrainer::default() };
    experiment(CONFIG, Path::new(&out), trainer).unwrap().run(&Control::default()).unwrap();
}

fn start(out: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kill_resume::child", "--exact", "--ignored", "--nocapture"])
        .env(OUT, out)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Bytes of all checkpoints and run records: what grows as the work goes on.
fn kept(out: &Path) -> u64 {
    let files = METHODS.iter().flat_map(|m| ["checkpoint.bin", "run.json"].map(|f| out.join(m).join("seed-1").join(f)));
    files.filter_map(|f| std::fs::metadata(f).ok()).map(|m| m.len()).sum()
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_bits() {
    let whole = tempfile::tempdir().unwrap();
    experiment(CONFIG, whole.path(), ToyTrainer::default()).unwrap().run(&Control::default()).unwrap();

    let broken = tempfile::tempdir().unwrap();
    let mut killed = 0;
    let mut grew = 0;
    // Kill so soon after new state was kept, each time a little later: before, within and after the next write.
    for delay in 0..40 {
        let before = kept(broken.path());
        let mut child = start(broken.path());
        let began = Instant::now();
        while kept(broken.path()) == before && began.elapsed() < Duration::from_secs(60) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(delay % 13));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap(); // SIGKILL: nothing of the process runs after it
        child.wait().unwrap();
        killed += 1;
        grew += usize::from(kept(broken.path()) != before);
    }
    assert!(killed >= 3 && grew >= 3, "killed {killed} times, {grew} times with new state");
    let last = start(broken.path()).wait_with_output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));

    for method in METHODS {
        let load = |out: &Path| {
            let folder = out.join(method).join("seed-1");
            let mut record = RunRecord::load(folder.join("run.json")).unwrap();
            record.config = serde_json::Value::Null; // it names the output folder
            let checkpoint = Checkpoint::load(folder.join("checkpoint.bin"), &record.identity).unwrap().unwrap();
            let bits: Vec<u32> =
                checkpoint.adapter.tensors.values().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect();
            (record.repeatable(), bits)
        };
        assert_eq!(load(whole.path()), load(broken.path()), "{method}");
    }
    let table = |out: &Path| std::fs::read_to_string(out.join("table.json")).unwrap();
    let rows = |out: &Path| -> Vec<serde_json::Value> {
        let table: serde_json::Value = serde_json::from_str(&table(out)).unwrap();
        table["rows"].as_array().unwrap().iter().map(|row| row["metrics"].clone()).collect()
    };
    assert_eq!(rows(whole.path()), rows(broken.path()));
}
