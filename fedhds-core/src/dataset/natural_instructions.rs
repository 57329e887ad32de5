//! Natural Instructions 2.x: `tasks/<name>.json` and `splits/<splits>/{train,test}_tasks.txt`.
//!
//! Y. Wang et al., "Super-NaturalInstructions" (2022). A record's category is its task, its family the task's source.

use super::family::family_of;
use super::fields::Fields;
use super::loaded::{At, Collected, LeftOut, as_json};
use super::options::{LoadOptions, NaturalInstructionsOptions, is_name};
use super::reader::{ReadFrom, Reader, Sample, TestRecords};
use super::source::{self, Place, Source};
use super::values::{self, BadRecord, BlankResponse};
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Record};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The tasks of one split (`train` or `test`), in the order of its list. The order, and the first error, do not depend on the
/// number of threads.
///
/// An error has the file and the JSON path of a record that cannot be used (`Instances[12].output[0]`), or the line of the
/// split list whose task is missing, doubled or no file name.
pub(super) struct NaturalInstructions;

impl Reader for NaturalInstructions {
    fn name(&self) -> &'static str {
        "natural_instructions"
    }

    fn about(&self) -> &'static str {
        "a folder with tasks/*.json and splits/<splits>/{train,test}_tasks.txt"
    }

    fn read_from(&self) -> ReadFrom {
        ReadFrom::Folder
    }

    fn test_records(&self) -> TestRecords {
        TestRecords::Own
    }

    fn recognise(&self, sample: &Sample<'_>) -> Result<Option<Fields>> {
        let path = sample.source.path().filter(|path| sample.folder && path.join("tasks").is_dir());
        Ok(path.map(|_| sample.given.clone()))
    }

    fn read(
        &self,
        source: &Source<'_>,
        options: &LoadOptions,
        control: &Control,
        records: &mut Collected<'_>,
    ) -> Result<()> {
        let Some(folder) = source.path() else { return Ok(()) };
        let split = options.split.as_deref().unwrap_or("train");
        let (own, skip) = (&options.natural_instructions, (options.blank_response, options.bad_record));
        let (list, mut tasks) = read_list(folder, split, &own.splits)?;
        tasks.truncate(own.max_tasks.unwrap_or(usize::MAX));
        let stage = format!("read {split}");
        control.begin(&stage, Some(tasks.len() as u64));
        let one = |(line, task): &(usize, String)| {
            control.check()?;
            let file = folder.join("tasks").join(format!("{task}.json"));
            if !file.is_file() {
                let place = Place { file: &list, line: Some(*line), path: "" };
                let message = format!("expected the task's file {}, which is not there", file.display());
                return Err(place.error("", message));
            }
            let records = read_task(&file, task, own, skip)?;
            control.advance(&stage, 1);
            Ok(records)
        };
        let read = loops::map(tasks.len(), 1, |at| Some(one(&tasks[at])));
        control.end(&stage);
        let read: Vec<TaskRecords> = read.into_iter().flatten().collect::<Result<_>>()?;
        let (mut places, mut found) = (Vec::new(), Vec::new());
        for task in read {
            records.left_out.add(task.left_out);
            for (at, record) in task.records {
                places.push(at);
                found.push(record);
            }
        }
        set_apart(&mut found);
        for (record, at) in found.into_iter().zip(places) {
            records.take(Ok(Some(record)), Some(at), as_json)?;
        }
        Ok(())
    }
}

/// The records of a task, and how many were left out.
struct TaskRecords {
    records: Vec<(At, Record)>,
    left_out: LeftOut,
}

/// The split's list, and its task names with their lines.
fn read_list(folder: &Path, split: &str, splits: &str) -> Result<(PathBuf, Vec<(usize, String)>)> {
    let file = folder.join("splits").join(splits).join(format!("{split}_tasks.txt"));
    let mut tasks = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, line) in source::read_text(&file)?.lines().enumerate() {
        let place = Place { file: &file, line: Some(i + 1), path: "" };
        let task = line.trim();
        if task.is_empty() {
            continue;
        }
        if !is_name(task) {
            return Err(place.error("", format!("expected the name of a file in tasks/, got `{task}`")));
        }
        if !seen.insert(task.to_string()) {
            return Err(place.error("", format!("expected each task once, got `{task}` again")));
        }
        tasks.push((i + 1, task.to_string()));
    }
    if tasks.is_empty() {
        return Err(
            Place { file: &file, line: None, path: "" }.error("", "expected one task a line, got an empty file")
        );
    }
    Ok((file, tasks))
}

