//! What rows of text mean: how near they are, where they lie, and that nothing but the record decides them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::text_config::TEXT_SEED;
use super::*;
use crate::error::Error;
use crate::types::Seed;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::HashSet;

fn row_in(instruction: &str, rest: &[&str], config: &TextFeaturesConfig) -> Vec<f32> {
    let mut row = vec![f32::NAN; config.dims];
    TextHasher::new(config).unwrap().row(instruction, rest, &mut row).unwrap();
    row
}

fn row(instruction: &str, rest: &[&str]) -> Vec<f32> {
    row_in(instruction, rest, &TextFeaturesConfig::default())
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The different n-grams of a text, as its definition says.
fn ngrams(part: usize, text: &str) -> HashSet<(usize, String)> {
    let words = text.split_whitespace().map(|word| format!(" {} ", word.to_lowercase()).chars().collect::<Vec<_>>());
    let of = |word: Vec<char>| {
        [3, 4]
            .iter()
            .flat_map(|&n| word.windows(n).map(|gram| gram.iter().collect()).collect::<Vec<String>>())
            .collect()
    };
    words.flat_map(|word| -> Vec<String> { of(word) }).map(|gram| (part, gram)).collect()
}

/// The cosine of two texts' n-grams, without a hash.
fn exact(a: (&str, &str), b: (&str, &str)) -> f64 {
    let [a, b] = [a, b].map(|(i, r)| &ngrams(0, i) | &ngrams(1, r));
    a.intersection(&b).count() as f64 / ((a.len() * b.len()) as f64).sqrt()
}

const PAIRS: [[(&str, &str); 2]; 5] = [
    [("Name the sound that this animal makes.", "cow moo"), ("Name the sound that this animal makes.", "sheep baa")],
    [("Name the sound that this animal makes.", "cow moo"), ("Tell me which noise comes from a cow.", "moo")],
    [("Name the capital.", "Peru Lima"), ("Add both numbers.", "seven plus three is ten")],
    [("Translate into French.", "the house la maison"), ("Translate into Spanish.", "the house la casa")],
    [("Who is the story about?", "Anna went to the park"), ("Anna went to the park", "Who is the story about?")],
];

#[test]
fn the_same_words_are_near_and_other_words_are_far() {
    let one = row("Name the sound that this animal makes.", &["a cow", "moo"]);
    assert_eq!(one, row("Name the sound that this animal makes.", &["a cow moo"]));
    assert_eq!(one, row(" NAME the\tsound that this\u{a0}animal makes.\n", &["A cow", "Moo "]));
    assert!(dot(&one, &row("name the sound that this animal makes", &["cow", "moo!"])) > 0.9);
    // A single frame is off by .09, one seed in twenty by twice as much.
    let in_frame = |seed, texts: (&str, &str)| {
        row_in(texts.0, &[texts.1], &TextFeaturesConfig { seed: Seed(seed), ..TextFeaturesConfig::default() })
    };
    let far =
        |seed| dot(&in_frame(seed, PAIRS[0][0]), &in_frame(seed, ("Wie viele Zimmer hat es?", "fünf oder sechs")));
    assert!(((0..100).map(far).sum::<f64>() / 100.0).abs() < 0.1);
    // Both parts, and which is which, count; how often a word is said does not.
    assert!(dot(&one, &row("a cow moo", &["Name the sound that this animal makes."])) < 0.35);
    assert!(dot(&one, &row("Name the sound that this animal makes.", &["a sheep", "baa"])) < 0.95);
    assert_eq!(row("no no no", &["yes"]), row("no", &["yes yes"]));
}

#[test]
fn dot_products_are_those_of_ngrams_without_bias() {
    for [a, b] in PAIRS {
        let exact = exact(a, b);
        let errors: Vec<f64> = (0..400)
            .map(|seed| {
                let config = TextFeaturesConfig { seed: Seed(seed), ..TextFeaturesConfig::default() };
                dot(&row_in(a.0, &[a.1], &config), &row_in(b.0, &[b.1], &config)) - exact
            })
            .collect();
        let mean = errors.iter().sum::<f64>() / 400.0;
        let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / 400.0).sqrt();
        // Four standard errors of the mean, and what 128 columns promise.
        assert!(mean.abs() < 4.0 * deviation / 20.0 + 0.002, "{a:?} {b:?}: {mean}");
        assert!(deviation < 1.1 / 128f64.sqrt(), "{a:?} {b:?}: {deviation}");
    }
}

