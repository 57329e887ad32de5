//! A k-d tree over rows, with what Boruvka's algorithm needs and nearest-neighbour crates do not give: folds over its nodes.
//!
//! It measures with [`distance::squared`] like every other code path, so that equal distances stay equal bits whichever
//! path found them: with other rounding, ties and thereby labels would depend on the number of rows.

use crate::cluster::distance;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Matrix};
use std::ops::Range;

/// Most points of a leaf.
const LEAF: usize = 16;
/// Points of one task.
const TOGETHER: usize = 256;

/// Points in the order of the tree's leaves; a "point" below is a place in that order.
pub(super) struct KdTree {
    /// Row of each point.
    order: Vec<u32>,
    /// Coordinates in that order, `[n, d]`.
    points: Vec<f32>,
    d: usize,
    nodes: Vec<Node>,
    /// Least and greatest coordinates of each node, `[nodes, 2, d]`.
    boxes: Vec<f32>,
}

/// A range of points. The left child follows its parent; children come after parents.
struct Node {
    start: u32,
    end: u32,
    /// The right child; 0 for a leaf.
    right: u32,
}

impl KdTree {
    /// A tree over the rows of a matrix of at least one column.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn new(points: &Matrix, control: &Control) -> Result<Self> {
        let (n, d) = (points.rows(), points.cols());
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut nodes: Vec<Node> = Vec::new();
        let mut boxes: Vec<f32> = Vec::new();
        // (start, end, parent whose right child this is)
        let mut stack = vec![(0usize, n, None::<usize>)];
        while let Some((start, end, parent)) = stack.pop() {
            control.check()?;
            let at = nodes.len();
            if let Some(parent) = parent {
                nodes[parent].right = at as u32;
            }
            nodes.push(Node { start: start as u32, end: end as u32, right: 0 });
            let mut low = vec![f32::INFINITY; d];
            let mut high = vec![f32::NEG_INFINITY; d];
            for &row in &order[start..end] {
                for (axis, &x) in points.row(row as usize).iter().enumerate() {
                    low[axis] = low[axis].min(x);
                    high[axis] = high[axis].max(x);
                }
            }
            let width = |axis: usize| f64::from(high[axis]) - f64::from(low[axis]);
            let widest = (0..d).max_by(|&a, &b| width(a).total_cmp(&width(b))).unwrap_or(0);
            if end - start > LEAF {
                let middle = (end - start) / 2;
                order[start..end].select_nth_unstable_by(middle, |&a, &b| {
                    let key = |row: u32| points.row(row as usize)[widest];
                    key(a).total_cmp(&key(b)).then(a.cmp(&b))
                });
                stack.push((start + middle, end, Some(at)));
                stack.push((start, start + middle, None));
            }
            boxes.extend_from_slice(&low);
            boxes.extend_from_slice(&high);
        }
        let mut sorted = Vec::with_capacity(n * d);
        order.iter().for_each(|&row| sorted.extend_from_slice(points.row(row as usize)));
        Ok(Self { order, points: sorted, d, nodes, boxes })
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The row of each point.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// The points of a node.
    pub(super) fn range(&self, node: u32) -> Range<usize> {
        let node = &self.nodes[node as usize];
        node.start as usize..node.end as usize
    }

    /// The two children, or none for a leaf.
    pub(super) fn children(&self, node: u32) -> Option<(u32, u32)> {
        let right = self.nodes[node as usize].right;
        (right != 0).then_some((node + 1, right))
    }

    fn point(&self, point: usize) -> &[f32] {
        &self.points[point * self.d..(point + 1) * self.d]
    }

    /// Squared distance of two points.
    pub(super) fn squared(&self, a: usize, b: usize) -> f64 {
        distance::squared(self.point(a), self.point(b))
    }

