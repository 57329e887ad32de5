//! What pushes points apart: all pairs, or far cells of a quadtree as one point each (van der Maaten 2014, section 4.2).

use crate::error::Result;
use crate::loops;
use crate::types::Control;

/// Points up to which all pairs are cheaper than a tree.
const EXACT: usize = 128;
/// Most points of a leaf.
const LEAF: usize = 8;
/// Points of one task.
const TASK: usize = 128;

/// The repulsive sums of every point.
pub(super) struct Repulsion<const K: usize> {
    /// `sum_j s_ij^2 (y_i - y_j)` with `s_ij = 1 / (1 + |y_i - y_j|^2)`, per point.
    pub(super) force: Vec<[f64; K]>,
    /// `Z = sum_{i != j} s_ij`.
    pub(super) normaliser: f64,
    tree: Tree<K>,
    sums: Vec<f64>,
    by_order: Vec<([f64; K], f64)>,
}

impl<const K: usize> Repulsion<K> {
    pub(super) fn new(n: usize) -> Self {
        Self {
            force: vec![[0.0; K]; n],
            normaliser: 0.0,
            tree: Tree::default(),
            sums: vec![0.0; n],
            by_order: vec![([0.0; K], 0.0); n],
        }
    }

    /// Computes both for these points. Sums run in a fixed order for each point, and over points in the order of rows.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn compute(&mut self, points: &[[f64; K]], theta: f64, control: &Control) -> Result<()> {
        if points.len() <= EXACT || theta == 0.0 {
            let tasks = self.force.chunks_mut(TASK).zip(self.sums.chunks_mut(TASK)).collect();
            loops::try_hand_out(tasks, 1, |task, (forces, sums)| {
                control.check()?;
                for ((i, force), sum) in (task * TASK..).zip(forces).zip(sums) {
                    (*force, *sum) = ([0.0; K], 0.0);
                    for (j, other) in points.iter().enumerate() {
                        if j != i {
                            push(&points[i], other, 1.0, force, sum);
                        }
                    }
                }
                Ok(())
            })?;
        } else {
            self.tree.build(points);
            let tree = &self.tree;
            loops::try_parts(&mut self.by_order, TASK, 1, |task, out| {
                control.check()?;
                for (place, out) in (task * TASK..).zip(out) {
                    *out = tree.push_point(place, theta * theta);
                }
                Ok(())
            })?;
            for (&row, &(force, sum)) in tree.order.iter().zip(&self.by_order) {
                self.force[row as usize] = force;
                self.sums[row as usize] = sum;
            }
        }
        self.normaliser = self.sums.iter().sum();
        Ok(())
    }
}

/// Adds the push of `weight` points at `other`.
#[inline(always)]
fn push<const K: usize>(point: &[f64; K], other: &[f64; K], weight: f64, force: &mut [f64; K], sum: &mut f64) {
    let mut difference = [0.0; K];
    let mut squared = 0.0;
    for axis in 0..K {
        difference[axis] = point[axis] - other[axis];
        squared += difference[axis] * difference[axis];
    }
    let similarity = 1.0 / (1.0 + squared);
    let weighted = weight * similarity;
    *sum += weighted;
    for axis in 0..K {
        force[axis] += weighted * similarity * difference[axis];
    }
}

/// A cell: a range of points in Morton order, cells in pre-order, so that a walk is a loop.
#[derive(Debug, Clone, Copy)]
struct Cell<const K: usize> {
    centre: [f64; K],
    /// Squared width.
    width: f64,
    start: u32,
    end: u32,
    /// The cell after this one's last descendant: where the walk goes on when this one counts as a point.
    next: u32,
    leaf: bool,
}

/// A 2^K-ary tree over points sorted along the Morton curve: points of one cell are neighbours in memory.
#[derive(Default)]
struct Tree<const K: usize> {
    /// Morton code and row, sorted.
    codes: Vec<(u64, u32)>,
    order: Vec<u32>,
    points: Vec<[f64; K]>,
    cells: Vec<Cell<K>>,
}

impl<const K: usize> Tree<K> {
    /// Bits of a code for each axis.
    const BITS: u32 = if K == 1 { 52 } else { 63 / K as u32 };

