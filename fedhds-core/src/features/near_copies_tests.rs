//! Which records are copies and which are not, and that every copy is found wherever it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::types::{Rng, Seed};
use proptest::prelude::*;
use rand::seq::IndexedRandom as _;

type Texts<'a> = (&'a str, &'a str, &'a str);

fn groups_with(config: NearCopiesConfig, records: &[Texts<'_>]) -> Vec<usize> {
    let mut copies = NearCopies::new(config).unwrap();
    records.iter().for_each(|(instruction, input, response)| copies.add(instruction, input, response));
    copies.groups().unwrap()
}

fn copies(a: Texts<'_>, b: Texts<'_>) -> bool {
    let forth = groups_with(NearCopiesConfig::default(), &[a, b]);
    assert_eq!(forth, groups_with(NearCopiesConfig::default(), &[b, a]), "{a:?} {b:?}");
    forth == [0, 0]
}

#[test]
fn blanks_case_punctuation_and_templates_make_copies() {
    let record = ("Name the sound of this animal.", "cow", "moo");
    for copy in [
        ("  name the SOUND of this\n animal", " Cow.", "Moo!"),
        ("Please: name the sound of this animal", "cow", "moo"),
        ("Question: Name the sound of this animal. Answer:", "cow", "moo"),
        ("Could you kindly name the sound of this animal?", "cow", "moo"),
        ("Here is a task for you: name the sound of this animal.", "cow", "moo"),
        ("### Instruction:\nName the sound of this animal.\n### Response:", "Input: cow", "moo"),
        ("Name the sound of this animal. Thank you very much!", "\"cow\"", "moo"),
        // The input within the instruction.
        ("Name the sound of this animal.\ncow", "", "moo"),
        ("Please: name the sound of this animal: cow", "", "moo"),
    ] {
        assert!(copies(record, copy), "{copy:?}");
    }
    // Two lead-ins and no original: the input says which question it is.
    assert!(copies(
        ("Dear assistant, one question. Name the sound of this animal.", "cow", "moo"),
        ("I am in a hurry! Name the sound of this animal. Response:", "cow", "moo"),
    ));
}

#[test]
fn another_question_or_answer_is_no_copy() {
    let record = ("Name the sound of this animal.", "cow", "moo");
    for other in [
        ("Name the sound of this animal.", "cow", "mooo"),
        ("Name the sound of this animal.", "calf", "moo"),
        ("Name the sound of this animal.", "", "moo"),
        ("Name the noise of this animal.", "cow", "moo"),
        ("Name the sound of this animal.", "cow, calf", "moo"),
    ] {
        assert!(!copies(record, other), "{other:?}");
    }
    // One wording with another argument, long and with the same answer.
    for (a, b) in [
        (
            "You are given a country: on which continent does Peru lie?",
            "You are given a country: on which continent does Chile lie?",
        ),
        ("Peru. Which continent is it on?", "Chile. Which continent is it on?"),
        ("Lion: mammal or bird or fish?", "Tiger: mammal or bird or fish?"),
        ("What is 2 + 0?", "What is 2 - 0?"),
        ("Classify the animal: lion", "Classify the animal: tiger"),
    ] {
        assert!(!copies((a, "", "south america"), (b, "", "south america")), "{a} {b}");
    }
    // One template around two questions.
    for template in
        [["Here is a task for you: ", ""], ["So: ", ""], ["", " Now go on. And answer."], ["Hello. ", " Thank you!"]]
    {
        let [one, other] = ["Name the continent of the country.", "Place the country on its continent."]
            .map(|question| [template[0], question, template[1]].concat());
        assert!(!copies((&one, "Germany", "Europe"), (&other, "Germany", "Europe")), "{template:?}");
    }
    // Too much was added to be a template.
    assert!(!copies(("Say it", "x", "y"), ("Would you kindly say it", "x", "y")));
    assert!(!copies(
        ("Name one big animal please now", "x", "y"),
        ("In a wood far away, one two three: name one big animal please now", "x", "y")
    ));
    assert!(!copies(("", "", "."), ("", "", "!")));
    assert!(copies(("", "", ""), (" ", "\n", "")));
}

#[test]
fn settings_say_what_counts() {
    let config = |extra_words, words: &[&str]| NearCopiesConfig {
        extra_words,
        template_words: words.iter().map(|word| String::from(*word)).collect(),
    };
    let pair = [("Bitte nenne den Laut", "", "muh"), ("Frage: nenne den Laut", "", "muh")];
    assert_eq!(groups_with(config(6, &["bitte", "Frage:"]), &pair), [0, 0]);
    assert_eq!(groups_with(config(6, &[]), &pair), [0, 1]);
    let pair = [("Bitte nenne den Laut", "", "muh"), ("nenne den Laut", "", "muh")];
    assert_eq!(groups_with(config(1, &[]), &pair), [0, 0]);
    assert_eq!(groups_with(config(0, &[]), &pair), [0, 1]);
    let says = |config: NearCopiesConfig| NearCopies::new(config).unwrap_err().to_string();
    assert_eq!(says(config(17, &[])), "extra_words: expected a whole number from 0 to 16, got 17");
    assert_eq!(says(config(1, &["of it"])), "template_words: expected words without blanks, got `of it`");
    assert_eq!(says(config(1, &[""])), "template_words: expected words without blanks, got ``");
    assert_eq!(toml::from_str::<NearCopiesConfig>("").unwrap(), NearCopiesConfig::default());
    assert!(toml::from_str::<NearCopiesConfig>("threshold = 0.7").is_err());
}

#[test]
fn groups_are_closed_dense_and_in_order() {
    let all = [
        ("One two three", "", "x"),
        ("So: tell me. Four five six seven", "", "y"),
        ("Well then, four five six seven", "", "y"),
        ("one two THREE", "", "x"),
        ("Eight", "", "z"),
        ("four five six seven", "", "y"),
    ];
    assert_eq!(groups_with(NearCopiesConfig::default(), &all), [0, 1, 1, 0, 2, 1]);
    // The bare question alone holds its two templates together.
    assert_eq!(groups_with(NearCopiesConfig::default(), &all[..5]), [0, 1, 2, 0, 3]);
    assert_eq!(groups_with(NearCopiesConfig::default(), &[]), [0; 0]);
    assert!(NearCopies::new(NearCopiesConfig::default()).unwrap().is_empty());
}

#[test]
fn records_are_read_like_texts_at_any_number_of_threads() {
    let originals = questions(300);
    let (records, _) = with_copies(&originals, 700, Seed(3));
    let mut one_by_one = NearCopies::new(NearCopiesConfig::default()).unwrap();
    records.iter().for_each(|r| one_by_one.add(&r.instruction, &r.input, r.response()));
    let groups = one_by_one.groups().unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = || near_copies(&records, NearCopiesConfig::default(), &Control::default()).unwrap();
        assert_eq!(pool.install(found), groups);
    }
    let control = Control::default();
    control.cancel.cancel();
    assert!(matches!(near_copies(&records, NearCopiesConfig::default(), &control), Err(Error::Cancelled)));
}

