//! From scores to means with intervals, and to paired differences.

use super::run_record::{Metrics, RunRecord};
use crate::error::{Error, Result};
use crate::stage::RecordScore;
use crate::types::{Rng, Seed};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// A paired difference: one method's value minus another's on the same records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Its mean and 95% interval.
    pub interval: Interval,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
}

/// A value of a score, where it was measured.
type Value = fn(&RecordScore) -> Option<f64>;

/// Means of one evaluation; `None` without scores.
pub(super) fn of_scores(scores: &[RecordScore]) -> Result<Option<Metrics>> {
    metrics(&[scores])
}

/// Means over the seeds' evaluations: a record's value is its mean over the seeds.
pub(super) fn over_seeds(runs: &[&RunRecord]) -> Result<Option<Metrics>> {
    metrics(&evaluations(runs))
}

/// Differences in loss and Rouge-L; `None` where either side was not evaluated.
pub(super) fn compare(mine: &[&RunRecord], theirs: &[&RunRecord]) -> Result<Option<(Difference, Option<Difference>)>> {
    let (mine, theirs) = (evaluations(mine), evaluations(theirs));
    let Some(loss) = difference(&mine, &theirs, |s| Some(s.loss))? else { return Ok(None) };
    Ok(Some((loss, difference(&mine, &theirs, |s| s.rouge_l)?)))
}

fn evaluations<'a>(runs: &[&'a RunRecord]) -> Vec<&'a [RecordScore]> {
    runs.iter().map(|r| r.scores.as_slice()).filter(|s| !s.is_empty()).collect()
}

fn metrics(evaluations: &[&[RecordScore]]) -> Result<Option<Metrics>> {
    let interval = |value: Value| -> Result<Option<Interval>> {
        let (tasks, values) = record_means(evaluations, value)?;
        Ok((!values.is_empty()).then(|| bootstrap(&tasks, &values).0))
    };
    let Some(loss) = interval(|s| Some(s.loss))? else { return Ok(None) };
    let rouge_l = interval(|s| s.rouge_l)?;
    let exact_match = interval(|s| s.exact_match.map(f64::from))?;
    Ok(Some(Metrics { loss, rouge_l, exact_match }))
}

/// The task and mean value over the evaluations of each record that has one.
fn record_means(evaluations: &[&[RecordScore]], value: Value) -> Result<(Vec<String>, Vec<f64>)> {
    let Some(first) = evaluations.first() else { return Ok(Default::default()) };
    let ids = |scores: &[RecordScore]| scores.iter().map(|s| s.id.clone()).collect::<Vec<_>>();
    if evaluations.iter().any(|e| ids(e) != ids(first)) {
        return Err(Error::input("runs", "evaluations on the same records in the same order", "other records"));
    }
    let mut tasks = Vec::new();
    let mut means = Vec::new();
    for (i, score) in first.iter().enumerate() {
        let values: Vec<f64> = evaluations.iter().filter_map(|e| e.get(i)).filter_map(value).collect();
        if !values.is_empty() {
            tasks.push(score.category.clone());
            means.push(values.iter().sum::<f64>() / values.len() as f64);
        }
    }
    Ok((tasks, means))
}

fn difference(mine: &[&[RecordScore]], theirs: &[&[RecordScore]], value: Value) -> Result<Option<Difference>> {
    let (tasks, mine) = record_means(mine, value)?;
    let (their_tasks, theirs) = record_means(theirs, value)?;
    if mine.is_empty() || theirs.is_empty() {
        return Ok(None);
    }
    if tasks != their_tasks {
        return Err(Error::input("runs", "evaluations on the same records in the same order", "other records"));
    }
    let differences: Vec<f64> = mine.iter().zip(&theirs).map(|(a, b)| a - b).collect();
    let (interval, p_value) = bootstrap(&tasks, &differences);
    Ok(Some(Difference { interval, p_value }))
}

const RESAMPLES: usize = 2000;

/// Two-stage bootstrap over tasks and records: the mean with its percentile interval, and the two-sided p-value of mean 0.
fn bootstrap(tasks: &[String], values: &[f64]) -> (Interval, f64) {
    let mut by_task: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (task, value) in tasks.iter().zip(values) {
        by_task.entry(task).or_default().push(*value);
    }
    let groups: Vec<Vec<f64>> = by_task.into_values().collect();
    let mut rng = Seed(0).derive("bootstrap", 0).rng();
    let pick = |n: usize, rng: &mut Rng| rng.random_range(0..n.max(1));
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (mut sum, mut count) = (0.0, 0usize);
            for _ in 0..groups.len() {
                let Some(group) = groups.get(pick(groups.len(), &mut rng)) else { continue };
                sum += (0..group.len()).filter_map(|_| group.get(pick(group.len(), &mut rng))).sum::<f64>();
                count += group.len();
            }
            sum / count.max(1) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means.get((q * (RESAMPLES - 1) as f64).round() as usize).copied().unwrap_or_default();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let side = |below: bool| means.iter().filter(|m| if below { **m <= 0.0 } else { **m >= 0.0 }).count();
    let p = (2 * side(true).min(side(false))).max(1) as f64 / RESAMPLES as f64;
    (Interval { mean, lower: at(0.025), upper: at(0.975) }, p.min(1.0))
}
