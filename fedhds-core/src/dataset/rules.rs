//! Plain rules that know some bad records by their text, as pipelines that clean instruction data publish them.
//!
//! They look at one client's records and at nothing else: no model, no labels, no other client. They miss every answer that is
//! wrong and looks right; a baseline, not a judge.

use crate::types::Record;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why a record is left out. Of several the first in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An earlier record of the client has the same instruction, input and response but for case and blanks.
    Copy,
    /// More than half of the client's records, at least 4, have this one response.
    OneResponse,
    /// The response says the instruction or the input again.
    Echo,
    /// The response is a stock refusal ("As an AI", "I'm sorry, but").
    Refusal,
    /// More than half of the word triples of a response of at least 12 words come in it more than once (in the manner of Rae et al.,
    /// arXiv 2112.11446).
    Repetition,
}

impl Rule {
    /// What counts of it are called.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Copy => "copies",
            Rule::OneResponse => "one response for most",
            Rule::Echo => "echoes of the prompt",
            Rule::Refusal => "refusals",
            Rule::Repetition => "repetitions",
        }
    }
}

/// Records that must have one response before it is too many.
const LEAST_OF_ONE_RESPONSE: usize = 4;
/// Words that a response must have before repetition counts.
const LEAST_WORDS: usize = 12;
/// Words of which repetition is counted.
const WINDOW: usize = 3;

/// What a response begins with that refuses, in small letters.
const REFUSALS: [&str; 12] = [
    "as an ai",
    "as a language model",
    "as a large language model",
    "i am an ai",
    "i'm an ai",
    "i'm sorry, but",
    "i am sorry, but",
    "sorry, but i",
    "i apologize, but",
    "i cannot assist",
    "i can't assist",
    "i'm unable to",
];

/// For each record of a client the rule that leaves it out, if one does: `[n]`.
pub fn left_out(records: &[Record]) -> Vec<Option<Rule>> {
    let texts: Vec<[String; 3]> =
        records.iter().map(|r| [r.instruction.as_str(), r.input.as_str(), r.response()].map(plain)).collect();
    let mut responses = BTreeMap::<&str, usize>::new();
    for [_, _, response] in &texts {
        *responses.entry(response).or_default() += 1;
    }
    let mut seen = BTreeSet::new();
    texts
        .iter()
        .map(|text @ [instruction, input, response]| {
            let copy = !seen.insert(text);
            let same = responses.get(response.as_str()).copied().unwrap_or_default();
            let asked = [instruction.clone(), input.clone(), format!("{instruction} {input}")];
            if copy {
                Some(Rule::Copy)
            } else if same >= LEAST_OF_ONE_RESPONSE && 2 * same > records.len() {
                Some(Rule::OneResponse)
            } else if asked.contains(response) {
                Some(Rule::Echo)
            } else if REFUSALS.iter().any(|start| response.starts_with(start)) {
                Some(Rule::Refusal)
            } else {
                repeats(response).then_some(Rule::Repetition)
            }
        })
        .collect()
}

/// Small letters, one blank between words, one kind of apostrophe.
fn plain(text: &str) -> String {
    text.to_lowercase().replace('’', "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn repeats(response: &str) -> bool {
    let words: Vec<&str> = response.split(' ').collect();
    if words.len() < LEAST_WORDS {
        return false;
    }
    let mut counts = BTreeMap::<&[&str], usize>::new();
    for window in words.windows(WINDOW) {
        *counts.entry(window).or_default() += 1;
    }
    let again: usize = counts.values().filter(|count| **count > 1).sum();
    2 * again > words.len() + 1 - WINDOW
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn record(instruction: &str, input: &str, response: &str) -> Record {
        Record {
            instruction: instruction.into(),
            input: input.into(),
            responses: vec![response.into()],
            ..Record::default()
        }
    }

    #[test]
    fn each_rule_knows_its_own_and_leaves_the_rest() {
        let records = [
            record("Name the sound of a dog.", "", "woof"),
            record("name  the sound of a DOG. ", "", " Woof"),
            record("Name the sound of a dog.", "", "bark"),
            record("Say it again.", "Two words", "two  words"),
            record("Say it again.", "Two words", "Say it again. Two words"),
            record("Help.", "", "As an AI language model, I cannot."),
            record("Help me.", "", "I’m sorry, but no."),
            record("Write.", "", "the cat sat the cat sat the cat sat the cat sat on"),
            record("Write.", "", "one two three four five six seven eight nine ten eleven twelve thirteen"),
            record("Write.", "", "no no no no no no no"),
        ];
        let expected = [
            None,
            Some(Rule::Copy),
            None,
            Some(Rule::Echo),
            Some(Rule::Echo),
            Some(Rule::Refusal),
            Some(Rule::Refusal),
            Some(Rule::Repetition),
            None,
            None,
        ];
        assert_eq!(left_out(&records), expected);
        assert!(left_out(&[]).is_empty());
    }

    #[test]
    fn one_response_for_most_of_a_client_goes() {
        let client = |same: usize, others: usize| {
            let mut records: Vec<Record> = (0..same).map(|i| record(&format!("Q{i}"), "", "see above")).collect();
            records.extend((0..others).map(|i| record(&format!("R{i}"), "", &format!("a{i}"))));
            left_out(&records).into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(client(5, 4), [Rule::OneResponse; 5]);
        assert!(client(5, 5).is_empty(), "half is not most");
        assert!(client(3, 1).is_empty(), "three may be chance");
    }
}
