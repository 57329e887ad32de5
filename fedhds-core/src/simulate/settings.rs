//! Rounds, participation and evaluation of a simulation.

use super::{EvaluationSchedule, Participation};
use crate::error::Result;
use crate::types::range::{at_least, within};
use serde::{Deserialize, Serialize};

/// Rounds, participation and evaluation of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationSettings {
    /// Rounds, 1 to [`SimulationSettings::MAX_ROUNDS`].
    pub rounds: usize,
    /// Clients in a round.
    pub participation: Participation,
    /// After which rounds the adapter is evaluated.
    pub evaluate: EvaluationSchedule,
}

impl Default for SimulationSettings {
    /// The paper's: 40 rounds of 5% of the clients, evaluated after the last.
    fn default() -> Self {
        Self { rounds: 40, participation: Participation::default(), evaluate: EvaluationSchedule::default() }
    }
}

impl SimulationSettings {
    /// The most rounds: their numbers have 32 bits.
    pub const MAX_ROUNDS: usize = u32::MAX as usize;

    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) that names the first setting outside of its range.
    pub fn check(&self) -> Result<()> {
        at_least("rounds", self.rounds, 1)?;
        within("rounds", self.rounds, 1..=Self::MAX_ROUNDS)?;
        self.participation.check()?;
        self.evaluate.check()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_range() {
        let paper = SimulationSettings::default();
        paper.check().unwrap();
        SimulationSettings { rounds: SimulationSettings::MAX_ROUNDS, ..paper.clone() }.check().unwrap();
        let says = |settings: SimulationSettings| settings.check().unwrap_err().to_string();
        let none = SimulationSettings { rounds: 0, ..paper.clone() };
        assert_eq!(says(none), "rounds: expected a whole number of at least 1, got 0");
        let many = SimulationSettings { rounds: SimulationSettings::MAX_ROUNDS + 1, ..paper.clone() };
        assert_eq!(says(many), "rounds: expected a whole number from 1 to 4294967295, got 4294967296");
        let share = |fraction| Participation::Fraction(fraction);
        for (participation, message) in [
            (Participation::Count(0), "participation.count: expected a whole number of at least 1, got 0"),
            (share(0.0), "participation.fraction: expected a number in (0, 1], got 0.0"),
            (share(-0.5), "participation.fraction: expected a number in (0, 1], got -0.5"),
            (share(1.5), "participation.fraction: expected a number in (0, 1], got 1.5"),
            (share(f64::NAN), "participation.fraction: expected a number in (0, 1], got nan"),
            (share(f64::INFINITY), "participation.fraction: expected a number in (0, 1], got inf"),
        ] {
            assert_eq!(says(SimulationSettings { participation, ..paper.clone() }), message);
        }
        let wrong = SimulationSettings { evaluate: EvaluationSchedule::Every(0), ..paper };
        assert_eq!(says(wrong), "evaluate.every: expected a whole number of at least 1, got 0");
    }
}
