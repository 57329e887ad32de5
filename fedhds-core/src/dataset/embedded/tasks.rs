//! The tasks of `tasks.txt`: a skill, worded as instructions.

use super::lexicon::{capitalised, with_article};
use super::skills::{Item, Skill};
use crate::types::Record;
use std::sync::LazyLock;

/// Whether a task is tuned on or only tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// A task of the clients.
    Train,
    /// A task that no client has.
    Test,
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

static TASKS: LazyLock<Vec<Task>> = LazyLock::new(|| parse(include_str!("tasks.txt")));

/// Every task, train and test, in the file's order.
pub fn all() -> &'static [Task] {
    &TASKS
}

/// Headings that do not read `[train|test] name family Skill` are left out; a test counts them.
fn parse(text: &str) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if let [split, name, family, skill] = cells[..]
                && let Some(skill) = Skill::named(skill)
            {
                tasks.push(Task {
                    name: name.to_owned(),
                    family: family.to_owned(),
                    split: if split == "[train]" { Split::Train } else { Split::Test },
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
        let headings = include_str!("tasks.txt").lines().filter(|line| line.starts_with('[')).count();
        assert_eq!(all().len(), headings);
        assert!(all().iter().filter(|t| t.split == Split::Train).count() >= 40);
        assert!(all().iter().filter(|t| t.split == Split::Test).count() >= 8);
        assert_eq!(all().iter().map(|t| &t.name).collect::<BTreeSet<_>>().len(), headings);
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
    fn test_tasks_share_neither_skill_nor_wording_with_train_tasks() {
        let of = |split: Split| all().iter().filter(move |t| t.split == split);
        let skills: BTreeSet<_> = of(Split::Train).map(|t| t.skill).collect();
        let wordings: BTreeSet<_> = of(Split::Train).flat_map(|t| &t.instructions).collect();
        for task in of(Split::Test) {
            assert!(!skills.contains(&task.skill), "{}", task.name);
            assert!(task.instructions.iter().all(|i| !wordings.contains(i)), "{}", task.name);
        }
    }
}
