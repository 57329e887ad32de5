//! Facts the other way round, and facts to check.

use crate::dataset::embedded::lexicon::{Lexicon, with_article};
use crate::dataset::embedded::questions::coin;
use crate::dataset::embedded::skills::{Item, Skill};
use crate::types::Rng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use std::collections::BTreeSet;

/// Answers that are right as well and that the asked row of the lexicon does not name.
type Also = &'static [(&'static str, &'static str)];

const SOUNDS: Also = &[
    ("honk", "swan"),
    ("roar", "tiger"),
    ("roar", "bear"),
    ("howl", "dog"),
    ("hiss", "cat"),
    ("hiss", "goose"),
    ("squeak", "bat"),
    ("bleat", "sheep"),
    ("chatter", "squirrel"),
];
/// Sounds of so many animals that none is the usual one.
const SHARED_SOUNDS: [&str; 7] = ["bark", "growl", "screech", "scream", "song", "squeal", "yelp"];
const COLOURS: Also = &[
    ("red", "rose"),
    ("yellow", "sunflower"),
    ("yellow", "cheese"),
    ("green", "apple"),
    ("green", "pear"),
    ("green", "cabbage"),
    ("blue", "sea"),
    ("purple", "grape"),
    ("brown", "potato"),
    ("white", "paper"),
    ("grey", "stone"),
];
const LANGUAGES: Also = &[("French", "Canada"), ("Swedish", "Finland"), ("English", "Kenya")];
/// Countries on two continents.
const ON_TWO_CONTINENTS: [&str; 2] = ["Russia", "Egypt"];
const TOOLS: Also = &[
    ("stethoscope", "nurse"),
    ("bandage", "doctor"),
    ("pan", "baker"),
    ("oven", "cook"),
    ("hammer", "builder"),
    ("drill", "carpenter"),
    ("scissors", "tailor"),
    ("book", "teacher"),
    ("book", "writer"),
    ("pen", "teacher"),
    ("helmet", "firefighter"),
    ("helmet", "builder"),
    ("hose", "gardener"),
    ("rake", "farmer"),
    ("rope", "firefighter"),
];
const WORK: Also = &[("cares for patients", "doctor"), ("serves food", "waitress"), ("plays roles", "actress")];
const USES: Also = &[
    ("cutting", "scissors"),
    ("cutting", "saw"),
    ("writing", "pencil"),
    ("writing", "chalk"),
    ("sweeping", "brush"),
    ("eating", "fork"),
    ("telling time", "watch"),
    ("drinking", "glass"),
    ("digging", "spade"),
    ("carrying things", "basket"),
    ("tidying hair", "brush"),
    ("crossing water", "ship"),
    ("climbing", "rope"),
];
const MALES: Also = &[("hen", "cock"), ("lady", "lord"), ("bride", "bridegroom")];
const ENGLISH: Also = &[
    ("pequeno", "little"),
    ("grande", "large"),
    ("calle", "road"),
    ("casa", "home"),
    ("ciudad", "town"),
    ("mar", "ocean"),
];

/// Things, and what they are never made of: one of the hard ones of the soft materials, one of the soft ones of the hard.
const NEVER_MADE_OF: [(&[&str], &[&str]); 2] = [
    (
        &["table", "window", "coin", "wall", "bottle", "ring", "door", "sword", "nail", "bucket", "chair", "mirror"],
        &["wool", "flour", "milk"],
    ),
    (&["shirt", "sock", "scarf", "sweater", "bread", "cheese", "newspaper", "book"], &["steel", "brick", "glass"]),
];

pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Option<Item> {
    Some(match skill {
        Skill::AnimalOfSound => reversed(&[("animals", "sound", "name")], SOUNDS, &SHARED_SOUNDS, rng),
        Skill::ThingOfColour => {
            reversed(&[("colours", "colour", "thing"), ("animals", "colour", "name")], COLOURS, &[], rng)
        }
        Skill::CountryOfLanguage => reversed(&[("countries", "language", "name")], LANGUAGES, &[], rng),
        Skill::JobOfTool => reversed(&[("jobs", "tool", "name")], TOOLS, &[], rng),
        Skill::JobOfTask => reversed(&[("jobs", "task", "name")], WORK, &[], rng),
        Skill::ThingOfUse => reversed(&[("uses", "use", "thing")], USES, &[], rng),
        Skill::Masculine => reversed(&[("genders", "female", "male")], MALES, &[], rng),
        Skill::FromSpanish => reversed(&[("translations", "spanish", "word")], ENGLISH, &[], rng),
        Skill::SmallerAnimal => smaller_animal(rng),
        Skill::SameKind => same_kind(rng),
        Skill::CountryOnContinent => country_on_continent(rng),
        Skill::IsCapital => is_capital(rng),
        Skill::MadeOf => made_of(rng),
        Skill::UnitOfCount => unit_of_count(rng),
        _ => return None,
    })
}

