//! The minimum spanning tree of the mutual reachability graph: `max(core(a), core(b), d(a, b))` (Campello 2013, def. 3).
//!
//! Which of several minimum spanning trees is found does not matter: points that are connected below any distance are the
//! same in all of them, and the hierarchy merges equal distances at once.

use super::disjoint_sets::DisjointSets;
use super::kd_tree::KdTree;
use crate::error::Result;
use crate::loops;
use crate::types::Control;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// An edge between two rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub(super) a: u32,
    pub(super) b: u32,
    /// Mutual reachability distance; squared while the tree is built.
    pub(super) weight: f64,
}

/// Rows of one task of Prim's inner loop.
const CHUNK: usize = 1024;
/// Points of one task of a search in a tree.
const TOGETHER: usize = 256;

/// Prim's algorithm: O(n^2) distances of cost `d` each, O(n) memory. `core` and `squared` are squared distances.
pub(super) fn prim(
    core: &[f64],
    d: usize,
    squared: impl Fn(usize, usize) -> f64 + Sync,
    control: &Control,
) -> Result<Vec<Edge>> {
    let n = core.len();
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    // Per row outside the tree: the shortest edge into it. Rows inside hold NaN, which no comparison chooses.
    let mut nearest: Vec<(f64, u32)> = vec![(f64::INFINITY, 0); n];
    let mut current = 0;
    for _ in 1..n {
        control.check()?;
        nearest[current].0 = f64::NAN;
        let relax = |(chunk, rows): (usize, &mut [(f64, u32)])| {
            let mut best = (f64::INFINITY, usize::MAX);
            for (offset, (weight, from)) in rows.iter_mut().enumerate().filter(|(_, row)| !row.0.is_nan()) {
                let row = chunk * CHUNK + offset;
                let reach = squared(current, row).max(core[current]).max(core[row]);
                if reach < *weight {
                    (*weight, *from) = (reach, current as u32);
                }
                if best.1 == usize::MAX || *weight < best.0 {
                    best = (*weight, row);
                }
            }
            best
        };
        let least = |a: (f64, usize), b: (f64, usize)| match (a.1, b.1) {
            (usize::MAX, _) => b,
            (_, usize::MAX) => a,
            _ => {
                if (b.0, b.1) < (a.0, a.1) {
                    b
                } else {
                    a
                }
            }
        };
        let none = (f64::INFINITY, usize::MAX);
        let (weight, next) = if n * d.max(1) < 1 << 16 {
            nearest.chunks_mut(CHUNK).enumerate().map(relax).fold(none, least)
        } else {
            nearest.par_chunks_mut(CHUNK).enumerate().map(relax).reduce(|| none, least)
        };
        edges.push(Edge { a: nearest[next].1, b: next as u32, weight });
        current = next;
    }
    Ok(edges)
}

/// Boruvka's algorithm on a k-d tree (single-tree form of March, Ram and Gray 2010; McInnes and Healy 2017).
///
/// In each round every component looks for its shortest edge to another component. A point's search skips subtrees of its
/// own component, and those farther than the component's best so far. That bound is shared between threads: it only ever
/// skips what is strictly longer than the final best, so that the edges found do not depend on timing.
pub(super) fn boruvka(tree: &KdTree, core: &[f64], control: &Control) -> Result<Vec<Edge>> {
    let n = tree.len();
    let core: Vec<f64> = tree.order().iter().map(|&row| core[row as usize]).collect();
    let least_core = tree.fold_nodes(|range| core[range].iter().copied().fold(f64::INFINITY, f64::min), f64::min);
    let mut sets = DisjointSets::new(n);
    let mut component: Vec<u32> = (0..n as u32).collect();
    // A lower bound on each point's shortest edge out of its component; grows from round to round.
    let mut bounds = vec![0.0f64; n];
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    while edges.len() + 1 < n {
        control.check()?;
        let whole = tree.fold_nodes(
            |range| {
                let first = component[range.start];
                if component[range].iter().all(|&c| c == first) { first } else { MIXED }
            },
            |a, b| if a == b { a } else { MIXED },
        );
        let best: Vec<AtomicU64> = (0..n).map(|_| AtomicU64::new(f64::INFINITY.to_bits())).collect();
        let search = |point: usize, bound: &mut f64| {
            let mine = component[point];
            let shared = &best[mine as usize];
            if *bound > f64::from_bits(shared.load(Ordering::Relaxed)) {
                return None;
            }
            let mut search = Search {
                tree,
                core: &core,
                least_core: &least_core,
                component: &component,
                whole: &whole,
                shared,
                point,
                found: None,
                weight: f64::INFINITY,
                skipped: f64::INFINITY,
            };
            search.descend();
            *bound = search.weight.min(search.skipped);
            search.found.map(|other| (search.weight, other))
        };
        let mut found: Vec<Option<(f64, usize)>> = vec![None; bounds.len()];
        let blocks = bounds.chunks_mut(TOGETHER).zip(found.chunks_mut(TOGETHER)).collect();
        loops::try_hand_out(blocks, 1, |block, (bounds, found)| {
            for ((bound, found), point) in bounds.iter_mut().zip(found).zip(block * TOGETHER..) {
                control.check()?;
                *found = search(point, bound);
            }
            Ok(())
        })?;
        let mut chosen: Vec<Option<(f64, usize, usize)>> = vec![None; n];
        for (point, found) in found.into_iter().enumerate() {
            let Some((weight, other)) = found else { continue };
            let chosen = &mut chosen[component[point] as usize];
            if chosen.is_none_or(|(least, ..)| weight < least) {
                *chosen = Some((weight, point, other));
            }
        }
        for (weight, a, b) in chosen.into_iter().flatten() {
            // Two components may choose the same edge, and ties may close a cycle: either is left out.
            if sets.union(a as u32, b as u32) {
                edges.push(Edge { a: tree.order()[a], b: tree.order()[b], weight });
            }
        }
        component.iter_mut().enumerate().for_each(|(point, c)| *c = sets.find(point as u32));
    }
    Ok(edges)
}

