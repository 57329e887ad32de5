//! Lloyd's iterations: assign, move each centroid to the mean of its rows, again (Lloyd 1982).

use super::assign::{Assignment, Centroids};
use super::points::{BLOCK, Points};
use crate::cluster::number_by_first_row;
use crate::error::Result;
use crate::loops;
use crate::types::{Control, Matrix};

/// Where one start ended.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    /// The cluster of each row.
    pub labels: Vec<u32>,
    pub clusters: usize,
    /// `sum_i w_i |x_i - c(i)|^2`, with `c` the means of the clusters.
    pub inertia: f64,
    /// How often the centroids moved.
    pub n_iter: u64,
}

/// Iterates from these rows as centroids, until no label changes, the squared way of all centroids is at most `tolerance`, or
/// `max_iter` times. No cluster of the result is without a row of positive weight.
pub(super) fn lloyd(
    points: &Points<'_>,
    start: Matrix,
    tolerance: f64,
    max_iter: u64,
    control: &Control,
) -> Result<Fitted> {
    let mut centroids = Centroids::new(start, points);
    let mut assignment = Assignment::new(points, centroids.len());
    let mut means = Means::new(points, centroids.len());
    assign_without_empty(points, &mut centroids, &mut assignment, control)?;
    let mut n_iter = 0;
    while n_iter < max_iter {
        n_iter += 1;
        control.check()?;
        let way = means.move_to(points, &assignment.labels, &mut centroids, control)?;
        assign_without_empty(points, &mut centroids, &mut assignment, control)?;
        // Clusters are numbered by their first rows in the end: a tie that an id decided is decided anew by those numbers.
        if !assignment.changed && assignment.tied && renumber(points, &mut centroids, &mut assignment, &mut means) {
            assign_without_empty(points, &mut centroids, &mut assignment, control)?;
        }
        if !assignment.changed || way <= tolerance {
            break;
        }
    }
    means.move_to(points, &assignment.labels, &mut centroids, control)?;
    let inertia = costs(points, &centroids, &assignment.labels, control)?.into_iter().map(|block| block.sum).sum();
    Ok(Fitted { labels: assignment.labels, clusters: centroids.len(), inertia, n_iter })
}

/// Numbers the clusters by their first rows; whether any number changed.
fn renumber(points: &Points<'_>, centroids: &mut Centroids, assignment: &mut Assignment, means: &mut Means) -> bool {
    let k = centroids.len();
    let groups: Vec<_> = assignment.labels.iter().map(|&label| Some(label)).collect();
    let (labels, old) = number_by_first_row(&groups, k);
    if old.len() < k || old.iter().enumerate().all(|(new, &old)| new == old as usize) {
        return false;
    }
    let order: Vec<usize> = old.iter().map(|&old| old as usize).collect();
    let Ok(rows) = centroids.rows().take_rows(&order) else { return false };
    assignment.labels = labels.into_iter().map(|label| label.map_or(0, |id| id.0)).collect();
    assignment.forget();
    *centroids = Centroids::new(rows, points);
    *means = Means::new(points, k);
    true
}

/// What a block of rows costs: `w_i |x_i - c(i)|^2`, and the first row that costs most.
#[derive(Default)]
struct Cost {
    sum: f64,
    costliest: (usize, f64),
}

fn costs(points: &Points<'_>, centroids: &Centroids, labels: &[u32], control: &Control) -> Result<Vec<Cost>> {
    let blocks: Vec<&[u32]> = labels.chunks(BLOCK).collect();
    loops::try_map(blocks.len(), 1, |block| {
        control.check()?;
        let mut cost = Cost { sum: 0.0, costliest: (0, 0.0) };
        for (i, &label) in (block * BLOCK..).zip(blocks[block]) {
            let own = points.weight(i) * points.squared(i, centroids.row(label as usize));
            cost.sum += own;
            if own > cost.costliest.1 {
                cost.costliest = (i, own);
            }
        }
        Ok(cost)
    })
}

/// Assigns. The centroid of a cluster without weight moves to the row that costs most (as in scikit-learn), until there is none:
/// each move lowers the inertia, so that this ends.
pub(super) fn assign_without_empty(
    points: &Points<'_>,
    centroids: &mut Centroids,
    assignment: &mut Assignment,
    control: &Control,
) -> Result<()> {
    assignment.assign(points, centroids, control)?;
    let mut changed = assignment.changed;
    loop {
        let mut filled = vec![false; centroids.len()];
        for (i, &label) in assignment.labels.iter().enumerate() {
            filled[label as usize] |= points.weight(i) > 0.0;
        }
        let Some(empty) = filled.iter().position(|filled| !filled) else { break };
        let mut costliest = (0, 0.0);
        for block in costs(points, centroids, &assignment.labels, control)? {
            if block.costliest.1 > costliest.1 {
                costliest = block.costliest;
            }
        }
        if costliest.1 == 0.0 {
            break;
        }
        centroids.set(empty, points.row(costliest.0), points);
        assignment.assign(points, centroids, control)?;
        changed |= assignment.changed;
    }
    assignment.changed = changed;
    Ok(())
}