/// Questions of a few wordings about many things; a third have their argument in the instruction.
fn questions(count: usize) -> Vec<Record> {
    let wordings = [
        "Name the colour of it.",
        "State where you would look for the given thing.",
        "Is this one heavy? Say yes or no.",
    ];
    let question = |i: usize| {
        let thing = format!("thing{}", i / 3);
        let (instruction, input) = match i % 6 {
            0 => (format!("Tell me the use of {thing} in a house."), String::new()),
            2 => (format!("What is {thing} made of?"), String::new()),
            other => (wordings[other % 3].to_string(), thing),
        };
        let responses = vec![["yes", "no"][i / 3 % 2].into()];
        Record { id: i.to_string(), instruction, input, responses, ..Record::default() }
    };
    (0..count).map(question).collect()
}

const LEAD_INS: [&str; 12] = [
    "Please: ",
    "Question: ",
    "Task: ",
    "Instruction:\n",
    "Please answer: ",
    "Here is a task for you: ",
    "I need your help. ",
    "Q: ",
    "Could you please ",
    "### Instruction:\n",
    "Hello! ",
    "Next one - ",
];
const CLOSINGS: [&str; 6] = [" Answer:", "\nResponse:", " Thank you!", " Please.", "\n### Response:", " A:"];

/// A copy that asks the same: other blanks, case, punctuation, template.
fn copy(record: &Record, rng: &mut Rng) -> Record {
    let mut copy = record.clone();
    copy.id = format!("copy of {} {}", record.id, rng.random::<u32>());
    for _ in 0..rng.random_range(1..=3) {
        match rng.random_range(0..7) {
            0 => copy.instruction = copy.instruction.replace(' ', "  "),
            1 => copy.instruction = copy.instruction.to_lowercase(),
            2 => copy.instruction = copy.instruction.trim_end_matches(['.', '?']).to_string(),
            3 => copy.instruction += "!",
            4 => copy.input = format!(" {} \n", copy.input.to_uppercase()),
            5 => copy.responses[0] += ".",
            _ => {
                let mut chars = copy.responses[0].chars();
                copy.responses[0] =
                    chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default() + chars.as_str();
            }
        }
    }
    if rng.random_range(0..3) > 0 {
        copy.instruction.insert_str(0, LEAD_INS.choose(rng).unwrap());
    }
    if rng.random_range(0..3) == 0 {
        copy.instruction += CLOSINGS.choose(rng).unwrap();
    }
    copy
}

