//! Sentences that are changed, and a question on a short text.

use super::place;
use crate::dataset::embedded::lexicon::{Lexicon, with_article};
use crate::dataset::embedded::questions::{coin, day, pick};
use crate::dataset::embedded::skills::{Item, Skill};
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

/// Verbs that make a sentence without an object.
const ALONE: [&str; 20] = [
    "walk", "play", "jump", "cook", "paint", "clean", "dance", "smile", "bake", "run", "eat", "write", "sing", "swim",
    "drive", "fly", "read", "speak", "come", "draw",
];
/// Things, and adjectives that say something of them.
const DESCRIBED: [(&str, &[&str]); 8] = [
    ("room", &["cold", "dark", "clean", "dirty", "quiet", "small", "big"]),
    ("car", &["fast", "slow", "old", "new", "expensive", "dirty"]),
    ("street", &["long", "narrow", "wide", "quiet", "noisy"]),
    ("man", &["tall", "happy", "rich", "strong", "kind", "polite", "sad"]),
    ("dog", &["big", "small", "old", "fast", "lazy"]),
    ("house", &["old", "big", "small", "beautiful", "cold"]),
    ("river", &["deep", "wide", "long", "cold"]),
    ("soup", &["hot", "cold", "good", "bad"]),
];
/// Names of girls as well as of boys.
const EITHER: [&str; 2] = ["Sam", "Max"];

pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Option<Item> {
    Some(match skill {
        Skill::WhoHas => who_has(rng),
        Skill::FutureSentence => future_sentence(rng),
        Skill::VerySentence => very_sentence(rng),
        Skill::PronounSentence => pronoun_sentence(rng),
        Skill::Affirm => affirm(rng),
        _ => return None,
    })
}

fn who_has(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let mut names: Vec<&String> = lexicon.list("girls").iter().chain(lexicon.list("boys")).collect();
    let mut objects = lexicon.column("objects", "singular");
    names.shuffle(rng);
    objects.shuffle(rng);
    let ([a, b, ..], [x, y, ..]) = (names.as_slice(), objects.as_slice()) else { return Item::new("", "") };
    let does = pick(&["has", "bought", "found", "lost"], rng);
    let between = pick(&[". ", " and "], rng);
    let (name, thing) = if coin(rng) { (a, x) } else { (b, y) };
    let text = format!("{a} {does} {}{between}{b} {does} {}.", with_article(x), with_article(y));
    Item::new(format!("{text} Who {does} the {thing}?"), name.as_str())
}

fn future_sentence(rng: &mut Rng) -> Item {
    let (who, verb) = (pick(&["I", "We", "They", "You"], rng), pick(&ALONE, rng));
    let end = pick(&["", " every day", " with Anna", " with Tom", " in the morning", " on Sunday"], rng);
    Item::new(format!("{who} {verb}{end}."), format!("{who} will {verb}{end}."))
}

fn very_sentence(rng: &mut Rng) -> Item {
    let (thing, words) = DESCRIBED.choose(rng).copied().unwrap_or_default();
    let word = pick(words, rng);
    let begin = pick(&["The {} is", "The {} was", "I think the {} is"], rng).replace("{}", thing);
    Item::new(format!("{begin} {word}."), format!("{begin} very {word}."))
}

fn pronoun_sentence(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let (names, she) = if coin(rng) { ("girls", "She") } else { ("boys", "He") };
    let names: Vec<&String> = lexicon.list(names).iter().filter(|name| !EITHER.contains(&name.as_str())).collect();
    let (place, objects) = (place(rng), lexicon.column("objects", "plural"));
    let rest = match rng.random_range(0..4) {
        0 => format!("went to the {place} on {}.", day(rng)),
        1 => format!("was at the {place}."),
        2 => format!("has {} {}.", rng.random_range(2..=12), pick(&objects, rng)),
        _ => format!("likes {}.", pick(&["tea", "milk", "music", "football", "cats", "dogs", "snow"], rng)),
    };
    Item::new(format!("{} {rest}", pick(&names, rng)), format!("{she} {rest}"))
}

fn affirm(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let name = pick(lexicon.list(if coin(rng) { "girls" } else { "boys" }), rng);
    let objects = lexicon.column("objects", "plural");
    let (not, so) = match rng.random_range(0..4) {
        0 => {
            let (verb, third) =
                [("like", "likes"), ("want", "wants"), ("buy", "buys")].choose(rng).copied().unwrap_or_default();
            let thing = pick(&objects, rng);
            (format!("does not {verb} {thing}"), format!("{third} {thing}"))
        }
        1 => {
            let state = pick(&["happy", "sad", "tired", "busy", "rich"], rng);
            (format!("is not {state}"), format!("is {state}"))
        }
        2 => {
            let place = place(rng);
            (format!("was not at the {place}"), format!("was at the {place}"))
        }
        _ => {
            let thing = pick(&objects, rng);
            (format!("cannot see the {thing}"), format!("can see the {thing}"))
        }
    };
    Item::new(format!("{name} {not}."), format!("{name} {so}."))
}