fn read_task(
    file: &Path,
    task: &str,
    options: &NaturalInstructionsOptions,
    (blank, bad): (BlankResponse, BadRecord),
) -> Result<TaskRecords> {
    let place = Place { file, line: None, path: "" };
    let value = source::read_json(file)?;
    let object = value.as_object().ok_or_else(|| place.expected("", "an object", &value))?;
    let instruction = first_text(object, "Definition", place)?.trim().to_string();
    let family = match object.get("Source") {
        None | Some(Value::Null) => task.to_string(),
        Some(_) => family_of(first_text(object, "Source", place)?).to_string(),
    };
    let instances = match object.get("Instances") {
        Some(Value::Array(instances)) if !instances.is_empty() => instances,
        Some(other) => return Err(place.expected("Instances", "a list of instances", other)),
        None => return Err(place.error("Instances", "expected a list of instances, got no such field")),
    };
    let mut records = Vec::with_capacity(instances.len());
    let mut left_out = LeftOut::default();
    for (i, instance) in instances.iter().enumerate() {
        if Some(records.len()) == options.max_records_per_task {
            break;
        }
        let found = || {
            let path = format!("Instances[{i}]");
            let place = Place { file, line: None, path: &path };
            let instance = instance.as_object().ok_or_else(|| place.expected("", "an object", instance))?;
            let responses = values::responses(instance, "output", place, blank)?;
            let input = values::text(instance, "input", place)?.to_string();
            let id = match instance.get("id") {
                None | Some(Value::Null) => format!("{task}-{i}"),
                Some(_) => values::label(instance, "id", place)?,
            };
            let (instruction, family) = (instruction.clone(), family.clone());
            let record = Record { id, instruction, input, responses, category: task.into(), family };
            Ok((!record.responses.is_empty()).then_some(record))
        };
        records.extend(left_out.kept(found(), bad)?.map(|record| (At::Row(i), record)));
    }
    Ok(TaskRecords { records, left_out })
}

/// A field that is a text in old releases and a list of texts in new ones: the first counts, as in the authors' code.
fn first_text<'a>(object: &'a Map<String, Value>, field: &str, place: Place<'_>) -> Result<&'a str> {
    match object.get(field) {
        Some(Value::Array(items)) => match items.first() {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
            Some(other) => Err(place.expected(&format!("{field}[0]"), "text", other)),
            None => Err(place.error(field, "expected text, got an empty list")),
        },
        _ => values::filled(object, field, place),
    }
}