    /// A lower bound on the squared distance of a point to every point of a node, in the same rounding.
    pub(super) fn to_box(&self, point: usize, node: u32) -> f64 {
        let d = self.d;
        let (low, high) = self.boxes[node as usize * 2 * d..(node as usize + 1) * 2 * d].split_at(d);
        let mut nearest = [0.0f32; 16];
        let point = self.point(point);
        if let Some(nearest) = nearest.get_mut(..d) {
            for (axis, nearest) in nearest.iter_mut().enumerate() {
                *nearest = point[axis].clamp(low[axis], high[axis]);
            }
            distance::squared(point, nearest)
        } else {
            let nearest: Vec<f32> = (0..d).map(|axis| point[axis].clamp(low[axis], high[axis])).collect();
            distance::squared(point, &nearest)
        }
    }

    /// One value per node: `leaf` of a leaf's points, `join` of a node's two children.
    pub(super) fn fold_nodes<T: Copy>(&self, leaf: impl Fn(Range<usize>) -> T, join: impl Fn(T, T) -> T) -> Vec<T> {
        let mut values: Vec<Option<T>> = vec![None; self.nodes.len()];
        for at in (0..self.nodes.len()).rev() {
            let node = at as u32;
            let children = self.children(node).and_then(|(l, r)| values[l as usize].zip(values[r as usize]));
            values[at] = Some(match children {
                Some((left, right)) => join(left, right),
                None => leaf(self.range(node)),
            });
        }
        values.into_iter().flatten().collect()
    }

    /// Squared distance to the `k`-th nearest other point of each **row**, `1 <= k < n`.
    pub(super) fn core_distances(&self, k: usize, control: &Control) -> Result<Vec<f64>> {
        let mut by_point = vec![0.0; self.len()];
        loops::try_parts(&mut by_point, TOGETHER, 1, |block, distances| {
            let (mut nearest, mut stack) = (Vec::new(), Vec::new());
            for (distance, point) in distances.iter_mut().zip(block * TOGETHER..) {
                control.check()?;
                *distance = self.kth_nearest(point, k, &mut nearest, &mut stack);
            }
            Ok(())
        })?;
        let mut core = vec![0.0; self.len()];
        by_point.iter().zip(&self.order).for_each(|(&value, &row)| core[row as usize] = value);
        Ok(core)
    }

    fn kth_nearest(&self, point: usize, k: usize, nearest: &mut Vec<f64>, stack: &mut Vec<(u32, f64)>) -> f64 {
        // Ascending; the last is what is asked for.
        nearest.clear();
        nearest.resize(k, f64::INFINITY);
        stack.clear();
        stack.push((0, 0.0));
        while let Some((node, distance)) = stack.pop() {
            if distance >= nearest[k - 1] {
                continue;
            }
            if let Some((left, right)) = self.children(node) {
                let (to_left, to_right) = (self.to_box(point, left), self.to_box(point, right));
                if to_left <= to_right {
                    stack.extend([(right, to_right), (left, to_left)]);
                } else {
                    stack.extend([(left, to_left), (right, to_right)]);
                }
                continue;
            }
            for other in self.range(node).filter(|&other| other != point) {
                let squared = self.squared(point, other);
                if squared < nearest[k - 1] {
                    let place = nearest.partition_point(|&x| x <= squared);
                    nearest.copy_within(place..k - 1, place + 1);
                    nearest[place] = squared;
                }
            }
        }
        nearest[k - 1]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand::RngExt as _;

    #[test]
    fn leaves_hold_every_row_once_and_boxes_bound_them() {
        let mut rng = Seed(1).rng();
        for d in [1, 2, 5, 20] {
            let data = (0..300 * d).map(|_| rng.random::<f32>()).collect();
            let points = Matrix::new(300, d, data).unwrap();
            let tree = KdTree::new(&points, &Control::default()).unwrap();
            let mut rows = tree.order().to_vec();
            rows.sort_unstable();
            assert_eq!(rows, (0..300).collect::<Vec<u32>>());
            let sizes = tree.fold_nodes(|range| range.len(), |a, b| a + b);
            assert_eq!(sizes[0], 300);
            for node in 0..tree.nodes.len() as u32 {
                for other in tree.range(node) {
                    assert!(tree.to_box(7, node) <= tree.squared(7, other));
                }
            }
        }
    }
}
