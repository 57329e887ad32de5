//! Rows drawn uniformly at random.

use super::rows::{Groups, check_rows, row_ids};
use crate::error::Result;
use crate::sorting;
use crate::stage::{Budget, Rows, Selector};
use crate::types::{Context, Rng, RowId};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows drawn uniformly at random, without replacement: the paper's baseline `Random`.
///
/// A total is drawn from all rows, groups or not, noise included; with [`Budget::PerCluster`] so many of each group. Where the rows have
/// [keys](Rows::keys) those of the smallest keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Random;

/// `count` of these rows (all where there are fewer), in the order drawn: those of the smallest keys where the rows have keys.
pub(super) fn draw_rows(mut rows: Vec<usize>, count: usize, all: &Rows<'_>, rng: &mut Rng) -> Vec<usize> {
    if all.keys.is_empty() {
        return draw(rows, count, rng);
    }
    sorting::sort_by_key(&mut rows, |&row| (all.keys[row], row));
    rows.truncate(count);
    rows
}

/// `count` of the items (all where there are fewer), in the order drawn: the first steps of a Fisher-Yates shuffle.
pub(super) fn draw(mut rows: Vec<usize>, count: usize, rng: &mut Rng) -> Vec<usize> {
    let count = count.min(rows.len());
    for i in 0..count {
        let j = rng.random_range(i..rows.len());
        rows.swap(i, j);
    }
    rows.truncate(count);
    rows
}

/// [`draw`] from the numbers below `n`, without a list of them where few are drawn.
fn draw_below(n: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    if count >= n / 16 {
        return draw((0..n).collect(), count, rng);
    }
    // What is not at its own place.
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    let mut drawn = Vec::with_capacity(count);
    for i in 0..count {
        let j = rng.random_range(i..n);
        let (here, there) = (moved.remove(&i).unwrap_or(i), moved.get(&j).copied().unwrap_or(j));
        if i == j {
            drawn.push(here);
        } else {
            moved.insert(j, here);
            drawn.push(there);
        }
    }
    drawn
}

impl Selector for Random {
    fn select(&self, all: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let mut rng = context.seed.derive("random", 0).rng();
        let chosen = match budget {
            Budget::Total(total) if all.keys.is_empty() => draw_below(all.len(), total, &mut rng),
            Budget::Total(total) => draw_rows((0..all.len()).collect(), total, all, &mut rng),
            Budget::PerCluster(count) => {
                Groups::of(all).clusters.into_iter().flat_map(|rows| draw_rows(rows, count, all, &mut rng)).collect()
            }
        };
        Ok(row_ids(chosen))
    }

    fn uses_groups(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Matrix;

    #[test]
    fn every_row_is_as_likely() {
        let points = Matrix::zeros(10, 0);
        let all = Rows::new(&points);
        let mut counts = [0; 10];
        for seed in 0..4000 {
            let rows = Random.select(&all, Budget::Total(3), &Context::new(seed)).unwrap();
            assert_eq!(rows.len(), 3);
            rows.iter().for_each(|r| counts[r.index()] += 1);
        }
        // 1,200 expected for each, standard deviation 29.
        assert!(counts.iter().all(|&c| (1050..1350).contains(&c)), "{counts:?}");
    }

    #[test]
    fn few_of_many_are_drawn_as_from_the_whole_list() {
        for (n, count) in [(0, 3), (1, 0), (40, 2), (1000, 60), (1000, 9)] {
            for seed in 0..20 {
                let rng = || Context::new(seed).seed.rng();
                assert_eq!(
                    draw_below(n, count, &mut rng()),
                    draw((0..n).collect(), count, &mut rng()),
                    "{count} of {n}"
                );
            }
        }
    }

    #[test]
    fn keys_decide_where_there_are_any() {
        let points = Matrix::zeros(5, 0);
        let all = Rows::new(&points).keys(&[7, 1, 9, 3, 3]);
        let pick = |total, seed| Random.select(&all, Budget::Total(total), &Context::new(seed)).unwrap();
        for seed in 0..5 {
            assert_eq!(pick(2, seed), [RowId(1), RowId(3)]);
            assert_eq!(pick(3, seed), [RowId(1), RowId(3), RowId(4)], "equal keys: the lower row first");
        }
    }

    #[test]
    fn seeds_decide() {
        let points = Matrix::zeros(50, 0);
        let all = Rows::new(&points);
        let pick = |seed: u64| Random.select(&all, Budget::Total(5), &Context::new(seed)).unwrap();
        assert_eq!(pick(1), pick(1));
        assert_ne!(pick(1), pick(2));
    }
}
