//! The middle of each value: the median and the trimmed mean, coordinate by coordinate.

use super::MOST;
use super::held::{Held, Robust, Rule};
use crate::error::Result;
use crate::loops;
use crate::stage::Aggregated;
use crate::types::range::within;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Settings of the trimmed mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrimmedMeanConfig {
    /// How many of the smallest and how many of the largest values are left out, each; at most 1,048,576, default 1. As many hostile clients are tolerated.
    pub b: usize,
}

impl Default for TrimmedMeanConfig {
    fn default() -> Self {
        Self { b: 1 }
    }
}

impl Robust {
    /// The coordinate-wise median (Yin et al. 2018, *Byzantine-Robust Distributed Learning*, definition 1): each value of the adapter is the
    /// median of the clients' values, the mean of the two in the middle where they are even in number. It tolerates `f < n / 2`.
    ///
    /// Every client counts once, whatever records it claims. A and B are taken separately, value by value: factors in another gauge are outliers. The
    /// weights of the report are shares of the values that a client gave to the result.
    pub fn coordinate_median() -> Self {
        Self::of(Coordinate::Median)
    }

    /// The coordinate-wise trimmed mean (Yin et al. 2018, definition 2): the mean of what is left of each value without the `b` smallest and
    /// the `b` largest. It needs `2 b + 1` updates and tolerates `f <= b`; else as [`coordinate_median`](Self::coordinate_median).
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a `b` outside its range.
    pub fn trimmed_mean(config: &TrimmedMeanConfig) -> Result<Self> {
        within("b", config.b, 0..=MOST)?;
        Ok(Self::of(Coordinate::Trimmed(config.b)))
    }
}

/// Which of the sorted values count.
#[derive(Debug, Clone, Copy)]
enum Coordinate {
    Median,
    Trimmed(usize),
}

/// Values that one thread takes at a time.
const TILE: usize = 4096;

/// A client whose values count in fewer than this share of those that an equal share would be is named in the report.
const RARELY: f64 = 0.1;

impl Coordinate {
    /// The places of those that count among `n` sorted ones.
    fn kept(self, n: usize) -> Range<usize> {
        match self {
            Coordinate::Median => (n - 1) / 2..n / 2 + 1,
            Coordinate::Trimmed(b) => b..n - b,
        }
    }
}

