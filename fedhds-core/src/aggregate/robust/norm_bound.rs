//! The mean of steps that are cut to a bound.

use super::bounded::Bounded;
use super::held::{Held, not_begun, resume_nothing};
use super::step::{Parts, bounds, lengths, share};
use super::weighting::Weighting;
use crate::error::{Error, Result};
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::range::above_zero;
use crate::types::{Adapter, Round};
use serde::{Deserialize, Serialize};

/// Settings of norm bounding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormBoundConfig {
    /// The longest step, above 0, in the adapter's own unit: the Frobenius norm over all its values. Left out: `multiple`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// The longest step of the A factors, and of the B factors, in medians of the round's, above 0. Left out, without a `bound`: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<f64>,
    /// What each client counts.
    pub weights: Weighting,
}

/// Norm bounding (Sun et al. 2019, *Can You Really Backdoor Federated Learning?*): with the global adapter `g` and updates `x_k`,
/// `x = g + sum_k p_k min(1, C / |x_k - g|) (x_k - g)`. However far `f` of `n` clients go, they move the result by at most `f C / n`.
///
/// With a fixed `bound` C it streams: one running sum is kept. With a `multiple` of the median it holds the round's updates, and bounds the
/// steps of A and of B each by its own median, as they differ by orders of magnitude: neither lends the other its room.
///
/// The step is measured in the factors, not in their product: factors `(cB, A/c)` have an honest product and would ruin the mean of the factors.
/// [`Limits::max_step`](crate::method::Limits) of a server is another bound, wide enough to never meet an honest client; it comes before.
#[derive(Debug, Clone)]
pub struct NormBound {
    config: NormBoundConfig,
    running: Option<(Held, Bounded)>,
}

const NAME: &str = "norm bound";

impl NormBound {
    /// A norm bound that has not begun.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range, and for a `multiple` beside a `bound`.
    pub fn new(config: &NormBoundConfig) -> Result<Self> {
        config.bound.map_or(Ok(()), |bound| above_zero("bound", bound))?;
        config.multiple.map_or(Ok(()), |multiple| above_zero("multiple", multiple))?;
        if let (Some(_), Some(multiple)) = (config.bound, config.multiple) {
            return Err(Error::parameter(
                "multiple",
                "none beside `bound`: each says how long a step may be",
                multiple,
            ));
        }
        Ok(Self { config: config.clone(), running: None })
    }
}

/// The whole step's length.
pub(super) fn whole(lengths: Parts) -> f64 {
    lengths.iter().map(|length| length * length).sum::<f64>().sqrt()
}

