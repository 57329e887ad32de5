//! Who gets whose responses, so that nobody keeps a right one.

use crate::types::{Record, Rng};
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet};

/// What a swap asks of a record: equal numbers are equal tasks and equal responses, whatever their case and outer blanks.
pub(super) struct Answers {
    task: usize,
    responses: BTreeSet<usize>,
}

impl Answers {
    pub fn of(records: &[Record]) -> Vec<Self> {
        let mut numbers = BTreeMap::new();
        let mut number = |text: String| {
            let next = numbers.len();
            *numbers.entry(text).or_insert(next)
        };
        let responses: Vec<BTreeSet<usize>> = records
            .iter()
            .map(|record| record.responses.iter().map(|text| number(text.trim().to_lowercase())).collect())
            .collect();
        let mut tasks = BTreeMap::new();
        let answers = records.iter().zip(responses).map(|(record, responses)| {
            let next = tasks.len();
            Self { task: *tasks.entry(record.category.as_str()).or_insert(next), responses }
        });
        answers.collect()
    }

    pub fn same_task(&self, other: &Self) -> bool {
        self.task == other.task
    }

    /// Whether a response of one is right for the other.
    pub fn share_a_response(&self, other: &Self) -> bool {
        !self.responses.is_disjoint(&other.responses)
    }
}

/// A permutation of at most `most` of the slots in `order`, the first ones where they fit: pairs of a slot and of the slot
/// whose responses it gets. `fits` says whether two slots may give to each other; none fits itself. As many slots as possible
/// take part where those that do not fit each other are of one class, as where one task has more than half of the slots.
pub(super) fn exchange(
    order: &[usize],
    most: usize,
    fits: impl Fn(usize, usize) -> bool,
    rng: &mut Rng,
) -> Vec<(usize, usize)> {
    let mut gets: Vec<(usize, usize)> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    for &slot in order {
        if gets.len() + 2 > most {
            break;
        }
        match waiting.iter().position(|&other| fits(slot, other)) {
            Some(at) => {
                let other = waiting.remove(at);
                gets.extend([(slot, other), (other, slot)]);
            }
            None => waiting.push(slot),
        }
    }
    insert(&mut gets, order, most, &fits);
    mix(&mut gets, &fits, rng);
    gets
}

/// Puts slots that found no partner between a slot and its giver.
fn insert(gets: &mut Vec<(usize, usize)>, order: &[usize], most: usize, fits: &impl Fn(usize, usize) -> bool) {
    let taken: BTreeSet<usize> = gets.iter().map(|(slot, _)| *slot).collect();
    for &slot in order.iter().filter(|slot| !taken.contains(slot)) {
        if gets.len() >= most {
            return;
        }
        if let Some(between) = gets.iter_mut().find(|(taker, giver)| fits(*taker, slot) && fits(slot, *giver)) {
            let giver = std::mem::replace(&mut between.1, slot);
            gets.push((slot, giver));
        }
    }
}

/// Lets random takers trade their givers where both may, so that the permutation is more than pairs.
fn mix(gets: &mut [(usize, usize)], fits: &impl Fn(usize, usize) -> bool, rng: &mut Rng) {
    for _ in 0..gets.len() * 4 {
        let (one, other) = (rng.random_range(0..gets.len()), rng.random_range(0..gets.len()));
        let (Some(&(taker, giver)), Some(&(other_taker, other_giver))) = (gets.get(one), gets.get(other)) else {
            continue;
        };
        if one != other && fits(taker, other_giver) && fits(other_taker, giver) {
            for (at, giver) in [(one, other_giver), (other, giver)] {
                if let Some(get) = gets.get_mut(at) {
                    get.1 = giver;
                }
            }
        }
    }
}

/// Moves the responses as the pairs say.
pub(super) fn hand_over(records: &mut [Record], gets: &[(usize, usize)]) {
    let responses: Vec<Vec<String>> =
        gets.iter().map(|(_, giver)| records.get(*giver).map_or(Vec::new(), |r| r.responses.clone())).collect();
    for ((slot, _), responses) in gets.iter().zip(responses) {
        if let Some(record) = records.get_mut(*slot) {
            record.responses = responses;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everyone_gets_of_another_class_and_as_many_as_possible(
            classes in proptest::collection::vec(0_u8..5, 0..40), most in 0_usize..45, seed: u64,
        ) {
            let order: Vec<usize> = (0..classes.len()).collect();
            let gets = exchange(&order, most, |a, b| classes[a] != classes[b], &mut Seed(seed).rng());
            let takers: BTreeSet<usize> = gets.iter().map(|get| get.0).collect();
            let givers: BTreeSet<usize> = gets.iter().map(|get| get.1).collect();
            prop_assert_eq!(takers.len(), gets.len());
            prop_assert_eq!(&takers, &givers);
            prop_assert!(gets.iter().all(|(a, b)| classes[*a] != classes[*b]));
            // Of n slots, m in the largest class, min(n, 2 (n - m)) can be deranged; an odd number needs three classes.
            let sizes: Vec<usize> = (0..5).map(|c| classes.iter().filter(|d| **d == c).count()).collect();
            let largest = sizes.iter().max().unwrap();
            let possible = classes.len().min(2 * (classes.len() - largest)).min(most);
            let odd = sizes.iter().filter(|size| **size > 0).count() < 3 || possible < 3;
            prop_assert_eq!(gets.len(), if odd { possible - possible % 2 } else { possible });
        }
    }

    #[test]
    fn a_permutation_is_more_than_pairs() {
        let order: Vec<usize> = (0..30).collect();
        let gets = exchange(&order, 30, |a, b| a % 3 != b % 3, &mut Seed(1).rng());
        let back: BTreeMap<usize, usize> = gets.iter().copied().collect();
        assert!(gets.iter().filter(|(slot, giver)| back[giver] != *slot).count() > 15);
    }
}
