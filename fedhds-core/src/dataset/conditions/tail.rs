//! `tail`: a few tasks are large and many are small.

use super::slots;
use crate::dataset::{Dataset, sample};
use crate::types::Seed;

/// The tasks in random order get sizes by Zipf's law: of `all` records, the task of rank `r` from 1 wants
/// `all * r^-s / sum of r^-s`, rounded, keeps at least 1 and at most what it has. Which records are kept is drawn; their order
/// stays. Returns the records that are kept as a share of `all`, which is below 1 where a first rank wants more than its task has.
pub(super) fn apply(exponent: f64, pool: &mut Dataset, all: usize, seed: Seed) -> f64 {
    let tasks: Vec<(String, Vec<usize>)> =
        pool.by_category().into_iter().map(|(task, rows)| (task.to_owned(), rows)).collect();
    let weight = |rank: usize| (rank as f64).powf(-exponent);
    let sum: f64 = (1..=tasks.len()).map(weight).sum();
    let mut kept = vec![false; pool.len()];
    for (&task, rank) in slots::order(tasks.len(), seed.derive("ranks", 0)).iter().zip(1..) {
        let Some((name, rows)) = tasks.get(task) else { continue };
        let wanted = (all as f64 * weight(rank) / sum).round() as usize;
        for row in sample(rows, wanted.max(1), seed.derive("records", 0).derive(name, 0)) {
            if let Some(kept) = kept.get_mut(row) {
                *kept = true;
            }
        }
    }
    let mut kept = kept.into_iter();
    pool.records.retain(|_| kept.next().unwrap_or(false));
    pool.len() as f64 / all.max(1) as f64
}
