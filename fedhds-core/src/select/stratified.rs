//! Rows drawn at random, spread over their owners.

use super::random::{draw, draw_rows};
use super::rows::{Groups, check_rows, row_ids};
use crate::error::Result;
use crate::stage::{Budget, Rows, Selector};
use crate::types::{Context, Control, Rng, RowId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows drawn uniformly at random, spread over their owners as evenly as their numbers of rows allow.
///
/// The baseline without features that a selection has to beat: where one client is one task, spreading over clients alone
/// explains what selection gains. Owners are served in turns, in an order drawn anew for each turn, so that no owner has
/// two rows more than another that still has some; each gives a random row. Where no owner is known, the groups stand in
/// their place (noise is a stratum of its own), and without groups all rows are one stratum.
///
/// With [`Budget::PerCluster`] the same happens within each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stratified;

/// `total` of the rows of these strata, in turns.
fn take_turns(
    strata: Vec<Vec<usize>>,
    total: usize,
    all: &Rows<'_>,
    rng: &mut Rng,
    control: &Control,
) -> Result<Vec<usize>> {
    let mut strata: Vec<Vec<usize>> = strata
        .into_iter()
        .map(|rows| {
            let count = rows.len();
            let mut drawn = draw_rows(rows, count, all, rng);
            drawn.reverse(); // what was drawn first is given first, from the end
            drawn
        })
        .collect();
    let mut chosen = Vec::new();
    loop {
        control.check()?;
        let open: Vec<usize> = (0..strata.len()).filter(|&s| !strata[s].is_empty()).collect();
        if open.is_empty() || chosen.len() >= total {
            return Ok(chosen);
        }
        let turn = open.len().min(total - chosen.len());
        chosen.extend(draw(open, turn, rng).into_iter().filter_map(|s| strata[s].pop()));
    }
}

impl Selector for Stratified {
    fn select(&self, all: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let control = &context.control;
        let mut rng = context.seed.derive("stratified", 0).rng();
        let by_owner = |rows: &[usize]| -> Vec<Vec<usize>> {
            let mut strata: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            for &row in rows {
                strata.entry(all.owners.get(row)).or_default().push(row);
            }
            strata.into_values().collect()
        };
        let groups = Groups::of(all);
        let chosen = match budget {
            Budget::Total(total) if all.owners.is_empty() => {
                let strata = groups.clusters.into_iter().chain([groups.noise]).collect();
                take_turns(strata, total, all, &mut rng, control)?
            }
            Budget::Total(total) => {
                let rows: Vec<usize> = (0..all.points.rows()).collect();
                take_turns(by_owner(&rows), total, all, &mut rng, control)?
            }
            Budget::PerCluster(count) => {
                let mut chosen = Vec::new();
                for rows in &groups.clusters {
                    chosen.extend(take_turns(by_owner(rows), count, all, &mut rng, control)?);
                }
                chosen
            }
        };
        Ok(row_ids(chosen))
    }

    /// Groups stand in only where no owner is known; the server's rows have owners.
    fn uses_groups(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::{ClientId, Matrix};

    fn counts(owners: &[u32], total: usize, seed: u64) -> BTreeMap<u32, usize> {
        let points = Matrix::zeros(owners.len(), 0);
        let weights = vec![1.0; owners.len()];
        let owners: Vec<ClientId> = owners.iter().map(|&o| ClientId(o)).collect();
        let all = Rows::new(&points).weights(&weights).owners(&owners);
        let rows = Stratified.select(&all, Budget::Total(total), &Context::new(seed)).unwrap();
        let mut counts = BTreeMap::new();
        rows.iter().for_each(|r| *counts.entry(owners[r.index()].0).or_default() += 1);
        counts
    }

    #[test]
    fn owners_give_alike_whatever_they_hold() {
        // 20 rows of owner 0, 3 of owner 1, 1 of owner 2.
        let owners: Vec<u32> = [vec![0; 20], vec![1; 3], vec![2; 1]].concat();
        for seed in 0..20 {
            assert_eq!(counts(&owners, 3, seed), BTreeMap::from([(0, 1), (1, 1), (2, 1)]));
            assert_eq!(counts(&owners, 7, seed), BTreeMap::from([(0, 3), (1, 3), (2, 1)]));
            assert_eq!(counts(&owners, 24, seed), BTreeMap::from([(0, 20), (1, 3), (2, 1)]));
        }
        let lone: std::collections::BTreeSet<u32> =
            (0..50).flat_map(|seed| counts(&owners, 1, seed).into_keys()).collect();
        assert_eq!(lone.len(), 3, "who gives the odd row is drawn");
    }
}
