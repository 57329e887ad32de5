//! Numbers, and months in their order.

use super::place;
use crate::dataset::embedded::lexicon::{Lexicon, capitalised};
use crate::dataset::embedded::questions::{MONTHS, coin, pick};
use crate::dataset::embedded::skills::{Item, Skill};
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Option<Item> {
    Some(match skill {
        Skill::SmallerNumber => smaller_number(rng),
        Skill::CountDown => count_down(rng),
        Skill::Half => {
            let half = rng.random_range(1..=20);
            Item::new((2 * half).to_string(), half.to_string())
        }
        Skill::SubtractStory => subtract_story(rng),
        Skill::PreviousMonth => previous_month(rng),
        _ => return None,
    })
}

fn smaller_number(rng: &mut Rng) -> Item {
    let smaller = rng.random_range(1..60);
    let larger = rng.random_range(smaller + 1..=60);
    let input = if coin(rng) { format!("{smaller}, {larger}") } else { format!("{larger}, {smaller}") };
    Item::new(input, smaller.to_string())
}

fn count_down(rng: &mut Rng) -> Item {
    let (last, step) = (rng.random_range(0..=12), *[1, 1, 2, 2, 3, 5, 10].choose(rng).unwrap_or(&1));
    let terms: Vec<String> = (1..=4).rev().map(|i| (last + i * step).to_string()).collect();
    Item::new(terms.join(", "), last.to_string())
}

fn subtract_story(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let (names, she) = if coin(rng) { ("girls", "she") } else { ("boys", "he") };
    let friends = if names == "girls" { "boys" } else { "girls" };
    let (left, fewer) = (rng.random_range(1..=10), rng.random_range(2..=9));
    let template = pick(
        &[
            "{name} had {a} {objects} and lost {b} of them.",
            "{name} had {a} {objects}. {She} gave {b} of them to {friend}.",
            "There were {a} {objects} at the {place}. {name} took {b} of them away.",
        ],
        rng,
    );
    let text = template
        .replace("{name}", pick(lexicon.list(names), rng))
        .replace("{friend}", pick(lexicon.list(friends), rng))
        .replace("{She}", &capitalised(she))
        .replace("{place}", place(rng))
        .replace("{objects}", pick(&lexicon.column("objects", "plural"), rng))
        .replace("{a}", &(left + fewer).to_string())
        .replace("{b}", &fewer.to_string());
    Item::new(text, left.to_string())
}

fn previous_month(rng: &mut Rng) -> Item {
    let at = rng.random_range(0..MONTHS.len());
    let month = |at: usize| MONTHS.get(at % MONTHS.len()).copied().unwrap_or_default();
    Item::new(month(at), month(at + MONTHS.len() - 1))
}
