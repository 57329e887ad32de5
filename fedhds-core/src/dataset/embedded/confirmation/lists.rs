//! Lists of words, and words that are counted.

use crate::dataset::embedded::lexicon::Lexicon;
use crate::dataset::embedded::skills::{Item, Skill};
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Option<Item> {
    Some(match skill {
        Skill::ThirdWord | Skill::ShortestWord | Skill::JoinOr | Skill::DropFirst => list(skill, rng),
        Skill::CategoryOfList => category_of_list(rng),
        Skill::CountedPlural => counted_plural(rng),
        _ => return None,
    })
}

fn list(skill: Skill, rng: &mut Rng) -> Item {
    let groups = Lexicon::shipped().groups("categories").iter();
    let mut all: Vec<&str> = groups.flat_map(|group| group.iter().skip(1)).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    loop {
        let count = rng.random_range(3..=5);
        let words: Vec<&str> = all.sample(rng, count).copied().collect();
        let [first, rest @ ..] = words.as_slice() else { return Item::new("", "") };
        let (Some(third), Some((last, head))) = (words.get(2), words.split_last()) else { return Item::new("", "") };
        let response = match skill {
            Skill::ThirdWord => (*third).to_owned(),
            Skill::JoinOr => format!("{} or {last}", head.join(", ")),
            Skill::DropFirst => rest.join(", "),
            _ => {
                let shortest = rest.iter().fold(*first, |a, b| if b.len() < a.len() { b } else { a });
                // One word must be the shortest, or the question has no answer.
                if words.iter().filter(|word| word.len() == shortest.len()).count() > 1 {
                    continue;
                }
                shortest.to_owned()
            }
        };
        return Item::new(words.join(", "), response);
    }
}

fn category_of_list(rng: &mut Rng) -> Item {
    let groups = Lexicon::shipped().groups("categories");
    let Some((name, members)) = groups.choose(rng).and_then(|group| group.split_first()) else {
        return Item::new("", "");
    };
    let words: Vec<&str> = members.sample(rng, 3).map(String::as_str).collect();
    Item::new(words.join(", "), name.as_str())
}

fn counted_plural(rng: &mut Rng) -> Item {
    let pairs = Lexicon::shipped().pairs("plurals", "singular", "plural");
    let (singular, plural) = pairs.choose(rng).copied().unwrap_or_default();
    let count = rng.random_range(2..=12);
    Item::new(format!("{count}, {singular}"), format!("{count} {plural}"))
}
