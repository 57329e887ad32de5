//! Nearest-neighbour mixing: each update becomes the mean of its nearest, and another rule takes what comes of it.

use super::MOST;
use super::gauge::in_one_gauge;
use super::gram::Gram;
use super::held::{Held, not_begun, too_few};
use super::step::mean;
use crate::error::Result;
use crate::stage::{Aggregated, Aggregator, ClientUpdate};
use crate::types::range::within;
use crate::types::{Adapter, ClientId, Factors, Round};
use std::collections::BTreeMap;

/// Nearest-neighbour mixing (NNM: Allouah et al. 2023, arXiv 2302.01772, *Fixing by Mixing*): each update is replaced by the mean of the `n - f`
/// updates nearest to it, itself among them, and the inner rule takes the mixed ones. Where clients' data differ, honest updates lie far
/// apart, and a rule alone would cut them; mixed, they lie together. With the trimmed mean inside it is the rule to begin with on skewed clients.
///
/// It needs `n >= 2 f + 1` updates, and the inner rule's own number; of fewer the global adapter stays and the report's `discarded` says why. Distances are
/// of the products B A, means of the factors, those that lie far off in the gauge of the others. Every client counts once for the inner rule, whatever records it
/// claims. It keeps `n^2` distances and all updates; what is kept between rounds is the inner rule's.
pub struct NearestMixing {
    f: usize,
    inner: Box<dyn Aggregator>,
    held: Option<Held>,
}

const NAME: &str = "nearest-neighbour mixing";

impl NearestMixing {
    /// Mixing before any aggregator, one of your own too, that has not begun. `f` is how many hostile clients of a round are tolerated.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for more than 1,048,576 of them.
    pub fn around(f: usize, inner: Box<dyn Aggregator>) -> Result<Self> {
        within("f", f, 0..=MOST)?;
        Ok(Self { f, inner, held: None })
    }

    /// The mixed updates go to the inner rule, whose report is told in terms of the clients.
    fn mix(&mut self, held: &Held) -> Result<Aggregated> {
        let (n, gram) = (held.len(), Gram::of(held));
        let near = n - self.f;
        let mut limited = BTreeMap::new();
        let taken = in_one_gauge(held, &gram, &mut limited);
        self.inner.begin(&held.global, held.round)?;
        // Of each mixed update the ones that it is made of.
        let mut made_of = Vec::with_capacity(n);
        for (i, update) in held.updates.iter().enumerate() {
            let nearest: Vec<usize> = gram.nearest(i).into_iter().take(near).collect();
            let share = 1.0 / near as f64;
            let mut mixed = mean(held, nearest.iter().filter_map(|&j| Some((share, taken.get(j)?.as_ref()))));
            // The mean of equal values is that value but for its bits.
            self.inner.trains(held.round).restore(&held.global, &mut mixed);
            self.inner.add(&ClientUpdate { adapter: mixed, records: 1, ..update.clone() })?;
            made_of.push(nearest);
        }
        let mut aggregated = self.inner.finish()?;
        let inner_weights = std::mem::take(&mut aggregated.report.weights);
        let mut chosen_by_others = vec![false; n];
        let mut weights: BTreeMap<ClientId, f64> = BTreeMap::new();
        for (i, (update, nearest)) in held.updates.iter().zip(&made_of).enumerate() {
            let weight = inner_weights.get(&update.client).copied().unwrap_or_default();
            for &j in nearest {
                chosen_by_others[j] |= j != i;
                if let Some(other) = held.updates.get(j).filter(|_| !inner_weights.is_empty()) {
                    *weights.entry(other.client).or_default() += weight / near as f64;
                }
            }
        }
        for (update, chosen) in held.updates.iter().zip(chosen_by_others) {
            if n > 1 && near > 1 && !chosen {
                let text = format!("it is among the {near} nearest updates of no other client");
                limited.insert(update.client, text);
            }
        }
        // What the inner rule says of a client is said of the mixed update in its place.
        let inner = std::mem::take(&mut aggregated.report.limited);
        for (client, why) in inner {
            limited.entry(client).or_insert_with(|| format!("its mixed update: {why}"));
        }
        (aggregated.report.weights, aggregated.report.limited) = (weights, limited);
        Ok(aggregated)
    }
}

impl Aggregator for NearestMixing {
    fn begin(&mut self, global: &Adapter, round: Round) -> Result<()> {
        self.held = Some(Held::begin(global, round));
        // What it reports of this adapter is told before anybody trains.
        self.inner.begin(global, round)
    }

    /// # Errors
    /// [`Error::Input`](crate::Error::Input) before [`begin`](Aggregator::begin) and when the update's client does not come after the one before it;
    /// [`Error::Adapter`](crate::Error::Adapter) that names the client and what of its adapter is not as the global one's, or not finite.
    fn add(&mut self, update: &ClientUpdate) -> Result<()> {
        let held = self.held.as_mut().ok_or_else(|| not_begun(NAME, update))?;
        let frozen = self.inner.trains(held.round).check_frozen(&held.global, &update.adapter);
        frozen.map_err(|error| error.of_client(update.client.0))?;
        held.add(update)
    }

    fn finish(&mut self) -> Result<Aggregated> {
        let Some(held) = self.held.take() else { return Ok(Aggregated::default()) };
        let least = 2 * self.f + 1;
        if held.len() < least {
            return Ok(too_few(NAME, least, held.len()));
        }
        self.mix(&held)
    }

