//! Configurations: what is filled in, what is changed, what is refused and how.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::aggregate::AggregatorConfig;
use crate::dataset::Partition;
use crate::simulate::Participation;

const WHOLE: &str = r#"
name = "whole"
seeds = [1, 2]
methods = ["all", "random", { preset = "fedhds_coverage", name = "coverage, 3 groups", client = { clusterer = { n_clusters = 3 } } }]
budget = 12
prompt = "short"

[data]
format = "natural_instructions"
path = "somewhere"
max_tokens = 160
too_long = "drop"
train = { tasks = 40, records_per_task = 40, min_records_per_task = 20 }
test = { records_per_task = 6 }
partition = { kind = "dirichlet", alpha = 0.5, by = "family", clients = 20 }

[model]
path = "model"
proxy = "proxy"
device = "cpu"

[adapter]
r = 8
lora_alpha = 16
lora_dropout = 0.05

[training]
learning_rate = 3e-4
max_grad_norm = 1.0

[aggregator]
kind = "fedadam"
tau = 0.002

[federation]
rounds = 20
participation = { count = 5 }
evaluate = { every = 10 }

[generation]
max_new_tokens = 32
records = 84

[fedit]
rounds = 5
records_per_client = 10
"#;

fn message(text: &str) -> (String, String) {
    let checked = ExperimentConfig::parse(text).and_then(|c| c.check_settings().map(|()| c));
    match checked {
        Err(Error::Config { key, message, .. }) => (key, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_can_be_said_and_is_written_back() {
    let config = ExperimentConfig::parse(WHOLE).unwrap();
    config.check_settings().unwrap();
    assert_eq!(config.out, Path::new("runs/whole"));
    assert_eq!(config.federation.participation, Participation::Count(5));
    assert!(matches!(config.data.partition, Some(Partition::Dirichlet { clients: 20, .. })));
    assert_eq!(config.methods[2].label(), "coverage, 3 groups");
    let written = toml::to_string(&config).unwrap();
    assert_eq!(ExperimentConfig::parse(&written).unwrap(), config, "{written}");
}

#[test]
fn little_is_enough() {
    let text = "methods = [\"random\"]\n[data]\nformat = \"embedded\"\npartition = { kind = \"iid\", clients = 4 }\n";
    let config = ExperimentConfig::parse(text).unwrap();
    config.check_settings().unwrap();
    assert_eq!(
        (config.seeds.as_slice(), config.budget, config.federation.rounds),
        (&[0][..], RoundBudget::Records(10), 40)
    );
    assert_eq!(config.adapter.r, 8);
}

#[test]
fn what_is_left_out_is_what_the_settings_themselves_say() {
    let text = "methods = [\"random\"]\n[data]\nformat = \"embedded\"\npartition = { kind = \"iid\", clients = 4 }\n";
    let config = ExperimentConfig::parse(text).unwrap();
    assert_eq!(config.training, TrainConfig::default());
    assert_eq!(config.federation, SimulationSettings::default());
    assert_eq!(config.aggregator, AggregatorConfig::default());
    assert_eq!(config.generation, GenerateConfig::default());
    assert_eq!(config.adapter, AdapterConfig::default());
    assert_eq!(config.data.max_tokens, config.training.max_tokens);
    // What a file does not say is not in a run's identity either.
    let written = serde_json::to_value(&config.training).unwrap();
    let names: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(!names.contains(&"max_tokens") && !names.contains(&"max_steps"), "{names:?}");
}

#[test]
fn every_wrong_setting_is_named() {
    let with = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        message(&WHOLE.replacen(from, to, 1))
    };
    for (from, to, key, word) in [
        ("budget = 12", "budegt = 12", "budegt", "did you mean `budget`?"),
        ("max_grad_norm = 1.0", "max_gradnorm = 1.0", "training.max_gradnorm", "did you mean `max_grad_norm`?"),
        ("budget = 12", "budget = 0", "budget", "at least 1"),
        ("budget = 12", "budget = -3", "budget", "-3"),
        ("budget = 12", "budget = { tokens = 0 }", "budget.tokens", "at least 1"),
        ("budget = 12", "budget = { tokens = -3 }", "budget.tokens", "-3"),
        ("budget = 12", "budget = { token = 3 }", "budget.token", "did you mean `tokens`?"),
        ("budget = 12", "budget = [3]", "budget", "a number of records, or `{ tokens = N }`"),
        (
            "\"random\",",
            "{ preset = \"random\", count = { budget = { tokens = 0 } } },",
            "methods[1].count.budget.tokens",
            "at least 1",
        ),
        ("seeds = [1, 2]", "seeds = []", "seeds", "at least one"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds", "`1` twice"),
        ("\"random\",", "\"random\", \"random\",", "methods", "`random` twice"),
        ("\"random\",", "\"randon\",", "methods[1].preset", "did you mean `random`?"),
        ("n_clusters = 3", "n_clusters = 0", "methods[2].client.clusterer", "0"),
        ("count = 5", "count = 0", "federation.participation.count", "at least 1"),
        ("{ count = 5 }", "{ fraction = 1.5 }", "federation.participation.fraction", "(0, 1]"),
        ("every = 10", "every = 0", "federation.evaluate.every", "at least 1"),
        ("rounds = 20", "rounds = 0", "federation.rounds", "at least 1"),
        ("rounds = 5", "rounds = 0", "fedit.rounds", "at least 1"),
        ("tau = 0.002", "tau = 0.0", "aggregator.tau", "above 0"),
        ("tau = 0.002", "tua = 0.002", "aggregator.tua", "did you mean `tau`?"),
        ("kind = \"fedadam\"", "kind = \"fedadm\"", "aggregator.kind", "did you mean `fedadam`?"),
        ("lora_dropout = 0.05", "lora_dropout = 1.0", "adapter.lora_dropout", "[0, 1)"),
        ("learning_rate = 3e-4", "learning_rate = 0.0", "training.learning_rate", "above 0"),
        ("learning_rate = 3e-4", "learning_rate = nan", "training.learning_rate", "expected a number above 0, got nan"),
        ("learning_rate = 3e-4", "max_steps = 0", "training.max_steps", "expected a whole number of at least 1, got 0"),
        ("learning_rate = 3e-4", "max_tokens = 9", "training.max_tokens", "unknown field"),
        (
            "max_grad_norm = 1.0",
            "max_grad_norm = -1.0",
            "training.max_grad_norm",
            "expected a number above 0, got -1.0",
        ),
        ("r = 8", "r = 20000", "adapter.r", "expected a whole number from 1 to 16384, got 20000"),
        ("lora_alpha = 16", "lora_alpha = inf", "adapter.lora_alpha", "expected a number above 0, got inf"),
        ("rounds = 20", "rounds = 4294967296", "federation.rounds", "from 1 to 4294967295, got 4294967296"),
        ("records = 84", "batch_size = 0", "generation.batch_size", "expected a whole number of at least 1, got 0"),
        ("records = 84", "batches_at_once = 2", "generation.batches_at_once", "unknown field"),
        ("budget = 12", "workers = 0", "workers", "expected a whole number of at least 1, got 0"),
        ("max_tokens = 160", "max_tokens = 1", "data.max_tokens", "at least 2"),
        ("tasks = 40", "tasks = 0", "data.train.tasks", "at least 1"),
        ("alpha = 0.5", "alpha = -1.0", "data.partition.alpha", "-1"),
        ("clients = 20", "clients = 0", "data.partition.clients", "at least 1"),
        ("too_long = \"drop\"", "too_long = \"drp\"", "data.too_long", "did you mean `drop`?"),
        ("format = \"natural_instructions\"", "format = \"natural\"", "data.format", "natural_instructions"),
        ("test = { records_per_task = 6 }", "test = { fraction = 0.1 }", "data.test", "test tasks of its own"),
        ("name = \"whole\"", "name = \"../whole\"", "name", "a folder's"),
        ("max_new_tokens = 32", "max_new_tokens = 0", "generation.max_new_tokens", "at least 1"),
        ("prompt = \"short\"", "prompt = \"shrot\"", "prompt", "did you mean `short`?"),
        ("prompt = \"short\"", "prompt = { custm = {} }", "prompt.custm", "did you mean `custom`?"),
        (
            "prompt = \"short\"",
            "prompt = { custom = { with_inptu = \"\" } }",
            "prompt.custom.with_inptu",
            "`with_input`",
        ),
        ("[federation]", "[federatoin]", "federatoin", "did you mean `federation`?"),
        ("[fedit]", "[[fedit]]", "fedit", "expected a table, got a list"),
        ("records = 84", "records = [84]", "generation.records", "got a list"),
        ("records = 84", "records = {}", "generation.records", "got a table"),
        ("records = 84", "records = \"84\"", "generation.records", "got the text `84`"),
        ("records = 84", "records = 84.5", "generation.records", "`84.5`"),
        ("records = 84", "records = 1e99", "generation.records", "`1e99`"),
        ("records = 84", "records = 99999999999999999999", "generation.records", "`99999999999999999999`"),
        ("seeds = [1, 2]", "seeds = [1, -2]", "seeds[1]", "`-2`"),
        ("seeds = [1, 2]", "seeds = [1, \"2\"]", "seeds[1]", "got the text `2`"),
        (
            "seeds = [1, 2]",
            "seeds = 1",
            "seeds",
            "expected a list of seeds, or a table with `first` and `count`, got `1`",
        ),
        ("learning_rate = 3e-4", "learning_rate = nan", "training.learning_rate", "above 0"),
        ("max_grad_norm = 1.0", "max_grad_norm = nan", "training.max_grad_norm", "above 0"),
        ("max_grad_norm = 1.0", "max_grad_norm = -1", "training.max_grad_norm", "above 0"),
        ("lora_alpha = 16", "lora_alpha = 1e99", "adapter.lora_alpha", "inf"),
        ("lora_alpha = 16", "lora_alpha = true", "adapter.lora_alpha", "expected a number, got `true`"),
        ("{ count = 5 }", "{ count = 5, fraction = 0.5 }", "federation.participation", "`count`, `fraction`"),
        ("{ count = 5 }", "{ cuont = 5 }", "federation.participation.cuont", "did you mean `count`?"),
        ("{ every = 10 }", "\"evry\"", "federation.evaluate", "`every`"),
        ("{ every = 10 }", "{ every = 1.5 }", "federation.evaluate.every", "`1.5`"),
        ("kind = \"dirichlet\"", "kind = \"dirihclet\"", "data.partition.kind", "did you mean `dirichlet`?"),
        ("kind = \"dirichlet\", ", "", "data.partition.kind", "must be given"),
        ("alpha = 0.5", "alhpa = 0.5", "data.partition.alhpa", "did you mean `alpha`?"),
        ("alpha = 0.5", "alpha = \"0.5\"", "data.partition.alpha", "got the text `0.5`"),
        ("alpha = 0.5, ", "", "data.partition.alpha", "must be given"),
        ("clients = 20", "clients = 2.5", "data.partition.clients", "`2.5`"),
        ("by = \"family\"", "by = \"famliy\"", "data.partition.by", "did you mean `family`?"),
        ("test = { records_per_task = 6 }", "test = []", "data.test", "expected a table, got a list"),
        (
            "test = { records_per_task = 6 }",
            "embedded = { test_tasks = \"confirmaton\" }",
            "data.embedded.test_tasks",
            "did you mean `confirmation`?",
        ),
        (
            "test = { records_per_task = 6 }",
            "test = { records_per_tsk = 6 }",
            "data.test.records_per_tsk",
            "did you mean",
        ),
        ("n_clusters = 3", "n_clusters = \"3\"", "methods[2].client.clusterer.n_clusters", "got the text `3`"),
        ("n_clusters = 3", "n_clsuters = 3", "methods[2].client.clusterer.n_clsuters", "did you mean `n_clusters`?"),
        ("\"random\",", "{ preset = \"random\", count = { budget = -1 } },", "methods[1].count.budget", "`-1`"),
        ("\"random\",", "[\"random\"],", "methods[1]", "expected a preset's name"),
        ("budget = 12", "until = { loss = 0 }\nbudget = 12", "until.loss", "expected a number above 0, got 0.0"),
        ("budget = 12", "until = { loss = inf }\nbudget = 12", "until.loss", "expected a number above 0, got inf"),
        ("budget = 12", "until = { loss = nan }\nbudget = 12", "until.loss", "expected a number above 0, got nan"),
        ("budget = 12", "until = { loss = \"1\" }\nbudget = 12", "until.loss", "got the text `1`"),
        ("budget = 12", "until = { every = 2 }\nbudget = 12", "until.loss", "must be given"),
        ("budget = 12", "until = { loss = 1, every = 0 }\nbudget = 12", "until.every", "at least 1"),
        ("budget = 12", "until = { loss = 1, evry = 2 }\nbudget = 12", "until.evry", "did you mean `every`?"),
        ("budget = 12", "untl = { loss = 1 }\nbudget = 12", "untl", "did you mean `until`?"),
    ] {
        let (got, message) = with(from, to);
        assert!(got.starts_with(key), "{to}: key `{got}` in place of `{key}`: {message}");
        assert!(message.contains(word) || got.contains(word), "{to}: {message}");
    }
}

#[test]
fn a_target_needs_evaluations_and_a_stop_needs_counts_of_its_own() {
    let with = |until: &str| WHOLE.replacen("budget = 12", &format!("until = {{ {until} }}\nbudget = 12"), 1);
    let config = ExperimentConfig::parse(&with("loss = 1.2")).unwrap();
    config.check_settings().unwrap();
    assert_eq!(config.until, Some(Until { loss: 1.2, every: 1, stop: false }));
    let written = toml::to_string(&config).unwrap();
    assert_eq!(ExperimentConfig::parse(&written).unwrap(), config, "{written}");
    let table = format!("{WHOLE}[until]\nloss = 2\nevery = 3\nstop = true\n");
    let config = ExperimentConfig::parse(&table).unwrap();
    assert_eq!(config.until, Some(Until { loss: 2.0, every: 3, stop: true }));
    config.check_settings().unwrap();
    let (key, message) = message(&with("loss = 1.2").replacen("{ every = 10 }", "\"never\"", 1));
    assert!(key == "federation.evaluate" && message.contains("beside `[until]`"), "{key}: {message}");
    let follows = "{ preset = \"stratified\", count_of = \"random\" }, { preset = \"fedhds_coverage\", name";
    let following = |until: &str| with(until).replacen("{ preset = \"fedhds_coverage\", name", follows, 1);
    ExperimentConfig::parse(&following("loss = 1.2")).unwrap().check_settings().unwrap();
    let (key, message) = self::message(&following("loss = 1.2, stop = true"));
    assert!(key == "until.stop" && message.contains("`stratified` takes the counts"), "{key}: {message}");
}

#[test]
fn a_budget_in_tokens_is_that_of_every_method_with_one() {
    let text = WHOLE.replacen("budget = 12", "budget = { tokens = 900 }", 1);
    let config = ExperimentConfig::parse(&text).unwrap();
    config.check_settings().unwrap();
    assert_eq!(config.budget, RoundBudget::Tokens(900));
    let counts: Vec<Option<u64>> =
        config.methods.iter().map(|m| m.arm(config.budget, "").unwrap().count().tokens()).collect();
    assert_eq!(counts, [None, Some(900), Some(900)], "all takes everything");
    let written = toml::to_string(&config).unwrap();
    assert_eq!(ExperimentConfig::parse(&written).unwrap(), config, "{written}");
    // A baseline at equal records would not be one at equal tokens, and `scarce` counts records.
    let follows = "{ preset = \"stratified\", count_of = \"random\" }, { preset = \"fedhds_coverage\", name";
    let (key, message) = self::message(&text.replacen("{ preset = \"fedhds_coverage\", name", follows, 1));
    assert!(
        key == "methods[2].count_of" && message.contains("got random, whose budget is in tokens"),
        "{key}: {message}"
    );
    let scarce = format!("{text}\n[data.conditions]\nfew = {{ scarce = 5 }}\n");
    let (key, message) = self::message(&scarce);
    assert!(key == "data.conditions.few.scarce" && message.contains("got one in tokens"), "{key}: {message}");
}

#[test]
fn line_and_column_are_those_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let place = |text: &str, overrides: Overrides| {
        std::fs::write(&path, text).unwrap();
        match ExperimentConfig::load(&path, overrides) {
            Err(Error::Config { file: Some(file), position, .. }) if file == path => {
                position.map(|p| (p.line, p.column))
            }
            other => panic!("{other:?}"),
        }
    };
    let line = |start: &str| WHOLE.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let none = Overrides::default;
    // As it is read, as it is checked, in a list, in a table of one line, and where a key is missing.
    let with = |from: &str, to: &str| WHOLE.replacen(from, to, 1);
    assert_eq!(place(&with("budget = 12", "budegt = 12"), none()), Some((line("budget"), 1)));
    assert_eq!(place(&with("rounds = 20", "rounds = 0"), none()), Some((line("rounds = 20"), 1)));
    assert_eq!(place(&with("\"random\",", "\"randon\","), none()), Some((line("methods"), 19)));
    assert_eq!(place(&with("alpha = 0.5", "alpha = -1"), none()), Some((line("partition"), 35)));
    assert_eq!(place(&with("alpha = 0.5, ", ""), none()), Some((line("partition"), 1)));
    assert_eq!(place(WHOLE, none()), Some((line("path = \"somewhere\""), 1)), "a path that is not there");
    // What the command line says stands nowhere in the file.
    let other = Overrides { data: Some("nowhere".into()), ..none() };
    assert_eq!(place(WHOLE, other), None);
}

#[test]
fn a_preset_leaves_no_room_for_other_preparation() {
    let preset = "methods = [\"random\"]\n[data]\npreset = \"paper_natural_instructions\"\nformat = ";
    ExperimentConfig::parse(&format!("{preset}\"natural_instructions\"\n")).unwrap().check_settings().unwrap();
    assert_eq!(message(&format!("{preset}\"dolly\"\n")).0, "data.preset");
    let both = format!("{preset}\"natural_instructions\"\npartition = {{ kind = \"iid\", clients = 3 }}\n");
    assert_eq!(message(&both).0, "data.preset");
    let neither = "methods = [\"random\"]\n[data]\nformat = \"embedded\"\n";
    assert_eq!(message(neither).0, "data.partition");
}

#[test]
fn the_command_line_wins() {
    let mut config = ExperimentConfig::parse(WHOLE).unwrap();
    let overrides = Overrides {
        data: Some("other".into()),
        proxy: Some("small".into()),
        out: Some("elsewhere".into()),
        seeds: vec![7],
        methods: vec!["stratified".into(), "coverage, 3 groups".into()],
        ..Overrides::default()
    };
    config.apply(overrides).unwrap();
    assert_eq!(config.data.path.as_deref(), Some(Path::new("other")));
    assert_eq!(config.model.path, Path::new("model"));
    assert_eq!((config.out.as_path(), config.seeds.as_slice()), (Path::new("elsewhere"), &[7][..]));
    let labels: Vec<&str> = config.methods.iter().map(MethodEntry::label).collect();
    assert_eq!(labels, ["stratified", "coverage, 3 groups"]);
    config.check_settings().unwrap();
    let custom = config.methods[1].resolve(RoundBudget::Records(12), "").unwrap();
    assert_eq!(custom.preset.name(), "fedhds_coverage");
}

#[test]
fn missing_files_are_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, WHOLE).unwrap();
    let error = |overrides| ExperimentConfig::load(&path, overrides).unwrap_err().to_string();
    let here = || Some(folder.path().to_path_buf());
    let text = error(Overrides::default());
    assert!(text.contains("config.toml: `data.path`") && text.contains("somewhere does not exist"), "{text}");
    assert!(error(Overrides { data: Some(path.clone()), ..Overrides::default() }).contains("is a file"));
    assert!(error(Overrides { data: here(), ..Overrides::default() }).contains("`model.path`"));
    assert!(error(Overrides { data: here(), model: here(), ..Overrides::default() }).contains("`model.proxy`"));
    ExperimentConfig::load(&path, Overrides { data: here(), model: here(), proxy: here(), ..Overrides::default() })
        .unwrap();
    let missing = ExperimentConfig::load(folder.path().join("none.toml"), Overrides::default()).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("none.toml"));
}