/// The mark of a subtree that holds several components.
const MIXED: u32 = u32::MAX;

/// One point's search for its nearest point of another component.
struct Search<'a> {
    tree: &'a KdTree,
    core: &'a [f64],
    least_core: &'a [f64],
    component: &'a [u32],
    whole: &'a [u32],
    shared: &'a AtomicU64,
    point: usize,
    found: Option<usize>,
    weight: f64,
    /// The least bound of a subtree that was skipped for the component's best.
    skipped: f64,
}

impl Search<'_> {
    fn descend(&mut self) {
        let mine = self.component[self.point];
        let own_core = self.core[self.point];
        let mut stack = vec![(0u32, 0.0f64)];
        while let Some((node, distance)) = stack.pop() {
            let at = node as usize;
            let least = distance.max(self.least_core[at]).max(own_core);
            if self.whole[at] == mine || least >= self.weight {
                continue;
            }
            if least > f64::from_bits(self.shared.load(Ordering::Relaxed)) {
                self.skipped = self.skipped.min(least);
                continue;
            }
            match self.tree.children(node) {
                Some((left, right)) => {
                    let to_left = self.tree.to_box(self.point, left);
                    let to_right = self.tree.to_box(self.point, right);
                    // The nearer one is popped first.
                    if to_left <= to_right {
                        stack.extend([(right, to_right), (left, to_left)]);
                    } else {
                        stack.extend([(left, to_left), (right, to_right)]);
                    }
                }
                None => {
                    for other in self.tree.range(node) {
                        if self.component[other] == mine {
                            continue;
                        }
                        let reach = self.tree.squared(self.point, other).max(self.core[other]).max(own_core);
                        if reach < self.weight {
                            self.weight = reach;
                            self.found = Some(other);
                            self.shared.fetch_min(reach.to_bits(), Ordering::Relaxed);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::cluster::distance;
    use crate::types::Matrix;

    #[test]
    fn a_line_is_chained() {
        let points = Matrix::new(4, 1, vec![0.0, 9.0, 1.0, 4.0]).unwrap();
        let control = Control::default();
        let squared = |i: usize, j: usize| distance::squared(points.row(i), points.row(j));
        for edges in [
            prim(&[0.0; 4], 1, squared, &control).unwrap(),
            boruvka(&KdTree::new(&points, &control).unwrap(), &[0.0; 4], &control).unwrap(),
        ] {
            let mut found: Vec<_> = edges.iter().map(|e| (e.a.min(e.b), e.a.max(e.b), e.weight)).collect();
            found.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert_eq!(found, [(0, 2, 1.0), (1, 3, 25.0), (2, 3, 9.0)]);
        }
    }

    #[test]
    fn core_distances_lengthen_edges() {
        let squared = |i: usize, j: usize| (i as f64 - j as f64).powi(2);
        let edges = prim(&[0.0, 0.0, 49.0], 1, squared, &Control::default()).unwrap();
        assert_eq!(edges.iter().map(|e| e.weight).collect::<Vec<_>>(), [1.0, 49.0]);
    }

    #[test]
    fn identical_points_end() {
        let n = 5000;
        let edges = boruvka(
            &KdTree::new(&Matrix::zeros(n, 2), &Control::default()).unwrap(),
            &vec![0.0; n],
            &Control::default(),
        )
        .unwrap();
        assert_eq!(edges.len(), n - 1);
        assert!(edges.iter().all(|edge| edge.weight == 0.0));
    }

    #[test]
    fn cancelling_stops() {
        let control = Control::default();
        control.cancel.cancel();
        assert!(prim(&[0.0; 3], 1, |_, _| 1.0, &control).is_err());
        assert!(
            boruvka(&KdTree::new(&Matrix::zeros(9, 2), &Control::default()).unwrap(), &[0.0; 9], &control).is_err()
        );
    }
}