    /// The inner rule's.
    fn trains(&self, round: Round) -> Factors {
        self.inner.trains(round)
    }

    /// The inner rule's.
    fn state(&self) -> Result<Vec<u8>> {
        self.inner.state()
    }

    fn resume(&mut self, state: &[u8]) -> Result<()> {
        self.inner.resume(state)
    }

    /// The inner rule's, all updates, the global adapter, a mixed update, and all pairs.
    fn memory(&self, clients: usize, values: usize) -> u64 {
        let own = (clients as u64 + 4).saturating_mul(4 * values as u64);
        self.inner.memory(clients, values).saturating_add(own).saturating_add(Gram::memory(clients, values))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::super::{MultiKrumConfig, TrimmedMeanConfig};
    use super::*;
    use crate::aggregate::{AggregatorConfig, FedAvgMConfig, NearestMixingConfig, NoSettings};

    fn mixing(f: usize, inner: AggregatorConfig) -> NearestMixing {
        NearestMixingConfig { f, inner: Box::new(inner) }.build().unwrap()
    }

    /// Says which updates it was given.
    struct Seen(std::sync::Arc<std::sync::Mutex<Vec<Vec<f32>>>>);

    impl Aggregator for Seen {
        fn begin(&mut self, _: &Adapter, _: Round) -> Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn add(&mut self, update: &ClientUpdate) -> Result<()> {
            self.0.lock().unwrap().push(values(&update.adapter).to_vec());
            Ok(())
        }
        fn finish(&mut self) -> Result<Aggregated> {
            Ok(Aggregated::default())
        }
        fn state(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn resume(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn memory(&self, _: usize, _: usize) -> u64 {
            0
        }
    }

    #[test]
    fn each_update_becomes_the_mean_of_its_nearest() {
        let seen = std::sync::Arc::default();
        let mut mixing = NearestMixing::around(1, Box::new(Seen(std::sync::Arc::clone(&seen)))).unwrap();
        round(&mut mixing, &vector(&[0.0; 3]), &updates(ROWS.map(vector)));
        let seen = seen.lock().unwrap();
        // The published row 0; of the middle one's equal neighbours the lower id.
        near(&seen[0], &[2.5, 3.5, 4.5], 1e-6);
        near(&seen[1], &[2.5, 3.5, 4.5], 1e-6);
        near(&seen[2], &[5.5, 6.5, 7.5], 1e-6);
    }

    #[test]
    fn with_a_mean_inside_weights_say_who_was_mixed_in() {
        let rows: [&[f32]; 4] = [&[1.0], &[2.0], &[3.0], &[1e30]];
        let mut mean = mixing(1, AggregatorConfig::WeightedMean(NoSettings {}));
        let aggregated = round(&mut mean, &vector(&[0.0]), &updates(rows.map(vector)));
        let report = aggregated.report;
        assert!((report.weights.values().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((report.weights[&ClientId(3)] - 1.0 / 12.0).abs() < 1e-12, "in its own mixture alone: {report:?}");
        assert!(report.limited[&ClientId(3)].contains("of no other client"), "{report:?}");
        // Three of the four trimmed away or mixed: the honest mean is what stays.
        let trimmed = AggregatorConfig::TrimmedMean(TrimmedMeanConfig { b: 1 });
        near(&of_vectors(&mut mixing(1, trimmed), &rows), &[2.0], 1e-6);
    }

    #[test]
    fn the_inner_rule_keeps_its_state_and_says_its_own_errors() {
        let momentum = || mixing(0, AggregatorConfig::FedAvgM(FedAvgMConfig { learning_rate: 1.0, momentum: 0.5 }));
        let mut whole = momentum();
        let step = |mixing: &mut NearestMixing| of_vectors(mixing, &[&[1.0], &[1.0]]);
        assert_eq!([step(&mut whole), step(&mut whole)], [[1.0], [1.5]]);
        let mut resumed = momentum();
        step(&mut resumed);
        let state = resumed.state().unwrap();
        let mut after = momentum();
        after.resume(&state).unwrap();
        assert_eq!(step(&mut after), [1.5]);
        let wrong = NearestMixingConfig {
            inner: Box::new(AggregatorConfig::FedAvgM(FedAvgMConfig { momentum: 2.0, ..Default::default() })),
            f: 1,
        };
        assert!(wrong.build().map(|_| ()).unwrap_err().to_string().contains("inner.momentum"));
        let twice = NearestMixingConfig { inner: Box::new(AggregatorConfig::NearestMixing(Default::default())), f: 1 };
        assert!(twice.build().map(|_| ()).unwrap_err().to_string().contains("does not mix itself"));
    }

    #[test]
    fn too_few_updates_keep_the_global_adapter_whoever_needs_more() {
        let two = updates([vector(&[1.0]), vector(&[2.0])]);
        let why = |f, inner| round(&mut mixing(f, inner), &vector(&[0.0]), &two).report.discarded.unwrap();
        let mean = AggregatorConfig::WeightedMean(NoSettings {});
        assert!(why(1, mean).contains("the nearest-neighbour mixing needs at least 3 updates, got 2"));
        let krum = AggregatorConfig::MultiKrum(MultiKrumConfig::default());
        assert!(why(0, krum).contains("the multi-krum needs at least 5 updates, got 2"));
    }
}
