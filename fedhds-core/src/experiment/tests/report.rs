//! Reports of whole experiments over toy stages: what the page says, that nothing in a record is markup, that a bad file ends nothing.

use super::*;
use crate::dataset::Dataset;
use crate::simulate::GroupMap;
use std::collections::BTreeMap;

const REPORTED: &str = r#"
name = "reported"
workers = 1
seeds = [1, 2]
budget = 6
methods = ["all", "random", { preset = "fedhds_coverage", features = "proxy", name = "coverage" }]
federation = { rounds = 4, participation = { count = 4 }, evaluate = { every = 2 } }
generation = { records = 6 }
report = { map_records = 6, layers = true, tensorboard = true }
until = { loss = 9.0, every = 2 }
[data]
format = "embedded"
partition = { kind = "iid", clients = 8 }
[data.conditions]
clean = {}
junk = { junk = 0.5 }
"#;

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// A small grid whose tasks are called as `name` says, with its folder.
fn run_grid(out: &Path, name: impl Fn(&str) -> String) -> Experiment {
    let mut config = ExperimentConfig::parse(REPORTED).unwrap();
    config.out = out.to_path_buf();
    let data = toy::data(8, 10, 5);
    let named = |record: Record| Record { category: name(&record.category), ..record };
    let records = data.clients.into_iter().flat_map(|c| c.records).map(named).collect();
    let test = Dataset { records: data.test.records.into_iter().map(named).collect(), ..data.test };
    let pool = Pool { train: Dataset { name: "pool".into(), records }, test, ..Pool::default() };
    let experiment = Experiment::over(config, pool, toys().stages()).unwrap();
    experiment.run(&Control::default()).unwrap().whole().unwrap();
    experiment
}

#[test]
fn a_grid_has_one_page_with_everything_and_its_tables_beside_it() {
    let out = tempfile::tempdir().unwrap();
    run_grid(out.path(), |task| format!("</script><img src=x onerror=alert(1)>{task}"));
    let to = out.path().join("report");
    let made = report(&[out.path()], &to).unwrap();
    assert_eq!((made.runs, made.left_out.len()), (2 * 3 * 2 + 1, 0));
    let page = text(&to, "report.html");
    for id in ["results", "conditions", "curves", "costs", "maps", "layers", "about"] {
        assert!(page.contains(&format!("<h2 id=\"{id}\">")), "{id}");
    }
    assert!(page.contains("reported: 13 runs of 3 methods in 2 conditions, 2 seeds."));
    // Nothing of a record is markup, nothing is fetched, and every script has the page's own number.
    assert!(!page.contains("<img") && page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;task"));
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (1, 1));
    assert!(page.contains("default-src 'none'") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("Done 1.") && !page.contains("As client"), "no record's text is on the page");
    assert!(page.contains("ordered</figcaption>") && page.contains("Client "), "maps of the server and of clients");
    // Every table is there in both forms.
    for id in ["results", "differences", "until", "trained", "seconds", "bytes", "curves", "runs", "devices", "layers"]
    {
        let (csv, markdown) = (text(&to, &format!("{id}.csv")), text(&to, &format!("{id}.md")));
        assert_eq!(csv.lines().next().unwrap().split(',').next(), Some("condition"), "{id}");
        assert!(markdown.starts_with("| condition |") && !markdown.contains("<img"), "{id}");
    }
    let bytes = |name: &str| std::fs::read(to.join(name)).unwrap();
    let first = ["report.html", "results.csv", "devices.csv"].map(bytes);
    // What an earlier report left of a table that is none now goes.
    std::fs::write(to.join("left_out.csv"), "stale").unwrap();
    report(&[out.path()], &to).unwrap();
    assert_eq!(first, ["report.html", "results.csv", "devices.csv"].map(bytes), "equal records give equal bytes");
    assert!(!to.join("left_out.csv").exists());
    if let Ok(keep) = std::env::var("FEDHDS_REPORT") {
        report(&[out.path()], keep).unwrap();
    }
}