impl Rule for Coordinate {
    fn name(&self) -> &'static str {
        match self {
            Coordinate::Median => "coordinate median",
            Coordinate::Trimmed(_) => "trimmed mean",
        }
    }

    fn least(&self) -> usize {
        match self {
            Coordinate::Median => 1,
            Coordinate::Trimmed(b) => 2 * b + 1,
        }
    }

    fn combine(&self, held: &Held) -> Result<Aggregated> {
        let n = held.len();
        let kept = self.kept(n);
        let counts = Mutex::new(vec![0u64; n]);
        let mut adapter = held.global.clone();
        for (name, tensor) in &mut adapter.tensors {
            let tensors = held.updates.iter().filter_map(|update| update.adapter.tensors.get(name));
            let rows: Vec<&[f32]> = tensors.map(|tensor| &tensor.data[..]).collect();
            loops::parts(&mut tensor.data, TILE, 1, |tile, out| {
                let mut counted = vec![0u64; n];
                // Values with the place of their client: equal ones in the order of ids.
                let mut column: Vec<(f32, usize)> = Vec::with_capacity(n);
                for (i, out) in out.iter_mut().enumerate() {
                    let of = |(client, row): (usize, &&[f32])| row.get(tile * TILE + i).map(|&value| (value, client));
                    column.clear();
                    column.extend(rows.iter().enumerate().filter_map(of));
                    column.sort_unstable_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
                    let middle = column.get(kept.clone()).unwrap_or_default();
                    let sum: f64 = middle.iter().map(|&(value, _)| f64::from(value)).sum();
                    middle.iter().for_each(|&(_, client)| counted[client] += 1);
                    *out = (sum / middle.len().max(1) as f64) as f32;
                }
                // Whole numbers: their sums do not depend on which thread comes first.
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.iter_mut().zip(counted).for_each(|(all, more)| *all += more);
            });
        }
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
        let mut aggregated = Aggregated::new(Some(adapter));
        if counts.iter().sum::<f64>() > 0.0 {
            aggregated.report.weights = held.report_weights(&counts);
        }
        let equal = 1.0 / n as f64;
        for (client, &weight) in &aggregated.report.weights {
            if weight < RARELY * equal {
                let text = format!(
                    "{:.2}% of what counts are its values, where an equal share is {:.1}%",
                    100.0 * weight,
                    100.0 * equal
                );
                aggregated.report.limited.insert(*client, text);
            }
        }
        Ok(aggregated)
    }

    /// A tile's column of values on each thread.
    fn working_memory(&self, clients: usize, _values: usize) -> u64 {
        (rayon::current_num_threads() as u64).saturating_mul(24 * clients as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::ClientId;

    fn trimmed(b: usize) -> Robust {
        Robust::trimmed_mean(&TrimmedMeanConfig { b }).unwrap()
    }

    #[test]
    fn the_middle_is_that_of_the_published_fixture() {
        near(&of_vectors(&mut Robust::coordinate_median(), &ROWS), ROWS[1], 1e-8);
        near(&of_vectors(&mut trimmed(1), &ROWS), ROWS[1], 1e-8);
        assert_eq!(of_vectors(&mut trimmed(0), &ROWS), [4.0, 5.0, 6.0], "the plain mean");
        assert_eq!(of_vectors(&mut Robust::coordinate_median(), &ROWS[..2]), [2.5, 3.5, 4.5]);
        let five: [&[f32]; 5] = [&[1.0], &[2.0], &[6.0], &[4.0], &[-3e38]];
        near(&of_vectors(&mut trimmed(1), &five), &[7.0 / 3.0], 1e-6);
    }

    #[test]
    fn tiles_change_nothing() {
        let rows: Vec<Vec<f32>> =
            (0..3).map(|k| (0..2 * TILE + 7).map(|i| ((i * 31 + k * 17) % 101) as f32).collect()).collect();
        let got = of_vectors(&mut Robust::coordinate_median(), &rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (i, &got) in got.iter().enumerate() {
            let mut column: Vec<f32> = rows.iter().map(|row| row[i]).collect();
            column.sort_by(f32::total_cmp);
            assert_eq!(got, column[1], "{i}");
        }
    }

    #[test]
    fn shares_of_values_are_the_weights_and_an_outlier_is_named() {
        let rows =
            [vector(&[1.0, 5.0]), vector(&[2.0, 4.0]), vector(&[3.0, 3.0]), vector(&[9e9, 9e9]), vector(&[0.0, 0.0])];
        let report = round(&mut trimmed(1), &vector(&[0.0, 0.0]), &updates(rows)).report;
        assert_eq!(report.weights[&ClientId(1)], 2.0 / 6.0);
        assert!((report.weights.values().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(report.limited.keys().collect::<Vec<_>>(), [&ClientId(3), &ClientId(4)]);
        // Of equal values the one of the lower id is the smaller.
        let equal = round(
            &mut Robust::coordinate_median(),
            &vector(&[0.0]),
            &updates([vector(&[7.0]), vector(&[7.0]), vector(&[7.0])]),
        );
        assert_eq!((values(equal.adapter.as_ref().unwrap()), equal.report.weights[&ClientId(1)]), (&[7.0][..], 1.0));
    }

    #[test]
    fn too_few_updates_keep_the_global_adapter_and_say_why() {
        let aggregated = round(&mut trimmed(2), &vector(&[0.0]), &updates([vector(&[1.0]), vector(&[2.0])]));
        assert!(aggregated.adapter.is_none());
        let why = aggregated.report.discarded.unwrap();
        assert_eq!(why, "the trimmed mean needs at least 5 updates, got 2: the global adapter stays");
        assert!(round(&mut trimmed(2), &vector(&[0.0]), &[]).report.discarded.is_none(), "nobody came");
        assert!(
            Robust::trimmed_mean(&TrimmedMeanConfig { b: usize::MAX }).unwrap_err().to_string().contains("b: expected")
        );
        // Who trained on nothing is none of them.
        let mut idle = updates([vector(&[9.0]), vector(&[1.0]), vector(&[1.0])]);
        idle[0].records = 0;
        assert_eq!(values(&round(&mut Robust::coordinate_median(), &vector(&[0.0]), &idle).adapter.unwrap()), [1.0]);
    }
}
