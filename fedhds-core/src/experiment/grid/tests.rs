//! Figures of the grid on hand-made runs.

use super::*;
use crate::experiment::run_record::{DataSummary, RunRecord, SCHEMA, UNTUNED, Versions};
use crate::experiment::{TrainedTruth, summary};
use crate::protocol::{Kind, Traffic};
use crate::simulate::{ClientRecord, RoundRecord, RunIdentity};
use crate::stage::{AggregationReport, RecordScore};
use crate::types::{ClientId, Round};
use std::collections::BTreeMap;

/// A run whose four test records, of the tasks a, b, b, c, have these losses.
fn run(condition: Option<&str>, method: &str, seed: u64, losses: [f64; 4], purity: f64) -> RunRecord {
    let scores: Vec<RecordScore> = losses
        .into_iter()
        .zip(["a", "b", "b", "c"])
        .enumerate()
        .map(|(i, (loss, category))| RecordScore {
            id: format!("t{i}"),
            category: category.into(),
            loss,
            output: Some("long".into()),
            rouge_l: None,
            exact_match: None,
        })
        .collect();
    let mut traffic = Traffic::default();
    traffic.add(Kind::LocalUpdate, 100);
    traffic.add(Kind::GlobalAdapter, 300);
    let client = |client: u32| ClientRecord {
        client: ClientId(client),
        records: 9,
        centroids: 0,
        selected: vec!["x".into(), "y".into()],
        tokens: 20,
        skipped: 0,
        losses: Vec::new(),
        passes: 5 + u64::from(client),
        traffic: traffic.clone(),
        seconds: BTreeMap::from([("train".to_owned(), 1.5)]),
        refused: Vec::new(),
        groups: Vec::new(),
        reasons: Vec::new(),
        refused_reasons: Vec::new(),
        map: None,
        layers: Vec::new(),
    };
    let round = RoundRecord {
        round: Round(0),
        clients: vec![client(0), client(1)],
        adapter_changed: true,
        left_out: BTreeMap::new(),
        hostile: Default::default(),
        aggregation: AggregationReport::default(),
        missing: 0,
        missing_tokens: 0,
        gate: None,
        seconds: BTreeMap::new(),
        evaluation: None,
        peak_memory_bytes: None,
        map: None,
    };
    RunRecord {
        schema: SCHEMA,
        experiment: "made".into(),
        condition: condition.map(str::to_owned),
        method: method.into(),
        seed,
        config: serde_json::Value::Null,
        method_settings: serde_json::Value::Null,
        identity: RunIdentity::default(),
        versions: Versions::default(),
        data: DataSummary::default(),
        rounds: if method == UNTUNED { Vec::new() } else { vec![round] },
        metrics: summary::of_scores(&scores).unwrap(),
        scores,
        until: None,
        truth: condition.map(|_| TrainedTruth { distinct: 3, tasks: 2, purity }),
        notes: Vec::new(),
        peak_memory_bytes: None,
    }
}

/// Mean losses by seed of `random`, `mine` and `oracle`: those of the statistics' tests.
const RANDOM: [f64; 8] = [0.80, 0.85, 0.79, 0.88, 0.95, 0.78, 0.84, 0.90];
const MINE: [f64; 8] = [0.71, 0.83, 0.65, 0.90, 0.77, 0.69, 0.81, 0.74];

fn cells() -> Vec<Cell> {
    let mut runs = vec![run(None, UNTUNED, 0, [2.0; 4], 1.0)];
    for (seed, (random, mine)) in RANDOM.into_iter().zip(MINE).enumerate() {
        let seed = seed as u64;
        for condition in ["clean", "mix"] {
            // The mean is what it says; task c is the worst of `random`, b of `mine`.
            let spread = |mean: f64, [a, b, c]: [f64; 3]| [mean + a, mean + b, mean + b, mean + c];
            runs.push(run(Some(condition), "random", seed, spread(random, [-0.2, 0.0, 0.2]), 0.5));
            runs.push(run(Some(condition), "mine", seed, spread(mine, [-0.3, 0.2, -0.1]), 0.75));
            runs.push(run(Some(condition), "oracle", seed, spread(random - 0.2, [0.0, 0.0, 0.0]), 1.0));
        }
    }
    runs.iter().map(|record| Cell::of(record, record.method == "oracle")).collect()
}

fn families() -> BTreeMap<String, String> {
    [("a", "first"), ("b", "second"), ("c", "third")].map(|(task, family)| (task.to_owned(), family.to_owned())).into()
}

fn part<'a>(cells: &'a [Cell], families: &'a BTreeMap<String, String>, pairs: &[(&str, &str)]) -> Part<'a> {
    Part {
        experiment: "made",
        conditions: vec![Some("clean"), Some("mix")],
        methods: vec!["random", "mine", "oracle"],
        pairs: pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        families,
        margin: 0.03,
        cells,
    }
}

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} in place of {expected}");
}

