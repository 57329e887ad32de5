//! After which rounds the global adapter is evaluated.

use crate::error::Result;
use crate::types::range::at_least;
use serde::{Deserialize, Serialize};

/// After which rounds the global adapter is evaluated on the test records.
///
/// In TOML: `"last"`, `"never"` or `{ every = 5 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationSchedule {
    /// After the last round (the paper).
    #[default]
    Last,
    /// After every so many rounds, at least 1, and after the last.
    Every(usize),
    /// Not at all.
    Never,
}

impl EvaluationSchedule {
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for `every = 0`.
    pub fn check(&self) -> Result<()> {
        match *self {
            EvaluationSchedule::Every(rounds) => at_least("evaluate.every", rounds, 1),
            EvaluationSchedule::Last | EvaluationSchedule::Never => Ok(()),
        }
    }

    /// Whether the adapter is evaluated after `round` (from 0) of `rounds`.
    pub fn is_due(&self, round: usize, rounds: usize) -> bool {
        let last = round + 1 == rounds;
        match *self {
            EvaluationSchedule::Never => false,
            EvaluationSchedule::Last => last,
            EvaluationSchedule::Every(n) => last || (n > 0 && (round + 1).is_multiple_of(n)),
        }
    }

    /// Number of evaluations in a run of `rounds`.
    pub fn count(&self, rounds: usize) -> usize {
        (0..rounds).filter(|&r| self.is_due(r, rounds)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_round_is_always_evaluated_unless_never() {
        let due = |s: EvaluationSchedule| (0..7).filter(|&r| s.is_due(r, 7)).collect::<Vec<_>>();
        assert_eq!(due(EvaluationSchedule::Last), [6]);
        assert_eq!(due(EvaluationSchedule::Every(3)), [2, 5, 6]);
        assert_eq!(due(EvaluationSchedule::Every(1)).len(), 7);
        assert!(due(EvaluationSchedule::Never).is_empty());
        assert_eq!(EvaluationSchedule::Every(3).count(7), 3);
        assert!(EvaluationSchedule::Every(0).check().is_err());
    }
}