/// Instances of different tasks, or equal instances of one, may share an id: the second becomes `id#2`.
fn set_apart(records: &mut [Record]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for record in records.iter() {
        seen.entry(record.id.clone()).or_insert(0);
    }
    for record in records {
        let mut count = seen.get(&record.id).copied().unwrap_or_default() + 1;
        seen.insert(record.id.clone(), count);
        if count > 1 {
            let mut id = format!("{}#{count}", record.id);
            while seen.contains_key(&id) {
                count += 1;
                id = format!("{}#{count}", record.id);
            }
            seen.insert(id.clone(), 1);
            record.id = id;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{Dataset, Format};
    use super::*;
    use serde_json::json;

    /// A folder with these tasks, all of them in the list `train`.
    fn folder(tasks: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("tasks")).unwrap();
        std::fs::create_dir_all(folder.path().join("splits/default")).unwrap();
        for (name, value) in tasks {
            std::fs::write(folder.path().join(format!("tasks/{name}.json")), value.to_string()).unwrap();
        }
        let list: String = tasks.iter().map(|(name, _)| format!("{name}\r\n")).collect();
        std::fs::write(folder.path().join("splits/default/train_tasks.txt"), list).unwrap();
        folder
    }

    fn load(folder: &tempfile::TempDir, options: &NaturalInstructionsOptions) -> Result<Dataset> {
        let options = LoadOptions { natural_instructions: options.clone(), ..LoadOptions::default() };
        read(folder.path(), "train", options, &Control::default())
    }

    fn read(folder: &Path, split: &str, options: LoadOptions, control: &Control) -> Result<Dataset> {
        let options = LoadOptions { split: Some(split.into()), ..options };
        Format::NATURAL_INSTRUCTIONS.load(folder, &options, control).map(|loaded| loaded.dataset)
    }

    #[test]
    fn both_forms_of_definition_and_output() {
        let old = json!({"Definition": " Say it. ", "Source": ["quoref"],
            "Instances": [{"input": "a", "output": "b"}, {"input": "", "output": "c"}]});
        let new = json!({"Definition": ["Say it.", "Or so."], "Source": ["ag_news_recommend"],
            "Instances": [{"id": "x", "input": "a", "output": ["b", "c"]}, {"id": "x", "input": "a", "output": ["d"]}]});
        let data = load(&folder(&[("t2", new), ("t1", old)]), &Default::default()).unwrap();
        let ids: Vec<_> = data.records.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["x", "x#2", "t1-0", "t1-1"]);
        assert!(data.records.iter().all(|r| r.instruction == "Say it."));
        assert_eq!(data.records[0].responses, ["b", "c"]);
        assert_eq!((data.records[0].category.as_str(), data.records[0].family.as_str()), ("t2", "ag_news"));
        assert_eq!(data.records[2].family, "quoref");
        assert_eq!(data.records[3].input, "");
    }

    #[test]
    fn limits_take_the_first() {
        let task = |n: usize| {
            let instances: Vec<_> = (0..n).map(|i| json!({"input": i.to_string(), "output": ["y"]})).collect();
            json!({"Definition": ["D"], "Instances": instances})
        };
        let folder = folder(&[("b", task(5)), ("a", task(2)), ("c", task(9))]);
        let options =
            NaturalInstructionsOptions { max_tasks: Some(2), max_records_per_task: Some(3), ..Default::default() };
        let data = load(&folder, &options).unwrap();
        assert_eq!(data.by_category().into_iter().map(|(k, v)| (k, v.len())).collect::<Vec<_>>(), [("a", 2), ("b", 3)]);
        assert_eq!(data.records[0].category, "b");
        let none = NaturalInstructionsOptions { max_tasks: Some(0), ..Default::default() };
        assert!(load(&folder, &none).unwrap_err().to_string().contains("max_tasks"));
    }

    #[test]
    fn a_broken_instance_is_placed() {
        let error = |instance: Value| {
            let good = json!({"input": "a", "output": ["b"]});
            let task = json!({"Definition": ["D"], "Instances": [good, instance]});
            load(&folder(&[("t", task)]), &Default::default()).unwrap_err().to_string()
        };
        assert!(
            error(json!({"input": "a", "output": ["b", ""]}))
                .contains("t.json: field `Instances[1].output[1]`: expected a response")
        );
        assert!(
            error(json!({"input": "a", "output": []}))
                .contains("field `Instances[1].output`: expected a response, got an empty list")
        );
        assert!(
            error(json!({"input": 5, "output": ["b"]}))
                .contains("field `Instances[1].input`: expected a string, got 5")
        );
        assert!(
            error(json!({"output": ["b"]}))
                .contains("field `Instances[1].input`: expected a string, got no such field")
        );
        assert!(error(json!("x")).contains("field `Instances[1]`: expected an object, got a string"));
        for (task, field) in [
            (json!({"Instances": [{"input": "a", "output": ["b"]}]}), "Definition"),
            (json!({"Definition": [], "Instances": []}), "Definition"),
            (json!({"Definition": [3], "Instances": []}), "Definition[0]"),
            (json!({"Definition": "D", "Instances": []}), "Instances"),
            (json!({"Definition": "D"}), "Instances"),
        ] {
            let error = load(&folder(&[("t", task)]), &Default::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("t.json: field `{field}`")), "{error}");
        }
    }

    #[test]
    fn the_list_is_checked() {
        let task = json!({"Definition": ["D"], "Instances": [{"input": "a", "output": ["b"]}]});
        let folder = folder(&[("t", task)]);
        let error = |list: &str| {
            std::fs::write(folder.path().join("splits/default/train_tasks.txt"), list).unwrap();
            load(&folder, &Default::default()).unwrap_err().to_string()
        };
        assert!(error("t\n\nabsent\n").contains("train_tasks.txt:3: expected the task's file"));
        assert!(error("t\nt").contains("train_tasks.txt:2: expected each task once, got `t` again"));
        assert!(error("../t").contains("train_tasks.txt:1: expected the name of a file in tasks/"));
        assert!(error(" \n").contains("empty file"));
        let absent = read(folder.path(), "test", LoadOptions::default(), &Control::default());
        assert!(absent.unwrap_err().to_string().contains("test_tasks.txt"));
        let unknown = read(folder.path(), "dev", LoadOptions::default(), &Control::default());
        assert!(unknown.unwrap_err().to_string().contains("split: expected `train` or `test`, got dev"));
        for splits in ["", "../default", "."] {
            let options = NaturalInstructionsOptions { splits: splits.into(), ..Default::default() };
            assert!(load(&folder, &options).unwrap_err().to_string().contains("splits: expected the name of a folder"));
        }
        let control = Control::default();
        control.cancel.cancel();
        std::fs::write(folder.path().join("splits/default/train_tasks.txt"), "t").unwrap();
        let stopped = read(folder.path(), "train", LoadOptions::default(), &control);
        assert!(matches!(stopped, Err(crate::Error::Cancelled)));
    }

    #[test]
    fn real_tasks_load_where_they_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/p3-ni");
        if !folder.is_dir() {
            eprintln!("skipped: {} is not there", folder.display());
            return;
        }
        let control = Control::default();
        let train = read(&folder, "train", LoadOptions::default(), &control).unwrap();
        let test = read(&folder, "test", LoadOptions::default(), &control).unwrap();
        assert_eq!((train.by_category().len(), test.by_category().len()), (177, 42));
        let (seen, unseen) = (train.by_family(), test.by_family());
        assert!(unseen.keys().all(|family| !seen.contains_key(family)), "{:?}", unseen.keys());
        assert!(seen.len() < 40 && seen.contains_key("adversarial_qa"), "{:?}", seen.keys());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = pool.install(|| read(&folder, "train", LoadOptions::default(), &control)).unwrap();
        assert_eq!(train, again);
    }
}
