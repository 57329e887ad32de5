//! The condensed tree: the hierarchy with only those splits that leave clusters of `min_cluster_size` or more.

use super::hierarchy::Hierarchy;
use serde::{Deserialize, Serialize};

/// What leaves a cluster of the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CondensedChild {
    /// A row, which falls out as noise of that level.
    Row(u32),
    /// A cluster of the tree, which splits off.
    Cluster(u32),
}

/// One edge of the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CondensedEdge {
    /// The cluster that is left.
    pub parent: u32,
    /// What leaves it.
    pub child: CondensedChild,
    /// The density level at which it leaves, `1 / distance`.
    pub lambda: f64,
    /// Rows that leave: 1 for a row.
    pub size: u32,
}

/// The condensed tree (Campello 2013, section 3; McInnes and Healy 2017). Its nodes are clusters, numbered from 0, the root that
/// holds all rows; every cluster's number is above its parent's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CondensedTree {
    /// All edges: every row and every cluster but the root leaves its parent once. Those of one cluster come in
    /// the order of rising lambda; a parent's come before its children's.
    pub edges: Vec<CondensedEdge>,
    /// Parent of each cluster; none for the root.
    pub parent: Vec<Option<u32>>,
    /// Level at which each cluster appears; 0 for the root.
    pub birth: Vec<f64>,
    /// Level at which each cluster's last row leaves it or it splits.
    pub death: Vec<f64>,
    /// Stability `sum_x (lambda(x) - birth)` over the rows of each cluster (Campello 2013, eq. 3).
    pub stability: Vec<f64>,
    /// Rows of each cluster.
    pub size: Vec<u32>,
    /// Number of rows of the data.
    pub rows: usize,
}

impl CondensedTree {
    /// The tree of fewer than two rows: a root that nothing leaves.
    pub(super) fn trivial(rows: usize) -> Self {
        Self {
            edges: Vec::new(),
            parent: vec![None],
            birth: vec![0.0],
            death: vec![0.0],
            stability: vec![0.0],
            size: vec![rows as u32],
            rows,
        }
    }

    /// Number of clusters of the tree, the root included.
    pub fn clusters(&self) -> usize {
        self.parent.len()
    }

    /// The clusters into which a cluster splits.
    pub fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.clusters()];
        for (cluster, parent) in self.parent.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent as usize].push(cluster as u32);
            }
        }
        children
    }

    fn add_cluster(&mut self, parent: Option<u32>, birth: f64, size: u32) -> u32 {
        self.parent.push(parent);
        self.birth.push(birth);
        self.death.push(birth);
        self.stability.push(0.0);
        self.size.push(size);
        self.parent.len() as u32 - 1
    }
}

/// Condenses a hierarchy, from its root down. At each merge: two or more children of `min_cluster_size` rows are a split
/// into new clusters; a single such child is the same cluster, shrunk; all other rows fall out.
///
/// Each level adds to a cluster's stability once, rows counted together: the sum's bits do not depend on the order of rows.
pub(super) fn condense(hierarchy: &Hierarchy, min_cluster_size: usize) -> CondensedTree {
    let rows = hierarchy.rows();
    let mut tree = CondensedTree { edges: Vec::with_capacity(rows), parent: vec![], ..CondensedTree::trivial(rows) };
    for per_cluster in [&mut tree.birth, &mut tree.death, &mut tree.stability] {
        per_cluster.clear();
    }
    tree.size.clear();
    let root = tree.add_cluster(None, 0.0, rows as u32);
    let mut queue = std::collections::VecDeque::from([(hierarchy.root(), root)]);
    let mut fallen: Vec<u32> = Vec::new();
    while let Some((mut node, cluster)) = queue.pop_front() {
        // Down the chain of merges in which this cluster only shrinks.
        while let Some((lambda, children)) = hierarchy.merge(node) {
            let is_large = |child: &u32| hierarchy.size(*child) as usize >= min_cluster_size;
            let large = children.iter().filter(|child| is_large(child)).count();
            let mut next = None;
            let mut left = 0u32;
            for &child in children {
                if !is_large(&child) {
                    left += hierarchy.size(child);
                    fall_out(&mut tree, hierarchy, child, cluster, lambda, &mut fallen);
                } else if large > 1 {
                    let size = hierarchy.size(child);
                    left += size;
                    let id = tree.add_cluster(Some(cluster), lambda, size);
                    tree.edges.push(CondensedEdge {
                        parent: cluster,
                        child: CondensedChild::Cluster(id),
                        lambda,
                        size,
                    });
                    queue.push_back((child, id));
                } else {
                    next = Some(child);
                }
            }
            if left > 0 {
                let at = cluster as usize;
                tree.death[at] = lambda;
                tree.stability[at] += (lambda - tree.birth[at]) * f64::from(left);
            }
            match next {
                Some(child) => node = child,
                None => break,
            }
        }
    }
    tree
}

/// All rows below `node` leave `cluster`.
fn fall_out(
    tree: &mut CondensedTree,
    hierarchy: &Hierarchy,
    node: u32,
    cluster: u32,
    lambda: f64,
    stack: &mut Vec<u32>,
) {
    stack.push(node);
    while let Some(node) = stack.pop() {
        match hierarchy.merge(node) {
            Some((_, children)) => stack.extend_from_slice(children),
            None => {
                tree.edges.push(CondensedEdge { parent: cluster, child: CondensedChild::Row(node), lambda, size: 1 });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::spanning_tree::Edge;
    use super::*;

    /// Two chains of three rows at distance 1, 5 apart, and an outlier 10 away.
    fn tree(min_cluster_size: usize) -> CondensedTree {
        let edges = [(0, 1, 1.0), (1, 2, 1.0), (3, 4, 1.0), (4, 5, 2.0), (2, 3, 5.0), (5, 6, 10.0)];
        let edges = edges.map(|(a, b, weight)| Edge { a, b, weight }).to_vec();
        condense(&Hierarchy::from_spanning_tree(7, edges), min_cluster_size)
    }

    #[test]
    fn splits_shrinks_and_falls() {
        let tree = tree(2);
        assert_eq!(tree.parent, [None, Some(0), Some(0)]);
        assert_eq!(tree.size, [7, 3, 3]);
        assert_eq!(tree.birth, [0.0, 0.2, 0.2]);
        assert_eq!(tree.death, [0.2, 1.0, 1.0]);
        // The outlier leaves the root at 0.1, two clusters of three at 0.2.
        assert!((tree.stability[0] - (0.1 + 6.0 * 0.2)).abs() < 1e-12);
        let mut stabilities = tree.stability[1..].to_vec();
        stabilities.sort_unstable_by(f64::total_cmp);
        // {0, 1, 2} leave at 1; of {3, 4, 5}, row 5 at 1/2 and the pair at 1.
        assert!((stabilities[1] - 3.0 * 0.8).abs() < 1e-12);
        assert!((stabilities[0] - (0.3 + 2.0 * 0.8)).abs() < 1e-12);
        let rows = tree.edges.iter().filter(|edge| matches!(edge.child, CondensedChild::Row(_))).count();
        assert_eq!(rows, 7);
    }

    #[test]
    fn too_few_rows_leave_a_root_alone() {
        let tree = tree(8);
        assert_eq!(tree.clusters(), 1);
        assert!(tree.edges.iter().all(|edge| edge.parent == 0));
        assert_eq!(tree.death, [0.1], "all leave at the first merge from above");
        assert_eq!(tree.children(), [Vec::<u32>::new()]);
    }
}
