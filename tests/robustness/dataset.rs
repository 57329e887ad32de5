//! Broken data files: each is an error that says where, none a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::Error;
use fedhds_core::dataset::{
    BlankResponse, Dataset, Fields, NaturalInstructionsOptions, load_alpaca, load_dolly, load_jsonl,
    load_natural_instructions,
};
use fedhds_core::types::Control;
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

type Loaded = fedhds_core::Result<Dataset>;

type Loader = (&'static str, fn(&Path) -> Loaded);

/// The loaders of a single file, by name.
const LOADERS: [Loader; 3] = [
    ("dolly", |file| load_dolly(file, BlankResponse::Error, &Control::default())),
    ("alpaca", |file| load_alpaca(file, BlankResponse::Error, &Control::default())),
    ("jsonl", |file| load_jsonl(file, &Fields { id: Some("id".into()), ..Fields::default() }, &Control::default())),
];

/// A record that all three read.
const GOOD: &str =
    r#"{"id":"ID","instruction":"Do.","input":"","context":"","response":"Done.","output":"Done.","category":"c"}"#;

fn good(id: &str) -> String {
    GOOD.replace("ID", id)
}

fn load(name: &str, bytes: &[u8]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    std::fs::write(&file, bytes).unwrap();
    LOADERS.iter().find(|(loader, _)| *loader == name).unwrap().1(&file)
}

fn natural_instructions(folder: &Path) -> Loaded {
    load_natural_instructions(folder, "train", &NaturalInstructionsOptions::default(), &Control::default())
}

/// A folder in Natural Instructions' layout with this one task file.
fn task(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("tasks")).unwrap();
    std::fs::create_dir_all(folder.path().join("splits/default")).unwrap();
    std::fs::write(folder.path().join("tasks/task1.json"), bytes).unwrap();
    std::fs::write(folder.path().join("splits/default/train_tasks.txt"), "task1\n").unwrap();
    folder
}

