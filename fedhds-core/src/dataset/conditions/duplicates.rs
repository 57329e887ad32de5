//! `duplicates`: many records are near copies of a few.

use super::{Truth, slots};
use crate::dataset::ClientData;
use crate::types::{Record, Rng, Seed};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use std::collections::BTreeMap;

/// Records of the whole federation that are copied.
const ORIGINALS: usize = 8;

/// Wordings before an instruction.
const BEFORE: [&str; 14] = [
    "Please: ",
    "Question: ",
    "Task: ",
    "Instruction: ",
    "Request: ",
    "To do: ",
    "Hello! ",
    "Next one: ",
    "Here is a task. ",
    "Please do this. ",
    "Please help with this: ",
    "Can you do the following? ",
    "I have a request. ",
    "Please answer.\n",
];
/// Wordings behind an instruction.
const BEHIND: [&str; 6] = [" Thank you.", " Thanks!", " Please.", "\nThank you!", " Many thanks.", "\nThanks."];

/// The first records of a random order of each client, `share` of them, become near copies of a random one of 8 records of
/// all clients, which are drawn by id and so do not depend on who holds them. A copy has category, family and responses of its
/// original, and the id of the record that it replaces. The original may be replaced as well.
pub(super) fn apply(share: f64, clients: &mut [ClientData], truth: &mut Truth, seed: Seed) {
    let all: BTreeMap<&str, &Record> =
        clients.iter().flat_map(|client| &client.records).map(|record| (record.id.as_str(), record)).collect();
    let all: Vec<&Record> = all.into_values().collect();
    let drawn = slots::order(all.len(), seed.derive("originals", 0));
    let originals: Vec<Record> =
        drawn.into_iter().take(ORIGINALS).filter_map(|i| all.get(i).map(|record| (*record).clone())).collect();
    for client in clients {
        let seed = seed.derive("client", u64::from(client.client.0));
        let records = client.records.len();
        for slot in slots::order(records, seed.derive("order", 0)).into_iter().take(slots::count(share, records)) {
            let mut rng = seed.derive("slot", slot as u64).rng();
            let (Some(record), Some(original)) = (client.records.get_mut(slot), originals.choose(&mut rng)) else {
                continue;
            };
            *record = Record { id: std::mem::take(&mut record.id), ..near_copy(original, &mut rng) };
            if let Some(truth) = truth.records.get_mut(&record.id) {
                truth.task.clone_from(&original.category);
                truth.family.clone_from(&original.family);
                truth.copy_of = Some(original.id.clone());
            }
        }
    }
}

/// The record in other words, some of case, closing mark, wording and blanks changed: what leaves its answer right.
///
/// Where there is no input, the instruction holds what is asked about as well, perhaps at its end, and blanks or case may
/// belong to it; so may what stands in quotation marks. Such an instruction is changed at its edges only.
fn near_copy(original: &Record, rng: &mut Rng) -> Record {
    let mut copy = original.clone();
    let nothing_behind = original.input.trim().is_empty();
    let edges_only = nothing_behind || original.instruction.contains(['"', '\'', '`', '“', '‘', '«']);
    // Often several at once: a copy of the same original should seldom be the same to the letter.
    let [case, closing, wording, blanks] = [(); 4].map(|()| rng.random_bool(0.7));
    if case {
        copy.instruction = other_case(&copy.instruction, edges_only, rng);
    }
    if closing {
        copy.instruction = other_closing(&copy.instruction, nothing_behind, rng);
    }
    // Case and closing mark may have nothing to change; a wording or a blank always changes something.
    if wording || (!blanks && copy == *original) {
        copy.instruction = other_wording(&copy.instruction, nothing_behind, rng);
    }
    if blanks {
        other_blanks(&mut copy, edges_only, rng);
    }
    copy
}

/// The first letter in the other case, or all letters in one.
fn other_case(text: &str, edges_only: bool, rng: &mut Rng) -> String {
    match rng.random_range(0..if edges_only { 1 } else { 3 }) {
        1 => text.to_uppercase(),
        2 => text.to_lowercase(),
        _ => {
            let mut letters = text.chars();
            let Some(first) = letters.next() else { return String::new() };
            let first: String =
                if first.is_uppercase() { first.to_lowercase().collect() } else { first.to_uppercase().collect() };
            first + letters.as_str()
        }
    }
}

