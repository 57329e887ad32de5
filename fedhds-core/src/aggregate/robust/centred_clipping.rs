//! The mean of steps that are cut around a centre.

use super::bounded::Bounded;
use super::held::{Held, not_begun, resume_nothing};
use super::norm_bound::whole;
use super::step::{lengths, lower_median, mean, share};
use super::weighting::Weighting;
use crate::aggregate::step::distance;
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::range::{above_zero, within};
use crate::types::{Adapter, Round};
use serde::{Deserialize, Serialize};

/// Settings of centred clipping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CentredClippingConfig {
    /// The radius, above 0, in the adapter's own unit: the Frobenius norm over all its values. Left out: in each iteration the median of how far
    /// the updates lie from the centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// How often the centre moves, 1 to 1,000; default 3.
    pub iterations: usize,
    /// What each client counts.
    pub weights: Weighting,
}

impl Default for CentredClippingConfig {
    fn default() -> Self {
        Self { tau: None, iterations: 3, weights: Weighting::default() }
    }
}

/// Centred clipping (Karimireddy et al. 2021, *Learning from History for Byzantine Robust Optimization*, algorithm 2): with the updates `x_k`
/// and the centre `v`, `v = v + sum_k p_k min(1, tau / |x_k - v|) (x_k - v)`, `iterations` times. It tolerates about a tenth of the clients.
///
/// The first centre is the global adapter, where the paper has the last round's momentum: an update is an adapter here, and honest ones lie
/// around the one that they began from. With one iteration and a `tau` that is [`NormBound`](super::NormBound), and it streams; else it
/// holds the round's updates. Distances are of the factors, not of their product, so that `(cB, A/c)` is far away.
#[derive(Debug, Clone)]
pub struct CentredClipping {
    config: CentredClippingConfig,
    running: Option<(Held, Bounded)>,
}

const NAME: &str = "centred clipping";

impl CentredClipping {
    /// A centred clipping that has not begun.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a setting outside its range.
    pub fn new(config: &CentredClippingConfig) -> Result<Self> {
        config.tau.map_or(Ok(()), |tau| above_zero("tau", tau))?;
        within("iterations", config.iterations, 1..=1000)?;
        Ok(Self { config: config.clone(), running: None })
    }

    /// The radius, where the round streams.
    fn streams(&self) -> Option<f64> {
        self.config.tau.filter(|_| self.config.iterations == 1)
    }

    fn iterate(&self, mut held: Held) -> Aggregated {
        let weights: Vec<f64> =
            held.updates.iter().map(|update| self.config.weights.of(update.records) as f64).collect();
        let total: f64 = weights.iter().sum();
        if total == 0.0 {
            return Aggregated::default();
        }
        let mut aggregated = Aggregated::default();
        for _ in 0..self.config.iterations {
            // The centre stands in the place of the global adapter: steps are measured from it.
            let far: Vec<f64> = held.updates.iter().map(|update| distance(&held.global, &update.adapter)).collect();
            let tau = self.config.tau.unwrap_or_else(|| lower_median(far.clone()));
            let kept: Vec<f64> = far.iter().map(|&far| share(far, tau)).collect();
            let steps = weights.iter().zip(&kept).map(|(weight, kept)| weight / total * kept);
            let centre = mean(&held, steps.zip(held.updates.iter().map(|update| &update.adapter)));
            aggregated.report.limited.clear();
            for ((update, far), kept) in held.updates.iter().zip(&far).zip(&kept) {
                if *kept < 1.0 {
                    let text = format!("it lies {far:.3e} from the centre, and counts as at {tau:.3e}");
                    aggregated.report.limited.insert(update.client, text);
                }
            }
            aggregated.report.measures.insert("radius".into(), tau);
            held.global = centre;
        }
        aggregated.report.weights = held.report_weights(&weights);
        aggregated.adapter = Some(held.global);
        aggregated
    }
}

impl Aggregator for CentredClipping {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.running = Some((Held::begin(global, round), Bounded::begin(global, round)?));
        Ok(())
    }

    /// # Errors
    /// [`Error::Input`](crate::Error::Input) before [`begin`](Aggregator::begin) and when the update's client does not come after the one before
    /// it; [`Error::Adapter`](crate::Error::Adapter) that names the client and what of its adapter is not as the global one's, or not finite.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let tau = self.streams();
        let Some((held, bounded)) = &mut self.running else { return Err(not_begun(NAME, update)) };
        let Some(tau) = tau else { return held.add(update) };
        held.check(update)?;
        let far = whole(lengths(&held.global, &update.adapter));
        let why = || format!("it lies {far:.3e} from the centre, and counts as at {tau:.3e}");
        bounded.add(held, update, [share(far, tau); 3], self.config.weights, why)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some((held, mut bounded)) = self.running.take() else { return Ok(Aggregated::default()) };
        match self.streams() {
            Some(_) => bounded.finish(),
            None => Ok(self.iterate(held)),
        }
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        resume_nothing(NAME, state)
    }

    /// Where it streams the running mean and one update; else all updates, and the centre in f64.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        let bounded = Bounded::default().memory(clients, values);
        let held = if self.streams().is_some() { 0 } else { clients as u64 + 3 };
        bounded.saturating_add(held.saturating_mul(4 * values as u64))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::super::{NormBound, NormBoundConfig};
    use super::*;
    use crate::types::ClientId;

    fn clipping(tau: Option<f64>, iterations: usize) -> CentredClipping {
        CentredClipping::new(&CentredClippingConfig { tau, iterations, ..Default::default() }).unwrap()
    }

    #[test]
    fn one_iteration_is_the_norm_bound() {
        let mut bound = NormBound::new(&NormBoundConfig { bound: Some(2.0), ..Default::default() }).unwrap();
        let streamed = of_vectors(&mut clipping(Some(2.0), 1), &ROWS);
        assert_eq!(streamed, of_vectors(&mut bound, &ROWS));
        near(&of_vectors(&mut clipping(Some(2.0), 1), &ROWS[..1]), &[0.534_522_5, 1.069_045, 1.603_567_5], 1e-6);
    }

    #[test]
    fn the_centre_moves_by_the_formula() {
        // From 0: (1 + 1 + 1) / 3 = 1; then from 1: (0 + 1 + 1) / 3.
        let rows: [&[f32]; 3] = [&[1.0], &[4.0], &[100.0]];
        near(&of_vectors(&mut clipping(Some(1.0), 2), &rows), &[1.0 + 2.0 / 3.0], 1e-6);
        // The median is the radius: of 1, 4, 100 it is 4.
        near(&of_vectors(&mut clipping(None, 1), &rows), &[3.0], 1e-6);
    }

    #[test]
    fn who_was_cut_is_said_and_settings_have_their_ranges() {
        let rows = [vector(&[1.0]), vector(&[1.0]), vector(&[3e38])];
        let aggregated = round(&mut clipping(None, 4), &vector(&[0.0]), &updates(rows));
        let limited = &aggregated.report.limited;
        assert!(limited.len() == 1 && limited[&ClientId(2)].contains("from the centre"), "{limited:?}");
        assert!((aggregated.report.weights.values().sum::<f64>() - 1.0).abs() < 1e-12);
        let says = |config| CentredClipping::new(&config).unwrap_err().to_string();
        assert!(says(CentredClippingConfig { tau: Some(-1.0), ..Default::default() }).contains("tau"));
        assert!(says(CentredClippingConfig { iterations: 0, ..Default::default() }).contains("iterations"));
        assert!(clipping(Some(1.0), 1).memory(10_000, 1000) < clipping(Some(1.0), 2).memory(100, 1000));
    }
}
