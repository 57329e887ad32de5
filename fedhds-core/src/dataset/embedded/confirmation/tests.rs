use crate::dataset::embedded::lexicon::Lexicon;
use crate::dataset::embedded::skills::{Item, Skill};
use crate::dataset::embedded::tasks::{self, Split};
use crate::dataset::embedded::{EmbeddedTasks, TestTasks};
use crate::types::{Record, Seed};
use std::collections::{BTreeMap, BTreeSet};

fn draws(skill: Skill) -> Vec<Item> {
    let mut rng = Seed(5).rng();
    (0..3000).map(|_| skill.draw(&mut rng)).collect()
}

fn generate(records: usize) -> Vec<Record> {
    let tasks = EmbeddedTasks {
        test_tasks: TestTasks::Confirmation,
        test_records_per_task: records,
        ..EmbeddedTasks::default()
    };
    tasks.generate().unwrap().1.records
}

/// What is asked of a skill that asks few things, and every right answer.
const EXAMPLES: &[(Skill, &str, &[&str])] = &[
    (Skill::AnimalOfSound, "moo", &["cow"]),
    (Skill::AnimalOfSound, "hiss", &["snake", "cat", "goose"]),
    (Skill::ThingOfColour, "pink", &["flamingo", "pig", "salmon"]),
    (Skill::ThingOfColour, "orange", &["carrot", "pumpkin", "tiger"]),
    (Skill::CountryOfLanguage, "German", &["Germany", "Austria"]),
    (Skill::CountryOfLanguage, "Swedish", &["Sweden", "Finland"]),
    (Skill::JobOfTool, "drill", &["dentist", "builder", "carpenter"]),
    (Skill::JobOfTool, "chalk", &["teacher"]),
    (Skill::JobOfTask, "bakes bread", &["baker"]),
    (Skill::JobOfTask, "cares for patients", &["nurse", "doctor"]),
    (Skill::ThingOfUse, "giving light", &["lamp", "candle"]),
    (Skill::ThingOfUse, "cutting", &["knife", "scissors", "saw"]),
    (Skill::Masculine, "queen", &["king"]),
    (Skill::Masculine, "hen", &["rooster", "cock"]),
    (Skill::FromSpanish, "perro", &["dog"]),
    (Skill::FromSpanish, "grande", &["big", "large"]),
    (Skill::UnitOfCount, "60 minutes", &["hour", "an hour"]),
    (Skill::UnitOfCount, "100 cents", &["euro", "a euro"]),
    (Skill::Half, "14", &["7"]),
    (Skill::Half, "40", &["20"]),
    (Skill::PreviousMonth, "January", &["December"]),
    (Skill::PreviousMonth, "March", &["February"]),
    (Skill::SmallerAnimal, "cow, bee", &["bee"]),
    (Skill::SmallerAnimal, "mouse, elephant", &["mouse"]),
    (Skill::SameKind, "salmon, shark", &["yes"]),
    (Skill::SameKind, "bee, ant", &["yes"]),
    (Skill::IsCapital, "Paris, France", &["yes"]),
    (Skill::IsCapital, "Mexico City, Mexico", &["yes"]),
    (Skill::MadeOf, "bread, flour", &["yes"]),
    (Skill::MadeOf, "window, wool", &["no"]),
    (Skill::CountedPlural, "3, child", &["3 children"]),
    (Skill::CountedPlural, "12, knife", &["12 knives"]),
    (Skill::CountDown, "8, 6, 4, 2", &["0"]),
    (Skill::CountDown, "40, 30, 20, 10", &["0"]),
    (Skill::FutureSentence, "We swim every day.", &["We will swim every day."]),
    (Skill::FutureSentence, "I sing.", &["I will sing."]),
    (Skill::VerySentence, "The soup is hot.", &["The soup is very hot."]),
    (Skill::VerySentence, "I think the car is fast.", &["I think the car is very fast."]),
    (Skill::PronounSentence, "Anna likes tea.", &["She likes tea."]),
    (Skill::PronounSentence, "Tom was at the zoo.", &["He was at the zoo."]),
    (Skill::Affirm, "Anna is not happy.", &["Anna is happy."]),
    (Skill::Affirm, "Ben was not at the park.", &["Ben was at the park."]),
];

#[test]
fn answers_to_examples_are_right() {
    let mut drawn: BTreeMap<Skill, Vec<Item>> = BTreeMap::new();
    for (skill, input, responses) in EXAMPLES {
        let items = drawn.entry(*skill).or_insert_with(|| draws(*skill));
        let item = items.iter().find(|item| item.input == *input);
        let item = item.unwrap_or_else(|| panic!("{skill:?} never asks {input}"));
        assert_eq!(item.responses, *responses, "{skill:?}: {input}");
    }
}

/// Words of a list, and the answer of the skill to it.
fn lists(skill: Skill) -> Vec<(Vec<String>, String)> {
    let words = |item: &Item| item.input.split(", ").map(str::to_owned).collect();
    draws(skill).iter().map(|item| (words(item), item.response().to_owned())).collect()
}

#[test]
fn lists_are_changed_by_their_rule() {
    for (words, response) in lists(Skill::ThirdWord) {
        assert_eq!(response, words[2]);
    }
    for (words, response) in lists(Skill::ShortestWord) {
        assert!(words.iter().all(|word| *word == response || word.chars().count() > response.chars().count()));
    }
    for (words, response) in lists(Skill::JoinOr) {
        assert_eq!(response.replace(" or ", ", "), words.join(", "));
        assert!(response.ends_with(&format!(" or {}", words[words.len() - 1])), "{response}");
    }
    for (words, response) in lists(Skill::DropFirst) {
        assert_eq!(format!("{}, {response}", words[0]), words.join(", "));
    }
    for (words, response) in lists(Skill::CategoryOfList) {
        let groups = Lexicon::shipped().groups("categories");
        let group = groups.iter().find(|group| group[0] == response).unwrap();
        assert!(words.len() == 3 && words.iter().all(|word| group[1..].contains(word)), "{words:?}: {response}");
    }
}

