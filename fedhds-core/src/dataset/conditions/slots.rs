//! Which records of a client a knob takes.

use super::Truth;
use crate::dataset::ClientData;
use crate::types::Seed;
use rand::seq::SliceRandom as _;

/// How many of `all` a share is.
pub(super) fn count(share: f64, all: usize) -> usize {
    ((share * all as f64).round() as usize).min(all)
}

/// The numbers below `all` in random order. Who takes the first of them takes those of a smaller share again in a larger one.
pub(super) fn order(all: usize, seed: Seed) -> Vec<usize> {
    let mut order: Vec<usize> = (0..all).collect();
    order.shuffle(&mut seed.rng());
    order
}

/// The client's records that have no flaw yet, in the order that all kinds of flaws share: junk takes from its end, swaps from
/// its beginning, so that they exclude each other and do not move each other where both find room.
pub(super) fn without_flaw(client: &ClientData, truth: &Truth, seed: Seed) -> Vec<usize> {
    let mut order = order(client.records.len(), seed);
    order.retain(|&slot| client.records.get(slot).is_some_and(|record| truth.flaw(&record.id).is_none()));
    order
}
