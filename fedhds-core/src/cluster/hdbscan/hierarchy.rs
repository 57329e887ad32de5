//! The single-linkage hierarchy of the spanning tree, with all merges at one distance made at once.

use super::disjoint_sets::DisjointSets;
use super::spanning_tree::Edge;
use crate::sorting;

/// A tree of merges. Nodes below `n` are rows; node `n + m` is merge `m`; the last is the root.
pub(super) struct Hierarchy {
    n: usize,
    /// Per merge: its density level `lambda = 1 / distance`.
    lambda: Vec<f64>,
    /// Per merge: where its children start in `children`; one more entry closes the last.
    start: Vec<u32>,
    children: Vec<u32>,
    /// Rows below each merge.
    size: Vec<u32>,
}

impl Hierarchy {
    /// The hierarchy of `n >= 2` rows. Merges have two children, or more where several meet at one distance: then the
    /// partition at every level, and so the result, does not depend on the order of rows.
    pub(super) fn from_spanning_tree(n: usize, mut edges: Vec<Edge>) -> Self {
        sorting::sort_by(&mut edges, |x, y| x.weight.total_cmp(&y.weight).then((x.a, x.b).cmp(&(y.a, y.b))));
        let least = edges.iter().map(|edge| edge.weight).find(|&weight| weight > 0.0);
        // Distance 0 has no density: see the type's documentation.
        let zero = least.map_or(1.0, |least| 2.0 / least);
        let mut sets = DisjointSets::new(n);
        let mut node_of: Vec<u32> = (0..n as u32).collect();
        let mut tree = Self { n, lambda: Vec::new(), start: vec![0], children: Vec::new(), size: Vec::new() };
        let mut old: Vec<u32> = Vec::new();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for level in edges.chunk_by(|x, y| x.weight == y.weight) {
            old.clear();
            for edge in level {
                old.extend([sets.find(edge.a), sets.find(edge.b)]);
            }
            sorting::sort(&mut old);
            old.dedup();
            level.iter().for_each(|edge| {
                sets.union(edge.a, edge.b);
            });
            merged.clear();
            merged.extend(old.iter().map(|&set| (sets.find(set), node_of[set as usize])));
            sorting::sort(&mut merged);
            for group in merged.chunk_by(|x, y| x.0 == y.0) {
                let size = group.iter().map(|&(_, child)| tree.size(child)).sum();
                let weight = level[0].weight;
                tree.lambda.push(if weight > 0.0 { 1.0 / weight } else { zero });
                tree.children.extend(group.iter().map(|&(_, child)| child));
                tree.start.push(tree.children.len() as u32);
                tree.size.push(size);
                node_of[group[0].0 as usize] = (n + tree.size.len() - 1) as u32;
            }
        }
        tree
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.n
    }

    /// The node that holds all rows.
    pub(super) fn root(&self) -> u32 {
        (self.n + self.size.len()) as u32 - 1
    }

    /// Rows below a node.
    pub(super) fn size(&self, node: u32) -> u32 {
        (node as usize).checked_sub(self.n).map_or(1, |merge| self.size[merge])
    }

    /// Level and children of a merge; none for a row.
    pub(super) fn merge(&self, node: u32) -> Option<(f64, &[u32])> {
        let merge = (node as usize).checked_sub(self.n)?;
        Some((self.lambda[merge], &self.children[self.start[merge] as usize..self.start[merge + 1] as usize]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn edge(a: u32, b: u32, weight: f64) -> Edge {
        Edge { a, b, weight }
    }

    #[test]
    fn equal_distances_merge_at_once() {
        let tree =
            Hierarchy::from_spanning_tree(5, vec![edge(3, 4, 4.0), edge(0, 1, 2.0), edge(1, 2, 2.0), edge(2, 3, 8.0)]);
        assert_eq!(tree.merge(5).unwrap(), (0.5, &[0, 1, 2][..]));
        assert_eq!(tree.merge(6).unwrap(), (0.25, &[3, 4][..]));
        assert_eq!(tree.merge(tree.root()).unwrap(), (0.125, &[5, 6][..]));
        assert_eq!((tree.size(5), tree.size(tree.root()), tree.size(0)), (3, 5, 1));
        assert!(tree.merge(4).is_none());
    }

    #[test]
    fn distance_zero_counts_as_half_of_the_least_above_it() {
        let tree = Hierarchy::from_spanning_tree(3, vec![edge(0, 1, 0.0), edge(1, 2, 0.5)]);
        assert_eq!((tree.merge(3).unwrap().0, tree.merge(4).unwrap().0), (4.0, 2.0));
        let tree = Hierarchy::from_spanning_tree(2, vec![edge(0, 1, 0.0)]);
        assert_eq!(tree.merge(2).unwrap().0, 1.0);
    }
}
