//! Questions that are made up rather than looked up in a table: numbers, lists, groups of words.

use super::lexicon::{Lexicon, with_article};
use super::skills::{Item, Skill};
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const NUMBERS: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// A word of a list; empty from an empty list.
pub(super) fn pick<'a, T: AsRef<str>>(words: &'a [T], rng: &mut Rng) -> &'a str {
    words.choose(rng).map_or("", AsRef::as_ref)
}

/// A day of the week.
pub(super) fn day(rng: &mut Rng) -> &'static str {
    pick::<&'static str>(&DAYS, rng)
}

/// A chance of one in two.
pub(super) fn coin(rng: &mut Rng) -> bool {
    rng.random_range(0..2) == 0
}

pub(super) fn bigger_animal(rng: &mut Rng) -> Item {
    let sizes = Lexicon::shipped().pairs("animals", "name", "size");
    loop {
        let (a, b) = (sizes.choose(rng), sizes.choose(rng));
        let Some(((a, size_a), (b, size_b))) = a.zip(b) else { return Item::new("", "") };
        let (x, y) = (size_a.parse::<i32>().unwrap_or_default(), size_b.parse::<i32>().unwrap_or_default());
        if (x - y).abs() >= 2 {
            return Item::new(format!("{a}, {b}"), if x > y { *a } else { *b });
        }
    }
}

pub(super) fn unit_count(rng: &mut Rng) -> Item {
    let units = Lexicon::shipped().groups("units");
    match units.choose(rng).map(Vec::as_slice) {
        Some([large, small, factor]) => Item::new(format!("{small} in {}", with_article(large)), factor.as_str()),
        _ => Item::new("", ""),
    }
}

pub(super) fn category(skill: Skill, rng: &mut Rng) -> Item {
    let mut groups: Vec<&[String]> =
        Lexicon::shipped().groups("categories").iter().filter(|g| g.len() > 3).map(Vec::as_slice).collect();
    groups.shuffle(rng);
    let [Some((name, members)), Some((other_name, others))] =
        [0, 1].map(|i| groups.get(i).and_then(|g| g.split_first()))
    else {
        return Item::new("", "");
    };
    match skill {
        Skill::ExampleOf => {
            let mut responses = members.to_vec();
            responses.shuffle(rng);
            Item { input: name.clone(), responses }
        }
        Skill::OddOneOut => {
            let odd = pick(others, rng).to_owned();
            let mut words: Vec<String> = members.sample(rng, 3).cloned().collect();
            words.insert(rng.random_range(0..=words.len()), odd.clone());
            Item::new(words.join(", "), odd)
        }
        Skill::IsMember => {
            let (word, answer) = if coin(rng) { (pick(members, rng), "yes") } else { (pick(others, rng), "no") };
            Item::new(format!("{word}, {name}"), answer)
        }
        _ => {
            // Both groups serve here only so that the draw stays uniform over groups.
            let (name, members) = if coin(rng) { (name, members) } else { (other_name, others) };
            Item::new(pick(members, rng), name.as_str())
        }
    }
}

pub(super) fn rhyme(skill: Skill, rng: &mut Rng) -> Item {
    let groups = Lexicon::shipped().groups("rhymes");
    let [Some(group), Some(other)] = [groups.choose(rng), groups.choose(rng)] else { return Item::new("", "") };
    let mut words = group.clone();
    words.shuffle(rng);
    let word = words.pop().unwrap_or_default();
    if skill == Skill::Rhyme {
        return Item { input: word, responses: words };
    }
    if coin(rng) || group == other {
        Item::new(format!("{word}, {}", pick(&words, rng)), "yes")
    } else {
        Item::new(format!("{word}, {}", pick(other, rng)), "no")
    }
}

pub(super) fn number(skill: Skill, rng: &mut Rng) -> Item {
    let (a, b) = (rng.random_range(1..=10usize), rng.random_range(1..=10usize));
    match skill {
        Skill::Add => Item::new(format!("{a} + {b}"), (a + b).to_string()),
        Skill::Subtract => Item::new(format!("{} - {b}", a + b), a.to_string()),
        Skill::Double => {
            let a = rng.random_range(1..=20);
            Item::new(a.to_string(), (2 * a).to_string())
        }
        Skill::LargerNumber => {
            let a = rng.random_range(1..=60);
            let b = (a + rng.random_range(0..59)) % 60 + 1;
            Item::new(format!("{a}, {b}"), a.max(b).to_string())
        }
        Skill::NextNumber => {
            let (start, step) = (rng.random_range(1..=12), *[1, 1, 2, 2, 3, 5, 10].choose(rng).unwrap_or(&1));
            let terms: Vec<String> = (0..4).map(|i| (start + i * step).to_string()).collect();
            Item::new(terms.join(", "), (start + 4 * step).to_string())
        }
        _ => {
            let value = rng.random_range(0..NUMBERS.len());
            let word = NUMBERS.get(value).copied().unwrap_or_default();
            if skill == Skill::NumberWord {
                Item::new(value.to_string(), word)
            } else {
                Item::new(word, value.to_string())
            }
        }
    }
}

pub(super) fn sequence(skill: Skill, rng: &mut Rng) -> Item {
    if skill == Skill::NextLetter {
        let letter = rng.random_range(b'A'..=b'Y');
        return Item::new((letter as char).to_string(), ((letter + 1) as char).to_string());
    }
    let (words, step): (&[&str], usize) = match skill {
        Skill::NextDay => (&DAYS, 1),
        Skill::PreviousDay => (&DAYS, DAYS.len() - 1),
        _ => (&MONTHS, 1),
    };
    let at = rng.random_range(0..words.len());
    let word = |i: usize| words.get(i % words.len()).copied().unwrap_or_default();
    Item::new(word(at), word(at + step))
}

pub(super) fn list(skill: Skill, rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let mut all: Vec<&str> =
        lexicon.groups("categories").iter().skip(rng.random_range(0..4)).flatten().map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    let count = match skill {
        Skill::CountWords => rng.random_range(2..=6),
        Skill::ReverseList | Skill::SortList => 3,
        _ => rng.random_range(3..=5),
    };
    let words: Vec<&str> = all.sample(rng, count).copied().collect();
    let input = words.join(", ");
    let at = |i: usize| words.get(i).copied().unwrap_or_default().to_owned();
    let response = match skill {
        Skill::CountWords => count.to_string(),
        Skill::FirstWord => at(0),
        Skill::SecondWord => at(1),
        Skill::LastWord => at(count - 1),
        Skill::ReverseList => words.iter().rev().copied().collect::<Vec<_>>().join(", "),
        Skill::SortList => {
            let mut sorted = words.clone();
            sorted.sort_unstable();
            sorted.join(", ")
        }
        Skill::JoinAnd => {
            let head = words.get(..count - 1).unwrap_or_default().join(", ");
            format!("{head} and {}", at(count - 1))
        }
        _ => {
            let longest = words.iter().map(|w| w.len()).max().unwrap_or_default();
            // One word must be the longest, or the question has no answer.
            if words.iter().filter(|w| w.len() == longest).count() > 1 {
                return list(skill, rng);
            }
            words.iter().find(|w| w.len() == longest).copied().unwrap_or_default().to_owned()
        }
    };
    Item::new(input, response)
}
