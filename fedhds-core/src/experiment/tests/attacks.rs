//! Rules against attacks as a grid: methods with aggregators of their own, conditions with attacks of their own.

use super::*;
use crate::types::ClientId;

const GRID: &str = r#"
name = "attacks"
workers = 1
seeds = [1, 2]
budget = 12
methods = [
    "random",
    { preset = "random", name = "median", aggregator = { kind = "coordinate_median" } },
    { preset = "random", name = "nnm", aggregator = { kind = "nnm", f = 2, inner = { kind = "trimmed_mean", b = 2 } } },
]
federation = { rounds = 3, participation = { count = 8 } }
generation = { records = 0 }
[data]
format = "embedded"
partition = { kind = "iid", clients = 8 }
[data.conditions]
none = {}
far = { attack = { kind = "scale", clients = [0, 5] } }
"#;

fn grid(out: &Path, text: &str) -> crate::error::Result<Experiment> {
    let data = toy::data(8, 10, 5);
    let records = data.clients.into_iter().flat_map(|c| c.records).collect();
    let pool =
        Pool { train: crate::dataset::Dataset { name: "pool".into(), records }, test: data.test, ..Pool::default() };
    let mut config = ExperimentConfig::parse(text)?;
    config.out = out.to_path_buf();
    Experiment::over(config, pool, toys().stages())
}

#[test]
fn a_grid_of_rules_and_attacks_says_what_each_rule_withstands() {
    let out = tempfile::tempdir().unwrap();
    let experiment = grid(out.path(), GRID).unwrap();
    let finished = experiment.run(&Control::default()).unwrap();
    assert_eq!(finished.failed, []);
    let table = finished.results.grid().unwrap();
    let loss = |condition: &str, method: &str| {
        let row = table.rows.iter().find(|r| r.condition.as_deref() == Some(condition) && r.method == method).unwrap();
        row.loss.unwrap().mean
    };
    let clean = loss("none", "random");
    assert!(loss("far", "random") > 10.0 * clean, "{table:?}");
    for rule in ["median", "nnm"] {
        assert!(loss("none", rule) < 2.0 * clean && loss("far", rule) < 2.0 * clean, "{rule}: {table:?}");
    }
    for text in [finished.results.to_text(), finished.results.to_markdown()] {
        assert!(text.contains("attack: scale, clients 0, 5"), "{text}");
    }
    let record = |condition, method| {
        RunRecord::load(experiment.cell_folder(Some(condition), method, 2).join("run.json")).unwrap()
    };
    let attacked = record("far", "nnm");
    assert!(attacked.rounds.iter().all(|round| round.hostile == [ClientId(0), ClientId(5)].into()));
    assert_eq!(attacked.identity.get("attack.kind"), Some("scale"));
    assert_eq!(attacked.identity.get("the method's aggregator.inner.b"), Some("2"));
    let clean = record("none", "random");
    assert!(clean.rounds.iter().all(|round| round.hostile.is_empty()) && clean.identity.get("attack.kind").is_none());
    // Conditions of a seed deal alike: the attack is all that differs.
    assert_eq!(clean.identity.get("client records"), attacked.identity.get("client records"));
    assert!(experiment.cost(&Control::default()).unwrap().to_text().contains("every run is finished"));
}

#[test]
fn an_attack_of_the_experiment_holds_in_every_condition_that_has_none() {
    let out = tempfile::tempdir().unwrap();
    let text = GRID.replace("[data]\n", "[attack]\nkind = \"zero\"\nclients = 0.25\n[data]\n");
    let experiment = grid(out.path(), &text).unwrap();
    let said = experiment.describe();
    assert!(said.contains("none, seed 1: attack: zero, 0.25 of the clients"), "{said}");
    assert!(said.contains("far, seed 1: attack: scale"), "{said}");
    let wrong = GRID.replace("kind = \"scale\"", "kind = \"scale\", tau = 2.0");
    let error = grid(out.path(), &wrong).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("data.conditions.far.attack.tau"), "{error}");
}

#[test]
fn the_shipped_grid_has_every_rule_and_leaves_room_for_the_hostile() {
    let config = ExperimentConfig::parse(include_str!("../../../../examples/experiments/attacks.toml")).unwrap();
    config.check_settings().unwrap();
    let rules = config.methods.iter().map(|method| method.aggregator("methods").unwrap());
    let kind = |rule| serde_json::to_value::<crate::aggregate::AggregatorConfig>(rule).unwrap()["kind"].clone();
    let kinds: Vec<serde_json::Value> = rules.flatten().map(kind).collect();
    for rule in crate::aggregate::AggregatorConfig::KINDS.into_iter().filter(|kind| ROBUST.contains(kind)) {
        assert!(kinds.iter().any(|kind| kind == rule), "{rule}");
    }
    let conditions: Vec<&str> = config.data.conditions.iter().map(|(name, _)| name).collect();
    assert_eq!((conditions[0], config.attack_of(Some("none"))), ("none", None));
    let attacks = conditions.iter().filter_map(|name| config.attack_of(Some(name)));
    let kinds: std::collections::BTreeSet<_> = attacks.map(|attack| attack.kind).collect();
    assert!(kinds.len() >= crate::simulate::AttackKind::ALL.len() - 1, "{kinds:?}");
}

/// The kinds of aggregators that a minority cannot steer.
const ROBUST: [&str; 7] =
    ["norm_bound", "centred_clipping", "coordinate_median", "trimmed_mean", "multi_krum", "geometric_median", "nnm"];
