//! What an experiment costs, said before it starts: records, tokens and minutes by stage from a short measurement.

use crate::error::{Error, Result};
use crate::parallel;
use crate::stage::{Evaluator, FeatureExtractor, Trainer};
use crate::types::{Context, Record};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Instant;

/// Seconds for each unit of work on this machine, as measured on a few records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Seconds a token of feature extraction with the tuned model.
    pub tuned_features: f64,
    /// Seconds a token of feature extraction with the frozen proxy.
    pub proxy_features: f64,
    /// Seconds a token of training.
    pub training: f64,
    /// Seconds a token of the loss on test records.
    pub loss: f64,
    /// Seconds a record of greedy generation.
    pub generation: f64,
}

/// Work of one stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageCost {
    /// The stage, for example `training`.
    pub stage: String,
    /// Which runs it belongs to: a method's name, or `all runs` for what is done once.
    pub method: String,
    /// Records that pass through it, over all seeds.
    pub records: u64,
    /// Their tokens; where a record passes several times, each time counts.
    pub tokens: u64,
    /// Estimated seconds.
    pub seconds: f64,
}

/// The whole cost of an experiment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// By stage and method, in the order of the work.
    pub stages: Vec<StageCost>,
    /// What the estimate leaves out or assumes, in words.
    pub notes: Vec<String>,
}

/// A stage to measure, with records that are typical in length.
pub struct Probe<'a> {
    /// Records to measure on; the first is used alone to warm up.
    pub records: &'a [Record],
    /// Tokens of each of `records`, prompt and response.
    pub tokens: &'a [usize],
    /// Clients that will be at work at the same time: the stage is measured as so many call it at once.
    pub workers: usize,
}

impl Probe<'_> {
    fn check(&self) -> Result<()> {
        if self.records.is_empty() || self.tokens.len() != self.records.len() {
            return Err(Error::input(
                "records to measure on",
                "at least one, each with its number of tokens",
                format!("{} records and {} numbers", self.records.len(), self.tokens.len()),
            ));
        }
        Ok(())
    }

    fn total_tokens(&self) -> f64 {
        self.tokens.iter().sum::<usize>().max(1) as f64
    }

    /// Seconds a token where every worker does this on all records.
    fn seconds(&self, work: impl Fn() -> Result<()> + Sync) -> Result<f64> {
        let mut workers = vec![(); self.workers.max(1)];
        let start = Instant::now();
        parallel::each(workers.len(), &mut workers, |()| work(), |_, ()| Ok(()))?;
        Ok(start.elapsed().as_secs_f64() / self.total_tokens() / workers.len() as f64)
    }

    /// Seconds a token of an extractor.
    ///
    /// # Errors
    /// What the stage reports; [`Error::Input`] without records.
    pub fn features(&self, extractor: &dyn FeatureExtractor, context: &Context) -> Result<f64> {
        self.check()?;
        extractor.extract(self.records.get(..1).unwrap_or_default(), None, context)?; // first use: pages, thread pools
        self.seconds(|| extractor.extract(self.records, None, context).map(drop))
    }

    /// Seconds a token of a trainer; nothing that it learns is kept.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn training(&self, trainer: &dyn Trainer, context: &Context) -> Result<f64> {
        self.check()?;
        let adapter = trainer.init(context)?;
        self.seconds(|| trainer.train(&adapter, self.records, context).map(drop))
    }

    /// Seconds a token of the loss, and seconds a record of generation on top of it (0 where `generate` is false). An evaluator
    /// spreads its batches over workers itself.
    ///
    /// # Errors
    /// As [`features`](Self::features).
    pub fn evaluation(&self, evaluator: &dyn Evaluator, generate: bool, context: &Context) -> Result<(f64, f64)> {
        self.check()?;
        let start = Instant::now();
        evaluator.evaluate(None, self.records, false, context)?;
        let loss = start.elapsed().as_secs_f64();
        if !generate {
            return Ok((loss / self.total_tokens(), 0.0));
        }
        let start = Instant::now();
        evaluator.evaluate(None, self.records, true, context)?;
        let extra = (start.elapsed().as_secs_f64() - loss).max(0.0);
        Ok((loss / self.total_tokens(), extra / self.records.len() as f64))
    }
}

impl Cost {
    /// Adds a stage; one without records is left out.
    pub fn add(&mut self, method: &str, stage: &str, records: u64, tokens: u64, seconds: f64) {
        if records > 0 {
            self.stages.push(StageCost { stage: stage.into(), method: method.into(), records, tokens, seconds });
        }
    }

    /// All estimated seconds.
    pub fn seconds(&self) -> f64 {
        self.stages.iter().map(|s| s.seconds).sum()
    }

    /// The cost as a text table: a line for each method and stage, a sum for each stage, and the sum of all.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |a: &str, b: &str, c: &str, d: &str, e: &str| {
            let _ = writeln!(text, "  {a:<18} {b:<28} {c:>9} {d:>12} {e:>9}");
        };
        line("runs", "stage", "records", "tokens", "minutes");
        for s in &self.stages {
            line(&s.method, &s.stage, &s.records.to_string(), &s.tokens.to_string(), &minutes(s.seconds));
        }
        let (records, tokens) =
            self.stages.iter().fold((0, 0), |(records, tokens), s| (records + s.records, tokens + s.tokens));
        line("in all", "", &records.to_string(), &tokens.to_string(), &minutes(self.seconds()));
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }
}

fn minutes(seconds: f64) -> String {
    format!("{:.1}", seconds / 60.0)
}

/// Records spread over the lengths: the median of each of `n` equal parts of the records in order of their tokens; what
/// a rate is measured on.
pub fn typical(tokens: &[usize], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&i| (tokens.get(i).copied().unwrap_or_default(), i));
    let n = n.min(order.len());
    (0..n).filter_map(|part| order.get((2 * part + 1) * order.len() / (2 * n)).copied()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn typical_records_span_the_lengths() {
        let tokens: Vec<usize> = (0..100).rev().collect();
        let chosen: Vec<usize> = typical(&tokens, 4).into_iter().map(|i| tokens[i]).collect();
        assert_eq!(chosen, [12, 37, 62, 87]);
        assert_eq!(typical(&tokens[..2], 5).len(), 2);
        assert!(typical(&[], 3).is_empty());
    }

    #[test]
    fn the_table_sums_what_it_lists() {
        let mut cost = Cost::default();
        cost.add("all", "training", 100, 9000, 120.0);
        cost.add("random", "training", 0, 0, 0.0);
        cost.add("random", "evaluation: loss", 50, 1000, 60.0);
        cost.notes.push("as measured on 4 records".into());
        let text = cost.to_text();
        assert_eq!(cost.stages.len(), 2);
        assert_eq!(cost.seconds(), 180.0);
        let last = text.lines().nth_back(1).unwrap();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["in", "all", "150", "10000", "3.0"]);
        assert!(text.contains("note: as measured"));
    }

    #[test]
    fn nothing_to_measure_on_is_an_error() {
        struct Never;
        impl Evaluator for Never {
            fn evaluate(
                &self,
                _: Option<&crate::types::Adapter>,
                _: &[Record],
                _: bool,
                _: &Context,
            ) -> Result<Vec<crate::stage::RecordScore>> {
                Ok(Vec::new())
            }
        }
        let probe = Probe { records: &[], tokens: &[], workers: 1 };
        assert!(matches!(probe.evaluation(&Never, true, &Context::new(0)), Err(Error::Input { .. })));
    }
}
