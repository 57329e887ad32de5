//! The geometric median: the point with the least sum of distances to the updates.

use super::gauge::in_one_gauge;
use super::gram::Gram;
use super::held::{Held, Robust, Rule};
use super::step::{lower_median, mean};
use super::weighting::Weighting;
use crate::error::Result;
use crate::stage::Aggregated;
use crate::types::range::{above_zero, within};
use serde::{Deserialize, Serialize};

/// Settings of the geometric median.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeometricMedianConfig {
    /// The distance below which an update weighs no more, above 0, in the unit of the products B A with their scale; default 1e-6.
    pub nu: f64,
    /// Iterations, 1 to 10,000; default 32.
    pub iterations: usize,
    /// What each client counts.
    pub weights: Weighting,
}

impl Default for GeometricMedianConfig {
    fn default() -> Self {
        Self { nu: 1e-6, iterations: 32, weights: Weighting::default() }
    }
}

#[derive(Debug, Clone)]
struct GeometricMedian(GeometricMedianConfig);

impl Robust {
    /// The geometric median by the smoothed Weiszfeld algorithm (RFA: Pillutla et al. 2022, *Robust Aggregation for Federated Learning*,
    /// algorithm 2): from the global adapter, `w_k = a_k / max(nu, |x_k - v|)` and `v = sum_k w_k x_k / sum_k w_k`, `iterations` times. It tolerates
    /// hostile clients of less than half of the weight.
    ///
    /// Distances are of the products B A, so that the gauge of the factors does not matter. `v` is a mean of updates throughout, so that its distances follow from the inner
    /// products of all pairs, and iterations cost next to nothing; the result is the mean of the factors with the last weights, those
    /// that lie far off in the gauge of the others. The paper begins from the updates' mean.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting outside its range.
    pub fn geometric_median(config: &GeometricMedianConfig) -> Result<Self> {
        above_zero("nu", config.nu)?;
        within("iterations", config.iterations, 1..=10_000)?;
        Ok(Self::of(GeometricMedian(config.clone())))
    }
}

/// A client that lies so many medians of the distances away is named in the report.
const FAR: f64 = 4.0;

/// The distance of each update from `sum_k w_k x_k`, for weights that sum to 1.
fn distances(gram: &Gram, weights: &[f64]) -> Vec<f64> {
    let along = |i: usize| weights.iter().enumerate().map(|(j, weight)| weight * gram.inner(i, j)).sum::<f64>();
    let along: Vec<f64> = (0..gram.len()).map(along).collect();
    let square: f64 = weights.iter().zip(&along).map(|(weight, along)| weight * along).sum();
    along.iter().enumerate().map(|(i, along)| (gram.inner(i, i) - 2.0 * along + square).max(0.0).sqrt()).collect()
}

/// The weights after so many iterations, normalised to a sum of 1, and the distances from what they make.
fn weiszfeld(gram: &Gram, counts: &[f64], nu: f64, iterations: usize) -> (Vec<f64>, Vec<f64>) {
    // From the global adapter, which the inner products are measured from.
    let mut far: Vec<f64> = (0..gram.len()).map(|i| gram.inner(i, i).max(0.0).sqrt()).collect();
    let mut weights = vec![0.0; gram.len()];
    for _ in 0..iterations {
        weights = counts.iter().zip(&far).map(|(count, far)| count / far.max(nu)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        far = distances(gram, &weights);
    }
    (weights, far)
}

impl Rule for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric median"
    }

    fn least(&self) -> usize {
        1
    }

    fn combine(&self, held: &Held) -> Result<Aggregated> {
        let gram = Gram::of(held);
        let counts: Vec<f64> = held.updates.iter().map(|update| self.0.weights.of(update.records) as f64).collect();
        let (weights, far) = weiszfeld(&gram, &counts, self.0.nu, self.0.iterations);
        let mut aggregated = Aggregated::default();
        let taken = in_one_gauge(held, &gram, &mut aggregated.report.limited);
        let weighted = weights.iter().copied().zip(taken.iter().map(AsRef::as_ref));
        aggregated.adapter = Some(mean(held, weighted));
        let (total, usual) = (counts.iter().sum::<f64>(), lower_median(far.clone()));
        for (((update, weight), count), far) in held.updates.iter().zip(&weights).zip(&counts).zip(&far) {
            if *far > (FAR * usual).max(self.0.nu) {
                let text = format!(
                    "it lies {far:.3e} from the median, others {usual:.3e}, and weighs {:.2}% where it would count {:.1}%",
                    100.0 * weight,
                    100.0 * count / total
                );
                aggregated.report.limited.insert(update.client, text);
            }
        }
        let sum: f64 = far.iter().zip(&counts).map(|(far, count)| far * count / total).sum();
        aggregated.report.measures.insert("mean_distance".into(), sum);
        aggregated.report.weights = held.report_weights(&weights);
        Ok(aggregated)
    }

    fn working_memory(&self, clients: usize, values: usize) -> u64 {
        Gram::memory(clients, values).saturating_add(8 * values as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::ClientId;

    fn median(nu: f64, iterations: usize) -> Robust {
        Robust::geometric_median(&GeometricMedianConfig { nu, iterations, ..Default::default() }).unwrap()
    }

    #[test]
    fn three_iterations_give_the_published_fixture() {
        near(&of_vectors(&mut median(0.1, 3), &ROWS), &[3.787_887_6, 4.787_887_6, 5.787_887_6], 1e-6);
    }

    #[test]
    fn it_finds_the_point_of_the_least_sum_of_distances() {
        let corner: [&[f32]; 3] = [&[0.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]];
        near(&of_vectors(&mut median(1e-9, 2000), &corner), &[0.211_324_87; 2], 1e-6);
        let majority: [&[f32]; 5] = [&[3.0], &[3.0], &[3.0], &[9e30], &[-7.0]];
        near(&of_vectors(&mut median(1e-6, 32), &majority), &[3.0], 1e-5);
    }

    #[test]
    fn one_at_the_end_of_the_range_does_not_spoil_the_arithmetic() {
        let rows: [&[f32]; 4] = [&[1.0, 0.0], &[0.9, 0.1], &[1.1, -0.1], &[3e38, 3e38]];
        let aggregated = round(&mut median(1e-6, 64), &vector(&[0.0; 2]), &updates(rows.map(vector)));
        near(values(&aggregated.adapter.unwrap()), &[1.0, 0.0], 0.1);
        assert_eq!(aggregated.report.limited.keys().collect::<Vec<_>>(), [&ClientId(3)]);
    }

    #[test]
    fn records_count_where_it_is_asked_for_and_settings_have_their_ranges() {
        let mut claimed = updates([vector(&[0.0]), vector(&[1.0]), vector(&[1.0])]);
        claimed[0].records = 5;
        let by = |weights| {
            let config = GeometricMedianConfig { weights, ..Default::default() };
            let aggregated = round(&mut Robust::geometric_median(&config).unwrap(), &vector(&[0.5]), &claimed);
            values(&aggregated.adapter.unwrap())[0]
        };
        assert!(by(Weighting::Equal) > 0.99 && by(Weighting::Records) < 0.01);
        let says = |nu, iterations| {
            let config = GeometricMedianConfig { nu, iterations, ..Default::default() };
            Robust::geometric_median(&config).unwrap_err().to_string()
        };
        assert!(says(0.0, 1).contains("nu: expected") && says(0.1, 0).contains("iterations: expected"));
    }
}