#[test]
fn the_tables_say_what_the_records_say() {
    let out = tempfile::tempdir().unwrap();
    let experiment = run_grid(out.path(), str::to_owned);
    let to = out.path().join("report");
    report(&[out.path()], &to).unwrap();
    let rows = |name: &str| -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(to.join(name)).unwrap();
        reader.deserialize().map(|row| row.unwrap()).collect()
    };
    let record = |condition: &str, method: &str, seed| {
        RunRecord::load(experiment.cell_folder(Some(condition), method, seed).join("run.json")).unwrap()
    };
    let runs = [1, 2].map(|seed| record("junk", "coverage", seed));
    let of = |table: &str| {
        let rows = rows(table).into_iter();
        rows.filter(|row| row["condition"] == "junk" && row["method"] == "coverage").collect::<Vec<_>>()
    };
    let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
    let mean = |value: &dyn Fn(&RunRecord) -> f64| runs.iter().map(value).sum::<f64>() / 2.0;
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} and {b}");
    close(number(&of("results.csv")[0], "loss"), mean(&|run| run.metrics.as_ref().unwrap().loss.mean));
    let client_rounds: usize = runs.iter().map(RunRecord::client_rounds).sum();
    let seconds = &of("seconds.csv")[0];
    close(number(seconds, "client, in all"), 2.0 * mean(&RunRecord::client_seconds) / client_rounds as f64);
    close(number(seconds, "client s, whole run"), mean(&RunRecord::client_seconds));
    assert!(number(seconds, "speed-up") > 0.0);
    let up = |run: &RunRecord| run.bytes(crate::protocol::Direction::Up) as f64;
    close(number(&of("bytes.csv")[0], "up, in all"), 2.0 * mean(&up) / client_rounds as f64);
    let devices = of("devices.csv");
    assert_eq!(devices.len(), client_rounds);
    close(devices.iter().map(|row| number(row, "bytes up")).sum(), 2.0 * mean(&up));
    let curve = of("curves.csv");
    assert_eq!(curve.iter().map(|row| row["test loss"].is_empty()).collect::<Vec<_>>(), [true, false, true, false]);
    close(number(&curve[3], "records"), mean(&|run| run.trained_records() as f64));
    assert_eq!(rows("runs.csv").len(), 13);
}

#[test]
fn views_are_kept_where_they_are_asked_for_and_hold_no_text() {
    let out = tempfile::tempdir().unwrap();
    let experiment = run_grid(out.path(), str::to_owned);
    let record = RunRecord::load(experiment.cell_folder(Some("clean"), "coverage", 1).join("run.json")).unwrap();
    let clients = || record.rounds.iter().flat_map(|round| &round.clients);
    let last: BTreeMap<u32, &crate::simulate::ClientRecord> = clients().map(|c| (c.client.0, c)).collect();
    assert_eq!(clients().filter(|client| client.map.is_some()).count(), last.len(), "one of each client");
    for client in last.values() {
        let map = client.map.as_ref().unwrap();
        let n = map.places.len();
        assert_eq!((map.groups.len(), map.tasks.len(), map.chosen.len()), (n, n, n));
        assert_eq!(map.chosen.iter().filter(|chosen| **chosen).count(), client.selected.len());
        assert_eq!((map.held, n), (client.records, client.records.min(6 + client.selected.len())));
        assert!(map.names.iter().all(|name| name.starts_with("task")));
        assert_eq!(client.layers.len(), 1, "the toy features are of one layer");
        assert!(client.layers[0].f1 > Some(0.5), "and tell tasks apart: {:?}", client.layers);
    }
    let maps: Vec<&GroupMap> = record.rounds.iter().filter_map(|round| round.map.as_ref()).collect();
    let [map] = maps.as_slice() else { panic!("{} maps of the server", maps.len()) };
    let ordered: u32 = map.ordered.iter().sum();
    assert_eq!(ordered as usize, record.rounds[3].clients.iter().map(|c| c.selected.len()).sum::<usize>());
    // Without the setting there is nothing of it, and nothing else is another.
    let plain = tempfile::tempdir().unwrap();
    let mut config = experiment.config.clone();
    (config.out, config.report) = (plain.path().to_path_buf(), ReportSettings::default());
    let data = toy::data(8, 10, 5);
    let records = data.clients.into_iter().flat_map(|c| c.records).collect();
    let pool = Pool { train: Dataset { name: "pool".into(), records }, test: data.test, ..Pool::default() };
    let bare = Experiment::over(config, pool, toys().stages()).unwrap();
    bare.run(&Control::default()).unwrap();
    let bare = RunRecord::load(bare.cell_folder(Some("clean"), "coverage", 1).join("run.json")).unwrap();
    assert!(
        bare.rounds.iter().all(|r| r.map.is_none() && r.clients.iter().all(|c| c.map.is_none() && c.layers.is_empty()))
    );
    assert_eq!((&bare.identity, &bare.scores), (&record.identity, &record.scores));
}

