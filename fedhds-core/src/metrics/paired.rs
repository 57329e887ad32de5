//! Two runs compared on the same records.

use super::interval::{Bootstrap, Interval, mean};
use crate::error::{Error, Result};
use crate::loops;
use crate::stage::RecordScore;
use crate::types::Seed;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which figure of a record is compared or averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Mean loss on the response's tokens, in nats; lower is better.
    Loss,
    /// Rouge-L F1, in [0, 1].
    RougeL,
    /// Exact match, 0 or 1.
    ExactMatch,
}

impl Measure {
    /// The record's figure, where it was measured.
    pub fn of(self, score: &RecordScore) -> Option<f64> {
        match self {
            Measure::Loss => Some(score.loss),
            Measure::RougeL => score.rouge_l,
            Measure::ExactMatch => score.exact_match.map(f64::from),
        }
    }

    /// The figure of each record.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first record without it.
    pub fn values(self, scores: &[RecordScore]) -> Result<Vec<f64>> {
        let missing = |score: &RecordScore| {
            Error::input(&format!("score of record `{}`", score.id), format!("a value of {self:?}"), "none")
        };
        scores.iter().map(|score| self.of(score).ok_or_else(|| missing(score))).collect()
    }

    /// The mean over records with its interval over records and tasks.
    ///
    /// # Errors
    /// As [`Measure::values`] and [`Bootstrap::interval`].
    pub fn interval(self, scores: &[RecordScore], bootstrap: &Bootstrap, seed: Seed) -> Result<Interval> {
        let tasks: Vec<&str> = scores.iter().map(|score| score.category.as_str()).collect();
        bootstrap.interval(&self.values(scores)?, &tasks, seed)
    }
}

/// How run B differs from run A on the same records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of B minus A over the records, with the interval over records and tasks.
    pub difference: Interval,
    /// Two-sided p-value by sign flips of single records: whether the runs differ on these tasks.
    pub p_records: f64,
    /// Two-sided p-value by sign flips of whole tasks: whether they differ on tasks like these. With T tasks it cannot be
    /// below 2 / 2^T, so it says nothing where tasks are few.
    pub p_tasks: f64,
    /// Records that B has higher.
    pub higher: usize,
    /// Records that B has lower.
    pub lower: usize,
}

/// Sign flips drawn; the smallest p-value is 1 / (this + 1).
const FLIPS: u64 = 9_999;

/// Compares run B with run A. Records are matched by id; their order may differ.
///
/// # Errors
/// [`Error::Input`] that names the first record (by id) that one run lacks, has twice, has under another category, or
/// did not measure; [`Error::Parameter`] as [`Bootstrap::check`].
pub fn compare(
    a: &[RecordScore],
    b: &[RecordScore],
    measure: Measure,
    bootstrap: &Bootstrap,
    seed: Seed,
) -> Result<Paired> {
    let (a, b) = (by_id("run A", a)?, by_id("run B", b)?);
    let mut differences = Vec::with_capacity(a.len());
    let mut tasks = Vec::with_capacity(a.len());
    for (id, score) in &a {
        let Some(other) = b.get(id) else {
            return Err(Error::input("run B", format!("the records of run A, `{id}` among them"), "no such record"));
        };
        if other.category != score.category {
            let what = format!("category of record `{id}` in run B");
            return Err(Error::input(&what, format!("`{}`", score.category), format!("`{}`", other.category)));
        }
        let values = measure.values(&[(*score).clone(), (*other).clone()])?;
        if let [first, second] = values.as_slice() {
            differences.push(second - first);
            tasks.push(score.category.as_str());
        }
    }
    if let Some(id) = b.keys().find(|id| !a.contains_key(*id)) {
        return Err(Error::input("run A", format!("the records of run B, `{id}` among them"), "no such record"));
    }
    let difference = bootstrap.interval(&differences, &tasks, seed.derive("interval", 0))?;
    let mut sums = BTreeMap::<&str, f64>::new();
    for (value, task) in differences.iter().zip(&tasks) {
        *sums.entry(task).or_default() += value;
    }
    let sums: Vec<f64> = sums.into_values().collect();
    Ok(Paired {
        difference,
        p_records: flip_p(&differences, seed.derive("records", 0)),
        p_tasks: flip_p(&sums, seed.derive("tasks", 0)),
        higher: differences.iter().filter(|value| **value > 0.0).count(),
        lower: differences.iter().filter(|value| **value < 0.0).count(),
    })
}