/// Asks for everything that has a value in one of the tables, as often for a value of one row as for one of many.
fn reversed(tables: &[(&str, &str, &str)], also: Also, without: &[&str], rng: &mut Rng) -> Item {
    let pairs: Vec<_> = tables.iter().flat_map(|(table, from, to)| Lexicon::shipped().pairs(table, from, to)).collect();
    let asked: BTreeSet<&str> = pairs.iter().map(|(from, _)| *from).filter(|from| !without.contains(from)).collect();
    let input = one(&asked.into_iter().collect::<Vec<_>>(), rng);
    let mut responses: Vec<String> = Vec::new();
    for (_, to) in pairs.iter().chain(also).filter(|(from, _)| *from == input) {
        if !responses.iter().any(|response| response == to) {
            responses.push((*to).to_owned());
        }
    }
    Item { input: input.to_owned(), responses }
}

fn one<'a>(words: &[&'a str], rng: &mut Rng) -> &'a str {
    words.choose(rng).copied().unwrap_or_default()
}

fn yes_or_no(input: String, yes: bool) -> Item {
    Item::new(input, if yes { "yes" } else { "no" })
}

/// Two animals of which one is clearly smaller: the sizes of the lexicon are rough.
fn smaller_animal(rng: &mut Rng) -> Item {
    let sizes = Lexicon::shipped().pairs("animals", "name", "size");
    loop {
        let Some(((a, size_a), (b, size_b))) = sizes.choose(rng).zip(sizes.choose(rng)) else {
            return Item::new("", "");
        };
        let (x, y) = (size_a.parse::<i32>().unwrap_or_default(), size_b.parse::<i32>().unwrap_or_default());
        if (x - y).abs() >= 3 {
            return Item::new(format!("{a}, {b}"), if x < y { *a } else { *b });
        }
    }
}

fn same_kind(rng: &mut Rng) -> Item {
    let pairs = Lexicon::shipped().pairs("animals", "name", "kind");
    let mut kinds = ["mammal", "bird", "fish", "insect", "reptile"];
    kinds.shuffle(rng);
    let [kind, other, ..] = kinds;
    let of = |kind: &str| pairs.iter().filter(|(_, k)| *k == kind).map(|(name, _)| *name).collect::<Vec<_>>();
    let mut animals = of(kind);
    animals.shuffle(rng);
    let first = animals.pop().unwrap_or_default();
    let same = coin(rng);
    let second = if same { animals.pop().unwrap_or_default() } else { one(&of(other), rng) };
    yes_or_no(format!("{first}, {second}"), same)
}

fn country_on_continent(rng: &mut Rng) -> Item {
    let mut pairs = Lexicon::shipped().pairs("countries", "name", "continent");
    pairs.retain(|(country, _)| !ON_TWO_CONTINENTS.contains(country));
    let mut continents = ["Europe", "Asia", "Africa", "America"];
    continents.shuffle(rng);
    let [continent, other, ..] = continents;
    let of = |continent: &str| pairs.iter().filter(|(_, c)| *c == continent).map(|(name, _)| *name).collect::<Vec<_>>();
    let country = one(&of(continent), rng);
    let elsewhere = one(&of(other), rng);
    let (first, second) = if coin(rng) { (country, elsewhere) } else { (elsewhere, country) };
    Item::new(format!("{continent}: {first}, {second}"), country)
}

fn is_capital(rng: &mut Rng) -> Item {
    let mut pairs = Lexicon::shipped().pairs("countries", "capital", "name");
    pairs.shuffle(rng);
    let [(capital, country), (_, other), ..] = pairs[..] else { return Item::new("", "") };
    let yes = coin(rng);
    yes_or_no(format!("{capital}, {}", if yes { country } else { other }), yes)
}

fn made_of(rng: &mut Rng) -> Item {
    let yes = coin(rng);
    let (thing, material) = if yes {
        Lexicon::shipped().pairs("materials", "thing", "material").choose(rng).copied().unwrap_or_default()
    } else {
        let (things, materials) = NEVER_MADE_OF.choose(rng).copied().unwrap_or_default();
        (one(things, rng), one(materials, rng))
    };
    yes_or_no(format!("{thing}, {material}"), yes)
}

fn unit_of_count(rng: &mut Rng) -> Item {
    match Lexicon::shipped().groups("units").choose(rng).map(Vec::as_slice) {
        Some([large, small, count]) => {
            Item { input: format!("{count} {small}"), responses: vec![large.clone(), with_article(large)] }
        }
        _ => Item::new("", ""),
    }
}