    fn build(&mut self, points: &[[f64; K]]) {
        let (mut low, mut high) = ([f64::INFINITY; K], [f64::NEG_INFINITY; K]);
        for point in points {
            for axis in 0..K {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let width = (0..K).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
        let cells = (1u64 << Self::BITS) as f64;
        let scale = if width > 0.0 { cells / width } else { 0.0 };
        self.codes.clear();
        self.codes.extend(points.iter().enumerate().map(|(row, point)| {
            let mut code = 0u64;
            let place: [u64; K] = std::array::from_fn(|axis| {
                // A cast of floats saturates; the last cell takes the upper border.
                (((point[axis] - low[axis]) * scale) as u64).min((1 << Self::BITS) - 1)
            });
            for bit in (0..Self::BITS).rev() {
                for place in &place {
                    code = code << 1 | (place >> bit & 1);
                }
            }
            (code, row as u32)
        }));
        self.codes.sort_unstable();
        self.order.clear();
        self.order.extend(self.codes.iter().map(|&(_, row)| row));
        self.points.clear();
        self.points.extend(self.order.iter().map(|&row| points[row as usize]));
        self.cells.clear();
        self.add(0, points.len(), 0, width);
    }

    /// Adds the cell of points `start..end` at `depth` below the root, and all below it; the depth is at most `BITS`.
    fn add(&mut self, start: usize, end: usize, depth: u32, width: f64) -> [f64; K] {
        let at = self.cells.len();
        let leaf = end - start <= LEAF || depth == Self::BITS;
        self.cells.push(Cell {
            centre: [0.0; K],
            width: width * width,
            start: start as u32,
            end: end as u32,
            next: 0,
            leaf,
        });
        let mut sum = [0.0; K];
        if leaf {
            for point in &self.points[start..end] {
                (0..K).for_each(|axis| sum[axis] += point[axis]);
            }
        } else {
            let shift = (Self::BITS - 1 - depth) * K as u32;
            let mut from = start;
            while from < end {
                let child = self.codes[from].0 >> shift;
                let to = from + self.codes[from..end].partition_point(|&(code, _)| code >> shift == child);
                let part = self.add(from, to, depth + 1, 0.5 * width);
                (0..K).for_each(|axis| sum[axis] += part[axis]);
                from = to;
            }
        }
        let next = self.cells.len() as u32;
        let count = (end - start) as f64;
        let cell = &mut self.cells[at];
        cell.next = next;
        cell.centre = sum.map(|sum| sum / count);
        sum
    }

    /// Force and sum of the point at this place of the order.
    fn push_point(&self, place: usize, theta: f64) -> ([f64; K], f64) {
        let point = &self.points[place];
        let (mut force, mut sum) = ([0.0; K], 0.0);
        let mut at = 0;
        while at < self.cells.len() {
            let cell = &self.cells[at];
            let (start, end) = (cell.start as usize, cell.end as usize);
            let squared: f64 = (0..K).map(|axis| (point[axis] - cell.centre[axis]).powi(2)).sum();
            let holds_it = (start..end).contains(&place);
            if cell.width < theta * squared && !holds_it {
                push(point, &cell.centre, (end - start) as f64, &mut force, &mut sum);
                at = cell.next as usize;
            } else if cell.leaf {
                for (other, position) in (start..end).zip(&self.points[start..end]) {
                    if other != place {
                        push(point, position, 1.0, &mut force, &mut sum);
                    }
                }
                at = cell.next as usize;
            } else {
                at += 1;
            }
        }
        (force, sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use rand_distr::{Distribution, StandardNormal};

    fn points<const K: usize>(n: usize) -> Vec<[f64; K]> {
        let mut rng = Seed(6).rng();
        (0..n)
            .map(|_| {
                std::array::from_fn(|_| 10.0 * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng))
            })
            .collect()
    }

    fn close<const K: usize>() {
        let points = points::<K>(600);
        let (mut exact, mut tree) = (Repulsion::new(600), Repulsion::new(600));
        exact.compute(&points, 0.0, &Control::default()).unwrap();
        for (theta, tolerance) in [(1e-6, 1e-9), (0.2, 0.01), (0.5, 0.05)] {
            tree.compute(&points, theta, &Control::default()).unwrap();
            assert!((tree.normaliser / exact.normaliser - 1.0).abs() < tolerance, "{theta}");
            let norm = |v: &[f64; K]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let mean = exact.force.iter().map(norm).sum::<f64>() / 600.0;
            let off = |(a, b): (&[f64; K], &[f64; K])| norm(&std::array::from_fn(|axis| a[axis] - b[axis]));
            let off = exact.force.iter().zip(&tree.force).map(off).sum::<f64>() / 600.0;
            assert!(off < tolerance * mean, "theta {theta}: off by {off}, mean {mean}");
        }
    }

    #[test]
    fn the_tree_is_close_to_all_pairs() {
        close::<1>();
        close::<2>();
        close::<3>();
    }

    #[test]
    fn points_at_one_place_are_no_trouble() {
        let mut same = Repulsion::new(400);
        same.compute(&[[1.0, 2.0]; 400], 0.5, &Control::default()).unwrap();
        assert_eq!(same.normaliser, 400.0 * 399.0);
        assert!(same.force.iter().all(|force| *force == [0.0, 0.0]));
        let mut two = Repulsion::new(400);
        let points: Vec<[f64; 2]> = (0..400).map(|i| [(i % 2) as f64 * 3.0, 0.0]).collect();
        two.compute(&points, 0.5, &Control::default()).unwrap();
        let mut exact = Repulsion::new(400);
        exact.compute(&points, 0.0, &Control::default()).unwrap();
        assert!((two.normaliser - exact.normaliser).abs() < 1e-6);
    }
}
