//! A mean and its bootstrap interval over records and tasks.

use crate::error::{Error, Result};
use crate::loops;
use crate::types::{Rng, Seed};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How intervals are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Resamples, at least 100. Default 2,000.
    pub resamples: usize,
    /// Share of the resampled means that lies within the interval, in (0, 1). Default 0.95.
    pub level: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2_000, level: 0.95 }
    }
}

/// A mean over records with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean over all records.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many records it is a mean of. The interval of a single record has no width, which says nothing.
    pub records: usize,
    /// How many tasks they belong to.
    pub tasks: usize,
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} [{:.digits$}, {:.digits$}]", self.mean, self.low, self.high)
    }
}

impl Bootstrap {
    /// # Errors
    /// [`Error::Parameter`] for a value outside its range.
    pub fn check(&self) -> Result<()> {
        if self.resamples < 100 {
            return Err(Error::parameter("resamples", "at least 100", self.resamples));
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::parameter("level", "between 0 and 1", self.level));
        }
        Ok(())
    }

    /// The mean of `values` with its percentile interval by the hierarchical bootstrap: tasks are drawn with replacement,
    /// then records within each drawn task, since records of one task resemble each other and tasks are a sample too
    /// (Davison and Hinkley, "Bootstrap methods and their application" (1997), section 3.8). With one task, records alone
    /// are drawn.
    ///
    /// `values` and `tasks`: `[n]`, the value and the task of each record.
    ///
    /// # Errors
    /// [`Error::Parameter`] as [`Bootstrap::check`]; [`Error::Input`] for no values, for lengths that differ, or for a
    /// value that is not finite.
    pub fn interval<S: AsRef<str>>(&self, values: &[f64], tasks: &[S], seed: Seed) -> Result<Interval> {
        self.check()?;
        let groups = group(values, tasks)?;
        let mut means = loops::map(self.resamples, 16, |number| {
            resampled_mean(&groups, &mut seed.derive("resample", number as u64).rng())
        });
        means.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Ok(Interval {
            mean: mean(values),
            low: quantile(&means, tail),
            high: quantile(&means, 1.0 - tail),
            records: values.len(),
            tasks: groups.len(),
        })
    }
}

/// The values of each task, tasks in alphabetical order.
fn group<S: AsRef<str>>(values: &[f64], tasks: &[S]) -> Result<Vec<Vec<f64>>> {
    if values.is_empty() {
        return Err(Error::input("values", "at least one", "none"));
    }
    if tasks.len() != values.len() {
        return Err(Error::input("tasks", format!("{}, one for each value", values.len()), tasks.len()));
    }
    let mut groups = BTreeMap::<&str, Vec<f64>>::new();
    for (i, (value, task)) in values.iter().zip(tasks).enumerate() {
        if !value.is_finite() {
            return Err(Error::input(&format!("value {i}"), "a finite number", value));
        }
        groups.entry(task.as_ref()).or_default().push(*value);
    }
    Ok(groups.into_values().collect())
}

fn resampled_mean(groups: &[Vec<f64>], rng: &mut Rng) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for _ in 0..groups.len() {
        if let Some(group) = groups.get(rng.random_range(0..groups.len())) {
            for _ in 0..group.len() {
                sum += group.get(rng.random_range(0..group.len())).copied().unwrap_or_default();
            }
            count += group.len();
        }
    }
    sum / count as f64
}

/// The mean of values, 0 of none.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Linear interpolation between order statistics, as NumPy's default.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len().saturating_sub(1)) as f64;
    let value = |i: usize| sorted.get(i).or(sorted.last()).copied().unwrap_or_default();
    let (below, above) = (value(at.floor() as usize), value(at.ceil() as usize));
    below + (above - below) * (at - at.floor())
}