/// The originals and `count` copies of random ones behind them, with the number of each one's original.
fn with_copies(originals: &[Record], count: usize, seed: Seed) -> (Vec<Record>, Vec<usize>) {
    let mut rng = seed.rng();
    let (mut records, mut of) = (originals.to_vec(), (0..originals.len()).collect::<Vec<_>>());
    for _ in 0..count {
        let original = rng.random_range(0..originals.len());
        records.push(copy(&originals[original], &mut rng));
        of.push(original);
    }
    (records, of)
}

/// Of the pairs of copies of one original, the share found; and how many records share a group with a copy of another original.
fn measure(records: &[Record], of: &[usize]) -> (f64, usize) {
    let groups = near_copies(records, NearCopiesConfig::default(), &Control::default()).unwrap();
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut found: HashMap<(usize, usize), f64> = HashMap::new();
    let mut all: HashMap<usize, f64> = HashMap::new();
    for (&group, &original) in groups.iter().zip(of) {
        members.entry(group).or_default().push(original);
        *found.entry((group, original)).or_default() += 1.0;
        *all.entry(original).or_default() += 1.0;
    }
    let pairs = |counts: Vec<f64>| counts.iter().map(|n| n * (n - 1.0) / 2.0).sum::<f64>();
    let share = pairs(found.into_values().collect()) / pairs(all.into_values().collect());
    let mixed = members.values().filter(|group| group.iter().any(|original| *original != group[0]));
    (share, mixed.map(Vec::len).sum())
}

#[test]
fn copies_among_thousands_are_found() {
    let originals = questions(3000);
    let clean = near_copies(&originals, NearCopiesConfig::default(), &Control::default()).unwrap();
    assert_eq!(clean, (0..3000).collect::<Vec<_>>());
    let (records, of) = with_copies(&originals, 9000, Seed(1));
    let (share, mixed) = measure(&records, &of);
    assert!(share > 0.95 && mixed == 0, "{share} {mixed}");
}

/// The figures of docs/text_features.md: nothing of the clean data falls away, and copies are found with their originals or without.
#[cfg(feature = "experiment")]
#[test]
fn the_embedded_tasks_keep_their_records_and_lose_their_copies() {
    for seed in 1..=2 {
        let tasks = crate::dataset::embedded::EmbeddedTasks { seed, ..Default::default() };
        let (train, _) = tasks.generate().unwrap();
        let clean = near_copies(&train.records, NearCopiesConfig::default(), &Control::default()).unwrap();
        assert_eq!(clean, (0..train.records.len()).collect::<Vec<_>>());
        let (records, of) = with_copies(&train.records, 3 * train.records.len(), Seed(seed));
        let with = measure(&records, &of);
        let without = measure(&records[train.records.len()..], &of[train.records.len()..]);
        assert!(with.0 > 0.95 && with.1 == 0, "{with:?}");
        assert!(without.0 > 0.93 && without.1 == 0, "{without:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_copy_of_itself_and_of_its_spacing(a in any::<String>(), b in any::<String>(), c in any::<String>()) {
        let spaced = |text: &str| format!(" {} ", text.replace(' ', " \t "));
        let (x, y, z) = (spaced(&a), spaced(&b), spaced(&c));
        let records = [(&*a, &*b, &*c), (&x, &y, &z), (&a, &b, "another answer")];
        let groups = groups_with(NearCopiesConfig::default(), &records);
        prop_assert_eq!(&groups[..2], &[0, 0]);
        prop_assert_eq!(groups[2] == 1, NormalForm::words(&c) != NormalForm::words("another answer"));
    }
}
