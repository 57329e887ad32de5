//! Members of each group, drawn uniformly at random.

use super::quota::{heaviest, rows_by_cluster};
use super::random::draw_rows;
use super::rows::{Groups, check_rows, row_ids};
use crate::error::Result;
use crate::stage::{Budget, Rows, Selector};
use crate::types::{Context, RowId};
use serde::{Deserialize, Serialize};

/// Members of each group, drawn uniformly at random.
///
/// The record nearest to a centre can be too typical: the shortest, plainest wording of a topic. A random member covers the
/// same topics with their variety. Beside [`Random`](super::Random) it spreads a total over the groups
/// ([`quota`](super::quota)'s rule) and takes noise last. Where the rows have [keys](Rows::keys) the smallest of each group are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RandomMember;

impl Selector for RandomMember {
    fn select(&self, all: &Rows<'_>, budget: Budget, context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let groups = Groups::of(all);
        let (quotas, noise) = match budget {
            Budget::PerCluster(count) => (vec![count; groups.clusters.len()], 0),
            Budget::Total(total) => rows_by_cluster(total, all, &groups),
        };
        let mut chosen = heaviest(&groups.noise, all, noise);
        for (j, rows) in groups.clusters.into_iter().enumerate() {
            let mut rng = context.seed.derive("random_member", j as u64).rng();
            chosen.extend(draw_rows(rows, quotas[j], all, &mut rng));
        }
        Ok(row_ids(chosen))
    }

    fn uses_groups(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::stage::Clustering;
    use crate::types::{ClusterId, Matrix};

    #[test]
    fn each_group_gives_and_all_members_are_reached() {
        let points = Matrix::zeros(9, 1);
        let clustering = Clustering {
            labels: (0..9).map(|i| (i < 8).then_some(ClusterId(i / 4))).collect(),
            strength: vec![1.0; 9],
            centroids: Matrix::zeros(2, 1),
        };
        let all = Rows::new(&points).groups(&clustering);
        let mut reached = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let rows = RandomMember.select(&all, Budget::PerCluster(1), &Context::new(seed)).unwrap();
            assert!(rows.len() == 2 && rows[0].index() < 4 && (4..8).contains(&rows[1].index()), "{rows:?}");
            reached.extend(rows);
        }
        assert_eq!(reached.len(), 8);
        let rows = RandomMember.select(&all, Budget::Total(9), &Context::new(0)).unwrap();
        assert_eq!(rows.len(), 9);
    }
}