#[test]
fn numbers_are_right() {
    let number = |text: &str| text.parse::<i32>().unwrap();
    for (words, response) in lists(Skill::SmallerNumber) {
        let (a, b) = (number(&words[0]), number(&words[1]));
        assert!(a != b && number(&response) == a.min(b), "{words:?}: {response}");
    }
    for (words, response) in lists(Skill::CountDown) {
        let terms: Vec<i32> = words.iter().map(|word| number(word)).chain([number(&response)]).collect();
        assert!(
            terms.windows(2).all(|pair| pair[0] - pair[1] == terms[0] - terms[1] && pair[1] < pair[0] && pair[1] >= 0)
        );
    }
    for item in draws(Skill::SubtractStory) {
        let numbers: Vec<i32> = item.input.split([' ', '.']).filter_map(|word| word.parse().ok()).collect();
        assert_eq!(number(item.response()), numbers[0] - numbers[1], "{}", item.input);
        assert!(number(item.response()) >= 1, "{}", item.input);
    }
}

#[test]
fn of_two_the_right_one_is_named() {
    let lexicon = Lexicon::shipped();
    let continents: BTreeMap<&str, &str> = lexicon.pairs("countries", "name", "continent").into_iter().collect();
    for item in draws(Skill::CountryOnContinent) {
        let (continent, countries) = item.input.split_once(": ").unwrap();
        let on: Vec<&str> = countries.split(", ").filter(|country| continents[country] == continent).collect();
        assert_eq!(on, [item.response()], "{}", item.input);
    }
    for item in draws(Skill::WhoHas) {
        let (text, question) = item.input.split_once(" Who ").unwrap();
        let thing = question.trim_end_matches('?').split_once(" the ").unwrap().1;
        let part = text
            .split(". ")
            .flat_map(|part| part.split(" and "))
            .find(|part| part.trim_end_matches('.').ends_with(thing));
        assert!(part.unwrap().starts_with(item.response()), "{}", item.input);
    }
    for (animals, response) in lists(Skill::SmallerAnimal) {
        assert!(animals.contains(&response) && animals[0] != animals[1]);
    }
}

#[test]
fn yes_and_no_are_right_and_as_frequent() {
    let lexicon = Lexicon::shipped();
    let kinds: BTreeMap<&str, &str> = lexicon.pairs("animals", "name", "kind").into_iter().collect();
    let capitals = lexicon.pairs("countries", "capital", "name");
    let materials = lexicon.pairs("materials", "thing", "material");
    for skill in [Skill::SameKind, Skill::IsCapital, Skill::MadeOf] {
        let items = draws(skill);
        for item in &items {
            let (first, second) = item.input.split_once(", ").unwrap();
            let holds = match skill {
                Skill::SameKind => first != second && kinds[first] == kinds[second],
                Skill::IsCapital => capitals.contains(&(first, second)),
                _ => materials.contains(&(first, second)),
            };
            assert_eq!(item.response(), if holds { "yes" } else { "no" }, "{skill:?}: {}", item.input);
        }
        let yes = items.iter().filter(|item| item.response() == "yes").count();
        assert!((1300..1700).contains(&yes), "{skill:?}: {yes}");
    }
}

#[test]
fn every_confirmation_task_has_its_records() {
    let tasks = tasks::all().iter().filter(|task| task.split == Split::Confirmation);
    let names: BTreeSet<&str> = tasks.map(|task| task.name.as_str()).collect();
    assert!(names.len() >= 25, "{}", names.len());
    // Twice the default: no task is at its end.
    let records = generate(30);
    let mut asked: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for record in &records {
        asked.entry(&record.category).or_default().insert((&record.instruction, &record.input));
        assert!(record.responses.iter().all(|response| !response.trim().is_empty()), "{record:?}");
        let different: BTreeSet<&String> = record.responses.iter().collect();
        assert_eq!(different.len(), record.responses.len(), "{record:?}");
    }
    assert_eq!(asked.keys().copied().collect::<BTreeSet<_>>(), names);
    assert!(asked.values().all(|asked| asked.len() == 30));
}

/// What was confirmed on these records stays confirmed only on the same ones.
#[test]
fn the_records_stay_as_they_are() {
    let hash = blake3::hash(&serde_json::to_vec(&generate(15)).unwrap()).to_hex().to_string();
    assert_eq!(hash, "81c21fb38e663f934d13943c6e09eb6fb6a1aaea4431e033fb70243269063f92");
}

#[test]
fn articles_are_right() {
    for record in generate(30) {
        let texts = [&record.instruction, &record.input].into_iter().chain(&record.responses);
        let words: Vec<&str> = texts.flat_map(|text| text.split([' ', '.', ',', '?', '"'])).collect();
        for pair in words.windows(2) {
            let vowel = pair[1].starts_with(['a', 'e', 'i', 'o']) || pair[1] == "uncle";
            let [vowel, sounds_otherwise] = [vowel, ["hour", "euro"].contains(&pair[1])];
            match pair[0] {
                "a" | "A" => assert_eq!(vowel, sounds_otherwise, "{record:?}"),
                "an" | "An" => assert_ne!(vowel, sounds_otherwise, "{record:?}"),
                _ => {}
            }
        }
    }
}
