//! A configuration or data that cannot be run is refused before any work starts, by file, key and what was expected.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::experiment::{DataConfig, ExperimentConfig, Overrides, load_data};
use fedhds_core::types::{Control, Record};
use fedhds_core::{Error, Result};
use std::path::Path;

fn words(record: &Record) -> Result<usize> {
    Ok(format!("{} {} {}", record.instruction, record.input, record.response()).split_whitespace().count())
}

fn load(text: &str) -> Result<(fedhds_core::dataset::FederatedDataset, Vec<String>)> {
    let config: DataConfig = ExperimentConfig::parse(&format!("methods = [\"random\"]\n[data]\n{text}"))?.data;
    load_data(&config, &words, &Control::default())
}

fn refused(text: &str) -> String {
    match load(text) {
        Err(error) => error.to_string(),
        Ok((data, _)) => panic!("accepted: {} clients", data.clients.len()),
    }
}

/// 30 records of three categories, the longest of 43 words.
fn jsonl(folder: &Path) -> String {
    let line = |i: usize| {
        let topic = ["a", "b", "c"][i % 3];
        let long = "word ".repeat(if i == 7 { 40 } else { 3 });
        format!(r#"{{"instruction": "Say {i}.", "input": "{long}", "response": "{i}", "topic": "{topic}"}}"#)
    };
    let path = folder.join("data.jsonl");
    std::fs::write(&path, (0..30).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.display().to_string()
}

#[test]
fn data_are_split_limited_and_dealt_as_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = jsonl(folder.path());
    let base = format!(
        "format = \"jsonl\"\npath = \"{path}\"\nmax_tokens = 10\nfields = {{ category = \"topic\" }}\n\
         partition = {{ kind = \"one_task_per_client\" }}\n"
    );
    let text = refused(&format!("{base}test = {{ categories = [\"c\"] }}\n"));
    assert!(text.contains("`data.max_tokens`") && text.contains("has 43") && text.contains("too_long"), "{text}");
    let drop = format!("{base}too_long = \"drop\"\n");
    let (data, notes) = load(&format!("{drop}test = {{ categories = [\"c\"] }}\n")).unwrap();
    assert_eq!(data.clients.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((data.train_records(), data.test.len()), (19, 10));
    assert!(notes[0].contains("1 of 20 train records"), "{notes:?}");
    let (data, _) = load(&format!("{drop}test = {{ fraction = 0.2, records_per_task = 1 }}\n")).unwrap();
    assert!(data.test.len() <= 3 && data.clients.len() == 3);
    let capped = format!("{drop}test = {{ fraction = 0.2 }}\ntrain = {{ tasks = 2, records_per_task = 4 }}\n");
    let (data, _) = load(&capped).unwrap();
    assert_eq!((data.clients.len(), data.train_records()), (2, 8));
    assert_eq!(load(&capped).unwrap().0, data);
    let text = refused(&format!("{drop}test = {{ categories = [\"d\"] }}\n"));
    assert!(text.contains("expected some of a, b, c, got `d`"), "{text}");
    let text = refused(&format!("{drop}test = {{ fraction = 0.2 }}\ntrain = {{ min_records_per_task = 100 }}\n"));
    assert!(text.contains("`data.train`") && text.contains("got none"), "{text}");
}

#[test]
fn empty_files_and_impossible_partitions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.jsonl");
    std::fs::write(&empty, "\n").unwrap();
    let text = refused(&format!(
        "format = \"jsonl\"\npath = \"{}\"\ntest = {{ fraction = 0.1 }}\npartition = {{ kind = \"iid\", clients = 2 }}\n",
        empty.display()
    ));
    assert!(text.contains("empty.jsonl"), "{text}");
    let path = jsonl(folder.path());
    for (partition, word) in [
        ("{ kind = \"iid\", clients = 0 }", "clients"),
        ("{ kind = \"iid\", clients = 100 }", "clients"),
        ("{ kind = \"dirichlet\", clients = 5, alpha = 0.0 }", "alpha"),
        ("{ kind = \"dirichlet\", clients = 5, alhpa = 0.5 }", "alhpa"),
        ("{ kind = \"dirihclet\", clients = 5, alpha = 0.5 }", "dirichlet"),
    ] {
        let text = refused(&format!(
            "format = \"jsonl\"\npath = \"{path}\"\nmax_tokens = 100\ntest = {{ fraction = 0.1 }}\npartition = {partition}\n"
        ));
        assert!(text.contains("partition") && text.contains(word), "{partition}: {text}");
    }
}

#[test]
fn natural_instructions_bring_their_own_test_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let (tasks, splits) = (folder.path().join("tasks"), folder.path().join("splits/default"));
    std::fs::create_dir_all(&tasks).unwrap();
    std::fs::create_dir_all(&splits).unwrap();
    for name in ["one", "two", "unseen"] {
        let instances: Vec<serde_json::Value> = (0..6)
            .map(|i| serde_json::json!({"id": format!("{name}-{i}"), "input": format!("{i}"), "output": ["yes"]}))
            .collect();
        let task = serde_json::json!({"Definition": ["Answer."], "Instances": instances});
        std::fs::write(tasks.join(format!("{name}.json")), task.to_string()).unwrap();
    }
    std::fs::write(splits.join("train_tasks.txt"), "one\ntwo\n").unwrap();
    std::fs::write(splits.join("test_tasks.txt"), "unseen\n").unwrap();
    let base = format!("format = \"natural_instructions\"\npath = \"{}\"\n", folder.path().display());
    let partition = "partition = { kind = \"one_task_per_client\" }\n";
    let (data, _) = load(&format!("{base}{partition}test = {{ records_per_task = 4 }}\n")).unwrap();
    assert_eq!((data.clients.len(), data.train_records(), data.test.len()), (2, 12, 4));
    std::fs::remove_file(tasks.join("two.json")).unwrap();
    let text = refused(&format!("{base}{partition}"));
    assert!(text.contains("two"), "{text}");
}

