//! Multi-Krum: the mean of the updates whose neighbours are nearest.

use super::MOST;
use super::gauge::in_one_gauge;
use super::gram::Gram;
use super::held::{Held, Robust, Rule};
use super::step::mean;
use crate::error::{Error, Result};
use crate::sorting;
use crate::stage::Aggregated;
use crate::types::range::within;
use serde::{Deserialize, Serialize};

/// Settings of Multi-Krum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiKrumConfig {
    /// Hostile clients of a round that are tolerated, at most 1,048,576; default 1.
    pub f: usize,
    /// How many updates the mean is of, at least 1: 1 is Krum. Left out, and at most: n - f - 2 of n updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m: Option<usize>,
}

impl Default for MultiKrumConfig {
    fn default() -> Self {
        Self { f: 1, m: None }
    }
}

#[derive(Debug, Clone)]
struct MultiKrum(MultiKrumConfig);

impl Robust {
    /// Multi-Krum (Blanchard et al. 2017, *Machine Learning with Adversaries*): the score of an update is the sum of its `n - f - 2` smallest
    /// squared distances to the others, and the result is the mean of the `m` updates of the smallest scores; of equal ones the lower client id. It needs
    /// `n >= 2 f + 3` updates of a round.
    ///
    /// Distances are of the products B A, so that the gauge of the factors does not matter; factors of the mean that lie far off are brought to the gauge of
    /// the others. Every client counts once, whatever records it claims. It keeps `n^2` distances.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a setting outside its range.
    pub fn multi_krum(config: &MultiKrumConfig) -> Result<Self> {
        within("f", config.f, 0..=MOST)?;
        if config.m == Some(0) {
            return Err(Error::parameter("m", "a whole number of at least 1", 0));
        }
        Ok(Self::of(MultiKrum(config.clone())))
    }
}

/// The sum of each update's `count` smallest squared distances to the others.
fn scores(gram: &Gram, count: usize) -> Vec<f64> {
    let of = |i: usize| -> f64 {
        let mut distances: Vec<f64> =
            (0..gram.len()).filter(|&j| j != i).map(|j| gram.squared_distance(i, j)).collect();
        sorting::sort_by(&mut distances, f64::total_cmp);
        distances.iter().take(count).sum()
    };
    (0..gram.len()).map(of).collect()
}

impl Rule for MultiKrum {
    fn name(&self) -> &'static str {
        "multi-krum"
    }

    fn least(&self) -> usize {
        2 * self.0.f + 3
    }

    fn combine(&self, held: &Held) -> Result<Aggregated> {
        let gram = Gram::of(held);
        let neighbours = held.len().saturating_sub(self.0.f + 2).max(1);
        let m = self.0.m.unwrap_or(neighbours).min(neighbours);
        let scores = scores(&gram, neighbours);
        let mut order: Vec<usize> = (0..held.len()).collect();
        sorting::sort_by(&mut order, |&i, &j| scores[i].total_cmp(&scores[j]));
        let worst = order.get(m - 1).map_or(0.0, |&last| scores[last]);
        let mut chosen = vec![false; held.len()];
        order.iter().take(m).for_each(|&i| chosen[i] = true);
        let mut aggregated = Aggregated::default();
        let taken = in_one_gauge(held, &gram, &mut aggregated.report.limited);
        let share = |chosen: bool| if chosen { 1.0 / m as f64 } else { 0.0 };
        let weighted = chosen.iter().zip(&taken).filter(|(chosen, _)| **chosen);
        aggregated.adapter = Some(mean(held, weighted.map(|(_, adapter)| (1.0 / m as f64, adapter.as_ref()))));
        aggregated.report.weights =
            sorting::map(held.updates.iter().zip(&chosen).map(|(update, &chosen)| (update.client, share(chosen))));
        for (i, update) in held.updates.iter().enumerate().filter(|(i, _)| !chosen[*i]) {
            let text = format!(
                "not among the {m} of {} updates of the mean: score {:.3e}, theirs at most {worst:.3e}",
                held.len(),
                scores[i]
            );
            aggregated.report.limited.insert(update.client, text);
        }
        aggregated.report.measures.insert("largest_chosen_score".into(), worst);
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

    fn krum(f: usize, m: Option<usize>) -> Robust {
        Robust::multi_krum(&MultiKrumConfig { f, m }).unwrap()
    }

    /// On a line, so that scores are done by hand.
    const LINE: [&[f32]; 5] = [&[0.0], &[1.0], &[2.0], &[4.0], &[100.0]];

    #[test]
    fn scores_are_the_smallest_squared_distances_without_the_farthest() {
        // n - f - 2 = 2 neighbours: 0: 1 + 4; 1: 1 + 1; 2: 1 + 4; 4: 4 + 9; 100: 96^2 + 98^2.
        assert_eq!(of_vectors(&mut krum(1, Some(1)), &LINE), [1.0]);
        let global = vector(&[0.0]);
        let aggregated = round(&mut krum(1, None), &global, &updates(LINE.map(vector)));
        // Of the equal scores of clients 0 and 2 the lower id.
        assert_eq!(values(aggregated.adapter.as_ref().unwrap()), [0.5]);
        let report = aggregated.report;
        assert_eq!(report.weights.values().copied().collect::<Vec<_>>(), [0.5, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(report.limited.keys().map(|client| client.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(
            report.limited[&ClientId(4)].contains(&format!("score {:.3e}", 96f64.powi(2) + 98f64.powi(2))),
            "{report:?}"
        );
        assert_eq!(report.measures["largest_chosen_score"], 5.0);
    }

    #[test]
    fn with_no_hostile_client_it_takes_three_neighbours_of_five() {
        // n - f - 2 = 3: 0: 1 + 4 + 16; 1: 1 + 1 + 9; 2: 1 + 4 + 4; 4: 4 + 9 + 16.
        assert_eq!(of_vectors(&mut krum(0, Some(1)), &LINE), [2.0]);
        assert_eq!(of_vectors(&mut krum(0, Some(9)), &LINE), [1.0], "at most n - f - 2");
    }

    #[test]
    fn distances_are_of_products_and_the_mean_is_of_one_gauge() {
        let global = layer(1, &[1.0, 0.0], &[0.0, 0.0]);
        let honest = layer(1, &[1.5, 0.0], &[0.25, 0.0]);
        let gauge = layer(1, &[1.5 / 1024.0, 0.0], &[256.0, 0.0]);
        let five = [gauge, honest.clone(), honest.clone(), honest.clone(), honest.clone()];
        let aggregated = round(&mut krum(1, None), &global, &updates(five));
        assert!(aggregated.report.weights[&ClientId(0)] > 0.0, "its product is theirs");
        for (name, tensor) in aggregated.adapter.unwrap().tensors {
            near(&tensor.data, &honest.tensors[&name].data, 1e-6);
        }
    }

    #[test]
    fn four_updates_are_too_few_for_one_hostile_client() {
        let aggregated = round(&mut krum(1, None), &vector(&[0.0]), &updates(LINE[..4].iter().map(|row| vector(row))));
        assert!(aggregated.adapter.is_none());
        let why = aggregated.report.discarded.unwrap();
        assert_eq!(why, "the multi-krum needs at least 5 updates, got 4: the global adapter stays");
        let says = |f, m| Robust::multi_krum(&MultiKrumConfig { f, m }).unwrap_err().to_string();
        assert!(says(usize::MAX, None).contains("f: expected") && says(1, Some(0)).contains("m: expected"));
    }
}