#[test]
fn texts_without_words_are_zero() {
    for empty in [row("", &[]), row("", &["", ""]), row(" \n\u{2003}", &["\t"])] {
        assert!(empty.iter().all(|&value| value == 0.0));
    }
    let length = |row: &[f32]| dot(row, row);
    for short in [row("a", &[]), row("", &["?"]), row("猫", &[""]), row("", &["x", ""])] {
        assert!((length(&short) - 1.0).abs() < 1e-6);
    }
    assert_ne!(row("a", &[]), row("", &["a"]));
}

#[test]
fn characters_count_and_not_bytes() {
    assert_eq!(row("ÜBER ЁЛКА ΟΔΟΣ", &[]), row("über ёлка οδος", &[]));
    // Beyond what 16 bits hold, and characters whose low bits agree.
    assert!(dot(&row("🦊🦊🦊", &[]), &row("𝔞𝔟𝔠", &[])).abs() < 0.5);
    assert!(dot(&row("\u{10061}b\u{10063}", &[]), &row("abc", &[])) < 0.5);
    let long = "ä".repeat(100_000) + &"b".repeat(100_000);
    assert!((dot(&row(&long, &[]), &row(&long, &[])) - 1.0).abs() < 1e-6);
}

#[test]
fn rows_are_those_of_the_reference() {
    #[derive(Deserialize)]
    struct Case {
        instruction: String,
        rest: Vec<String>,
        dims: usize,
        seed: Seed,
        row: Vec<f32>,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/fixtures/text/rows.json")).unwrap();
    assert_eq!((cases[0].dims, cases[0].seed), (TextFeaturesConfig::default().dims, TEXT_SEED));
    for case in cases {
        let rest: Vec<&str> = case.rest.iter().map(String::as_str).collect();
        let found = row_in(&case.instruction, &rest, &TextFeaturesConfig { dims: case.dims, seed: case.seed });
        assert!(found.iter().zip(&case.row).all(|(a, b)| (a - b).abs() < 1e-6), "{}", case.instruction);
    }
}

fn records(count: usize) -> Vec<Record> {
    let record = |i: usize| Record {
        id: i.to_string(),
        instruction: format!("Question {i}: what is {i} + {}?", i % 7),
        input: ["", "a table", "ein Tisch für zwei"][i % 3].into(),
        responses: vec![(i + i % 7).to_string(), "another".into()],
        ..Record::default()
    };
    (0..count).map(record).collect()
}

#[test]
fn a_record_has_its_row_whoever_else_is_there() {
    let features = TextFeatures::new(TextFeaturesConfig::default()).unwrap();
    let records = records(100);
    let all = features.extract(&records, None, &Context::new(1)).unwrap();
    for (i, record) in records.iter().enumerate() {
        assert_eq!(all.row(i), row(&record.instruction, &[&record.input, record.response()]), "{i}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| features.extract(&records, None, &Context::new(2)).unwrap()), all);
    }
    assert_eq!(features.extract(&[], None, &Context::new(1)).unwrap(), Matrix::zeros(0, 128));
    assert!(features.is_frozen());
    let context = Context::new(1);
    context.control.cancel.cancel();
    assert!(matches!(features.extract(&records, None, &context), Err(Error::Cancelled)));
}

#[test]
fn prompts_are_told_by_instruction_or_where_that_is_one_by_category() {
    let features = TextFeatures::new(TextFeaturesConfig::default()).unwrap();
    let control = Control::default();
    let mut own = records(20);
    for (i, record) in own.iter_mut().enumerate() {
        record.category = ["sums", "chess"][i % 2].into();
        record.instruction = ["Add the numbers of the list.", "Which move is best for white?"][i / 3 % 2].into();
    }
    let rows = features.prompts(&own, &control).unwrap();
    assert!(own.iter().enumerate().all(|(i, record)| rows.row(i) == row(&record.instruction, &[])));
    // One instruction for all.
    let same = ["Read the text and answer the question.", "Please: read the text and  answer the question"];
    own.iter_mut().enumerate().for_each(|(i, record)| record.instruction = same[i / 7 % 2].into());
    let rows = features.prompts(&own, &control).unwrap();
    assert!(own.iter().enumerate().all(|(i, record)| rows.row(i) == row(&record.category, &[])));
    assert!(dot(rows.row(0), rows.row(1)) < 0.5 && dot(rows.row(0), rows.row(2)) > 0.99);
    // Without categories nothing tells topics apart.
    own.iter_mut().for_each(|record| record.category.clear());
    let rows = features.prompts(&own, &control).unwrap();
    assert!(rows.as_slice().iter().all(|&value| value == 0.0));
    assert_eq!(features.prompts(&[], &control).unwrap(), Matrix::zeros(0, 128));
}

#[test]
fn settings_tell_themselves() {
    let of = |dims, seed| TextFeatures::new(TextFeaturesConfig { dims, seed: Seed(seed) });
    let names = [of(128, 1), of(64, 1), of(128, 2)].map(|features| features.unwrap().fingerprint());
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(names[0], "text-1-128-1");
    assert_ne!(row_in("a fox", &[], of(128, 1).unwrap().config()), row_in("a fox", &[], of(128, 2).unwrap().config()));
    let error = |dims| of(dims, 0).unwrap_err().to_string();
    assert_eq!(error(3), "dims: expected a whole number from 4 to 4096, got 3");
    assert_eq!(error(4097), "dims: expected a whole number from 4 to 4096, got 4097");
    assert!(of(4, 0).is_ok() && of(4096, 0).is_ok());
    assert_eq!(toml::from_str::<TextFeaturesConfig>("").unwrap(), TextFeaturesConfig::default());
    assert!(toml::from_str::<TextFeaturesConfig>("columns = 1").is_err());
    let short = TextFeatures::new(TextFeaturesConfig::default()).unwrap().hasher().row("a", &[], &mut [0.0; 64]);
    assert_eq!(short.unwrap_err().to_string(), "row of text features: expected 128 values, got 64");
}

proptest! {
    #[test]
    fn every_text_has_a_row(instruction in any::<String>(), input in any::<String>(), dims in 4usize..200) {
        let config = TextFeaturesConfig { dims, ..TextFeaturesConfig::default() };
        let found = row_in(&instruction, &[&input], &config);
        let length = dot(&found, &found);
        prop_assert!((length - 1.0).abs() < 1e-5 || found.iter().all(|&value| value == 0.0));
        let spaced = format!(" {}\n", instruction.replace(' ', " \t"));
        prop_assert_eq!(&found, &row_in(&spaced, &["", &input, ""], &config));
    }

    #[test]
    fn any_order_of_words_is_the_same_row(mut words in prop::collection::vec("[a-zé]{1,6}", 1..20)) {
        let text = words.join(" ");
        words.reverse();
        prop_assert_eq!(row(&text, &[]), row(&words.join("  "), &[]));
    }
}

/// Of the embedded tasks' records, dealt to twenty clients, the share whose nearest record on another client is of the same task, and of
/// the same family: .965 and 1 for the n-grams themselves (docs/text_features.md).
#[cfg(feature = "experiment")]
#[test]
fn nearest_records_of_other_clients_are_of_the_same_task() {
    let (train, _) = crate::dataset::embedded::EmbeddedTasks::default().generate().unwrap();
    let features = TextFeatures::new(TextFeaturesConfig::default()).unwrap();
    let rows = features.extract(&train.records, None, &Context::new(1)).unwrap();
    let client = |i: usize| Seed(5).derive("client", i as u64).0 % 20;
    let (mut task, mut family, mut asked) = (0, 0, 0);
    for (i, record) in train.records.iter().enumerate().step_by(7) {
        let others = (0..rows.rows()).filter(|&j| client(j) != client(i));
        let likeness = |j: usize| dot(rows.row(i), rows.row(j));
        let nearest = others.max_by(|&a, &b| likeness(a).total_cmp(&likeness(b))).unwrap();
        task += usize::from(train.records[nearest].category == record.category);
        family += usize::from(train.records[nearest].family == record.family);
        asked += 1;
    }
    let share = |count: usize| count as f64 / asked as f64;
    assert!(share(task) > 0.9 && share(family) > 0.98, "{} {}", share(task), share(family));
}