#[test]
fn formats_are_those_of_every_other_loader_and_options_must_fit() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("data.csv");
    let rows: String = (0..8).map(|i| format!("Say {i}.,,{i},{}\n", ["a", "b"][i % 2])).collect();
    std::fs::write(&table, format!("instruction,input,answer,topic\n{rows}")).unwrap();
    let base = format!("path = \"{}\"\npartition = {{ kind = \"iid\", clients = 2 }}\n", table.display());
    let fields = "fields = { response = \"answer\", category = \"topic\" }\n";
    let (data, _) = load(&format!("format = \"table\"\n{base}{fields}test = {{ categories = [\"b\"] }}\n")).unwrap();
    assert_eq!((data.clients.len(), data.train_records(), data.test.len()), (2, 4, 4));
    let test = "test = { fraction = 0.5 }\n";
    for (settings, key, word) in [
        ("format = \"tabel\"\n".to_string(), "data.format", "did you mean `table`?"),
        ("format = \"guess\"\n".to_string(), "data.format", "natural_instructions"),
        (format!("format = \"messages\"\n{fields}"), "data.fields", "response = `answer`"),
        ("format = \"table\"\nsplits = \"xlingual\"\n".to_string(), "data.splits", "none for the format `table`"),
        ("format = \"table\"\nembedded = { seed = 3 }\n".to_string(), "data.embedded", "none for the format `table`"),
        ("format = \"natural_instructions\"\nsplits = \"../x\"\n".to_string(), "data.splits", "name of a folder"),
        ("format = \"jsonl\"\nfields = { blank_response = \"skip\" }\n".to_string(), "data.fields", "blank_response"),
    ] {
        let text = refused(&format!("{settings}{base}{test}"));
        assert!(text.contains(&format!("`{key}")) && text.contains(word), "{settings}: {text}");
    }
    let text = refused(&format!("format = \"table\"\n{base}{test}"));
    assert!(text.contains("data.csv:2: field `response`"), "{text}");
    let skip = table.with_file_name("data.jsonl");
    let lines =
        [("a", "b"), ("c", " "), ("d", "e")].map(|(i, r)| format!(r#"{{"instruction": "{i}", "response": "{r}"}}"#));
    std::fs::write(&skip, lines.join("\n")).unwrap();
    let base = base.replace("data.csv", "data.jsonl").replace("clients = 2", "clients = 1");
    assert!(refused(&format!("format = \"jsonl\"\n{base}{test}")).contains("data.jsonl:2: field `response`"));
    let (data, _) = load(&format!("format = \"jsonl\"\nblank_response = \"skip\"\n{base}{test}")).unwrap();
    assert_eq!((data.train_records(), data.test.len()), (1, 1));
}

#[test]
fn a_configuration_file_is_named_in_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    std::fs::write(
        &path,
        "methods = [\"fedhsd\"]\n[data]\nformat = \"embedded\"\npartition = { kind = \"iid\", clients = 2 }\n",
    )
    .unwrap();
    let error = ExperimentConfig::load(&path, Overrides::default()).unwrap_err();
    assert!(matches!(error, Error::Config { .. }));
    let text = error.to_string();
    assert!(text.contains("wrong.toml") && text.contains("methods[0]") && text.contains("did you mean"), "{text}");
}

#[test]
fn the_shipped_configurations_can_be_run() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in ["configs", "experiments"].iter().flat_map(|folder| std::fs::read_dir(examples.join(folder)).unwrap())
    {
        let path = entry.unwrap().path();
        let config = ExperimentConfig::parse(&std::fs::read_to_string(&path).unwrap());
        let checked = config.and_then(|c| c.check_settings());
        assert!(checked.is_ok(), "{}: {}", path.display(), checked.unwrap_err());
        seen += 1;
    }
    assert!(seen >= 5);
}