#[test]
fn rows_have_the_figures_of_their_runs() {
    let (cells, families) = (cells(), families());
    let grid =
        build(&[part(&cells, &families, &[("mine", "random"), ("oracle", "random")])], &["told".into()]).unwrap();
    assert_eq!(grid.rows.len(), 6);
    let row = |condition: &str, method: &str| {
        grid.rows.iter().find(|r| r.condition.as_deref() == Some(condition) && r.method == method).unwrap()
    };
    let mine = row("mix", "mine");
    assert_eq!((mine.seeds, mine.trained, mine.passes, mine.seconds), (8, 4.0, 11.0, 3.0));
    assert_eq!((mine.tokens, mine.up, mine.down), (40.0, 100.0, 300.0));
    assert_eq!(mine.truth, Some(MeanTruth { distinct: 3.0, tasks: 2.0, purity: 0.75 }));
    let loss = mine.loss.unwrap();
    near(loss.mean, 0.7625);
    near(loss.interval.unwrap()[0], 0.6940322708164623);
    let over_tasks = mine.loss_over_tasks.unwrap();
    assert_eq!((over_tasks.records, over_tasks.tasks), (4, 3));
    assert_eq!(mine.worst_family.as_ref().unwrap().family, "second");
    near(mine.worst_family.as_ref().unwrap().loss, 0.9625);
    assert_eq!(row("clean", "random").worst_family.as_ref().unwrap().family, "third");
    // The oracle is better by .2 in each seed, mine by .08625 in the mean.
    let recovered = mine.recovered.unwrap();
    near(recovered.share, 0.08625 / 0.2);
    assert!(recovered.interval.unwrap()[0] > 0.1 && recovered.interval.unwrap()[1] < 0.8);
    assert!(row("mix", "oracle").recovered.is_none() && row("mix", "random").recovered.is_none());
    assert_eq!(grid.notes[1], "told");
    assert!(grid.notes[0].contains("made: the untuned model's loss is 2.000"), "{}", grid.notes[0]);
}

#[test]
fn comparisons_are_paired_by_seed_and_corrected_for_their_number() {
    let (cells, families) = (cells(), families());
    let pairs = [("mine", "random"), ("oracle", "random")];
    let grid = build(&[part(&cells, &families, &pairs)], &[]).unwrap();
    assert_eq!(grid.comparisons.len(), 4);
    let mine = &grid.comparisons[0];
    near(mine.over_seeds.difference.mean, -0.08625);
    near(mine.over_seeds.p.unwrap(), 0.011406144604447603);
    // Two claims, mine in both conditions; the oracle's are none.
    near(mine.holm.unwrap(), 2.0 * 0.011406144604447603);
    near(mine.level.unwrap(), 0.9690118012552625);
    assert_eq!((mine.over_seeds.lower, mine.trained), (7, [4.0, 4.0]));
    near(mine.over_tasks.difference.mean, -0.08625);
    assert_eq!((grid.comparisons[1].method.as_str(), grid.comparisons[1].holm), ("oracle", None));
    // A seed that one side lacks is left out of the pair, not of the row.
    let fewer: Vec<Cell> = cells
        .into_iter()
        .filter(|cell| *cell != Cell::of(&run(Some("mix"), "none", 0, [0.0; 4], 0.0), false))
        .enumerate()
        .filter(|(i, _)| *i != 2)
        .map(|(_, cell)| cell)
        .collect();
    let grid = build(&[part(&fewer, &families, &pairs)], &[]).unwrap();
    assert_eq!(grid.comparisons[0].over_seeds.difference.seeds, 7);
    assert_eq!(grid.rows[0].seeds, 8);
    assert_eq!(grid.rows[1].seeds, 7);
}

#[test]
fn the_text_says_what_the_figures_are() {
    let (cells, families) = (cells(), families());
    let grid = build(&[part(&cells, &families, &[("mine", "random"), ("oracle", "random")])], &[]).unwrap();
    let text = grid.to_text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split("  ").filter(|c| !c.is_empty()).collect()).collect();
    let row: Vec<&str> = rows.iter().find(|r| r.first() == Some(&"mix") && r[1].trim() == "mine").unwrap().to_vec();
    let row: Vec<&str> = row.into_iter().map(str::trim).collect();
    assert_eq!(row[2..6], ["8", "0.762 [0.694, 0.831]", "-0.086 [-0.146, -0.026]", "0.0228"]);
    assert_eq!(row[6..8], ["-", "-"]);
    assert!(row[8].starts_with("0.43 ["), "{row:?}");
    for word in
        ["4 (3)", "0.75", "second 0.963", "mine - random", "7 of 8", "within 0.03 nats", "over the 2 comparisons"]
    {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
    let markdown = grid.to_markdown();
    assert!(markdown.starts_with("| condition | method | seeds |") && markdown.contains("| --- | --- | ---: |"));
    if let Ok(path) = std::env::var("FEDHDS_GRID") {
        std::fs::write(&path, svg(&grid).unwrap()).unwrap();
    }
}

#[test]
fn the_picture_has_a_point_for_each_difference() {
    let (cells, families) = (cells(), families());
    let grid = build(&[part(&cells, &families, &[("mine", "random"), ("oracle", "random")])], &[]).unwrap();
    let picture = svg(&grid).unwrap();
    assert_eq!(picture, svg(&grid).unwrap());
    assert_eq!(picture.matches("<circle").count(), 4);
    assert!(picture.contains("clean") && picture.contains("mix") && picture.contains("[-0.15, -0.03] n=8"));
    let nothing = build(&[part(&cells, &families, &[])], &[]).unwrap();
    assert!(svg(&nothing).unwrap().contains("no method was compared"));
    // One seed has no interval.
    let one: Vec<Cell> = cells.into_iter().take(7).collect();
    let grid = build(&[part(&one, &families, &[("mine", "random")])], &[]).unwrap();
    assert!(svg(&grid).unwrap().contains("-0.09 n=1"));
    assert!(grid.comparisons.iter().all(|c| c.holm.is_none() && c.level.is_none()));
    assert!(grid.to_text().contains("-0.090  "));
}