/// Another closing mark, or none. A text without one gets a full stop only where it is not what is asked about.
fn other_closing(text: &str, nothing_behind: bool, rng: &mut Rng) -> String {
    let (body, others): (&str, &[&str]) = match text.char_indices().last() {
        Some((at, '.')) => (text.split_at(at).0, &["", "!", ":", " ."]),
        Some((at, '?')) => (text.split_at(at).0, &["", "??", " ?"]),
        Some((at, '!')) => (text.split_at(at).0, &[".", "", "!!"]),
        Some((at, ':')) => (text.split_at(at).0, &[".", "", " :"]),
        _ if nothing_behind => (text, &[""]),
        _ => (text, &[".", ":", "!"]),
    };
    format!("{body}{}", others.choose(rng).copied().unwrap_or_default())
}

/// A wording before the text, behind it, or both.
fn other_wording(text: &str, nothing_behind: bool, rng: &mut Rng) -> String {
    let before = BEFORE.choose(rng).copied().unwrap_or_default();
    let behind = BEHIND.choose(rng).copied().unwrap_or_default();
    match rng.random_range(0..if nothing_behind { 1 } else { 3 }) {
        1 => format!("{text}{behind}"),
        2 => format!("{before}{text}{behind}"),
        _ => format!("{before}{text}"),
    }
}

/// A blank more: around the instruction, around the input, or between two words of the instruction.
fn other_blanks(record: &mut Record, edges_only: bool, rng: &mut Rng) {
    let (left, right) = ([" ", "  ", "\n"].choose(rng), [" ", "  ", "\n"].choose(rng));
    let (left, right) = (left.copied().unwrap_or_default(), right.copied().unwrap_or_default());
    let around = |text: &str, side: u32| match side {
        0 => format!("{left}{text}"),
        1 => format!("{text}{right}"),
        _ => format!("{left}{text}{right}"),
    };
    let side = rng.random_range(0..3);
    let between: Vec<usize> = record.instruction.match_indices(' ').map(|(at, _)| at).collect();
    match rng.random_range(0..3) {
        1 if !record.input.trim().is_empty() => record.input = around(&record.input, side),
        2 if !edges_only && !between.is_empty() => {
            let at = between.choose(rng).copied().unwrap_or_default();
            record.instruction.insert(at, ' ');
        }
        _ => record.instruction = around(&record.instruction, side),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn words(text: &str) -> Vec<String> {
        let word = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        text.split_whitespace().map(word).filter(|w| !w.is_empty()).collect()
    }

    #[test]
    fn a_copy_differs_and_asks_the_same() {
        let with_input = ("Count the words in the list.", "dog, cat,  Cow");
        for (instruction, input) in
            [with_input, ("Translate into Spanish: the Dog", ""), ("Write it as in \"More Than\".", "x"), ("", "Why?")]
        {
            let original = Record {
                id: "a".into(),
                instruction: instruction.into(),
                input: input.into(),
                responses: vec!["3".into(), "three".into()],
                category: "c".into(),
                family: "f".into(),
            };
            let mut forms = BTreeSet::new();
            for seed in 0..400 {
                let copy = near_copy(&original, &mut Seed(seed).rng());
                assert_ne!((&copy.instruction, &copy.input), (&original.instruction, &original.input));
                assert_eq!(copy.input.trim(), original.input);
                assert_eq!(copy.responses, original.responses);
                let (own, asked) = (words(&copy.instruction), words(instruction));
                assert!(asked.is_empty() || own.windows(asked.len()).any(|part| part == asked), "{copy:?}");
                if input.is_empty() {
                    // What is asked about stays as it is and stands last.
                    assert!(copy.instruction.trim_end().ends_with("Spanish: the Dog"), "{copy:?}");
                }
                if instruction.contains('"') {
                    assert!(copy.instruction.contains("\"More Than\""), "{copy:?}");
                }
                forms.insert((copy.instruction, copy.input));
            }
            assert!(forms.len() > 100, "{} forms of {instruction:?}", forms.len());
        }
    }
}
