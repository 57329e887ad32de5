//! Broken data files: each is an error that says where, none a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds_core::Error;
use fedhds_core::dataset::{
    At, BlankResponse, Dataset, Fields, Format, GUESS, LoadOptions, Loaded, ReadFrom, Source, TestRecords, check_name,
    load as load_named,
};
use fedhds_core::types::Control;
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

type Read = fedhds_core::Result<Dataset>;

/// The formats of a single file of JSON.
const LOADERS: [&str; 3] = ["dolly", "alpaca", "jsonl"];

fn read<'a>(format: &str, source: impl Into<Source<'a>>, options: &LoadOptions) -> fedhds_core::Result<Loaded> {
    load_named(source, format, options, &Control::default())
}

/// Of jsonl, ids are named.
fn options(format: &str) -> LoadOptions {
    let id = (format == "jsonl").then(|| "id".to_string());
    LoadOptions { fields: Fields { id, ..Fields::default() }, ..LoadOptions::default() }
}

/// A record that all three read.
const GOOD: &str =
    r#"{"id":"ID","instruction":"Do.","input":"","context":"","response":"Done.","output":"Done.","category":"c"}"#;

fn good(id: &str) -> String {
    GOOD.replace("ID", id)
}

fn load(name: &str, bytes: &[u8]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    std::fs::write(&file, bytes).unwrap();
    read(name, &file, &options(name)).map(|loaded| loaded.dataset)
}