#[test]
fn a_file_that_is_no_record_is_named_and_ends_nothing() {
    let out = tempfile::tempdir().unwrap();
    let experiment = run_grid(out.path(), str::to_owned);
    let cell = |method: &str, seed| experiment.cell_folder(Some("junk"), method, seed).join("run.json");
    let whole = std::fs::read(cell("random", 1)).unwrap();
    std::fs::write(cell("random", 1), &whole[..whole.len() / 2]).unwrap();
    let older = text(Path::new(""), cell("random", 2).to_str().unwrap()).replacen("\"schema\": 1", "\"schema\": 0", 1);
    std::fs::write(cell("random", 2), older).unwrap();
    let mut other = RunRecord::load(cell("coverage", 1)).unwrap();
    other.scores[0].id = "of another test set".into();
    other.save(cell("coverage", 1)).unwrap();
    RunRecord::load(cell("coverage", 2)).unwrap().save(out.path().join("copy/run.json")).unwrap();
    let to = out.path().join("report");
    let made = report(&[out.path()], &to).unwrap();
    assert_eq!(made.runs, 13 - 3, "the copy comes first, the original is then left out");
    let reasons: Vec<String> = made.left_out.iter().map(LeftOut::to_string).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    for words in [
        "expected a run record",
        "schema 0 in place of 1",
        "expected the test records of",
        "each condition, method and seed once",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
        assert!(text(&to, "left_out.md").contains(words));
    }
    assert!(text(&to, "report.html").contains("4 files could not be read or did not fit"));
    // Nothing at all to report is an error that says what was found.
    let empty = tempfile::tempdir().unwrap();
    assert!(report(&[empty.path()], &to).unwrap_err().to_string().contains("at least one run record"));
    std::fs::write(empty.path().join("run.json"), "{").unwrap();
    let error = report(&[empty.path()], &to).unwrap_err().to_string();
    assert!(error.contains("left out: ") && error.contains("run.json"), "{error}");
    assert!(matches!(report(&[empty.path().join("gone")], &to), Err(Error::Io { .. })));
    assert!(matches!(report::<&Path>(&[], &to), Err(Error::Input { .. })));
}

#[test]
fn numbers_that_no_run_has_are_drawn_without_a_panic() {
    let out = tempfile::tempdir().unwrap();
    let experiment = run_grid(out.path(), str::to_owned);
    for seed in [1, 2] {
        let path = experiment.cell_folder(Some("clean"), "coverage", seed).join("run.json");
        let mut record = RunRecord::load(&path).unwrap();
        record.config = serde_json::json!(["no", "configuration"]);
        for (at, client) in record.rounds.iter_mut().flat_map(|round| &mut round.clients).enumerate() {
            client.losses.push(f32::NAN);
            client.seconds.insert("train".into(), if at % 2 == 0 { -1e300 } else { f64::MAX });
            if let Some(map) = &mut client.map {
                (map.tasks, map.names) = (vec![u32::MAX; map.tasks.len()], Vec::new());
                map.chosen.pop();
            }
        }
        record.rounds[1].evaluation.as_mut().unwrap().loss = f64::MAX;
        record.scores.iter_mut().for_each(|score| score.loss = 1e308);
        record.metrics.as_mut().unwrap().loss.mean = f64::MAX;
        record.save(&path).unwrap();
    }
    let to = out.path().join("report");
    report(&[out.path()], &to).unwrap();
    let page = text(&to, "report.html");
    assert!(!page.contains("NaN") && !page.contains("inf\"") && page.contains("coverage"));
}