fn by_id<'a>(run: &str, scores: &'a [RecordScore]) -> Result<BTreeMap<&'a str, &'a RecordScore>> {
    let mut found = BTreeMap::new();
    for score in scores {
        if found.insert(score.id.as_str(), score).is_some() {
            return Err(Error::input(run, "each record once", format!("`{}` twice", score.id)));
        }
    }
    Ok(found)
}

/// Share of random sign flips whose sum is at least as far from 0 as the sum itself, the sum itself counted.
fn flip_p(values: &[f64], seed: Seed) -> f64 {
    let observed = values.iter().sum::<f64>().abs();
    // Equal sums in another order of additions differ in their last bits.
    let slack = 1e-12 * values.iter().map(|value| value.abs()).sum::<f64>();
    let far = loops::map(FLIPS as usize, 64, |number| {
        let mut rng = seed.derive("flip", number as u64).rng();
        let sum: f64 = values
            .chunks(64)
            .map(|chunk| {
                let signs = rng.next_u64();
                let signed = |(i, value): (usize, &f64)| if signs >> i & 1 == 0 { *value } else { -*value };
                chunk.iter().enumerate().map(signed).sum::<f64>()
            })
            .sum();
        sum.abs() >= observed - slack
    });
    let as_far = far.into_iter().filter(|far| *far).count();
    (as_far + 1) as f64 / (FLIPS + 1) as f64
}