/// The mean of each task, tasks in alphabetical order.
///
/// # Errors
/// [`Error::Input`] as [`Bootstrap::interval`].
pub fn mean_by_task<S: AsRef<str>>(values: &[f64], tasks: &[S]) -> Result<BTreeMap<String, f64>> {
    let groups = group(values, tasks)?;
    let mut names: Vec<&str> = tasks.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().map(Into::into).zip(groups.iter().map(|group| mean(group))).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn one_task_gives_the_normal_interval() {
        let mut rng = Seed(1).rng();
        let values: Vec<f64> = Normal::new(2.0, 1.0).unwrap().sample_iter(&mut rng).take(400).collect();
        let found = Bootstrap::default().interval(&values, &vec!["a"; 400], Seed(2)).unwrap();
        let centre = mean(&values);
        let deviation = (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / 400.0).sqrt();
        let half = 1.96 * deviation / 20.0;
        assert!((found.low - (found.mean - half)).abs() < 0.02, "{found}");
        assert!((found.high - (found.mean + half)).abs() < 0.02, "{found}");
    }

    #[test]
    fn tasks_that_differ_widen_the_interval() {
        let values: Vec<f64> = (0..200).map(|i| f64::from(i / 20) + 0.01 * f64::from(i % 20)).collect();
        let tasks: Vec<String> = (0..200).map(|i| (i / 20).to_string()).collect();
        let bootstrap = Bootstrap::default();
        let by_task = bootstrap.interval(&values, &tasks, Seed(1)).unwrap();
        let pooled = bootstrap.interval(&values, &vec!["a"; 200], Seed(1)).unwrap();
        assert_eq!((by_task.tasks, pooled.tasks, by_task.mean), (10, 1, pooled.mean));
        assert!(by_task.high - by_task.low > 3.0 * (pooled.high - pooled.low), "{by_task} {pooled}");
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        // Twelve tasks with means of their own, eight records each; the true mean is 0.
        let (mut rng, normal) = (Seed(9).rng(), Normal::new(0.0, 1.0).unwrap());
        let tasks: Vec<String> = (0..96).map(|i| (i / 8).to_string()).collect();
        let bootstrap = Bootstrap { resamples: 400, ..Bootstrap::default() };
        let covered = (0..200)
            .filter(|number| {
                let centres: Vec<f64> = (0..12).map(|_| normal.sample(&mut rng)).collect();
                let values: Vec<f64> = (0..96).map(|i| centres[i / 8] + normal.sample(&mut rng)).collect();
                let found = bootstrap.interval(&values, &tasks, Seed(*number)).unwrap();
                found.low <= 0.0 && 0.0 <= found.high
            })
            .count();
        assert!((175..=199).contains(&covered), "{covered}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_at_any_thread_count() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let tasks: Vec<String> = (0..50).map(|i| (i % 3).to_string()).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let one = pool.install(|| Bootstrap::default().interval(&values, &tasks, Seed(4))).unwrap();
        assert_eq!(one, Bootstrap::default().interval(&values, &tasks, Seed(4)).unwrap());
        assert_ne!(one, Bootstrap::default().interval(&values, &tasks, Seed(5)).unwrap());
    }

    #[test]
    fn bad_input_is_named() {
        let bootstrap = Bootstrap::default();
        let error =
            |values: &[f64], tasks: &[&str]| bootstrap.interval(values, tasks, Seed(1)).unwrap_err().to_string();
        assert!(error(&[], &[]).contains("at least one"));
        assert!(error(&[1.0], &[]).contains("tasks"));
        assert!(error(&[1.0, f64::NAN], &["a", "a"]).contains("value 1"));
        assert!(Bootstrap { level: 1.0, ..bootstrap }.interval(&[1.0], &["a"], Seed(1)).is_err());
        assert!(Bootstrap { resamples: 0, ..bootstrap }.interval(&[1.0], &["a"], Seed(1)).is_err());
        let single = bootstrap.interval(&[1.5], &["a"], Seed(1)).unwrap();
        assert_eq!((single.low, single.mean, single.high), (1.5, 1.5, 1.5));
        let means = mean_by_task(&[1.0, 3.0, 5.0], &["b", "b", "a"]).unwrap();
        assert_eq!(means.into_iter().collect::<Vec<_>>(), [("a".into(), 5.0), ("b".into(), 2.0)]);
    }
}
