//! The records of the evaluation, and for which of them text is generated.

use crate::error::{Error, Result};
use crate::stage::{Evaluator, RecordScore};
use crate::types::{Adapter, Context, Record};
use std::collections::BTreeMap;

/// Test records; the loss is measured on all of them, text is generated for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSet {
    records: Vec<Record>,
    generate: Vec<bool>,
}

impl TestSet {
    /// Text is generated for `generate` of the records (`None`: for all), taken in turn from the tasks in the order of their
    /// names, so that all tasks are covered evenly; within a task in the order of its records.
    pub fn new(records: Vec<Record>, generate: Option<usize>) -> Self {
        let mut wanted = generate.unwrap_or(records.len()).min(records.len());
        let mut chosen = vec![false; records.len()];
        let mut tasks: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, record) in records.iter().enumerate() {
            tasks.entry(&record.category).or_default().push(i);
        }
        for turn in 0.. {
            let in_turn: Vec<usize> = tasks.values().filter_map(|rows| rows.get(turn).copied()).take(wanted).collect();
            if in_turn.is_empty() {
                break;
            }
            wanted -= in_turn.len();
            for i in in_turn {
                if let Some(slot) = chosen.get_mut(i) {
                    *slot = true;
                }
            }
        }
        Self { records, generate: chosen }
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether text is generated for each of the records.
    pub fn generate(&self) -> &[bool] {
        &self.generate
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// One score for each record, in order.
    ///
    /// # Errors
    /// What the evaluator reports; [`Error::Stage`] when it returns another number of scores, another record's, or a loss
    /// that is not finite.
    pub fn evaluate(
        &self,
        evaluator: &dyn Evaluator,
        adapter: Option<&Adapter>,
        context: &Context,
    ) -> Result<Vec<RecordScore>> {
        self.measure(evaluator, adapter, true, context)
    }

    /// As [`evaluate`](Self::evaluate), without any text.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn losses(
        &self,
        evaluator: &dyn Evaluator,
        adapter: Option<&Adapter>,
        context: &Context,
    ) -> Result<Vec<RecordScore>> {
        self.measure(evaluator, adapter, false, context)
    }

    /// Records with and without a text go to the evaluator apart, whether or not there is any: what it meets at once is then the same.
    fn measure(
        &self,
        evaluator: &dyn Evaluator,
        adapter: Option<&Adapter>,
        text: bool,
        context: &Context,
    ) -> Result<Vec<RecordScore>> {
        let mut scores: Vec<Option<RecordScore>> = vec![None; self.records.len()];
        for generate in [true, false] {
            let rows: Vec<usize> =
                self.generate.iter().enumerate().filter(|(_, g)| **g == generate).map(|(i, _)| i).collect();
            if rows.is_empty() {
                continue;
            }
            let part: Vec<Record> = rows.iter().filter_map(|&i| self.records.get(i).cloned()).collect();
            let got = evaluator.evaluate(adapter, &part, generate && text, context)?;
            check_scores(&part, &got)?;
            for (row, score) in rows.into_iter().zip(got) {
                if let Some(slot) = scores.get_mut(row) {
                    *slot = Some(score);
                }
            }
        }
        Ok(scores.into_iter().flatten().collect())
    }
}

fn check_scores(records: &[Record], scores: &[RecordScore]) -> Result<()> {
    let wrong = |message: String| Err(Error::stage("evaluator", message));
    if scores.len() != records.len() {
        return wrong(format!("expected {} scores, one for each record, got {}", records.len(), scores.len()));
    }
    for (record, score) in records.iter().zip(scores) {
        if score.id != record.id {
            return wrong(format!("expected the score of record `{}`, got one of `{}`", record.id, score.id));
        }
        if !score.loss.is_finite() {
            return wrong(format!("expected a finite loss of record `{}`, got {}", record.id, score.loss));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn record(id: &str, category: &str) -> Record {
        Record { id: id.into(), category: category.into(), responses: vec!["x".into()], ..Record::default() }
    }

    fn records() -> Vec<Record> {
        [("a0", "a"), ("a1", "a"), ("a2", "a"), ("b0", "b"), ("c0", "c"), ("c1", "c")].map(|(i, c)| record(i, c)).into()
    }

    /// Scores in reverse, or with a loss, as the test asks.
    struct Scores(f64, bool);

    impl Evaluator for Scores {
        fn evaluate(&self, _: Option<&Adapter>, r: &[Record], generate: bool, _: &Context) -> Result<Vec<RecordScore>> {
            let mut scores: Vec<RecordScore> = r
                .iter()
                .map(|r| RecordScore {
                    id: r.id.clone(),
                    category: r.category.clone(),
                    loss: self.0,
                    output: generate.then(String::new),
                    rouge_l: None,
                    exact_match: None,
                })
                .collect();
            if self.1 {
                scores.reverse();
            }
            Ok(scores)
        }
    }

    #[test]
    fn tasks_are_covered_evenly() {
        let chosen = |n| {
            let set = TestSet::new(records(), n);
            let pairs = set.records.iter().zip(&set.generate).filter(|(_, g)| **g);
            pairs.map(|(r, _)| r.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(Some(3)), ["a0", "b0", "c0"]);
        assert_eq!(chosen(Some(4)), ["a0", "a1", "b0", "c0"]);
        assert_eq!(chosen(Some(0)), Vec::<String>::new());
        assert_eq!(chosen(Some(100)).len(), 6);
        assert_eq!(chosen(None).len(), 6);
    }

    #[test]
    fn scores_come_in_the_order_of_the_records() {
        let set = TestSet::new(records(), Some(3));
        let scores = set.evaluate(&Scores(1.0, false), None, &Context::new(0)).unwrap();
        let ids: Vec<&str> = scores.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["a0", "a1", "a2", "b0", "c0", "c1"]);
        assert_eq!(scores.iter().filter(|s| s.output.is_some()).count(), 3);
        let losses = set.losses(&Scores(1.0, false), None, &Context::new(0)).unwrap();
        assert_eq!(losses.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ids);
        assert!(losses.iter().all(|s| s.output.is_none()));
    }

    #[test]
    fn an_evaluator_that_mixes_records_up_is_found() {
        let set = TestSet::new(records(), None);
        let error = |scores| set.evaluate(&scores, None, &Context::new(0)).unwrap_err().to_string();
        assert!(error(Scores(1.0, true)).contains("expected the score of record `a0`, got one of `c1`"));
        assert!(error(Scores(f64::NAN, false)).contains("expected a finite loss"));
    }
}
