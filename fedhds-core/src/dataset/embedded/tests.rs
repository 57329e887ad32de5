use super::skills::Skill;
use super::*;
use std::collections::BTreeMap;

struct Data {
    train: Vec<Record>,
    test: Vec<Record>,
}

fn data() -> Data {
    let every = EmbeddedTasks { test_tasks: TestTasks::All, ..EmbeddedTasks::default() };
    let (train, test) = every.generate().unwrap();
    Data { train: train.records, test: test.records }
}

#[test]
fn counts_are_as_asked() {
    let data = data();
    assert!(data.train.len() >= 2000, "{}", data.train.len());
    assert!(data.test.len() >= 15 * (15 + 25), "{}", data.test.len());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    data.train.iter().for_each(|record| *counts.entry(&record.category).or_default() += 1);
    assert!(counts.len() >= 40 && counts.values().all(|count| *count == 30), "{counts:?}");
    let few = EmbeddedTasks { tasks: Some(5), records_per_task: 7, ..EmbeddedTasks::default() };
    assert_eq!(few.generate().unwrap().0.len(), 35);
}

#[test]
fn a_seed_decides_every_record() {
    assert_eq!(EmbeddedTasks::default().generate().unwrap(), EmbeddedTasks::default().generate().unwrap());
    let (other, _) = EmbeddedTasks { seed: 2, ..EmbeddedTasks::default() }.generate().unwrap();
    assert_ne!(data().train, other.records);
}