/// The scores of several runs (of seeds, say) on the same records as one run: each record's mean.
///
/// What was not measured in every run is none. Outputs are dropped.
///
/// # Errors
/// [`Error::Input`] for no runs, or that names the first record in which a run differs from the first run.
pub fn mean_of_runs(runs: &[Vec<RecordScore>]) -> Result<Vec<RecordScore>> {
    let first = runs.first().ok_or_else(|| Error::input("runs", "at least one", "none"))?;
    for (number, run) in runs.iter().enumerate() {
        if run.len() != first.len() {
            return Err(Error::input(&format!("run {number}"), format!("{} records", first.len()), run.len()));
        }
        if let Some((expected, got)) = first.iter().zip(run).find(|(x, y)| (&x.id, &x.category) != (&y.id, &y.category))
        {
            let got = format!("`{}` of `{}`", got.id, got.category);
            return Err(Error::input(
                &format!("run {number}"),
                format!("record `{}` of `{}`", expected.id, expected.category),
                got,
            ));
        }
    }
    let joined = first.iter().enumerate().map(|(i, score)| {
        let of = |measure: Measure| {
            let values: Option<Vec<f64>> = runs.iter().map(|run| run.get(i).and_then(|s| measure.of(s))).collect();
            values.map(|values| mean(&values))
        };
        RecordScore {
            id: score.id.clone(),
            category: score.category.clone(),
            loss: of(Measure::Loss).unwrap_or_default(),
            output: None,
            rouge_l: of(Measure::RougeL),
            // A share of runs is no truth value; it stays only where the runs agree.
            exact_match: score
                .exact_match
                .filter(|_| runs.iter().all(|run| run.get(i).is_some_and(|s| s.exact_match == score.exact_match))),
        }
    });
    Ok(joined.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    fn scores(losses: &[f64]) -> Vec<RecordScore> {
        let score = |(i, loss): (usize, &f64)| RecordScore {
            id: format!("r{i:03}"),
            category: format!("t{}", i % 10),
            loss: *loss,
            output: None,
            rouge_l: None,
            exact_match: Some(i % 2 == 0),
        };
        losses.iter().enumerate().map(score).collect()
    }

    fn noise(seed: u64, centre: f64, width: f64) -> Vec<f64> {
        Normal::new(centre, width).unwrap().sample_iter(&mut Seed(seed).rng()).take(100).collect()
    }

    fn loss(a: &[RecordScore], b: &[RecordScore]) -> Result<Paired> {
        compare(a, b, Measure::Loss, &Bootstrap::default(), Seed(1))
    }

    #[test]
    fn pairs_show_what_two_means_hide() {
        // Records differ by 3, runs by 0.1.
        let base = noise(1, 5.0, 3.0);
        let better: Vec<f64> = base.iter().zip(noise(2, 0.1, 0.2)).map(|(x, d)| x - d).collect();
        let (a, b) = (scores(&base), scores(&better));
        let found = loss(&a, &b).unwrap();
        assert!(found.difference.high < 0.0, "{}", found.difference);
        assert!(found.p_records < 0.001 && found.p_tasks < 0.01, "{found:?}");
        assert!(found.lower > found.higher);
        let separate = Measure::Loss.interval(&b, &Bootstrap::default(), Seed(1)).unwrap();
        assert!(separate.low < found.difference.mean + separate.mean);
        let back = loss(&b, &a).unwrap();
        assert_eq!(back.difference.mean, -found.difference.mean);
    }

    #[test]
    fn equal_runs_do_not_differ() {
        let a = scores(&noise(1, 5.0, 3.0));
        let found = loss(&a, &a).unwrap();
        assert_eq!((found.difference.mean, found.p_records, found.p_tasks), (0.0, 1.0, 1.0));
        let mut turned = a.clone();
        turned.reverse();
        assert_eq!(loss(&a, &turned).unwrap(), found);
    }

    #[test]
    fn p_values_of_no_difference_are_uniform() {
        let below: usize = (0..60)
            .filter(|seed| {
                let zeros = scores(&[0.0; 100]);
                loss(&zeros, &scores(&noise(seed * 31 + 7, 0.0, 1.0))).unwrap().p_records < 0.25
            })
            .count();
        assert!((6..=26).contains(&below), "{below}");
    }

    #[test]
    fn other_records_are_named() {
        let a = scores(&[1.0, 2.0, 3.0]);
        let error = |b: &[RecordScore]| loss(&a, b).unwrap_err().to_string();
        assert!(error(&a[..2]).contains("run B: expected the records of run A, `r002` among them"));
        assert!(loss(&a[1..], &a).unwrap_err().to_string().contains("run A: expected the records of run B, `r000`"));
        assert!(error(&[a.clone(), a[..1].to_vec()].concat()).contains("`r000` twice"));
        let mut moved = a.clone();
        moved[1].category = "other".into();
        assert!(error(&moved).contains("category of record `r001`"));
        let rouge = compare(&a, &a, Measure::RougeL, &Bootstrap::default(), Seed(1));
        assert!(rouge.unwrap_err().to_string().contains("`r000`"));
        assert!(loss(&[], &[]).is_err());
    }

    #[test]
    fn runs_are_joined_by_record() {
        let joined = mean_of_runs(&[scores(&[1.0, 2.0]), scores(&[3.0, 6.0])]).unwrap();
        assert_eq!(joined.iter().map(|s| s.loss).collect::<Vec<_>>(), [2.0, 4.0]);
        assert_eq!(joined[0].exact_match, Some(true));
        assert!(mean_of_runs(&[scores(&[1.0]), scores(&[1.0, 2.0])]).unwrap_err().to_string().contains("run 1"));
        assert!(mean_of_runs(&[]).is_err());
    }
}