impl Aggregator for NormBound {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.running = Some((Held::begin(global, round), Bounded::begin(global, round)?));
        Ok(())
    }

    /// # Errors
    /// [`Error::Input`] before [`begin`](Aggregator::begin) and when the update's client does not come after the one before it;
    /// [`Error::Adapter`] that names the client and what of its adapter is not as the global one's, or not finite.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let Some((held, bounded)) = &mut self.running else { return Err(not_begun(NAME, update)) };
        let Some(bound) = self.config.bound else { return held.add(update) };
        held.check(update)?;
        let length = whole(lengths(&held.global, &update.adapter));
        let why = || format!("its step of {length:.3e} is cut to the bound of {bound:.3e}");
        bounded.add(held, update, [share(length, bound); 3], self.config.weights, why)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some((held, mut bounded)) = self.running.take() else { return Ok(Aggregated::default()) };
        let Some(multiple) = self.config.bound.is_none().then(|| self.config.multiple.unwrap_or(1.0)) else {
            return bounded.finish();
        };
        let all: Vec<Parts> = held.updates.iter().map(|update| lengths(&held.global, &update.adapter)).collect();
        let most = bounds(&all, multiple);
        for (update, lengths) in held.updates.iter().zip(&all) {
            let shares: Parts = std::array::from_fn(|part| share(lengths[part], most[part]));
            let why = || format!("its step of {:.3e} is cut to {multiple} medians of A and of B", whole(*lengths));
            bounded.add(&held, update, shares, self.config.weights, why)?;
        }
        let mut aggregated = bounded.finish()?;
        if aggregated.adapter.is_some() {
            aggregated.report.measures.insert("step_bound".into(), whole(most));
        }
        Ok(aggregated)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        resume_nothing(NAME, state)
    }

    /// With a fixed bound the running mean and one update; else all updates too.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        let bounded = Bounded::default().memory(clients, values);
        let held = if self.config.bound.is_some() { 0 } else { clients as u64 };
        bounded.saturating_add(held.saturating_mul(4 * values as u64))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::ClientId;

    fn bound(config: NormBoundConfig) -> NormBound {
        NormBound::new(&config).unwrap()
    }

    #[test]
    fn steps_are_cut_to_the_published_fixture() {
        let mut one = bound(NormBoundConfig { bound: Some(2.0), ..Default::default() });
        near(&of_vectors(&mut one, &ROWS[..1]), &[0.534_522_5, 1.069_045, 1.603_567_5], 1e-6);
        assert_eq!(of_vectors(&mut one, &[&[0.5, 0.5]]), [0.5, 0.5], "what lies within stays");
    }

    #[test]
    fn whoever_goes_far_moves_the_result_by_a_share_of_the_bound() {
        let mut fixed = bound(NormBoundConfig { bound: Some(2.0), ..Default::default() });
        let rows: [&[f32]; 4] = [&[1.0, 0.0], &[1.0, 0.0], &[1.0, 0.0], &[0.0, 3e38]];
        near(&of_vectors(&mut fixed, &rows), &[0.75, 0.5], 1e-6);
        let mut medians = bound(NormBoundConfig { multiple: Some(3.0), ..Default::default() });
        near(&of_vectors(&mut medians, &rows), &[0.75, 0.75], 1e-6);
    }

    #[test]
    fn a_factor_does_not_lend_its_room_to_the_other() {
        let global = layer(1, &[1.0, 0.0], &[0.0, 0.0]);
        let honest = layer(1, &[2.0, 0.0], &[0.01, 0.0]);
        let gauge = layer(1, &[0.02, 0.0], &[1.0, 0.0]);
        let aggregated = round(&mut bound(Default::default()), &global, &updates([honest.clone(), honest, gauge]));
        let adapter = aggregated.adapter.unwrap();
        assert!((adapter.tensors[B].data[0] - 0.01).abs() < 1e-7, "{adapter:?}");
        assert_eq!(aggregated.report.limited.keys().collect::<Vec<_>>(), [&ClientId(2)]);
        assert!(aggregated.report.measures["step_bound"] > 1.0);
    }

    #[test]
    fn a_claim_of_records_counts_only_where_it_is_asked_for() {
        let rows = [vector(&[1.0]), vector(&[0.0])];
        let mut claimed = updates(rows);
        claimed[0].records = 3;
        let by = |weights| bound(NormBoundConfig { bound: Some(9.0), weights, ..Default::default() });
        let of = |weights| round(&mut by(weights), &vector(&[0.0]), &claimed);
        assert_eq!(values(&of(Weighting::Equal).adapter.unwrap()), [0.5]);
        let records = of(Weighting::Records);
        assert_eq!(values(records.adapter.as_ref().unwrap()), [0.75]);
        assert_eq!(records.report.weights[&ClientId(0)], 0.75);
    }

    #[test]
    fn settings_have_their_ranges_and_memory_says_what_is_held() {
        let says = |config: NormBoundConfig| NormBound::new(&config).unwrap_err().to_string();
        assert!(
            says(NormBoundConfig { bound: Some(0.0), ..Default::default() })
                .contains("bound: expected a number above 0")
        );
        assert!(says(NormBoundConfig { multiple: Some(f64::NAN), ..Default::default() }).contains("multiple"));
        let both = NormBoundConfig { bound: Some(1.0), multiple: Some(1.0), ..Default::default() };
        assert!(says(both).contains("none beside `bound`"));
        let fixed = bound(NormBoundConfig { bound: Some(1.0), ..Default::default() });
        assert_eq!(fixed.memory(10, 1000), fixed.memory(10_000, 1000), "it streams");
        assert!(bound(Default::default()).memory(10, 1000) >= 10 * 4000);
    }
}
