//! The rows nearest to their group's centre.

use super::quota::{heaviest, rows_by_cluster};
use super::rows::{Groups, check_rows, row_ids, squared_distance, weighted_centres};
use crate::error::Result;
use crate::sorting;
use crate::stage::{Budget, Rows, Selector};
use crate::types::{Context, RowId};
use serde::{Deserialize, Serialize};

/// The rows nearest to their group's own weighted centre (the paper's eq. 9 on the server, eq. 10 on a client).
///
/// The centre is the mean of the group's rows by weight (records) times membership strength. Several rows of a group are
/// the nearest, the second-nearest and so on. Equal distances go to the lower row. How a total is spread over groups, and
/// when noise is taken, is [`quota`](super::quota)'s rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NearestCentroid;

impl Selector for NearestCentroid {
    fn select(&self, all: &Rows<'_>, budget: Budget, _context: &Context) -> Result<Vec<RowId>> {
        check_rows(all)?;
        let groups = Groups::of(all);
        let (quotas, noise) = match budget {
            Budget::PerCluster(count) => (vec![count; groups.clusters.len()], 0),
            Budget::Total(total) => rows_by_cluster(total, all, &groups),
        };
        let centres = weighted_centres(all, &groups.clusters);
        let mut chosen = heaviest(&groups.noise, all, noise);
        for (j, rows) in groups.clusters.iter().enumerate() {
            let mut near: Vec<(f64, usize)> =
                rows.iter().map(|&row| (squared_distance(all.points.row(row), centres.row(j)), row)).collect();
            sorting::sort_by(&mut near, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            chosen.extend(near.into_iter().take(quotas[j]).map(|(_, row)| row));
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

    fn ids(rows: &[u32]) -> Vec<RowId> {
        rows.iter().map(|&r| RowId(r)).collect()
    }

    /// Cluster 0: 0, 1, 2, 9 (centre 3); cluster 1: 20, 22 (centre 21); noise: 50.
    fn line() -> (Matrix, Clustering) {
        let points = Matrix::new(7, 1, vec![0.0, 1.0, 2.0, 9.0, 20.0, 22.0, 50.0]).unwrap();
        let label = |c| Some(ClusterId(c));
        let clustering = Clustering {
            labels: vec![label(0), label(0), label(0), label(0), label(1), label(1), None],
            strength: vec![1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            centroids: Matrix::new(2, 1, vec![3.0, 21.0]).unwrap(),
        };
        (points, clustering)
    }

    fn pick(weights: &[f32], budget: Budget) -> Vec<RowId> {
        let (points, clustering) = line();
        let rows = Rows::new(&points).weights(weights).groups(&clustering);
        NearestCentroid.select(&rows, budget, &Context::new(0)).unwrap()
    }

    #[test]
    fn one_of_each_group() {
        // 2 is nearest to 3; 20 and 22 are as near to 21 as each other: the lower row.
        assert_eq!(pick(&[1.0; 7], Budget::PerCluster(1)), ids(&[2, 4]));
        assert_eq!(pick(&[1.0; 7], Budget::PerCluster(2)), ids(&[1, 2, 4, 5]));
        assert_eq!(pick(&[1.0; 7], Budget::PerCluster(9)), ids(&[0, 1, 2, 3, 4, 5]));
        assert!(pick(&[1.0; 7], Budget::PerCluster(0)).is_empty());
    }

    #[test]
    fn records_weigh() {
        // The record 9 stands for 100: the centre moves to 8.7, and 22 for 9: to 21.8.
        assert_eq!(pick(&[1.0, 1.0, 1.0, 100.0, 1.0, 9.0, 1.0], Budget::PerCluster(1)), ids(&[3, 5]));
    }

    #[test]
    fn totals_are_met_exactly() {
        assert!(pick(&[1.0; 7], Budget::Total(0)).is_empty());
        assert_eq!(pick(&[1.0; 7], Budget::Total(1)), ids(&[2]), "the heavier cluster first");
        assert_eq!(pick(&[1.0; 7], Budget::Total(2)), ids(&[2, 4]));
        assert_eq!(pick(&[1.0; 7], Budget::Total(4)), ids(&[1, 2, 4, 5]));
        assert_eq!(pick(&[1.0; 7], Budget::Total(6)), ids(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(pick(&[1.0; 7], Budget::Total(7)), ids(&[0, 1, 2, 3, 4, 5, 6]), "noise last");
        assert_eq!(pick(&[1.0; 7], Budget::Total(100)).len(), 7);
    }

    #[test]
    fn without_groups_all_rows_are_one() {
        let points = Matrix::new(3, 1, vec![0.0, 4.0, 5.0]).unwrap();
        let rows = Rows::new(&points);
        let pick = |budget| NearestCentroid.select(&rows, budget, &Context::new(0)).unwrap();
        assert_eq!(pick(Budget::PerCluster(1)), ids(&[1]));
        assert_eq!(pick(Budget::Total(2)), ids(&[1, 2]));
    }
}