#[test]
fn the_experiment_with_a_target_can_be_run() {
    let config = ExperimentConfig::parse(include_str!("../../../../examples/experiments/until.toml")).unwrap();
    config.check_settings().unwrap();
    let until = config.until.unwrap();
    assert_eq!((until.every, until.stop), (2, false));
    assert!(until.loss > 0.0 && config.data.conditions.len() == 2);
}

#[test]
fn the_experiment_of_conditions_can_be_run() {
    let config = ExperimentConfig::parse(include_str!("../../../../examples/experiments/conditions.toml")).unwrap();
    config.check_settings().unwrap();
    let names: Vec<&str> = config.data.conditions.iter().map(|(name, _)| name).collect();
    let expected = ["clean", "duplicates .8", "tail 1.5", "swap_across .5", "junk .5", "bad_clients .3", "mix"];
    assert_eq!(names, expected);
    let labels: Vec<&str> = config.methods.iter().map(MethodEntry::label).collect();
    assert_eq!(
        labels,
        [
            "random",
            "stratified",
            "rule filter",
            "fedhds_turbo",
            "fedhds_coverage",
            "fedhds_robust",
            "random at its compute",
            "oracle"
        ]
    );
    assert_eq!(
        (config.budget, config.federation.rounds, config.statistics.margin),
        (RoundBudget::Records(20), 10, 0.03)
    );
    assert!(
        message(&WHOLE.replacen("\"random\",", "\"oracle\",", 1)).1.contains("`data.conditions` beside the oracle")
    );
    assert_eq!(message(&format!("{WHOLE}[statistics]\nmargin = 0\n")).0, "statistics.margin");
}