/// Line and field of a data error; anything else fails.
fn place(loaded: Loaded, case: &str) -> (Option<usize>, Option<String>) {
    match loaded {
        Err(Error::Data { file, line, field, message }) => {
            assert!(file.is_absolute() && !message.is_empty(), "{case}");
            (line, field)
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[test]
fn every_broken_line_is_placed() {
    let line = |key: &str, value: &str| {
        let mut object: serde_json::Value = serde_json::from_str(&good("2")).unwrap();
        match value {
            "absent" => drop(object.as_object_mut().unwrap().remove(key)),
            value => object[key] = serde_json::from_str(value).unwrap(),
        }
        object.to_string()
    };
    for (loader, response) in [("dolly", "response"), ("alpaca", "output"), ("jsonl", "response")] {
        for (broken, field) in [
            (line("instruction", "absent"), Some("instruction")),
            (line("instruction", "null"), Some("instruction")),
            (line("instruction", "[\"a\"]"), Some("instruction")),
            (line("instruction", "\"  \""), Some("instruction")),
            (line(response, "absent"), Some(response)),
            (line(response, "{}"), Some(response)),
            (line(response, "1.5"), Some(response)),
            (line(response, "\"\\n\""), Some(response)),
            (line(response, "[]"), Some(response)),
            ("{".into(), None),
            ("{} {}".into(), None),
            ("nonsense".into(), None),
            ("\"text\"".into(), None),
            ("{\"instruction\": \"\\ud800\"}".into(), None),
            ("[".repeat(100_000), None),
            ("{\"a\":".repeat(100_000), None),
        ] {
            let shown: String = broken.chars().take(60).collect();
            let text = format!("{}\n\n{broken}\n{}", good("1"), good("3"));
            let found = place(load(loader, text.as_bytes()), &shown);
            assert_eq!(found, (Some(3), field.map(Into::into)), "{loader}: {shown}");
        }
        let mut bytes = format!("{}\n", good("1")).into_bytes();
        bytes.extend_from_slice(b"{\"instruction\": \"\xff\"}\n");
        assert_eq!(place(load(loader, &bytes), "bytes"), (Some(2), None), "{loader}");
        for empty in ["", "\n \n", "\u{feff}"] {
            assert_eq!(place(load(loader, empty.as_bytes()), "empty"), (None, None), "{loader}");
        }
    }
    assert_eq!(place(load("dolly", line("context", "7").as_bytes()), "context"), (Some(1), Some("context".into())));
    assert_eq!(
        place(load("dolly", line("category", "absent").as_bytes()), "category"),
        (Some(1), Some("category".into()))
    );
    assert_eq!(place(load("jsonl", line("id", "{}").as_bytes()), "id"), (Some(1), Some("id".into())));
    let twice = format!("{}\n{}", good("1"), good("1"));
    assert_eq!(place(load("jsonl", twice.as_bytes()), "twice"), (Some(2), Some("id".into())));
}

#[test]
fn every_broken_list_item_is_placed() {
    for (text, line, field) in [
        (format!("[{}, 3]", good("1")), None, Some("[1]")),
        (format!("[{}, {{}}]", good("1")), None, Some("[1].instruction")),
        ("[]".to_string(), None, None),
        (format!("[{},\n{}", good("1"), good("2")), Some(2), None),
        (format!("[{}]\n[]", good("1")), Some(2), None),
    ] {
        assert_eq!(place(load("alpaca", text.as_bytes()), &text), (line, field.map(Into::into)), "{text}");
    }
}

#[test]
fn every_broken_task_is_placed() {
    let instance = |value: &str| format!("{{\"Definition\": [\"D\"], \"Instances\": [{value}]}}");
    for (text, line, field) in [
        (String::new(), None, None),
        ("{\n\"Definition\"\n".to_string(), Some(3), None),
        ("[]".to_string(), None, None),
        ("{\"Definition\": 3}".to_string(), None, Some("Definition")),
        (instance(""), None, Some("Instances")),
        (instance("3"), None, Some("Instances[0]")),
        (instance("{\"input\": \"\"}"), None, Some("Instances[0].output")),
        (instance("{\"input\": \"\", \"output\": 4}"), None, Some("Instances[0].output")),
        (instance("{\"input\": \"\", \"output\": [\"a\", {}]}"), None, Some("Instances[0].output[1]")),
        (instance("{\"input\": [], \"output\": [\"a\"]}"), None, Some("Instances[0].input")),
        (instance("{\"input\": \"\", \"output\": [\"a\"], \"id\": \"\"}"), None, Some("Instances[0].id")),
    ] {
        let folder = task(text.as_bytes());
        assert_eq!(place(natural_instructions(folder.path()), &text), (line, field.map(Into::into)), "{text}");
    }
    let folder = task(b"{\"Definition\": \"\xff\"}");
    assert_eq!(place(natural_instructions(folder.path()), "bytes"), (Some(1), None));
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, loader) in LOADERS {
        for path in [folder.path().join("absent.jsonl"), folder.path().to_path_buf()] {
            match loader(&path) {
                Err(Error::Io { path: named, .. }) => assert_eq!(named, path, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(matches!(natural_instructions(folder.path()), Err(Error::Io { .. })));
    let folder = task(b"{}");
    std::fs::remove_file(folder.path().join("tasks/task1.json")).unwrap();
    assert_eq!(place(natural_instructions(folder.path()), "missing task"), (Some(1), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (name, _) in LOADERS {
            let _ = load(name, &bytes);
        }
        let _ = natural_instructions(task(&bytes).path());
        let folder = task(b"{}");
        std::fs::write(folder.path().join("splits/default/train_tasks.txt"), &bytes).unwrap();
        prop_assert!(natural_instructions(folder.path()).is_err());
    }

    #[test]
    fn damaged_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let lines = format!("{}\n{}\n", good("1"), good("2"));
        let list = format!("[{},{}]", good("1"), good("2"));
        let one = r#"{"Definition":["D"],"Source":["s"],"Instances":[{"id":"x","input":"a","output":["b","c"]}]}"#;
        for (kind, text) in [("lines", lines), ("list", list), ("task", one.to_string())] {
            let mut bytes = text.into_bytes();
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if kind == "task" {
                    let _ = natural_instructions(task(bytes).path());
                } else {
                    for (name, _) in LOADERS {
                        if let Ok(data) = load(name, bytes) {
                            // What loads keeps the promises of a record.
                            prop_assert!(Dataset::new("again", data.records).is_ok());
                        }
                    }
                }
            }
        }
    }
}
