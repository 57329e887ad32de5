//! Core distances: how far each point's neighbourhood reaches (Campello 2013, definition 1).

use super::kd_tree::KdTree;
use super::spanning_tree::{self, Edge};
use crate::cluster::distance;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Matrix};

/// Rows up to which all distances are kept (16 MiB of f64).
const KEPT: usize = 2048;
/// Rows from which, in few dimensions, the tree is faster than all pairs.
const TREE_ROWS: usize = 512;
/// Dimensions up to which a k-d tree prunes well.
const TREE_DIMENSIONS: usize = 12;

/// How distances are found; every variant measures with the same function, so that all give the same bits.
pub(super) enum Space<'a> {
    /// Few rows: distances of row i to the rows before it, computed once.
    Kept(Vec<Vec<f64>>),
    /// Many rows in few dimensions.
    Tree(KdTree),
    /// Many rows in many dimensions: distances are computed when asked for.
    Pairs(&'a Matrix),
}

impl<'a> Space<'a> {
    /// The fastest way for these points.
    pub(super) fn new(points: &'a Matrix, control: &Control) -> Result<Self> {
        let (n, d) = (points.rows(), points.cols());
        if n >= TREE_ROWS && (1..=TREE_DIMENSIONS).contains(&d) {
            Self::tree(points, control)
        } else if n <= KEPT {
            Self::kept(points, control)
        } else {
            Ok(Self::Pairs(points))
        }
    }

    pub(super) fn tree(points: &Matrix, control: &Control) -> Result<Self> {
        Ok(Self::Tree(KdTree::new(points, control)?))
    }

    pub(super) fn kept(points: &Matrix, control: &Control) -> Result<Self> {
        let row = |i: usize| {
            control.check()?;
            Ok((0..i).map(|j| distance::squared(points.row(i), points.row(j))).collect())
        };
        Ok(Self::Kept(loops::try_map(points.rows(), 1, row)?))
    }

    fn rows(&self) -> usize {
        match self {
            Self::Tree(tree) => tree.len(),
            Self::Kept(rows) => rows.len(),
            Self::Pairs(points) => points.rows(),
        }
    }

    /// Squared distance within which each point has `min_samples` points, itself included, `1 <= min_samples <= n`.
    pub(super) fn core_distances(&self, min_samples: usize, control: &Control) -> Result<Vec<f64>> {
        let others = min_samples - 1;
        if others == 0 {
            return Ok(vec![0.0; self.rows()]);
        }
        match self {
            Self::Tree(tree) => tree.core_distances(others, control),
            Self::Kept(rows) => {
                let to_others = |i: usize| {
                    let before = rows[i].iter().copied();
                    before.chain(rows[i + 1..].iter().map(move |row| row[i])).collect()
                };
                all_pairs(rows.len(), others, control, to_others)
            }
            Self::Pairs(points) => {
                let to_others = |i: usize| {
                    let others = (0..points.rows()).filter(move |&j| j != i);
                    others.map(|j| distance::squared(points.row(i), points.row(j))).collect()
                };
                all_pairs(points.rows(), others, control, to_others)
            }
        }
    }

    /// The minimum spanning tree of the mutual reachability distances, which [`Edge::weight`] holds unsquared.
    pub(super) fn spanning_tree(&self, core: &[f64], control: &Control) -> Result<Vec<Edge>> {
        let mut edges = match self {
            Self::Tree(tree) => spanning_tree::boruvka(tree, core, control)?,
            Self::Kept(rows) => {
                spanning_tree::prim(core, 1, |i, j| if i > j { rows[i][j] } else { rows[j][i] }, control)?
            }
            Self::Pairs(points) => {
                let squared = |i, j| distance::squared(points.row(i), points.row(j));
                spanning_tree::prim(core, points.cols(), squared, control)?
            }
        };
        edges.iter_mut().for_each(|edge| edge.weight = edge.weight.sqrt());
        Ok(edges)
    }
}

/// Distances of the `k`-th nearest other point from a function that gives the squared distances of a point to all others.
fn all_pairs(n: usize, k: usize, control: &Control, to_others: impl Fn(usize) -> Vec<f64> + Sync) -> Result<Vec<f64>> {
    let core = |i| {
        control.check()?;
        let mut distances = to_others(i);
        Ok(*distances.select_nth_unstable_by(k - 1, f64::total_cmp).1)
    };
    loops::try_map(n, 16, core)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand::RngExt as _;

    #[test]
    fn a_line_by_hand() {
        let points = Matrix::new(4, 1, vec![0.0, 1.0, 3.0, 7.0]).unwrap();
        let control = Control::default();
        for space in
            [Space::tree(&points, &control).unwrap(), Space::kept(&points, &control).unwrap(), Space::Pairs(&points)]
        {
            assert_eq!(space.core_distances(1, &control).unwrap(), [0.0; 4]);
            assert_eq!(space.core_distances(2, &control).unwrap(), [1.0, 1.0, 4.0, 16.0]);
            assert_eq!(space.core_distances(3, &control).unwrap(), [9.0, 4.0, 9.0, 36.0]);
            assert_eq!(space.core_distances(4, &control).unwrap(), [49.0, 36.0, 16.0, 49.0]);
        }
    }

    #[test]
    fn kiddo_finds_the_same() {
        use kiddo::{ImmutableKdTree, SquaredEuclidean};
        let mut rng = Seed(12).rng();
        let rows: Vec<[f32; 2]> = (0..600).map(|_| [rng.random(), rng.random()]).collect();
        let space = Space::tree(&Matrix::from_rows(&rows).unwrap(), &Control::default()).unwrap();
        let core = space.core_distances(6, &Control::default()).unwrap();
        let rows: Vec<[f64; 2]> = rows.iter().map(|row| row.map(f64::from)).collect();
        let tree = ImmutableKdTree::new_from_slice(&rows).unwrap();
        for (row, core) in rows.iter().zip(core) {
            // kiddo counts the point itself.
            let nearest = tree.query(row).nearest_n::<SquaredEuclidean<f64>>(6.try_into().unwrap()).execute();
            assert!((nearest[5].distance - core).abs() < 1e-12 * core);
        }
    }

    #[test]
    fn every_way_gives_the_same_bits() {
        let control = Control::default();
        for (d, steps) in [(1, 7u32), (2, 1000), (2, 12), (3, 9), (7, 3)] {
            let mut rng = Seed(u64::from(steps) + d as u64).rng();
            let data = (0..520 * d).map(|_| rng.random_range(0..steps) as f32 * 0.1).collect();
            let points = Matrix::new(520, d, data).unwrap();
            let ways = [
                Space::tree(&points, &control).unwrap(),
                Space::kept(&points, &control).unwrap(),
                Space::Pairs(&points),
            ];
            for min_samples in [1, 2, 6, 41] {
                let cores = ways.each_ref().map(|space| space.core_distances(min_samples, &control).unwrap());
                assert_eq!(cores[0], cores[1]);
                assert_eq!(cores[0], cores[2]);
                let weights = ways.each_ref().map(|space| {
                    let edges = space.spanning_tree(&cores[0], &control).unwrap();
                    assert_eq!(edges.len(), 519);
                    let mut weights: Vec<f64> = edges.iter().map(|edge| edge.weight).collect();
                    weights.sort_unstable_by(f64::total_cmp);
                    weights
                });
                assert_eq!(weights[0], weights[1], "d {d}, steps {steps}, min_samples {min_samples}");
                assert_eq!(weights[0], weights[2]);
            }
        }
    }
}
