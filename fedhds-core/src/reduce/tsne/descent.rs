//! Gradient descent on the Kullback-Leibler divergence.

use super::TsneConfig;
use super::affinity::Affinities;
use super::repulsion::Repulsion;
use crate::error::Result;
use crate::loops;
use crate::types::Control;

/// Momentum while exaggerated, and after.
const MOMENTUM: (f64, f64) = (0.5, 0.8);
/// The least gain.
const LEAST_GAIN: f64 = 0.01;
/// Longest step of one point, as in openTSNE.
const LONGEST_STEP: f64 = 5.0;
/// Points of one task.
const TASK: usize = 128;

/// Moves `points` by `max_iter` steps.
///
/// The gradient is `sum_j (e p_ij - q_ij) s_ij (y_i - y_j)` with `s_ij = 1 / (1 + |y_i - y_j|^2)`, `q_ij = s_ij / Z` and `e`
/// the exaggeration (van der Maaten and Hinton 2008, eq. 5, without its factor 4, as the usual learning rates assume).
/// Each coordinate has a gain that grows by 0.2 while the gradient keeps its direction and shrinks by a fifth when it turns
/// (Jacobs 1988).
pub(super) fn descend<const K: usize>(
    config: &TsneConfig,
    affinities: &Affinities,
    points: &mut [[f64; K]],
    control: &Control,
) -> Result<()> {
    let n = points.len();
    let mut repulsion = Repulsion::<K>::new(n);
    let mut step = vec![[0.0; K]; n];
    let mut gain = vec![[1.0; K]; n];
    let mut moved = points.to_vec();
    control.begin("t-SNE", Some(config.max_iter as u64));
    for iteration in 0..config.max_iter {
        control.check()?;
        let early = iteration < config.early_exaggeration_iter;
        let (exaggeration, momentum) = if early { (config.early_exaggeration, MOMENTUM.0) } else { (1.0, MOMENTUM.1) };
        let rate = config.learning_rate.unwrap_or(n as f64 / exaggeration);
        repulsion.compute(points, config.angle, control)?;
        let from = &*points;
        let (force, normaliser) = (&repulsion.force, repulsion.normaliser.max(f64::MIN_POSITIVE));
        let update = |i: usize, moved: &mut [f64; K], step: &mut [f64; K], gain: &mut [f64; K]| {
            let attraction = attraction(affinities, from, i);
            let mut length = 0.0;
            for axis in 0..K {
                let gradient = exaggeration * attraction[axis] - force[i][axis] / normaliser;
                // A step runs against the gradient: opposite signs mean that it goes on.
                gain[axis] = if (step[axis] > 0.0) != (gradient > 0.0) {
                    gain[axis] + 0.2
                } else {
                    (0.8 * gain[axis]).max(LEAST_GAIN)
                };
                step[axis] = momentum * step[axis] - rate * gain[axis] * gradient;
                length += step[axis] * step[axis];
            }
            let length = length.sqrt();
            if length > LONGEST_STEP {
                step.iter_mut().for_each(|x| *x *= LONGEST_STEP / length);
            }
            for axis in 0..K {
                moved[axis] = from[i][axis] + step[axis];
            }
        };
        let tasks = moved.chunks_mut(TASK).zip(step.chunks_mut(TASK)).zip(gain.chunks_mut(TASK)).collect();
        loops::try_hand_out(tasks, 1, |task, ((moved, step), gain)| {
            control.check()?;
            for (((i, moved), step), gain) in (task * TASK..).zip(moved).zip(step).zip(gain) {
                update(i, moved, step, gain);
            }
            Ok(())
        })?;
        let mut mean = [0.0; K];
        for point in &moved {
            (0..K).for_each(|axis| mean[axis] += point[axis] / n as f64);
        }
        for (point, moved) in points.iter_mut().zip(&moved) {
            (0..K).for_each(|axis| point[axis] = moved[axis] - mean[axis]);
        }
        control.advance("t-SNE", 1);
    }
    control.end("t-SNE");
    Ok(())
}

/// `sum_j p_ij s_ij (y_i - y_j)`.
fn attraction<const K: usize>(affinities: &Affinities, points: &[[f64; K]], i: usize) -> [f64; K] {
    let point = &points[i];
    let mut sum = [0.0; K];
    for (j, p) in affinities.row(i) {
        let mut difference = [0.0; K];
        let mut squared = 0.0;
        for axis in 0..K {
            difference[axis] = point[axis] - points[j][axis];
            squared += difference[axis] * difference[axis];
        }
        let weight = p / (1.0 + squared);
        for axis in 0..K {
            sum[axis] += weight * difference[axis];
        }
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::kl_divergence;
    use super::*;
    use crate::types::{Matrix, Seed};
    use rand::RngExt as _;

    /// The gradient's formula against differences of the divergence itself.
    #[test]
    fn the_gradient_is_the_divergences() {
        let mut rng = Seed(8).rng();
        let x = Matrix::new(20, 4, (0..80).map(|_| rng.random::<f32>()).collect()).unwrap();
        let p = Affinities::from_features(&x, 5.0, &Control::default()).unwrap();
        let points: Vec<[f64; 2]> =
            (0..20).map(|_| std::array::from_fn(|_| f64::from(rng.random::<f32>()) * 4.0)).collect();
        let divergence = |points: &[[f64; 2]]| {
            let flat = points.iter().flatten().map(|&x| x as f32).collect();
            kl_divergence(&p, &Matrix::new(20, 2, flat).unwrap()).unwrap()
        };
        let mut repulsion = Repulsion::new(20);
        repulsion.compute(&points, 0.0, &Control::default()).unwrap();
        for (i, axis) in [(0, 0), (7, 1), (19, 0)] {
            let formula = 4.0 * (attraction(&p, &points, i)[axis] - repulsion.force[i][axis] / repulsion.normaliser);
            let (mut more, mut less) = (points.clone(), points.clone());
            more[i][axis] += 1e-2;
            less[i][axis] -= 1e-2;
            let difference = (divergence(&more) - divergence(&less)) / 2e-2;
            assert!((formula - difference).abs() < 2e-4, "{formula} {difference}");
        }
    }
}