fn natural_instructions(folder: &Path) -> Read {
    read("natural_instructions", folder, &LoadOptions::default()).map(|loaded| loaded.dataset)
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
fn place(loaded: Read, case: &str) -> (Option<usize>, Option<String>) {
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
    for name in LOADERS {
        for path in [folder.path().join("absent.jsonl"), folder.path().to_path_buf()] {
            match read(name, &path, &options(name)) {
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

#[test]
fn an_unknown_format_is_answered_with_all_and_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, good("1")).unwrap();
    for (name, near) in [
        ("josnl", Some("jsonl")),
        ("Alpaca", Some("alpaca")),
        ("natural-instructions", Some("natural_instructions")),
        ("gues", Some("guess")),
        ("csv", None),
        ("", None),
        ("natural_instructions:train", Some("natural_instructions")),
    ] {
        let error = read(name, &file, &LoadOptions::default()).unwrap_err();
        assert!(matches!(&error, Error::Parameter { name, .. } if name == "format"), "{error:?}");
        let text = error.to_string();
        assert!(Format::names().iter().all(|known| text.contains(&format!("`{known}`"))), "{text}");
        assert!(text.contains(&format!("got `{name}`")) && text.contains("`guess`"), "{text}");
        if let Some(near) = near {
            assert!(text.ends_with(&format!("did you mean `{near}`?")), "{text}");
        }
        assert_eq!(text.contains("did you mean"), near.is_some(), "{text}");
        assert_eq!(check_name(name).unwrap_err().to_string(), text);
    }
    assert!(check_name(GUESS).is_ok() && Format::by_name(GUESS).is_err());
}

#[test]
fn every_format_says_what_it_is_and_is_found_by_its_name() {
    let mut names = Format::names().to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Format::ALL.len());
    for format in Format::ALL {
        let (name, about) = (format.name(), format.about());
        assert!(!about.is_empty() && !about.contains('\n'), "{name}: {about}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && name != GUESS, "{name}");
        assert_eq!(Format::by_name(name).unwrap(), *format);
        assert_eq!(serde_json::to_value(format).unwrap(), name);
        assert_eq!(serde_json::from_value::<Format>(name.into()).unwrap(), *format);
    }
    let error = serde_json::from_str::<Format>("\"guess\"").unwrap_err().to_string();
    assert!(error.contains("unknown variant `guess`") && error.contains("`natural_instructions`"), "{error}");
}

/// Every format refuses what it cannot read from, before it reads, and says what it wants.
#[test]
fn folders_files_and_nothing_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    std::fs::write(&file, good("1")).unwrap();
    for format in Format::ALL {
        let load = |source: Source<'_>| format.load(source, &LoadOptions::default(), &Control::default());
        let absent = folder.path().join("absent");
        match format.read_from() {
            ReadFrom::Nothing => {
                let text = load(Source::Path(&file)).unwrap_err().to_string();
                assert!(text.contains("generated") && text.contains("data.jsonl"), "{text}");
                assert!(load(Source::Nothing).is_ok());
            }
            wants => {
                let (wrong, word) =
                    if wants == ReadFrom::File { (folder.path(), "file") } else { (file.as_path(), "folder") };
                match load(Source::Path(wrong)) {
                    Err(Error::Io { path, source }) => {
                        let text = source.to_string();
                        assert_eq!(path, wrong, "{format}");
                        assert!(text.contains(&format!("expected a {word} for the format `{format}`")), "{text}");
                    }
                    other => panic!("{format}: {other:?}"),
                }
                assert!(matches!(load(Source::Path(&absent)), Err(Error::Io { path, .. }) if path == absent));
                assert!(load(Source::Nothing).unwrap_err().to_string().contains("got none"), "{format}");
            }
        }
    }
}

#[test]
fn options_that_a_format_does_not_have_are_refused() {
    let fields = LoadOptions { fields: Fields { input: Some("x".into()), ..Fields::default() }, ..Default::default() };
    let blank = LoadOptions { fields: Fields { input: Some(" ".into()), ..Fields::default() }, ..Default::default() };
    let mut limited = LoadOptions::default();
    limited.natural_instructions.max_tasks = Some(3);
    let mut generated = LoadOptions::default();
    generated.embedded.records_per_task = 2;
    for format in Format::ALL {
        let refused = |options: &LoadOptions| match format.check(options) {
            Ok(()) => None,
            Err(Error::Parameter { name, .. }) => Some(name),
            Err(other) => panic!("{other:?}"),
        };
        let name = format.name();
        let own = format.test_records() == TestRecords::Own;
        for split in ["train", "test", "dev", ""] {
            let options = LoadOptions { split: Some(split.into()), ..LoadOptions::default() };
            let fits = own && ["train", "test"].contains(&split);
            assert_eq!(refused(&options).is_none(), fits, "{name}: {split}");
        }
        let takes = !["natural_instructions", "embedded", "messages"].contains(&name);
        assert_eq!(refused(&fields), (!takes).then(|| "fields".to_string()), "{name}");
        assert_eq!(refused(&blank).as_deref(), Some("fields"), "{name}");
        assert_eq!(refused(&limited).is_none(), name == "natural_instructions", "{name}");
        assert_eq!(refused(&generated).is_none(), name == "embedded", "{name}");
    }
    let wrong = serde_json::from_str::<LoadOptions>(r#"{"field": {}}"#).unwrap_err().to_string();
    assert!(wrong.contains("unknown field `field`"), "{wrong}");
}

/// What other programs write: byte order marks, line ends of Windows, no line end at the end, blank lines.
#[test]
fn the_same_records_come_from_every_way_to_write_lines() {
    let (one, two) = (good("1"), good("2"));
    let want = load("jsonl", format!("{one}\n{two}\n").as_bytes()).unwrap().records;
    for text in [
        format!("{one}\r\n{two}\r\n"),
        format!("\u{feff}{one}\n{two}"),
        format!("\u{feff}\r\n\r\n{one}\n \t \n\n{two}\n\n"),
        format!(" [{one},{two}]"),
        format!("\u{feff}\r\n[\r\n{one}\r\n,\r\n{two}\r\n]\r\n"),
        format!("[\n{}\n]", [&*one, &*two].map(|o| o.replace(',', ",\n  ")).join(",")),
    ] {
        assert_eq!(load("jsonl", text.as_bytes()).unwrap().records, want, "{text:?}");
    }
    let table = "\u{feff}id,instruction,input,response,category\r\n1,Do.,,Done.,c\r\n2,Do.,,Done.,c";
    let fields = Fields { id: Some("id".into()), ..Fields::default() };
    let source = Source::Content { name: Path::new("data.csv"), bytes: table.as_bytes() };
    let read = read("table", source, &LoadOptions { fields, ..LoadOptions::default() }).unwrap();
    assert_eq!(read.dataset.records, want);
    assert_eq!(read.origins.iter().map(|origin| origin.at).collect::<Vec<_>>(), [0, 1].map(|i| Some(At::Row(i))));
}

/// Line, field and message of every way in which a list can end or go on wrongly.
#[test]
fn a_list_that_is_none_is_placed() {
    let one = good("1");
    for (text, line, field, words) in [
        (format!("[{one}\n{one}]"), Some(2), None, "expected `,` or `]`, got `{` at column 1"),
        (format!("[{one},\n\n]"), Some(3), None, "expected an object after the comma"),
        (format!("[{one}]\n x"), Some(2), None, "expected nothing after the list, got `x` at column 2"),
        (format!("\n\n[{one},\n {{\"a\" 1}}]"), Some(4), Some("[1]"), "at column 7"),
        (format!("[{one},\n{{\"a\":\n 1,\n x}}]"), Some(4), Some("[1]"), "at column 2"),
        (format!("[{one}, 3]"), None, Some("[1]"), "expected an object, got 3"),
        ("[".into(), Some(1), None, "got the end of the file"),
        ("[,]".into(), Some(1), Some("[0]"), "expected JSON"),
        ("[".repeat(100_000), Some(1), Some("[0]"), "recursion limit"),
        (format!("[{one},\n{{\"a\":{}", "[".repeat(100_000)), Some(2), Some("[1]"), "recursion limit"),
        (format!("[{one},\n{{\"instruction\": \"\\ud800\"}}]"), Some(2), Some("[1]"), "expected JSON"),
    ] {
        let shown: String = text.chars().take(200).collect();
        match load("jsonl", text.as_bytes()) {
            Err(Error::Data { line: l, field: f, message, .. }) => {
                assert_eq!((l, f.as_deref()), (line, field), "{shown}: {message}");
                assert!(message.contains(words), "{shown}: {message}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}

#[test]
fn an_error_of_json_has_the_files_line_alone() {
    let text = format!("{}\n{{\"instruction\":", good("1"));
    let error = load("jsonl", text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("data.jsonl:2: expected JSON: EOF") && !error.contains("at line 1"), "{error}");
    assert!(error.contains("an object stands on one line"), "{error}");
}

/// Files that are often taken for text say what they are, whatever reads them.
#[test]
fn packed_and_foreign_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, word) in [
        (&b"\x1f\x8b\x08\x00\x00\xff\xfe"[..], "gzip"),
        (b"PK\x03\x04\xff\xff\x00", "zip"),
        (b"PAR1\x15\xff\xfe", "Parquet"),
        (b"PK\x03\x04 this part is text\n\xff", "zip"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b"\x28\xb5\x2f\xfd\xff", "Zstandard"),
    ] {
        for name in ["data.jsonl", "data.csv"] {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            for format in ["jsonl", "alpaca", "messages", "table", GUESS] {
                let text = read(format, &file, &LoadOptions::default()).unwrap_err().to_string();
                assert!(text.contains(word) && text.contains(name), "{format}: {text}");
            }
        }
    }
}

#[test]
fn a_format_is_guessed_by_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let guess = |name: &str, text: &str, given: &Fields| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let options = LoadOptions { fields: given.clone(), ..LoadOptions::default() };
        let loaded = read(GUESS, &file, &options)?;
        let record = &loaded.dataset.records[0];
        let found = (record.instruction.clone(), record.input.clone(), record.responses[0].clone());
        Ok::<_, Error>((loaded.format.name(), found.0, found.1, found.2, record.category.clone()))
    };
    let row = |format: &'static str, input: &str, category: &str| {
        (format, "Why?".to_string(), input.to_string(), "So.".to_string(), category.to_string())
    };
    let none = Fields::default();
    for (name, text, want) in [
        ("a.json", r#"{"instruction": "Why?", "response": "So."}"#, row("jsonl", "", "a")),
        ("a.txt", r#"[{"instruction": "Why?", "input": "x", "output": "So."}]"#, row("alpaca", "x", "a")),
        ("a", r#"{"instruction": "Why?", "context": "x", "response": "So.", "category": "c"}"#, row("dolly", "x", "c")),
        ("a.xyz", r#"{"prompt": "Why?", "completion": "So.", "category": 7}"#, row("jsonl", "", "7")),
        (
            "a.jsonl",
            "\u{feff}\n\n[\n{\"messages\": [{\"role\": \"user\", \"content\": \"Why?\"}, {\"role\": \"assistant\", \"content\": \"So.\"}]}]",
            row("messages", "", "a"),
        ),
        ("a.csv", "question,answer,context\nWhy?,So.,x\n", row("table", "x", "a")),
        ("a.TSV", "question\tanswer\nWhy?\tSo.\n", row("table", "", "a")),
    ] {
        assert_eq!(guess(name, text, &none).unwrap(), want, "{name}: {text}");
    }
    let given = Fields { instruction: Some("q.text".into()), response: Some("r".into()), ..Fields::default() };
    let nested = r#"{"q": {"text": "Why?"}, "r": ["So."], "messages": []}"#;
    assert_eq!(guess("a.json", nested, &given).unwrap(), row("jsonl", "", "a"));
    for (name, text, words) in [
        (
            "b.json",
            r#"{"colour": "red", "shade": 1}"#,
            "b.json: no field looks like an instruction (fields: colour, shade)",
        ),
        ("b.json", r#"{"prompt": "red"}"#, "no field looks like a response"),
        ("b.json", "{}", "(fields: none)"),
        ("b.csv", "colour,shade\nred,1\n", "b.csv: no field looks like an instruction (fields: colour, shade)"),
        ("b.json", "", "got an empty file"),
        ("b.json", "\u{feff} \n", "got an empty file"),
        ("b.json", "[ ]", "got an empty list"),
        ("b.json", "[1]", "got 1"),
        ("b.json", "\"text\"", "got a string"),
        ("b.txt", "\n\nplain text", "b.txt:3: expected JSON"),
        ("b.json", "[[1]]", "got a list"),
        ("b.csv", "", "got an empty file"),
    ] {
        let error = guess(name, text, &none).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    let deep = guess("b.json", &"{\"a\":".repeat(100_000), &none).unwrap_err().to_string();
    assert!(deep.contains("recursion limit"), "{deep}");
    let text = read(GUESS, folder.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(text.contains("natural_instructions (a folder with tasks/") && text.contains("another folder"), "{text}");
    assert!(!text.contains("embedded"), "{text}");
    let tasks = task(br#"{"Definition": ["D"], "Instances": [{"input": "a", "output": ["b"]}]}"#);
    let loaded = read(GUESS, tasks.path(), &LoadOptions::default()).unwrap();
    assert_eq!((loaded.format.name(), loaded.dataset.len()), ("natural_instructions", 1));
    let absent = folder.path().join("absent.csv");
    assert!(matches!(read(GUESS, &absent, &LoadOptions::default()), Err(Error::Io { path, .. }) if path == absent));
    assert!(read(GUESS, Source::Nothing, &LoadOptions::default()).is_err());
}

/// Lines and rows are the core's to count, also where records were left out or lines are blank.
#[test]
fn every_record_knows_its_line_or_row() {
    let blank = r#"{"instruction":"Do.","response":" ","output":" "}"#;
    let options = LoadOptions { blank_response: BlankResponse::Skip, keep_text: true, ..LoadOptions::default() };
    let lines = format!("{}\r\n\n{blank}\n{}", good("1"), good("2"));
    let list = format!("[{}, {blank},\n{}]", good("1"), good("2"));
    for (text, places) in [(lines, [At::Line(1), At::Line(4)]), (list, [At::Row(0), At::Row(2)])] {
        let source = Source::Content { name: Path::new("d.jsonl"), bytes: text.as_bytes() };
        for format in LOADERS {
            let loaded = read(format, source, &options).unwrap();
            assert_eq!(loaded.left_out, 1, "{format}");
            assert_eq!(loaded.origins.iter().map(|o| o.at).collect::<Vec<_>>(), places.map(Some), "{format}");
            let ids: Vec<String> = loaded.dataset.records.iter().map(|r| r.id.clone()).collect();
            assert_eq!(ids, places.map(|at| format!("d-{}", at.number())), "{format}");
            for (origin, id) in loaded.origins.iter().zip(["1", "2"]) {
                assert_eq!(origin.text.as_deref().unwrap().trim_end(), good(id), "{format}");
            }
        }
    }
    let instances =
        r#"{"Definition": "D", "Instances": [{"input": "a", "output": [""]}, {"input": "b", "output": ["c"]}]}"#;
    let loaded = read("natural_instructions", task(instances.as_bytes()).path(), &options).unwrap();
    assert_eq!((loaded.origins[0].at, loaded.left_out), (Some(At::Row(1)), 1));
    let text: serde_json::Value = serde_json::from_str(loaded.origins[0].text.as_deref().unwrap()).unwrap();
    assert_eq!(text["responses"][0], "c");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in Format::ALL.iter().map(|format| format.name()).chain([GUESS]) {
            for name in ["data.jsonl", "data.csv"] {
                let _ = read(format, Source::Content { name: Path::new(name), bytes: &bytes }, &LoadOptions::default());
            }
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
        let chat = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        for bytes in [chat, "instruction,input,response\n\"a\nb\",c,d\ne,,f\n"] {
            let mut bytes = bytes.as_bytes().to_vec();
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            for format in ["messages", "table", GUESS] {
                let source = Source::Content { name: Path::new("data.csv"), bytes: &bytes };
                if let Ok(loaded) = read(format, source, &LoadOptions { keep_text: true, ..LoadOptions::default() }) {
                    prop_assert_eq!(loaded.dataset.len(), loaded.origins.len());
                    for origin in loaded.origins {
                        let text = origin.text.unwrap_or_default();
                        prop_assert!(text.ends_with('\n') && serde_json::from_str::<serde_json::Value>(&text).is_ok());
                    }
                }
            }
        }
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
                    for name in LOADERS.into_iter().chain([GUESS]) {
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