/// Part of a cluster's magnitude that rounding of its running sum may reach before it is summed anew; well below f32's rounding.
const DRIFT: f64 = 1.0 / (1u64 << 40) as f64;

/// The weighted means of the clusters, as running sums: a cluster costs what its changes cost.
pub(super) struct Means {
    /// Labels that the sums are of; empty before the first.
    labels: Vec<u32>,
    /// `[k, d]`: sums of weight times row.
    sums: Vec<f64>,
    /// By cluster, a bound on the rounding of its sum.
    error: Vec<f64>,
    /// By row, its weight times its largest magnitude.
    magnitude: Vec<f64>,
}

impl Means {
    pub(super) fn new(points: &Points<'_>, k: usize) -> Self {
        let largest = |i: usize| points.row(i).iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let magnitude = |i: usize| points.weight(i) * f64::from(largest(i));
        Self {
            labels: Vec::new(),
            sums: vec![0.0; k * points.cols()],
            error: vec![0.0; k],
            magnitude: loops::map(points.len(), BLOCK, magnitude),
        }
    }

    /// Moves every centroid to the mean of its rows; returns the sum of the squared ways. A cluster without weight stays.
    pub(super) fn move_to(
        &mut self,
        points: &Points<'_>,
        labels: &[u32],
        centroids: &mut Centroids,
        control: &Control,
    ) -> Result<f64> {
        let (k, d) = (centroids.len(), points.cols());
        let (mut weight, mut size, mut magnitude) = (vec![0.0f64; k], vec![0usize; k], vec![0.0f64; k]);
        for (i, &label) in labels.iter().enumerate() {
            weight[label as usize] += points.weight(i);
            size[label as usize] += 1;
            magnitude[label as usize] += self.magnitude[i];
        }
        let first = self.labels.is_empty();
        // By cluster, the rows that came and went, in the order of rows.
        let mut changes: Vec<Vec<(usize, bool)>> = vec![Vec::new(); k];
        for (i, (&old, &new)) in self.labels.iter().zip(labels).enumerate() {
            if old != new {
                changes[old as usize].push((i, false));
                changes[new as usize].push((i, true));
            }
        }
        let mut anew: Vec<Option<Vec<usize>>> = vec![None; k];
        for (j, changes) in changes.iter().enumerate() {
            let passed: f64 = changes.iter().map(|&(i, _)| self.magnitude[i]).sum();
            self.error[j] += changes.len() as f64 * f64::EPSILON * (magnitude[j] + passed);
            if first || 2 * changes.len() > size[j] || self.error[j] > DRIFT * magnitude[j] {
                anew[j] = Some(Vec::with_capacity(size[j]));
                self.error[j] = 0.0;
            }
        }
        if anew.iter().any(Option::is_some) {
            for (i, &label) in labels.iter().enumerate() {
                if let Some(rows) = &mut anew[label as usize] {
                    rows.push(i);
                }
            }
        }
        loops::try_parts(&mut self.sums, d, 1, |cluster, sum| {
            control.check()?;
            match &anew[cluster] {
                Some(rows) => {
                    sum.fill(0.0);
                    let blocks: Vec<&[usize]> = rows.chunks(4 * BLOCK).collect();
                    let parts = loops::try_map(blocks.len(), 1, |block| {
                        control.check()?;
                        let mut part = vec![0.0; d];
                        blocks[block].iter().for_each(|&i| add(&mut part, points.row(i), points.weight(i)));
                        Ok(part)
                    })?;
                    for part in parts {
                        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                    }
                }
                None => {
                    for &(i, came) in &changes[cluster] {
                        let weight = points.weight(i);
                        add(sum, points.row(i), if came { weight } else { -weight });
                    }
                }
            }
            Ok(())
        })?;
        self.labels = labels.to_vec();
        let mut way = 0.0;
        let mut mean = vec![0.0f32; d];
        for j in (0..k).filter(|&j| weight[j] > 0.0) {
            let sum = &self.sums[j * d..(j + 1) * d];
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (sum / weight[j]) as f32);
            way += centroids.set(j, &mean, points);
        }
        Ok(way)
    }
}

fn add(sum: &mut [f64], row: &[f32], weight: f64) {
    sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += weight * f64::from(x));
}
