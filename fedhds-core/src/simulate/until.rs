//! A loss to reach: when a run looks whether it is there, and when it is.

use super::RoundRecord;
use crate::error::Result;
use crate::types::range::{above_zero, at_least};
use serde::{Deserialize, Serialize};

/// A mean loss on the test records that a run is to reach.
///
/// The run looks after every [`every`](Self::every) rounds and after the last; the first look whose loss is at or below the target has
/// reached it. A look measures losses alone, where [`EvaluationSchedule`](super::EvaluationSchedule) does not ask for texts too, and changes nothing that is trained.
///
/// In TOML: `{ loss = 1.2, every = 2 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// The target in nats, above 0.
    pub loss: f64,
    /// Rounds from one look to the next, at least 1. Default 1.
    #[serde(default = "each_round")]
    pub every: usize,
    /// Whether the run ends where it reaches the target. Default false: it goes on to its last round, so that the last losses of all runs
    /// are of equally many.
    #[serde(default)]
    pub stop: bool,
}

fn each_round() -> usize {
    1
}

impl Until {
    /// This target, looked at after each round; the run goes on to its last.
    pub fn at(loss: f64) -> Self {
        Self { loss, every: each_round(), stop: false }
    }

    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        above_zero("until.loss", self.loss)?;
        at_least("until.every", self.every, 1)
    }

    /// Whether the run looks after `round` (from 0) of `rounds`.
    pub fn is_due(&self, round: usize, rounds: usize) -> bool {
        round + 1 == rounds || (self.every > 0 && (round + 1).is_multiple_of(self.every))
    }

    /// Whether this loss is at or below the target.
    pub fn is_reached(&self, loss: f64) -> bool {
        loss <= self.loss
    }

    /// How many rounds it took, that of the look included; `None` where none of these rounds reached the target. `done` are the first of
    /// `rounds`. What is evaluated between two looks does not count, so that runs with other evaluations are comparable.
    pub fn reached(&self, done: &[RoundRecord], rounds: usize) -> Option<usize> {
        let there = |(round, record): (usize, &RoundRecord)| {
            let loss = record.evaluation.as_ref()?.loss;
            (self.is_due(round, rounds) && self.is_reached(loss)).then_some(round + 1)
        };
        done.iter().enumerate().find_map(there)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::simulate::EvaluationRecord;
    use crate::types::Round;

    /// Rounds that ended with these losses.
    fn rounds(losses: &[Option<f64>]) -> Vec<RoundRecord> {
        let evaluation = |loss| EvaluationRecord { loss, ..EvaluationRecord::from_scores(&[], 0.0) };
        let round = |(at, loss): (u32, &Option<f64>)| RoundRecord {
            round: Round(at),
            clients: Vec::new(),
            adapter_changed: true,
            left_out: Default::default(),
            hostile: Default::default(),
            aggregation: Default::default(),
            missing: 0,
            missing_tokens: 0,
            gate: None,
            seconds: Default::default(),
            evaluation: loss.map(evaluation),
            peak_memory_bytes: None,
            map: None,
        };
        (0..).zip(losses).map(round).collect()
    }

    #[test]
    fn every_setting_has_its_range() {
        Until::at(1.2).check().unwrap();
        let says = |until: Until| until.check().unwrap_err().to_string();
        assert_eq!(says(Until::at(0.0)), "until.loss: expected a number above 0, got 0.0");
        assert_eq!(says(Until::at(f64::NAN)), "until.loss: expected a number above 0, got nan");
        assert_eq!(says(Until::at(f64::INFINITY)), "until.loss: expected a number above 0, got inf");
        let never = Until { every: 0, ..Until::at(1.0) };
        assert_eq!(says(never), "until.every: expected a whole number of at least 1, got 0");
    }

    #[test]
    fn the_first_look_at_or_below_the_target_counts() {
        let until = Until { every: 2, ..Until::at(1.0) };
        assert_eq!((0..5).filter(|&r| until.is_due(r, 5)).collect::<Vec<_>>(), [1, 3, 4]);
        let losses = [Some(0.9), Some(1.1), Some(0.8), Some(1.0), Some(0.7)];
        assert_eq!(until.reached(&rounds(&losses), 5), Some(4), "at the target, and not between two looks");
        assert_eq!(until.reached(&rounds(&losses[..3]), 5), None, "not yet");
        assert_eq!(until.reached(&rounds(&losses[..3]), 3), Some(3), "the last round is looked at");
        assert_eq!(Until::at(1.0).reached(&rounds(&losses), 5), Some(1));
        assert_eq!(Until::at(0.5).reached(&rounds(&losses), 5), None);
        assert_eq!(Until::at(1.0).reached(&rounds(&[None, None]), 2), None);
    }
}
