//! The tasks of `tasks.txt` and `confirmation.txt`: a skill, worded as instructions.

use super::lexicon::{capitalised, with_article};
use super::skills::{Item, Skill};
use crate::types::Record;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Whether a task is tuned on or only tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// A task of the clients.
    Train,
    /// A task that no client has, looked at while the method was developed.
    Test,
    /// A task that no client has, kept to confirm what was found on the others.
    Confirmation,
}

impl Split {
    fn named(name: &str) -> Option<Split> {
        match name {
            "train" => Some(Split::Train),
            "test" => Some(Split::Test),
            "confirm" => Some(Split::Confirmation),
            _ => None,
        }
    }
}

/// Which of the tasks that no client has are tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestTasks {
    /// Those of [`Split::Test`], on which choices are made.
    #[default]
    Development,
    /// Those of [`Split::Confirmation`], on which a choice that was made is confirmed.
    Confirmation,
    /// Both, the former first.
    All,
}

impl TestTasks {
    /// Whether the tasks of a split are among them.
    pub fn hold(self, split: Split) -> bool {
        match split {
            Split::Train => false,
            Split::Test => self != TestTasks::Confirmation,
            Split::Confirmation => self != TestTasks::Development,
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == TestTasks::default()
    }
}

/// A skill with the instructions that ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Unique; the records' category.
    pub name: String,
    /// What the task shares with others; the records' family.
    pub family: String,
    /// Tuned on, or only tested on.
    pub split: Split,
    /// What is asked for.
    pub skill: Skill,
    /// Wordings with `{x}`, `{ax}`, or neither where what is asked about is the record's input.
    pub instructions: Vec<String>,
    /// How the response is worded, with `{y}`.
    pub answer: String,
}

static TASKS: LazyLock<Vec<Task>> = LazyLock::new(|| FILES.iter().flat_map(|text| parse(text)).collect());

const FILES: [&str; 2] = [include_str!("tasks.txt"), include_str!("confirmation.txt")];

/// Every task, train, test and confirmation, in the order of the files.
pub fn all() -> &'static [Task] {
    &TASKS
}

/// Headings that do not read `[train|test|confirm] name family Skill` are left out; a test counts them.
fn parse(text: &str) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if let [split, name, family, skill] = cells[..]
                && let Some(split) = split.strip_prefix('[').and_then(|s| s.strip_suffix(']')).and_then(Split::named)
                && let Some(skill) = Skill::named(skill)
            {
                tasks.push(Task {
                    name: name.to_owned(),
                    family: family.to_owned(),
                    split,
                    skill,
                    instructions: Vec::new(),
                    answer: "{y}".to_owned(),
                });
            }
        } else if let Some(task) = tasks.last_mut() {
            match line.strip_prefix("= ") {
                Some(answer) => task.answer = answer.to_owned(),
                None => task.instructions.push(line.to_owned()),
            }
        }
    }
    tasks
}

/// A wording with what is asked about and the answer filled in.
pub fn fill(wording: &str, input: &str, response: &str) -> String {
    wording
        .replace("{ax}", &with_article(input))
        .replace("{Ax}", &capitalised(&with_article(input)))
        .replace("{X}", &capitalised(input))
        .replace("{x}", input)
        .replace("{ay}", &with_article(response))
        .replace("{y}", response)
}

impl Task {
    /// The record that words `item` with one of the instructions; `id` names it.
    pub(super) fn record(&self, id: String, item: &Item, instruction: &str) -> Record {
        let inlined = instruction.contains("{x}") || instruction.contains("{ax}");
        Record {
            id,
            instruction: fill(instruction, &item.input, ""),
            input: if inlined { String::new() } else { item.input.clone() },
            responses: item.responses.iter().map(|response| fill(&self.answer, &item.input, response)).collect(),
            category: self.name.clone(),
            family: self.family.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_heading_is_read() {
        let lines = FILES.iter().flat_map(|text| text.lines());
        let headings: Vec<&str> = lines.filter(|line| line.starts_with('[')).collect();
        assert_eq!(all().len(), headings.len());
        for (split, heading, least) in
            [(Split::Train, "[train] ", 40), (Split::Test, "[test] ", 8), (Split::Confirmation, "[confirm] ", 25)]
        {
            let tasks = all().iter().filter(|t| t.split == split).count();
            assert!(tasks >= least, "{split:?}: {tasks}");
            assert_eq!(headings.iter().filter(|line| line.starts_with(heading)).count(), tasks, "{split:?}");
        }
        assert_eq!(all().iter().map(|t| &t.name).collect::<BTreeSet<_>>().len(), all().len());
    }

    #[test]
    fn wordings_are_whole() {
        for task in all() {
            assert!(task.instructions.len() >= 2, "{} has {} wordings", task.name, task.instructions.len());
            assert!(task.answer.contains("{y}"), "{}", task.name);
            for instruction in &task.instructions {
                let filled = fill(instruction, "cat", "");
                assert!(!filled.contains('{') && !filled.contains('}'), "{filled}");
                assert!(instruction.ends_with(['.', '?', '!']), "{instruction}");
            }
        }
    }

    #[test]
    fn tasks_of_two_splits_share_neither_skill_nor_wording() {
        let of = |split: Split| all().iter().filter(move |t| t.split == split);
        for (split, others) in [(Split::Test, &[Split::Train][..]), (Split::Confirmation, &[Split::Train, Split::Test])]
        {
            let others = || others.iter().flat_map(|other| of(*other));
            let skills: BTreeSet<_> = others().map(|t| t.skill).collect();
            let wordings: BTreeSet<_> = others().flat_map(|t| &t.instructions).collect();
            for task in of(split) {
                assert!(!skills.contains(&task.skill), "{}", task.name);
                assert!(task.instructions.iter().all(|i| !wordings.contains(i)), "{}", task.name);
            }
        }
        let skills: BTreeSet<_> = of(Split::Confirmation).map(|t| t.skill).collect();
        assert_eq!(skills.len(), of(Split::Confirmation).count());
        assert!(skills.iter().all(|skill| !Skill::PRETRAINED.contains(skill)));
    }

    #[test]
    fn test_tasks_are_those_of_their_splits() {
        let held = |tasks: TestTasks| [Split::Train, Split::Test, Split::Confirmation].map(|split| tasks.hold(split));
        assert_eq!(held(TestTasks::Development), [false, true, false]);
        assert_eq!(held(TestTasks::Confirmation), [false, false, true]);
        assert_eq!(held(TestTasks::All), [false, true, true]);
    }
}
