//! The skills of the confirmation tasks (`confirmation.txt`).
//!
//! The pretraining corpus has none of them. What they ask follows from facts and words that it has: a fact the other way round,
//! a fact to check, a list, number or sentence changed by a rule that no other task asks for.

mod facts;
mod lists;
mod numbers;
mod sentences;

use super::lexicon::Lexicon;
use super::skills::{Item, Skill};
use crate::types::Rng;
use rand::seq::IndexedRandom as _;

/// Places of the lexicon that one is in, not at.
const INSIDE: [&str; 4] = ["garden", "forest", "village", "mountain"];

/// Draws an item; none of a skill that is not of these tasks, and then nothing is drawn.
pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Option<Item> {
    facts::draw(skill, rng)
        .or_else(|| lists::draw(skill, rng))
        .or_else(|| numbers::draw(skill, rng))
        .or_else(|| sentences::draw(skill, rng))
}

/// A place that one is at.
fn place(rng: &mut Rng) -> &'static str {
    let places = Lexicon::shipped().list("places").iter().map(String::as_str);
    places.filter(|place| !INSIDE.contains(place)).collect::<Vec<_>>().choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
