//! Shuffled and cut evenly.

use crate::types::Seed;
use rand::seq::SliceRandom;

/// `parts` lists whose lengths differ by at most 1, the longer ones first. `parts` is at least 1.
pub(super) fn split(mut rows: Vec<usize>, parts: usize, seed: Seed) -> Vec<Vec<usize>> {
    rows.shuffle(&mut seed.rng());
    let (each, longer) = (rows.len() / parts, rows.len() % parts);
    let mut rest = rows.into_iter();
    (0..parts).map(|part| rest.by_ref().take(each + usize::from(part < longer)).collect()).collect()
}
