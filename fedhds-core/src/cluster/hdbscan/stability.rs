//! The clusters that are kept, and how strongly each row belongs to its own.

use super::condense::{CondensedChild, CondensedTree};
use super::{ClusterSelectionMethod, HdbscanConfig};

/// Stabilities that differ by less than this, relatively, are a tie, which keeps the larger cluster. On regular data
/// parents and children tie exactly, and rounding would choose at random among equal places.
const TIE: f64 = 1e-10;

/// The chosen clusters of the tree, ascending.
pub(super) fn select(tree: &CondensedTree, config: &HdbscanConfig) -> Vec<u32> {
    let children = tree.children();
    let chosen = match config.cluster_selection_method {
        ClusterSelectionMethod::Eom => excess_of_mass(tree, &children, config.allow_single_cluster),
        ClusterSelectionMethod::Leaf => {
            let is_leaf = |cluster: &u32| children[*cluster as usize].is_empty();
            let leaves = (0..tree.clusters() as u32).filter(is_leaf);
            leaves.filter(|&leaf| leaf != 0 || config.allow_single_cluster).collect()
        }
    };
    if config.cluster_selection_epsilon > 0.0 && chosen != [0] {
        merge_below_epsilon(tree, &children, &chosen, config)
    } else {
        chosen
    }
}

/// Excess of mass (Campello 2013, algorithm 3): from the leaves up, a cluster is kept where it is at least as stable as the
/// best choice below it.
fn excess_of_mass(tree: &CondensedTree, children: &[Vec<u32>], allow_single_cluster: bool) -> Vec<u32> {
    let clusters = tree.clusters();
    let mut best = tree.stability.clone();
    let mut keeps = vec![true; clusters];
    for cluster in (0..clusters).rev() {
        if cluster == 0 && !allow_single_cluster {
            keeps[0] = false;
            continue;
        }
        // Summed in ascending order: clusters are numbered by their place in the data, and sums must not depend on it.
        let mut below: Vec<f64> = children[cluster].iter().map(|&child| best[child as usize]).collect();
        below.sort_unstable_by(f64::total_cmp);
        let below: f64 = below.iter().sum();
        if below > best[cluster] * (1.0 + TIE) {
            keeps[cluster] = false;
            best[cluster] = below;
        }
    }
    // The topmost that keep themselves.
    let mut covered = vec![false; clusters];
    (0..clusters as u32)
        .filter(|&cluster| {
            let at = cluster as usize;
            let above = tree.parent[at].is_some_and(|parent| covered[parent as usize]);
            covered[at] = above || keeps[at];
            keeps[at] && !above
        })
        .collect()
}

/// Clusters born below `epsilon` give way to their first ancestor born above it (Malzer and Baum 2020); the root is one
/// only where a single cluster is allowed.
fn merge_below_epsilon(
    tree: &CondensedTree,
    children: &[Vec<u32>],
    chosen: &[u32],
    config: &HdbscanConfig,
) -> Vec<u32> {
    let epsilon = config.cluster_selection_epsilon;
    let born_at = |cluster: u32| 1.0 / tree.birth[cluster as usize];
    let mut merged = Vec::new();
    let mut done = vec![false; tree.clusters()];
    for &cluster in chosen {
        if born_at(cluster) >= epsilon {
            merged.push(cluster);
            continue;
        }
        if done[cluster as usize] {
            continue;
        }
        let mut ancestor = cluster;
        while let Some(parent) = tree.parent[ancestor as usize] {
            if parent == 0 && !config.allow_single_cluster {
                break;
            }
            ancestor = parent;
            if born_at(parent) > epsilon {
                break;
            }
        }
        merged.push(ancestor);
        let mut stack = vec![ancestor];
        while let Some(node) = stack.pop() {
            done[node as usize] = true;
            stack.extend_from_slice(&children[node as usize]);
        }
    }
    merged.sort_unstable();
    merged
}

/// What each row belongs to.
pub(super) struct Members {
    /// Per row: its place among the chosen clusters; none for noise.
    pub(super) cluster: Vec<Option<u32>>,
    /// Per row: in [0, 1], 0 for noise.
    pub(super) probability: Vec<f32>,
}