/// Results are compared across versions: a task or a skill more leaves every older record as it is.
#[test]
fn older_records_stay_as_they_are() {
    let hash = |records: &[Record]| blake3::hash(&serde_json::to_vec(records).unwrap()).to_hex().to_string();
    let (train, test) = EmbeddedTasks::default().generate().unwrap();
    assert_eq!(hash(&train.records), "57642d23be7078c7b5c7d76b29a6a9ac97f267fccb2b23371a90ae6a909bc001");
    assert_eq!(hash(&test.records), "41d0892246e451d368a14e713ac41f82eb18f2c89842354597730352695153d6");
    let written = serde_json::to_string(&EmbeddedTasks::default()).unwrap();
    assert_eq!(written, r#"{"seed":1,"tasks":null,"records_per_task":30,"test_records_per_task":15}"#);
}

#[test]
fn the_test_tasks_are_those_asked_for() {
    let test = |test_tasks| EmbeddedTasks { test_tasks, ..EmbeddedTasks::default() }.generate().unwrap();
    let [development, confirmation, all] = [TestTasks::Development, TestTasks::Confirmation, TestTasks::All].map(test);
    assert_eq!(development.0, confirmation.0);
    assert_eq!([development.1.records, confirmation.1.records].concat(), all.1.records);
    let read: EmbeddedTasks = serde_json::from_str(r#"{"test_tasks": "confirmation"}"#).unwrap();
    assert_eq!(read, EmbeddedTasks { test_tasks: TestTasks::Confirmation, ..EmbeddedTasks::default() });
    assert_eq!(serde_json::from_str::<EmbeddedTasks>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    let wrong = crate::parse::from_json::<EmbeddedTasks>("json", r#"{"test_tasks": "confirm"}"#).unwrap_err();
    assert!(wrong.to_string().contains("`development`, `confirmation`, `all`"), "{wrong}");
    assert!(wrong.to_string().contains("`confirm`"), "{wrong}");
}

#[test]
fn records_are_whole_and_short() {
    let data = data();
    let mut ids = BTreeSet::new();
    for record in data.train.iter().chain(&data.test) {
        assert!(ids.insert(&record.id), "{} twice", record.id);
        assert!(!record.instruction.is_empty() && !record.responses.is_empty(), "{record:?}");
        assert!(record.responses.iter().all(|r| !r.trim().is_empty() && !r.contains('{')), "{record:?}");
        assert!(!record.input.contains('{') && !record.instruction.contains('{'), "{record:?}");
        assert!(record.instruction.len() + record.input.len() + record.response().len() < 320, "{record:?}");
    }
}

#[test]
fn no_test_task_is_a_train_task() {
    let data = data();
    let train: BTreeSet<_> = data.train.iter().map(|r| &r.category).collect();
    assert!(data.test.iter().all(|r| !train.contains(&r.category)));
    let asked: BTreeSet<_> = data.train.iter().map(|r| (&r.instruction, &r.input)).collect();
    assert!(data.test.iter().all(|r| !asked.contains(&(&r.instruction, &r.input))));
}

/// Word sets of two records that agree by at least this much make them near-duplicates (Jaccard index).
const NEAR: f64 = 0.6;

fn near_duplicates<'a>(records: &[&'a Record], same_task: bool) -> f64 {
    let words = |r: &'a Record| -> BTreeSet<&'a str> {
        r.instruction
            .split_whitespace()
            .chain(r.input.split_whitespace())
            .chain(r.response().split_whitespace())
            .collect()
    };
    let sets: Vec<_> = records.iter().map(|r| words(r)).collect();
    let near = (0..records.len()).filter(|&i| {
        (0..records.len()).any(|j| {
            let both = sets[i].intersection(&sets[j]).count() as f64;
            i != j
                && (records[i].category == records[j].category) == same_task
                && both / (sets[i].len() + sets[j].len()) as f64 * (1.0 + NEAR) >= NEAR
        })
    });
    near.count() as f64 / records.len() as f64
}

#[test]
fn redundancy_is_real() {
    let data = data();
    let records: Vec<&Record> = data.train.iter().collect();
    let within = near_duplicates(&records, true);
    assert!(within > 0.6, "{within}");
    // The same question and answer comes up in more than one record, in other words.
    let mut facts: BTreeMap<(&str, Skill, &str), usize> = BTreeMap::new();
    let mut families: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in &data.train {
        let task = tasks::all().iter().find(|task| task.name == record.category).unwrap();
        *facts
            .entry((&record.family, task.skill, record.response().split_whitespace().last().unwrap()))
            .or_default() += 1;
        families.entry(&record.family).or_default().insert(&record.category);
    }
    let repeated: usize = facts.values().filter(|count| **count > 1).sum();
    assert!(repeated as f64 > 0.6 * data.train.len() as f64, "{repeated}");
    let shared: usize = families.values().filter(|tasks| tasks.len() > 1).map(BTreeSet::len).sum();
    assert!(shared >= 40, "{families:?}");
}

#[test]
fn answers_are_right() {
    let mut rng = Seed(3).rng();
    for _ in 0..200 {
        let item = Skill::Subtract.draw(&mut rng);
        let (a, b) = item.input.split_once(" - ").unwrap();
        assert_eq!(item.response(), (a.parse::<i32>().unwrap() - b.parse::<i32>().unwrap()).to_string());
        let item = Skill::SortList.draw(&mut rng);
        let mut words: Vec<_> = item.input.split(", ").collect();
        words.sort_unstable();
        assert_eq!(item.response(), words.join(", "));
        let item = Skill::StoryWhat.draw(&mut rng);
        assert!(item.input.contains(item.response()), "{item:?}");
        let item = Skill::NextNumber.draw(&mut rng);
        let terms: Vec<i32> = item.input.split(", ").map(|term| term.parse().unwrap()).collect();
        assert_eq!(item.response(), (2 * terms[3] - terms[2]).to_string());
        let item = Skill::OddOneOut.draw(&mut rng);
        assert!(item.input.split(", ").any(|word| word == item.response()), "{item:?}");
    }
}

#[test]
fn every_skill_has_many_items() {
    for skill in Skill::ALL {
        let mut rng = Seed(9).rng();
        let items: BTreeSet<_> =
            (0..400).map(|_| skill.draw(&mut rng)).map(|i| (i.input.clone(), i.response().to_owned())).collect();
        assert!(items.len() >= 7, "{skill:?} has {} items", items.len());
        assert!(items.iter().all(|(input, response)| !input.is_empty() && !response.is_empty()), "{skill:?}");
    }
}

#[test]
fn what_cannot_be_generated_is_an_error() {
    let error = EmbeddedTasks { records_per_task: 5000, ..EmbeddedTasks::default() }.generate().unwrap_err();
    assert!(error.to_string().contains("animal_sound"), "{error}");
    assert!(EmbeddedTasks { tasks: Some(0), ..EmbeddedTasks::default() }.generate().is_err());
    assert!(EmbeddedTasks { tasks: Some(1000), ..EmbeddedTasks::default() }.generate().is_err());
    assert!(EmbeddedTasks { records_per_task: 0, ..EmbeddedTasks::default() }.generate().is_err());
}