/// Rows belong to the chosen cluster that they, or a cluster below it, fall out of; a row's membership probability is its own
/// level over the cluster's last: `min(lambda(x), death) / death`, as in Python's `hdbscan`.
pub(super) fn members(tree: &CondensedTree, selected: &[u32], config: &HdbscanConfig) -> Members {
    // Chosen cluster of each cluster; parents have lower numbers.
    let mut chosen: Vec<Option<u32>> = vec![None; tree.clusters()];
    for (place, &cluster) in selected.iter().enumerate() {
        chosen[cluster as usize] = Some(place as u32);
    }
    for cluster in 0..tree.clusters() {
        if chosen[cluster].is_none() {
            chosen[cluster] = tree.parent[cluster].and_then(|parent| chosen[parent as usize]);
        }
    }
    let mut members = Members { cluster: vec![None; tree.rows], probability: vec![0.0; tree.rows] };
    // Of the root as a single cluster, only rows that outlast it are members: all others are noise around it.
    let root_level = match config.cluster_selection_epsilon {
        epsilon if epsilon > 0.0 => 1.0 / epsilon,
        _ => tree.death[0],
    };
    for edge in &tree.edges {
        let CondensedChild::Row(row) = edge.child else { continue };
        let Some(place) = chosen[edge.parent as usize] else { continue };
        let cluster = selected[place as usize] as usize;
        if cluster == 0 && edge.lambda < root_level {
            continue;
        }
        let death = tree.death[cluster];
        let probability = if death > 0.0 { edge.lambda.min(death) / death } else { 1.0 };
        members.cluster[row as usize] = Some(place);
        members.probability[row as usize] = probability as f32;
    }
    members
}

/// GLOSH (Campello 2015, eq. 8): `1 - lambda(x) / lambda_max`, with `lambda_max` the last level of anything below the
/// cluster that row `x` falls out of.
pub(super) fn outlier_scores(tree: &CondensedTree) -> Vec<f32> {
    let mut last = tree.death.clone();
    for cluster in (1..tree.clusters()).rev() {
        if let Some(parent) = tree.parent[cluster] {
            let parent = parent as usize;
            last[parent] = last[parent].max(last[cluster]);
        }
    }
    let mut scores = vec![0.0; tree.rows];
    for edge in &tree.edges {
        if let CondensedChild::Row(row) = edge.child {
            let last = last[edge.parent as usize];
            scores[row as usize] = if last > 0.0 { ((last - edge.lambda) / last) as f32 } else { 0.0 };
        }
    }
    scores
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// Root 0 -> 1, 2; 1 -> 3, 4. Each leaf cluster has two rows, all leave at `death`.
    fn tree(stability: [f64; 5]) -> CondensedTree {
        CondensedTree {
            edges: Vec::new(),
            parent: vec![None, Some(0), Some(0), Some(1), Some(1)],
            birth: vec![0.0, 0.1, 0.1, 1.0, 1.0],
            death: vec![0.1, 1.0, 2.0, 4.0, 4.0],
            stability: stability.to_vec(),
            size: vec![6, 4, 2, 2, 2],
            rows: 6,
        }
    }

    fn config(change: impl Fn(&mut HdbscanConfig)) -> HdbscanConfig {
        let mut config = HdbscanConfig::with_min_cluster_size(2);
        change(&mut config);
        config
    }

    #[test]
    fn excess_of_mass_takes_the_stabler_level() {
        let eom = config(|_| {});
        assert_eq!(select(&tree([9.0, 3.0, 1.0, 1.0, 1.0]), &eom), [1, 2]);
        assert_eq!(select(&tree([9.0, 1.0, 1.0, 1.0, 1.0]), &eom), [2, 3, 4]);
        assert_eq!(select(&tree([9.0, 2.0, 1.0, 1.0, 1.0]), &eom), [1, 2], "a tie keeps the larger cluster");
        assert_eq!(select(&tree([9.0, 3.0, 1.0, 1.0, 1.0]), &config(|c| c.allow_single_cluster = true)), [0]);
        assert_eq!(select(&tree([1.0, 3.0, 1.0, 1.0, 1.0]), &config(|c| c.allow_single_cluster = true)), [1, 2]);
    }

    #[test]
    fn leaves_and_epsilon() {
        let leaf = |c: &mut HdbscanConfig| c.cluster_selection_method = ClusterSelectionMethod::Leaf;
        let tree = tree([9.0, 3.0, 1.0, 1.0, 1.0]);
        assert_eq!(select(&tree, &config(leaf)), [2, 3, 4]);
        // Clusters 3 and 4 are born at distance 1, cluster 1 and 2 at distance 10.
        let epsilon = |epsilon| {
            config(|c| {
                leaf(c);
                c.cluster_selection_epsilon = epsilon;
            })
        };
        assert_eq!(select(&tree, &epsilon(0.5)), [2, 3, 4]);
        assert_eq!(select(&tree, &epsilon(1.5)), [1, 2]);
        assert_eq!(select(&tree, &epsilon(100.0)), [1, 2], "the root is no cluster unless allowed");
        let mut single = epsilon(100.0);
        single.allow_single_cluster = true;
        assert_eq!(select(&tree, &single), [0]);
        let alone = CondensedTree::trivial(3);
        assert!(select(&alone, &config(leaf)).is_empty());
    }
}
